/* carry_fleet.c: nodes, letters, lanes and what they come to. */
#include "carry_fleet.h"

#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "memory.h"

static mr__burst *burst;
static char burst_parent[256];
static mr_session session;              /* of ranks on nodes of their own */

int fleet_set_up(void **state)
{
    mr__error error = {.text = ""};
    const char *temporary = getenv("TMPDIR");
    snprintf(burst_parent, sizeof burst_parent, "%s/millrace-carry-XXXXXX", temporary != NULL ? temporary : "/tmp");
    if (mkdtemp(burst_parent) == NULL || mr__burst_open(burst_parent, &burst, &error) != MR_OK) {
        printf("no burst directory: %s\n", error.text);
        return -1;
    }
    return 0;
}

int fleet_tear_down(void **state)
{
    mr__burst_close(burst);
    return rmdir(burst_parent);     /* fails if something was left in it */
}

uint32_t fleet_pairs(uint64_t unit, uint32_t partition)
{
    const uint64_t mixed = (unit * 0x9e3779b97f4a7c15u) ^ (partition * 0xc2b2ae3d27d4eb4fu);
    return (uint32_t)((mixed >> 29) % 4);
}

static bool is_dead(const struct fleet *fleet, uint32_t rank)
{
    return atomic_load(&fleet->dead[rank]);
}

/* ---- mail -------------------------------------------------------------------------------------------------------- */

static mr_status post(void *context, mr__path path, uint32_t to, uint32_t kind, const void *head, size_t head_size,
                      const void *bytes, size_t size, mr__error *error)
{
    const struct node *from = context;
    struct fleet *fleet = from->fleet;
    struct letter *made = malloc(sizeof *made + head_size + size);
    assert_non_null(made);
    assert_true(head_size + size <= MR__MESSAGE_MOST);
    *made = (struct letter){.kind = kind, .size = head_size + size};
    memcpy(made->bytes, head, head_size);
    if (size > 0)
        memcpy(made->bytes + head_size, bytes, size);
    pthread_mutex_lock(&fleet->post_office);
    struct letters *list = &fleet->letters[from->rank][to][path];
    if (!is_dead(fleet, from->rank) && !is_dead(fleet, to)) {
        *list->tail = made;
        list->tail = &made->next;
        list->bytes += made->size;
        made = NULL;
    }
    pthread_mutex_unlock(&fleet->post_office);
    free(made);
    return MR_OK;
}

static size_t pending(void *context, mr__path path, uint32_t to)
{
    const struct node *from = context;
    struct fleet *fleet = from->fleet;
    pthread_mutex_lock(&fleet->post_office);
    const size_t bytes = fleet->letters[from->rank][to][path].bytes;
    pthread_mutex_unlock(&fleet->post_office);
    return bytes;
}

static void clear(void *context)
{
    atomic_store(&((struct node *)context)->told_clear, true);
}

static void failed(void *context, mr_status status, const mr__error *error)
{
    struct node *of = context;
    printf("the carrier of rank %u failed: %s\n", of->rank, error->text);
    atomic_store(&of->failed, true);
}

struct letter *fleet_take_letter(struct fleet *fleet, uint32_t from, uint32_t to, mr__path path)
{
    pthread_mutex_lock(&fleet->post_office);
    struct letters *list = &fleet->letters[from][to][path];
    struct letter *taken = list->head;
    if (taken != NULL) {
        list->head = taken->next;
        list->bytes -= taken->size;
        if (list->head == NULL)
            list->tail = &list->head;
    }
    pthread_mutex_unlock(&fleet->post_office);
    return taken;
}

mr_status fleet_hand_over(struct node *to, uint32_t from, const struct letter *one, mr__error *error)
{
    return one->kind == MR__MAIL_CHUNK || one->kind == MR__MAIL_END
               ? mr__inbox_message(to->inbox, from, one->kind, one->bytes, one->size, error)
               : mr__outbox_message(to->outbox, from, one->kind, one->bytes, one->size, error);
}

bool fleet_deliver(struct fleet *fleet, uint32_t from, uint32_t to, mr__path path)
{
    mr__error error = {.text = ""};
    struct letter *taken = fleet_take_letter(fleet, from, to, path);
    if (taken == NULL)
        return false;
    if (fleet_hand_over(&fleet->nodes[to], from, taken, &error) != MR_OK)
        fail_msg("rank %u, message of rank %u: %s", to, from, error.text);
    free(taken);
    return true;
}

