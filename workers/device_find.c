/* device_find.c: asks millrace-device which devices there are, once.
 *
 *   key of this machine's drivers and settings == key in devices.json ?  -> the list in devices.json
 *     else: millrace-device --list -> JSON -> devices.json (written by rename)
 *
 * Loading drivers takes a tenth of a second to seconds, and a broken one takes its process with it; so a process of its
 * own does it, and the answer is kept. The key is the plain text of all that decides which devices appear: the program,
 * the files that name drivers, the drivers themselves where their path is known, and the variables that loader and
 * drivers read. A text can be compared whole: no hash, no collision. Only answers are kept: after a crash or a time-out
 * the next job asks again. */
#include "device_find.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "device_list.h"
#include "memory.h"
#include "newfile.h"
#include "parse.h"
#include "utf8.h"

enum {
    KEY_SIZE = 1 << 16,
    ANSWER_SIZE = 1 << 20,
    ICD_SIZE = 4096,
    ICDS_MOST = 64,
    WORDS_SIZE = 512,
    CLIMB_MOST = 3,             /* bin, lib or lib/TRIPLET below the prefix */
    NAP_NS = 1000000
};

static const uint64_t second = 1000000000;
static const char program_place[] = "libexec/millrace/millrace-device";

extern char **environ;

/* ---- the program ------------------------------------------------------------------------------------------------- */

/* Where this code lies: the library, or the executable that it is linked into. */
static bool own_file(char path[MR__PATH_MAX])
{
    Dl_info about = {0};
    if (dladdr((const void *)(uintptr_t)&mr__device_program, &about) != 0 && about.dli_fname != NULL &&
        strchr(about.dli_fname, '/') != NULL && strlen(about.dli_fname) < MR__PATH_MAX &&
        access(about.dli_fname, R_OK) == 0) {
        strcpy(path, about.dli_fname);
        return true;
    }
    const ssize_t size = readlink("/proc/self/exe", path, MR__PATH_MAX - 1);
    path[size > 0 ? size : 0] = '\0';
    return size > 0;
}

mr_status mr__device_program(char path[MR__PATH_MAX], mr__error *error)
{
    mr_status status = MR_OK;
    char from[MR__PATH_MAX] = "";
    const char *given = getenv("MILLRACE_DEVICE_PROGRAM");
    if (given != NULL && given[0] != '\0') {
        MR_CHECK(strlen(given) < MR__PATH_MAX && access(given, X_OK) == 0, MR_NO_WORKER,
                 "no devices: MILLRACE_DEVICE_PROGRAM names %.200s, which cannot be run: %s", given, strerror(errno));
        strcpy(path, given);
        return MR_OK;
    }
    bool climbing = own_file(from);
    for (int step = 0; climbing && step <= CLIMB_MOST; step++) {
        char *slash = strrchr(from, '/');
        climbing = slash != NULL;
        if (!climbing)
            break;
        *slash = '\0';
        const int size = snprintf(path, MR__PATH_MAX, "%s/%s", from, program_place);
        if (size > 0 && size < MR__PATH_MAX && access(path, X_OK) == 0)
            return MR_OK;
    }
    status = mr__fail(error, MR_NO_WORKER, "no devices: millrace-device is not installed\n"
                                           "  hint: MILLRACE_DEVICE_PROGRAM names it");
done:
    path[0] = '\0';
    return status;
}

/* ---- the key ----------------------------------------------------------------------------------------------------- */

/* What loader and drivers read, as far as it changes which devices there are. */
static const char *const variables[] = {
    "OCL_ICD_VENDORS", "OCL_ICD_FILENAMES", "OPENCL_VENDOR_PATH", "OCL_ICD_PLATFORM_SORT", "LD_LIBRARY_PATH",
    "LD_PRELOAD", "POCL_DEVICES", "POCL_MAX_PTHREAD_COUNT", "POCL_MEMORY_LIMIT", "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR", "CL_CONFIG_CPU_FORCE_NUM_CUS",
    "MILLRACE_CL_FAULT"};

