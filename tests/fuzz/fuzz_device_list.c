/* fuzz_device_list.c: what a broken millrace-device may say, and what may lie in the cache. Besides the sanitizers: ids
 * that come through are unique and can be names of files. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "device_find.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mr__device_list list = {.count = 0};
    mr__device_speed speed;
    mr__error error = {.text = ""};
    const char *text = (const char *)data;
    if (mr__device_speed_parse(text, size, &speed) && !(speed.bytes_per_s >= 0 && speed.overhead_ns >= 0))
        abort();
    if (mr__device_list_parse(text, size, &list, &error) != MR_OK) {
        if (error.text[0] == '\0' || list.device != NULL)
            abort();
        return 0;
    }
    for (uint32_t i = 0; i < list.count; i++) {
        const mr__device_info *device = &list.device[i];
        if (!mr__name_is_plain(device->id, sizeof device->id) || mr__device_by_id(&list, device->id) != device ||
            device->max_alloc_bytes > device->global_bytes)
            abort();
        for (const char *c = device->name; *c != '\0'; c++) {
            if ((unsigned char)*c < ' ' || *c == 0x7f)
                abort();
        }
    }
    mr__device_list_free(&list);
    return 0;
}
