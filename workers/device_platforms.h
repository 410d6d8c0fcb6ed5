/* device_platforms.h: the OpenCL devices of this machine and their names.
 * Promise   A device's id is a word for its vendor and a number that counts the devices with that word in the order in
 *           which the platforms list them: pocl-0, pocl-1, intel-0, nvidia-0. A platform or device that fails is left
 *           out, and a note says why.
 * Failure   MR_DEVICE_LOST: the platforms cannot be listed at all. MR_NO_WORKER: no device has that id. */
#ifndef MR__DEVICE_PLATFORMS_H
#define MR__DEVICE_PLATFORMS_H

#include "device_cl.h"

enum { MR__PLATFORM_DEVICES = 64, MR__PLATFORM_NOTES = 16 };

typedef struct mr__platform_devices {
    mr__cl_device items[MR__PLATFORM_DEVICES];
    uint32_t count, note_count;
    char notes[MR__PLATFORM_NOTES][512];
} mr__platform_devices;

mr_status mr__platforms_list(mr__platform_devices *list, mr__error *error);
/* The JSON object of `millrace-device --list`. */
void mr__platforms_print(const mr__platform_devices *list);
/* Describes only the device that is asked for. */
mr_status mr__platforms_find(const char *id, mr__cl_device *device, mr__error *error);

#endif
