/* joint_view.c: what the ranks agree on when a job begins, and again when some of them are lost.
 *
 *   account   of a rank: what job it does (its digest), what of the input its node has in memory (near.h), what it
 *             took over from an earlier plan, the round it is in, the works it was given, the groups it owns and what
 *             these have of ranks that are lost (ledger.h)
 *   decide    on the coordinator: is it one and the same job everywhere? which round is it? A ledger is made of the
 *             accounts alone, and says who owns what from now on
 *   apply     on every rank: new groups for outbox and inbox; then it asks for work again
 *
 * What a rank forgot (outbox.c) of what it sent to a rank that is lost now, it was never given, as it says in its
 * account: then it is to do. What it forgot for living owners is theirs, and it answers for it as before.
 *
 * The numbers of a plan (partitions, parts, the place of the output) are those of the first coordinator; a later one
 * finds them in the accounts, or, if nobody got them, decides anew.
 *
 * Rounds. A rank that is a round behind missed the folded table, because whoever sent it was lost half-way. The lowest
 * of those that have it (`folder`) sends it to all; whatever the others were given in the old round is void. */
#include "joint_parts.h"

#include <stdio.h>
#include <unistd.h>

#include "plan_files.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { NOBODY = -1, HOST_SIZE = 64 };

/* What makes it the same job. */
typedef struct digest {
    const char *version, *app, *host;
    uint32_t spares;
    uint64_t app_hash, params_hash, read_hash, input_bytes, sources, sources_hash, units;
    const char *no_device;      /* that this rank was asked for, and has not got; "" */
    bool has_device;            /* another one that it was asked for */
} digest;

/* One account, read. */
typedef struct heard {
    uint32_t rank;
    digest digest;
    bool planned;
    uint32_t partitions, parts, round;
    const char *place;
    mr__near near;
    mr__account account;
} heard;

/* ---- account ----------------------------------------------------------------------------------------------------- */

static uint64_t hash_params(const mr__job *job)
{
    const mr_job *request = job->request;
    XXH64_hash_t hash = XXH3_64bits(request->output != NULL ? request->output : "",
                                    request->output != NULL ? strlen(request->output) : 0);
    for (uint32_t i = 0; i < request->param_count; i++)
        hash = XXH3_64bits_withSeed(request->params[i], strlen(request->params[i]), hash);
    const uint64_t rest[] = {hash, (uint64_t)job->sort, request->parts, request->force};
    return XXH3_64bits(rest, sizeof rest);
}

static uint64_t hash_app(const mr__job *job)
{
    const mr_app *app = job->app;
    const uint64_t shape[] = {app->input, app->key, app->value, app->combine, app->key_suffix, app->layout,
                              job->plan.record_size, job->plan.column_count, job->plan.dense_keys,
                              job->layout.value_size, job->block_rows};
    return XXH3_64bits(shape, sizeof shape);
}

/* Works are ranges of the list: its order is part of what they mean. 100,000 files: 1 ms. */
static uint64_t hash_sources(const mr__sources *sources)
{
    XXH64_hash_t hash = 0;
    for (uint32_t s = 0; s < sources->count; s++)
        hash = XXH3_64bits_withSeed(sources->items[s].path, strlen(sources->items[s].path),
                                    hash ^ sources->items[s].size);
    return hash;
}

static void write_digest(const mr__job *job, mr__writing *to)
{
    char host[HOST_SIZE] = "?";
    gethostname(host, sizeof host - 1);
    mr__write_text(to, mr_version());
    mr__write_text(to, job->app_name);
    mr__write_text(to, host);
    mr__write_u32(to, job->ranks - job->working);
    mr__write_u64(to, hash_app(job));
    mr__write_u64(to, hash_params(job));
    mr__write_u64(to, job->plan_private->read_hash);
    mr__write_u64(to, job->plan.input_bytes);
    mr__write_u64(to, job->dataset != NULL ? job->dataset->sources->count : 0);
    mr__write_u64(to, job->dataset != NULL ? hash_sources(job->dataset->sources) : 0);
    mr__write_u64(to, job->schedule_total);
    mr__write_text(to, job->devices.missing != NULL ? job->devices.missing : "");
    mr__write_u32(to, job->devices.found);
    mr__near_write(&job->joint->near, to);
}

