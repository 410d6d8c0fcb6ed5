/* device_blocks.h: tasks of whole blocks (ROWS, RECORDS) through one slot.
 * Promise   The results of a task's blocks lie in the slot's result memory in the order of the blocks, however the task
 *           was cut into parts. A device out of memory gets smaller parts, down to one block.
 * Failure   As device_slot.h says. */
#ifndef MR__DEVICE_BLOCKS_H
#define MR__DEVICE_BLOCKS_H

#include "device_slot.h"

/* Runs the kernel for `rows` rows from `first_row` on: arguments 0 (records), 2, 3, 4 (results) and 5 (fault) are
 * set. */
typedef mr_status (*mr__device_launch)(mr__device_slot *slot, uint64_t rows, cl_event *event, mr__error *error);

mr_status mr__device_blocks_open(mr__device_slot *slot, mr__error *error);
mr_status mr__device_blocks_task(mr__device_slot *slot, const mr__device_segment *segments, uint32_t count,
                                 mr__device_launch launch, mr__device_done *done, mr__error *error);

#endif
