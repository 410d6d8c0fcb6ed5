/* worker_device_flights.c: tasks on their way to a device and back, and how long they may take. (The whole picture is
 * in worker_device.c.) */
#include "worker_device_parts.h"

#include <string.h>

#include "clock.h"

enum { PATIENCE = 20, READ_PATIENCE = 10 };
static const double PACE_KEPT = 0.75;

static mr_status send_task(mr__device_link *link, uint32_t slot, uint32_t segments, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t round = atomic_load(link->config->round);
    const size_t bytes = segments * sizeof(mr__device_segment);
    const mr__device_task task = {.head = {MR__DEVICE_TASK, (uint32_t)(sizeof task + bytes)},
                                  .id = link->flight[slot].id, .slot = slot, .segments = segments};
    if (round != link->round_sent)
        MR_TRY(mr__link_send(link, MR__DEVICE_ROUND, -1, -1, error));
    link->round_sent = round;
    memcpy(link->message, &task, sizeof task);
    memcpy(link->message + sizeof task, link->segments, bytes);
    MR_TRY(mr__device_send(&link->channel, (const mr__device_message *)link->message, link->flight[slot].token.fd, -1,
                           error));
done:
    return status;
}

void mr__link_submit(mr__worker *worker, const mr__task *task)
{
    mr__device_link *link = mr__link_of(worker);
    mr__error why = {.text = ""};
    mr_status status;
    uint32_t segments = 0, slot = 0;
    switch (task->cpu_only ? MR__PACK_HERE : link->config->pack(task, worker, link->segments, &segments)) {
    case MR__PACKED:
        while (link->flight[slot].used)
            slot++;
        link->flight[slot] = (mr__flight){.used = true, .task = *task, .token = link->token, .id = ++link->next_id,
                                             .sent_ns = mr__now_ns()};
        link->has_token = false;
        link->in_flight++;
        if ((status = send_task(link, slot, segments, &why)) != MR_OK)
            mr__link_lose_process(link, worker, status, why.text);
        break;
    case MR__PACK_HERE:
        link->here = *task;
        link->has_here = true;
        mr__link_drop_token(link);
        break;
    case MR__PACK_ELSEWHERE:
        link->back[link->back_count] = *task;
        link->back[link->back_count++].cpu_only = true;
        link->story.given_back++;
        break;
    }
}

uint32_t mr__link_give_back(mr__device_link *link, mr__done *done, uint32_t max)
{
    uint32_t count = 0;
    while (count < max && link->back_count > 0) {
        done[count] = (mr__done){.task = link->back[--link->back_count]};
        mr__fail(&done[count].error, MR_DEVICE_LOST, "%s",
                 link->story.why[0] != '\0' ? link->story.why : "the task does not fit the device");
        done[count].status = MR_DEVICE_LOST;
        done[count].started_ns = done[count].finished_ns = mr__now_ns();
        count++;
    }
    return count;
}

uint32_t mr__link_run_here(mr__device_link *link, mr__worker *worker, mr__done *done)
{
    link->has_here = false;
    mr__task_run(&link->here, worker, done);
    return 1;
}

/* Flights that end together come one after a long time and one after none: so units and times are added up. */
static void note_pace(mr__device_link *link, const mr__done *done)
{
    const uint64_t begin = link->last_done_ns > done->started_ns ? link->last_done_ns : done->started_ns;
    const uint64_t units = done->task.end - done->task.begin;
    if (units == 0)
        return;
    link->pace_units = link->pace_units * PACE_KEPT + (double)units;
    link->pace_ns = link->pace_ns * PACE_KEPT + (double)(done->finished_ns - begin);
}

uint32_t mr__link_take_done(mr__device_link *link, mr__worker *worker, mr__done *done)
{
    const mr__device_done *answer = &link->answer.done;
    mr__flight *flight = answer->slot < MR__DEVICE_SLOTS ? &link->flight[answer->slot] : NULL;
    if (flight == NULL || !flight->used || flight->id != answer->id || answer->bytes > link->config->slot_bytes) {
        mr__link_lose(link, "the device process answered a task that it was not given");
        return 0;
    }
    if (mr__token_revoked(link->pool, flight->token)) {
        mr__link_wait_for_others(link);
        return 0;
    }
    if (answer->outcome == MR__DEVICE_BROKEN) {
        mr__link_lose(link, answer->text);
        return 0;
    }
    *done = (mr__done){.task = flight->task, .started_ns = flight->sent_ns, .apart = true};
    link->story.again += answer->again;
    link->story.buffer = answer->buffer;
    if (answer->outcome == MR__DEVICE_OK) {
        const uint8_t *result = link->channel.slots + answer->slot * link->config->slot_bytes;
        done->status = link->config->unpack(&done->task, worker, answer, result, &done->error);
        if (done->status == MR_DEVICE_LOST) {
            mr__link_lose(link, done->error.text);
            return 0;
        }
    }
    done->finished_ns = mr__now_ns();
    mr__token_release(link->pool, flight->token);
    flight->used = false;
    link->in_flight--;
    if (answer->outcome == MR__DEVICE_OK) {
        note_pace(link, done);
        link->last_done_ns = done->finished_ns;
        link->story.tasks++;
        link->story.units += done->task.end - done->task.begin;
        link->config->traced(worker, answer);
        return 1;
    }
    link->last_done_ns = done->finished_ns;
    if (link->config->alone) {
        mr__task_run(&flight->task, worker, done);
        return 1;
    }
    done->task.cpu_only = true;
    link->story.given_back++;
    done->status = mr__fail(&done->error, MR_DEVICE_LOST, "%s", answer->text);
    return 1;
}

bool mr__link_is_late(const mr__device_link *link, bool *reads)
{
    mr__device_reading *const readings = mr__device_readings(link->channel.slots, link->channel.bytes);
    double units = 0;
    uint64_t since = UINT64_MAX, sign = link->last_done_ns;     /* sign: of life */
    *reads = false;
    for (uint32_t slot = 0; slot < MR__DEVICE_SLOTS; slot++)
        if (link->flight[slot].used) {
            const uint64_t told = atomic_load_explicit(&readings[slot], memory_order_relaxed);
            units += (double)(link->flight[slot].task.end - link->flight[slot].task.begin);
            since = link->flight[slot].sent_ns < since ? link->flight[slot].sent_ns : since;
            *reads |= told % 2 == 1;
            if (told > sign && told <= mr__now_ns())    /* a driver that scribbles gains no time */
                sign = told;
        }
    if (since < sign)
        since = sign;
    const uint64_t now = mr__now_ns();
    double limit = (double)link->first_ns;
    if (*reads)
        limit *= READ_PATIENCE;
    else if (link->pace_units > 0)
        limit = (double)link->task_ns + PATIENCE * units * link->pace_ns / link->pace_units;
    return link->in_flight > 0 && now > since && (double)(now - since) > limit;
}
