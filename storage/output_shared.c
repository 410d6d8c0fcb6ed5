/* output_shared.c: one result directory that many ranks write and any of them commits, once.
 *
 *   PARENT/.NAME.millrace-PID-RANDOM/
 *       lock                    each rank that has the output open holds a shared lock on it (tier_directory.c)
 *       id                      the id (inode number) of `result`, for ranks that join when it has another name
 *       attempts/open-00003.2   part 3, being written by rank 2
 *       attempts/part-00003.2   the same, whole
 *       decided/winners         which attempts count
 *       result  ->  result.1  ->  result.2  -> ...  ->  PARENT/NAME
 *
 * A rank that the others took for lost may only have been stopped. It goes on at any moment, in the middle of its own
 * commit too, when others have committed or are about to; and a rank may die between any two calls. So a commit never
 * relies on being the only one. It is a row of steps, each of them one call that the file system does as a whole:
 *
 *   decide      write the list of winners into a directory of one's own, rename that to `decided`       S1
 *   take over   rename the result directory one rung up: result.K -> result.K+1                           S2, S3
 *   move        rename each winner into it: attempts/part-NNNNN.R -> result.K+1/part-NNNNN                 S4
 *   mark        make result.K+1/_SUCCESS
 *   show        rename result.K+1 -> PARENT/NAME                                                          S5
 *
 * S1  What is decided stays. `decided` is a directory with a file in it, and no file system lets a rename replace
 *     such a directory; who comes second reads what the first one decided and carries that out. All that is named in
 *     it was closed before, and only what is whole has such a name, so anybody can carry it out after anybody's
 *     death.
 * S2  The result directory only goes up, and of those who rename it up one succeeds. So a walk that fails at each
 *     rung, from the first to the last, proves that it is on none: it was above each rung when that was tried, and it
 *     never comes back. A listing would not prove it, for it may miss what is renamed meanwhile.
 * S3  Every path by which a committer changes the result goes through the rung that it took. Once another one has
 *     taken over, they all fail with ENOENT, for ever: OVERTAKEN. So at each moment at most one rank can change it.
 * S4  A step that was done already is found done: the winner is in the result, _SUCCESS exists. So the next one goes
 *     on where the other was stopped, and what has been moved is not moved again, even if its rank wrote the part
 *     anew.
 * S5  It is committed if and only if what has the target's name is the result directory, by its id.
 *     - the old result that changed places with it (O2) lies on the last rung, where a later committer may take it
 *       up; but its id gives it away before anything is done with it, so it never comes back;
 *     - a place that somebody removed by hand is never taken for a commit.
 * S6  A failure counts only if nobody has committed: who has done so clears the place away, and then everything fails
 *     for the others. A rank that sees it committed, whoever did it and at whatever step, says so.
 *
 * So for a rank that goes on after others were here, each step that it has left is one that S1 has settled, that S3
 * makes impossible or that S4 finds done; S6 says how its commit ends.
 *
 * An overtaken committer looks for a while whether the other one gets to the end, and takes over again if it does
 * not. What each of two that overtake each other has moved stays moved, and they wait longer each time, so one gets
 * through.
 *
 * A file system that cannot exchange names (NFS) replaces an old result in steps: it goes *into* the rung, from there
 * to the claim, and then the rung gets the name. Through the rung because of S3: an overtaken committer would
 * otherwise put aside what has the target's name by then, which may be the new result. After a failure the old result
 * steps back, whoever had put it aside: it is one directory in one place, so that disturbs nobody who took over. */
#include "output_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "memory.h"

enum {
    RUNGS = 1000, SHOWS = 5,
    OVERTAKEN = 1,              /* what a step came to, besides 0 and -errno */
    PATIENCE_MS = 4, PATIENCE_DOUBLINGS = 8,
};

static const char HINT[] = "\n  hint: the directory of the output must be on a file system that all ranks share";

/* ---- open and join ----------------------------------------------------------------------------------------------- */

