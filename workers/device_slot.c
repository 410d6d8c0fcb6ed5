/* device_slot.c: what all forms do with a slot.
 *
 * The fault words carry a nonce. A device whose copies go wrong, or whose kernels write where they like, returns
 * another one, and is not believed. */
#include "device_slot.h"

#include <string.h>

#include "clock.h"
#include "memory.h"

mr_status mr__device_slot_open(mr__device_slot *slot, mr__device_run *run, uint32_t number, mr__error *error)
{
    mr_status status = MR_OK;
    *slot = (mr__device_slot){.run = run, .number = number, .clock = INT64_MAX, .input.fd = -1};
    MR_TRY(mr__cl_queue(run->cl, &slot->queue, error));
    MR_TRY(mr__cl_kernel(run->cl, run->program, run->work->kernel, &slot->kernel, error));
    MR_TRY(mr__device_buffer_open(run, sizeof slot->fault_words, &slot->fault, &slot->fault_memory, error));
    MR_TRY(run->work->open(slot, error));
done:
    if (status != MR_OK)
        mr__device_slot_close(slot);
    return status;
}

void mr__device_slot_close(mr__device_slot *slot)
{
    if (slot->run == NULL)
        return;
    slot->run->work->close(slot);
    mr__device_input_close(&slot->input);
    mr__device_buffer_close(&slot->out, &slot->out_memory, slot->out_room);
    mr__device_buffer_close(&slot->fault, &slot->fault_memory, sizeof slot->fault_words);
    mr__cl_kernel_release(&slot->kernel);
    mr__cl_queue_release(&slot->queue);
    *slot = (mr__device_slot){.input.fd = -1};
}

mr_status mr__device_buffer_open(const mr__device_run *run, size_t size, cl_mem *buffer, uint8_t **memory,
                                 mr__error *error)
{
    mr_status status = MR_OK;
    cl_mem_flags flags = CL_MEM_READ_WRITE;
    *memory = NULL;
    if (run->direct) {
        *memory = mr__pages_alloc(size);
        MR_CHECK(*memory != NULL, MR_NO_MEMORY, "no memory for %zu bytes of results", size);
        flags |= CL_MEM_USE_HOST_PTR;
    }
    MR_TRY(mr__cl_buffer(run->cl, flags, size, *memory, buffer, error));
done:
    if (status != MR_OK)
        mr__device_buffer_close(buffer, memory, size);
    return status;
}

void mr__device_buffer_close(cl_mem *buffer, uint8_t **memory, size_t size)
{
    mr__cl_release(buffer);
    mr__pages_free(*memory, size);
    *memory = NULL;
}

mr_status mr__device_fault_clear(mr__device_slot *slot, mr__error *error)
{
    memset(slot->nonce, 0, sizeof slot->nonce);
    uint64_t seed = mr__now_ns() ^ (uintptr_t)slot;
    for (uint32_t i = MR__FAULT_NONCE; i < MR__FAULT_WORDS; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        slot->nonce[i] = (uint32_t)(seed >> 32);
    }
    cl_event ignored = NULL;
    if (slot->fault_memory != NULL) {
        memcpy(slot->fault_memory, slot->nonce, sizeof slot->nonce);
        return MR_OK;
    }
    const mr_status status =
        mr__cl_write(slot->run->cl, slot->queue, slot->fault, 0, sizeof slot->nonce, slot->nonce, &ignored, error);
    mr__cl_event_release(&ignored);
    return status;
}

mr_status mr__device_fault_read(mr__device_slot *slot, cl_event *event, mr__error *error)
{
    *event = NULL;
    if (slot->fault_memory != NULL)
        return MR_OK;
    return mr__cl_read(slot->run->cl, slot->queue, slot->fault, 0, sizeof slot->fault_words, slot->fault_words, event,
                       error);
}

mr_status mr__device_fault_check(mr__device_slot *slot, mr__error *error)
{
    mr_status status = MR_OK;
    if (slot->fault_memory != NULL)
        memcpy(slot->fault_words, slot->fault_memory, sizeof slot->fault_words);
    const uint32_t *words = slot->fault_words;
    const size_t at = MR__FAULT_NONCE;
    const bool same = memcmp(words + at, slot->nonce + at, (MR__FAULT_WORDS - at) * sizeof *words) == 0;
    MR_CHECK(same && words[0] <= MR__FAULT_KINDS, MR_DEVICE_LOST, "device %s (%s) returned what its "
             "kernel cannot have written: " MR__DISTRUST, slot->run->cl->device.id, slot->run->cl->device.name,
             slot->run->cl->device.id);
done:
    return status;
}

void mr__device_span(uint64_t span[2], uint64_t begin_ns, uint64_t end_ns)
{
    if (span[0] == 0 || begin_ns < span[0])
        span[0] = begin_ns;
    if (end_ns > span[1])
        span[1] = end_ns;
}

void mr__device_clock(mr__device_slot *slot, cl_event last)
{
    uint64_t begin, end;
    const int64_t now = (int64_t)mr__now_ns();
    /* the smallest difference seen is the one with the least delay between the event and this call */
    if (last != NULL && mr__cl_times(last, &begin, &end) && now - (int64_t)end < slot->clock)
        slot->clock = now - (int64_t)end;
}

void mr__device_event_span(mr__device_slot *slot, cl_event event, uint64_t span[2])
{
    uint64_t begin, end;
    if (event == NULL || slot->clock == INT64_MAX || !mr__cl_times(event, &begin, &end))
        return;
    mr__device_span(span, (uint64_t)((int64_t)begin + slot->clock), (uint64_t)((int64_t)end + slot->clock));
}
