/* output.c: parts below a claimed directory, made visible by one rename.
 *
 *   open     claim   PARENT/.NAME.millrace-PID-RANDOM/           (locked; a dead process's is swept, tier_directory.c)
 *            make    PARENT/.NAME.millrace-PID-RANDOM/result/
 *   parts            .../result/part-00000 ...
 *   commit           .../result/_SUCCESS
 *            rename  .../result -> PARENT/NAME                   O1, O2
 *            drop the claim, with the old result in it
 *
 * O1  Without force the rename refuses a target that exists, whoever made it since open (RENAME_NOREPLACE).
 * O2  With force the old result and the new one change places in one step (RENAME_EXCHANGE): at every moment one of
 *     them has the name. On a file system that cannot do that the old one steps aside first; if the second rename
 *     fails, it steps back.
 * O3  Force replaces results only: an empty directory, or one that holds _SUCCESS and else only part-*, _* and the
 *     hidden files that go with these (Hadoop and Spark write .part-00000.crc). A mistyped -o never removes a home
 *     directory, in which every name may begin with a dot.
 * O4  A target that is a link is refused. A rename replaces the link and not what it leads to: an old result would stay
 *     behind it. So is one where something is mounted, which no rename replaces.
 *
 * Why `result` is a directory of its own: the claim is private (0700), the result has the permissions that the user's
 * umask gives.
 *
 * A shared output differs in where its parts are written and in how it is committed: output_shared.c. */
#include "output_parts.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appender.h"
#include "memory.h"

enum {
    BUFFER = 1 << 20,           /* of 512 KiB, one write at a time: 1.4 GB/s where a disk takes 2.1 */
    PREFIX_OF_NAME = 200        /* bytes of a target's name in its claim's */
};

/* Two buffers and a ring, used by one part after the other. */
typedef struct mr__desk {
    struct mr__desk *next;
    mr__appender out;
} desk;

struct mr__part {
    mr__output *output;
    desk *desk;
    mr__file file;
    uint32_t index;
};

/* ---- open -------------------------------------------------------------------------------------------------------- */

struct inside {
    bool any, success;
    char foreign[NAME_MAX + 1];         /* a name that no result has */
};

static bool look_inside(const mr__entry *entry, void *context)
{
    struct inside *inside = context;
    const char *name = entry->name[0] == '.' ? entry->name + 1 : entry->name;
    inside->any = true;
    inside->success |= strcmp(entry->name, "_SUCCESS") == 0;
    if (name[0] != '_' && strncmp(name, "part-", 5) != 0)
        snprintf(inside->foreign, sizeof inside->foreign, "%s", entry->name);
    return inside->foreign[0] == '\0';
}

mr_status mr__output_check_target(const mr__output *output, mr__error *error)
{
    mr_status status = MR_OK;
    mr__tier *tier = output->tier;
    mr__entry entry;
    struct inside inside = {0};
    char to[256];
    MR_CHECK(!tier->ops->read_link(tier, output->target, to, sizeof to), MR_EXISTS,
             "output %s is a link to %s, and links are not replaced\n  hint: name the directory itself, or remove the "
             "link",
             output->name, to);
    const int found = tier->ops->stat(tier, output->target, &entry);
    if (found == -ENOENT || found == -ENOTDIR || found == -ELOOP)      /* what lies above it the claim looks at */
        return MR_OK;
    MR_CHECK(found == 0, mr__status_of_errno(-found, MR_IO_FAILED), "could not look at output %s: %s%s", output->name,
             strerror(-found), mr__errno_hint(found));
    MR_CHECK(!entry.mounted, MR_EXISTS,
             "something is mounted at output %s, so nothing can take its place\n  hint: name a directory inside it",
             output->name);
    MR_CHECK(output->force, MR_EXISTS, "output %s exists\n  hint: choose another name, or replace it with --force",
             output->name);
    const bool directory = entry.kind == MR__DIRECTORY;
    const int listed = directory ? tier->ops->list(tier, output->target, look_inside, &inside) : 0;
    if (listed == -ENOENT)
        return MR_OK;                           /* since it was looked at, another rank has put it aside */
    MR_CHECK(listed == 0, mr__status_of_errno(-listed, MR_IO_FAILED), "could not list output %s: %s%s", output->name,
             strerror(-listed), mr__errno_hint(listed));
    const bool foreign = inside.foreign[0] != '\0';
    MR_CHECK(directory && !foreign && (inside.success || !inside.any), MR_EXISTS,
             "output %s exists and is no result of a job, so it is not replaced: it %s%s\n  hint: choose another name, "
             "or remove it yourself",
             output->name, !directory ? "is no directory" : foreign ? "holds " : "holds no _SUCCESS", inside.foreign);
done:
    return status;
}