static int write_file(mr__tier *tier, const char *path, const char *text, size_t size, bool sync)
{
    mr__file file = {.fd = -1};
    int result = tier->ops->create(tier, path, &file);
    if (result == 0)
        result = tier->ops->write_at(&file, text, size, 0);
    if (result == 0 && sync)
        result = tier->ops->sync(&file);
    if (file.tier != NULL) {
        const int finished = mr__file_finish(&file);
        result = result != 0 ? result : finished;
    }
    return result;
}

/* *text: the caller's, with a NUL behind it. */
static int read_file(mr__tier *tier, const char *path, char **text)
{
    mr__file file = {.fd = -1};
    mr__entry entry;
    char *bytes = NULL;
    ssize_t size = 0;
    int result = tier->ops->open(tier, path, &file);
    if (result == 0)
        result = tier->ops->stat(tier, path, &entry);
    if (result == 0 && (bytes = mr__alloc(entry.size + 1)) == NULL)
        result = -ENOMEM;
    if (result == 0 && (size = tier->ops->read_at(&file, bytes, entry.size, 0)) < 0)
        result = (int)size;
    if (file.tier != NULL)
        tier->ops->close(&file);
    if (result == 0) {
        bytes[size] = '\0';
        *text = bytes;
        bytes = NULL;
    }
    mr__free(bytes);
    return result;
}

static int write_id(const mr__output *output)
{
    char text[24];
    char *path = mr__output_path("%s/id", output->claim.path);
    const int size = snprintf(text, sizeof text, "%" PRIu64 "\n", output->id);
    const int result = path != NULL ? write_file(output->tier, path, text, (size_t)size, false) : -ENOMEM;
    mr__free(path);
    return result;
}

/* By its own name while it has that: then no number needs to mean the same on two hosts. */
static int find_id(mr__output *output)
{
    mr__entry entry;
    char *text = NULL, *path = NULL;
    int result = output->tier->ops->stat(output->tier, output->result, &entry);
    if (result == 0)
        output->id = entry.id;
    if (result != -ENOENT)
        return result;
    path = mr__output_path("%s/id", output->claim.path);
    result = path != NULL ? read_file(output->tier, path, &text) : -ENOMEM;
    if (result == 0)
        output->id = strtoull(text, NULL, 10);
    mr__free(text);
    mr__free(path);
    return result;
}

mr_status mr__output_open_shared(const mr__namespace *names, const char *path, bool force, uint32_t rank,
                                 mr__output **output, mr__error *error)
{
    mr_status status = MR_OK;
    mr__output *made = NULL;
    mr__entry entry;
    MR_TRY(mr__output_create(names, path, force, &made, error));
    mr__tier *tier = made->tier;
    made->rank = rank;
    MR_TRY(mr__output_check_target(made, error));
    MR_TRY(mr__output_claim(made, error));
    int result = tier->ops->share(tier, &made->claim);
    MR_CHECK(result != -ENOTSUP, MR_BAD_USAGE,
             "output %s lies in tier %s, which only one process sees\n  hint: with several ranks the output must lie "
             "on a file system that they share",
             path, tier->name);
    made->attempts = mr__output_path("%s/attempts", made->claim.path);
    if (result == 0)
        result = made->attempts != NULL ? tier->ops->make_directory(tier, made->attempts) : -ENOMEM;
    if (result == 0)
        result = tier->ops->stat(tier, made->result, &entry);
    if (result == 0) {
        made->id = entry.id;
        result = write_id(made);
    }
    MR_CHECK(result == 0, mr__status_of_errno(-result, MR_IO_FAILED), "could not make output %s: %s%s", path,
             strerror(-result), mr__errno_hint(result));
    *output = made;
    made = NULL;
done:
    mr__output_close(made);
    return status;
}

const char *mr__output_place(const mr__output *output)
{
    return output->claim.path;
}