static digest read_digest(mr__reading *from)
{
    digest d;
    d.version = mr__read_text(from);
    d.app = mr__read_text(from);
    d.host = mr__read_text(from);
    d.spares = mr__read_u32(from);
    d.app_hash = mr__read_u64(from);
    d.params_hash = mr__read_u64(from);
    d.read_hash = mr__read_u64(from);
    d.input_bytes = mr__read_u64(from);
    d.sources = mr__read_u64(from);
    d.sources_hash = mr__read_u64(from);
    d.units = mr__read_u64(from);
    d.no_device = mr__read_text(from);
    d.has_device = mr__read_u32(from) != 0;
    return d;
}

static bool is_lost(void *context, uint32_t rank)
{
    return !mr__members_has(((mr__joint *)context)->members, rank);
}

static uint32_t share_of(const mr__joint *joint, uint32_t partition)
{
    return (uint32_t)(((uint64_t)partition * joint->shares + joint->job->partitions - 1) / joint->job->partitions);
}

/* Fills the account of this rank; what it takes from the inbox counts in partitions, and is the ledger's in shares. */
static mr_status own_groups(mr__joint *joint, mr__account *account, mr__error *error)
{
    mr_status status = MR_OK;
    for (size_t g = 0; g < joint->group_count; g++)
        account->group_count += joint->groups[g].owner == joint->rank;
    account->groups = mr__alloc_zero(account->group_count + 1, sizeof *account->groups);
    MR_CHECK(account->groups != NULL, MR_NO_MEMORY, "no memory for an account");
    mr__group *to = account->groups;
    for (size_t g = 0; g < joint->group_count; g++) {
        if (joint->groups[g].owner != joint->rank)
            continue;
        *to++ = (mr__group){.first = joint->groups[g].first, .last = joint->groups[g].last, .owner = joint->rank};
    }
    if (!joint->ready || joint->inbox == NULL)     /* before that it is the job's thread's */
        goto done;
    for (size_t g = 0; g < account->group_count; g++) {
        account->groups[g].first = mr__share_first(joint, account->groups[g].first);
        account->groups[g].last = mr__share_first(joint, account->groups[g].last);
    }
    MR_TRY(mr__inbox_cover(joint->inbox, is_lost, joint, account->groups, account->group_count, error));
    for (size_t g = 0; g < account->group_count; g++) {
        account->groups[g].first = share_of(joint, account->groups[g].first);
        account->groups[g].last = share_of(joint, account->groups[g].last);
    }
done:
    return status;
}

/* Twice is as good as once. */
static mr_status give_back(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    mr__works forgotten = {.count = 0};
    mr__works own = {joint->own.works, joint->own.work_count, joint->own.work_count};
    MR_TRY(mr__outbox_forgotten(joint->outbox, is_lost, joint, &forgotten, error));
    for (size_t i = 0; i < forgotten.count && status == MR_OK; i++) {
        mr__work hole = forgotten.list[i];
        hole.first = share_of(joint, hole.first);
        hole.last = share_of(joint, hole.last);
        status = mr__works_cut(&own, &hole, error);
    }
    joint->own.works = own.list;
    joint->own.work_count = own.count;
done:
    mr__free(forgotten.list);
    return status;
}

mr_status mr__joint_account(void *context, uint64_t view, mr__packet *packet, mr__error *error)
{
    mr_status status = MR_OK;
    mr__joint *joint = context;
    mr__writing to = {.size = 0};
    mr__account account = {.rank = joint->rank};
    uint8_t *bytes = NULL;
    size_t size = 0;
    (void)view;
    for (uint32_t r = 0; r < joint->size && joint->ready && joint->inbox != NULL; r++)
        if (is_lost(joint, r))
            mr__inbox_forget(joint->inbox, r);
    if (joint->ready && joint->outbox != NULL)
        MR_TRY(give_back(joint, error));
    account.works = joint->own.works;
    account.work_count = joint->own.work_count;
    MR_TRY(own_groups(joint, &account, error));
    MR_TRY(mr__account_pack(&account, &bytes, &size, error));
    write_digest(joint->job, &to);
    mr__write_u32(&to, joint->agreed);
    mr__write_u32(&to, joint->partitions);
    mr__write_u32(&to, joint->parts);
    mr__write_u32(&to, joint->round);
    mr__write_text(&to, joint->place);
    mr__write(&to, bytes, size);
    MR_CHECK(!to.broken, MR_NO_MEMORY, "no memory for an account");
    packet->bytes = to.bytes;
    packet->size = to.size;
    to.bytes = NULL;
done:
    account.works = NULL;       /* the joint's */
    account.work_count = 0;
    mr__account_fini(&account);
    mr__free(bytes);
    mr__free(to.bytes);
    return status;
}

