/* places.c: where things lie on this machine. */
#include "places.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

mr_status mr__places_apps(const void *symbol, char path[MR__PATH_MAX], mr__error *error)
{
    mr_status status = MR_OK;
    Dl_info library = {0};
    path[0] = '\0';
    const char *place = getenv("MILLRACE_APPS");
    if (place != NULL && place[0] != '\0')
        return compose(path, error, "%s", place);
    MR_CHECK(dladdr(symbol, &library) != 0 && library.dli_fname != NULL, MR_BAD_USAGE,
             "could not tell where the apps are\n  hint: set MILLRACE_APPS to their folder");
    const char *slash = strrchr(library.dli_fname, '/');
    if (slash == NULL)
        return compose(path, error, "millrace/apps");
    return compose(path, error, "%.*s/millrace/apps", (int)(slash - library.dli_fname), library.dli_fname);
done:
    return status;
}

bool mr__places_is_mounted(const char *mount, const char *path)
{
    const size_t length = strlen(mount);
    return strncmp(path, mount, length) == 0 && (path[length] == '/' || path[length] == '\0') &&
           access(mount, F_OK) != 0;
}
