/* test_device_bus.c: where a device sits, as its driver tells it. Oracle: what fake_bus.c says in its place. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device_find.h"

static void assert_place(const char *mode, const char *bus)
{
    static char text[1 << 16];
    mr__device_list list;
    char command[8192];
    snprintf(command, sizeof command, "FAKE_BUS=%s LD_PRELOAD=%s %s --list", mode, FAKE_BUS, DEVICE_PROGRAM);
    FILE *answer = popen(command, "r");
    assert_non_null(answer);
    const size_t size = fread(text, 1, sizeof text, answer);
    assert_int_equal(pclose(answer), 0);
    assert_int_equal(mr__device_list_parse(text, size, &list, NULL), MR_OK);
    if (list.count == 0) {
        print_message("skipped: no OpenCL device (Debian: pocl-opencl-icd)\n");
        exit(77);
    }
    for (uint32_t i = 0; i < list.count; i++)
        assert_string_equal(list.device[i].bus, bus);
    mr__device_list_free(&list);
}

static void a_driver_tells_the_place_in_its_own_way_or_not_at_all(void **state)
{
    assert_place("khr", "0001.3b.02.3");
    assert_place("nv", "0005.5e.04.0");
    assert_place("old", "0000.5e.04.0");
    assert_place("silent", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_driver_tells_the_place_in_its_own_way_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