mr_status mr__output_join(const mr__namespace *names, const char *path, bool force, const char *place, uint32_t rank,
                          mr__output **output, mr__error *error)
{
    mr_status status = MR_OK;
    mr__output *made = NULL;
    MR_TRY(mr__output_create(names, path, force, &made, error));
    made->rank = rank;
    made->attempts = mr__output_path("%s/attempts", place);
    made->result = mr__output_path("%s/result", place);
    MR_CHECK(made->attempts != NULL && made->result != NULL, MR_NO_MEMORY, "no memory for output %s", path);
    int result = made->tier->ops->join(made->tier, place, &made->claim);
    if (result == 0)
        result = find_id(made);
    MR_CHECK(result != -ENOTSUP, MR_BAD_USAGE, "output %s lies in tier %s, which only one process sees%s", path,
             made->tier->name, HINT);
    MR_CHECK(result == 0, mr__status_of_errno(-result, MR_BAD_INPUT), "rank %u does not see %s of output %s: %s%s",
             rank, place, path, strerror(-result), result == -ENOENT ? HINT : mr__errno_hint(result));
    *output = made;
    made = NULL;
done:
    mr__output_close(made);
    return status;
}

/* ---- decide ------------------------------------------------------------------------------------------------------ */

typedef struct winners {
    const mr__attempt *list;
    size_t count;
    mr__attempt *own;           /* freed by who has the winners; NULL: the list is the caller's */
} winners;

static char *print_winners(const mr__attempt *attempts, size_t count, size_t *size)
{
    const size_t room = 32 + count * 24;
    char *text = mr__alloc(room);
    if (text == NULL)
        return NULL;
    *size = (size_t)snprintf(text, room, "winners %zu\n", count);
    for (size_t i = 0; i < count; i++)
        *size += (size_t)snprintf(text + *size, room - *size, "%u %u\n", attempts[i].part, attempts[i].rank);
    return text;
}

static int parse_winners(const char *text, winners *decided)
{
    size_t count;
    int used = 0;
    if (sscanf(text, "winners %zu\n%n", &count, &used) != 1 || used == 0 || count > strlen(text))
        return -EBADMSG;
    mr__attempt *list = mr__alloc_zero(count + 1, sizeof *list);
    if (list == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        char *after_part, *after_rank;
        list[i].part = (uint32_t)strtoul(text += used, &after_part, 10);
        list[i].rank = (uint32_t)strtoul(after_part, &after_rank, 10);
        used = (int)(after_rank + 1 - text);
        if (after_part == text || after_rank == after_part || *after_rank != '\n') {
            mr__free(list);
            return -EBADMSG;
        }
    }
    *decided = (winners){.list = list, .count = count, .own = list};
    return 0;
}

/* -ENOENT: nothing is decided. */
static int read_winners(mr__output *output, winners *decided)
{
    char *text = NULL;
    char *path = mr__output_path("%s/decided/winners", output->claim.path);
    int result = path != NULL ? read_file(output->tier, path, &text) : -ENOMEM;
    if (result == 0)
        result = parse_winners(text, decided);
    mr__free(text);
    mr__free(path);
    return result;
}

/* -EEXIST: somebody else was faster. */
static int write_winners(mr__output *output, const mr__attempt *attempts, size_t count)
{
    mr__tier *tier = output->tier;
    size_t size = 0;
    char *text = print_winners(attempts, count, &size);
    char *own = mr__output_path("%s/decide.%u", output->claim.path, output->rank);
    char *file = mr__output_path("%s/decide.%u/winners", output->claim.path, output->rank);
    char *final = mr__output_path("%s/decided", output->claim.path);
    int result = text != NULL && own != NULL && file != NULL && final != NULL ? 0 : -ENOMEM;
    if (result == 0)
        result = tier->ops->make_directory(tier, own);
    if (result == -EEXIST) {                    /* an earlier commit of this rank came as far as here */
        mr__tier_remove_tree(tier, own);
        result = tier->ops->make_directory(tier, own);
    }
    if (result == 0)
        result = write_file(tier, file, text, size, output->sync);
    if (result == 0)
        result = tier->ops->rename(tier, own, final, MR__RENAME_NEW);
    mr__free(text);
    mr__free(own);
    mr__free(file);
    mr__free(final);
    return result;
}

/* S1 */
static int decide(mr__output *output, const mr__attempt *attempts, size_t count, winners *decided)
{
    int result = read_winners(output, decided);
    if (result != -ENOENT)
        return result;
    *decided = (winners){.list = attempts, .count = count};
    result = write_winners(output, attempts, count);
    return result == -EEXIST ? read_winners(output, decided) : result;
}

