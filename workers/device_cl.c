/* device_cl.c: one wrapper per OpenCL call: count it, let a test spoil it, make the call, word the failure.
 *
 * Which codes mean that memory ran out differs by driver: some say CL_OUT_OF_RESOURCES for a crashed kernel and for a
 * full device. So that code means memory only where a buffer is made; elsewhere the device is lost, which is the safe
 * reading: its tasks run on other workers.
 *
 * An event may complete with a negative status: waiting for it says so, so every command whose result matters has
 * one. */
#include "device_cl.h"

#include <CL/cl_ext.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "device_cl_fault.h"
#include "memory.h"

#define CALL(point, call)                                                                                              \
    __extension__({                                                                                                    \
        cl_int code_ = mr__cl_trip((point), NULL);                                                                     \
        code_ == CL_SUCCESS ? (call) : code_;                                                                          \
    })
/* For calls that return a handle and put the code into `code`. */
#define CREATE(point, code, call)                                                                                      \
    __extension__({                                                                                                    \
        code = mr__cl_trip((point), NULL);                                                                             \
        code == CL_SUCCESS ? (call) : NULL;                                                                            \
    })

/* ---- sentences --------------------------------------------------------------------------------------------------- */

static const char *code_name(cl_int code)
{
    static const struct { cl_int code; const char *name; } names[] = {
        {CL_DEVICE_NOT_FOUND, "CL_DEVICE_NOT_FOUND"},
        {CL_DEVICE_NOT_AVAILABLE, "CL_DEVICE_NOT_AVAILABLE"},
        {CL_COMPILER_NOT_AVAILABLE, "CL_COMPILER_NOT_AVAILABLE"},
        {CL_MEM_OBJECT_ALLOCATION_FAILURE, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
        {CL_OUT_OF_RESOURCES, "CL_OUT_OF_RESOURCES"},
        {CL_OUT_OF_HOST_MEMORY, "CL_OUT_OF_HOST_MEMORY"},
        {CL_BUILD_PROGRAM_FAILURE, "CL_BUILD_PROGRAM_FAILURE"},
        {CL_MAP_FAILURE, "CL_MAP_FAILURE"},
        {CL_MISALIGNED_SUB_BUFFER_OFFSET, "CL_MISALIGNED_SUB_BUFFER_OFFSET"},
        {CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST"},
        {CL_INVALID_VALUE, "CL_INVALID_VALUE"},
        {CL_INVALID_DEVICE, "CL_INVALID_DEVICE"},
        {CL_INVALID_CONTEXT, "CL_INVALID_CONTEXT"},
        {CL_INVALID_COMMAND_QUEUE, "CL_INVALID_COMMAND_QUEUE"},
        {CL_INVALID_MEM_OBJECT, "CL_INVALID_MEM_OBJECT"},
        {CL_INVALID_BINARY, "CL_INVALID_BINARY"},
        {CL_INVALID_BUILD_OPTIONS, "CL_INVALID_BUILD_OPTIONS"},
        {CL_INVALID_PROGRAM_EXECUTABLE, "CL_INVALID_PROGRAM_EXECUTABLE"},
        {CL_INVALID_KERNEL_NAME, "CL_INVALID_KERNEL_NAME"},
        {CL_INVALID_KERNEL_ARGS, "CL_INVALID_KERNEL_ARGS"},
        {CL_INVALID_ARG_SIZE, "CL_INVALID_ARG_SIZE"},
        {CL_INVALID_ARG_INDEX, "CL_INVALID_ARG_INDEX"},
        {CL_INVALID_WORK_GROUP_SIZE, "CL_INVALID_WORK_GROUP_SIZE"},
        {CL_INVALID_BUFFER_SIZE, "CL_INVALID_BUFFER_SIZE"},
        {CL_INVALID_EVENT, "CL_INVALID_EVENT"},
        {-9999, "an illegal access by the kernel"},     /* NVIDIA's */
    };
    for (size_t i = 0; i < MR__COUNT(names); i++)
        if (names[i].code == code)
            return names[i].name;
    return "an unknown code";
}

static const char *point_words(enum mr__cl_point point)
{
    switch (point) {
#define POINT_WORDS(number, name, what) case MR__CL_##name: return what;
        MR__CL_POINT_MAP(POINT_WORDS)
#undef POINT_WORDS
    }
    return "";
}

static bool means_memory(enum mr__cl_point point, cl_int code)
{
    return code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY ||
           ((point == MR__CL_BUFFER || point == MR__CL_PART) &&
            (code == CL_OUT_OF_RESOURCES || code == CL_INVALID_BUFFER_SIZE));
}

static mr_status failed(const mr__cl_device *device, enum mr__cl_point point, cl_int code, mr__error *error)
{
    if (code == CL_SUCCESS)
        return MR_OK;
    if (means_memory(point, code))
        return mr__fail(error, MR_NO_MEMORY, "could not %s on %s (%s): its memory is full, %s (%d)\n"
                        "  hint: smaller blocks need less", point_words(point), device->id, device->name,
                        code_name(code), code);
    return mr__fail(error, MR_DEVICE_LOST, "could not %s on %s (%s): %s (%d)\n  hint: `millrace devices test %s` says "
                    "whether the device is well", point_words(point), device->id, device->name, code_name(code), code,
                    device->id);
}

/* ---- platforms and devices --------------------------------------------------------------------------------------- */

enum { NO_PLATFORM = -1001 };       /* the ICD loader found none: normal */

mr_status mr__cl_platforms(cl_platform_id *platforms, uint32_t room, uint32_t *count, mr__error *error)
{
    cl_uint found = 0;
    const cl_int code = CALL(MR__CL_PLATFORMS, clGetPlatformIDs(room, platforms, &found));
    if (code == NO_PLATFORM) {
        *count = 0;
        return MR_OK;
    }
    if (code != CL_SUCCESS)
        return mr__fail(error, MR_DEVICE_LOST, "could not list the OpenCL platforms: %s (%d)\n  hint: look into "
                        "/etc/OpenCL/vendors, or set OCL_ICD_VENDORS", code_name(code), code);
    *count = found < room ? found : room;
    return MR_OK;
}

mr_status mr__cl_platform_text(cl_platform_id platform, cl_platform_info what, char *text, size_t room,
                               mr__error *error)
{
    size_t size = 0;
    const cl_int code = CALL(MR__CL_PLATFORM_INFO, clGetPlatformInfo(platform, what, room, text, &size));
    if (code != CL_SUCCESS)
        return mr__fail(error, MR_DEVICE_LOST, "could not ask a platform for its name: %s (%d)", code_name(code), code);
    text[size < room ? size : room - 1] = '\0';
    return MR_OK;
}

mr_status mr__cl_devices(cl_platform_id platform, cl_device_id *devices, uint32_t room, uint32_t *count,
                         mr__error *error)
{
    cl_uint found = 0;
    const cl_int code =
        CALL(MR__CL_DEVICES, clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, room, devices, &found));
    if (code != CL_SUCCESS && code != CL_DEVICE_NOT_FOUND)
        return mr__fail(error, MR_DEVICE_LOST, "could not list its devices: %s (%d)", code_name(code), code);
    *count = code == CL_SUCCESS ? (found < room ? found : room) : 0;
    return MR_OK;
}

static mr_status info(const mr__cl_device *device, cl_device_info what, size_t size, void *value, mr__error *error)
{
    return failed(device, MR__CL_DEVICE_INFO,
                  CALL(MR__CL_DEVICE_INFO, clGetDeviceInfo(device->handle, what, size, value, NULL)), error);
}

static mr_status text_info(const mr__cl_device *device, cl_device_info what, size_t size, char *text, mr__error *error)
{
    const mr_status status = info(device, what, size - 1, text, error);
    text[size - 1] = '\0';
    return status;
}

/* Debian's headers lack those of cl_nv_device_attribute_query. */
enum { NV_PCI_BUS = 0x4008, NV_PCI_SLOT = 0x4009, NV_PCI_DOMAIN = 0x400a };

/* A driver that cannot tell leaves it unknown. */
static void describe_bus(mr__cl_device *device, const char *extensions)
{
    mr__error ignored = {.text = ""};
    cl_device_pci_bus_info_khr at = {.pci_domain = 0};
    bool known = false;
    if (strstr(extensions, "cl_khr_pci_bus_info") != NULL)
        known = info(device, CL_DEVICE_PCI_BUS_INFO_KHR, sizeof at, &at, &ignored) == MR_OK;
    if (!known && strstr(extensions, "cl_nv_device_attribute_query") != NULL) {
        known = info(device, NV_PCI_BUS, sizeof at.pci_bus, &at.pci_bus, &ignored) == MR_OK &&
                info(device, NV_PCI_SLOT, sizeof at.pci_device, &at.pci_device, &ignored) == MR_OK;
        if (info(device, NV_PCI_DOMAIN, sizeof at.pci_domain, &at.pci_domain, &ignored) != MR_OK)
            at.pci_domain = 0;      /* drivers before 2018 */
        at.pci_function = 0;
    }
    if (known)
        snprintf(device->bus, sizeof device->bus, "%04x.%02x.%02x.%x", at.pci_domain & 0xffff, at.pci_bus & 0xff,
                 at.pci_device & 0x1f, at.pci_function & 0x7);
}

mr_status mr__cl_describe(mr__cl_device *device, mr__error *error)
{
    mr_status status = MR_OK;
    cl_device_type type = 0;
    cl_device_fp_config single = 0, twice = 0;
    cl_uint align_bits = 0;
    cl_bool unified = CL_FALSE;
    cl_ulong bytes[3] = {0};
    size_t group = 0;
    char extensions[8192] = "";
    MR_TRY(text_info(device, CL_DEVICE_NAME, sizeof device->name, device->name, error));
    MR_TRY(text_info(device, CL_DEVICE_VENDOR, sizeof device->vendor, device->vendor, error));
    MR_TRY(text_info(device, CL_DEVICE_VERSION, sizeof device->version, device->version, error));
    MR_TRY(text_info(device, CL_DRIVER_VERSION, sizeof device->driver, device->driver, error));
    MR_TRY(text_info(device, CL_DEVICE_EXTENSIONS, sizeof extensions, extensions, error));
    MR_TRY(info(device, CL_DEVICE_TYPE, sizeof type, &type, error));
    MR_TRY(info(device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof device->units, &device->units, error));
    MR_TRY(info(device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof bytes[0], &bytes[0], error));
    MR_TRY(info(device, CL_DEVICE_LOCAL_MEM_SIZE, sizeof bytes[1], &bytes[1], error));
    MR_TRY(info(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof bytes[2], &bytes[2], error));
    MR_TRY(info(device, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof group, &group, error));
    MR_TRY(info(device, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof align_bits, &align_bits, error));
    MR_TRY(info(device, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof unified, &unified, error));
    MR_TRY(info(device, CL_DEVICE_SINGLE_FP_CONFIG, sizeof single, &single, error));
    MR_TRY(info(device, CL_DEVICE_DOUBLE_FP_CONFIG, sizeof twice, &twice, error));
    device->type = type & CL_DEVICE_TYPE_CPU ? "cpu" : type & CL_DEVICE_TYPE_GPU ? "gpu" : "accelerator";
    device->global_bytes = bytes[0];
    device->local_bytes = bytes[1];
    device->max_alloc_bytes = bytes[2];
    device->max_group = (uint32_t)group;
    device->align = align_bits >= 8 ? align_bits / 8 : 1;
    device->unified = unified == CL_TRUE;
    device->f64 = twice != 0;
    device->int64_atomics = strstr(extensions, "cl_khr_int64_base_atomics") != NULL;
    device->exact_f32 = (single & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
    describe_bus(device, extensions);
done:
    return status;
}

mr_status mr__cl_open(const mr__cl_device *device, mr__cl **out, mr__error *error)
{
    mr_status status = MR_OK;
    cl_int code;
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)device->platform_handle, 0};
    mr__cl *cl = mr__alloc_zero(1, sizeof *cl);
    MR_CHECK(cl != NULL, MR_NO_MEMORY, "no memory to open device %s", device->id);
    cl->device = *device;
    cl->context = CREATE(MR__CL_CONTEXT, code, clCreateContext(properties, 1, &device->handle, NULL, NULL, &code));
    MR_TRY(failed(device, MR__CL_CONTEXT, code, error));
    *out = cl;
    cl = NULL;
done:
    mr__cl_close(cl);
    return status;
}

