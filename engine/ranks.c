/* ranks.c: from a courier's events to the job that they are about.
 *
 *   tag = MR__TAG_FIRST + job * MR__KINDS + kind
 *
 *   message of job      < now     that job is over here: how it ended is the answer to a question (joint_end.c); else
 *                                 dropped
 *                       = now     to its joint, once it has ENTERED (a message to itself, so that its turn comes in
 *                                 order); before that it waits in the stash
 *                       > now     the stash: another rank is ahead, at most by one job: it cannot finish one without us
 *
 * What waits is little: no rank sends bulk before it got groups, and these need an account of every rank.
 *
 * R1  The mutex is held while a joint hears an event, so after leave() it hears none. */
#include "ranks.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "joint.h"
#include "memory.h"

static const uint64_t PATIENCE_NS = 5000000000;

typedef struct stashed {
    struct stashed *next;
    uint32_t job, from, kind;
    size_t size;
    uint8_t bytes[];
} stashed;

struct mr__ranks {
    mr__courier *courier;
    pthread_mutex_t mutex;
    uint32_t job;                   /* the number of the one that runs, or of the next */
    mr__joint *joint;
    bool entered;
    bool expelled;
    char why[256];
    stashed *stash, **stash_end;
    mr_status status;               /* of a message that could not be stashed */
    mr__last_words words;           /* how the last job ended; kind 0: there was none */
};

/* ---- events: the courier's thread -------------------------------------------------------------------------------- */

static void keep(mr__ranks *ranks, uint32_t job, uint32_t from, uint32_t kind, const void *bytes, size_t size)
{
    stashed *made = mr__alloc(sizeof *made + size);
    if (made == NULL) {
        ranks->status = MR_NO_MEMORY;
        return;
    }
    *made = (stashed){.job = job, .from = from, .kind = kind, .size = size};
    memcpy(made->bytes, bytes, size);
    *ranks->stash_end = made;
    ranks->stash_end = &made->next;
}

static void say_words(mr__ranks *ranks, uint32_t to, uint32_t job, const mr__last_words *words)
{
    mr__say_last_words(ranks->courier, to, MR__TAG_FIRST + job * MR__KINDS, words);
}

/* To a question about a job that is over here: how it ended. */
static void answer(mr__ranks *ranks, uint32_t to, uint32_t job, uint32_t kind)
{
    if (job + 1 == ranks->job && mr__joint_is_question(kind))
        say_words(ranks, to, job, &ranks->words);
}

/* Hands on what waited for this job, if it has entered, and answers who asked about the last one. */
static void unstash(mr__ranks *ranks)
{
    stashed *list = ranks->stash, *next;
    ranks->stash = NULL;
    ranks->stash_end = &ranks->stash;
    for (; list != NULL; list = next) {
        next = list->next;
        list->next = NULL;
        if (list->job > ranks->job || (list->job == ranks->job && !ranks->entered)) {
            *ranks->stash_end = list;
            ranks->stash_end = &list->next;
            continue;
        }
        if (list->job == ranks->job)
            mr__joint_message(ranks->joint, list->from, list->kind, list->bytes, list->size);
        else
            answer(ranks, list->from, list->job, list->kind);
        mr__free(list);
    }
}

/* What was not stashed was said to this job: it cannot go on without. */
static mr_status check_stash(mr__ranks *ranks, mr__error *error)
{
    mr_status status = ranks->status;
    ranks->status = MR_OK;
    MR_CHECK(status == MR_OK, status, "no memory for what other ranks said");
done:
    return status;
}

static void enter(mr__ranks *ranks, uint32_t rank)
{
    mr__error error = {.text = ""};
    ranks->entered = true;
    const mr_status status = check_stash(ranks, &error);
    if (status != MR_OK)
        mr__joint_fail(ranks->joint, status, &error, false);
    mr__joint_message(ranks->joint, rank, MR__OWN_ENTER, NULL, 0);
    unstash(ranks);
}

static void message(void *context, uint32_t from, uint32_t tag, const void *bytes, size_t size)
{
    mr__ranks *ranks = context;
    const uint32_t job = (tag - MR__TAG_FIRST) / MR__KINDS, kind = (tag - MR__TAG_FIRST) % MR__KINDS;
    const bool own = from == mr__courier_rank(ranks->courier);
    pthread_mutex_lock(&ranks->mutex);
    if (kind >= MR__KIND_OWN && (!own || job != ranks->job || ranks->joint == NULL)) {
        /* not for other ranks to send; or its job is over */
    } else if (kind == MR__OWN_ENTER) {
        enter(ranks, from);
    } else if (job == ranks->job && ranks->entered) {
        mr__joint_message(ranks->joint, from, kind, bytes, size);
    } else if (job >= ranks->job) {
        keep(ranks, job, from, kind, bytes, size);
    } else {
        answer(ranks, from, job, kind);
    }
    pthread_mutex_unlock(&ranks->mutex);
}

static void lost(void *context, uint32_t rank, const char *why)
{
    mr__ranks *ranks = context;
    pthread_mutex_lock(&ranks->mutex);
    if (ranks->entered)
        mr__joint_lost(ranks->joint, rank, why);
    pthread_mutex_unlock(&ranks->mutex);
}

static void expelled(void *context, const char *why)
{
    mr__ranks *ranks = context;
    pthread_mutex_lock(&ranks->mutex);
    ranks->expelled = true;
    snprintf(ranks->why, sizeof ranks->why, "%s", why);
    if (ranks->joint != NULL)
        mr__joint_expelled(ranks->joint, why);
    pthread_mutex_unlock(&ranks->mutex);
}

