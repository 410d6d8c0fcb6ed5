/* devices_show.h: what is known of a device, for people and for programs.
 * Owner     `collect` fills what the caller holds; nothing to free. */
#ifndef MR__DEVICES_SHOW_H
#define MR__DEVICES_SHOW_H

#include <jansson.h>

#include "device_find.h"
#include "token.h"

typedef struct cli_device {
    const mr__device_info *info;
    bool reachable;                     /* the pool of its tokens can be opened */
    char trouble[MR__DEVICE_WHY];       /* else why not */
    mr__device_health health;
    mr__token_holder holder[MR__TOKENS_MOST];
    uint32_t holders;
} cli_device;

void cli_device_collect(const mr__device_info *info, cli_device *out);
void cli_device_print_heading(void);
void cli_device_print(const cli_device *device);
json_t *cli_device_json(const cli_device *device);

#endif
