/* device_probe.c: one small kernel for each thing that a device may do wrong, and the same in C below it. All numbers
 * come from a seed, so that a device which returns what it returned before is found out too. */
#include "device_probe.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "device_program.h"
#include "memory.h"

enum { ITEMS = 4096, GROUP = 16, KEYS = 32, ROUNDS = 24 };

static const char source[] =
    "#pragma OPENCL FP_CONTRACT OFF\n"
    "#ifdef cl_khr_fp64\n"
    "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n"
    "#endif\n"
    "static uint step(uint x) { x ^= x << 13; x ^= x >> 17; return x ^ (x << 5); }\n"
    "__kernel void integers(uint seed, __global ulong *out) {\n"
    "    const uint i = get_global_id(0);\n"
    "    uint x = step(seed + i + 1);\n"
    "    ulong sum = 0;\n"
    "    for (int r = 0; r < 24; r++) {\n"
    "        x = step(x);\n"
    "        sum = sum * 6364136223846793005UL + (x % (i + 7)) + ((ulong)x << (r & 15)) - (x >> 3);\n"
    "        sum ^= mul_hi((ulong)x * 0x9e3779b97f4a7c15UL, (ulong)sum);\n"
    "    }\n"
    "    out[i] = sum;\n"
    "}\n"
    "__kernel void floats(uint seed, __global ulong *out) {\n"
    "    const uint i = get_global_id(0);\n"
    "    uint x = step(seed + i + 1);\n"
    "    float f = 1.0f + (float)(i & 1023) * 0.25f;\n"
    "    for (int r = 0; r < 24; r++) {\n"
    "        x = step(x);\n"
    "        const float a = (float)(x >> 8) * 0.0000152587890625f;\n"
    "        f = f * 0.75f + a;\n"
    "        f = f - a * 0.5f;\n"
    "    }\n"
    "    out[i] = as_uint(f);\n"
    "}\n"
    "__kernel void sums(uint seed, __global ulong *out) {\n"
    "    const uint key = get_global_id(0);\n"
    "    ulong sum = 0;\n"
    "    for (uint i = 0; i < 4096; i++)\n"
    "        if (step(seed + i + 1) % 32 == key % 32) sum += i * (key + 1);\n"
    "    out[key] = sum;\n"
    "}\n"
    "__kernel __attribute__((reqd_work_group_size(16, 1, 1))) void local_memory(uint seed, __global ulong *out) {\n"
    "    __local uint shared[16];\n"
    "    const uint l = get_local_id(0);\n"
    "    uint x = step(seed + (uint)get_global_id(0) + 1);\n"
    "    ulong sum = 0;\n"
    "    for (int r = 0; r < 24; r++) {\n"
    "        shared[l] = x;\n"
    "        barrier(CLK_LOCAL_MEM_FENCE);\n"
    "        const uint other = shared[(l + (uint)r + 1) % 16];\n"
    "        barrier(CLK_LOCAL_MEM_FENCE);\n"
    "        sum = sum * 31 + other;\n"
    "        x = step(x + other);\n"
    "    }\n"
    "    out[get_global_id(0)] = sum;\n"
    "}\n"
    "__kernel void atomics(uint seed, __global ulong *out) {\n"
    "    __global uint *counters = (__global uint *)out;\n"
    "    const uint i = get_global_id(0), x = step(seed + i + 1);\n"
    "    atomic_add(&counters[x % 32], i);\n"
    "    atomic_inc(&counters[32 + (x >> 8) % 32]);\n"
    "    atomic_max(&counters[64 + (x >> 16) % 32], x);\n"
    "}\n";

static uint32_t step(uint32_t x)
{
    x ^= x << 13;
    x ^= x >> 17;
    return x ^ (x << 5);
}