/* ---- decide ------------------------------------------------------------------------------------------------------ */

static mr_status read_account(const mr__packet *packet, heard *one, mr__error *error)
{
    mr_status status = MR_OK;
    mr__reading in = {packet->bytes, packet->bytes + packet->size, false};
    one->rank = packet->rank;
    one->digest = read_digest(&in);
    mr__near_read(&in, one->digest.units, &one->near);
    one->planned = mr__read_u32(&in) != 0;
    one->partitions = mr__read_u32(&in);
    one->parts = mr__read_u32(&in);
    one->round = mr__read_u32(&in);
    one->place = mr__read_text(&in);
    MR_CHECK(!in.broken, MR_NETWORK_FAILED, "rank %u sent an account of %zu bytes that this version cannot read",
             packet->rank, packet->size);
    MR_TRY(mr__account_unpack(in.at, (size_t)(in.end - in.at), &one->account, error));
    MR_CHECK(one->account.rank == packet->rank, MR_NETWORK_FAILED, "rank %u sent the account of rank %u", packet->rank,
             one->account.rank);
done:
    return status;
}

static mr_status compare(const heard *first, const heard *other, mr__error *error)
{
    mr_status status = MR_OK;
    const digest *a = &first->digest, *b = &other->digest;
    MR_CHECK(strcmp(a->version, b->version) == 0, MR_NETWORK_FAILED,
             "rank %u on %s is version %s, rank %u on %s is version %s\n  hint: install one version on all nodes",
             first->rank, a->host, a->version, other->rank, b->host, b->version);
    MR_CHECK(strcmp(a->app, b->app) == 0 && a->app_hash == b->app_hash, MR_NETWORK_FAILED,
             "rank %u on %s runs app %s, rank %u on %s another one (%s)\n  hint: all ranks must run the same program",
             first->rank, a->host, a->app, other->rank, b->host, b->app);
    MR_CHECK(a->spares == b->spares, MR_NETWORK_FAILED,
             "rank %u on %s was told of %u spare ranks, rank %u on %s of %u\n"
             "  hint: MILLRACE_SPARES must be the same on all nodes", first->rank, a->host, a->spares, other->rank,
             b->host, b->spares);
    MR_CHECK(a->params_hash == b->params_hash, MR_NETWORK_FAILED,
             "rank %u on %s and rank %u on %s were given different parameters or outputs\n"
             "  hint: all ranks must run the same program", first->rank, a->host, other->rank, b->host);
    MR_CHECK(a->sources == b->sources && a->input_bytes == b->input_bytes && a->units == b->units, MR_BAD_INPUT,
             "rank %u on %s sees %llu files of %llu bytes, rank %u on %s sees %llu files of %llu bytes\n"
             "  hint: the input must lie where all ranks see it, and be whole before the job begins",
             first->rank, a->host, (unsigned long long)a->sources, (unsigned long long)a->input_bytes, other->rank,
             b->host, (unsigned long long)b->sources, (unsigned long long)b->input_bytes);
    MR_CHECK(a->sources_hash == b->sources_hash, MR_BAD_INPUT,
             "rank %u on %s and rank %u on %s see %llu files of %llu bytes each, but of different names or sizes\n"
             "  hint: the input must lie under the same path on all nodes, and be whole before the job begins",
             first->rank, a->host, other->rank, b->host, (unsigned long long)a->sources,
             (unsigned long long)a->input_bytes);
    MR_CHECK(a->read_hash == b->read_hash, MR_BAD_INPUT,
             "rank %u on %s and rank %u on %s read different bytes in the plan of app %s\n"
             "  hint: what it reads beforehand (a file that a parameter names) must be the same on all nodes",
             first->rank, a->host, other->rank, b->host, a->app);
done:
    return status;
}