void mr__cl_close(mr__cl *cl)
{
    if (cl == NULL)
        return;
    if (cl->context != NULL)
        clReleaseContext(cl->context);
    mr__free(cl);
}

mr_status mr__cl_queue(const mr__cl *cl, cl_command_queue *queue, mr__error *error)
{
    cl_int code;
    *queue = CREATE(MR__CL_QUEUE, code,
                    clCreateCommandQueue(cl->context, cl->device.handle, CL_QUEUE_PROFILING_ENABLE, &code));
    return failed(&cl->device, MR__CL_QUEUE, code, error);
}

/* ---- programs and kernels ---------------------------------------------------------------------------------------- */

static void read_log(const mr__cl *cl, cl_program program, char *log)
{
    size_t size = 0;
    char *whole = NULL;
    log[0] = '\0';
    if (CALL(MR__CL_LOG, clGetProgramBuildInfo(program, cl->device.handle, CL_PROGRAM_BUILD_LOG, 0, NULL, &size)) !=
            CL_SUCCESS ||
        size == 0 || (whole = mr__alloc(size + 1)) == NULL)
        return;
    if (clGetProgramBuildInfo(program, cl->device.handle, CL_PROGRAM_BUILD_LOG, size, whole, NULL) == CL_SUCCESS) {
        whole[size] = '\0';
        snprintf(log, MR__CL_LOG_BYTES, "%s", whole);
    }
    mr__free(whole);
}

