/* device_main.c: millrace-device, the only program of Millrace that loads OpenCL.
 *
 *   --list                    the devices, as JSON
 *   --serve ID                tasks of one job for one device, over descriptor 3 (device_protocol.h)
 *   --test ID [--stress S]    known-answer kernels, for S seconds, as JSON; exit status 5 when one is wrong
 *
 * It is started by libmillrace and by `millrace devices`. It leaves by _exit(): drivers keep threads that do not
 * survive an orderly exit, and there is nothing to tidy that the kernel does not. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "device_platforms.h"
#include "device_probe.h"
#include "device_scratch.h"
#include "device_serve.h"
#include "fault.h"
#include "parse.h"

enum { EXIT_USAGE = 2, EXIT_DEVICE = 5 };

static int complain(const mr__error *error)
{
    fprintf(stderr, "millrace-device: %s\n", error->text);
    return mr_status_exit(error->code);
}

static int list(void)
{
    static mr__platform_devices devices;
    mr__error error = {.text = ""};
    if (mr__platforms_list(&devices, &error) != MR_OK)
        return complain(&error);
    mr__platforms_print(&devices);
    return 0;
}

static mr_status test_device(const char *id, uint64_t seconds, uint64_t *runs, mr__error *error)
{
    mr_status status = MR_OK;
    mr__cl_device device;
    mr__device_cache cache;
    mr__cl *cl = NULL;
    mr__probe *probe = NULL;
    mr__device_cache_open(&cache, NULL);
    MR_TRY(mr__platforms_find(id, &device, error));
    MR_TRY(mr__cl_open(&device, &cl, error));
    MR_TRY(mr__probe_open(cl, &cache, &probe, error));
    const uint64_t end = mr__now_ns() + seconds * 1000000000u;
    do {
        MR_TRY(mr__probe_run(probe, (uint32_t)++*runs, error));
    } while (mr__now_ns() < end);
done:
    mr__probe_close(probe);
    mr__cl_close(cl);
    return status;
}

static void print_test(const char *id, const mr__error *error, uint64_t runs, uint64_t took_ns)
{
    printf("{\"id\": \"%s\", \"passed\": %s, \"runs\": %llu, \"seconds\": %.3f, \"kernels\": [", id,
           error->text[0] == '\0' ? "true" : "false", (unsigned long long)runs, (double)took_ns / 1e9);
    for (uint32_t k = 0; k < mr__probe_count; k++)
        printf(k > 0 ? ", \"%s\"" : "\"%s\"", mr__probe_names[k]);
    printf("], \"why\": \"");
    for (const char *p = error->text; *p != '\0'; p++)
        if (*p == '\n')
            printf("\\n");
        else if (*p == '"' || *p == '\\')
            printf("\\%c", *p);
        else if ((unsigned char)*p >= 0x20)
            putchar(*p);
    printf("\"}\n");
}

static int test(const char *id, const char *stress)
{
    mr__error error = {.text = ""};
    uint64_t seconds = 0, runs = 0;
    if (strpbrk(id, "\"\\") != NULL || (stress != NULL && mr__parse_u64(stress, &seconds) != MR__PARSED)) {
        fprintf(stderr, "millrace-device: --stress takes a number of seconds, and a device is named like pocl-0\n");
        return EXIT_USAGE;
    }
    const uint64_t begin = mr__now_ns();
    const mr_status status = test_device(id, seconds, &runs, &error);
    if (status == MR_NO_WORKER) {
        complain(&error);
        return EXIT_USAGE;
    }
    print_test(id, &error, runs, mr__now_ns() - begin);
    return status == MR_OK ? 0 : EXIT_DEVICE;
}

static int run(int argc, char **argv)
{
    const char *const mode = argc > 1 ? argv[1] : "";
    const char *const id = argc > 2 ? argv[2] : NULL;
    if (!mr__cl_fault_arm(strcmp(mode, "--list") == 0 ? NULL : id) || !mr__fault_arm_from_env()) {
        fprintf(stderr, "millrace-device: MILLRACE_CL_FAULT is written [ID:][POINT:]N[+][=HOW][@FILE], MILLRACE_FAULT "
                        "POINT:N\n");
        return EXIT_USAGE;
    }
    if (strcmp(mode, "--serve") == 0 && argc == 3)
        return mr__device_serve(id);
    if (strcmp(mode, "--list") == 0 && argc == 2) {
        mr__device_scratch_open(NULL);
        return list();
    }
    if (strcmp(mode, "--test") == 0 && (argc == 3 || (argc == 5 && strcmp(argv[3], "--stress") == 0))) {
        mr__device_scratch_open(NULL);
        return test(id, argc == 5 ? argv[4] : NULL);
    }
    fprintf(stderr, "usage: millrace-device --list | --serve ID | --test ID [--stress SECONDS]\n"
                    "It is started by millrace; `millrace devices` is for people.\n");
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    const int status = run(argc, argv);
    fflush(stdout);
    mr__device_scratch_close();
    _exit(status);
}
