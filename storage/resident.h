/* resident.h: does a page of the input lie in this machine's memory?
 * Promise   Nothing is read, and what lies in memory stays as it is. A place that cannot be told (the system hides it
 *           from who neither owns nor may write the file, or does not map it) counts as in memory, on every machine,
 *           and `hidden` says so; a tier without descriptors has nothing there.
 * Owner     The sources outlive it. A file stays mapped until another one is asked about.
 * Threads   One at a time.
 * Cost      About a microsecond, and some 25 for each change of the file.
 * Failure   None. */
#ifndef MR__RESIDENT_H
#define MR__RESIDENT_H

#include <stdbool.h>

#include "source.h"

typedef struct mr__resident {
    const mr__sources *sources;
    uint32_t index;             /* of the file that is mapped */
    bool hidden;                /* of the file asked about last nothing can be told */
    uint8_t *map;
    size_t size;
} mr__resident;

void mr__resident_begin(mr__resident *resident, const mr__sources *sources);
/* offset: of all sources; below their bytes. */
bool mr__resident_at(mr__resident *resident, uint64_t offset);
void mr__resident_end(mr__resident *resident);

#endif