/* Compilers write to the terminal what they also put into the log ("1 error generated."). */
static int mute(void)
{
    const int kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (kept >= 0 && nowhere >= 0)
        dup2(nowhere, STDERR_FILENO);
    if (nowhere >= 0)
        close(nowhere);
    return kept;
}

static void unmute(int kept)
{
    if (kept < 0)
        return;
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
}

mr_status mr__cl_program_build(const mr__cl *cl, const char *source, const char *options, char *log,
                               cl_program *program, mr__error *error)
{
    mr_status status = MR_OK;
    cl_int code;
    *program = CREATE(MR__CL_SOURCE, code, clCreateProgramWithSource(cl->context, 1, &source, NULL, &code));
    MR_TRY(failed(&cl->device, MR__CL_SOURCE, code, error));
    const int kept = mute();
    code = CALL(MR__CL_BUILD, clBuildProgram(*program, 1, &cl->device.handle, options, NULL, NULL));
    unmute(kept);
    read_log(cl, *program, log);
    /* a log says that the compiler ran; a build that fails without one is the driver's fault */
    MR_CHECK(code == CL_SUCCESS || log[0] == '\0' || code == CL_OUT_OF_RESOURCES, MR_BAD_APP,
             "the kernel does not compile for %s (%s)", cl->device.id, cl->device.name);
    MR_TRY(failed(&cl->device, MR__CL_BUILD, code, error));
    log[0] = '\0';                      /* warnings are not for users of the app */
done:
    if (status != MR_OK && *program != NULL) {
        clReleaseProgram(*program);
        *program = NULL;
    }
    return status;
}

