/* device_speed.c: how fast an app runs on a device, from job to job.
 *
 *   ~/.cache/millrace/speeds/APP@DEVICE      one small JSON object, replaced by rename
 *
 * A file for each pair: jobs that measure different pairs at once lose nothing of each other's, and of two that measure
 * the same pair the later one stays, whole. */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "device_find.h"
#include "fault.h"
#include "newfile.h"

enum { SPEED_SIZE = 4096, APP_SIZE = 128 };

/* Two threads of one process would use the same temporary name. */
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;

/* ---- the folder -------------------------------------------------------------------------------------------------- */

/* Makes a folder below one of ours, or takes it if nobody else may write to it. */
static mr_status make_safe(const char *path, mr__error *error)
{
    mr_status status = MR_OK;
    struct stat about = {0};
    const int made = mr__fault(MR__FAULT_MKDIR) ? (errno = EACCES, -1) : mkdir(path, 0700);
    MR_CHECK(made == 0 || errno == EEXIST, MR_IO_FAILED, "could not make %s: %s\n  hint: nothing is kept without it",
             path, strerror(errno));
    MR_CHECK(stat(path, &about) == 0 && S_ISDIR(about.st_mode), MR_IO_FAILED, "%s is no directory", path);
    MR_CHECK(about.st_uid == geteuid(), MR_IO_FAILED, "%s belongs to user %u: nothing is kept there", path,
             (unsigned)about.st_uid);
    MR_CHECK((about.st_mode & 022) == 0, MR_IO_FAILED,
             "others may write to %s: nothing is kept there\n  hint: chmod 700 %s", path, path);
    MR_CHECK(access(path, W_OK | X_OK) == 0, MR_IO_FAILED, "could not write to %s: %s", path, strerror(errno));
done:
    return status;
}

mr_status mr__device_cache_folder(char path[MR__PATH_MAX], mr__error *error)
{
    mr_status status = MR_OK;
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int size = 0;
    if (cache != NULL && cache[0] == '/') {         /* the XDG rule: ignore a relative one */
        size = snprintf(path, MR__PATH_MAX, "%s/millrace", cache);
    } else {
        MR_CHECK(home != NULL && home[0] == '/', MR_IO_FAILED, "no place for a cache: HOME is not set");
        size = snprintf(path, MR__PATH_MAX, "%s/.cache", home);
        if (size < MR__PATH_MAX)
            mkdir(path, 0700);          /* else the next one fails */
        size = snprintf(path, MR__PATH_MAX, "%s/.cache/millrace", home);
    }
    MR_CHECK(size < MR__PATH_MAX, MR_IO_FAILED, "the path of the cache is too long: %.60s...", path);
    if (cache != NULL && cache[0] == '/')
        mkdir(cache, 0700);
    MR_TRY(make_safe(path, error));
done:
    if (status != MR_OK)
        path[0] = '\0';
    return status;
}

static mr_status speed_folder(char path[MR__PATH_MAX], mr__error *error)
{
    static const char name[] = "/speeds";
    mr_status status = MR_OK;
    MR_TRY(mr__device_cache_folder(path, error));
    MR_CHECK(strlen(path) + sizeof name < MR__PATH_MAX, MR_IO_FAILED, "the path of the cache is too long: %.60s...",
             path);
    strcat(path, name);
    MR_TRY(make_safe(path, error));
done:
    return status;
}

/* App names are C names; what else a caller may bring has no file. */
static mr_status speed_path(const char *app, const char *device, char path[MR__PATH_MAX], mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(mr__name_is_plain(app, APP_SIZE), MR_BAD_USAGE, "no speed can be kept for an app called '%.60s'", app);
    MR_CHECK(mr__name_is_plain(device, MR__DEVICE_ID), MR_BAD_USAGE, "'%.60s' cannot be the name of a device", device);
    MR_TRY(speed_folder(path, error));
    const size_t used = strlen(path), room = MR__PATH_MAX - used;
    MR_CHECK((size_t)snprintf(path + used, room, "/%s@%s", app, device) < room, MR_IO_FAILED,
             "the path of the cache is too long: %.60s...", path);
done:
    return status;
}

