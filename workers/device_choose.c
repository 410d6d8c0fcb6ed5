/* device_choose.c: how many rows at a time, and how many work-items for a block.
 *
 * On a GPU each work-item takes one row and 64 items share a block. On a CPU one item takes a block and its lanes are
 * the vector registers; whether 4, 8 or 16 are fastest depends on the registers, the compiler and the kernel (k-means
 * on pocl with AVX-512: 1 lane 15, 16 lanes 100 Mpoints/s; 16 lanes at AVX2 spill and are slower than 4). So it is
 * measured on the job's own first rows: rows of zeros could take other branches, or denormals. The lane counts take
 * turns: measured one after the other, 16 lanes, the first, lost to 8 in one of eight fresh caches, and the choice is
 * kept on disk. */
#include "device_choose.h"

#include <string.h>

#include "clock.h"
#include "memory.h"

enum { TURNS = 4, REPEATS = 2, MEASURE_ROWS = 1 << 18, GPU_GROUP = 64 };
static const uint32_t cpu_lanes[] = {16, 8, 4, 1};

struct candidate {
    cl_program program;
    uint64_t ns;                    /* of its shortest run; UINT64_MAX: there was nothing to run it on */
};

static bool is_cpu(const mr__device_run *run)
{
    return strcmp(run->cl->device.type, "cpu") == 0;
}

/* Lanes are tried where there are several ways; with 0 in the job. */
static bool is_open(const mr__device_run *run)
{
    return run->view->job.form == MR__DEVICE_ROWS && run->view->job.lanes == 0 && is_cpu(run);
}

static uint32_t usual_group(const mr__device_run *run)
{
    uint32_t group = is_cpu(run) || run->view->job.form == MR__DEVICE_RECORDS ? 1 : GPU_GROUP;
    while (group > run->cl->device.max_group)
        group /= 2;
    return group;
}

/* A few whole blocks from the beginning of the first file that has rows, as one segment. */
static bool first_rows(mr__device_slot *slot, mr__device_segment *segment)
{
    const mr__device_job_view *view = slot->run->view;
    const mr__device_job *job = &view->job;
    const size_t table = mr__device_job_table(view);
    uint64_t rows = MEASURE_ROWS, bytes;
    mr__error ignored = {.text = ""};
    if (rows / job->block_rows > job->slot_bytes / table)
        rows = job->slot_bytes / table * job->block_rows;
    if (rows < job->block_rows)
        rows = job->block_rows;
    *segment = (mr__device_segment){.file = UINT32_MAX, .rows = rows};
    if (job->record_size == 0)
        return true;
    for (uint32_t f = 0; f < view->file_count && f < 64; f++) {
        if (mr__device_file_bytes(&slot->input, view, f, &bytes, &ignored) != MR_OK || bytes < job->record_size)
            continue;
        segment->file = f;
        segment->rows = bytes / job->record_size < rows ? bytes / job->record_size : rows;
        segment->size = segment->rows * job->record_size;
        segment->blocks = (uint32_t)((segment->rows + job->block_rows - 1) / job->block_rows);
        return true;
    }
    return false;
}

/* A turn of the program and the lanes that the run has. */
static mr_status measure(mr__device_run *run, struct candidate *candidate, mr__error *error)
{
    mr_status status = MR_OK;
    mr__device_slot slot;
    mr__device_segment segment;
    MR_TRY(mr__device_slot_open(&slot, run, 0, error));
    if (first_rows(&slot, &segment))
        for (int i = 0; i < REPEATS; i++) {
            mr__device_done done = {.rows = 0};
            const uint64_t begin = mr__now_ns();
            status = run->work->task(&slot, &segment, 1, &done, error);
            const uint64_t took = mr__now_ns() - begin;
            if (status == MR_BAD_INPUT) {       /* a key out of range: the task that has it will say so */
                mr__error_clear(error);
                status = MR_OK;
                break;
            }
            if (status != MR_OK)
                break;
            candidate->ns = took < candidate->ns ? took : candidate->ns;
        }
    mr__device_slot_close(&slot);
done:
    return status;
}

static mr_status build(mr__device_run *run, uint32_t lanes, uint32_t group, char *log, cl_program *program,
                       mr__error *error)
{
    mr_status status = MR_OK;
    char *text = NULL;
    MR_TRY(mr__device_text_make(run->view, &run->cl->device, lanes, group, &text, error));
    MR_TRY(mr__device_build(run->cl, text, log, program, error));
done:
    mr__free(text);
    return status;
}

static mr_status try_lanes(mr__device_run *run, char *log, mr__error *error)
{
    mr_status status = MR_OK;
    struct candidate candidate[MR__COUNT(cpu_lanes)] = {{0}};
    size_t count = MR__COUNT(cpu_lanes), best = 0;
    for (int turn = 0; turn < TURNS; turn++)
        for (size_t i = 0; i < count; i++) {
            run->lanes = cpu_lanes[i];
            if (turn == 0) {
                candidate[i].ns = UINT64_MAX;
                MR_TRY(build(run, run->lanes, run->group, log, &candidate[i].program, error));
            }
            run->program = candidate[i].program;
            MR_TRY(measure(run, &candidate[i], error));
            if (candidate[i].ns == UINT64_MAX)
                count = 1;
        }
    for (size_t i = 1; i < count; i++)
        best = candidate[i].ns < candidate[best].ns ? i : best;
done:
    run->program = NULL;
    run->lanes = cpu_lanes[best];
    if (status == MR_OK) {
        run->program = candidate[best].program;
        candidate[best].program = NULL;
    }
    for (size_t i = 0; i < MR__COUNT(cpu_lanes); i++)
        mr__cl_program_release(&candidate[i].program);
    return status;
}

mr_status mr__device_choose(mr__device_run *run, mr__device_cache *cache, char *log, mr__device_chosen *chosen,
                            mr__error *error)
{
    mr_status status = MR_OK;
    char *text = NULL;
    const uint64_t begin = mr__now_ns();
    const mr__device_job *job = &run->view->job;
    run->lanes = job->lanes > 0 ? job->lanes : 1;
    run->group = job->group > 0 ? job->group : usual_group(run);
    MR_TRY(mr__device_text_make(run->view, &run->cl->device, is_open(run) ? 0 : run->lanes, run->group, &text, error));
    chosen->kept = (mr__device_kept){.key = mr__device_key(&run->cl->device, text)};
    MR_TRY(mr__device_load(run->cl, cache, &chosen->kept, &run->program, error));
    chosen->cached = run->program != NULL;
    if (chosen->cached) {
        run->lanes = chosen->kept.lanes;
        run->group = chosen->kept.group;
        goto done;
    }
    if (is_open(run))
        MR_TRY(try_lanes(run, log, error));
    else
        MR_TRY(build(run, run->lanes, run->group, log, &run->program, error));
    chosen->kept.lanes = run->lanes;
    chosen->kept.group = run->group;
    if (is_open(run))
        mr__device_keep(run->cl, cache, &chosen->kept, run->program);
done:
    chosen->build_ns = mr__now_ns() - begin;
    mr__free(text);
    return status;
}
