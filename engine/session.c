/* session.c: what many jobs share: the machine, the memory limit, the namespace, the burst directory, the apps.
 *
 * The namespace:  /memory/...   files in memory; what one job leaves to the next; gone with the session
 *                 /burst/...    $MILLRACE_BURST/...: stays
 *                 all else      plain paths
 * The private burst directory (spilled runs, piped input) is another thing: it lies in the same place, under a name
 * that nobody else uses, and goes with the session. */
#include "internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "comm_module.h"
#include "fault.h"
#include "launch.h"
#include "memory.h"
#include "parse.h"
#include "places.h"

#ifndef MR__VERSION
#error "MR__VERSION is set by CMake"
#endif

enum { MEMORY_PERCENT = 70 };

static _Thread_local mr__error open_error;

const char *mr_version(void)
{
    return MR__VERSION;
}

static mr_status apply_worker_spec(mr_session *session, const char *text, mr__error *error)
{
    mr_status status = MR_OK;
    const char *buffer = getenv("MILLRACE_DEVICE_BUFFER"), *copy = getenv("MILLRACE_DEVICE_COPY");
    const char *lanes = getenv("MILLRACE_DEVICE_LANES");
    uint64_t count = 0;
    static const char *const buffers[] = {"auto", "array", "combine"};
    if (text == NULL)
        text = getenv("MILLRACE_WORKERS");
    session->spec_given = text != NULL && text[0] != '\0';
    if (session->spec_given)
        MR_TRY(mr__worker_spec_parse(text, &session->spec, error));
    if (session->spec_given && session->spec.cpus_given)
        session->workers = session->spec.cpus;
    session->device_zero_copy = copy == NULL || strcmp(copy, "1") != 0;
    MR_CHECK(lanes == NULL || (mr__parse_u64(lanes, &count) == MR__PARSED && count <= 16 && (count & (count - 1)) == 0),
             MR_BAD_USAGE, "MILLRACE_DEVICE_LANES is '%.40s'; it can be 1, 2, 4, 8 or 16, or 0: measure", lanes);
    session->device_lanes = (uint32_t)count;
    while (buffer != NULL && session->device_buffer < MR__COUNT(buffers) &&
           strcmp(buffer, buffers[session->device_buffer]) != 0)
        session->device_buffer++;
    MR_CHECK(session->device_buffer < MR__COUNT(buffers), MR_BAD_USAGE,
             "MILLRACE_DEVICE_BUFFER is %s; it can be auto, array or combine", buffer);
done:
    return status;
}

static mr_status apply_options(mr_session *session, const mr_session_options *options, mr__error *error)
{
    mr_status status = MR_OK;
    char path[MR__PATH_MAX];
    const uint64_t most = session->topology.memory_free / 100 * MEMORY_PERCENT;
    session->memory_limit = options->memory != 0 ? options->memory : most / session->launch.local_size;
    session->workers = options->workers != 0 ? options->workers : session->topology.suggested;
    MR_TRY(apply_worker_spec(session, options->worker_spec, error));
    session->workers_given = options->workers != 0 || session->spec.cpus_given;
    MR_CHECK(session->workers > 0 || session->spec.device_count > 0, MR_NO_WORKER,
             "this process may use no CPU\n  hint: look at its cpuset");
    MR_CHECK(session->workers <= MR__SPEC_CPUS_MOST, MR_BAD_USAGE, "%u workers are too many: up to %d are possible",
             session->workers, MR__SPEC_CPUS_MOST);
    if (options->burst != NULL) {
        session->burst_parent = mr__strdup(options->burst);
        MR_CHECK(session->burst_parent != NULL, MR_NO_MEMORY, "no memory for a session");
    }
    if (options->records == NULL || options->records[0] != '\0')
        mr__places_records(options->records, path, NULL);   /* without a place no record is kept: no reason to fail */
    else
        path[0] = '\0';
    session->records = mr__strdup(path);
    MR_CHECK(session->records != NULL, MR_NO_MEMORY, "no memory for a session");
done:
    return status;
}