static void drop_letters(struct fleet *fleet, uint32_t from, uint32_t to)
{
    for (mr__path path = MR__CONTROL; path < MR__PATHS; path++)
        for (struct letter *one; (one = fleet_take_letter(fleet, from, to, path)) != NULL;)
            free(one);
}

/* ---- made and unmade --------------------------------------------------------------------------------------------- */

static void succeed(mr_status status, const mr__error *error)
{
    if (status != MR_OK)
        fail_msg("%s", error->text);
}

static void set_plan(struct node *of, const mr__group *groups, size_t count)
{
    free(of->plan);
    of->plan = calloc(count, sizeof *groups);
    assert_non_null(of->plan);
    for (size_t i = 0; i < count; i++)
        of->plan[i] = (mr__group){.first = groups[i].first, .last = groups[i].last, .owner = groups[i].owner};
    of->plan_count = count;
}

static void begin_node(struct node *made, uint64_t limit, uint32_t chunk, bool threads)
{
    mr__error error = {.text = ""};
    mr__job *job = &made->job;
    job->session = &session;
    job->partitions = FLEET_PARTITIONS;
    mr__budget_init(&job->budget, limit);
    mr__chunk_pool_init(&job->pool, &job->budget, chunk);
    pthread_mutex_init(&job->spill_mutex, NULL);
    pthread_mutex_init(&made->courier, NULL);
    succeed(mr__exchange_create(job->partitions, &job->exchange, &error), &error);
    succeed(mr__spill_create(burst, MR__CODEC_NONE, &job->spill, &error), &error);
    job->partition = calloc(job->partitions, sizeof *job->partition);
    assert_non_null(job->partition);
    for (uint32_t p = 0; p < job->partitions; p++)
        pthread_mutex_init(&job->partition[p].mutex, NULL);
    made->mail = (mr__mail){made, made->rank, made->fleet->ranks, post, pending, clear, failed};
    succeed(mr__outbox_create(job, &made->mail, &made->outbox, &error), &error);
    succeed(mr__inbox_create(job, &made->mail, &made->inbox, &error), &error);
    succeed((threads ? mr__carrier_start : mr__carrier_create)(job, &made->mail, made->outbox, made->inbox,
                                                               &made->carrier, &error), &error);
    for (uint32_t l = 0; l < FLEET_LANES; l++)
        made->lanes[l].node = made;
}

struct fleet *fleet_create(uint32_t ranks, uint64_t units, uint64_t limit, uint32_t chunk, bool threads)
{
    mr__error error = {.text = ""};
    struct fleet *made = calloc(1, sizeof *made);
    assert_non_null(made);
    made->ranks = ranks;
    made->units = units;
    pthread_mutex_init(&made->mutex, NULL);
    pthread_mutex_init(&made->post_office, NULL);
    for (uint32_t from = 0; from < FLEET_MOST; from++)
        for (uint32_t to = 0; to < FLEET_MOST; to++)
            for (mr__path path = MR__CONTROL; path < MR__PATHS; path++)
                made->letters[from][to][path].tail = &made->letters[from][to][path].head;
    succeed(mr__ledger_create(units, FLEET_PARTITIONS, ranks, 3, &made->ledger, &error), &error);
    size_t count;
    const mr__group *groups = mr__ledger_groups(made->ledger, &count);
    for (uint32_t r = 0; r < ranks; r++) {
        made->nodes[r].fleet = made;
        made->nodes[r].rank = r;
        begin_node(&made->nodes[r], limit, chunk, threads);
        set_plan(&made->nodes[r], groups, count);
    }
    return made;
}

static void end_node(struct node *of, bool threads)
{
    mr__job *job = &of->job;
    (threads ? mr__carrier_stop : mr__carrier_destroy)(of->carrier);
    for (uint32_t l = 0; l < FLEET_LANES; l++) {
        for (uint32_t p = 0; p < FLEET_PARTITIONS; p++)
            mr__chunk_release(&job->pool, of->lanes[l].chunk[p]);
        mr__spill_writer_destroy(of->lanes[l].writer);
        mr__cover_fini(&of->lanes[l].input);
    }
    mr__outbox_destroy(of->outbox);
    mr__inbox_destroy(of->inbox);
    mr__exchange_destroy(job->exchange, &job->pool);
    mr__spill_destroy(job->spill);
    for (uint32_t p = 0; p < job->partitions; p++) {
        mr__free(job->partition[p].extents);
        pthread_mutex_destroy(&job->partition[p].mutex);
    }
    free(job->partition);
    mr__chunk_pool_fini(&job->pool);
    assert_int_equal(atomic_load(&job->budget.used), 0);
    pthread_mutex_destroy(&job->spill_mutex);
    pthread_mutex_destroy(&of->courier);
    assert_false(atomic_load(&of->failed));
    free(of->groups);
    free(of->plan);
    mr__free(of->works.list);
}

