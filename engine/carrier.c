/* carrier.c: one thread, one loop.
 *
 *   room: what the inbox took beyond the budget --spill--> credits
 *   send: the next message of the outbox ------- none ---> sleep
 *
 * Room goes first: whoever waits for a credit waits for this rank. It spills, until the budget holds: chunks of the
 * outbox that were sent (with luck nobody reads them again), then what the inbox holds, then what the outbox has not
 * sent. What is in the exchange is the lanes' to spill: a reduce task may be at it. So the exchange gets nothing that
 * was taken beyond the budget (inbox.c), and what it has got in time it may keep. If nothing of all this is in memory,
 * something else uses the budget; then the credits are given all the same: a job that needs too much memory is slow,
 * but it does not stand still.
 *
 * A little more than is missing is spilled, for a flush is a wait for the disk.
 *
 * No wake is overslept: `woken` is set and looked at under one mutex. Who wakes may hold the mutex of outbox or inbox;
 * this thread holds none of its own when it calls them. Others wake it by way of those two, under their mutex: a stop
 * takes it away from them first, so nobody finds a carrier that is gone. */
#include "carry_parts.h"

#include <sys/prctl.h>

#include "memory.h"

/* How long it sleeps while too much waits in the courier; what it spills beyond what is missing. */
static const uint64_t crowded_ns = 1000000, spare_room = 1 << 20;

struct mr__carrier {
    mr__job *job;
    const mr__mail *mail;
    mr__outbox *outbox;
    mr__inbox *inbox;
    mr__spill_writer *writer;
    mr__wire *wire;
    pthread_t thread;
    pthread_mutex_t mutex;          /* for what follows */
    pthread_cond_t wake;
    bool woken, stopping;
};

static mr_status find_writer(mr__carrier *carrier, mr__error *error)
{
    mr_status status = MR_OK;
    if (carrier->writer != NULL)
        goto done;
    MR_TRY(mr__job_spill(carrier->job, error));
    MR_TRY(mr__spill_writer_create(carrier->job->spill, &carrier->job->budget, &carrier->writer, error));
done:
    return status;
}

static uint64_t missing(const mr__job *job)
{
    const uint64_t used = atomic_load_explicit(&job->budget.used, memory_order_relaxed);
    return used > job->budget.limit ? used - job->budget.limit : 0;
}

static mr_status make_room(mr__carrier *carrier, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = carrier->job;
    mr__chunk_pool_trim(&job->pool);        /* chunks that are free count in the budget */
    while (missing(job) > 0) {
        const uint64_t wanted = missing(job) + (spare_room < job->budget.limit / 16 ? spare_room : 0);
        uint64_t freed;
        MR_TRY(find_writer(carrier, error));
        MR_TRY(mr__outbox_spill(carrier->outbox, carrier->writer, wanted, false, &freed, error));
        if (freed == 0)
            MR_TRY(mr__inbox_spill(carrier->inbox, carrier->writer, wanted, &freed, error));
        if (freed == 0)
            MR_TRY(mr__outbox_spill(carrier->outbox, carrier->writer, wanted, true, &freed, error));
        if (freed == 0)
            break;
        mr__chunk_pool_trim(&job->pool);
    }
    MR_TRY(mr__inbox_settle(carrier->inbox, error));
done:
    return status;
}

/* Until there is something to do; false: no more. */
static bool rest(mr__carrier *carrier, mr__carried carried)
{
    const struct timespec until = mr__timespec(mr__now_ns() + crowded_ns);
    pthread_mutex_lock(&carrier->mutex);
    if (carried == MR__CARRY_CROWDED && !carrier->woken && !carrier->stopping)
        pthread_cond_timedwait(&carrier->wake, &carrier->mutex, &until);
    while (carried == MR__CARRY_NOTHING && !carrier->woken && !carrier->stopping)
        pthread_cond_wait(&carrier->wake, &carrier->mutex);
    carrier->woken = false;
    const bool more = !carrier->stopping;
    pthread_mutex_unlock(&carrier->mutex);
    return more;
}

