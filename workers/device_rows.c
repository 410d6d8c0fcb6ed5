/* device_rows.c: row kernels. One work-group of MR_GROUP items for each block, as millrace/row_opencl.h says. */
#include "device_blocks.h"

static mr_status launch(mr__device_slot *slot, uint64_t rows, cl_event *event, mr__error *error)
{
    const uint64_t block = slot->run->view->job.block_rows;
    const size_t local = slot->run->group;
    const size_t global = (size_t)((rows + block - 1) / block) * local;
    return mr__cl_launch(slot->run->cl, slot->queue, slot->kernel, 1, &global, &local, event, error);
}

static mr_status run_task(mr__device_slot *slot, const mr__device_segment *segments, uint32_t count,
                          mr__device_done *done, mr__error *error)
{
    return mr__device_blocks_task(slot, segments, count, launch, done, error);
}

static void nothing(mr__device_slot *slot)
{
    (void)slot;
}

const mr__device_work mr__device_rows = {"mr_rows", mr__device_blocks_open, nothing, run_task};