/* ---- the rungs --------------------------------------------------------------------------------------------------- */

static char *rung_path(const mr__output *output, uint32_t rung)
{
    return rung == 0 ? mr__strdup(output->result) : mr__output_path("%s.%u", output->result, rung);
}

/* Is the directory that is committed here on the rung that was taken? 0, OVERTAKEN or -errno. */
static int look_at_rung(const mr__output *output, const char *rung)
{
    mr__entry entry;
    const int result = output->tier->ops->stat(output->tier, rung, &entry);
    return result == -ENOENT || (result == 0 && entry.id != output->id) ? OVERTAKEN : result;
}

/* What a step came to: if it failed as it does when the rung is gone, the rung tells. */
static int judge(const mr__output *output, const char *rung, int result)
{
    if (result != -ENOENT && result != -EEXIST)
        return result;
    const int looked = look_at_rung(output, rung);
    return looked != 0 ? looked : result;
}

/* S2. *rung: the path where it is now; the caller's. -ENOENT: on no rung. */
static int take_over(mr__output *output, char **rung)
{
    mr__tier *tier = output->tier;
    int result = -ENOENT;
    while (result == -ENOENT && output->rung < RUNGS) {
        char *from = rung_path(output, output->rung), *to = rung_path(output, output->rung + 1);
        result = from != NULL && to != NULL ? tier->ops->rename(tier, from, to, MR__RENAME_NEW) : -ENOMEM;
        if (result == -EEXIST)
            result = -ENOENT;                   /* NFS looks at the new name first: it is there, one rung up at least */
        if (result == 0 || result == -ENOENT)
            output->rung++;
        if (result == 0) {
            *rung = to;
            to = NULL;
        }
        mr__free(from);
        mr__free(to);
    }
    return result == 0 ? look_at_rung(output, *rung) : result;
}

mr_status mr__output_read_attempt(const mr__output *output, mr__attempt attempt, mr__file *file, mr__error *error)
{
    mr_status status = MR_OK;
    mr__tier *tier = output->tier;
    char *path = mr__output_path("%s/part-%05u.%u", output->attempts, attempt.part, attempt.rank);
    MR_CHECK(path != NULL, MR_NO_MEMORY, "no memory for output %s", output->name);
    const int opened = tier->ops->open(tier, path, file);
    MR_CHECK(opened == 0, MR_IO_FAILED, "could not read what rank %u wrote beside output %s: %s%s", attempt.rank,
             output->name, strerror(-opened), mr__errno_hint(opened));
done:
    mr__free(path);
    return status;
}

/* ---- move, mark, show -------------------------------------------------------------------------------------------- */

static int move_one(mr__output *output, const char *rung, const mr__attempt *winner)
{
    mr__tier *tier = output->tier;
    mr__entry entry;
    char *from = mr__output_path("%s/part-%05u.%u", output->attempts, winner->part, winner->rank);
    char *to = mr__output_path("%s/part-%05u", rung, winner->part);
    int result = from != NULL && to != NULL ? tier->ops->rename(tier, from, to, MR__RENAME_NEW) : -ENOMEM;
    if (result == -EEXIST || result == -ENOENT) {       /* S4, or S3, or it is missing */
        const int found = tier->ops->stat(tier, to, &entry);
        result = found == 0 ? 0 : judge(output, rung, result);
    }
    mr__free(from);
    mr__free(to);
    return result;
}

/* *moved: how many are in the result. */
static int move_winners(mr__output *output, const char *rung, const winners *decided, size_t *moved)
{
    int result = 0;
    for (*moved = 0; *moved < decided->count && result == 0; *moved += result == 0)
        result = move_one(output, rung, &decided->list[*moved]);
    return result;
}

/* Where an old result that cannot change places stays meanwhile. */
typedef struct aside {
    char *inside, *outside;
} aside;

static int aside_init(aside *old, const mr__output *output, const char *rung)
{
    old->inside = mr__output_path("%s/_replaced", rung);
    old->outside = mr__output_path("%s/replaced.%u", output->claim.path, output->rung);
    return old->inside != NULL && old->outside != NULL ? 0 : -ENOMEM;
}

