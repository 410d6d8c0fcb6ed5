/* linelength.h: what the app and its kernel share: plain types, no pointers. */
#ifndef LINELENGTH_H
#define LINELENGTH_H

enum { LENGTHS = 256 };             /* the last stands for all longer lines, too */

struct linelength_params {
    uint64_t least;                 /* shorter lines do not count */
};

#endif
