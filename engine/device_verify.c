/* device_verify.c: a result of each device process, computed on the CPU too.
 *
 * A compiler or a driver may be wrong for just this kernel, which the known-answer probe does not know. So the first
 * task is small (schedule_size.c), and what comes back is compared. With row kernels one block of every round's first
 * task is: the params have changed, and a device that missed it gives sums that look well.
 *   tables    the last block's, bit by bit; its kernel is made of + - * / sqrt and integers, so it must be equal
 *   pairs     the sum over all pairs of hash(key) * amount, modulo 2^64, which does not depend on what was combined
 *             when; without combine of hash(key, value); not for MIN and MAX
 *   values    not compared: floating sums over long rows differ by their order, and only the app knows by how much */
#include "internal.h"

#include "memory.h"

static mr_status verify_table(mr__job *job, mr__lane *lane, const mr__task *task, const uint8_t *result,
                              mr__error *error)
{
    mr_status status = MR_OK;
    const size_t bytes = mr__dense_values(job) * 8;
    const uint64_t before = job->devices.form == MR__DEVICE_ROWS ? task->end - task->begin - 1 : 0;
    mr__task one = *task;
    void *const whole = lane->emitter.dense;
    const uint64_t rows = lane->rows;
    uint64_t *expected = mr__alloc_zero(1, bytes);
    MR_CHECK(expected != NULL, MR_NO_MEMORY, "no memory to check the first result of a device");
    one.begin += before;
    lane->emitter.dense = expected;
    lane->compares = true;
    status = one.run(&one, &job->workers[lane->index], error);
    lane->compares = false;
    lane->emitter.dense = whole;
    lane->rows = rows;
    atomic_fetch_sub_explicit(&job->mapped, one.end - one.begin, memory_order_relaxed);
    if (status != MR_OK)
        goto done;
    MR_CHECK(memcmp(expected, result + before * bytes, bytes) == 0, MR_DEVICE_LOST,
             "the device computes wrong sums: they differ from the CPU's");
done:
    mr__free(expected);
    return status;
}

static uint64_t fingerprint(const mr__job *job, const uint8_t *key, size_t size, uint64_t value)
{
    const uint64_t hash = mr__hash_bytes(key, size);
    return job->combines ? hash * value : hash * (value * 0x9e3779b97f4a7c15u | 1);
}

void mr__device_fingerprint(mr__lane *lane, uint32_t count)
{
    const mr_emitter *out = &lane->emitter;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = 1;
        if (out->value_size == sizeof value)
            memcpy(&value, out->values + (size_t)i * sizeof value, sizeof value);
        *lane->fingerprint += fingerprint(lane->job, mr__staged_key(&out->staged[i]), out->staged[i].size, value);
    }
}

static mr_status verify_pairs(mr__job *job, mr__lane *lane, const mr__task *task, const mr__device_done *done,
                              const uint8_t *result, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t pairs = lane->pairs;
    uint64_t expected = 0, computed = 0;
    mr__task again = *task;
    lane->fingerprint = &expected;
    status = again.run(&again, &job->workers[lane->index], error);
    lane->fingerprint = NULL;
    const uint64_t emitted = lane->pairs - pairs;
    lane->pairs = pairs;
    atomic_fetch_sub_explicit(&job->mapped, again.end - again.begin, memory_order_relaxed);
    if (status != MR_OK)
        goto done;
    for (size_t at = 0; at < done->bytes;) {
        const mr__device_pair *pair = (const mr__device_pair *)(result + at);
        computed += fingerprint(job, (const uint8_t *)(pair + 1), pair->size, pair->value);
        at += mr__device_pair_bytes(pair->size);
    }
    MR_CHECK(expected == computed && emitted == done->pairs, MR_DEVICE_LOST,
             "the device computes wrong pairs: they differ from the CPU's");
done:
    return status;
}

mr_status mr__device_verify(const mr__task *task, mr__lane *lane, const mr__device_done *done, const uint8_t *result,
                            mr__error *error)
{
    mr__job *job = task->job;
    if (job->dense)
        return verify_table(job, lane, task, result, error);
    if (job->devices.form == MR__DEVICE_TEXTS && job->rule.combine != MR_MIN && job->rule.combine != MR_MAX)
        return verify_pairs(job, lane, task, done, result, error);
    return MR_OK;
}
