/* ledger.h: what of the input is counted where, as rectangles in the plane of input and partitions.
 *
 *   partitions
 *      ^   +-----------+------+---------+
 *   P  |   | covered   | rank |  to do  |   a work: a range of the input, mapped for a range of partitions
 *      |   |           |  2   |         |   a group: partitions that lie side by side and have one owner
 *      |   +-----------+------+---------+   covered: an owner has the pairs of that input for its group, whole
 *      |   | covered          |  to do  |
 *   0  +---+------------------+---------+--> input, 0 .. total (bytes, or blocks)
 *
 * Who owns a group knows best what it has: so a change of members asks all survivors for their accounts (which works
 * they were given, which groups they own and what those cover) and computes what is to do from these alone. It does not
 * matter who was lost, the coordinator or another.
 * Promise   give() hands out every point of the plane that nobody has, once. A rank is given what lies near first
 *           (its home), then what the rank with the most left would get last. A living work has each group whole or
 *           not at all.
 * Cost      See ledger.c. give: the logarithm of the ranks.
 * Threads   One at a time: the courier's.
 * Failure   MR_NO_MEMORY; the ledger is as before. */
#ifndef MR__LEDGER_H
#define MR__LEDGER_H

#include "check.h"
#include "cover.h"

typedef struct mr__work {
    uint64_t begin, end;        /* input */
    uint32_t first, last;       /* partitions [first, last) */
} mr__work;

typedef struct mr__works {      /* a list that grows; mr__free(list) */
    mr__work *list;
    size_t count, room;
} mr__works;

mr_status mr__works_push(mr__works *works, mr__work work, mr__error *error);
/* What lies in the hole is in the list no more; works that met it are replaced by what is left of them. */
mr_status mr__works_cut(mr__works *works, const mr__work *hole, mr__error *error);

typedef struct mr__group {
    uint32_t first, last;       /* partitions */
    uint32_t owner;
    mr__cover covered;
} mr__group;

/* What one rank knows. It goes to the coordinator in a message. */
typedef struct mr__account {
    uint32_t rank;
    mr__work *works;            /* given to it and not taken back: mapped, being mapped, or waiting */
    size_t work_count;
    mr__group *groups;          /* that it owns. Covered: at least what it has of ranks that are lost; what it has of
                                 * living ones need not be told, and telling it makes all accounts together grow with
                                 * ranks squared */
    size_t group_count;
} mr__account;

typedef struct mr__ledger mr__ledger;

/* A job begins: all is to do, each of `ranks` ranks owns an equal range of partitions (partitions >= ranks) and is at
 * home in an equal range of the input. So many places has the job. A higher rank is a spare: it owns nothing before it
 * takes the place of one that was lost, in a rebuild that its account was there for. Whether it is given work before
 * that is up to the caller. */
mr_status mr__ledger_create(uint64_t total, uint32_t partitions, uint32_t ranks, uint64_t smallest, mr__ledger **ledger,
                            mr__error *error);
void mr__ledger_destroy(mr__ledger *ledger);
/* [begin, end) can be read by this rank from its own disk or memory; later calls win. Calls in order of the input are
 * cheap, others move what lies behind. */
mr_status mr__ledger_set_home(mr__ledger *ledger, uint32_t rank, uint64_t begin, uint64_t end, mr__error *error);
/* The next work for a rank; its size shrinks towards the end. least: units below which a work is not worth its messages
 * for this rank; 0: it does not know. *found = false: nothing is to do now. */
mr_status mr__ledger_give(mr__ledger *ledger, uint32_t rank, uint64_t least, mr__work *work, bool *found,
                          mr__error *error);
/* Units (input x partitions / all partitions, rounded up) nobody was given yet. */
uint64_t mr__ledger_left(const mr__ledger *ledger);
/* The owners: groups in order of partitions, without gaps. Their `covered` is empty: ask the owners. Valid until a
 * rebuild. */
const mr__group *mr__ledger_groups(const mr__ledger *ledger, size_t *count);

/* After a change of members: `accounts` of all ranks that are alive. The groups of the others are divided among the
 * living, evenly by partitions owned, and begin empty; groups of the living stay as they are. Of the spares that own
 * nothing only as many take part as places are vacant, the lowest first. What the dead had and nobody covers is to do.
 * Two owners of one partition, or accounts that do not fit the job, are MR_INTERNAL with the ranks. The ledger need not
 * be the one that gave the works: one that was just created will do, with the same homes. */
mr_status mr__ledger_rebuild(mr__ledger *ledger, const mr__account *accounts, size_t count, mr__error *error);

/* Accounts as bytes: little-endian, checked on the way back (MR_NETWORK_FAILED). The caller frees (mr__free, fini). */
mr_status mr__account_pack(const mr__account *account, uint8_t **bytes, size_t *size, mr__error *error);
mr_status mr__account_unpack(const uint8_t *bytes, size_t size, mr__account *account, mr__error *error);
void mr__account_fini(mr__account *account);

/* L1..: see ledger.c; MR_INTERNAL with the one that is broken. */
mr_status mr__ledger_check(const mr__ledger *ledger, mr__error *error);

#endif
