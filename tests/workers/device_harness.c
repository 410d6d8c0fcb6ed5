#include "device_harness.h"

#include "cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { STOP_MS = 100000, ENVIRONMENT = 512, SENT_MAX = 64 << 10 };

static char directory[64];

const char *device_directory(void)
{
    if (directory[0] == '\0') {
        snprintf(directory, sizeof directory, "/tmp/millrace-device-test-XXXXXX");
        assert_non_null(mkdtemp(directory));
    }
    return directory;
}

void device_clean_up(void)
{
    char command[128];
    if (directory[0] == '\0')
        return;
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    assert_int_equal(system(command), 0);
    directory[0] = '\0';
}

const char *device_file(const char *name, const void *bytes, size_t size)
{
    static char path[8][128];
    static unsigned next;
    char *const at = path[next++ % 8];
    snprintf(at, sizeof path[0], "%s/%s", device_directory(), name);
    FILE *file = fopen(at, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return at;
}

/* ---- the process ------------------------------------------------------------------------------------------------- */

static const char *program(void)
{
    const char *named = getenv("MILLRACE_DEVICE_PROGRAM");
    return named != NULL ? named : DEVICE_PROGRAM;
}

static pid_t spawn(const char *const *arguments, int channel, int output, const char *const *more)
{
    const char *environment[ENVIRONMENT];
    size_t count = 0;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    for (; more != NULL && more[count] != NULL; count++)
        environment[count] = more[count];       /* the first of a name is the one that counts */
    for (char **e = environ; *e != NULL && count < ENVIRONMENT - 1; e++)
        environment[count++] = *e;
    environment[count] = NULL;
    posix_spawn_file_actions_init(&actions);
    if (channel >= 0)
        posix_spawn_file_actions_adddup2(&actions, channel, MR__DEVICE_SOCKET);
    if (output >= 0)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    const int spawned =
        posix_spawn(&pid, program(), &actions, NULL, (char *const *)arguments, (char *const *)environment);
    posix_spawn_file_actions_destroy(&actions);
    return spawned == 0 ? pid : -1;
}

int device_run(const char *const *arguments, char *text, size_t room)
{
    int ends[2], status = 0;
    size_t size = 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    const pid_t pid = spawn(arguments, -1, ends[1], NULL);
    close(ends[1]);
    for (ssize_t got; pid > 0 && size + 1 < room && (got = read(ends[0], text + size, room - size - 1)) > 0;)
        size += (size_t)got;
    text[size] = '\0';
    close(ends[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool device_exists(const char **why)
{
    static char text[65536];
    const char *const arguments[] = {"millrace-device", "--list", NULL};
    if (access(program(), X_OK) != 0) {
        *why = "millrace-device was not built: no OpenCL headers (Debian: ocl-icd-opencl-dev)";
        return false;
    }
    assert_int_equal(device_run(arguments, text, sizeof text), 0);
    *why = "no OpenCL device (Debian: pocl-opencl-icd)";
    return strstr(text, "\"id\": \"pocl-0\"") != NULL;
}

void device_start(struct device *device, const char *id, const char *const *environment)
{
    const char *const arguments[] = {"millrace-device", "--serve", id, NULL};
    int ends[2];
    *device = (struct device){.blob = -1, .results = -1};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    /* the child's end must not have its number yet: dup2 onto itself would leave it close-on-exec */
    const int theirs = fcntl(ends[1], F_DUPFD_CLOEXEC, 10);
    assert_true(theirs >= 0);
    close(ends[1]);
    device->channel = ends[0];
    device->pid = spawn(arguments, theirs, -1, environment);
    close(theirs);
    assert_true(device->pid > 0);
}

static int wait_status(pid_t pid, uint32_t timeout_ms)
{
    int status;
    for (uint32_t i = 0; i < timeout_ms; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    fail_msg("the device process did not end");
    return -1;
}

static size_t result_bytes(const struct device *device)
{
    return device->job.slots * device->job.slot_bytes + MR__DEVICE_READING_BYTES;
}

int device_stop(struct device *device)
{
    close(device->channel);
    const int status = wait_status(device->pid, STOP_MS);
    if (device->memory != NULL)
        munmap(device->memory, result_bytes(device));
    if (device->blob >= 0)
        close(device->blob);
    if (device->results >= 0)
        close(device->results);
    *device = (struct device){.channel = -1, .blob = -1, .results = -1};
    return status;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static void send_bytes(struct device *device, const void *bytes, size_t size, const int *fds, size_t fd_count)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec place = {(void *)bytes, size};
    struct msghdr header = {.msg_iov = &place, .msg_iovlen = 1};
    if (fd_count > 0) {
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                              .cmsg_len = CMSG_LEN(fd_count * sizeof(int))};
        memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
    }
    /* a process that died already is seen by the next receive */
    if (sendmsg(device->channel, &header, MSG_NOSIGNAL) < 0)
        assert_true(errno == EPIPE || errno == ECONNRESET);
}

static mr__device_range put(uint8_t *blob, size_t *used, const void *bytes, size_t size)
{
    const mr__device_range range = {*used, size};
    if (size > 0)
        memcpy(blob + *used, bytes, size);
    *used = (*used + size + 63) / 64 * 64;
    return range;
}

void device_send_job(struct device *device, const struct device_job *job)
{
    size_t room = 4096 + strlen(job->kernel) + job->params_size + job->job.column_count * sizeof *job->columns;
    for (uint32_t f = 0; f < job->file_count; f++)
        room += sizeof(mr__device_range) + strlen(job->files[f]) + 128;
    device->blob = memfd_create("job", MFD_CLOEXEC);
    device->results = memfd_create("results", MFD_CLOEXEC);
    assert_true(device->blob >= 0 && device->results >= 0);
    assert_int_equal(ftruncate(device->blob, (off_t)room), 0);
    uint8_t *const blob = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED, device->blob, 0);
    assert_true(blob != MAP_FAILED);
    mr__device_job *const head = &device->job;
    size_t used = (sizeof *head + 63) / 64 * 64;
    *head = job->job;
    head->version = MR__DEVICE_VERSION;
    head->name = put(blob, &used, job->name, strlen(job->name));
    head->kernel = put(blob, &used, job->kernel, strlen(job->kernel));
    head->params = put(blob, &used, job->params, job->params_size);
    head->columns = put(blob, &used, job->columns, job->job.column_count * sizeof *job->columns);
    mr__device_range *const ranges = calloc(job->file_count + 1, sizeof *ranges);
    for (uint32_t f = 0; f < job->file_count; f++)
        ranges[f] = put(blob, &used, job->files[f], strlen(job->files[f]) + 1);
    head->files = put(blob, &used, ranges, job->file_count * sizeof *ranges);
    free(ranges);
    head->cache = put(blob, &used, job->cache, job->cache != NULL ? strlen(job->cache) + 1 : 0);
    memcpy(blob, head, sizeof *head);
    device->params = blob + head->params.at;
    assert_int_equal(ftruncate(device->results, (off_t)result_bytes(device)), 0);
    device->memory = mmap(NULL, result_bytes(device), PROT_READ | PROT_WRITE, MAP_SHARED, device->results, 0);
    assert_true(device->memory != MAP_FAILED);
    device->readings = mr__device_readings(device->memory, result_bytes(device));
    const mr__device_message message = {MR__DEVICE_JOB, sizeof message};
    send_bytes(device, &message, sizeof message, (int[]){device->blob, device->results}, 2);
}

void device_send_task(struct device *device, uint64_t id, uint32_t slot, const mr__device_segment *segments,
                      uint32_t count)
{
    static _Alignas(8) uint8_t bytes[SENT_MAX];
    const size_t size = sizeof(mr__device_task) + count * sizeof *segments;
    const mr__device_task task = {{MR__DEVICE_TASK, (uint32_t)size}, id, slot, count};
    assert_true(size <= sizeof bytes);
    memcpy(bytes, &task, sizeof task);
    memcpy(bytes + sizeof task, segments, count * sizeof *segments);
    send_bytes(device, bytes, size, NULL, 0);
}

void device_send(struct device *device, uint32_t kind)
{
    const mr__device_message message = {kind, sizeof message};
    send_bytes(device, &message, sizeof message, NULL, 0);
}

struct device_answer device_receive(struct device *device, uint32_t timeout_ms)
{
    union {
        mr__device_message head;
        mr__device_ready ready;
        mr__device_done done;
    } message;
    struct device_answer answer = {.kind = 0};
    struct pollfd channel = {.fd = device->channel, .events = POLLIN};
    if (poll(&channel, 1, (int)timeout_ms) <= 0) {
        kill(device->pid, SIGKILL);
        fail_msg("no answer from the device process within %u ms", timeout_ms);
    }
    const ssize_t got = recv(device->channel, &message, sizeof message, 0);
    if (got <= 0)
        return answer;
    assert_true((size_t)got >= sizeof message.head);
    assert_int_equal(message.head.size, got);
    answer.kind = message.head.kind;
    if (answer.kind == MR__DEVICE_DONE) {
        assert_int_equal(got, sizeof message.done);
        answer.done = message.done;
    } else {
        assert_int_equal(got, sizeof message.ready);
        answer.ready = message.ready;
    }
    return answer;
}

struct device_answer device_open(struct device *device, const char *id, const struct device_job *job,
                                 const char *const *environment)
{
    device_start(device, id, environment);
    device_send_job(device, job);
    return device_receive(device, 120000);
}

mr__device_done device_do(struct device *device, const mr__device_segment *segments, uint32_t count)
{
    device_send_task(device, 1, 0, segments, count);
    const struct device_answer answer = device_receive(device, 60000);
    assert_int_equal(answer.kind, MR__DEVICE_DONE);
    assert_int_equal(answer.done.id, 1);
    return answer.done;
}