/* ---- one speed --------------------------------------------------------------------------------------------------- */

static bool number_of(const json_t *root, const char *key, double most, double *to)
{
    const json_t *value = json_object_get(root, key);
    *to = json_number_value(value);
    return json_is_number(value) && isfinite(*to) && *to >= 0 && *to <= most;
}

bool mr__device_speed_parse(const char *text, size_t size, mr__device_speed *out)
{
    mr__device_speed speed;
    double lanes, group, at;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    const bool good = number_of(root, "bytes_per_s", 1e18, &speed.bytes_per_s) &&
                      number_of(root, "rows_per_s", 1e18, &speed.rows_per_s) &&
                      number_of(root, "overhead_ns", 1e18, &speed.overhead_ns) &&
                      number_of(root, "lanes", 1 << 16, &lanes) && number_of(root, "group", 1 << 24, &group) &&
                      number_of(root, "measured_at", 1e15, &at);
    json_decref(root);
    if (!good)
        return false;
    speed.lanes = (uint32_t)lanes;
    speed.group = (uint32_t)group;
    speed.measured_at = (int64_t)at;
    *out = speed;
    return true;
}

static bool read_speed(const char *path, mr__device_speed *out)
{
    char text[SPEED_SIZE];
    FILE *file = mr__fault(MR__FAULT_OPEN) ? NULL : fopen(path, "re");
    if (file == NULL)
        return false;
    const size_t size = fread(text, 1, sizeof text, file);
    const bool good = ferror(file) == 0;
    fclose(file);
    return good && mr__device_speed_parse(text, size, out);
}

bool mr__device_speed_get(const char *app, const char *device, mr__device_speed *out)
{
    char path[MR__PATH_MAX];
    return speed_path(app, device, path, NULL) == MR_OK && read_speed(path, out);
}

static double sane(double value)
{
    return isfinite(value) && value > 0 && value < 1e18 ? value : 0;
}

mr_status mr__device_speed_put(const char *app, const char *device, const mr__device_speed *speed, mr__error *error)
{
    mr_status status = MR_OK;
    mr__newfile *file = NULL;
    char path[MR__PATH_MAX];
    pthread_mutex_lock(&writing);
    MR_TRY(speed_path(app, device, path, error));
    MR_TRY(mr__newfile_create(path, 0600, &file, error));
    char *text = NULL;
    json_t *root = json_pack("{s:f, s:f, s:f, s:I, s:I, s:I}", "bytes_per_s", sane(speed->bytes_per_s), "rows_per_s",
                             sane(speed->rows_per_s), "overhead_ns", sane(speed->overhead_ns), "lanes",
                             (json_int_t)speed->lanes, "group", (json_int_t)speed->group, "measured_at",
                             (json_int_t)time(NULL));
    if (root != NULL)
        text = json_dumps(root, JSON_REAL_PRECISION(9));
    json_decref(root);
    if (text != NULL)
        mr__newfile_write(file, text, strlen(text));
    free(text);
    MR_CHECK(text != NULL, MR_NO_MEMORY, "no memory to keep the speed of %s", app);
    status = mr__newfile_commit(file, error);
    file = NULL;
done:
    mr__newfile_drop(file);
    pthread_mutex_unlock(&writing);
    return status;
}

/* ---- all of a device --------------------------------------------------------------------------------------------- */

void mr__device_speed_each(const char *device,
                           void (*each)(void *context, const char *app, const mr__device_speed *speed), void *context)
{
    char folder[MR__PATH_MAX], path[MR__PATH_MAX];
    struct dirent **entry = NULL;
    mr__device_speed speed;
    if (speed_folder(folder, NULL) != MR_OK)
        return;
    const int count = scandir(folder, &entry, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char *app = entry[i]->d_name, *at = strchr(app, '@');
        const int size = snprintf(path, sizeof path, "%s/%s", folder, app);
        if (at != NULL && strcmp(at + 1, device) == 0 && size > 0 && size < MR__PATH_MAX && read_speed(path, &speed)) {
            *at = '\0';
            each(context, app, &speed);
        }
        free(entry[i]);
    }
    free(entry);
}
