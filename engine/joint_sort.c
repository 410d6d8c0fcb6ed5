/* joint_sort.c: results that are to be in one order over all partitions, when many ranks have them.
 *
 *   owner         reduce -> sorted run of the partition -> a file beside the output's parts, as frames
 *   coordinator   all ranks are DONE: reads the winners' files into runs of its own (in memory, or spilled) -> the sort
 *                 stage, as on one rank (sort.c) -> parts
 *
 * One rank sorts: results are small beside what they were made of, and where they are not, an order by key comes from
 * range partitions without any of this (plan.c). What is left are orders by value, and limits.
 * The files lie in the output's own directory, on the file system that all ranks share. So a coordinator that is lost
 * meanwhile takes nothing along: the next one reads the same files.
 *
 *   frame     size (u32), pairs (u32), XXH3 of the pairs (u64), the pairs */
#include "joint_parts.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "sink.h"

enum { RUNS_AT = 1 << 20, FRAME = 256 << 10, FRAME_MOST = 1 << 30, AHEAD = 256 << 10 };

typedef struct frame_head {
    uint32_t size, pairs;
    uint64_t sum;
} frame_head;

typedef struct frame {
    uint8_t *bytes;
    size_t size, room;
    uint32_t pairs;
} frame;

/* ---- owners ------------------------------------------------------------------------------------------------------ */

static mr_status write_frame(mr__part *part, frame *out, mr__error *error)
{
    mr_status status = MR_OK;
    const frame_head head = {(uint32_t)out->size, out->pairs, XXH3_64bits(out->bytes, out->size)};
    if (out->pairs == 0)
        return MR_OK;
    MR_TRY(mr__part_write(part, &head, sizeof head, error));
    MR_TRY(mr__part_write(part, out->bytes, out->size, error));
    out->size = out->pairs = 0;
done:
    return status;
}

static mr_status add_to_frame(frame *out, const uint8_t *pair, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    if (out->size + size > out->room) {
        const size_t room = out->size + size > FRAME ? out->size + size : FRAME;
        uint8_t *bytes = mr__realloc(out->bytes, room);
        MR_CHECK(bytes != NULL, MR_NO_MEMORY, "no memory for %zu bytes of results", room);
        out->bytes = bytes;
        out->room = room;
    }
    memcpy(out->bytes + out->size, pair, size);
    out->size += size;
    out->pairs++;
done:
    return status;
}

mr_status mr__joint_keep_run(mr__job *job, uint32_t partition, mr__error *error)
{
    mr_status status = MR_OK;
    mr__run *run = &job->partition[partition].result;
    mr__run_cursor cursor = {.run = run};
    mr__part *part = NULL;
    frame out = {.size = 0};
    MR_TRY(mr__output_part(job->output, RUNS_AT + partition, &part, error));
    MR_TRY(mr__run_cursor_open(&cursor, run, &job->result_order, NULL, job->spill, AHEAD, &job->budget, error));
    for (;;) {
        const uint8_t *at;
        mr__pair pair;
        MR_TRY(mr__run_cursor_next(&cursor, &at, error));
        if (at == NULL)
            break;
        const size_t size = (size_t)(mr__pair_read(&run->layout, at, &pair) - at);
        if (out.size + size > FRAME)
            MR_TRY(write_frame(part, &out, error));
        MR_TRY(add_to_frame(&out, at, size, error));
    }
    MR_TRY(write_frame(part, &out, error));
    mr__part *whole = part;
    part = NULL;
    MR_TRY(mr__part_close(whole, NULL, error));
done:
    mr__run_cursor_close(&cursor);
    mr__run_fini(run);
    mr__part_abort(part);
    mr__free(out.bytes);
    return status;
}

/* ---- the coordinator --------------------------------------------------------------------------------------------- */

static mr_status read_exactly(const mr__file *file, void *to, size_t size, uint64_t *offset, bool *at_end,
                              mr__error *error)
{
    mr_status status = MR_OK;
    const ssize_t got = file->tier->ops->read_at(file, to, size, *offset);
    *at_end = got == 0;
    MR_CHECK(got >= 0, MR_IO_FAILED, "could not read the results of another rank: %s", strerror((int)-got));
    MR_CHECK(got == 0 || (size_t)got == size, MR_IO_FAILED, "the results of another rank end early, at offset %llu",
             (unsigned long long)*offset);
    *offset += size;
done:
    return status;
}

static mr_status take_frame(mr__job *job, mr__run *run, const frame *in, mr__error *error)
{
    mr_status status = MR_OK;
    const uint8_t *at = in->bytes, *end = in->bytes + in->size;
    for (uint32_t i = 0; i < in->pairs; i++) {
        mr__pair pair;
        at = mr__pair_read(&run->layout, at, &pair);
        MR_CHECK(at <= end, MR_INTERNAL, "a frame of results holds less than it says");
        MR_TRY(mr__run_append(run, &job->lanes[0], &pair, error));
    }
    MR_CHECK(at == end, MR_INTERNAL, "a frame of results holds more than it says");
done:
    return status;
}

static mr_status read_run(mr__job *job, uint32_t partition, uint32_t winner, mr__error *error)
{
    mr_status status = MR_OK;
    mr__run *run = &job->partition[partition].result;
    const mr__attempt attempt = {RUNS_AT + partition, winner};
    mr__file file = {.tier = NULL};
    frame in = {.size = 0};
    uint64_t offset = 0;
    mr__run_fini(run);
    mr__run_init(run, &job->result_layout, &job->pool);
    run->sampled = job->parts > 1;
    MR_TRY(mr__output_read_attempt(job->output, attempt, &file, error));
    for (;;) {
        frame_head head;
        bool at_end;
        MR_TRY(read_exactly(&file, &head, sizeof head, &offset, &at_end, error));
        if (at_end)
            break;
        MR_CHECK(head.size <= FRAME_MOST, MR_IO_FAILED, "the results of rank %u are damaged", winner);
        if (head.size > in.room) {
            uint8_t *bytes = mr__realloc(in.bytes, head.size);
            MR_CHECK(bytes != NULL, MR_NO_MEMORY, "no memory for %u bytes of results", head.size);
            in.bytes = bytes;
            in.room = head.size;
        }
        MR_TRY(read_exactly(&file, in.bytes, head.size, &offset, &at_end, error));
        in.size = head.size;
        in.pairs = head.pairs;
        MR_CHECK(!at_end && XXH3_64bits(in.bytes, in.size) == head.sum, MR_IO_FAILED,
                 "the results of rank %u are damaged near offset %llu", winner, (unsigned long long)offset);
        MR_TRY(take_frame(job, run, &in, error));
    }
    MR_TRY(mr__run_finish(run, &job->lanes[0], false, error));
done:
    if (file.tier != NULL)
        file.tier->ops->close(&file);
    mr__free(in.bytes);
    return status;
}

mr_status mr__joint_sort(mr__job *job, const uint32_t *winners, mr__error *error)
{
    mr_status status = MR_OK;
    atomic_store(&job->output_bytes, 0);        /* what it wrote so far are no parts */
    for (uint32_t p = 0; p < job->partitions; p++)
        MR_TRY(read_run(job, p, winners[p], error));
    MR_TRY(mr__sort_begin(job, error));
    mr__schedule_begin_sort(&job->schedule);
    MR_TRY(mr__job_run_team(job, error));
    MR_TRY(mr__schedule_check(&job->schedule, error));
done:
    return status;
}
