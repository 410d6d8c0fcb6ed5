/* link_fixture.c: see link_fixture.h. */
#include "link_fixture.h"

#include <string.h>

#include "cmocka_all.h"

static _Atomic uint32_t first_round;

static enum mr__device_pack pack(const mr__task *task, mr__worker *worker, mr__device_segment *segments,
                                 uint32_t *count)
{
    *count = 0;
    return MR__PACKED;
}

static mr_status unpack(const mr__task *task, mr__worker *worker, const mr__device_done *done, const uint8_t *result,
                        mr__error *error)
{
    return MR_OK;
}

static bool never_stopping(mr__worker *worker)
{
    return false;
}

static void not_traced(mr__worker *worker, const mr__device_done *done)
{
}

mr__device_config link_config(const char *device)
{
    mr__device_config config = {.depth = 2, .slot_bytes = 4096, .round = &first_round, .pack = pack, .unpack = unpack,
                                .stopping = never_stopping, .traced = not_traced};
    assert_true(strlen(device) < sizeof config.device.id);
    strcpy(config.device.id, device);
    return config;
}

void create_link(const mr__device_config *config, mr__worker *worker)
{
    mr__error error = {.text = ""};
    mr__device_link *link = NULL;
    assert_int_equal(mr__device_link_create(config, &link, &error), MR_OK);
    *worker = (mr__worker){.ops = &mr__worker_device_ops, .config = link};
    assert_int_equal(worker->ops->start(worker, &error), MR_OK);
}