mr_status mr__cl_program_load(const mr__cl *cl, const void *binary, size_t size, const char *options,
                              cl_program *program, mr__error *error)
{
    mr_status status = MR_OK;
    const unsigned char *bytes = binary;
    cl_int code, loaded = CL_SUCCESS;
    *program = CREATE(MR__CL_BINARY, code,
                      clCreateProgramWithBinary(cl->context, 1, &cl->device.handle, &size, &bytes, &loaded, &code));
    MR_TRY(failed(&cl->device, MR__CL_BINARY, code != CL_SUCCESS ? code : loaded, error));
    code = CALL(MR__CL_BUILD, clBuildProgram(*program, 1, &cl->device.handle, options, NULL, NULL));
    MR_TRY(failed(&cl->device, MR__CL_BUILD, code, error));
done:
    if (status != MR_OK && *program != NULL) {
        clReleaseProgram(*program);
        *program = NULL;
    }
    return status;
}

mr_status mr__cl_program_binary(const mr__cl *cl, cl_program program, uint8_t **binary, size_t *size, mr__error *error)
{
    mr_status status = MR_OK;
    size_t bytes = 0;
    uint8_t *memory = NULL;
    MR_TRY(failed(&cl->device, MR__CL_PROGRAM_INFO,
                  CALL(MR__CL_PROGRAM_INFO,
                       clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL)), error));
    MR_CHECK(bytes > 0, MR_DEVICE_LOST, "device %s gives no binary of its program", cl->device.id);
    memory = mr__alloc(bytes);
    MR_CHECK(memory != NULL, MR_NO_MEMORY, "no memory for a program of %zu bytes", bytes);
    MR_TRY(failed(&cl->device, MR__CL_PROGRAM_INFO,
                  CALL(MR__CL_PROGRAM_INFO,
                       clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof memory, &memory, NULL)), error));
    *binary = memory;
    *size = bytes;
    memory = NULL;