/* What cannot be mounted is left out: a path below it is then a plain path, and not there. */
static mr_status mount_tiers(mr_session *session, mr__error *error)
{
    mr_status status = MR_OK;
    const char *parent = mr__places_burst(session->burst_parent);
    MR_TRY(mr__namespace_create(&session->names, error));
    if (mr__places_is_mounted(MR__MOUNT_MEMORY, MR__MOUNT_MEMORY)) {
        MR_TRY(mr__tier_memory_create(session->memory_limit / 2, &session->memory, error));
        MR_TRY(mr__namespace_mount(session->names, MR__MOUNT_MEMORY, session->memory, error));
    }
    if (mr__places_is_mounted(MR__MOUNT_BURST, MR__MOUNT_BURST) && access(parent, R_OK | X_OK) == 0) {
        MR_TRY(mr__tier_directory_create("burst", parent, 0, &session->local, error));
        MR_TRY(mr__namespace_mount(session->names, MR__MOUNT_BURST, session->local, error));
    }
done:
    return status;
}

mr_status mr__session_join(mr_session *session, mr__comm_open *open, void *how, const mr__courier_options *options,
                           mr__error *error)
{
    mr_status status = MR_OK;
    const char *text = getenv("MILLRACE_DEADLINE");
    mr__courier_options chosen = options != NULL ? *options : (mr__courier_options){0};
    const char *start = getenv("MILLRACE_START");
    double seconds = 0;
    MR_CHECK(start == NULL || (mr__parse_f64(start, &seconds) == MR__PARSED && seconds >= 0.1 && seconds <= 86400),
             MR_BAD_USAGE, "MILLRACE_START is '%.40s'; it can be 0.1 to 86400 seconds", start);
    if (start != NULL)
        chosen.start_ns = (uint64_t)(seconds * 1e9);
    MR_CHECK(text == NULL || (mr__parse_f64(text, &seconds) == MR__PARSED && seconds >= 0.1 && seconds <= 3600),
             MR_BAD_USAGE, "MILLRACE_DEADLINE is '%.40s'; it can be 0.1 to 3600 seconds", text);
    if (text != NULL)
        chosen.deadline_ns = (uint64_t)(seconds * 1e9);
    MR_TRY(mr__ranks_open(open, how, &chosen, &session->ranks, error));
done:
    return status;
}

/* The highest ranks are spares (joint_spares.c). */
static mr_status apply_spares(mr_session *session, mr__error *error)
{
    mr_status status = MR_OK;
    mr__launch *launch = &session->launch;
    const char *text = getenv("MILLRACE_SPARES");
    uint64_t spares = 0;
    if (text == NULL || text[0] == '\0' || launch->by == MR__LAUNCHED_ALONE)
        return MR_OK;
    MR_CHECK(mr__parse_u64(text, &spares) == MR__PARSED && spares < launch->size, MR_BAD_USAGE,
             "MILLRACE_SPARES is '%.40s', and the launcher started %u rank%s: 0 to %u can be spares\n"
             "  hint: start as many ranks as work, and the spares beside them", text, launch->size,
             launch->size == 1 ? "" : "s", launch->size - 1);
    session->spares = (uint32_t)spares;
    /* Those of this node that work divide it, as if the spares were not there. Launchers number them upwards. */
    const uint32_t first = launch->rank > launch->local_rank ? launch->rank - launch->local_rank : 0;
    const uint32_t working = launch->size - session->spares;
    if (first < working && working - first < launch->local_size) {
        launch->local_size = working - first;
        launch->local_rank %= launch->local_size;
    }
done:
    return status;
}

bool mr__session_is_spare(const mr_session *session)
{
    return session->ranks != NULL &&
           mr__ranks_rank(session->ranks) >= mr__ranks_count(session->ranks) - session->spares;
}