mr_status mr__carrier_turn(mr__carrier *carrier, mr__carried *carried, mr__error *error)
{
    mr_status status = MR_OK;
    if (mr__inbox_owes(carrier->inbox))
        MR_TRY(make_room(carrier, error));
    MR_TRY(mr__outbox_carry(carrier->outbox, carrier->wire, carried, error));
done:
    return status;
}

static void *carry(void *argument)
{
    mr__carrier *carrier = argument;
    mr_status status;
    mr__error error = {.code = MR_OK};
    mr__carried carried = MR__CARRY_NOTHING;
    prctl(PR_SET_NAME, "mr-carrier");
    do
        status = mr__carrier_turn(carrier, &carried, &error);
    while (status == MR_OK && rest(carrier, carried));
    if (status != MR_OK)
        carrier->mail->failed(carrier->mail->context, status, &error);
    return NULL;
}

/* ---- made and unmade --------------------------------------------------------------------------------------------- */

mr_status mr__carrier_create(mr__job *job, const mr__mail *mail, mr__outbox *outbox, mr__inbox *inbox,
                             mr__carrier **carrier, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_condattr_t attributes;
    mr__wire *wire = NULL;
    MR_TRY(mr__wire_create(&job->budget, job->session->launch.one_node, &wire, error));
    mr__carrier *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for the thread that sends pairs to other ranks");
    *made = (mr__carrier){.job = job, .mail = mail, .outbox = outbox, .inbox = inbox, .wire = wire};
    wire = NULL;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&made->mutex, NULL);
    pthread_cond_init(&made->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    mr__outbox_attach(outbox, made);
    mr__inbox_attach(inbox, made);
    *carrier = made;
done:
    mr__wire_destroy(wire);
    return status;
}

void mr__carrier_destroy(mr__carrier *carrier)
{
    if (carrier == NULL)
        return;
    mr__spill_writer_destroy(carrier->writer);
    mr__wire_destroy(carrier->wire);
    pthread_cond_destroy(&carrier->wake);
    pthread_mutex_destroy(&carrier->mutex);
    mr__free(carrier);
}

static void detach(mr__carrier *carrier)
{
    mr__outbox_attach(carrier->outbox, NULL);
    mr__inbox_attach(carrier->inbox, NULL);
}

mr_status mr__carrier_start(mr__job *job, const mr__mail *mail, mr__outbox *outbox, mr__inbox *inbox,
                            mr__carrier **carrier, mr__error *error)
{
    mr_status status = MR_OK;
    mr__carrier *made = NULL;
    MR_TRY(mr__carrier_create(job, mail, outbox, inbox, &made, error));
    const int failure = pthread_create(&made->thread, NULL, carry, made);
    MR_CHECK(failure == 0, MR_NO_MEMORY, "could not start the thread that sends pairs to other ranks: %s",
             strerror(failure));
    *carrier = made;
    made = NULL;
done:
    if (made != NULL)
        detach(made);
    mr__carrier_destroy(made);
    return status;
}

void mr__carrier_wake(mr__carrier *carrier)
{
    if (carrier == NULL)
        return;
    pthread_mutex_lock(&carrier->mutex);
    if (!carrier->woken) {
        carrier->woken = true;
        pthread_cond_signal(&carrier->wake);
    }
    pthread_mutex_unlock(&carrier->mutex);
}

void mr__carrier_stop(mr__carrier *carrier)
{
    if (carrier == NULL)
        return;
    detach(carrier);
    pthread_mutex_lock(&carrier->mutex);
    carrier->stopping = true;
    pthread_cond_signal(&carrier->wake);
    pthread_mutex_unlock(&carrier->mutex);
    pthread_join(carrier->thread, NULL);
    mr__carrier_destroy(carrier);
}