void fleet_destroy(struct fleet *fleet, bool threads)
{
    for (uint32_t r = 0; r < fleet->ranks; r++)
        end_node(&fleet->nodes[r], threads);
    for (uint32_t from = 0; from < fleet->ranks; from++)
        for (uint32_t to = 0; to < fleet->ranks; to++)
            drop_letters(fleet, from, to);
    mr__ledger_destroy(fleet->ledger);
    pthread_mutex_destroy(&fleet->mutex);
    pthread_mutex_destroy(&fleet->post_office);
    free(fleet);
}

/* ---- mapping ----------------------------------------------------------------------------------------------------- */

static mr__spill_writer *writer_of(struct lane *lane)
{
    mr__error error = {.text = ""};
    mr__job *job = &lane->node->job;
    if (lane->writer == NULL)
        succeed(mr__spill_writer_create(job->spill, &job->budget, &lane->writer, &error), &error);
    return lane->writer;
}

void fleet_make_room(struct lane *lane, uint64_t wanted)
{
    mr__error error = {.text = ""};
    uint64_t freed;
    succeed(mr__outbox_make_room(lane->node->outbox, writer_of(lane), wanted, &freed, &error), &error);
}

static void put(struct lane *lane, uint32_t partition)
{
    mr__error error = {.text = ""};
    uint64_t waiting;
    mr__chunk *chunk = lane->chunk[partition];
    lane->chunk[partition] = NULL;
    if (chunk != NULL)
        succeed(mr__outbox_put(lane->node->outbox, lane->epoch, chunk, NULL, &waiting, &error), &error);
}

static void emit(struct lane *lane, uint64_t unit, uint32_t partition)
{
    mr__chunk_pool *pool = &lane->node->job.pool;
    for (uint32_t i = 0; i < fleet_pairs(unit, partition); i++) {
        const uint64_t pair = unit << 16 | partition << 4 | i;
        mr__chunk *chunk = lane->chunk[partition];
        if (chunk == NULL)
            chunk = mr__chunk_acquire(pool, partition, sizeof pair);
        if (chunk == NULL) {
            fleet_make_room(lane, 4 * FLEET_CHUNK);
            chunk = mr__chunk_acquire_forced(pool, partition, sizeof pair);
        }
        assert_non_null(chunk);
        lane->chunk[partition] = chunk;
        memcpy(chunk->data + chunk->size, &pair, sizeof pair);
        chunk->size += sizeof pair;
        chunk->pairs++;
        if (chunk->capacity - chunk->size < sizeof pair)
            put(lane, partition);
    }
}

void fleet_close(struct lane *lane)
{
    mr__error error = {.text = ""};
    if (!lane->open)
        return;
    for (uint32_t p = 0; p < FLEET_PARTITIONS; p++)
        put(lane, p);
    const mr__mapped mapped = {&lane->input, lane->first, lane->last, lane->epoch % 2 == 0 ? CHEAP : DEAR};
    succeed(mr__outbox_close(lane->node->outbox, lane->epoch, &mapped, &error), &error);
    mr__cover_fini(&lane->input);
    lane->open = false;
}

static bool take_work(struct lane *lane)
{
    mr__error error = {.text = ""};
    struct node *of = lane->node;
    bool found = false;
    pthread_mutex_lock(&of->fleet->mutex);
    if (of->plan == NULL && !is_dead(of->fleet, of->rank)) {
        succeed(mr__ledger_give(of->fleet->ledger, of->rank, 0, &lane->work, &found, &error), &error);
        if (found) {
            succeed(mr__works_push(&of->works, lane->work, &error), &error);
            atomic_store(&lane->mapping, true);
        }
    }
    pthread_mutex_unlock(&of->fleet->mutex);
    return found;
}

