/* One output that many ranks write. Oracle: what opendir and fopen find under the target's name and beside it; the text
 * of a part says which rank wrote it, and each rank that commits names other winners.
 *
 * The ranks here write through a tier of the test's own, which counts the calls of a commit. At a chosen call one rank
 * stops, others commit or die, and it goes on; so every interleaving of whole commits with the calls of another one is
 * tried, not only those that chance brings up. The same tier can be a file system that is not able to exchange names,
 * or one whose rename replaces what appeared since it looked (NFS). */
#include "scratch.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>

#include "memory.h"
#include "output.h"
#include "output_parts.h"
#include "tier.h"

enum { PARTS = 2, RANKS = 3, MANY = 5 };

/* ---- the tier ---------------------------------------------------------------------------------------------------- */

enum ability { EXCHANGES, CANNOT_EXCHANGE, LOOKS_AND_RENAMES, ABILITIES };

static const mr__tier_ops *real;
static mr__tier *tier;
static mr__namespace *names;
static enum ability ability;
static void (*step)(void);              /* before each call */
static bool (*is_dead)(void);           /* from then on no call of this rank has an effect */

static bool dies(void)
{
    if (step != NULL)
        step();
    return is_dead != NULL && is_dead();
}

static int hooked_open(mr__tier *self, const char *path, mr__file *file)
{
    return dies() ? -EIO : real->open(self, path, file);
}

static int hooked_create(mr__tier *self, const char *path, mr__file *file)
{
    return dies() ? -EIO : real->create(self, path, file);
}

static int hooked_write_at(const mr__file *file, const void *bytes, size_t size, uint64_t offset)
{
    return dies() ? -EIO : real->write_at(file, bytes, size, offset);
}

static int hooked_stat(mr__tier *self, const char *path, mr__entry *entry)
{
    return dies() ? -EIO : real->stat(self, path, entry);
}

static int hooked_list(mr__tier *self, const char *path, mr__visit visit, void *context)
{
    return dies() ? -EIO : real->list(self, path, visit, context);
}

static int hooked_make_directory(mr__tier *self, const char *path)
{
    return dies() ? -EIO : real->make_directory(self, path);
}

