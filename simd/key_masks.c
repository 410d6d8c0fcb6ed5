/* key_masks.c: row n keeps the first n of 16 bytes: a short key is loaded whole and cut without a branch. */
#include <millrace/emit.h>

#define KEEP(n) [n] = {[0 ... (n) - 1] = 0xff}

const uint8_t mr__key_masks[17][16] = {KEEP(1),  KEEP(2),  KEEP(3),  KEEP(4),  KEEP(5),  KEEP(6),  KEEP(7),  KEEP(8),
                                       KEEP(9),  KEEP(10), KEEP(11), KEEP(12), KEEP(13), KEEP(14), KEEP(15), KEEP(16)};
