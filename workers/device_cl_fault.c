/* device_cl_fault.c: reads MILLRACE_CL_FAULT, counts the calls, and says what becomes of one. */
#include "device_cl_fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum how { FAIL, MEMORY, SEGV, HANG, GARBAGE };

static struct {
    bool armed, onwards;
    uint32_t point;             /* 0: any */
    uint64_t nth;
    enum how how;
    char file[512];             /* "": none */
    _Atomic bool removed;
    _Atomic uint64_t calls;     /* at the point */
} fault;

bool mr__cl_fault_arm(const char *serving)
{
    static const char *const hows[] = {"fail", "memory", "segv", "hang", "garbage"};
    const char *text = getenv("MILLRACE_CL_FAULT");
    if (text == NULL || *text == '\0')
        return true;
    const size_t id = strspn(text, "abcdefghijklmnopqrstuvwxyz") > 0 ? strcspn(text, ":") : 0;
    if (id > 0) {
        if (text[id] != ':')
            return false;
        if (serving == NULL || strlen(serving) != id || memcmp(serving, text, id) != 0)
            return true;
        text += id + 1;
    }
    char *end;
    fault.nth = strtoull(text, &end, 10);
    if (end != text && *end == ':') {
        fault.point = (uint32_t)fault.nth;
        text = end + 1;
        fault.nth = strtoull(text, &end, 10);
    }
    if (end == text || fault.nth == 0)
        return false;
    if ((fault.onwards = *end == '+'))
        end++;
    if (*end == '=') {
        const size_t size = strcspn(++end, "@");
        uint32_t how = 0;
        while (how < MR__COUNT(hows) && (strlen(hows[how]) != size || memcmp(hows[how], end, size) != 0))
            how++;
        if (how == MR__COUNT(hows))
            return false;
        fault.how = (enum how)how;
        end += size;
    }
    if (*end == '@')
        snprintf(fault.file, sizeof fault.file, "%s", end + 1);
    else if (*end != '\0')
        return false;
    fault.armed = true;
    return true;
}

static bool spoiled(enum mr__cl_point point)
{
    if (__builtin_expect(!fault.armed, 1) || (fault.point != 0 && fault.point != point))
        return false;
    const uint64_t call = atomic_fetch_add(&fault.calls, 1) + 1;
    if (call < fault.nth || (call > fault.nth && !fault.onwards))
        return false;
    if (fault.file[0] != '\0' && !atomic_load(&fault.removed)) {
        if (unlink(fault.file) != 0)
            return false;
        atomic_store(&fault.removed, true);
    }
    return true;
}

cl_int mr__cl_trip(enum mr__cl_point point, bool *garbage)
{
    if (!spoiled(point))
        return CL_SUCCESS;
    switch (fault.how) {
    case SEGV:
        signal(SIGSEGV, SIG_DFL);       /* drivers install handlers */
        raise(SIGSEGV);
        return CL_OUT_OF_RESOURCES;
    case HANG:
        for (;;)
            pause();
    case MEMORY:
        return CL_MEM_OBJECT_ALLOCATION_FAILURE;
    case GARBAGE:
        if (garbage != NULL) {
            *garbage = true;
            return CL_SUCCESS;
        }
        return CL_OUT_OF_RESOURCES;
    default:
        return CL_OUT_OF_RESOURCES;
    }
}
