/* joint_end.c: how every rank learns of the end of a job, also when whoever tells it dies half-way.
 *
 *   COMMITTED   from the coordinator to all
 *   FAILED      from a rank that failed to all
 *
 * If the teller dies in the middle, some know and some do not. Those who know have left the job: they wait in the next
 * one, or took their leave of the session. The others wait for a view, and nobody answers.
 *
 *             tells, and dies                                     WAITS
 *   0  COMMITTED ---> 1 ---> next job            2, still in the job  ---> 1, which is out of it
 *              `- - X - - -> 2                                        <--- COMMITTED
 *
 * E1  Who is out of a job answers, in its words, whoever asks something in it (ranks.c, when the next one runs): its
 *     members' messages, and WAITS. No job is forgotten too early: a rank cannot finish one more without the others.
 * E2  When a rank is lost, the lowest asks for a view, and the others say WAITS to the lowest. So if any of them is out
 *     of the job, and any is in it, then one is asked: the lowest by WAITS, or another one by the lowest.
 * E3  A rank that was in a view and took its leave had ended the job: if it did not say FAILED before, well. It is no
 *     loss, so no event tells it, and each tick looks.
 * E4  What was heard first holds: a job that is committed does not fail any more, nor does it while the coordinator
 *     shows its output, unless it is expelled meanwhile: nobody hears from it that it did. A rank that fails just then
 *     says so, although there is a result.
 * E5  A rank that fails looks at the output first. A coordinator that was stopped while it showed it, and was taken for
 *     lost, may have gone on: what the others wrote once more is gone then, and there is a result. It says so through
 *     its courier, which knows whether this rank itself was stopped, and is expelled. */
#include "joint_parts.h"

#include <stdio.h>
#include <unistd.h>

enum { SENTENCE_MOST = 900, ATTEMPTS = 3 };

static void write_failure(mr_status status, const char *prefix, const char *sentence, mr__last_words *words)
{
    const uint32_t code = (uint32_t)status;
    char *text = (char *)words->bytes + sizeof code;
    const size_t room = sizeof words->bytes - sizeof code;
    memcpy(words->bytes, &code, sizeof code);
    const size_t size = (size_t)snprintf(text, room, "%s%.*s", prefix, SENTENCE_MOST, sentence);
    words->kind = MR__SAY_FAILED;
    words->size = (uint32_t)(sizeof code + size);
}

void mr__joint_name_failure(uint32_t rank, mr_status status, const char *sentence, mr__last_words *words)
{
    char host[64] = "?", prefix[100];
    gethostname(host, sizeof host - 1);
    snprintf(prefix, sizeof prefix, "rank %u on %s: ", rank, host);
    write_failure(status, prefix, sentence, words);
}

static void find_words(mr__joint *joint, mr_status status, const char *sentence, mr__last_words *words)
{
    pthread_mutex_lock(&joint->mutex);
    const bool heard = joint->heard, committed = joint->next == MR__NEXT_COMMITTED;
    if (committed) {
        words->kind = MR__SAY_COMMITTED;
        words->size = joint->total.peak_rss_bytes != 0 ? sizeof joint->total : 0;
        memcpy(words->bytes, &joint->total, sizeof joint->total);
    }
    pthread_mutex_unlock(&joint->mutex);
    if (!committed && heard)
        write_failure(status, "", sentence, words);
    else if (!committed)
        mr__joint_name_failure(joint->rank, status, sentence, words);
}

void mr__say_last_words(mr__courier *courier, uint32_t to, uint32_t tag, const mr__last_words *words)
{
    mr__error ignored = {.text = ""};
    mr_status status = MR_NO_MEMORY;
    for (int attempt = 0; attempt < ATTEMPTS && status == MR_NO_MEMORY; attempt++)
        status = mr__courier_post(courier, MR__CONTROL, to, tag + words->kind, words->bytes, words->size, NULL, 0,
                                  &ignored);
    if (status == MR_NO_MEMORY)
        mr__courier_declare_lost(courier, to, "there was no memory to tell it how a job ended");
}

static void tell_all(mr__joint *joint, const mr__last_words *words)
{
    for (uint32_t r = 0; r < joint->size; r++)
        if (r != joint->rank)
            mr__say_last_words(joint->courier, r, joint->tag, words);
}

void mr__joint_end(mr__joint *joint, mr_status status, const mr__error *error, mr__last_words *words)
{
    find_words(joint, status, error->text, words);
    if (words->kind == MR__SAY_FAILED && !joint->heard)
        tell_all(joint, words);
}

bool mr__joint_was_shown(mr__joint *joint)
{
    if (joint->job->output == NULL || !mr__output_is_committed(joint->job->output))
        return false;
    pthread_mutex_lock(&joint->mutex);
    joint->status = MR_OK;
    joint->next = MR__NEXT_WAIT;
    joint->decides = false;         /* a courier that is expelled refuses the post, and that has to count */
    pthread_mutex_unlock(&joint->mutex);
    mr__joint_post(joint, MR__CONTROL, joint->rank, MR__OWN_COMMITTED, NULL, 0);
    pthread_mutex_lock(&joint->mutex);
    while (joint->next != MR__NEXT_COMMITTED && joint->next != MR__NEXT_FAILED)
        mr__joint_wait_a_little(joint);
    const bool shown = joint->next == MR__NEXT_COMMITTED;
    pthread_mutex_unlock(&joint->mutex);
    return shown;
}