/* A launcher may have started one rank only: then MPI is not needed. */
static mr_status join_ranks(mr_session *session, mr__error *error)
{
    mr_status status = MR_OK;
    if (session->launch.size > 1)
        MR_TRY(mr__session_join(session, mr__comm_open_mpi, NULL, NULL, error));
done:
    return status;
}

uint32_t mr_session_rank(const mr_session *session)
{
    return session->ranks != NULL ? mr__ranks_rank(session->ranks) : 0;
}

uint32_t mr_session_ranks(const mr_session *session)
{
    return session->ranks != NULL ? mr__ranks_count(session->ranks) : 1;
}

bool mr_session_speaks(const mr_session *session)
{
    if (session->ranks == NULL)
        return true;
    if (mr__ranks_expelled(session->ranks) != NULL)
        return false;
    for (uint32_t lower = 0; lower < mr__ranks_rank(session->ranks); lower++)
        if (!mr__courier_is_lost(mr__ranks_courier(session->ranks), lower))
            return false;           /* also if it has left: then it has spoken */
    return true;
}

mr_status mr_session_open(const mr_session_options *options, mr_session **out)
{
    mr_status status = MR_OK;
    mr__error *error = &open_error;
    const mr_session_options defaults = {0};
    mr_session *session = NULL;
    *out = NULL;
    mr__error_clear(error);
    MR_CHECK(mr__fault_arm_from_env(), MR_BAD_USAGE,
             "MILLRACE_FAULT must be POINT:NTH, with the numbers of base/fault.h");
    session = mr__alloc_zero(1, sizeof *session);
    MR_CHECK(session != NULL, MR_NO_MEMORY, "no memory for a session");
    pthread_mutex_init(&session->burst_mutex, NULL);
    MR_TRY(mr__level_init(error));
    MR_TRY(mr__topology_read(&session->topology, error));
    MR_TRY(mr__launch_of_process(&session->launch, error));
    MR_TRY(apply_spares(session, error));
    if (session->launch.by_run || !session->topology.narrowed)
        mr__topology_divide(&session->topology, session->launch.local_rank, session->launch.local_size);
    MR_TRY(apply_options(session, options != NULL ? options : &defaults, error));
    MR_TRY(mount_tiers(session, error));
    MR_TRY(join_ranks(session, error));
    *out = session;
    session = NULL;
done:
    mr_session_close(session);
    return status;
}

static bool lost_others(mr__ranks *ranks)
{
    for (uint32_t rank = 0; ranks != NULL && rank < mr__ranks_count(ranks); rank++)
        if (mr__courier_is_lost(mr__ranks_courier(ranks), rank))
            return true;
    return false;
}

void mr_session_close(mr_session *session)
{
    if (session == NULL)
        return;
    if (lost_others(session->ranks))        /* their burst directories may be on this node */
        mr__burst_sweep(session->burst_parent);
    mr__ranks_close(session->ranks, session->error.code, session->error.text);
    for (mr__loaded_app *app = session->apps, *next; app != NULL; app = next) {
        next = app->next;
        dlclose(app->library);
        mr__free(app->name);
        mr__free(app);
    }
    mr__burst_close(session->burst);
    mr__namespace_destroy(session->names);
    mr__tier_destroy(session->memory);
    mr__tier_destroy(session->local);
    mr__topology_fini(&session->topology);
    mr__free(session->burst_parent);
    mr__free(session->records);
    pthread_mutex_destroy(&session->burst_mutex);
    mr__free(session);
}

const char *mr_error(const mr_session *session)
{
    return session != NULL ? session->error.text : open_error.text;
}

void mr_session_cancel(mr_session *session)
{
    atomic_store(&session->cancelled, true);
}

mr_status mr__session_burst(mr_session *session, mr__burst **burst, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&session->burst_mutex);
    if (session->burst == NULL)
        MR_TRY(mr__burst_open(session->burst_parent, &session->burst, error));
    *burst = session->burst;
done:
    pthread_mutex_unlock(&session->burst_mutex);
    return status;
}

/* ---- apps -------------------------------------------------------------------------------------------------------- */

