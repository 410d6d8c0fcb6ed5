/* device_records.c: kernels that make one value of each record. Launched in two dimensions; how much a work-group
 * computes is the kernel's affair, and mr_tile() of the same program says it. */
#include "device_blocks.h"

#include "memory.h"

enum { TILE_WORDS = 4 };

/* Runs mr_tile() once for a slot. */
static mr_status ask_tile(mr__device_slot *slot, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__cl *cl = slot->run->cl;
    const size_t one = 1;
    cl_uint tile[TILE_WORDS] = {0, 0, 4, 0};
    cl_kernel kernel = NULL;
    cl_mem out = NULL;
    cl_event event = NULL;
    MR_TRY(mr__cl_kernel(cl, slot->run->program, "mr_tile", &kernel, error));
    MR_TRY(mr__cl_buffer(cl, CL_MEM_READ_WRITE, sizeof tile, NULL, &out, error));
    MR_TRY(mr__cl_write(cl, slot->queue, out, 0, sizeof tile, tile, NULL, error));
    MR_TRY(mr__cl_argument(cl, kernel, 0, sizeof out, &out, error));
    MR_TRY(mr__cl_launch(cl, slot->queue, kernel, 1, &one, &one, &event, error));
    MR_TRY(mr__cl_wait(cl, 1, &event, error));
    MR_TRY(mr__cl_read(cl, slot->queue, out, 0, sizeof tile, tile, NULL, error));
    MR_CHECK(tile[0] > 0 && tile[0] <= 1 << 20 && tile[1] > 0 && tile[1] <= 1 << 20 && tile[2] >= 1 && tile[2] <= 16,
             MR_DEVICE_LOST, "device %s says that a tile has %u x %u elements of %u bytes", cl->device.id, tile[0],
             tile[1], tile[2]);
    slot->tile_rows = tile[0];
    slot->tile_bytes = tile[1] * tile[2];
    MR_TRY(mr__cl_kernel_group(cl, slot->kernel, slot->tile_group, error));
    MR_CHECK(slot->tile_group[0] > 0 && slot->tile_group[1] > 0, MR_BAD_APP,
             "the records kernel says no work-group size\n  hint: define it with MR_RECORDS_KERNEL");
done:
    mr__cl_event_release(&event);
    mr__cl_release(&out);
    mr__cl_kernel_release(&kernel);
    return status;
}

static mr_status open_slot(mr__device_slot *slot, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(ask_tile(slot, error));
    MR_TRY(mr__device_blocks_open(slot, error));
done:
    return status;
}

static void nothing(mr__device_slot *slot)
{
    (void)slot;
}

static mr_status launch(mr__device_slot *slot, uint64_t rows, cl_event *event, mr__error *error)
{
    const size_t columns = (slot->run->view->job.value_size + slot->tile_bytes - 1) / slot->tile_bytes;
    const size_t global[2] = {(size_t)((rows + slot->tile_rows - 1) / slot->tile_rows) * slot->tile_group[0],
                              columns * slot->tile_group[1]};
    return mr__cl_launch(slot->run->cl, slot->queue, slot->kernel, 2, global, slot->tile_group, event, error);
}

static mr_status run_task(mr__device_slot *slot, const mr__device_segment *segments, uint32_t count,
                          mr__device_done *done, mr__error *error)
{
    return mr__device_blocks_task(slot, segments, count, launch, done, error);
}

const mr__device_work mr__device_records = {"mr_records", open_slot, nothing, run_task};