static void tick(void *context, uint64_t now_ns)
{
    mr__ranks *ranks = context;
    (void)now_ns;
    pthread_mutex_lock(&ranks->mutex);
    if (ranks->entered)
        mr__joint_tick(ranks->joint);
    pthread_mutex_unlock(&ranks->mutex);
}

/* ---- the session's thread ---------------------------------------------------------------------------------------- */

mr_status mr__ranks_open(mr__comm_open *open, void *how, const mr__courier_options *options, mr__ranks **ranks,
                         mr__error *error)
{
    mr_status status = MR_OK;
    mr__ranks *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory to talk to other ranks");
    pthread_mutex_init(&made->mutex, NULL);
    made->stash_end = &made->stash;
    const mr__courier_events events = {made, message, lost, expelled, tick};
    /* an event may come before it returns: it waits, and then finds the courier */
    pthread_mutex_lock(&made->mutex);
    status = mr__courier_start(open, how, options, &events, &made->courier, error);
    pthread_mutex_unlock(&made->mutex);
    MR_TRY(status);
    *ranks = made;
    made = NULL;
done:
    if (made != NULL)
        pthread_mutex_destroy(&made->mutex);
    mr__free(made);
    return status;
}

/* A rank whose last call failed will not come to the next job, and the others are told why. If that was its last job,
 * its words say so, with the rank that failed, and some may be in it still (joint_end.c, E3). */
static void say_farewell(mr__ranks *ranks, mr_status status, const char *sentence)
{
    const uint32_t rank = mr__courier_rank(ranks->courier), size = mr__courier_size(ranks->courier);
    const bool known = ranks->words.kind == MR__SAY_FAILED &&
                       memmem(ranks->words.bytes, ranks->words.size, sentence, strlen(sentence)) != NULL;
    mr__last_words words = ranks->words;
    if (!known)
        mr__joint_name_failure(rank, status, sentence, &words);
    for (uint32_t r = 0; r < size; r++) {
        if (r == rank)
            continue;
        if (ranks->words.kind == MR__SAY_FAILED)
            say_words(ranks, r, ranks->job - 1, &ranks->words);
        say_words(ranks, r, ranks->job, &words);
    }
}

void mr__ranks_close(mr__ranks *ranks, mr_status status, const char *sentence)
{
    if (ranks == NULL)
        return;
    if (status != MR_OK)
        say_farewell(ranks, status, sentence);
    mr__courier_stop(ranks->courier, PATIENCE_NS);
    for (stashed *one = ranks->stash, *next; one != NULL; one = next) {
        next = one->next;
        mr__free(one);
    }
    pthread_mutex_destroy(&ranks->mutex);
    mr__free(ranks);
}

mr__courier *mr__ranks_courier(mr__ranks *ranks)
{
    return ranks->courier;
}

uint32_t mr__ranks_rank(const mr__ranks *ranks)
{
    return mr__courier_rank(ranks->courier);
}

uint32_t mr__ranks_count(const mr__ranks *ranks)
{
    return mr__courier_size(ranks->courier);
}

const char *mr__ranks_expelled(mr__ranks *ranks)
{
    pthread_mutex_lock(&ranks->mutex);
    const bool is = ranks->expelled;
    pthread_mutex_unlock(&ranks->mutex);
    return is ? ranks->why : NULL;
}

uint32_t mr__ranks_next_tag(mr__ranks *ranks)
{
    pthread_mutex_lock(&ranks->mutex);
    const uint32_t tag = MR__TAG_FIRST + ranks->job * MR__KINDS;
    pthread_mutex_unlock(&ranks->mutex);
    return tag;
}

mr_status mr__ranks_enter(mr__ranks *ranks, mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t rank = mr__courier_rank(ranks->courier);
    pthread_mutex_lock(&ranks->mutex);
    const uint32_t tag = MR__TAG_FIRST + ranks->job * MR__KINDS;
    MR_CHECK(!ranks->expelled, MR_NETWORK_FAILED, "this rank was taken for lost by the others: %s", ranks->why);
    MR_TRY(check_stash(ranks, error));
    MR_TRY(mr__courier_post(ranks->courier, MR__CONTROL, rank, tag + MR__OWN_ENTER, NULL, 0, NULL, 0, error));
    ranks->joint = joint;
done:
    pthread_mutex_unlock(&ranks->mutex);
    return status;
}

void mr__ranks_leave(mr__ranks *ranks, mr__joint *joint, const mr__last_words *words)
{
    pthread_mutex_lock(&ranks->mutex);
    if (ranks->joint == joint || ranks->joint == NULL) {
        ranks->job++;
        ranks->words = *words;
    }
    ranks->joint = NULL;
    ranks->entered = false;
    unstash(ranks);             /* a job that ended before this rank was in it */
    pthread_mutex_unlock(&ranks->mutex);
}

mr_status mr__ranks_check(mr__ranks *ranks, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&ranks->mutex);
    for (const stashed *one = ranks->stash; one != NULL; one = one->next)
        MR_CHECK(one->job >= ranks->job && (one->job > ranks->job || !ranks->entered), MR_INTERNAL,
                 "a message of job %u waits, and job %u runs", one->job, ranks->job);
    if (ranks->entered)
        MR_TRY(mr__joint_check(ranks->joint, error));
done:
    pthread_mutex_unlock(&ranks->mutex);
    return status;
}

const mr__joint *mr__ranks_joint(const mr__ranks *ranks)
{
    return ranks->joint;
}
