/* fuzz_worker_spec.c: any text behind --workers. Besides the sanitizers: what parses holds what its header says, and
 * what matches names each device once. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "worker_spec.h"

static mr__device_info devices[] = {{.id = "pocl-0"}, {.id = "pocl-1"}, {.id = "nvidia-0", .type = MR__DEVICE_GPU}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const mr__device_list list = {.device = devices, .count = 3};
    mr__worker_spec spec;
    mr__worker_device found[MR__DEVICES_MOST];
    mr__error error = {.text = ""};
    uint32_t count = 0;
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    const mr_status status = mr__worker_spec_parse(text, &spec, &error);
    free(text);
    if (status != MR_OK) {
        if (status != MR_BAD_USAGE || error.text[0] == '\0')
            abort();
        return 0;
    }
    if (spec.device_count > MR__SPEC_DEVICES || spec.cpus > MR__SPEC_CPUS_MOST ||
        (spec.cpus_given && spec.cpus == 0 && spec.device_count == 0))
        abort();
    if (mr__worker_spec_match(&spec, &list, found, &count, NULL) != MR_OK)
        return 0;
    for (uint32_t i = 1; i < count; i++) {
        if (found[i].device <= found[i - 1].device || found[i].depth > 8)
            abort();
    }
    return 0;
}