void mr__joint_commit(mr__joint *joint, const uint8_t *total, size_t size)
{
    mr__last_words words;
    mr__joint_hear_committed(joint, total, size);
    find_words(joint, MR_OK, "", &words);
    if (words.kind == MR__SAY_COMMITTED)            /* E4 */
        tell_all(joint, &words);
}

void mr__joint_hear_committed(mr__joint *joint, const uint8_t *bytes, size_t size)
{
    const mr__error over = {.code = MR_CANCELLED, .text = "the job is committed"};
    if (size == sizeof joint->total) {
        pthread_mutex_lock(&joint->mutex);
        memcpy(&joint->total, bytes, size);
        pthread_mutex_unlock(&joint->mutex);
    }
    mr__joint_say(joint, MR__NEXT_COMMITTED);
    if (joint->pass == MR__PASS_MAPS || joint->pass == MR__PASS_REDUCES)    /* for a loss that no longer matters */
        mr__schedule_fail(&joint->job->schedule, MR_CANCELLED, &over);
}

void mr__joint_hear_failure(mr__joint *joint, const uint8_t *bytes, size_t size)
{
    mr__error error = {.text = ""};
    uint32_t code = MR_NETWORK_FAILED;
    if (size >= sizeof code)
        memcpy(&code, bytes, sizeof code);
    if (code == MR_OK || code > MR_CANCELLED)
        code = MR_NETWORK_FAILED;
    const int length = size > sizeof code ? (int)(size - sizeof code) : 0;
    mr__fail(&error, (mr_status)code, "%.*s", length, (const char *)bytes + sizeof code);
    mr__joint_fail(joint, (mr_status)code, &error, true);
}

bool mr__joint_is_question(uint32_t kind)
{
    return kind < MR__MEMBERS_TAGS || kind == MR__SAY_WAITS;
}

static bool is_over(mr__joint *joint, mr_status *status)
{
    pthread_mutex_lock(&joint->mutex);
    const bool over = joint->status != MR_OK || joint->next == MR__NEXT_COMMITTED;
    *status = joint->status;
    pthread_mutex_unlock(&joint->mutex);
    return over;
}

bool mr__joint_answers_over(mr__joint *joint, uint32_t from, uint32_t kind)
{
    const mr__error over = {.code = MR_CANCELLED, .text = "the job is committed"};
    mr__last_words words;
    mr_status status;
    if (!is_over(joint, &status))
        return false;
    if (kind == MR__OWN_PASS && status == MR_OK)        /* it began a pass just then: nobody would give it work */
        mr__schedule_fail(&joint->job->schedule, MR_CANCELLED, &over);
    if (from == joint->rank || !mr__joint_is_question(kind))
        return true;
    find_words(joint, status, joint->error.text, &words);
    mr__say_last_words(joint->courier, from, joint->tag, &words);
    return true;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

void mr__joint_lost(mr__joint *joint, uint32_t rank, const char *why)
{
    mr_status status;
    mr__joint_note_loss(joint, rank, why);
    if (is_over(joint, &status))
        return;
    if (mr__joint_is_coordinator(joint))
        mr__members_propose(joint->members);
    else
        mr__joint_post(joint, MR__CONTROL, mr__courier_lowest(joint->courier), MR__SAY_WAITS, NULL, 0);     /* E2 */
}

void mr__joint_expelled(mr__joint *joint, const char *why)
{
    mr__error error = {.text = ""};
    const mr_status status = mr__fail(&error, MR_NETWORK_FAILED, "rank %u was taken for lost by the others: %s",
                                      joint->rank, why);
    pthread_mutex_lock(&joint->mutex);
    joint->decides = false;                         /* E4 */
    pthread_mutex_unlock(&joint->mutex);
    mr__joint_fail(joint, status, &error, true);
}

/* How many are alive; has one left that was in the job? */
static uint64_t count_alive(const mr__joint *joint, bool *left)
{
    const bool began = mr__members_view(joint->members) != 0;
    uint64_t count = 0;
    for (uint32_t r = 0; r < joint->size; r++) {
        const bool alive = mr__courier_alive(joint->courier, r);
        count += alive;
        *left |= began && !alive && mr__members_has(joint->members, r) && !mr__courier_is_lost(joint->courier, r);
    }
    return count;
}

/* Here, though there was no memory to say so. */
static bool has_committed(mr__joint *joint, mr__joint_sums *total)
{
    pthread_mutex_lock(&joint->mutex);
    const bool committed = joint->committed;
    *total = joint->total;
    pthread_mutex_unlock(&joint->mutex);
    return committed;
}

void mr__joint_tick(mr__joint *joint)
{
    const uint64_t mapped = atomic_load_explicit(&joint->job->mapped, memory_order_relaxed);
    bool left = false;
    mr_status status;
    mr__joint_sums total;
    if (is_over(joint, &status))
        return;
    if (has_committed(joint, &total)) {
        mr__joint_commit(joint, (const uint8_t *)&total, sizeof total);
        return;
    }
    const uint64_t alive = count_alive(joint, &left);
    if (left) {                     /* E3 */
        mr__joint_hear_committed(joint, NULL, 0);
        return;
    }
    /* before the first view: who left without a word is not lost, so nobody says so */
    if (mr__members_changing(joint->members) && alive != joint->told_alive)
        mr__members_propose(joint->members);
    joint->told_alive = alive;
    if (joint->pass == MR__PASS_MAPS && mr__joint_says_mapped(joint->ticks++, joint->rank, joint->size))
        mr__joint_post(joint, MR__CONTROL, mr__courier_lowest(joint->courier), MR__SAY_MAPPED, &mapped, sizeof mapped);
}