/* Nodes may differ, and ranks without a device do without; but a name that none knows is a mistake. */
static mr_status check_devices(const heard *all, uint32_t count, mr__error *error)
{
    mr_status status = MR_OK;
    const heard *without = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (all[i].planned || all[i].digest.has_device)
            return MR_OK;
        if (without == NULL && all[i].digest.no_device[0] != '\0')
            without = &all[i];
    }
    MR_CHECK(without == NULL, MR_BAD_USAGE, "there is no device %s on any of %u ranks\n"
             "  hint: `millrace devices` on a node lists those that it has", without->digest.no_device, count);
done:
    return status;
}

/* The numbers of an earlier plan, or this rank's own. */
static mr_status choose_numbers(mr__joint *joint, const heard *all, uint32_t count, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = joint->job;
    for (uint32_t i = 0; i < count && !joint->agreed; i++) {
        if (!all[i].planned)
            continue;
        joint->partitions = all[i].partitions;
        joint->parts = all[i].parts;
        mr__free(joint->place);
        joint->place = mr__strdup(all[i].place);
        MR_CHECK(joint->place != NULL, MR_NO_MEMORY, "no memory for the place of the output");
        return MR_OK;
    }
    if (joint->agreed || joint->place != NULL)
        return MR_OK;
    joint->partitions = job->partitions;
    joint->parts = job->parts;
    if (job->request->output != NULL)
        MR_TRY(mr__output_open_shared(job->session->names, job->request->output, job->request->force, joint->rank,
                                      &joint->output, error));
    joint->place = mr__strdup(joint->output != NULL ? mr__output_place(joint->output) : "");
    MR_CHECK(joint->place != NULL, MR_NO_MEMORY, "no memory for the place of the output");
done:
    return status;
}

/* Of the ledger: dense keys are not shuffled, so that there each place stands for itself. */
static uint32_t shares_of(const mr__joint *joint)
{
    const mr__job *job = joint->job;
    return job->dense ? joint->working : job->collect ? joint->partitions : joint->parts;
}

static mr_status find_homes(mr__joint *joint, const heard *all, uint32_t count, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t used = 0;
    mr__nearby *ranks = mr__alloc(count * sizeof *ranks);
    MR_CHECK(ranks != NULL, MR_NO_MEMORY, "no memory for the homes of %u ranks", count);
    for (uint32_t i = 0; i < count; i++)
        if (all[i].rank < joint->working)       /* a spare may never map */
            ranks[used++] = (mr__nearby){all[i].rank, &all[i].near};
    MR_TRY(mr__homes_find(ranks, used, joint->job->schedule_total, joint->job->smallest_task, &joint->homes, error));
done:
    mr__free(ranks);
    return status;
}

static mr_status make_ledger(mr__joint *joint, const mr__account *accounts, size_t count, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__job *job = joint->job;
    mr__ledger *made = NULL;
    MR_TRY(mr__ledger_create(job->schedule_total, shares_of(joint), joint->working, job->smallest_task, &made, error));
    MR_TRY(mr__homes_set(&joint->homes, made, error));
    MR_TRY(mr__ledger_rebuild(made, accounts, count, error));
    mr__ledger_destroy(joint->ledger);
    joint->ledger = made;
    made = NULL;
done:
    mr__ledger_destroy(made);
    return status;
}

static mr_status write_plan(mr__joint *joint, uint32_t round, int64_t folder, mr__packet *plan, mr__error *error)
{
    mr_status status = MR_OK;
    mr__writing to = {.size = 0};
    size_t count;
    const mr__group *groups = mr__ledger_groups(joint->ledger, &count);
    mr__write_u32(&to, joint->partitions);
    mr__write_u32(&to, joint->parts);
    mr__write_text(&to, joint->place);
    mr__write_u32(&to, round);
    mr__write_u64(&to, (uint64_t)folder);
    mr__write_u32(&to, (uint32_t)count);
    for (size_t g = 0; g < count; g++) {
        mr__write_u32(&to, groups[g].first);
        mr__write_u32(&to, groups[g].last);
        mr__write_u32(&to, groups[g].owner);
    }
    MR_CHECK(!to.broken, MR_NO_MEMORY, "no memory for a plan");
    plan->bytes = to.bytes;
    plan->size = to.size;
    to.bytes = NULL;
done:
    mr__free(to.bytes);
    return status;
}

