/* members.c: a view after the other.
 *
 *                     lost(r), and this rank is the lowest alive        all living ranks have answered
 *   coordinator   STEADY ------------------------------------> ASKING ------------------------------> STEADY
 *                   ask(v+1, who is alive) to all                |  ^   decide, plan(v+1) to all
 *                                                                +--+ lost(r): ask(v+2)
 *
 *                     ask(v)                         plan(v)
 *   every rank    STEADY ------> ASKED ---------------------> STEADY, v applied
 *                   account(v)     |  ^    apply
 *                                  +--+ ask(v+1): a new account
 *
 * Nothing is voted on: the lowest living rank decides, and who is alive is what the courier says (courier.h: all
 * survivors learn of a loss, and nothing of a lost rank is heard after it). So two coordinators are never heard by the
 * same rank for long: one that was stopped and wakes up has been forgotten by all who know, and is expelled; those who
 * do not know yet learn it from the ask of the next coordinator, which names the living. The number of a view is the
 * coordinator's rank and a count of its own: the lowest living rank only grows, so a later view has a higher number,
 * although a coordinator never learns which views its predecessor asked for.
 *
 * Why accounts from all, and not only what changed: a coordinator that dies takes its book along. When every change
 * starts from what the survivors have, it does not matter who died, and there is one path to test. It costs one message
 * to and from each rank per loss, a few kilobytes.
 *
 * M1  applied <= asked: a plan is applied only for the last view asked for, and once.
 * M2  Only a coordinator that asks holds accounts; of each rank one.
 * M3  A rank that was lost stays lost: who is asked is present, and who is not present is not heard. */
#include "members.h"

#include <string.h>

#include "memory.h"

enum { ASK, ACCOUNT, PLAN };

struct mr__members {
    mr__courier *courier;
    mr__members_hooks hooks;
    uint32_t tag;
    uint32_t rank, size;
    uint64_t asked, applied;        /* views: coordinator << 32 | count */
    uint8_t *present;               /* bitmap: who is in `asked` and in all views before it */
    bool over;                      /* failed() was called */
    /* of a coordinator that asks */
    uint64_t asking;                /* the view; 0: it does not */
    uint32_t asks;
    uint8_t *living;                /* bitmap: who was asked */
    mr__packet *accounts;           /* [size], by rank; bytes NULL: not there yet */
    uint32_t awaited;
    mr__error error;
};

static size_t bitmap_size(const mr__members *members)
{
    return (members->size + 7) / 8;
}

static bool has(const uint8_t *bitmap, uint32_t rank)
{
    return bitmap[rank / 8] >> rank % 8 & 1;
}

static void fail(mr__members *members, mr_status status)
{
    if (members->over)
        return;
    members->over = true;
    members->hooks.failed(members->hooks.context, status, &members->error);
}

static void drop_accounts(mr__members *members)
{
    for (uint32_t r = 0; r < members->size; r++) {
        mr__free(members->accounts[r].bytes);
        members->accounts[r] = (mr__packet){.rank = r};
    }
    members->asking = 0;
    members->awaited = 0;
}

mr_status mr__members_create(mr__courier *courier, uint32_t tag, const mr__members_hooks *hooks, mr__members **members,
                             mr__error *error)
{
    mr_status status = MR_OK;
    mr__members *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for the members of a job");
    made->courier = courier;
    made->hooks = *hooks;
    made->tag = tag;
    made->rank = mr__courier_rank(courier);
    made->size = mr__courier_size(courier);
    made->living = mr__alloc_zero(1, bitmap_size(made));
    made->present = mr__alloc(bitmap_size(made));
    made->accounts = mr__alloc_zero(made->size, sizeof *made->accounts);
    MR_CHECK(made->living != NULL && made->present != NULL && made->accounts != NULL, MR_NO_MEMORY,
             "no memory for %u members of a job", made->size);
    memset(made->present, 0xff, bitmap_size(made));
    *members = made;
    made = NULL;
done:
    mr__members_destroy(made);
    return status;
}

void mr__members_destroy(mr__members *members)
{
    if (members == NULL)
        return;
    if (members->accounts != NULL)
        drop_accounts(members);
    mr__free(members->accounts);
    mr__free(members->living);
    mr__free(members->present);
    mr__free(members);
}

/* ---- the coordinator --------------------------------------------------------------------------------------------- */

static mr_status propose(mr__members *members, mr__error *error)
{
    mr_status status = MR_OK;
    drop_accounts(members);
    memset(members->living, 0, bitmap_size(members));
    for (uint32_t r = 0; r < members->size; r++) {
        if (has(members->present, r) && mr__courier_alive(members->courier, r)) {
            members->living[r / 8] |= (uint8_t)(1 << r % 8);
            members->awaited++;
        }
    }
    members->asking = (uint64_t)members->rank << 32 | ++members->asks;
    for (uint32_t r = 0; r < members->size; r++)
        if (has(members->living, r))
            MR_TRY(mr__courier_post(members->courier, MR__CONTROL, r, members->tag + ASK, &members->asking,
                                    sizeof members->asking, members->living, bitmap_size(members), error));
done:
    return status;
}

static mr_status send_plan(mr__members *members, const mr__packet *plan, mr__error *error)
{
    mr_status status = MR_OK;
    for (uint32_t r = 0; r < members->size; r++)
        if (has(members->living, r))
            MR_TRY(mr__courier_post(members->courier, MR__CONTROL, r, members->tag + PLAN, &members->asking,
                                    sizeof members->asking, plan->bytes, plan->size, error));
done:
    return status;
}