typedef struct key {
    char *text;                 /* KEY_SIZE bytes */
    size_t used;
    bool whole;                 /* it fitted */
} key;

static void add(key *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(key *to, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(to->text + to->used, KEY_SIZE - to->used, format, arguments);
    va_end(arguments);
    to->whole = to->whole && size >= 0 && (size_t)size < KEY_SIZE - to->used;
    if (to->whole)
        to->used += (size_t)size;
}

static void add_stat(key *to, const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0)
        add(to, "%s: none\n", path);
    else
        add(to, "%s: %llu bytes, %lld.%09ld, inode %llu\n", path, (unsigned long long)about.st_size,
            (long long)about.st_mtim.tv_sec, about.st_mtim.tv_nsec, (unsigned long long)about.st_ino);
}

static void add_content(key *to, const char *path, char text[ICD_SIZE])
{
    text[0] = '\0';
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const ssize_t size = fd >= 0 ? read(fd, text, ICD_SIZE - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[size > 0 ? size : 0] = '\0';
    add(to, "%s\n", text);
}

/* A file that names a driver, and the driver if it is named by its path. */
static void add_icd(key *to, const char *path)
{
    char text[ICD_SIZE];
    add_stat(to, path);
    add_content(to, path, text);
    text[strcspn(text, "\r\n")] = '\0';
    if (text[0] == '/')
        add_stat(to, text);
}

static int is_icd(const struct dirent *entry)
{
    const size_t size = strlen(entry->d_name);
    return size > 4 && strcmp(entry->d_name + size - 4, ".icd") == 0;
}

static void add_vendors(key *to, const char *place)
{
    struct dirent **entry = NULL;
    char path[MR__PATH_MAX];
    add_stat(to, place);
    const int count = scandir(place, &entry, is_icd, alphasort);
    if (count < 0 && errno == ENOTDIR)
        add_icd(to, place);
    for (int i = 0; i < count; i++) {
        const int size = snprintf(path, sizeof path, "%s/%s", place, entry[i]->d_name);
        if (i < ICDS_MOST && size > 0 && size < MR__PATH_MAX)
            add_icd(to, path);
        free(entry[i]);
    }
    free(entry);
}

/* NULL: no memory, or too much to compare. The caller's: mr__free(). */
static char *make_key(const char *program)
{
    key made = {.text = mr__alloc(KEY_SIZE), .whole = true};
    char text[ICD_SIZE], *clean = NULL;
    cpu_set_t allowed;
    if (made.text == NULL)
        return NULL;
    add(&made, "millrace devices 1\n");
    add_stat(&made, program);
    for (size_t i = 0; i < MR__COUNT(variables); i++) {
        const char *value = getenv(variables[i]);
        if (value != NULL)
            add(&made, "%s=%s\n", variables[i], value);
    }
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        add(&made, "%d CPUs\n", CPU_COUNT(&allowed));
    const char *vendors = getenv("OCL_ICD_VENDORS");
    add_vendors(&made, vendors != NULL && vendors[0] == '/' ? vendors : "/etc/OpenCL/vendors");
    add_content(&made, "/proc/driver/nvidia/version", text);
    if (made.whole)
        clean = mr__utf8_clean(made.text);
    mr__free(made.text);
    return clean;
}

/* ---- the cache --------------------------------------------------------------------------------------------------- */

static bool cache_path(char path[MR__PATH_MAX])
{
    static const char name[] = "/devices.json";
    if (mr__device_cache_folder(path, NULL) != MR_OK || strlen(path) + sizeof name > MR__PATH_MAX)
        return false;
    strcat(path, name);
    return true;
}

static bool read_cache(const char *path, const char *wanted, mr__device_list *out)
{
    bool found = false;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    const char *written = json_string_value(json_object_get(root, "key"));
    if (written != NULL && strcmp(written, wanted) == 0)
        found = mr__device_list_from_json(root, out, NULL) == MR_OK;
    json_decref(root);
    return found;
}

/* A cache that cannot be written is no failure: the next job asks again. */
static void write_cache(const char *path, const char *of, const char *answer, size_t size)
{
    mr__newfile *file = NULL;
    json_t *root = json_loadb(answer, size, 0, NULL);
    char *text = NULL;
    if (root != NULL && json_object_set_new(root, "key", json_string(of)) == 0)
        text = json_dumps(root, JSON_INDENT(1));
    if (text != NULL && mr__newfile_create(path, 0600, &file, NULL) == MR_OK) {
        mr__newfile_write(file, text, strlen(text));
        mr__newfile_commit(file, NULL);
    }
    free(text);
    json_decref(root);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

typedef struct asked {
    pid_t pid;
    int out, words;             /* pipes from its standard output and error; -1: closed */
    char *answer;               /* ANSWER_SIZE bytes */
    size_t size;
    char said[WORDS_SIZE];      /* how its complaints begin */
    size_t said_size;
    bool too_long;
} asked;

static int spawn(const char *program, int out, int words, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;
    char *arguments[] = {(char *)(uintptr_t)program, "--list", NULL};
    sigemptyset(&none);
    sigfillset(&all);
    if (posix_spawn_file_actions_init(&files) != 0)
        return ENOMEM;
    if (posix_spawnattr_init(&how) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return ENOMEM;
    }
    /* a group of its own: what it starts ends with it */
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&how, 0);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setsigdefault(&how, &all);
    int number = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (number == 0)
        number = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    if (number == 0)
        number = posix_spawn_file_actions_adddup2(&files, words, STDERR_FILENO);
    if (number == 0)
        number = posix_spawn(pid, program, &files, &how, arguments, environ);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&files);
    return number;
}

