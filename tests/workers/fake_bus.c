/* fake_bus.c: for LD_PRELOAD: OpenCL devices that say where they sit on the PCI bus. FAKE_BUS: "khr", "nv", "old" (the
 * driver knows no domain), or "silent" (it promises to tell, and does not). */
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef cl_int CL_API_CALL ask(cl_device_id device, cl_device_info what, size_t size, void *value, size_t *needed);

static cl_int answer(const void *from, size_t size, void *value)
{
    memcpy(value, from, size);
    return CL_SUCCESS;
}

static cl_int add_extension(ask *next, cl_device_id device, size_t size, char *text, size_t *needed, const char *name)
{
    const cl_int code = next(device, CL_DEVICE_EXTENSIONS, size, text, needed);
    if (code == CL_SUCCESS && text != NULL && strlen(text) + strlen(name) + 2 <= size)
        strcat(strcat(text, " "), name);
    return code;
}

__attribute__((visibility("default")))
cl_int CL_API_CALL clGetDeviceInfo(cl_device_id device, cl_device_info what, size_t size, void *value, size_t *needed)
{
    static const cl_device_pci_bus_info_khr place = {1, 0x3b, 2, 3};
    static const cl_uint bus = 0x5e, slot = 4, domain = 5;
    const char *mode = getenv("FAKE_BUS");
    ask *next = (ask *)dlsym(RTLD_NEXT, "clGetDeviceInfo");
    const int khr = strcmp(mode, "khr") == 0, old = strcmp(mode, "old") == 0, nv = old || strcmp(mode, "nv") == 0;
    switch (what) {
    case CL_DEVICE_EXTENSIONS:
        return add_extension(next, device, size, value, needed,
                             nv ? "cl_nv_device_attribute_query" : "cl_khr_pci_bus_info");
    case CL_DEVICE_PCI_BUS_INFO_KHR:
        return khr ? answer(&place, sizeof place, value) : CL_INVALID_VALUE;
    case 0x4008:
        return nv ? answer(&bus, sizeof bus, value) : CL_INVALID_VALUE;
    case 0x4009:
        return nv ? answer(&slot, sizeof slot, value) : CL_INVALID_VALUE;
    case 0x400a:
        return nv && !old ? answer(&domain, sizeof domain, value) : CL_INVALID_VALUE;
    default:
        return next(device, what, size, value, needed);
    }
}
