/* link_fixture.h: a link to a device's process whose results nobody looks at. */
#ifndef MR__LINK_FIXTURE_H
#define MR__LINK_FIXTURE_H

#include <stdint.h>

#include "worker_device.h"

/* Two tasks in flight, in slots of 4 KiB. The job's description, if the process reads it, is the caller's to add. */
mr__device_config link_config(const char *device);
/* config is borrowed by the link until mr__device_link_destroy(worker->config), which is up to the caller. */
void create_link(const mr__device_config *config, mr__worker *worker);

#endif