bool fleet_map(struct lane *lane, uint32_t units)
{
    mr__error error = {.text = ""};
    if (!atomic_load(&lane->mapping)) {
        const bool found = take_work(lane);
        if (!found || lane->work.first != lane->first || lane->work.last != lane->last) {
            const bool closes = lane->open;
            fleet_close(lane);
            if (!found)
                return closes;
        }
    }
    if (!lane->open) {
        atomic_store(&lane->node->worked, true);
        atomic_store(&lane->node->told_clear, false);
        lane->epoch = mr__outbox_begin(lane->node->outbox);
        lane->first = lane->work.first;
        lane->last = lane->work.last;
        lane->open = true;
    }
    const uint64_t begin = lane->work.begin;
    for (; units > 0 && lane->work.begin < lane->work.end; units--, lane->work.begin++)
        for (uint32_t p = lane->first; p < lane->last; p++)
            emit(lane, lane->work.begin, p);
    succeed(mr__cover_add(&lane->input, begin, lane->work.begin, &error), &error);
    atomic_store(&lane->mapping, lane->work.begin < lane->work.end);
    return true;
}

/* ---- members ----------------------------------------------------------------------------------------------------- */

void fleet_kill(struct fleet *fleet, uint32_t rank)
{
    atomic_store(&fleet->dead[rank], true);
    for (uint32_t r = 0; r < fleet->ranks; r++)
        drop_letters(fleet, r, rank);
}

static bool is_lost(void *context, uint32_t rank)
{
    return is_dead(context, rank);
}

static void give_account(struct node *of, mr__account *account)
{
    mr__error error = {.text = ""};
    struct fleet *fleet = of->fleet;
    for (uint32_t r = 0; r < fleet->ranks; r++)
        if (is_dead(fleet, r) && !of->forgot[r]) {
            mr__inbox_forget(of->inbox, r);
            of->forgot[r] = true;
        }
    mr__works forgotten = {.count = 0};
    succeed(mr__outbox_forgotten(of->outbox, is_lost, fleet, &forgotten, &error), &error);
    for (size_t i = 0; i < forgotten.count; i++)
        succeed(mr__works_cut(&of->works, &forgotten.list[i], &error), &error);
    mr__free(forgotten.list);
    *account = (mr__account){.rank = of->rank, .works = of->works.list, .work_count = of->works.count};
    account->groups = calloc(of->group_count + 1, sizeof *account->groups);
    assert_non_null(account->groups);
    for (size_t i = 0; i < of->group_count; i++)
        if (of->groups[i].owner == of->rank)
            account->groups[account->group_count++] = of->groups[i];
    succeed(mr__inbox_cover(of->inbox, is_lost, fleet, account->groups, account->group_count, &error), &error);
}

void fleet_change(struct fleet *fleet)
{
    mr__error error = {.text = ""};
    mr__account accounts[FLEET_MOST];
    size_t count = 0, group_count;
    for (uint32_t r = 0; r < fleet->ranks; r++)
        if (!is_dead(fleet, r))
            pthread_mutex_lock(&fleet->nodes[r].courier);
    pthread_mutex_lock(&fleet->mutex);
    for (uint32_t r = 0; r < fleet->ranks; r++)
        if (!is_dead(fleet, r))
            give_account(&fleet->nodes[r], &accounts[count++]);
    succeed(mr__ledger_rebuild(fleet->ledger, accounts, count, &error), &error);
    const mr__group *groups = mr__ledger_groups(fleet->ledger, &group_count);
    for (size_t i = 0; i < count; i++) {
        set_plan(&fleet->nodes[accounts[i].rank], groups, group_count);
        for (size_t g = 0; g < accounts[i].group_count; g++)
            mr__cover_fini(&accounts[i].groups[g].covered);
        free(accounts[i].groups);
    }
    pthread_mutex_unlock(&fleet->mutex);
    for (uint32_t r = 0; r < fleet->ranks; r++)
        if (!is_dead(fleet, r))
            pthread_mutex_unlock(&fleet->nodes[r].courier);
}

