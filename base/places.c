/* places.c: where things lie on this machine. */
#include "places.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(MR__PATH_MAX >= PATH_MAX, "realpath() needs that much room");

enum { CLIMB_MOST = 3 };        /* bin, lib or lib/TRIPLET below the prefix */

static mr_status compose(char path[MR__PATH_MAX], mr__error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static mr_status compose(char path[MR__PATH_MAX], mr__error *error, const char *format, ...)
{
    mr_status status = MR_OK;
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(path, MR__PATH_MAX, format, arguments);
    va_end(arguments);
    MR_CHECK(size >= 0 && size < MR__PATH_MAX, MR_BAD_USAGE, "a path is longer than %d bytes: %.60s...",
             MR__PATH_MAX - 1, path);
done:
    if (status != MR_OK)
        path[0] = '\0';
    return status;
}

mr_status mr__places_records(const char *option, char path[MR__PATH_MAX], mr__error *error)
{
    const char *place = option != NULL ? option : getenv("MILLRACE_RECORDS");
    if (place != NULL)
        return compose(path, error, "%s", place);
    if ((place = getenv("XDG_STATE_HOME")) != NULL && place[0] == '/')      /* the XDG rule: ignore a relative one */
        return compose(path, error, "%s/millrace", place);
    if ((place = getenv("HOME")) != NULL && place[0] != '\0')
        return compose(path, error, "%s/.local/state/millrace", place);
    path[0] = '\0';
    return mr__fail(error, MR_BAD_USAGE, "no place for run records: HOME is not set\n"
                                         "  hint: set MILLRACE_RECORDS to a directory, or to nothing for no records");
}

mr_status mr__places_module(const void *symbol, const char *name, char path[MR__PATH_MAX], mr__error *error)
{
    mr_status status = MR_OK;
    Dl_info library = {0};
    path[0] = '\0';
    MR_CHECK(dladdr(symbol, &library) != 0 && library.dli_fname != NULL, MR_BAD_USAGE,
             "could not tell where Millrace is installed");
    const char *slash = strrchr(library.dli_fname, '/');
    if (slash == NULL)
        return compose(path, error, "millrace/%s", name);
    return compose(path, error, "%.*s/millrace/%s", (int)(slash - library.dli_fname), library.dli_fname, name);
done:
    return status;
}

mr_status mr__places_apps(const void *symbol, char paths[MR__APP_PLACES][MR__PATH_MAX], uint32_t *count,
                          mr__error *error)
{
    mr_status status = MR_OK;
    const char *place = getenv("MILLRACE_APPS");
    *count = 0;
    if (place != NULL && place[0] != '\0')
        MR_TRY(compose(paths[(*count)++], error, "%s", place));
    MR_TRY(mr__places_module(symbol, "apps", paths[(*count)++], error));
done:
    return status;
}

/* The file that holds `symbol`: a shared object, or the executable. */
static bool file_of(const void *symbol, char path[MR__PATH_MAX])
{
    Dl_info about = {0};
    if (dladdr(symbol, &about) != 0 && about.dli_fname != NULL && strchr(about.dli_fname, '/') != NULL &&
        realpath(about.dli_fname, path) != NULL)
        return true;
    const ssize_t size = readlink("/proc/self/exe", path, MR__PATH_MAX - 1);
    path[size > 0 ? size : 0] = '\0';
    return size > 0;
}

bool mr__places_program(const void *symbol, const char *name, char path[MR__PATH_MAX])
{
    char from[MR__PATH_MAX] = "";
    bool climbing = file_of(symbol, from);
    for (int step = 0; climbing && step <= CLIMB_MOST; step++) {
        char *slash = strrchr(from, '/');
        climbing = slash != NULL;
        if (!climbing)
            break;
        *slash = '\0';
        const int size = snprintf(path, MR__PATH_MAX, "%s/libexec/millrace/%s", from, name);
        if (size > 0 && size < MR__PATH_MAX && access(path, X_OK) == 0)
            return true;
    }
    path[0] = '\0';
    return false;
}

const char *mr__places_burst(const char *option)
{
    const char *named = option != NULL ? option : getenv("MILLRACE_BURST");
    if (named == NULL || *named == '\0')
        named = getenv("TMPDIR");
    return named != NULL && *named != '\0' ? named : "/var/tmp";
}

bool mr__places_is_mounted(const char *mount, const char *path)
{
    const size_t length = strlen(mount);
    return strncmp(path, mount, length) == 0 && (path[length] == '/' || path[length] == '\0') &&
           access(mount, F_OK) != 0;
}