done:
    mr__free(memory);
    return status;
}

mr_status mr__cl_kernel(const mr__cl *cl, cl_program program, const char *name, cl_kernel *kernel, mr__error *error)
{
    cl_int code;
    *kernel = CREATE(MR__CL_KERNEL, code, clCreateKernel(program, name, &code));
    if (code == CL_INVALID_KERNEL_NAME)
        return mr__fail(error, MR_BAD_APP, "the program has no kernel %s\n  hint: the source needs MR_ROW_KERNEL, "
                        "MR_TEXT_KERNEL or MR_RECORDS_KERNEL, as the app's input asks", name);
    return failed(&cl->device, MR__CL_KERNEL, code, error);
}

mr_status mr__cl_kernel_group(const mr__cl *cl, cl_kernel kernel, size_t group[3], mr__error *error)
{
    return failed(&cl->device, MR__CL_KERNEL_INFO,
                  CALL(MR__CL_KERNEL_INFO,
                       clGetKernelWorkGroupInfo(kernel, cl->device.handle, CL_KERNEL_COMPILE_WORK_GROUP_SIZE,
                                                3 * sizeof *group, group, NULL)), error);
}

mr_status mr__cl_argument(const mr__cl *cl, cl_kernel kernel, uint32_t index, size_t size, const void *value,
                          mr__error *error)
{
    const cl_int code = CALL(MR__CL_ARGUMENT, clSetKernelArg(kernel, index, size, value));
    if (code == CL_INVALID_ARG_SIZE || code == CL_INVALID_ARG_INDEX)
        return mr__fail(error, MR_BAD_APP, "argument %u of the kernel has another type than Millrace passes\n  hint: "
                        "define the kernel with Millrace's macros", index);
    return failed(&cl->device, MR__CL_ARGUMENT, code, error);
}

/* ---- buffers and commands ---------------------------------------------------------------------------------------- */

mr_status mr__cl_buffer(const mr__cl *cl, cl_mem_flags flags, size_t size, void *host, cl_mem *buffer,
                        mr__error *error)
{
    cl_int code;
    const size_t whole = host != NULL ? size : size > 0 ? (size + 7) / 8 * 8 : 8;
    *buffer = CREATE(MR__CL_BUFFER, code, clCreateBuffer(cl->context, flags, whole, host, &code));
    return failed(&cl->device, MR__CL_BUFFER, code, error);
}

mr_status mr__cl_part(const mr__cl *cl, cl_mem whole, size_t at, size_t size, cl_mem *part, mr__error *error)
{
    cl_int code;
    const cl_buffer_region region = {at, size > 0 ? size : 1};
    *part = CREATE(MR__CL_PART, code, clCreateSubBuffer(whole, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &code));
    return failed(&cl->device, MR__CL_PART, code, error);
}

#define RELEASE(handle, release)                                                                                       \
    do {                                                                                                               \
        if (*(handle) != NULL)                                                                                         \
            release(*(handle));                                                                                        \
        *(handle) = NULL;                                                                                              \
    } while (0)

void mr__cl_release(cl_mem *buffer)
{
    RELEASE(buffer, clReleaseMemObject);
}

void mr__cl_event_release(cl_event *event)
{
    RELEASE(event, clReleaseEvent);
}

void mr__cl_kernel_release(cl_kernel *kernel)
{
    RELEASE(kernel, clReleaseKernel);
}

void mr__cl_program_release(cl_program *program)
{
    RELEASE(program, clReleaseProgram);
}

void mr__cl_queue_release(cl_command_queue *queue)
{
    RELEASE(queue, clReleaseCommandQueue);
}

void mr__cl_finish(cl_command_queue queue)
{
    clFinish(queue);
}

mr_status mr__cl_map(const mr__cl *cl, cl_command_queue queue, cl_mem buffer, cl_map_flags flags, size_t size,
                     void **memory, mr__error *error)
{
    cl_int code;
    *memory = CREATE(MR__CL_MAP, code,
                     clEnqueueMapBuffer(queue, buffer, CL_TRUE, flags, 0, size > 0 ? size : 1, 0, NULL, NULL, &code));
    return failed(&cl->device, MR__CL_MAP, code, error);
}

