/* fake_device.h: the time of a fake device, where a test says when it passes: the file that FAKE_TIME names. */
#ifndef MR__FAKE_DEVICE_H
#define MR__FAKE_DEVICE_H

#include <stdatomic.h>
#include <stdint.h>

struct fake_time {
    _Atomic uint64_t now_ns;
    _Atomic uint32_t begun;             /* tasks that take time (FAKE_SLOW_MS) from now on */
};

#endif
