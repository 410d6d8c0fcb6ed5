/* fake_worker.c: a queue of three tasks that runs one of them per poll. */
#include "fake_worker.h"

#include <string.h>

static mr_status fake_probe(const mr__topology *topology, uint32_t *count, mr__error *error)
{
    *count = 1;
    return MR_OK;
}

static mr_status fake_start(mr__worker *worker, mr__error *error)
{
    mr_status status = MR_OK;
    struct fake *fake = worker->engine;
    MR_CHECK(!fake->refuses_to_start, MR_DEVICE_LOST, "fake device %u is switched off", worker->index);
    fake->starts++;
done:
    return status;
}

static bool is_lost(const struct fake *fake)
{
    return fake->accepted >= fake->lost_after;
}

static enum mr__room fake_room(mr__worker *worker)
{
    struct fake *fake = worker->engine;
    if (is_lost(fake))
        return MR__GONE;
    if (fake->in_flight == FAKE_SLOTS || fake->away > 0) {
        fake->full++;
        return MR__FULL;
    }
    return MR__TAKES;
}

static void fake_submit(mr__worker *worker, const mr__task *task)
{
    struct fake *fake = worker->engine;
    fake->slot[fake->in_flight++] = *task;
    fake->accepted++;
    if (fake->in_flight > fake->most_in_flight)
        fake->most_in_flight = fake->in_flight;
    if (fake->accepted == fake->away_after)
        fake->away = FAKE_AWAY;
}

/* With timeout 0 nothing is ready yet, as with a device that has just been given work. */
static uint32_t fake_poll(mr__worker *worker, uint64_t timeout_ns, mr__done *done, uint32_t max)
{
    struct fake *fake = worker->engine;
    fake->away -= fake->away > 0;
    if (fake->in_flight == 0 || max == 0 || (timeout_ns == 0 && !is_lost(fake)))
        return 0;
    done->task = fake->slot[0];
    done->apart = true;
    mr__error_clear(&done->error);
    if (is_lost(fake))
        done->status = mr__fail(&done->error, MR_DEVICE_LOST, "fake device %u was lost", worker->index);
    else
        done->status = done->task.run(&done->task, worker, &done->error);
    fake->in_flight--;
    memmove(&fake->slot[0], &fake->slot[1], fake->in_flight * sizeof fake->slot[0]);
    return 1;
}

static void fake_stop(mr__worker *worker)
{
    struct fake *fake = worker->engine;
    fake->stops++;
}

const mr__worker_ops fake_worker_ops = {
    .kind = "fake",
    .probe = fake_probe,
    .start = fake_start,
    .room = fake_room,
    .submit = fake_submit,
    .poll = fake_poll,
    .stop = fake_stop,
};