static int look_and_rename(const char *from, const char *to)
{
    char old[PATH_MAX + 256], new[PATH_MAX + 256];
    snprintf(old, sizeof old, "%s/%s", scratch_path, from);
    snprintf(new, sizeof new, "%s/%s", scratch_path, to);
    if (faccessat(AT_FDCWD, new, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST;
    if (dies())
        return -EIO;
    if (rename(old, new) == 0)
        return 0;
    return errno == ENOTEMPTY ? -EEXIST : -errno;
}

static int hooked_rename(mr__tier *self, const char *from, const char *to, mr__rename how)
{
    if (dies())
        return -EIO;
    if (how == MR__RENAME_SWAP && ability != EXCHANGES)
        return -ENOTSUP;
    return how == MR__RENAME_NEW && ability == LOOKS_AND_RENAMES ? look_and_rename(from, to)
                                                                 : real->rename(self, from, to, how);
}

static int hooked_remove(mr__tier *self, const char *path)
{
    return dies() ? -EIO : real->remove(self, path);
}

static int make_all(void **state)
{
    static mr__tier_ops hooked;
    if (scratch_make(state) != 0 || mr__tier_directory_create("shared", scratch_path, 0, &tier, NULL) != MR_OK ||
        mr__namespace_create(&names, NULL) != MR_OK || mr__namespace_mount(names, "/shared", tier, NULL) != MR_OK)
        return -1;
    real = tier->ops;
    hooked = *real;
    hooked.open = hooked_open;
    hooked.create = hooked_create;
    hooked.write_at = hooked_write_at;
    hooked.stat = hooked_stat;
    hooked.list = hooked_list;
    hooked.make_directory = hooked_make_directory;
    hooked.rename = hooked_rename;
    hooked.remove = hooked_remove;
    tier->ops = &hooked;
    return setenv("MILLRACE_IO_URING", "0", 1);
}

static int remove_all(void **state)
{
    mr__namespace_destroy(names);
    mr__tier_destroy(tier);
    return scratch_remove(state);
}

/* ---- what the ranks write, and what is found --------------------------------------------------------------------- */

/* Whatever a test that failed left. */
static int start_afresh(void **state)
{
    step = NULL;
    is_dead = NULL;
    ability = EXCHANGES;
    return scratch_run("rm -rf '%s'/out '%s'/.out*", scratch_path, scratch_path);
}

static const char TARGET[] = "/shared/out";

static void write_part(mr__output *output, uint32_t part, uint32_t rank)
{
    char text[64];
    uint64_t bytes = 0;
    mr__part *writing = NULL;
    const int size = snprintf(text, sizeof text, "part %u by rank %u\n", part, rank);
    assert_int_equal(mr__output_part(output, part, &writing, NULL), MR_OK);
    assert_int_equal(mr__part_write(writing, text, (size_t)size, NULL), MR_OK);
    assert_int_equal(mr__part_close(writing, &bytes, NULL), MR_OK);
    assert_int_equal(bytes, size);
}

/* The winners that rank r names when it commits. */
static const mr__attempt *winners_of(uint32_t rank, uint32_t ranks, mr__attempt *list)
{
    for (uint32_t p = 0; p < PARTS; p++)
        list[p] = (mr__attempt){p, (rank + p) % ranks};
    return list;
}

static mr_status commit(mr__output *output, uint32_t rank, uint32_t ranks, bool *before, mr__error *error)
{
    mr__attempt list[PARTS];
    return mr__output_commit_shared(output, winners_of(rank, ranks, list), PARTS, before, error);
}

static void make_old(void)
{
    assert_int_equal(mkdir(scratch_file("out"), 0755), 0);
    scratch_write("out/part-00000", "old\n", 4);
    scratch_write("out/part-00007", "old\n", 4);
    scratch_write("out/_SUCCESS", "", 0);
}

static bool read_line(const char *name, char *line, size_t size)
{
    FILE *file = fopen(scratch_file(name), "rb");
    const bool found = file != NULL && fgets(line, (int)size, file) != NULL;
    if (file != NULL)
        fclose(file);
    return found;
}

enum found { NOTHING, OLD, NEW };

static enum found find(void)
{
    char line[64];
    struct stat there;
    if (read_line("out/part-00000", line, sizeof line))
        return strcmp(line, "old\n") == 0 ? OLD : NEW;
    assert_int_equal(stat(scratch_file("out"), &there), -1);
    return NOTHING;
}

/* The target holds the winners that one of the ranks named, _SUCCESS, and nothing else. Returns that rank. */
static uint32_t assert_whole(uint32_t ranks)
{
    uint32_t entries = 0, committer = UINT32_MAX;
    struct stat found;
    DIR *directory = opendir(scratch_file("out"));
    assert_non_null(directory);
    for (const struct dirent *item; (item = readdir(directory)) != NULL;)
        entries += item->d_name[0] != '.';
    closedir(directory);
    assert_int_equal(entries, PARTS + 1);
    assert_int_equal(stat(scratch_file("out/_SUCCESS"), &found), 0);
    assert_int_equal(found.st_size, 0);
    for (uint32_t p = 0; p < PARTS; p++) {
        char name[64], line[64];
        uint32_t part, rank;
        snprintf(name, sizeof name, "out/part-%05u", p);
        assert_true(read_line(name, line, sizeof line));
        assert_int_equal(sscanf(line, "part %u by rank %u", &part, &rank), 2);
        assert_int_equal(part, p);
        assert_true(committer == UINT32_MAX || committer == (rank + ranks - p) % ranks);
        committer = (rank + ranks - p) % ranks;
    }
    return committer;
}

static void remove_target(void)
{
    static const char *const inside[] = {"part-00000", "part-00001", "part-00007", "_SUCCESS"};
    for (size_t i = 0; i < MR__COUNT(inside); i++) {
        char name[64];
        snprintf(name, sizeof name, "out/%s", inside[i]);
        unlink(scratch_file(name));
    }
    rmdir(scratch_file("out"));
}

static uint32_t names_beside(void)
{
    uint32_t count = 0;
    DIR *directory = opendir(scratch_path);
    assert_non_null(directory);
    for (const struct dirent *item; (item = readdir(directory)) != NULL;)
        count += strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0 && strcmp(item->d_name, "out") != 0;
    closedir(directory);
    return count;
}

static void open_ranks(mr__output **ranks, uint32_t count, bool force)
{
    assert_int_equal(mr__output_open_shared(names, TARGET, force, 0, &ranks[0], NULL), MR_OK);
    for (uint32_t r = 1; r < count; r++)
        assert_int_equal(mr__output_join(names, TARGET, force, mr__output_place(ranks[0]), r, &ranks[r], NULL), MR_OK);
    for (uint32_t r = 0; r < count; r++)
        for (uint32_t p = 0; p < PARTS; p++)
            write_part(ranks[r], p, r);
}

static void close_ranks(mr__output **ranks, uint32_t count)
{
    for (uint32_t r = 0; r < count; r++)
        mr__output_close(ranks[r]);
    assert_int_equal(names_beside(), 0);
}

/* ---- what happens when nothing happens --------------------------------------------------------------------------- */

static void any_rank_may_commit_what_many_wrote(void **state)
{
    for (uint32_t committer = 0; committer < MANY; committer++) {
        mr__output *ranks[MANY];
        bool before = true;
        const bool force = committer % 2 == 1;
        if (force)
            make_old();
        open_ranks(ranks, MANY, force);
        for (uint32_t r = 0; r < MANY; r++) {
            assert_false(mr__output_is_committed(ranks[r]));
            assert_int_equal(mr__output_check(ranks[r], NULL), MR_OK);
        }
        assert_int_equal(find(), force ? OLD : NOTHING);
        assert_int_equal(commit(ranks[committer], committer, MANY, &before, NULL), MR_OK);
        assert_false(before);
        assert_int_equal(assert_whole(MANY), committer);
        assert_int_equal(names_beside(), 0);            /* the others are still in it, and content */
        for (uint32_t r = 0; r < MANY; r++) {
            assert_true(mr__output_is_committed(ranks[r]));
            assert_int_equal(commit(ranks[r], r, MANY, &before, NULL), MR_OK);
            assert_true(before);
        }
        close_ranks(ranks, MANY);
        assert_int_equal(assert_whole(MANY), committer);
        remove_target();
    }
}

static void without_commit_the_last_to_leave_cleans_up(void **state)
{
    mr__output *ranks[MANY];
    open_ranks(ranks, MANY, false);
    for (uint32_t r = 0; r < MANY; r++) {
        assert_int_equal(names_beside(), 1);
        mr__output_close(ranks[r]);
    }
    assert_int_equal(names_beside(), 0);
    assert_int_equal(find(), NOTHING);
}

static void a_part_may_be_aborted_and_written_again(void **state)
{
    mr__output *ranks[2];
    mr__part *part = NULL;
    mr__error error = {.code = MR_OK};
    bool before;
    open_ranks(ranks, 2, false);
    const mr__attempt list[] = {{0, 0}, {1, 1}, {2, 1}};
    assert_int_equal(mr__output_part(ranks[1], 2, &part, NULL), MR_OK);
    assert_int_equal(mr__part_write(part, "half", 4, NULL), MR_OK);
    assert_int_equal(mr__output_commit_shared(ranks[0], list, 3, &before, &error), MR_IO_FAILED);   /* not closed yet */
    assert_non_null(strstr(error.text, "part 2, as rank 1 wrote it"));
    mr__part_abort(part);
    write_part(ranks[1], 2, 1);
    assert_int_equal(mr__output_check(ranks[1], NULL), MR_OK);
    assert_int_equal(mr__output_commit_shared(ranks[0], list, 3, &before, NULL), MR_OK);
    assert_false(before);
    assert_int_equal(scratch_run("test \"$(cat '%s/out/part-00002')\" = 'part 2 by rank 1' && rm '%s/out/part-00002'",
                                 scratch_path, scratch_path),
                     0);
    assert_true(mr__output_part(ranks[1], 1, &part, &error) != MR_OK);       /* it is committed, there is no place */
    close_ranks(ranks, 2);
    remove_target();
}

static void what_cannot_be_shared_gets_a_sentence(void **state)
{
    mr__output *output = NULL;
    mr__tier *memory = NULL;
    mr__namespace *private = NULL;
    mr__error error = {.code = MR_OK};
    assert_int_equal(mr__tier_memory_create(0, &memory, NULL), MR_OK);
    assert_int_equal(mr__namespace_create(&private, NULL), MR_OK);
    assert_int_equal(mr__namespace_mount(private, "/memory", memory, NULL), MR_OK);
    assert_int_equal(mr__output_open_shared(private, "/memory/out", false, 0, &output, &error), MR_BAD_USAGE);
    assert_non_null(strstr(error.text, "only one process sees"));
    mr__error_clear(&error);
    assert_int_equal(mr__output_join(private, "/memory/out", false, "x", 1, &output, &error), MR_BAD_USAGE);
    mr__error_clear(&error);
    mr__namespace_destroy(private);
    mr__tier_destroy(memory);
    assert_int_equal(mr__output_join(names, TARGET, false, ".out.millrace-1-0123456789abcdef", 1, &output, &error),
                     MR_BAD_INPUT);
    assert_non_null(strstr(error.text, "rank 1 does not see .out.millrace-1-0123456789abcdef of output /shared/out"));
    assert_non_null(strstr(error.text, "file system that all ranks share"));
    mr__error_clear(&error);
    make_old();
    assert_int_equal(mr__output_open_shared(names, TARGET, false, 0, &output, &error), MR_EXISTS);
    assert_null(output);
    remove_target();
    assert_int_equal(names_beside(), 0);
}

static void an_output_that_somebody_else_made_is_refused_at_every_rank(void **state)
{
    mr__output *ranks[2];
    open_ranks(ranks, 2, false);
    make_old();
    for (uint32_t r = 0; r < 2; r++) {
        mr__error error = {.code = MR_OK};
        bool before = r;
        assert_int_equal(commit(ranks[r], r, 2, &before, &error), MR_EXISTS);
        assert_int_equal(before, r);
        assert_non_null(strstr(error.text, TARGET));
        assert_false(mr__output_is_committed(ranks[r]));
    }
    close_ranks(ranks, 2);
    assert_int_equal(find(), OLD);
    remove_target();
}

static void a_place_removed_by_hand_is_not_taken_for_a_commit(void **state)
{
    for (int force = 0; force < 2; force++) {
        mr__output *ranks[2];
        mr__error error = {.code = MR_OK};
        bool before;
        if (force)
            make_old();
        open_ranks(ranks, 2, force);
        assert_int_equal(scratch_run("rm -r '%s/%s'", scratch_path, mr__output_place(ranks[0])), 0);
        assert_int_equal(commit(ranks[1], 1, 2, &before, &error), MR_IO_FAILED);
        assert_non_null(strstr(error.text, "vanished"));
        close_ranks(ranks, 2);
        assert_int_equal(find(), force ? OLD : NOTHING);
        remove_target();
    }
}

/* ---- one stops, others go on ------------------------------------------------------------------------------------- */

/* Rank d commits at depth d: within the call at which rank d-1 was stopped. */
static struct {
    mr__output *ranks[RANKS];
    uint32_t calls[RANKS], stops_at[RANKS], dies_at[RANKS];     /* by depth; 0: never */
    uint32_t depth, count;
    uint32_t committed;         /* how many were told that it was they */
    bool force, dead[RANKS];
    enum found seen;
} play;

static void act(uint32_t rank);

static void observe(void)
{
    const uint32_t depth = play.depth;
    const enum found now = find();
    if (play.seen == NEW)
        assert_int_equal(now, NEW);             /* the old one never comes back, the new one never goes */
    if (play.seen == OLD && ability == EXCHANGES)
        assert_int_not_equal(now, NOTHING);
    if (now != NOTHING)
        play.seen = now;
    play.calls[depth]++;
    if (play.calls[depth] == play.dies_at[depth])
        play.dead[depth] = true;
    if (play.calls[depth] == play.stops_at[depth] && depth + 1 < play.count) {
        play.depth++;
        act(play.depth);
        play.depth--;
    }
}

static bool is_dead_now(void)
{
    return play.dead[play.depth];
}

static void act(uint32_t rank)
{
    mr__error error = {.code = MR_OK};
    bool before = true;
    const mr_status status = commit(play.ranks[rank], rank, RANKS, &before, &error);
    if (play.dead[rank])
        return;
    if (status != MR_OK)
        print_error("ability %d, force %d, rank %u, stops at %u %u, deaths at %u %u: %s\n", ability, play.force, rank,
                    play.stops_at[0], play.stops_at[1], play.dies_at[0], play.dies_at[1], error.text);
    assert_int_equal(status, MR_OK);
    assert_int_equal(find(), NEW);
    play.committed += !before;
}

/* Rank 0 commits; `count` ranks act, as stops_at and dies_at say. Returns how many calls rank 0 made. */
static uint32_t perform(bool force, uint32_t count, const uint32_t *stops_at, const uint32_t *dies_at)
{
    memset(&play, 0, sizeof play);
    play.count = count;
    play.force = force;
    if (force)
        make_old();
    open_ranks(play.ranks, RANKS, force);
    memcpy(play.stops_at, stops_at, count * sizeof *stops_at);
    memcpy(play.dies_at, dies_at, count * sizeof *dies_at);
    play.seen = find();
    step = observe;
    is_dead = is_dead_now;
    act(0);
    const uint32_t calls = play.calls[0];
    bool died = false;
    for (uint32_t r = 0; r < count; r++)
        died |= play.dead[r];
    if (died) {                                 /* a survivor does what is left */
        step = NULL;
        is_dead = NULL;
        assert_int_equal(mr__output_check(play.ranks[RANKS - 1], NULL), MR_OK);
        memset(play.dead, 0, sizeof play.dead);
        act(RANKS - 1);
    }
    step = NULL;
    is_dead = NULL;
    for (uint32_t r = 0; r < RANKS; r++)
        assert_true(mr__output_is_committed(play.ranks[r]));
    assert_true(died ? play.committed <= 1 : play.committed == 1);
    assert_whole(RANKS);
    close_ranks(play.ranks, RANKS);
    remove_target();
    return calls;
}

static void wherever_one_stops_another_commits_and_the_first_goes_on(void **state)
{
    for (ability = EXCHANGES; ability < ABILITIES; ability++)
        for (int force = 0; force < 2; force++)
            for (uint32_t at = 1, calls = 1; at <= calls; at++)
                calls = perform(force, 2, (uint32_t[]){at, 0}, (uint32_t[]){0, 0});
}

static void wherever_two_stop_a_third_commits_and_they_go_on(void **state)
{
    for (ability = EXCHANGES; ability < ABILITIES; ability++)
        for (int force = 0; force < 2; force++)
            for (uint32_t at = 1, calls = 1; at <= calls; at++)
                for (uint32_t then = 1 + at % 13; then <= 60; then += 13)
                    calls = perform(force, 3, (uint32_t[]){at, then, 0}, (uint32_t[]){0, 0, 0});
}

static void wherever_one_dies_another_finishes(void **state)
{
    for (ability = EXCHANGES; ability < ABILITIES; ability++)
        for (int force = 0; force < 2; force++)
            for (uint32_t at = 1, calls = 1; at <= calls; at++)
                calls = perform(force, 1, (uint32_t[]){0}, (uint32_t[]){at});
}

/* The first one stops, the second one takes over and dies, the first one goes on and has to do it. */
static void whoever_is_overtaken_by_one_that_dies_takes_over_again(void **state)
{
    for (ability = EXCHANGES; ability < ABILITIES; ability++)
        for (int force = 0; force < 2; force++)
            for (uint32_t at = 1, calls = 1; at <= calls; at += 2)
                for (uint32_t death = 1 + at % 5; death <= 30; death += 5)
                    calls = perform(force, 2, (uint32_t[]){at, 0}, (uint32_t[]){0, death});
}

static mr__output *rewriter;
static mr__part *half_written;
static uint32_t rewrite_at, rewrite_calls;

static void rewrite(void)
{
    if (++rewrite_calls != rewrite_at)
        return;
    mr__part *part = NULL;
    if (mr__output_part(rewriter, 0, &part, NULL) == MR_OK && mr__part_write(part, "late", 4, NULL) == MR_OK)
        mr__part_close(part, NULL, NULL);
    else
        mr__part_abort(part);
    if (mr__output_part(rewriter, 1, &half_written, NULL) == MR_OK)
        mr__part_write(half_written, "half", 4, NULL);
}

static void what_a_lost_rank_still_writes_is_not_in_the_result(void **state)
{
    for (ability = EXCHANGES; ability < ABILITIES; ability++) {
        rewrite_calls = rewrite_at = 0;
        do {
            mr__output *ranks[2];
            bool before;
            open_ranks(ranks, 2, false);
            rewriter = ranks[0];
            rewrite_calls = 0;
            rewrite_at++;
            step = rewrite;
            assert_int_equal(commit(ranks[1], 0, 2, &before, NULL), MR_OK);
            step = NULL;
            assert_int_equal(assert_whole(2), 0);
            mr__part_abort(half_written);
            half_written = NULL;
            close_ranks(ranks, 2);
            remove_target();
        } while (rewrite_at <= rewrite_calls);
    }
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

static uint32_t kill_at;

static void kill_myself(void)
{
    if (--kill_at == 0)
        kill(getpid(), SIGKILL);
}

/* A child joins and commits, and is killed before its call number `at`. Returns whether it came as far as that. */
static bool commit_and_be_killed(const char *place, bool force, uint32_t at)
{
    int status;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        mr__output *output = NULL;
        bool before;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (mr__output_join(names, TARGET, force, place, 1, &output, NULL) != MR_OK)
            _exit(1);
        kill_at = at;
        step = kill_myself;
        const mr_status committed = commit(output, 1, 2, &before, NULL);
        step = NULL;
        mr__output_close(output);
        _exit(committed != MR_OK || before);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

static void wherever_a_process_is_killed_another_finishes(void **state)
{
    for (int force = 0; force < 2; force++) {
        bool killed = true;
        for (uint32_t at = 1; killed; at += 1 + (uint32_t)force) {
            mr__output *ranks[2];
            bool before;
            if (force)
                make_old();
            open_ranks(ranks, 2, force);
            mr__output_close(ranks[1]);
            killed = commit_and_be_killed(mr__output_place(ranks[0]), force, at);
            assert_int_equal(mr__output_check(ranks[0], NULL), MR_OK);
            const bool done = mr__output_is_committed(ranks[0]);
            assert_int_equal(find(), done ? NEW : force ? OLD : NOTHING);
            assert_int_equal(commit(ranks[0], 0, 2, &before, NULL), MR_OK);
            assert_int_equal(before, done);
            assert_whole(2);
            close_ranks(ranks, 1);
            remove_target();
        }
    }
}

static pid_t start_rank(const char *place, int ready)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        mr__output *output = NULL;
        prctl(PR_SET_PDEATHSIG, SIGKILL);       /* a test that fails leaves nobody behind */
        const mr_status status = place != NULL
                                     ? mr__output_join(names, TARGET, false, place, 1, &output, NULL)
                                     : mr__output_open_shared(names, TARGET, false, 0, &output, NULL);
        const char *text = status == MR_OK ? mr__output_place(output) : "";
        if (write(ready, text, strlen(text) + 1) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    return child;
}

static void kill_rank(pid_t child)
{
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void a_place_stays_while_one_rank_lives_and_goes_with_the_next_claim(void **state)
{
    int ready[2];
    char place[PATH_MAX], text[PATH_MAX];
    mr__output *joined = NULL, *other = NULL;
    assert_int_equal(pipe(ready), 0);
    const pid_t opener = start_rank(NULL, ready[1]);
    assert_true(read(ready[0], place, sizeof place) > 1);
    const pid_t joiner = start_rank(place, ready[1]);
    assert_true(read(ready[0], text, sizeof text) > 1);
    assert_string_equal(text, place);

    kill_rank(opener);
    assert_int_equal(mr__output_join(names, TARGET, false, place, 2, &joined, NULL), MR_OK);
    assert_int_equal(mr__output_open(names, TARGET, false, &other, NULL), MR_OK);      /* sweeps, but not this one */
    mr__output_close(other);
    assert_int_equal(names_beside(), 1);
    mr__output_close(joined);
    assert_int_equal(names_beside(), 1);
    kill_rank(joiner);
    assert_int_equal(names_beside(), 1);
    assert_int_equal(mr__output_open(names, TARGET, false, &other, NULL), MR_OK);
    assert_int_equal(names_beside(), 1);
    assert_int_equal(mr__output_join(names, TARGET, false, place, 2, &joined, NULL), MR_BAD_INPUT);
    mr__output_close(other);
    assert_int_equal(names_beside(), 0);
    close(ready[0]);
    close(ready[1]);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static struct race {
    mr__output *ranks[RANKS];
    pthread_barrier_t start;
    bool commits;
    _Atomic uint32_t failures, committed, hidden;
} race;

static _Thread_local uint64_t dice;

static void dawdle(void)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    if (dice >> 60 == 0)
        nanosleep(&(struct timespec){.tv_nsec = (long)(dice >> 40 & 0x3ffff)}, NULL);
}

static void *run_rank(void *context)
{
    const uint32_t rank = (uint32_t)(uintptr_t)context % RANKS;
    bool before = false;
    dice = (uint64_t)(uintptr_t)context * 977;
    pthread_barrier_wait(&race.start);
    if (race.commits) {
        mr__error error = {.code = MR_OK};
        if (commit(race.ranks[rank], rank, RANKS, &before, &error) != MR_OK) {
            print_error("ability %d, rank %u: %s\n", ability, rank, error.text);
            atomic_fetch_add(&race.failures, 1);
        } else if (!mr__output_is_committed(race.ranks[rank]))
            atomic_fetch_add(&race.hidden, 1);
        else if (!before)
            atomic_fetch_add(&race.committed, 1);
    }
    mr__output_close(race.ranks[rank]);
    return NULL;
}

static void run_race(bool force, bool commits, uint32_t round)
{
    pthread_t threads[RANKS];
    memset(&race, 0, sizeof race);
    race.commits = commits;
    pthread_barrier_init(&race.start, NULL, RANKS);
    if (force)
        make_old();
    open_ranks(race.ranks, RANKS, force);
    step = dawdle;
    for (uint32_t r = 0; r < RANKS; r++)
        assert_int_equal(pthread_create(&threads[r], NULL, run_rank, (void *)(uintptr_t)(round * RANKS + r)), 0);
    for (uint32_t r = 0; r < RANKS; r++)
        pthread_join(threads[r], NULL);
    step = NULL;
    pthread_barrier_destroy(&race.start);
    assert_int_equal(race.failures, 0);
    assert_int_equal(race.hidden, 0);
    assert_int_equal(race.committed, commits);
    assert_int_equal(names_beside(), 0);
    if (commits)
        assert_whole(RANKS);
    else
        assert_int_equal(find(), force ? OLD : NOTHING);
    remove_target();
}

static void of_ranks_that_commit_at_once_one_does(void **state)
{
    for (uint32_t round = 0; round < 200; round++) {
        ability = round / 2 % ABILITIES;
        run_race(round % 2, true, round);
    }
}

static void of_ranks_that_leave_at_once_one_cleans_up(void **state)
{
    for (uint32_t round = 0; round < 200; round++)
        run_race(round % 2, false, round);
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static bool swept_force;

/* Two ranks write, the second one commits; after a failure the first one does. */
static mr_status attempt(mr__error *error)
{
    mr_status status = MR_OK;
    mr__output *ranks[2] = {NULL};
    mr__part *part = NULL;
    mr__attempt list[PARTS];
    bool before;
    setenv("MILLRACE_SYNC", "1", 1);
    if (swept_force)
        make_old();
    MR_TRY(mr__output_open_shared(names, TARGET, swept_force, 0, &ranks[0], error));
    MR_TRY(mr__output_join(names, TARGET, swept_force, mr__output_place(ranks[0]), 1, &ranks[1], error));
    for (uint32_t p = 0; p < PARTS; p++) {
        char text[64];
        const int size = snprintf(text, sizeof text, "part %u by rank %u\n", p, p);
        MR_TRY(mr__output_part(ranks[p], p, &part, error));
        status = mr__part_write(part, text, (size_t)size, error);
        if (status == MR_OK)
            status = mr__part_close(part, NULL, error);
        else
            mr__part_abort(part);
        MR_TRY(status);
    }
    status = mr__output_commit_shared(ranks[1], winners_of(0, 2, list), PARTS, &before, error);
    mr__fault_disarm();
    if (status == MR_OK) {
        assert_int_equal(assert_whole(2), 0);
    } else {
        assert_int_equal(find(), swept_force ? OLD : NOTHING);
        assert_int_equal(mr__output_check(ranks[0], NULL), MR_OK);
        assert_int_equal(mr__output_commit_shared(ranks[0], winners_of(0, 2, list), PARTS, &before, NULL), MR_OK);
        assert_false(before);
        assert_int_equal(assert_whole(2), 0);
        remove_target();
        if (swept_force)
            make_old();
    }
done:
    mr__fault_disarm();
    unsetenv("MILLRACE_SYNC");
    mr__output_close(ranks[0]);
    mr__output_close(ranks[1]);
    if (status != MR_OK)
        assert_int_equal(find(), swept_force ? OLD : NOTHING);
    remove_target();
    mr__output *next = NULL;                    /* cleans up what could not be removed after the failure */
    assert_int_equal(mr__output_open(names, TARGET, false, &next, NULL), MR_OK);
    mr__output_close(next);
    assert_int_equal(names_beside(), 0);
    return status;
}

/* The sweep for leftovers, a ring, the fsync of the parent after the rename, and cleaning up may fail. */
static bool the_result_is_whole(enum mr__fault_point point)
{
    return point != MR__FAULT_WRITE && point != MR__FAULT_MKDIR && point != MR__FAULT_READ;
}

static void every_call_that_fails_leaves_what_was_and_can_be_done_again(void **state)
{
    for (ability = EXCHANGES; ability <= CANNOT_EXCHANGE; ability++)
        for (int force = 0; force < 2; force++) {
            swept_force = force;
            scratch_sweep(attempt, the_result_is_whole);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(any_rank_may_commit_what_many_wrote, start_afresh),
        cmocka_unit_test_setup(without_commit_the_last_to_leave_cleans_up, start_afresh),
        cmocka_unit_test_setup(a_part_may_be_aborted_and_written_again, start_afresh),
        cmocka_unit_test_setup(what_cannot_be_shared_gets_a_sentence, start_afresh),
        cmocka_unit_test_setup(an_output_that_somebody_else_made_is_refused_at_every_rank, start_afresh),
        cmocka_unit_test_setup(a_place_removed_by_hand_is_not_taken_for_a_commit, start_afresh),
        cmocka_unit_test_setup(wherever_one_stops_another_commits_and_the_first_goes_on, start_afresh),
        cmocka_unit_test_setup(wherever_two_stop_a_third_commits_and_they_go_on, start_afresh),
        cmocka_unit_test_setup(wherever_one_dies_another_finishes, start_afresh),
        cmocka_unit_test_setup(whoever_is_overtaken_by_one_that_dies_takes_over_again, start_afresh),
        cmocka_unit_test_setup(what_a_lost_rank_still_writes_is_not_in_the_result, start_afresh),
        cmocka_unit_test_setup(wherever_a_process_is_killed_another_finishes, start_afresh),
        cmocka_unit_test_setup(a_place_stays_while_one_rank_lives_and_goes_with_the_next_claim, start_afresh),
        cmocka_unit_test_setup(of_ranks_that_commit_at_once_one_does, start_afresh),
        cmocka_unit_test_setup(of_ranks_that_leave_at_once_one_cleans_up, start_afresh),
        cmocka_unit_test_setup(every_call_that_fails_leaves_what_was_and_can_be_done_again, start_afresh),
    };
    cmocka_set_test_filter(getenv("MR_TEST"));
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
