/* lab.c: kernels on every device, without Millrace's own device process: a test of the one is none of the other. */
#include "lab.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEVICES_MAX = 16, PLATFORMS_MAX = 8, ARGUMENTS_MAX = 20 };

static const char *const form_headers[3][6] = {
    [LAB_ROWS] = {"device_opencl.h", "row_opencl.h", "row_math.h", "row_columns_opencl.h", "row_emit_opencl.h"},
    [LAB_TEXTS] = {"device_opencl.h", "text_opencl.h"},
    [LAB_RECORDS] = {"device_opencl.h"},
};

static void need(bool condition, const char *format, ...)
{
    if (condition)
        return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static void need_cl(cl_int code, const char *what, const lab_device *device)
{
    need(code == CL_SUCCESS, "%s: %s failed with %d", device->name, what, code);
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

static void open_device(lab_device *device, cl_platform_id platform, cl_device_id id)
{
    char platform_name[64] = "", name[64] = "";
    cl_int code;
    clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof platform_name - 1, platform_name, NULL);
    clGetDeviceInfo(id, CL_DEVICE_NAME, sizeof name - 1, name, NULL);
    snprintf(device->name, sizeof device->name, "%s/%s", platform_name, name);
    device->id = id;
    device->context = clCreateContext(NULL, 1, &id, NULL, NULL, &code);
    need_cl(code, "clCreateContext", device);
    device->queue = clCreateCommandQueue(device->context, id, 0, &code);
    need_cl(code, "clCreateCommandQueue", device);
}

const lab_device *lab_devices(size_t *count)
{
    static lab_device devices[DEVICES_MAX];
    static size_t opened;
    static bool looked;
    cl_platform_id platforms[PLATFORMS_MAX];
    cl_uint platform_count = 0;
    if (!looked && clGetPlatformIDs(PLATFORMS_MAX, platforms, &platform_count) == CL_SUCCESS)
        for (cl_uint p = 0; p < platform_count && p < PLATFORMS_MAX; p++) {
            cl_device_id ids[DEVICES_MAX];
            cl_uint found = 0;
            if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, DEVICES_MAX, ids, &found) == CL_SUCCESS)
                for (cl_uint d = 0; d < found && d < DEVICES_MAX && opened < DEVICES_MAX; d++)
                    open_device(&devices[opened++], platforms[p], ids[d]);
        }
    looked = true;
    *count = opened;
    return devices;
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

char *lab_read(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    need(file != NULL, "could not open %s", path);
    fseek(file, 0, SEEK_END);
    const long size = ftell(file);
    rewind(file);
    char *text = calloc(1, (size_t)size + 1);
    need(text != NULL && fread(text, 1, (size_t)size, file) == (size_t)size, "could not read %s", path);
    fclose(file);
    return text;
}

/* Overwrites the directives that include <millrace/...> with blanks: lines keep their numbers. */
static void blank_includes(char *text)
{
    for (char *at = text; (at = strstr(at, "#include <millrace/")) != NULL;)
        at = memset(at, ' ', strcspn(at, "\n"));
}

static void append(char **text, const char *part)
{
    const size_t used = *text == NULL ? 0 : strlen(*text);
    char *longer = realloc(*text, used + strlen(part) + 1);
    need(longer != NULL, "no memory for a program");
    strcpy(longer + used, part);
    *text = longer;
}

static char *program_text(const lab_job *job)
{
    char *text = NULL, line[1024], offsets[128] = "0";
    size_t used = 0;
    for (unsigned c = 0; c < job->column_count; c++)
        used += (size_t)snprintf(offsets + used, sizeof offsets - used, "%s%u", c > 0 ? ", " : "", job->offsets[c]);
    snprintf(line, sizeof line,
             "#define MR_LANES %u\n#define MR_GROUP %u\n#define MR_RECORD_SIZE %u\n#define MR_COLUMN_COUNT %u\n"
             "#define MR_COLUMN_OFFSETS %s\n#define MR_ALIGNED %d\n#define MR_UNIT %u\n"
             "#define MR_DENSE_KEYS %u\n#define MR_DENSE_WIDTH %u\n"
             "#define MR_VALUE_SIZE %u\n#define MR_BLOCK_ROWS %lu\n",
             job->lanes, job->group, job->record_size, job->column_count, offsets, !job->unaligned, job->unit,
             job->dense_keys, job->dense_width, job->value_size, (unsigned long)job->block_rows);
    append(&text, line);
    for (const char *const *name = form_headers[job->form]; *name != NULL; name++) {
        char *header = lab_read(LAB_HEADERS, *name);
        append(&text, header);
        free(header);
    }
    append(&text, job->source);
    blank_includes(text);
    return text;
}