mr_status mr__cl_unmap(const mr__cl *cl, cl_command_queue queue, cl_mem buffer, void *memory, mr__error *error)
{
    cl_event unmapped = NULL;
    cl_int code = CALL(MR__CL_UNMAP, clEnqueueUnmapMemObject(queue, buffer, memory, 0, NULL, &unmapped));
    if (code == CL_SUCCESS)
        code = clWaitForEvents(1, &unmapped);
    mr__cl_event_release(&unmapped);
    return failed(&cl->device, MR__CL_UNMAP, code, error);
}

mr_status mr__cl_write(const mr__cl *cl, cl_command_queue queue, cl_mem buffer, size_t at, size_t size,
                       const void *from, cl_event *event, mr__error *error)
{
    const cl_bool blocking = event == NULL ? CL_TRUE : CL_FALSE;
    return failed(&cl->device, MR__CL_WRITE,
                  CALL(MR__CL_WRITE, clEnqueueWriteBuffer(queue, buffer, blocking, at, size, from, 0, NULL, event)),
                  error);
}

mr_status mr__cl_read(const mr__cl *cl, cl_command_queue queue, cl_mem buffer, size_t at, size_t size, void *to,
                      cl_event *event, mr__error *error)
{
    bool garbage = false;
    cl_int code = mr__cl_trip(MR__CL_READ, &garbage);
    if (code == CL_SUCCESS)
        code = clEnqueueReadBuffer(queue, buffer, event == NULL || garbage ? CL_TRUE : CL_FALSE, at, size, to, 0, NULL,
                                   event);
    if (garbage)
        for (size_t i = 0; i < size; i++)
            ((uint8_t *)to)[i] ^= (uint8_t)(i * 37 + 91);
    return failed(&cl->device, MR__CL_READ, code, error);
}

mr_status mr__cl_clear(const mr__cl *cl, cl_command_queue queue, cl_mem buffer, size_t size, cl_event *event,
                       mr__error *error)
{
    const cl_ulong zero = 0;
    const size_t whole = (size + sizeof zero - 1) / sizeof zero * sizeof zero;
    cl_event cleared = NULL;
    mr_status status = failed(&cl->device, MR__CL_FILL,
                              CALL(MR__CL_FILL, clEnqueueFillBuffer(queue, buffer, &zero, sizeof zero, 0, whole, 0,
                                                                    NULL, &cleared)), error);
    if (event != NULL) {
        *event = cleared;
        return status;
    }
    if (status == MR_OK)
        status = mr__cl_wait(cl, 1, &cleared, error);
    mr__cl_event_release(&cleared);
    return status;
}

mr_status mr__cl_launch(const mr__cl *cl, cl_command_queue queue, cl_kernel kernel, uint32_t dimensions,
                        const size_t *global, const size_t *local, cl_event *event, mr__error *error)
{
    bool garbage = false;
    cl_int code = mr__cl_trip(MR__CL_LAUNCH, &garbage);
    if (code == CL_SUCCESS)
        code = garbage ? clEnqueueMarkerWithWaitList(queue, 0, NULL, event)
                       : clEnqueueNDRangeKernel(queue, kernel, dimensions, NULL, global, local, 0, NULL, event);
    return failed(&cl->device, MR__CL_LAUNCH, code, error);
}

mr_status mr__cl_flush(const mr__cl *cl, cl_command_queue queue, mr__error *error)
{
    return failed(&cl->device, MR__CL_FLUSH, CALL(MR__CL_FLUSH, clFlush(queue)), error);
}

mr_status mr__cl_wait(const mr__cl *cl, uint32_t count, const cl_event *events, mr__error *error)
{
    return failed(&cl->device, MR__CL_WAIT, CALL(MR__CL_WAIT, clWaitForEvents(count, events)), error);
}

bool mr__cl_times(cl_event event, uint64_t *begin_ns, uint64_t *end_ns)
{
    cl_ulong begin = 0, end = 0;
    if (CALL(MR__CL_TIMES, clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof begin, &begin, NULL)) !=
            CL_SUCCESS ||
        CALL(MR__CL_TIMES, clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL)) !=
            CL_SUCCESS)
        return false;
    *begin_ns = begin;
    *end_ns = end;
    return end >= begin;
}
