/* resident.c: a file is mapped, which reads nothing, and mincore() says which of its pages are there.
 *
 * Since Linux 5.2 mincore() says of every page that it is there, unless the user owns the file or may write it. So it
 * is asked first about a page far behind the end, which is in no memory: who is told that it is there is told nothing.
 * Rejected: asking for owner and mode; capabilities, access lists, containers and mounts that are read-only would all
 * have to be judged as the kernel judges them, and systems that always say yes would not be found.
 *
 * A mapping of a single page for each question takes five times as long.
 * Rejected: preadv2() with RWF_NOWAIT begins to read ahead what it does not find, and so makes true what it asks;
 * cachestat() counts whole ranges, but came with Linux 6.5. */
#include "resident.h"

#include <sys/mman.h>

#include "fault.h"
#include "memory.h"

void mr__resident_begin(mr__resident *resident, const mr__sources *sources)
{
    *resident = (mr__resident){.sources = sources, .index = UINT32_MAX};
}

/* No metadata that a file system keeps behind the end (fs-verity), and no large folio, reaches so far. */
static uint64_t far_behind(uint64_t size)
{
    enum { FAR = 64 << 20 };
    return mr__page_down(size + size / 8 + FAR);
}

static bool is_hidden(int fd, uint64_t size)
{
    unsigned char state = 0;
    void *made = mmap(NULL, mr__page_size(), PROT_READ, MAP_SHARED, fd, (off_t)far_behind(size));
    if (made == MAP_FAILED)
        return false;
    const bool hidden = mincore(made, 1, &state) == 0 && (state & 1) != 0;
    munmap(made, 1);
    return hidden;
}

static void map(mr__resident *resident, uint32_t index)
{
    const mr__source *source = &resident->sources->items[index];
    mr__file file;
    resident->index = index;
    if (source->size == 0 || source->tier->ops->open(source->tier, source->inside, &file) != 0)
        return;
    if (file.fd >= 0) {
        void *made = mr__fault(MR__FAULT_MAP) ? MAP_FAILED
                                              : mmap(NULL, source->size, PROT_READ, MAP_SHARED, file.fd, 0);
        resident->hidden = made == MAP_FAILED || is_hidden(file.fd, source->size);
        resident->map = made != MAP_FAILED ? made : NULL;
        resident->size = source->size;
    }
    source->tier->ops->close(&file);
}

bool mr__resident_at(mr__resident *resident, uint64_t offset)
{
    const uint32_t index = mr__source_at(resident->sources, offset);
    unsigned char state = 1;
    if (index != resident->index) {
        mr__resident_end(resident);
        map(resident, index);
    }
    if (resident->map == NULL || resident->hidden)
        return resident->hidden;
    const uint64_t page = mr__page_down(offset - resident->sources->items[index].start);
    return mincore(resident->map + page, 1, &state) != 0 || (state & 1) != 0;
}

void mr__resident_end(mr__resident *resident)
{
    if (resident->map != NULL)
        munmap(resident->map, resident->size);
    mr__resident_begin(resident, resident->sources);
}