static int start(asked *ask, const char *program)
{
    int out[2] = {-1, -1}, words[2] = {-1, -1};
    int number = 0;
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(words, O_CLOEXEC) != 0)
        number = errno;
    else
        number = spawn(program, out[1], words[1], &ask->pid);
    if (out[1] >= 0)
        close(out[1]);
    if (words[1] >= 0)
        close(words[1]);
    ask->out = out[0];
    ask->words = words[0];
    return number;
}

/* Reads what is there; closes the pipe at its end. */
static void take(int *fd, char *to, size_t room, size_t *used, bool *full)
{
    char rest[WORDS_SIZE];
    const bool fits = *used < room;
    const ssize_t size = read(*fd, fits ? to + *used : rest, fits ? room - *used : sizeof rest);
    if (size > 0 && fits)
        *used += (size_t)size;
    else if (size > 0)
        *full = true;
    else if (size == 0 || errno != EINTR) {
        close(*fd);
        *fd = -1;
    }
}

/* false: the deadline passed */
static bool listen_to(asked *ask, uint64_t deadline)
{
    bool ignored = false;
    while (ask->out >= 0 || ask->words >= 0) {
        struct pollfd ready[] = {{.fd = ask->out, .events = POLLIN}, {.fd = ask->words, .events = POLLIN}};
        const uint64_t now = mr__now_ns();
        if (now >= deadline || ask->too_long)
            return false;
        if (poll(ready, MR__COUNT(ready), (int)((deadline - now) / NAP_NS + 1)) < 0 && errno != EINTR)
            return false;
        if (ready[0].revents != 0)
            take(&ask->out, ask->answer, ANSWER_SIZE, &ask->size, &ask->too_long);
        if (ready[1].revents != 0)
            take(&ask->words, ask->said, sizeof ask->said - 1, &ask->said_size, &ignored);
    }
    return true;
}

/* Its wait status; -1: the deadline passed, and it was killed; 0 if somebody else has waited for it. */
static int reap(pid_t pid, uint64_t deadline)
{
    int how = 0;
    for (;;) {
        const pid_t ended = waitpid(pid, &how, WNOHANG);
        if (ended == pid)
            return how;
        if (ended < 0 && errno != EINTR)
            return 0;
        if (mr__now_ns() >= deadline)
            break;
        nanosleep(&(const struct timespec){.tv_nsec = NAP_NS}, NULL);
    }
    kill(-pid, SIGKILL);
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR) {
    }
    return -1;
}

