/* fake_device.c: stands for millrace-device where a test wants a device that fails in a certain way: it speaks the
 * protocol, computes what the apps of test_devices.c want in plain C, and knows no OpenCL.
 *
 *   FAKE_DEVICES=N         how many there are: fake-0, fake-1, ... (1)
 *   FAKE_TYPE=gpu          what they say they are (cpu)
 *   FAKE_FAULT=WHAT:NTH    what goes wrong at the NTH task of a process, 0: at every task; at the start for those that
 *                          need no task
 *   FAKE_ONCE=FILE         only in the process that can make this file
 *   FAKE_WHO=ID            only in this device
 *   FAKE_SLOW_MS=N         each task takes so long, besides
 *   FAKE_TIME=FILE         time passes when the test says so (fake_device.h) */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "device_protocol.h"
#include "fake_device.h"

enum { KEYS = 16, SEGMENT_MOST = 64 << 20 };

static const uint8_t *blob;
static uint8_t *slots;
static mr__device_reading *readings;
static uint8_t message[sizeof(mr__device_task) + MR__DEVICE_SEGMENTS * sizeof(mr__device_segment)];
static char fault[32];
static long fault_at, tasks;
static struct fake_time *test_time;     /* NULL: the machine's */

static const mr__device_job *job(void)
{
    return (const mr__device_job *)blob;
}

static bool is(const char *what)
{
    return strcmp(fault, what) == 0 && (fault_at == 0 || tasks == fault_at);
}

static void choose_fault(const char *id)
{
    const char *what = getenv("FAKE_FAULT"), *once = getenv("FAKE_ONCE"), *who = getenv("FAKE_WHO");
    if (what == NULL || (who != NULL && strcmp(who, id) != 0))
        return;
    if (once != NULL && open(once, O_CREAT | O_EXCL | O_WRONLY, 0600) < 0)
        return;
    const char *colon = strchr(what, ':');
    snprintf(fault, sizeof fault, "%.*s", colon != NULL ? (int)(colon - what) : (int)strlen(what), what);
    fault_at = colon != NULL ? atol(colon + 1) : 0;
}

static void say(const void *bytes, size_t size)
{
    if (send(MR__DEVICE_SOCKET, bytes, size, MSG_NOSIGNAL) < 0)
        _exit(1);
}

static void say_ready(enum mr__device_kind kind, bool bad_kernel, const char *text)
{
    mr__device_ready ready = {.head = {kind, sizeof ready}, .bad_kernel = bad_kernel, .lanes = 1, .group = 1};
    snprintf(ready.text, sizeof ready.text, "%s", text);
    say(&ready, sizeof ready);
}