static uint64_t multiply_high(uint64_t a, uint64_t b)
{
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

static void expect_integers(uint32_t seed, uint64_t *out)
{
    for (uint32_t i = 0; i < ITEMS; i++) {
        uint32_t x = step(seed + i + 1);
        uint64_t sum = 0;
        for (int r = 0; r < ROUNDS; r++) {
            x = step(x);
            sum = sum * 6364136223846793005u + (x % (i + 7)) + ((uint64_t)x << (r & 15)) - (x >> 3);
            sum ^= multiply_high(x * 0x9e3779b97f4a7c15u, sum);
        }
        out[i] = sum;
    }
}

static void expect_floats(uint32_t seed, uint64_t *out)
{
    for (uint32_t i = 0; i < ITEMS; i++) {
        uint32_t x = step(seed + i + 1), bits;
        volatile float f = 1.0f + (float)(i & 1023) * 0.25f;   /* volatile: each step is rounded by itself */
        for (int r = 0; r < ROUNDS; r++) {
            x = step(x);
            const float a = (float)(x >> 8) * 0.0000152587890625f;
            f = f * 0.75f;
            f = f + a;
            volatile const float half = a * 0.5f;
            f = f - half;
        }
        const float result = f;
        memcpy(&bits, &result, sizeof bits);
        out[i] = bits;
    }
}

static void expect_sums(uint32_t seed, uint64_t *out)
{
    uint64_t sums[KEYS] = {0};
    for (uint32_t i = 0; i < ITEMS; i++)
        sums[step(seed + i + 1) % KEYS] += i;
    for (uint32_t key = 0; key < KEYS * 2; key++)
        out[key] = sums[key % KEYS] * (key + 1);
}

static void expect_local(uint32_t seed, uint64_t *out)
{
    for (uint32_t group = 0; group < ITEMS; group += GROUP) {
        uint32_t x[GROUP], shared[GROUP];
        for (uint32_t l = 0; l < GROUP; l++) {
            x[l] = step(seed + group + l + 1);
            out[group + l] = 0;
        }
        for (uint32_t r = 0; r < ROUNDS; r++) {
            memcpy(shared, x, sizeof shared);
            for (uint32_t l = 0; l < GROUP; l++) {
                const uint32_t other = shared[(l + r + 1) % GROUP];
                out[group + l] = out[group + l] * 31 + other;
                x[l] = step(x[l] + other);
            }
        }
    }
}

static void expect_atomics(uint32_t seed, uint64_t *out)
{
    uint32_t counters[3 * KEYS] = {0};
    for (uint32_t i = 0; i < ITEMS; i++) {
        const uint32_t x = step(seed + i + 1);
        uint32_t *const most = &counters[2 * KEYS + (x >> 16) % KEYS];
        counters[x % KEYS] += i;
        counters[KEYS + (x >> 8) % KEYS]++;
        *most = x > *most ? x : *most;
    }
    memcpy(out, counters, sizeof counters);
}

/* items: work-items; words: of 8 bytes that are compared. */
static const struct {
    const char *name;
    void (*expect)(uint32_t seed, uint64_t *out);
    size_t items, words;
} kernels[] = {
    {"integers", expect_integers, ITEMS, ITEMS},
    {"floats", expect_floats, ITEMS, ITEMS},
    {"sums", expect_sums, 2 * KEYS, 2 * KEYS},
    {"local_memory", expect_local, ITEMS, ITEMS},
    {"atomics", expect_atomics, ITEMS, 3 * KEYS / 2},
};
enum { KERNELS = MR__COUNT(kernels) };

const char *const mr__probe_names[] = {"integers", "floats", "sums", "local_memory", "atomics"};
const uint32_t mr__probe_count = KERNELS;

struct mr__probe {
    const mr__cl *cl;
    cl_command_queue queue;
    cl_program program;
    cl_kernel kernel[KERNELS];
    cl_mem out;
    uint64_t got[ITEMS], expected[ITEMS];
};

/* From the program. */
static mr_status make_kernels(mr__probe *probe, mr__error *error)
{
    mr_status status = MR_OK;
    for (uint32_t k = 0; k < KERNELS; k++)
        MR_TRY(mr__cl_kernel(probe->cl, probe->program, kernels[k].name, &probe->kernel[k], error));
done:
    return status;
}

mr_status mr__probe_open(const mr__cl *cl, mr__device_cache *cache, mr__probe **out, mr__error *error)
{
    mr_status status = MR_OK;
    mr__device_kept kept = {.key = mr__device_key(&cl->device, source), .lanes = 1, .group = GROUP};
    char *log = NULL;
    mr__probe *probe = mr__alloc_zero(1, sizeof *probe);
    MR_CHECK(probe != NULL, MR_NO_MEMORY, "no memory to probe device %s", cl->device.id);
    probe->cl = cl;
    MR_TRY(mr__cl_queue(cl, &probe->queue, error));
    MR_TRY(mr__cl_buffer(cl, CL_MEM_READ_WRITE, sizeof probe->got, NULL, &probe->out, error));
    MR_TRY(mr__device_load(cl, cache, &kept, &probe->program, error));
    if (probe->program == NULL) {
        log = mr__alloc(MR__CL_LOG_BYTES);
        MR_CHECK(log != NULL, MR_NO_MEMORY, "no memory to probe device %s", cl->device.id);
        status = mr__device_build(cl, source, log, &probe->program, error);
        /* these kernels are not the user's: a compiler that refuses them is broken */
        MR_CHECK(status == MR_OK, status == MR_BAD_APP ? MR_DEVICE_LOST : status,
                 "the known-answer kernels do not compile for %s: %.300s", cl->device.id, log);
    }
    MR_TRY(make_kernels(probe, error));
    if (!kept.there) {
        MR_TRY(mr__probe_run(probe, 1, error));
        mr__device_keep(cl, cache, &kept, probe->program);
    }
    *out = probe;
    probe = NULL;
done:
    mr__free(log);
    mr__probe_close(probe);
    return status == MR_BAD_APP ? MR_DEVICE_LOST : status;
}

void mr__probe_close(mr__probe *probe)
{
    if (probe == NULL)
        return;
    for (uint32_t k = 0; k < KERNELS; k++)
        mr__cl_kernel_release(&probe->kernel[k]);
    mr__cl_release(&probe->out);
    mr__cl_program_release(&probe->program);
    mr__cl_queue_release(&probe->queue);
    mr__free(probe);
}

static mr_status run_into(mr__probe *probe, cl_mem out, uint32_t k, uint32_t seed, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__cl *cl = probe->cl;
    const size_t group = GROUP;
    const cl_uint from = seed;
    cl_event event = NULL;
    MR_TRY(mr__cl_argument(cl, probe->kernel[k], 0, sizeof from, &from, error));
    MR_TRY(mr__cl_argument(cl, probe->kernel[k], 1, sizeof out, &out, error));
    MR_TRY(mr__cl_launch(cl, probe->queue, probe->kernel[k], 1, &kernels[k].items, &group, &event, error));
    MR_TRY(mr__cl_wait(cl, 1, &event, error));
done:
    mr__cl_event_release(&event);
    return status;
}

static mr_status run_kernel(mr__probe *probe, uint32_t k, uint32_t seed, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__cl *cl = probe->cl;
    MR_TRY(mr__cl_clear(cl, probe->queue, probe->out, sizeof probe->got, NULL, error));
    MR_TRY(run_into(probe, probe->out, k, seed, error));
    MR_TRY(mr__cl_read(cl, probe->queue, probe->out, 0, kernels[k].words * 8, probe->got, NULL, error));
    kernels[k].expect(seed, probe->expected);
    for (size_t i = 0; i < kernels[k].words; i++)
        MR_CHECK(probe->got[i] == probe->expected[i], MR_DEVICE_LOST,
                 "device %s (%s) computes wrongly: word %zu of the known-answer kernel \"%s\" is %016" PRIx64
                 " and should be %016" PRIx64 "\n  hint: do not use this device: --workers device=none, or "
                 "`millrace devices drain %s`", cl->device.id, cl->device.name, i, kernels[k].name, probe->got[i],
                 probe->expected[i], cl->device.id);
done:
    return status;
}

/* The memory is full of what "integers" left when the host clears it; "atomics" adds to what it finds. */
bool mr__probe_direct(mr__probe *probe, uint32_t seed)
{
    enum { INTEGERS = 0, ATOMICS = KERNELS - 1 };
    mr__error ignored = {.text = ""};
    cl_mem out = NULL;
    bool direct = false;
    uint64_t *const memory = mr__pages_alloc(sizeof probe->got);
    if (memory == NULL)
        return false;
    if (mr__cl_buffer(probe->cl, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, sizeof probe->got, memory, &out,
                      &ignored) == MR_OK &&
        run_into(probe, out, INTEGERS, seed, &ignored) == MR_OK) {
        kernels[INTEGERS].expect(seed, probe->expected);
        direct = memcmp(memory, probe->expected, kernels[INTEGERS].words * 8) == 0;
        memset(memory, 0, sizeof probe->got);
        direct = direct && run_into(probe, out, ATOMICS, seed, &ignored) == MR_OK;
        kernels[ATOMICS].expect(seed, probe->expected);
        direct = direct && memcmp(memory, probe->expected, kernels[ATOMICS].words * 8) == 0;
    }
    mr__cl_finish(probe->queue);        /* after a failure a kernel may still write */
    mr__cl_release(&out);
    mr__pages_free(memory, sizeof probe->got);
    return direct;
}

mr_status mr__probe_run(mr__probe *probe, uint32_t seed, mr__error *error)
{
    mr_status status = MR_OK;
    for (uint32_t k = 0; k < KERNELS; k++)
        MR_TRY(run_kernel(probe, k, seed, error));
done:
    return status;
}
