/* voyages.h: whole jobs of convoy_apps.h, from their input to a comparison of what came of them. Each call scraps the
 * convoy at its end; what its ships did can still be asked. */
#ifndef MR__VOYAGES_H
#define MR__VOYAGES_H

#include "convoy_cargo.h"

/* Ranks and strikes are the caller's. Everybody who lives arrives, the output is what is wanted, and nothing is beside
 * it; it is removed. */
void voyage_sail(const struct voyage *voyage, struct convoy *convoy);

enum { VOYAGES_IN_A_ROW = 8 };

/* The same for several jobs of one session. */
void voyages_sail_in_a_row(const char *const *names, uint32_t count, struct convoy *convoy);

/* A number of the environment, if it is more than 0. */
unsigned voyages_setting(const char *name, unsigned preset);
/* Calls one() with 1 .. preset; MILLRACE_JOINT_SEEDS: with so many, each of which is printed; MILLRACE_JOINT_SEED: with
 * that one alone. */
void voyages_by_chance(unsigned preset, void (*one)(unsigned seed));

#endif