static void *map(int fd, int protection, size_t *size)
{
    struct stat info;
    void *memory = fstat(fd, &info) == 0 ? mmap(NULL, (size_t)info.st_size, protection, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (memory == MAP_FAILED)
        _exit(1);
    *size = (size_t)info.st_size;
    return memory;
}

static void open_time(void)
{
    const char *name = getenv("FAKE_TIME");
    const int file = name != NULL ? open(name, O_RDWR | O_CLOEXEC) : -1;
    size_t size;
    if (file >= 0)
        test_time = map(file, PROT_READ | PROT_WRITE, &size);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    if (test_time != NULL)
        return atomic_load(&test_time->now_ns);
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void take_time(useconds_t us)
{
    const uint64_t end = now_ns() + us * (uint64_t)1000;
    if (test_time == NULL) {
        usleep(us);
        return;
    }
    atomic_fetch_add(&test_time->begun, 1);
    while (now_ns() < end)
        usleep(100);
}

static void say_reading(uint32_t slot, bool reads)
{
    const uint64_t ns = now_ns();
    readings[slot] = reads ? ns | 1 : ns & ~(uint64_t)1;
}

/* Reads a segment, and what follows it up to the end of the word. */
static uint8_t *read_segment(const mr__device_segment *segment, uint64_t *before, uint64_t *size)
{
    const mr__device_range *files = (const mr__device_range *)(blob + job()->files.at);
    const int file = open((const char *)blob + files[segment->file].at, O_RDONLY | O_CLOEXEC);
    uint8_t *bytes = calloc(1, segment->size + 4096);
    *before = job()->form == MR__DEVICE_TEXTS && segment->offset > 0;
    const uint64_t more = job()->form == MR__DEVICE_TEXTS ? 1024 : 0;
    const ssize_t got = pread(file, bytes, segment->size + *before + more, (off_t)(segment->offset - *before));
    if (file < 0 || got < 0)
        _exit(1);
    close(file);
    *size = (uint64_t)got;
    return bytes;
}

/* ---- rows: counts of u32 modulo 16, or the sum of f32 ------------------------------------------------------------ */

static uint64_t map_rows(const mr__device_segment *segment, uint8_t *result)
{
    uint64_t before, size;
    uint8_t *bytes = read_segment(segment, &before, &size);
    const size_t table = job()->dense_keys * job()->width * 8;
    for (uint64_t row = 0; row < segment->rows; row++) {
        uint8_t *to = result + row / job()->block_rows * table;
        if (job()->dense_f64) {
            float value;
            memcpy(&value, bytes + row * 4, 4);
            *(double *)to += value;
        } else {
            uint32_t value;
            memcpy(&value, bytes + row * 4, 4);
            ((uint64_t *)to)[value % KEYS]++;
        }
    }
    free(bytes);
    return segment->blocks * table;
}

/* ---- text: every word with amount 1 ----------------------------------------------------------------------------- */

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= 9 && byte <= 13);
}

static uint64_t map_text(const mr__device_segment *segment, uint8_t *result, uint64_t *pairs)
{
    uint64_t before, size, used = 0;
    uint8_t *bytes = read_segment(segment, &before, &size);
    for (uint64_t at = before; at < before + segment->size && at < size; at++) {
        if (is_blank(bytes[at]) || (at > 0 && !is_blank(bytes[at - 1])))
            continue;
        uint64_t end = at;
        while (end < size && !is_blank(bytes[end]))
            end++;
        const mr__device_pair pair = {.size = (uint32_t)(end - at), .value = 1};
        memcpy(result + used, &pair, sizeof pair);
        memcpy(result + used + sizeof pair, bytes + at, pair.size);
        used += mr__device_pair_bytes(pair.size);
        ++*pairs;
    }
    free(bytes);
    return used;
}

static void run_task(const mr__device_task *task)
{
    const mr__device_segment *segments = (const mr__device_segment *)(task + 1);
    mr__device_done done = {.head = {MR__DEVICE_DONE, sizeof done}, .id = task->id, .slot = task->slot};
    uint8_t *result = slots + task->slot * job()->slot_bytes;
    const char *slow = getenv("FAKE_SLOW_MS");
    tasks++;
    if (is("die"))
        abort();
    if (is("read") || is("readhang") || is("stall"))
        say_reading(task->slot, true);
    while (is("hang") || is("stall"))
        pause();
    if (slow != NULL)
        take_time((useconds_t)atol(slow) * 1000);
    if (is("read") || is("readhang"))
        say_reading(task->slot, false);
    while (is("readhang"))
        pause();
    if (is("unfit") || is("baddata") || is("broken")) {
        done.outcome = is("unfit") ? MR__DEVICE_UNFIT : is("baddata") ? MR__DEVICE_BAD_DATA : MR__DEVICE_BROKEN;
        snprintf(done.text, sizeof done.text, "the fake device says %s", fault);
        say(&done, sizeof done);
        return;
    }
    memset(result, 0, job()->form == MR__DEVICE_ROWS ? job()->slot_bytes : 0);
    for (uint32_t s = 0; s < task->segments; s++) {
        done.bytes += job()->form == MR__DEVICE_ROWS ? map_rows(&segments[s], result + done.bytes)
                                                     : map_text(&segments[s], result + done.bytes, &done.pairs);
        done.rows += job()->form == MR__DEVICE_ROWS ? segments[s].rows : 0;
    }
    if (is("wrong"))
        result[job()->form == MR__DEVICE_ROWS ? 0 : sizeof(mr__device_pair)] ^= 1;
    if (is("size"))
        done.bytes += 8;
    if (is("rows"))
        done.rows += 1;
    if (is("slot"))
        done.slot = MR__DEVICE_SLOTS + 1;
    if (is("id"))
        done.id += 77;
    if (is("pair"))
        ((mr__device_pair *)result)->size = UINT32_MAX;
    if (is("short"))
        done.head.size = 12;
    say(&done, is("short") ? 12 : sizeof done);
    if (is("twice"))
        say(&done, sizeof done);
}