mr_status mr__joint_decide(void *context, uint64_t view, const mr__packet *accounts, uint32_t count, mr__packet *plan,
                           mr__error *error)
{
    mr_status status = MR_OK;
    mr__joint *joint = context;
    heard *all = mr__alloc_zero(count, sizeof *all);
    mr__account *works = mr__alloc_zero(count, sizeof *works);
    uint32_t round = 0;
    int64_t folder = NOBODY;
    bool behind = false;
    (void)view;
    if (joint->ready && joint->job->output != NULL && mr__output_is_committed(joint->job->output))
        mr__joint_commit(joint, NULL, 0);       /* by a coordinator that could not say so */
    MR_CHECK(all != NULL && works != NULL, MR_NO_MEMORY, "no memory for the accounts of %u ranks", count);
    for (uint32_t i = 0; i < count; i++) {
        MR_TRY(read_account(&accounts[i], &all[i], error));
        MR_TRY(compare(&all[0], &all[i], error));
        round = all[i].round > round ? all[i].round : round;
    }
    MR_TRY(check_devices(all, count, error));
    MR_TRY(choose_numbers(joint, all, count, error));
    for (uint32_t i = 0; i < count; i++) {
        works[i] = all[i].account;
        if (all[i].round < round) {     /* what it was given was of a round that is over */
            works[i].work_count = 0;
            behind = true;
        } else if (folder == NOBODY) {
            folder = all[i].rank;
        }
    }
    MR_TRY(find_homes(joint, all, count, error));
    MR_TRY(make_ledger(joint, works, count, error));
    joint->ledger_round = round;
    mr__joint_drop_fold(joint);
    for (uint32_t s = 0; s < shares_of(joint) && joint->writer != NULL; s++)
        joint->writer[s] = UINT32_MAX;
    MR_TRY(write_plan(joint, round, behind ? folder : NOBODY, plan, error));
done:
    for (uint32_t i = 0; all != NULL && i < count; i++)
        mr__account_fini(&all[i].account);
    mr__free(all);
    mr__free(works);
    return status;
}

/* ---- apply ------------------------------------------------------------------------------------------------------- */

mr_status mr__joint_assign(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    mr__group *groups = NULL;
    if (joint->outbox == NULL)
        return MR_OK;
    groups = mr__alloc_zero(joint->group_count, sizeof *groups);
    MR_CHECK(groups != NULL, MR_NO_MEMORY, "no memory for %zu groups", joint->group_count);
    for (size_t g = 0; g < joint->group_count; g++)
        groups[g] = (mr__group){.first = mr__share_first(joint, joint->groups[g].first),
                                .last = mr__share_first(joint, joint->groups[g].last),
                                .owner = joint->groups[g].owner};
    MR_TRY(mr__outbox_assign(joint->outbox, groups, joint->group_count, error));
    MR_TRY(mr__inbox_assign(joint->inbox, groups, joint->group_count, error));
done:
    mr__free(groups);
    return status;
}