lab_program lab_build_plain(const lab_device *device, const char *source, const char *options, const char *kernel)
{
    lab_program built = {.device = device};
    char log[16384] = "";
    cl_int code;
    built.program = clCreateProgramWithSource(device->context, 1, &source, NULL, &code);
    need_cl(code, "clCreateProgramWithSource", device);
    code = clBuildProgram(built.program, 1, &device->id, options, NULL, NULL);
    if (code != CL_SUCCESS)
        clGetProgramBuildInfo(built.program, device->id, CL_PROGRAM_BUILD_LOG, sizeof log - 1, log, NULL);
    need(code == CL_SUCCESS, "%s: the program does not build (%d):\n%s", device->name, code, log);
    built.kernel = clCreateKernel(built.program, kernel, &code);
    need_cl(code, "clCreateKernel", device);
    return built;
}

lab_program lab_build(const lab_device *device, const lab_job *job, const char *kernel)
{
    char *text = program_text(job), options[128] = "-cl-std=CL1.2";
    cl_device_fp_config single = 0;
    clGetDeviceInfo(device->id, CL_DEVICE_SINGLE_FP_CONFIG, sizeof single, &single, NULL);
    if (single & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT)
        strcat(options, " -cl-fp32-correctly-rounded-divide-sqrt");
    lab_program built = lab_build_plain(device, text, options, kernel);
    built.job = *job;
    free(text);
    return built;
}

void lab_drop(lab_program *program)
{
    clReleaseKernel(program->kernel);
    clReleaseProgram(program->program);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Exactly as large as the argument, so that Oclgrind sees each access that is out of bounds. */
static cl_mem make_buffer(const lab_device *device, const lab_argument *argument)
{
    cl_int code;
    const size_t size = argument->size > 0 ? argument->size : 1;
    cl_mem buffer = clCreateBuffer(device->context, CL_MEM_READ_WRITE, size, NULL, &code);
    need_cl(code, "clCreateBuffer", device);
    if (argument->size > 0)
        need_cl(clEnqueueWriteBuffer(device->queue, buffer, CL_TRUE, 0, argument->size, argument->data, 0, NULL,
                                     NULL), "clEnqueueWriteBuffer", device);
    return buffer;
}

double lab_run(const lab_program *program, const lab_argument *arguments, size_t count, unsigned dimensions,
               const size_t *global, const size_t *local)
{
    const lab_device *device = program->device;
    cl_mem buffers[ARGUMENTS_MAX] = {NULL};
    for (size_t i = 0; i < count; i++) {
        const lab_argument *argument = &arguments[i];
        if (argument->kind == LAB_NUMBER) {
            need_cl(clSetKernelArg(program->kernel, (cl_uint)i, argument->size, argument->data), "clSetKernelArg",
                    device);
            continue;
        }
        buffers[i] = make_buffer(device, argument);
        need_cl(clSetKernelArg(program->kernel, (cl_uint)i, sizeof buffers[i], &buffers[i]), "clSetKernelArg", device);
    }
    const double begin = now();
    need_cl(clEnqueueNDRangeKernel(device->queue, program->kernel, dimensions, NULL, global, local, 0, NULL, NULL),
            "clEnqueueNDRangeKernel", device);
    need_cl(clFinish(device->queue), "clFinish", device);
    const double seconds = now() - begin;
    for (size_t i = 0; i < count; i++) {
        if (arguments[i].kind == LAB_OUT && arguments[i].size > 0)
            need_cl(clEnqueueReadBuffer(device->queue, buffers[i], CL_TRUE, 0, arguments[i].size,
                                        arguments[i].data, 0, NULL, NULL), "clEnqueueReadBuffer", device);
        if (buffers[i] != NULL)
            clReleaseMemObject(buffers[i]);
    }
    return seconds;
}

bool lab_ready(bool *simulated)
{
    size_t count;
    *simulated = getenv("MILLRACE_TEST_SIMULATED") != NULL;
    if (lab_devices(&count), count == 0)
        puts("skipped: no OpenCL device; run tools/opencl.sh");
    return count > 0;
}