static void take_job(struct msghdr *header)
{
    int fds[2];
    const struct cmsghdr *rights = CMSG_FIRSTHDR(header);
    if (rights == NULL || rights->cmsg_len != CMSG_LEN(sizeof fds))
        _exit(1);
    memcpy(fds, CMSG_DATA(rights), sizeof fds);
    size_t size;
    blob = map(fds[0], PROT_READ, &size);
    slots = map(fds[1], PROT_READ | PROT_WRITE, &size);
    readings = mr__device_readings(slots, size);
    if (strcmp(fault, "failstart") == 0)
        say_ready(MR__DEVICE_FAILED, false, "the fake device does not start");
    else if (strcmp(fault, "badkernel") == 0)
        say_ready(MR__DEVICE_FAILED, true, "app.cl:3: error: expected ';'");
    else if (strcmp(fault, "notready") != 0)
        say_ready(MR__DEVICE_READY, false, "");
}

static int serve(const char *id)
{
    choose_fault(id);
    open_time();
    if (strcmp(fault, "nostart") == 0)
        return 1;
    for (;;) {
        char room[CMSG_SPACE(2 * sizeof(int))];
        struct iovec vector = {message, sizeof message};
        struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = room,
                                .msg_controllen = sizeof room};
        const ssize_t size = recvmsg(MR__DEVICE_SOCKET, &header, MSG_CMSG_CLOEXEC);
        if (size <= 0)
            return 0;
        switch (((const mr__device_message *)message)->kind) {
        case MR__DEVICE_JOB:
            take_job(&header);
            break;
        case MR__DEVICE_PROBE:
            if (strcmp(fault, "failstart") != 0 && strcmp(fault, "badkernel") != 0)
                say_ready(MR__DEVICE_PROBED, false, "");
            break;
        case MR__DEVICE_TASK:
            run_task((const mr__device_task *)message);
            int token;
            if (CMSG_FIRSTHDR(&header) != NULL) {
                memcpy(&token, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof token);
                close(token);
            }
            break;
        default:
            break;
        }
    }
}

int main(int count, char **arguments)
{
    if (count == 3 && strcmp(arguments[1], "--serve") == 0)
        return serve(arguments[2]);
    const char *devices = getenv("FAKE_DEVICES"), *type = getenv("FAKE_TYPE");
    printf("{\"devices\":[");
    for (int i = 0; i < (devices != NULL ? atoi(devices) : 1); i++)
        printf("%s{\"id\":\"fake-%d\",\"name\":\"Fake\",\"platform\":\"Fake\",\"vendor\":\"Test\",\"version\":\"1\","
               "\"driver\":\"1\",\"type\":\"%s\",\"bus\":\"\",\"platform_index\":0,\"device_index\":%d,\"units\":1,"
               "\"global_bytes\":1073741824,\"local_bytes\":65536,\"max_alloc_bytes\":268435456,\"unified\":true,"
               "\"f64\":true,\"int64_atomics\":true}", i > 0 ? "," : "", i, type != NULL ? type : "cpu", i);
    printf("],\"notes\":[]}\n");
    return 0;
}