static mr_status agree(mr__joint *joint, uint32_t partitions, uint32_t parts, const char *place, mr__error *error)
{
    mr_status status = MR_OK;
    char *copy = mr__strdup(place);
    MR_CHECK(copy != NULL, MR_NO_MEMORY, "no memory for the place of the output");
    MR_CHECK(partitions > 0 && partitions <= 1 << MR__PARTITION_BITS && (partitions & (partitions - 1)) == 0 &&
                 parts > 0 && parts <= partitions, MR_NETWORK_FAILED, "a plan of %u partitions in %u parts cannot be",
             partitions, parts);
    pthread_mutex_lock(&joint->mutex);
    joint->partitions = partitions;
    joint->parts = parts;
    mr__free(joint->place);
    joint->place = copy;
    joint->agreed = true;
    pthread_cond_broadcast(&joint->changed);
    pthread_mutex_unlock(&joint->mutex);
    copy = NULL;
    joint->shares = shares_of(joint);
    joint->reduced = mr__alloc_zero(joint->shares, sizeof *joint->reduced);
    joint->writer = mr__alloc(joint->shares * sizeof *joint->writer);
    joint->reduce_list = mr__alloc(joint->shares * sizeof *joint->reduce_list);
    MR_CHECK(joint->reduced != NULL && joint->writer != NULL && joint->reduce_list != NULL, MR_NO_MEMORY,
             "no memory for %u parts", joint->shares);
    memset(joint->writer, 0xff, joint->shares * sizeof *joint->writer);
done:
    mr__free(copy);
    return status;
}

static mr_status read_groups(mr__joint *joint, mr__reading *in, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t count = mr__read_u32(in);
    uint32_t at = 0;
    mr__group *groups = NULL;
    MR_CHECK(!in->broken && count > 0 && count <= joint->shares, MR_NETWORK_FAILED, "a plan of %u groups cannot be",
             count);
    groups = mr__alloc_zero(count, sizeof *groups);
    MR_CHECK(groups != NULL, MR_NO_MEMORY, "no memory for %u groups", count);
    for (uint32_t g = 0; g < count; g++) {
        groups[g].first = mr__read_u32(in);
        groups[g].last = mr__read_u32(in);
        groups[g].owner = mr__read_u32(in);
        MR_CHECK(groups[g].first == at && groups[g].last > at && groups[g].owner < joint->size, MR_NETWORK_FAILED,
                 "a plan's group %u cannot be", g);
        at = groups[g].last;
    }
    MR_CHECK(mr__read_well(in) && at == joint->shares, MR_NETWORK_FAILED, "a plan cannot be read");
    mr__free(joint->groups);
    joint->groups = groups;
    joint->group_count = count;
    groups = NULL;
done:
    mr__free(groups);
    return status;
}

mr_status mr__joint_apply(void *context, uint64_t view, const uint8_t *plan, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    mr__joint *joint = context;
    mr__reading in = {plan, plan + size, false};
    const uint32_t partitions = mr__read_u32(&in), parts = mr__read_u32(&in);
    const char *place = mr__read_text(&in);
    const uint32_t round = mr__read_u32(&in);
    const int64_t folder = (int64_t)mr__read_u64(&in);
    (void)view;
    if (!joint->agreed)
        MR_TRY(agree(joint, partitions, parts, place, error));
    MR_TRY(read_groups(joint, &in, error));
    joint->asked = joint->dry = joint->idle = joint->reduces = false;
    if (joint->ready)
        MR_TRY(mr__joint_assign(joint, error));
    pthread_mutex_lock(&joint->mutex);
    joint->turn_count = 0;
    pthread_mutex_unlock(&joint->mutex);
    joint->behind = round > joint->round;
    joint->folds = folder == joint->rank;
    mr__joint_fill_places(joint);
    mr__joint_post(joint, MR__CONTROL, joint->rank, MR__OWN_APPLIED, &view, sizeof view);
done:
    return status;
}

mr_status mr__joint_new_round(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    mr__account *nothing = NULL;
    uint32_t count = 0;
    joint->round++;
    joint->own.work_count = 0;
    joint->waiting.count = 0;
    joint->asked = joint->dry = joint->idle = joint->reduces = joint->behind = false;
    if (!mr__joint_decided(joint) || joint->ledger_round == joint->round)    /* others may be in it already */
        return MR_OK;
    nothing = mr__alloc_zero(joint->size, sizeof *nothing);
    MR_CHECK(nothing != NULL, MR_NO_MEMORY, "no memory for a round");
    for (uint32_t r = 0; r < joint->size; r++)
        if (mr__members_has(joint->members, r))
            nothing[count++].rank = r;
    MR_TRY(make_ledger(joint, nothing, count, error));
    joint->ledger_round = joint->round;
    memset(joint->idle_in, 0, joint->size * sizeof *joint->idle_in);
    mr__joint_drop_fold(joint);
done:
    mr__free(nothing);
    return status;
}