static mr_status decide(mr__members *members, mr__error *error)
{
    mr_status status = MR_OK;
    mr__packet plan = {.rank = members->rank};
    uint32_t count = 0;
    mr__packet *accounts = mr__alloc_zero(members->size, sizeof *accounts);
    MR_CHECK(accounts != NULL, MR_NO_MEMORY, "no memory for the accounts of %u ranks", members->size);
    for (uint32_t r = 0; r < members->size; r++)
        if (has(members->living, r))
            accounts[count++] = members->accounts[r];
    MR_TRY(members->hooks.decide(members->hooks.context, members->asking, accounts, count, &plan, error));
    MR_TRY(send_plan(members, &plan, error));
    drop_accounts(members);
done:
    mr__free(plan.bytes);
    mr__free(accounts);
    return status;
}

static mr_status take_account(mr__members *members, uint32_t from, uint64_t view, const uint8_t *bytes, size_t size,
                              mr__error *error)
{
    mr_status status = MR_OK;
    mr__packet *account = &members->accounts[from];
    if (members->asking == 0 || view != members->asking || account->bytes != NULL)
        return MR_OK;               /* the answer to an ask that was overtaken */
    account->bytes = mr__alloc(size + 1);
    MR_CHECK(account->bytes != NULL, MR_NO_MEMORY, "no memory for the account of rank %u", from);
    memcpy(account->bytes, bytes, size);
    account->size = size;
    if (--members->awaited == 0)
        MR_TRY(decide(members, error));
done:
    return status;
}

/* ---- every rank -------------------------------------------------------------------------------------------------- */

static mr_status answer(mr__members *members, uint32_t from, uint64_t view, const uint8_t *living, mr__error *error)
{
    mr_status status = MR_OK;
    mr__packet account = {.rank = members->rank};
    if (view <= members->asked)
        return MR_OK;
    MR_CHECK(has(living, members->rank), MR_NETWORK_FAILED, "rank %u takes rank %u for lost", from, members->rank);
    members->asked = view;
    for (size_t i = 0; i < bitmap_size(members); i++)
        members->present[i] &= living[i];
    for (uint32_t r = 0; r < members->size; r++)
        if (!has(living, r) && mr__courier_alive(members->courier, r))
            mr__courier_declare_lost(members->courier, r, "the coordinator lost it");
    MR_TRY(members->hooks.account(members->hooks.context, view, &account, error));
    MR_TRY(mr__courier_post(members->courier, MR__CONTROL, from, members->tag + ACCOUNT, &view, sizeof view,
                            account.bytes, account.size, error));
done:
    mr__free(account.bytes);
    return status;
}

static mr_status apply(mr__members *members, uint64_t view, const uint8_t *bytes, size_t size,
                       mr__error *error)
{
    mr_status status = MR_OK;
    if (view != members->asked || view == members->applied)
        return MR_OK;
    MR_TRY(members->hooks.apply(members->hooks.context, view, bytes, size, error));
    members->applied = view;
done:
    return status;
}

bool mr__members_message(mr__members *members, uint32_t from, uint32_t tag, const void *bytes, size_t size)
{
    mr_status status = MR_OK;
    mr__error *error = &members->error;
    uint64_t view;
    if (tag < members->tag || tag >= members->tag + MR__MEMBERS_TAGS)
        return false;
    if (members->over || !has(members->present, from))
        return true;
    const uint32_t kind = tag - members->tag;
    MR_CHECK(size >= sizeof view && (kind != ASK || size == sizeof view + bitmap_size(members)), MR_NETWORK_FAILED,
             "rank %u sent a message about members of %zu bytes", from, size);
    memcpy(&view, bytes, sizeof view);
    const uint8_t *rest = (const uint8_t *)bytes + sizeof view;
    size -= sizeof view;
    status = kind == ASK       ? answer(members, from, view, rest, error)
             : kind == ACCOUNT ? take_account(members, from, view, rest, size, error)
                               : apply(members, view, rest, size, error);
done:
    if (status != MR_OK)
        fail(members, status);
    return true;
}

void mr__members_propose(mr__members *members)
{
    if (members->over || mr__courier_lowest(members->courier) != members->rank)
        return;
    const mr_status status = propose(members, &members->error);
    if (status != MR_OK)
        fail(members, status);
}

bool mr__members_has(const mr__members *members, uint32_t rank)
{
    return has(members->present, rank);
}

uint64_t mr__members_view(const mr__members *members)
{
    return members->applied;
}

bool mr__members_changing(const mr__members *members)
{
    return members->applied < members->asked || members->asking > members->asked;
}

mr_status mr__members_check(const mr__members *members, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t held = 0, asked = 0;
    for (uint32_t r = 0; r < members->size; r++) {
        held += members->accounts[r].bytes != NULL;
        asked += has(members->living, r);
        MR_CHECK(members->accounts[r].bytes == NULL || has(members->living, r), MR_INTERNAL,
                 "M2 broken: an account of rank %u, which was not asked", r);
        MR_CHECK(members->asking == 0 || members->asking < members->asked || !has(members->living, r) ||
                 has(members->present, r), MR_INTERNAL, "M3 broken: rank %u was asked, and it was lost before", r);
    }
    MR_CHECK(members->applied <= members->asked, MR_INTERNAL, "M1 broken: view %llu was applied, %llu asked for",
             (unsigned long long)members->applied, (unsigned long long)members->asked);
    MR_CHECK(members->asking != 0 || held == 0, MR_INTERNAL, "M2 broken: %u accounts, and nobody was asked", held);
    MR_CHECK(members->asking == 0 || held + members->awaited == asked, MR_INTERNAL,
             "M2 broken: %u ranks were asked, %u answered, %u are awaited", asked, held, members->awaited);
done:
    return status;
}
