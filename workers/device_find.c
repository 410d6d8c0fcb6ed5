/* device_find.c: asks millrace-device which devices there are, once.
 *
 *   key of this machine's drivers and settings == key in devices.json ?  -> the list in devices.json
 *     else: millrace-device --list -> JSON -> devices.json (written by rename)
 *
 * Loading drivers takes a tenth of a second to seconds, and a broken one takes its process with it; so a process of its
 * own does it, and the answer is kept. The key is the plain text of all that decides which devices appear: the program,
 * the files that name drivers, the drivers themselves where their path is known, the GPUs that this process may open (a
 * batch system gives each task its own), and the variables that loader and drivers read. A text can be compared whole:
 * no hash, no collision. Only answers are kept: after a crash or a time-out the next job asks again. */
#include "device_find.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device_ask.h"
#include "device_list.h"
#include "memory.h"
#include "newfile.h"
#include "parse.h"
#include "utf8.h"

enum {
    KEY_SIZE = 1 << 16,
    ICD_SIZE = 4096,
    ICDS_MOST = 64
};

/* ---- the program ------------------------------------------------------------------------------------------------- */

mr_status mr__device_program(char path[MR__PATH_MAX], mr__error *error)
{
    mr_status status = MR_OK;
    const char *given = getenv("MILLRACE_DEVICE_PROGRAM");
    if (given != NULL && given[0] != '\0') {
        MR_CHECK(strlen(given) < MR__PATH_MAX && access(given, X_OK) == 0, MR_NO_WORKER,
                 "no devices: MILLRACE_DEVICE_PROGRAM names %.200s, which cannot be run: %s", given, strerror(errno));
        strcpy(path, given);
        return MR_OK;
    }
    if (mr__places_program((const void *)(uintptr_t)&mr__device_program, "millrace-device", path))
        return MR_OK;
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
    "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ONEAPI_DEVICE_SELECTOR",
    "CL_CONFIG_CPU_FORCE_NUM_CUS", "MILLRACE_CL_FAULT"};

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

/* access() asks the cgroup's device rules, too, and does not wake the device. */
static void add_nodes(key *to)
{
    static const char *const patterns[] = {"/dev/nvidia[0-9]*", "/dev/dri/renderD*"};
    for (size_t p = 0; p < MR__COUNT(patterns); p++) {
        glob_t found;
        if (glob(patterns[p], 0, NULL, &found) != 0)
            continue;
        for (size_t i = 0; i < found.gl_pathc; i++)
            add(to, "%s: %s\n", found.gl_pathv[i], access(found.gl_pathv[i], R_OK | W_OK) == 0 ? "open" : "closed");
        globfree(&found);
    }
}

/* NULL: no memory, or too much to compare. The caller's: mr__free(). */
static char *make_key(const char *program)
{
    key made = {.text = mr__alloc(KEY_SIZE), .whole = true};
    char text[ICD_SIZE], *clean = NULL;
    cpu_set_t allowed;
    if (made.text == NULL)
        return NULL;
    add(&made, "millrace devices 2\n");
    add_stat(&made, program);
    for (size_t i = 0; i < MR__COUNT(variables); i++) {
        const char *value = getenv(variables[i]);
        if (value != NULL)
            add(&made, "%s=%s\n", variables[i], value);
    }
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        add(&made, "%d CPUs\n", CPU_COUNT(&allowed));
    add_nodes(&made);
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

static uint32_t patience_seconds(void)
{
    uint64_t value;
    const char *text = getenv("MILLRACE_DEVICE_FIND_SECONDS");
    const bool given = text != NULL && mr__parse_u64(text, &value) == MR__PARSED && value >= 1 && value <= 3600;
    return given ? (uint32_t)value : MR__DEVICE_FIND_SECONDS;
}

/* What the answer says: a list, or a note why there is none. *kept: it is worth keeping. */
static mr_status read_answer(const mr__device_reply *answer, mr__device_list *list, bool *kept, mr__error *error)
{
    char text[MR__DEVICE_WHY + sizeof "no devices: "];
    mr__error problem = {.code = MR_OK};
    mr_status status = MR_OK;
    if (answer->why[0] == '\0')
        status = mr__device_list_parse(answer->text, answer->size, list, &problem);
    if (status == MR_NO_MEMORY)
        return mr__fail(error, status, "%s", problem.text);
    *kept = answer->why[0] == '\0' && status == MR_OK;
    if (answer->why[0] != '\0')
        snprintf(text, sizeof text, "no devices: %s", answer->why);
    else if (status != MR_OK)
        snprintf(text, sizeof text, "no devices: what millrace-device --list says is no list: %.300s", problem.text);
    if (!*kept)
        mr__device_list_note(list, text);
    return MR_OK;
}

mr_status mr__device_find(bool fresh, mr__device_list *out, mr__error *error)
{
    mr_status status = MR_OK;
    mr__error reason = {.code = MR_OK};
    mr__device_list list = {.count = 0};
    mr__device_reply answer = {.size = 0};
    const char *const arguments[] = {"--list", NULL};
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
        MR_TRY(mr__device_ask(program, arguments, patience_seconds(), &answer, error));
        MR_TRY(read_answer(&answer, &list, &kept, error));
        if (kept && cached)
            write_cache(path, now, answer.text, answer.size);
    }
    if (list.count == 0 && list.note[0] == '\0')
        mr__device_list_note(&list, "no OpenCL platform is installed");
    *out = list;
    list.device = NULL;
done:
    mr__device_reply_free(&answer);
    mr__free(now);
    mr__device_list_free(&list);
    return status;
}