char *mr__output_path(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *path = length >= 0 ? mr__alloc((size_t)length + 1) : NULL;
    va_start(arguments, format);
    if (path != NULL)
        vsnprintf(path, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return path;
}

/* With what the tier adds to it no longer than the longest name of a file. Targets whose names begin alike may share
 * it: only the claims of dead processes are swept by it. */
static char *claim_prefix(const mr__output *output)
{
    const char *slash = strrchr(output->target, '/');
    return mr__output_path(".%.*s.millrace-", PREFIX_OF_NAME, slash != NULL ? slash + 1 : output->target);
}

static void sweep(const mr__output *output)
{
    char *prefix = claim_prefix(output);
    if (prefix != NULL)
        output->tier->ops->sweep(output->tier, output->parent, prefix);
    mr__free(prefix);
}

mr_status mr__output_claim(mr__output *output, mr__error *error)
{
    mr_status status = MR_OK;
    mr__tier *tier = output->tier;
    mr__entry entry;
    char *prefix = claim_prefix(output);
    MR_CHECK(prefix != NULL, MR_NO_MEMORY, "no memory for output %s", output->name);
    const int found = tier->ops->stat(tier, output->parent, &entry);
    MR_CHECK(found == 0 && entry.kind == MR__DIRECTORY, MR_BAD_USAGE,
             "could not make output %s: %s\n  hint: make the directory above it first", output->name,
             found == 0 ? "what lies above it is no directory" : strerror(-found));
    const int claimed = tier->ops->claim(tier, output->parent, prefix, &output->claim);
    MR_CHECK(claimed == 0, mr__status_of_errno(-claimed, MR_IO_FAILED), "could not make output %s: %s%s", output->name,
             strerror(-claimed), mr__errno_hint(claimed));
    output->result = mr__output_path("%s/result", output->claim.path);
    MR_CHECK(output->result != NULL, MR_NO_MEMORY, "no memory for output %s", output->name);
    const int made = tier->ops->make_directory(tier, output->result);
    MR_CHECK(made == 0, mr__status_of_errno(-made, MR_IO_FAILED), "could not make output %s: %s%s", output->name,
             strerror(-made), mr__errno_hint(made));
done:
    mr__free(prefix);
    return status;
}

mr_status mr__output_create(const mr__namespace *names, const char *path, bool force, mr__output **output,
                            mr__error *error)
{
    mr_status status = MR_OK;
    const char *inside, *wanted = getenv("MILLRACE_SYNC");
    mr__output *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for output %s", path);
    pthread_mutex_init(&made->mutex, NULL);
    made->claim.lock = -1;
    made->force = force;
    made->sync = wanted != NULL && strcmp(wanted, "1") == 0;
    made->tier = mr__namespace_resolve(names, path, &inside);
    made->name = mr__strdup(path);
    made->target = mr__strdup(inside);
    MR_CHECK(made->name != NULL && made->target != NULL, MR_NO_MEMORY, "no memory for output %s", path);
    size_t length = strlen(made->target);
    while (length > 0 && made->target[length - 1] == '/')
        made->target[--length] = '\0';
    const char *slash = strrchr(made->target, '/'), *last = slash != NULL ? slash + 1 : made->target;
    MR_CHECK(*last != '\0' && strcmp(last, ".") != 0 && strcmp(last, "..") != 0, MR_BAD_USAGE,
             "\"%s\" cannot be an output\n  hint: name a directory that is to be made", path);
    made->parent = mr__strdup(made->target);
    MR_CHECK(made->parent != NULL, MR_NO_MEMORY, "no memory for output %s", path);
    made->parent[slash == NULL ? 0 : slash == made->target ? 1 : slash - made->target] = '\0';
    *output = made;
    made = NULL;
done:
    mr__output_close(made);
    return status;
}

mr_status mr__output_open(const mr__namespace *names, const char *path, bool force, mr__output **output,
                          mr__error *error)
{
    mr_status status = MR_OK;
    mr__output *made = NULL;
    MR_TRY(mr__output_create(names, path, force, &made, error));
    MR_TRY(mr__output_check_target(made, error));
    sweep(made);
    MR_TRY(mr__output_claim(made, error));
    *output = made;
    made = NULL;
done:
    mr__output_close(made);
    return status;
}

void mr__output_sweep(const mr__namespace *names, const char *path)
{
    mr__output *output = NULL;
    if (mr__output_create(names, path, false, &output, NULL) == MR_OK)
        sweep(output);
    mr__output_close(output);
}

void mr__output_close(mr__output *output)
{
    if (output == NULL)
        return;
    if (output->attempts != NULL)
        mr__claim_leave(output->tier, &output->claim);
    else
        mr__claim_drop(output->tier, &output->claim);
    for (desk *one = output->idle, *next; one != NULL; one = next) {
        next = one->next;
        mr__appender_fini(&one->out);
        mr__free(one);
    }
    pthread_mutex_destroy(&output->mutex);
    mr__free(output->name);
    mr__free(output->target);
    mr__free(output->parent);
    mr__free(output->result);
    mr__free(output->attempts);
    mr__free(output);
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static desk *take_desk(mr__output *output)
{
    pthread_mutex_lock(&output->mutex);
    desk *one = output->idle;
    if (one != NULL)
        output->idle = one->next;
    pthread_mutex_unlock(&output->mutex);
    if (one != NULL)
        return one;
    one = mr__alloc_zero(1, sizeof *one);
    if (one != NULL && !mr__appender_init(&one->out, BUFFER)) {
        mr__free(one);
        one = NULL;
    }
    return one;
}

static void give_desk_back(mr__output *output, desk *one)
{
    pthread_mutex_lock(&output->mutex);
    one->next = output->idle;
    output->idle = one;
    pthread_mutex_unlock(&output->mutex);
}

/* Where a part is while it is written. */
static char *part_path(const mr__output *output, uint32_t index)
{
    if (output->attempts != NULL)
        return mr__output_path("%s/open-%05u.%u", output->attempts, index, output->rank);
    return mr__output_path("%s/part-%05u", output->result, index);
}

/* code: 0 or -errno. A rank that was cut off from the others may find that they have ended the job meanwhile. */
static mr_status check_call(const mr__output *output, const char *what, uint32_t index, int code, mr__error *error)
{
    if (code == 0)
        return MR_OK;
    if (output->attempts != NULL && code == -ENOENT)
        return mr__fail(error, MR_NETWORK_FAILED, "could not %s part %u of output %s: the folder of the parts is gone\n"
                        "  hint: the other ranks have ended the job without this one, or somebody removed it", what,
                        index, output->name);
    return mr__fail(error, mr__status_of_errno(-code, MR_IO_FAILED), "could not %s part %u of output %s: %s%s", what,
                    index, output->name, strerror(-code), mr__errno_hint(code));
}

/* A part that is whole gets the name under which a commit looks for it. */
static mr_status keep_part(const mr__output *output, uint32_t index, mr__error *error)
{
    mr_status status = MR_OK;
    mr__tier *tier = output->tier;
    char *from = part_path(output, index);
    char *to = mr__output_path("%s/part-%05u.%u", output->attempts, index, output->rank);
    MR_CHECK(from != NULL && to != NULL, MR_NO_MEMORY, "no memory for part %u of output %s", index, output->name);
    MR_TRY(check_call(output, "keep", index, tier->ops->rename(tier, from, to, MR__RENAME_NEW), error));
done:
    if (status != MR_OK && from != NULL)
        tier->ops->remove(tier, from);
    mr__free(from);
    mr__free(to);
    return status;
}

mr_status mr__output_part(mr__output *output, uint32_t index, mr__part **part, mr__error *error)
{
    mr_status status = MR_OK;
    mr__tier *tier = output->tier;
    mr__part *made = mr__alloc_zero(1, sizeof *made);
    char *path = part_path(output, index);
    desk *one = take_desk(output);
    MR_CHECK(made != NULL && path != NULL && one != NULL, MR_NO_MEMORY, "no memory for part %u of output %s", index,
             output->name);
    MR_TRY(check_call(output, "create", index, tier->ops->create(tier, path, &made->file), error));
    made->output = output;
    made->desk = one;
    made->index = index;
    mr__appender_begin(&one->out, made->file);
    *part = made;
    made = NULL;
    one = NULL;
done:
    if (one != NULL)
        give_desk_back(output, one);
    mr__free(path);
    mr__free(made);
    return status;
}

static mr_status check_part(mr__part *part, mr__error *error)
{
    const mr__appender *out = &part->desk->out;
    if (__builtin_expect(out->failure == 0, 1))
        return MR_OK;
    return mr__fail(error, mr__status_of_errno(out->failure, MR_IO_FAILED),
                    "could not write part %u of output %s at offset %llu: %s%s", part->index, part->output->name,
                    (unsigned long long)out->failure_offset, strerror(out->failure), mr__errno_hint(out->failure));
}

mr_status mr__part_write(mr__part *part, const void *bytes, size_t size, mr__error *error)
{
    mr__appender_write(&part->desk->out, bytes, size);
    return check_part(part, error);
}

uint8_t *mr__part_reserve(mr__part *part, size_t size, mr__error *error)
{
    uint8_t *place = mr__appender_reserve(&part->desk->out, size);
    return check_part(part, error) == MR_OK ? place : NULL;
}

void mr__part_advance(mr__part *part, size_t size)
{
    mr__appender_advance(&part->desk->out, size);
}

static void end_part(mr__part *part)
{
    if (part->file.tier != NULL)
        part->file.tier->ops->close(&part->file);
    give_desk_back(part->output, part->desk);
    mr__free(part);
}

mr_status mr__part_close(mr__part *part, uint64_t *bytes, mr__error *error)
{
    mr_status status = MR_OK;
    mr__output *output = part->output;
    const uint32_t index = part->index;
    uint64_t size = 0;
    mr__appender_finish(&part->desk->out);
    MR_TRY(check_part(part, error));
    if (output->sync)
        MR_TRY(check_call(output, "write", index, part->file.tier->ops->sync(&part->file), error));
    size = mr__appender_offset(&part->desk->out);
    MR_TRY(check_call(output, "write", index, mr__file_finish(&part->file), error));
done:
    end_part(part);
    if (status == MR_OK && output->attempts != NULL)
        status = keep_part(output, index, error);
    if (status == MR_OK && bytes != NULL)
        *bytes = size;
    return status;
}

void mr__part_abort(mr__part *part)
{
    if (part == NULL)
        return;
    mr__tier *tier = part->output->tier;
    char *path = part_path(part->output, part->index);
    mr__appender_begin(&part->desk->out, part->file);          /* waits for what is under way, forgets the rest */
    end_part(part);
    if (path != NULL)
        tier->ops->remove(tier, path);                          /* else it goes with the claim */
    mr__free(path);
}

/* ---- commit ------------------------------------------------------------------------------------------------------ */

int mr__output_sync_names(mr__output *output, const char *path)
{
    mr__tier *tier = output->tier;
    mr__file directory;
    int result = tier->ops->open(tier, path, &directory);
    if (result != 0)
        return result == -EISDIR ? 0 : result;
    result = tier->ops->sync(&directory);
    tier->ops->close(&directory);
    return result;
}

int mr__output_mark(mr__output *output, const char *directory)
{
    mr__tier *tier = output->tier;
    mr__file file = {.fd = -1};
    char *path = mr__output_path("%s/_SUCCESS", directory);
    int result = path != NULL ? tier->ops->create(tier, path, &file) : -ENOMEM;
    if (result == 0 && output->sync)
        result = tier->ops->sync(&file);
    if (file.tier != NULL) {
        const int finished = mr__file_finish(&file);
        result = result != 0 ? result : finished;
    }
    if (result == -EEXIST)
        result = 0;
    if (result == 0 && output->sync)
        result = mr__output_sync_names(output, directory);
    mr__free(path);
    return result;
}

/* O2 on a file system that cannot exchange names. */
static int replace_in_two_steps(mr__output *output)
{
    mr__tier *tier = output->tier;
    char *aside = mr__output_path("%s/replaced", output->claim.path);
    int result = aside != NULL ? tier->ops->rename(tier, output->target, aside, MR__RENAME_NEW) : -ENOMEM;
    if (result == 0) {
        result = tier->ops->rename(tier, output->result, output->target, MR__RENAME_NEW);
        if (result != 0)
            tier->ops->rename(tier, aside, output->target, MR__RENAME_NEW);
    }
    mr__free(aside);
    return result;
}

static int make_visible(mr__output *output)
{
    mr__tier *tier = output->tier;
    int result = tier->ops->rename(tier, output->result, output->target, MR__RENAME_NEW);
    if (result != -EEXIST || !output->force)
        return result;
    result = tier->ops->rename(tier, output->result, output->target, MR__RENAME_SWAP);
    return result == -ENOTSUP ? replace_in_two_steps(output) : result;
}

mr_status mr__output_say(const mr__output *output, int result, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(result != -EEXIST, MR_EXISTS,
             "output %s was made by somebody else while the job ran\n  hint: choose another "
             "name, or replace it with --force",
             output->name);
    MR_CHECK(result != -ENOMEM, MR_NO_MEMORY, "no memory to commit output %s", output->name);
    MR_CHECK(result == 0, mr__status_of_errno(-result, MR_IO_FAILED), "could not commit output %s: %s%s", output->name,
             strerror(-result), mr__errno_hint(result));
done:
    return status;
}

mr_status mr__output_commit(mr__output *output, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(mr__output_check_target(output, error));
    int result = mr__output_mark(output, output->result);
    if (result == 0)
        result = make_visible(output);
    MR_TRY(mr__output_say(output, result, error));
    mr__claim_drop(output->tier, &output->claim);
    if (output->sync)
        mr__output_sync_names(output, output->parent);      /* visible already: a failure here fails no job */
done:
    return status;
}