static void note_end(mr__device_list *list, const asked *ask, int how, uint32_t seconds)
{
    char text[2 * WORDS_SIZE];
    const int said = (int)strcspn(ask->said, "\n");
    if (ask->too_long)
        snprintf(text, sizeof text, "no devices: millrace-device --list says too much");
    else if (how == -1)
        snprintf(text, sizeof text, "no devices: millrace-device --list did not end within %u s", seconds);
    else if (WIFSIGNALED(how))
        snprintf(text, sizeof text, "no devices: millrace-device --list died of signal %d (%s)%s%.*s", WTERMSIG(how),
                 strsignal(WTERMSIG(how)), said > 0 ? ": " : "", said, ask->said);
    else
        snprintf(text, sizeof text, "no devices: millrace-device --list ended with status %d%s%.*s", WEXITSTATUS(how),
                 said > 0 ? ": " : "", said, ask->said);
    mr__device_list_note(list, text);
}

static uint32_t patience_seconds(void)
{
    uint64_t value;
    const char *text = getenv("MILLRACE_DEVICE_FIND_SECONDS");
    const bool given = text != NULL && mr__parse_u64(text, &value) == MR__PARSED && value >= 1 && value <= 3600;
    return given ? (uint32_t)value : MR__DEVICE_FIND_SECONDS;
}

/* Runs the program; the list, or a note why there is none. *kept: the answer is worth keeping. */
static mr_status ask_program(const char *program, asked *ask, mr__device_list *list, bool *kept, mr__error *error)
{
    char text[2 * WORDS_SIZE];
    mr__error problem = {.code = MR_OK};
    const uint32_t seconds = patience_seconds();
    const uint64_t deadline = mr__now_ns() + seconds * second;
    const int number = start(ask, program);
    if (number != 0) {
        snprintf(text, sizeof text, "no devices: could not run %.400s: %s", program, strerror(number));
        mr__device_list_note(list, text);
        return MR_OK;
    }
    const bool listened = listen_to(ask, deadline);
    const int how = reap(ask->pid, listened ? deadline : 0);
    if (how != 0) {
        note_end(list, ask, how, seconds);
        return MR_OK;
    }
    const mr_status status = mr__device_list_parse(ask->answer, ask->size, list, &problem);
    if (status == MR_NO_MEMORY)
        return mr__fail(error, status, "%s", problem.text);
    *kept = status == MR_OK;
    if (!*kept) {
        snprintf(text, sizeof text, "no devices: what millrace-device --list says is no list: %.400s", problem.text);
        mr__device_list_note(list, text);
    }
    return MR_OK;
}

mr_status mr__device_find(bool fresh, mr__device_list *out, mr__error *error)
{
    mr_status status = MR_OK;
    mr__error reason = {.code = MR_OK};
    mr__device_list list = {.count = 0};
    asked ask = {.out = -1, .words = -1};
    char program[MR__PATH_MAX], path[MR__PATH_MAX], *now = NULL;
    bool kept = false;
    if (mr__device_program(program, &reason) != MR_OK) {
        reason.text[strcspn(reason.text, "\n")] = '\0';
        mr__device_list_note(&list, reason.text);
        *out = list;
        return MR_OK;
    }
    const bool cached = cache_path(path) && (now = make_key(program)) != NULL;
    if (!fresh && cached && read_cache(path, now, &list)) {
        list.cached = true;
    } else {
        ask.answer = mr__alloc(ANSWER_SIZE);
        MR_CHECK(ask.answer != NULL, MR_NO_MEMORY, "no memory to look for devices");
        MR_TRY(ask_program(program, &ask, &list, &kept, error));
        if (kept && cached)
            write_cache(path, now, ask.answer, ask.size);
    }
    if (list.count == 0 && list.note[0] == '\0')
        mr__device_list_note(&list, "no OpenCL platform is installed");
    *out = list;
    list.device = NULL;
done:
    if (ask.out >= 0)
        close(ask.out);
    if (ask.words >= 0)
        close(ask.words);
    mr__free(ask.answer);
    mr__free(now);
    mr__device_list_free(&list);
    return status;
}
