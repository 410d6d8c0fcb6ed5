/* account.c: accounts as bytes.
 *
 *   magic rank works groups       4 x u32
 *   [begin end first last]        2 x u64, 2 x u32      for each work
 *   [first last ranges]           3 x u32               for each group
 *       [begin end]               2 x u64               for each range that it covers
 *
 * all little-endian, without holes. What comes back is as strict as a cover promises (sorted, disjoint, neighbours do
 * not touch), so that who reads it needs no checks of its own but the job's (ledger_rebuild.c). No count is believed
 * before the bytes for it were seen: a broken message allocates no more than a few times its size. */
#include "ledger.h"

#include <endian.h>
#include <string.h>

#include "memory.h"

enum { MAGIC = 0x6163724d, HEAD = 16, WORK = 24, GROUP = 12, RANGE = 16 };     /* "Mrca" */

void mr__account_fini(mr__account *account)
{
    for (size_t i = 0; i < account->group_count; i++)
        mr__cover_fini(&account->groups[i].covered);
    mr__free(account->groups);
    mr__free(account->works);
    *account = (mr__account){.rank = account->rank};
}

/* ---- pack -------------------------------------------------------------------------------------------------------- */

static uint8_t *put32(uint8_t *to, uint32_t number)
{
    number = htole32(number);
    memcpy(to, &number, sizeof number);
    return to + sizeof number;
}

static uint8_t *put64(uint8_t *to, uint64_t number)
{
    number = htole64(number);
    memcpy(to, &number, sizeof number);
    return to + sizeof number;
}

mr_status mr__account_pack(const mr__account *account, uint8_t **bytes, size_t *size, mr__error *error)
{
    mr_status status = MR_OK;
    size_t need = HEAD + account->work_count * WORK;
    uint8_t *made = NULL, *to;
    bool counts_fit = account->work_count <= UINT32_MAX && account->group_count <= UINT32_MAX;
    for (size_t i = 0; i < account->group_count; i++) {
        need += GROUP + account->groups[i].covered.count * RANGE;
        counts_fit &= account->groups[i].covered.count <= UINT32_MAX;
    }
    MR_CHECK(counts_fit, MR_INTERNAL, "the account of rank %u is too long", account->rank);
    made = mr__alloc(need);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for the account of rank %u, %zu bytes", account->rank, need);
    to = put32(put32(made, MAGIC), account->rank);
    to = put32(put32(to, (uint32_t)account->work_count), (uint32_t)account->group_count);
    for (size_t i = 0; i < account->work_count; i++) {
        const mr__work *work = &account->works[i];
        to = put64(put64(to, work->begin), work->end);
        to = put32(put32(to, work->first), work->last);
    }
    for (size_t i = 0; i < account->group_count; i++) {
        const mr__group *group = &account->groups[i];
        to = put32(put32(put32(to, group->first), group->last), (uint32_t)group->covered.count);
        for (size_t k = 0; k < group->covered.count; k++)
            to = put64(put64(to, group->covered.ranges[k].begin), group->covered.ranges[k].end);
    }
    *bytes = made;
    *size = need;
done:
    return status;
}

/* ---- unpack ------------------------------------------------------------------------------------------------------ */

typedef struct view {
    const uint8_t *at, *end;
} view;

static bool has(const view *in, uint32_t count, size_t size)
{
    return count <= (size_t)(in->end - in->at) / size;
}

/* The caller has seen that they are there. */
static uint32_t get32(view *in)
{
    uint32_t number;
    memcpy(&number, in->at, sizeof number);
    in->at += sizeof number;
    return le32toh(number);
}

static uint64_t get64(view *in)
{
    uint64_t number;
    memcpy(&number, in->at, sizeof number);
    in->at += sizeof number;
    return le64toh(number);
}

static mr_status get_works(view *in, mr__account *account, uint32_t count, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(has(in, count, WORK), MR_NETWORK_FAILED, "the account of rank %u ends among its works", account->rank);
    account->works = mr__alloc(count * sizeof *account->works);
    MR_CHECK(account->works != NULL, MR_NO_MEMORY, "no memory for the account of rank %u", account->rank);
    for (; account->work_count < count; account->work_count++) {
        mr__work work = {.begin = get64(in)};
        work.end = get64(in);
        work.first = get32(in);
        work.last = get32(in);
        MR_CHECK(work.begin < work.end && work.first < work.last, MR_NETWORK_FAILED,
                 "the account of rank %u has an empty work", account->rank);
        account->works[account->work_count] = work;
    }
done:
    return status;
}

static mr_status get_covered(view *in, mr__cover *covered, uint32_t rank, uint32_t count, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(has(in, count, RANGE), MR_NETWORK_FAILED, "the account of rank %u ends among the ranges of a group",
             rank);
    if (count == 0)
        goto done;
    covered->ranges = mr__alloc(count * sizeof *covered->ranges);
    MR_CHECK(covered->ranges != NULL, MR_NO_MEMORY, "no memory for the account of rank %u", rank);
    covered->room = count;
    for (; covered->count < count; covered->count++) {
        mr__range range = {.begin = get64(in)};
        range.end = get64(in);
        MR_CHECK(range.begin < range.end &&
                     (covered->count == 0 || range.begin > covered->ranges[covered->count - 1].end),
                 MR_NETWORK_FAILED, "the account of rank %u has ranges that are out of order", rank);
        covered->ranges[covered->count] = range;
    }
done:
    return status;
}

static mr_status get_groups(view *in, mr__account *account, uint32_t count, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(has(in, count, GROUP), MR_NETWORK_FAILED, "the account of rank %u ends among its groups",
             account->rank);
    account->groups = mr__alloc_zero(count, sizeof *account->groups);
    MR_CHECK(account->groups != NULL, MR_NO_MEMORY, "no memory for the account of rank %u", account->rank);
    while (account->group_count < count) {
        MR_CHECK(has(in, 1, GROUP), MR_NETWORK_FAILED, "the account of rank %u ends among its groups",
                 account->rank);
        mr__group *group = &account->groups[account->group_count++];
        group->first = get32(in);
        group->last = get32(in);
        group->owner = account->rank;
        MR_CHECK(group->first < group->last, MR_NETWORK_FAILED, "the account of rank %u has an empty group",
                 account->rank);
        const uint32_t ranges = get32(in);
        MR_TRY(get_covered(in, &group->covered, account->rank, ranges, error));
    }
done:
    return status;
}

mr_status mr__account_unpack(const uint8_t *bytes, size_t size, mr__account *account, mr__error *error)
{
    mr_status status = MR_OK;
    view in = {bytes, bytes + size};
    mr__account made = {.rank = 0};
    MR_CHECK(size >= HEAD && get32(&in) == MAGIC, MR_NETWORK_FAILED, "%zu bytes are no account of a rank", size);
    made.rank = get32(&in);
    const uint32_t works = get32(&in), groups = get32(&in);
    MR_TRY(get_works(&in, &made, works, error));
    MR_TRY(get_groups(&in, &made, groups, error));
    MR_CHECK(in.at == in.end, MR_NETWORK_FAILED, "the account of rank %u has %zu bytes too many", made.rank,
             (size_t)(in.end - in.at));
    *account = made;
    made = (mr__account){.rank = 0};
done:
    mr__account_fini(&made);
    return status;
}