static void aside_fini(aside *old)
{
    mr__free(old->inside);
    mr__free(old->outside);
}

static int replace_in_steps(mr__output *output, const char *rung)
{
    mr__tier *tier = output->tier;
    aside old;
    int result = aside_init(&old, output, rung);
    if (result == 0)
        result = tier->ops->rename(tier, output->target, old.inside, MR__RENAME_NEW);
    if (result == 0)
        result = tier->ops->rename(tier, old.inside, old.outside, MR__RENAME_NEW);
    if (result == 0)
        result = tier->ops->rename(tier, rung, output->target, MR__RENAME_NEW);
    aside_fini(&old);
    return result;
}

/* An earlier committer was stopped while the old result was on its way through the rung. */
static int clear_rung(mr__output *output, const char *rung)
{
    aside old;
    int result = aside_init(&old, output, rung);
    if (result == 0)
        result = output->tier->ops->rename(output->tier, old.inside, old.outside, MR__RENAME_NEW);
    aside_fini(&old);
    return result == -ENOENT ? 0 : result;
}

/* After a failure: the old result gets its name back, whoever put it aside. */
static void step_back(mr__output *output, const char *rung)
{
    mr__tier *tier = output->tier;
    char *inside = mr__output_path("%s/_replaced", rung);
    if (inside != NULL)
        tier->ops->rename(tier, inside, output->target, MR__RENAME_NEW);
    mr__free(inside);
    for (uint32_t k = 1; k <= output->rung; k++) {
        char *outside = mr__output_path("%s/replaced.%u", output->claim.path, k);
        if (outside != NULL)
            tier->ops->rename(tier, outside, output->target, MR__RENAME_NEW);
        mr__free(outside);
    }
}

static int show_once(mr__output *output, const char *rung)
{
    mr__tier *tier = output->tier;
    int result = tier->ops->rename(tier, rung, output->target, MR__RENAME_NEW);
    if (result == -EEXIST && output->force) {
        result = tier->ops->rename(tier, rung, output->target, MR__RENAME_SWAP);
        if (result == -ENOTSUP)
            result = replace_in_steps(output, rung);
    }
    return result;
}

/* The one call of an overtaken committer that may be under way and still meet the result is that which puts the old one
 * into the rung: its path was looked up before. Then the target vanishes between two calls here, and the old result is
 * in the rung, or in the result when it has just been shown. */
static int show(mr__output *output, const char *rung)
{
    int result = show_once(output, rung);
    for (int i = 0; result == -ENOENT && output->force && i < SHOWS && look_at_rung(output, rung) == 0; i++) {
        clear_rung(output, rung);
        result = show_once(output, rung);
    }
    if (result == 0 && output->force)
        clear_rung(output, output->target);
    return judge(output, rung, result);
}

/* ---- commit ------------------------------------------------------------------------------------------------------ */

bool mr__output_is_committed(const mr__output *output)
{
    mr__entry entry;
    return output->id != 0 && output->tier->ops->stat(output->tier, output->target, &entry) == 0 &&
           entry.id == output->id;
}

/* One pass through the steps. *overtaken: nothing failed, but another rank has the result directory. */
static mr_status commit_once(mr__output *output, const mr__attempt *attempts, size_t count, bool *overtaken,
                             mr__error *error)
{
    mr_status status = MR_OK;
    winners decided = {0};
    char *rung = NULL;
    size_t moved = 0;
    MR_TRY(mr__output_check_target(output, error));
    int result = decide(output, attempts, count, &decided);
    MR_CHECK(result != -EBADMSG, MR_IO_FAILED, "could not commit output %s: %s/decided/winners is damaged",
             output->name, output->claim.path);
    if (result == 0)
        result = take_over(output, &rung);
    MR_CHECK(result != -ENOENT, MR_IO_FAILED,
             "could not commit output %s: what was in %s has vanished\n  hint: leave the directories alone whose names "
             "begin with a dot beside an output while its job runs",
             output->name, output->claim.path);
    if (result == 0 && output->force)
        result = clear_rung(output, rung);
    if (result == 0)
        result = move_winners(output, rung, &decided, &moved);
    MR_CHECK(result != -ENOENT, MR_IO_FAILED, "could not commit output %s: part %u, as rank %u wrote it, is not in %s",
             output->name, decided.list[moved].part, decided.list[moved].rank, output->attempts);
    if (result == 0)
        result = judge(output, rung, mr__output_mark(output, rung));
    if (result == 0)
        result = show(output, rung);
    *overtaken = result == OVERTAKEN;
    if (!*overtaken)
        MR_TRY(mr__output_say(output, result, error));
done:
    if (output->force && rung != NULL && (status != MR_OK || *overtaken))
        step_back(output, rung);
    mr__free(decided.own);
    mr__free(rung);
    return status;
}