static mr_status app_path(const char *name, char path[MR__PATH_MAX], mr__error *error)
{
    mr_status status = MR_OK;
    char folders[MR__APP_PLACES][MR__PATH_MAX];
    const bool is_path = strchr(name, '/') != NULL;
    uint32_t count = 1;
    if (!is_path)
        MR_TRY(mr__places_apps((const void *)mr_version, folders, &count, error));
    for (uint32_t i = 0; i < count; i++) {
        const int size = is_path ? snprintf(path, MR__PATH_MAX, "%s", name)
                                 : snprintf(path, MR__PATH_MAX, "%s/%s.so", folders[i], name);
        MR_CHECK(size < MR__PATH_MAX, MR_BAD_USAGE, "the path of app %.64s... is too long", name);
        if (access(path, F_OK) == 0)
            break;
    }
done:
    return status;
}

mr_status mr__session_check_app(const char *name, const mr_app_handle *handle, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(handle->api_version == MR_API_VERSION, MR_BAD_APP,
             "app %s was built for API version %u, this is version %d\n"
             "  hint: build it again with this version's headers",
             name, handle->api_version, MR_API_VERSION);
    MR_CHECK(handle->descriptor_size == sizeof(mr_app), MR_BAD_APP,
             "app %s was built with other headers: its descriptor has %u bytes, here it has %zu\n"
             "  hint: build it again with this version's headers",
             name, handle->descriptor_size, sizeof(mr_app));
    MR_CHECK(handle->name != NULL && handle->app != NULL, MR_BAD_APP,
             "app %s has no descriptor, or no name\n  hint: define it with MR_APP(name) { ... }", name);
done:
    return status;
}

static mr_status check_handle(const char *name, const mr_app_handle *handle, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(handle != NULL && handle->magic == MR_APP_MAGIC, MR_BAD_APP,
             "%s is no Millrace app: it has no mr_app_entry\n  hint: define it with MR_APP(name) { ... }", name);
    MR_TRY(mr__session_check_app(name, handle, error));
done:
    return status;
}

/* dlopen() says it in words only. */
static int why_not_opened(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const int number = fd < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return number;
}

mr_status mr_app_load(mr_session *session, const char *name, const mr_app_handle **app)
{
    mr_status status = MR_OK;
    mr__error *error = &session->error;
    char path[MR__PATH_MAX];
    mr__loaded_app *loaded = NULL;
    mr__error_clear(error);
    for (const mr__loaded_app *known = session->apps; known != NULL; known = known->next) {
        if (strcmp(known->name, name) == 0) {
            *app = known->handle;
            return MR_OK;
        }
    }
    MR_TRY(app_path(name, path, error));
    loaded = mr__alloc_zero(1, sizeof *loaded);
    MR_CHECK(loaded != NULL, MR_NO_MEMORY, "no memory to load app %s", name);
    loaded->name = mr__strdup(name);
    MR_CHECK(loaded->name != NULL, MR_NO_MEMORY, "no memory to load app %s", name);
    loaded->library = mr__fault(MR__FAULT_OPEN) ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (loaded->library == NULL) {
        const char *reason = dlerror();
        const int number = why_not_opened(path);
        MR_CHECK(number != EMFILE && number != ENFILE, MR_IO_FAILED, "could not load app %s: %s%s", name,
                 strerror(number), mr__errno_hint(number));
        status = mr__fail(error, MR_BAD_APP,
                          "could not load app %s: %s\n  hint: `millrace apps` lists the apps; a path needs a '/'", name,
                          reason != NULL ? reason : "it could not be opened");
        goto done;
    }
    loaded->handle = dlsym(loaded->library, "mr_app_entry");
    MR_TRY(check_handle(name, loaded->handle, error));
    *app = loaded->handle;
    loaded->next = session->apps;
    session->apps = loaded;
    loaded = NULL;
done:
    if (loaded != NULL) {
        if (loaded->library != NULL)
            dlclose(loaded->library);
        mr__free(loaded->name);
        mr__free(loaded);
    }
    return status;
}
