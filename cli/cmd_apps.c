/* cmd_apps.c: millrace apps: what can be run, from the descriptors themselves. An app that cannot be loaded is listed
 * with the reason and makes the exit status, but hides no other. */
#include <millrace/millrace.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "places.h"

typedef struct settings {
    bool verbose;
} settings;

static const char suffix[] = ".so";

static int is_shared_object(const struct dirent *entry)
{
    const size_t size = strlen(entry->d_name), end = sizeof suffix - 1;
    return size > end && strcmp(entry->d_name + size - end, suffix) == 0;
}

static void print_params(const mr_app *app)
{
    static const char *const types[] = {"whole number", "whole number", "number", NULL, "text"};
    for (uint32_t i = 0; i < app->param_count; i++) {
        const mr_param *param = &app->params[i];
        const bool choice = param->type == MR_PARAM_CHOICE, bounded = param->min != 0 || param->max != 0;
        printf("    %s=%s  %s (%s", param->name, param->preset != NULL ? param->preset : "REQUIRED",
               param->help != NULL ? param->help : "", choice ? param->choices : types[param->type]);
        if (bounded && !choice && param->type != MR_PARAM_TEXT)
            printf(", %.10g .. %.10g", param->min, param->max);
        printf(")\n");
    }
}

static mr_status print_app(mr_session *session, const char *name, const char *shown, bool verbose, mr__error *error)
{
    const mr_app_handle *handle;
    const mr_status status = mr_app_load(session, name, &handle);
    if (status != MR_OK)
        return mr__fail(error, status, "%s", mr_error(session));
    printf("%-20s %s\n", shown, handle->app->summary != NULL ? handle->app->summary : "");
    if (verbose)
        print_params(handle->app);
    return MR_OK;
}

static bool is_in(const char *folder, const char *file)
{
    char path[2 * MR__PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    return access(path, F_OK) == 0;
}

typedef struct listing {
    mr_session *session;
    bool verbose;
    uint32_t count;
    mr_status first_failure;    /* of an app that could not be loaded */
} listing;

/* What the folder has and `hiding` has not, which is looked into first; NULL: all. */
static mr_status print_folder(listing *list, const char *folder, const char *hiding, mr__error *error)
{
    mr_status status = MR_OK;
    char path[2 * MR__PATH_MAX];
    struct dirent **entries = NULL;
    const int found = scandir(folder, &entries, is_shared_object, alphasort);
    MR_CHECK(found >= 0 || (hiding != NULL && errno == ENOENT), MR_BAD_APP,
             "could not read the apps folder %s: %s\n  hint: set MILLRACE_APPS to it", folder, strerror(errno));
    for (int i = 0; i < found; i++) {
        char name[sizeof entries[i]->d_name];
        if (hiding != NULL && is_in(hiding, entries[i]->d_name))
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(strlen(entries[i]->d_name) - (sizeof suffix - 1)),
                 entries[i]->d_name);
        snprintf(path, sizeof path, "%s%s/%s", strchr(folder, '/') != NULL ? "" : "./", folder, entries[i]->d_name);
        mr__error one = {.code = MR_OK};
        list->count++;
        if (print_app(list->session, path, name, list->verbose, &one) == MR_OK)
            continue;
        printf("%-20s cannot be loaded: %.*s\n", name, (int)strcspn(one.text, "\n"), one.text);
        if (list->first_failure == MR_OK)
            list->first_failure = mr__fail(error, one.code, "%s", one.text);
    }
done:
    for (int i = 0; i < found; i++)
        free(entries[i]);
    free(entries);
    return status;
}

static mr_status print_folders(mr_session *session, bool verbose, mr__error *error)
{
    mr_status status = MR_OK;
    char folders[MR__APP_PLACES][MR__PATH_MAX];
    listing list = {.session = session, .verbose = verbose, .first_failure = MR_OK};
    uint32_t count;
    MR_TRY(mr__places_apps((const void *)(uintptr_t)mr_version, folders, &count, error));
    for (uint32_t i = 0; i < count; i++)
        MR_TRY(print_folder(&list, folders[i], i > 0 ? folders[0] : NULL, error));
    MR_CHECK(list.count > 0, MR_BAD_APP, "no apps are in %s\n  hint: set MILLRACE_APPS to their folder", folders[0]);
    status = list.first_failure;
done:
    return status;
}

static mr_status run(const void *given, const cli_operands *operands, mr__error *error)
{
    const settings *chosen = given;
    mr_status status = MR_OK;
    mr_session *session = NULL;
    if ((status = mr_session_open(NULL, &session)) != MR_OK)
        return mr__fail(error, status, "%s", mr_error(NULL));
    for (size_t i = 0; i < operands->count; i++)
        MR_TRY(print_app(session, operands->text[i], operands->text[i], true, error));
    if (operands->count == 0)
        status = print_folders(session, chosen->verbose, error);
done:
    mr_session_close(session);
    return status;
}

static const cli_option options[] = {
    {"verbose", 'v', CLI_SWITCH, offsetof(settings, verbose), NULL, "with their parameters", 0, 0},
};

const cli_command cli_apps = {
    .name = "apps", .summary = "List the apps, or the parameters of some", .usage = "[APP...] [--verbose]",
    .details = "The apps are the shared objects in $MILLRACE_APPS, and in millrace/apps beside libmillrace.",
    .options = options, .option_count = MR__COUNT(options), .settings_size = sizeof(settings), .run = run,
};