bool fleet_apply(struct node *of)
{
    mr__error error = {.text = ""};
    if (of->plan == NULL)
        return false;
    succeed(mr__outbox_assign(of->outbox, of->plan, of->plan_count, &error), &error);
    succeed(mr__inbox_assign(of->inbox, of->plan, of->plan_count, &error), &error);
    pthread_mutex_lock(&of->fleet->mutex);
    free(of->groups);
    of->groups = of->plan;
    of->group_count = of->plan_count;
    of->plan = NULL;
    pthread_mutex_unlock(&of->fleet->mutex);
    return true;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

bool fleet_is_done(struct fleet *fleet)
{
    pthread_mutex_lock(&fleet->mutex);
    bool done = mr__ledger_left(fleet->ledger) == 0;
    for (uint32_t r = 0; r < fleet->ranks; r++)
        if (!is_dead(fleet, r)) {
            done &= fleet->nodes[r].plan == NULL;
            for (uint32_t l = 0; l < FLEET_LANES; l++)
                done &= !atomic_load(&fleet->nodes[r].lanes[l].mapping);
        }
    pthread_mutex_unlock(&fleet->mutex);
    for (uint32_t r = 0; done && r < fleet->ranks; r++)
        done = is_dead(fleet, r) || mr__outbox_is_clear(fleet->nodes[r].outbox);
    return done;
}

void fleet_check(const struct fleet *fleet)
{
    for (uint32_t r = 0; r < fleet->ranks; r++) {
        mr__error error = {.text = ""};
        if (is_dead(fleet, r))
            continue;
        if (mr__outbox_check(fleet->nodes[r].outbox, &error) != MR_OK ||
            mr__inbox_check(fleet->nodes[r].inbox, &error) != MR_OK)
            fail_msg("rank %u: %s", r, error.text);
    }
}

static void note_pairs(const struct fleet *fleet, uint32_t partition, const uint8_t *bytes, size_t size, uint8_t *seen)
{
    assert_int_equal(size % 8, 0);
    for (size_t at = 0; at < size; at += 8) {
        uint64_t pair;
        memcpy(&pair, bytes + at, sizeof pair);
        const uint64_t unit = pair >> 16;
        assert_true(unit < fleet->units && (pair >> 4 & 0xfff) == partition && (pair & 15) < 4);
        seen[(unit * FLEET_PARTITIONS + partition) * 4 + (pair & 15)]++;
    }
}

static void collect(const struct fleet *fleet, struct node *owner, uint32_t p, uint8_t *seen)
{
    mr__error error = {.text = ""};
    mr__job *job = &owner->job;
    mr__spill_reader *reader;
    mr__chunk *chunks = mr__exchange_take(job->exchange, p);
    for (const mr__chunk *chunk = chunks; chunk != NULL; chunk = chunk->next)
        note_pairs(fleet, p, chunk->data, chunk->size, seen);
    mr__chunk_release_all(&job->pool, chunks);
    if (job->partition[p].extent_count == 0)
        return;
    succeed(mr__spill_reader_create(job->spill, job->partition[p].extents, job->partition[p].extent_count, 0,
                                    &job->budget, &reader, &error), &error);
    for (;;) {
        const uint8_t *bytes;
        mr__extent extent;
        succeed(mr__spill_reader_next(reader, &bytes, &extent, &error), &error);
        if (bytes == NULL)
            break;
        note_pairs(fleet, p, bytes, extent.size, seen);
    }
    mr__spill_reader_destroy(reader);
}

void fleet_verify(struct fleet *fleet, unsigned seed)
{
    uint8_t *seen = calloc(fleet->units * FLEET_PARTITIONS, 4);
    size_t count;
    assert_non_null(seen);
    const mr__group *groups = mr__ledger_groups(fleet->ledger, &count);
    for (size_t i = 0; i < count; i++)
        for (uint32_t p = groups[i].first; p < groups[i].last; p++)
            collect(fleet, &fleet->nodes[groups[i].owner], p, seen);
    for (uint64_t unit = 0; unit < fleet->units; unit++)
        for (uint32_t p = 0; p < FLEET_PARTITIONS; p++)
            for (uint32_t i = 0; i < 4; i++) {
                const uint32_t times = seen[(unit * FLEET_PARTITIONS + p) * 4 + i];
                if (times != (i < fleet_pairs(unit, p)))
                    fail_msg("seed %u: pair %u of unit %llu came to partition %u %u times", seed, i,
                             (unsigned long long)unit, p, times);
            }
    free(seen);
    for (uint32_t r = 0; r < fleet->ranks; r++)
        if (!is_dead(fleet, r) && atomic_load(&fleet->nodes[r].worked) && !atomic_load(&fleet->nodes[r].told_clear))
            fail_msg("seed %u: rank %u was not told that all is clear", seed, r);
}
