/* number.h: numbers as text, the same whatever locale the host program has chosen.
 * Promise   What is written between begin and end, by whichever function of C, has a point and no grouping.
 * Threads   The calling thread's locale alone changes, between begin and end; pairs may nest. */
#ifndef MR__NUMBER_H
#define MR__NUMBER_H

#include <locale.h>
#include <stddef.h>

locale_t mr__numbers_begin(void);       /* give what it returns to end */
void mr__numbers_end(locale_t before);

enum { MR__F64_ROOM = 32 };

/* As few digits as give the same number when they are read back: 0.1, 3, 1e+300; nan has no sign. Returns the length,
 * without the NUL. */
size_t mr__format_f64(double number, char text[MR__F64_ROOM]);

#endif