/* Until it is committed, or for 4 ms, then 8, 16, ... up to a bit more than a second. */
static void wait_for_the_other(const mr__output *output, unsigned turn)
{
    const long limit = (long)PATIENCE_MS << (turn < PATIENCE_DOUBLINGS ? turn : PATIENCE_DOUBLINGS);
    for (long waited = 0, step = 1; waited < limit && !mr__output_is_committed(output); waited += step) {
        nanosleep(&(struct timespec){.tv_nsec = step * 1000000}, NULL);
        step = step < PATIENCE_MS ? step * 2 : step;
    }
}

mr_status mr__output_commit_shared(mr__output *output, const mr__attempt *attempts, size_t count, bool *before,
                                   mr__error *error)
{
    mr_status status = MR_OK;
    bool found = output->claim.path == NULL || mr__output_is_committed(output), overtaken = !found;
    for (unsigned turn = 0; overtaken; turn++) {
        mr__error why = {.code = MR_OK};
        overtaken = false;
        status = commit_once(output, attempts, count, &overtaken, &why);
        if (overtaken)
            wait_for_the_other(output, turn);
        if ((overtaken || status != MR_OK) && mr__output_is_committed(output)) {        /* S6 */
            status = MR_OK;
            found = true;
            overtaken = false;
        }
        if (status != MR_OK)
            return mr__fail(error, status, "%s", why.text);
    }
    *before = found;
    mr__claim_drop(output->tier, &output->claim);
    if (output->sync)
        mr__output_sync_names(output, output->parent);      /* visible already: a failure here fails no job */
    return status;
}

/* ---- check ------------------------------------------------------------------------------------------------------- */

struct seen {
    uint32_t rungs, decided;
    char name[24];              /* of the last rung */
};

static bool see(const mr__entry *entry, void *context)
{
    struct seen *seen = context;
    seen->decided += strcmp(entry->name, "decided") == 0;
    if (strncmp(entry->name, "result", 6) == 0) {
        seen->rungs++;
        snprintf(seen->name, sizeof seen->name, "%s", entry->name);
    }
    return true;
}

mr_status mr__output_check(const mr__output *output, mr__error *error)
{
    mr_status status = MR_OK;
    struct seen seen = {0};
    char *rung = NULL;
    if (output->claim.path == NULL || mr__output_is_committed(output))
        return MR_OK;
    const int listed = output->tier->ops->list(output->tier, output->claim.path, see, &seen);
    MR_CHECK(listed == 0, MR_IO_FAILED, "could not list %s: %s", output->claim.path, strerror(-listed));
    MR_CHECK(seen.rungs == 1, MR_INTERNAL, "S3 broken: %u result directories in %s", seen.rungs, output->claim.path);
    rung = mr__output_path("%s/%s", output->claim.path, seen.name);
    MR_CHECK(rung != NULL, MR_NO_MEMORY, "no memory to check output %s", output->name);
    MR_CHECK(look_at_rung(output, rung) == 0, MR_INTERNAL,
             "S5 broken: %s is another directory, and nothing is committed", rung);
    MR_CHECK(seen.decided == 1 || strcmp(seen.name, "result") == 0, MR_INTERNAL,
             "S1 broken: %s was taken over before anything was decided", rung);
done:
    mr__free(rung);
    return status;
}
