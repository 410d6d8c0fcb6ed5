/* test_token.c: tokens within one process: limits, shares, damage, foreign folders, failing calls.
 * Oracle: the test counts for itself what it holds. */
#include "cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "token_fixture.h"
#include "token_shared.h"

enum { THREADS = 4, ROUNDS = 300, NOBODY = 65534, STRANGER = 50000, STRANGERS = 1000 };

static const uint64_t second = 1000000000;

static void test_no_more_tokens_than_the_limit(void **state)
{
    static const uint32_t limits[] = {1, 3, MR__TOKENS_PRESET, MR__TOKENS_MOST};
    mr__token_pool *pool = open_pool("limits");
    for (size_t l = 0; l < MR__COUNT(limits); l++) {
        mr__token token[MR__TOKENS_MOST], extra = {.fd = -7};
        assert_int_equal(mr__token_limit(pool, limits[l], NULL), MR_OK);
        for (uint32_t i = 0; i < limits[l]; i++) {
            token[i] = acquire(pool);
            assert_in_range(token[i].number, 0, limits[l] - 1);
            for (uint32_t k = 0; k < i; k++)
                assert_int_not_equal(token[i].number, token[k].number);
        }
        assert_int_equal(try_acquire(pool, &extra), MR_TIMEOUT);
        assert_int_equal(extra.fd, -7);
        assert_int_equal(health_of(pool).in_use, limits[l]);
        assert_rules(pool);
        for (uint32_t i = 0; i < limits[l]; i++)
            mr__token_release(pool, token[i]);
        assert_int_equal(health_of(pool).in_use, 0);
    }
    mr__token_pool_close(pool);
}

static void test_a_new_pool_has_the_preset_limit(void **state)
{
    mr__token_pool *pool = open_pool("preset");
    assert_int_equal(health_of(pool).limit, MR__TOKENS_PRESET);
    assert_int_equal(health_of(pool).state, MR__STATE_WELL);
    mr__token_pool_close(pool);
}

static void test_a_lowered_limit_counts_what_is_out_above_it(void **state)
{
    mr__token_pool *pool = open_pool("lowered");
    mr__token token[4], extra;
    for (uint32_t i = 0; i < 4; i++)
        token[i] = acquire(pool);
    assert_int_equal(mr__token_limit(pool, 2, NULL), MR_OK);
    mr__token_release(pool, token[0]);      /* a low number is free, but three are out */
    assert_int_equal(try_acquire(pool, &extra), MR_TIMEOUT);
    mr__token_release(pool, token[3]);
    assert_int_equal(try_acquire(pool, &extra), MR_TIMEOUT);
    mr__token_release(pool, token[2]);
    assert_int_equal(try_acquire(pool, &extra), MR_OK);
    assert_rules(pool);
    assert_int_equal(mr__token_limit(pool, 0, NULL), MR_BAD_USAGE);
    assert_int_equal(mr__token_limit(pool, MR__TOKENS_MOST + 1, NULL), MR_BAD_USAGE);
    assert_int_equal(health_of(pool).limit, 2);
    mr__token_release(pool, extra);
    mr__token_release(pool, token[1]);
    mr__token_pool_close(pool);
}

static void test_the_limit_stays_when_everybody_has_gone(void **state)
{
    mr__token_pool *pool = open_pool("stays");
    assert_int_equal(mr__token_limit(pool, 9, NULL), MR_OK);
    mr__token_pool_close(pool);
    pool = open_pool("stays");
    assert_int_equal(health_of(pool).limit, 9);
    mr__token_pool_close(pool);
}

static void test_names_that_cannot_be_a_file_are_refused(void **state)
{
    static const char *const names[] = {"", ".", "..", "../x", "a/b", "-x", "a b", "a\n",
                                        "a-name-that-is-thirty-two-bytes-x"};
    for (size_t i = 0; i < MR__COUNT(names); i++) {
        mr__token_pool *pool = (mr__token_pool *)state;
        mr__error error = {.code = MR_OK};
        assert_int_equal(mr__token_pool_open(names[i], "", &pool, &error), MR_BAD_USAGE);
        assert_ptr_equal(pool, state);
        assert_string_not_equal(error.text, "");
    }
}

static void test_the_pool_is_that_of_the_place(void **state)
{
    mr__token_pool *first = NULL, *other = NULL, *same = NULL;
    mr__token held, extra;
    assert_int_equal(mr__token_pool_open("nvidia-0", "0000.3b.00.0", &first, NULL), MR_OK);
    assert_int_equal(mr__token_pool_open("nvidia-0", "0000.5e.00.0", &other, NULL), MR_OK);
    assert_int_equal(mr__token_pool_open("nvidia-1", "0000.3b.00.0", &same, NULL), MR_OK);
    assert_int_equal(mr__token_limit(first, 1, NULL), MR_OK);
    held = acquire(first);
    assert_int_equal(try_acquire(same, &extra), MR_TIMEOUT);
    mr__token_release(other, acquire(other));
    mr__token_release(first, held);
    mr__token_pool_close(same);
    mr__token_pool_close(other);
    mr__token_pool_close(first);
}

/* ---- shares ------------------------------------------------------------------------------------------------------ */

/* As try_acquire(), but the claim that is left never ends: a machine may keep us from running for longer than one
 * lasts. */
static mr_status try_and_keep_claim(mr__token_pool *pool, mr__token *out)
{
    const mr_status status = try_acquire(pool, out);
    if (status == MR_TIMEOUT)
        pool->shared->job[pool->job].claim_ns = UINT64_MAX;
    return status;
}

static void test_a_job_above_its_share_yields_while_another_waits(void **state)
{
    mr__token_pool *a = open_pool("shares"), *b = open_pool("shares");
    mr__token held[4], mine[2], extra;
    for (uint32_t i = 0; i < 4; i++)
        held[i] = acquire(a);                                           /* alone: all of them */
    assert_int_equal(try_and_keep_claim(b, &mine[0]), MR_TIMEOUT);      /* b has a claim now */
    for (uint32_t i = 0; i < 2; i++) {
        mr__token_release(a, held[3 - i]);
        assert_int_equal(try_and_keep_claim(a, &extra), MR_TIMEOUT);    /* a holds its share, or more */
        assert_int_equal(try_and_keep_claim(b, &mine[i]), MR_OK);
        assert_int_equal(try_and_keep_claim(b, &extra), MR_TIMEOUT);
    }
    mr__token_release(a, held[1]);
    assert_int_equal(try_and_keep_claim(b, &extra), MR_TIMEOUT);        /* b has its share now, and a wants this one */
    assert_int_equal(try_and_keep_claim(a, &held[1]), MR_OK);
    assert_rules(a);
    for (uint32_t i = 0; i < 2; i++) {
        mr__token_release(a, held[i]);
        mr__token_release(b, mine[i]);
    }
    mr__token_pool_close(a);
    mr__token_pool_close(b);
}

static void test_one_token_goes_in_turns_even_to_those_who_only_try(void **state)
{
    mr__token_pool *pool[3];
    uint32_t turns[3] = {0}, last = 3, repeats = 0;
    mr__token token;
    for (uint32_t p = 0; p < 3; p++)
        pool[p] = open_pool("turns");
    assert_int_equal(mr__token_limit(pool[0], 1, NULL), MR_OK);
    /* the first one asks three times as often as the others */
    static const uint32_t order[] = {0, 0, 1, 0, 2};
    for (uint32_t i = 0; i < 500; i++) {
        const uint32_t p = order[i % MR__COUNT(order)];
        if (try_and_keep_claim(pool[p], &token) != MR_OK)
            continue;
        for (uint32_t other = 0; other < 3; other++) {
            mr__token never;
            if (other != p)
                assert_int_equal(try_and_keep_claim(pool[other], &never), MR_TIMEOUT);
        }
        mr__token_release(pool[p], token);
        turns[p]++;
        repeats += p == last;
        last = p;
    }
    assert_int_equal(repeats, 0);
    for (uint32_t p = 0; p < 3; p++) {
        assert_true(turns[p] + 1 >= turns[(p + 1) % 3]);
        assert_true(turns[p] > 50);
        mr__token_pool_close(pool[p]);
    }
}

static void test_a_job_that_lost_interest_holds_nobody_up_for_long(void **state)
{
    mr__token_pool *a = open_pool("interest"), *b = open_pool("interest");
    assert_int_equal(mr__token_limit(a, 1, NULL), MR_OK);
    mr__token token = acquire(a), never;
    assert_int_equal(try_acquire(b, &never), MR_TIMEOUT);
    mr__token_job *const claim = &b->shared->job[b->job];
    const uint64_t claim_ns = claim->claim_ns;
    claim->claim_ns = UINT64_MAX;       /* until we have seen that it counts */
    mr__token_release(a, token);
    assert_int_equal(try_acquire(a, &never), MR_TIMEOUT);
    claim->claim_ns = claim_ns;
    const uint64_t begin = mr__now_ns();
    token = acquire(a);
    assert_true(mr__now_ns() - begin < 5 * second);
    mr__token_release(a, token);
    mr__token_pool_close(b);
    mr__token_pool_close(a);
}

static void test_only_so_many_jobs_share_a_device(void **state)
{
    mr__token_pool *pool[MR__TOKEN_JOBS + 1];
    mr__token token;
    for (uint32_t i = 0; i <= MR__TOKEN_JOBS; i++)
        pool[i] = open_pool("crowd");
    for (uint32_t i = 0; i < MR__TOKEN_JOBS; i++)
        mr__token_release(pool[i], acquire(pool[i]));
    assert_int_equal(health_of(pool[0]).jobs, MR__TOKEN_JOBS);
    assert_int_equal(try_acquire(pool[MR__TOKEN_JOBS], &token), MR_NO_WORKER);
    mr__token_pool_close(pool[0]);
    assert_int_equal(try_acquire(pool[MR__TOKEN_JOBS], &token), MR_OK);
    mr__token_release(pool[MR__TOKEN_JOBS], token);
    for (uint32_t i = 1; i <= MR__TOKEN_JOBS; i++)
        mr__token_pool_close(pool[i]);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static void test_waiting_ends_at_its_time_and_costs_no_processor(void **state)
{
    mr__token_pool *a = open_pool("waiting"), *b = open_pool("waiting");
    uint64_t least = UINT64_MAX;
    assert_int_equal(mr__token_limit(a, 1, NULL), MR_OK);
    mr__token token = acquire(a), never;
    /* a virtual processor that is away counts as used: one quiet wait of a few is enough */
    for (uint32_t i = 0; i < 5 && least >= second / 10; i++) {
        const uint64_t begin = mr__now_ns(), before = mr__clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        assert_int_equal(mr__token_acquire(b, second / 2, &never, NULL), MR_TIMEOUT);
        const uint64_t spent = mr__clock_ns(CLOCK_PROCESS_CPUTIME_ID) - before;
        assert_true(mr__now_ns() - begin >= second / 2);
        least = spent < least ? spent : least;
    }
    assert_true(least < second / 10);       /* a fifth of the time, where a sanitizer slows it down */
    mr__token_release(a, token);
    mr__token_pool_close(a);
    mr__token_pool_close(b);
}

static _Atomic uint32_t out_now, out_most, taken;

static void *take_and_give(void *argument)
{
    mr__token_pool *pool = argument;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        mr__token token;
        if (mr__token_acquire(pool, 60 * second, &token, NULL) != MR_OK)
            continue;
        const uint32_t now = atomic_fetch_add(&out_now, 1) + 1;
        uint32_t most = atomic_load(&out_most);
        while (now > most && !atomic_compare_exchange_weak(&out_most, &most, now)) {
        }
        atomic_fetch_add(&taken, 1);
        atomic_fetch_sub(&out_now, 1);
        mr__token_release(pool, token);
    }
    return NULL;
}

static void test_threads_share_one_pool(void **state)
{
    pthread_t thread[THREADS];
    mr__token_pool *pool = open_pool("threads");
    assert_int_equal(mr__token_limit(pool, 2, NULL), MR_OK);
    for (uint32_t t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&thread[t], NULL, take_and_give, pool), 0);
    for (uint32_t t = 0; t < THREADS; t++)
        pthread_join(thread[t], NULL);
    assert_int_equal(atomic_load(&taken), THREADS * ROUNDS);
    assert_in_range(atomic_load(&out_most), 1, 2);
    assert_rules(pool);
    mr__token_pool_close(pool);
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

static void damage(const char *device, uint64_t seed, off_t size)
{
    char path[256];
    uint8_t bytes[16384];
    for (size_t i = 0; i < sizeof bytes; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(seed >> 56);
    }
    snprintf(path, sizeof path, "%s/%s", token_folder, device);
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    if (seed != 0)
        assert_int_equal(pwrite(fd, bytes, sizeof bytes, 0), sizeof bytes);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

static void test_a_damaged_file_is_built_anew(void **state)
{
    static const off_t sizes[] = {0, 1, 100, 4096, 16384};
    for (size_t s = 0; s < MR__COUNT(sizes); s++) {
        damage("damaged", s + 1, sizes[s]);
        mr__token_pool *pool = open_pool("damaged");
        mr__token token = acquire(pool);
        assert_int_equal(health_of(pool).limit, MR__TOKENS_PRESET);
        assert_rules(pool);
        mr__token_release(pool, token);
        mr__token_pool_close(pool);
    }
}

/* Bytes of a file that is in order otherwise: most of them nobody can tell from a good one, but no rule may break. */
static void test_flipped_bytes_break_no_rule(void **state)
{
    char path[256];
    struct stat about;
    snprintf(path, sizeof path, "%s/flipped", token_folder);
    mr__token_pool_close(open_pool("flipped"));
    assert_int_equal(stat(path, &about), 0);
    for (off_t at = 0; at < about.st_size; at += 13) {
        const int fd = open(path, O_RDWR);
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte = (uint8_t)(byte ^ (at % 2 == 0 ? 0xff : 0x01));
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        mr__token_pool *pool = open_pool("flipped");
        assert_rules(pool);
        mr__token token;
        const mr_status status = try_acquire(pool, &token);
        assert_true(status == MR_OK || status == MR_DEVICE_LOST);
        if (status == MR_OK)
            mr__token_release(pool, token);
        assert_rules(pool);
        assert_int_equal(mr__device_restore(pool, NULL), MR_OK);
        mr__token_pool_close(pool);
    }
}

static void test_tokens_that_are_out_count_in_a_file_built_anew(void **state)
{
    mr__token_pool *pool = open_pool("kept");
    mr__token token = acquire(pool);
    const int fd = dup(token.fd);           /* as a device process has it */
    mr__token_release(pool, token);
    mr__token_pool_close(pool);
    damage("kept", 99, 5000);
    pool = open_pool("kept");
    assert_int_equal(health_of(pool).in_use, 1);
    mr__token_holder holder;
    assert_int_equal(mr__token_holders(pool, &holder, 1), 1);
    assert_true(holder.orphan);
    close(fd);
    assert_int_equal(health_of(pool).in_use, 0);
    mr__token_pool_close(pool);
}

static void test_damage_and_removal_under_a_running_job_get_a_sentence(void **state)
{
    char path[256];
    mr__error error = {.code = MR_OK};
    mr__token token, before = {.fd = -7};
    mr__token_pool *pool = open_pool("running"), *other = (mr__token_pool *)state;
    snprintf(path, sizeof path, "%s/running", token_folder);
    token = acquire(pool);
    const int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "damage", 6, 0), 6);
    close(fd);
    assert_int_equal(mr__token_acquire(pool, 0, &before, &error), MR_IO_FAILED);
    assert_non_null(strstr(error.text, "was damaged while this job used it"));
    mr__error_clear(&error);
    assert_int_equal(mr__token_pool_open("running", "", &other, &error), MR_IO_FAILED);
    assert_non_null(strstr(error.text, "is damaged, and jobs use it"));
    assert_ptr_equal(other, state);
    mr__error_clear(&error);
    unlink(path);
    assert_int_equal(mr__token_acquire(pool, 0, &before, &error), MR_IO_FAILED);
    assert_non_null(strstr(error.text, "was removed"));
    assert_int_equal(before.fd, -7);
    mr__token_release(pool, token);
    mr__token_pool_close(pool);
}

static void test_a_stopped_process_with_the_mutex_does_not_hold_up_who_only_asks(void **state)
{
    mr__error error = {.code = MR_OK};
    mr__token token;
    mr__token_pool *pool = open_pool("stopped"), *other = open_pool("stopped");
    assert_int_equal(mr__token_lock(other, &error), MR_OK);
    const uint64_t begin = mr__now_ns();
    assert_int_equal(mr__token_acquire(pool, 0, &token, &error), MR_TIMEOUT);
    assert_true(mr__now_ns() - begin < 5000000000);     /* the full patience is 10 s */
    mr__token_unlock(other);
    token = acquire(pool);
    mr__token_release(pool, token);
    mr__token_pool_close(pool);
    mr__token_pool_close(other);
}

/* ---- other users ------------------------------------------------------------------------------------------------- */

static mr_status open_in(const char *folder, mr__error *error)
{
    mr__token_pool *pool = NULL;
    setenv("MILLRACE_TOKENS", folder, 1);
    const mr_status status = mr__token_pool_open("any", "", &pool, error);
    setenv("MILLRACE_TOKENS", token_folder, 1);
    mr__token_pool_close(pool);
    return status;
}

static void test_a_folder_that_others_may_use_is_refused(void **state)
{
    char path[128], link[128];
    mr__error error = {.code = MR_OK};
    snprintf(path, sizeof path, "%s/open", token_folder);
    snprintf(link, sizeof link, "%s/link", token_folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(open_in(path, &error), MR_OK);
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(open_in(link, &error), MR_IO_FAILED);
    mr__error_clear(&error);
    assert_int_equal(chmod(path, 0770), 0);
    assert_int_equal(open_in(path, &error), MR_IO_FAILED);
    assert_non_null(strstr(error.text, "others may use"));
    mr__error_clear(&error);
    assert_int_equal(open_in("/nowhere/at/all", &error), MR_IO_FAILED);
    assert_non_null(strstr(error.text, "/nowhere/at/all"));
}

/* Runs `what` as another user in a process of its own; its exit status. */
static int as_user(uid_t user, int (*what)(void))
{
    const pid_t pid = fork();
    if (pid == 0)
        _exit(setgid((gid_t)user) == 0 && setuid(user) == 0 ? what() : 99);
    int how = 0;
    waitpid(pid, &how, 0);
    return WIFEXITED(how) ? WEXITSTATUS(how) : 100;
}

static int open_ours(void)
{
    mr__token_pool *pool = NULL;
    return (int)mr__token_pool_open("stolen", "", &pool, NULL);
}

static void test_another_user_can_not_take_our_tokens(void **state)
{
    if (geteuid() != 0) {
        print_message("skipped: only root can become another user\n");
        skip();
    }
    mr__token_pool *pool = open_pool("stolen");
    assert_int_equal(as_user(NOBODY, open_ours), MR_IO_FAILED);
    mr__token_release(pool, acquire(pool));
    mr__token_pool_close(pool);
}

static char stranger_home[64];

static int acquire_by_default(void)
{
    mr__token_pool *pool = NULL;
    mr__token token;
    unsetenv("MILLRACE_TOKENS");
    setenv("XDG_CACHE_HOME", stranger_home, 1);
    if (mr__token_pool_open("blocked", "", &pool, NULL) != MR_OK || mr__token_acquire(pool, 0, &token, NULL) != MR_OK)
        return 1;
    mr__token_release(pool, token);
    mr__token_pool_close(pool);
    return 0;
}

static void test_another_user_can_not_block_our_tokens(void **state)
{
    static const mode_t modes[] = {0, 0777};
    char path[64], command[96];
    uid_t stranger = STRANGER;
    int named, answer = 0;
    if (geteuid() != 0) {
        print_message("skipped: only root can become another user\n");
        skip();
    }
    /* root takes the name of a user who has none yet: this test may run twice at once, or have been killed before */
    do {
        snprintf(path, sizeof path, "/dev/shm/millrace-%u", (unsigned)++stranger);
        named = mkdir(path, 0);
    } while (named != 0 && errno == EEXIST && stranger < STRANGER + STRANGERS);
    assert_int_equal(named, 0);
    strcpy(stranger_home, "/tmp/millrace-stranger-XXXXXX");
    const bool made = mkdtemp(stranger_home) != NULL && chown(stranger_home, stranger, stranger) == 0;
    for (size_t m = 0; m < MR__COUNT(modes) && made && answer == 0; m++)
        answer = chmod(path, modes[m]) == 0 ? as_user(stranger, acquire_by_default) : -1;
    assert_int_equal(rmdir(path), 0);
    assert_true(made);
    snprintf(command, sizeof command, "rm -r %s", stranger_home);
    assert_int_equal(system(command), 0);
    assert_int_equal(answer, 0);
}

/* No folder may be made in /dev/shm, or no file: the cache folder does. Each is what a full one says. */
static void test_tokens_lie_in_the_cache_folder_where_shared_memory_cannot_be_used(void **state)
{
    static const enum mr__fault_point points[] = {MR__FAULT_MKDIR, MR__FAULT_WRITE};
    char folder[64], device[MR__DEVICE_ID], path[128];
    struct stat about;
    snprintf(folder, sizeof folder, "/dev/shm/millrace-%u", (unsigned)geteuid());
    snprintf(device, sizeof device, "full-%u", (unsigned)getpid());
    snprintf(path, sizeof path, "%s/%s", folder, device);
    const bool was_there = stat(folder, &about) == 0;
    for (size_t p = 0; p < MR__COUNT(points); p++) {
        mr__token_pool *pool = NULL;
        mr__error error = {.text = ""};
        unsetenv("MILLRACE_TOKENS");
        mr__fault_arm(points[p], 1);
        const mr_status status = mr__token_pool_open(device, "", &pool, &error);
        const bool fired = mr__fault_fired();
        mr__fault_disarm();
        setenv("MILLRACE_TOKENS", token_folder, 1);
        unlink(path);
        assert_true(fired);
        if (status != MR_OK)
            fail_msg("%s", error.text);
        assert_int_equal(strncmp(pool->path, getenv("XDG_CACHE_HOME"), strlen(getenv("XDG_CACHE_HOME"))), 0);
        assert_non_null(strstr(pool->path, "/tokens-"));
        mr__token_release(pool, acquire(pool));
        mr__token_pool_close(pool);
    }
    if (!was_there)
        rmdir(folder);
}

/* ---- calls that fail --------------------------------------------------------------------------------------------- */

static void test_every_call_may_fail(void **state)
{
    uint32_t failures = 0;
    for (uint32_t p = 0; p < mr__fault_point_count; p++) {
        for (uint32_t nth = 1;; nth++) {
            mr__token_pool *pool = NULL;
            mr__token token = {.fd = -7};
            mr__error error = {.text = ""};
            mr__fault_arm(mr__fault_points[p], nth);
            mr_status status = mr__token_pool_open("faults", "", &pool, &error);
            if (status == MR_OK)
                status = mr__token_acquire(pool, 0, &token, &error);
            const bool fired = mr__fault_fired();
            mr__fault_disarm();
            assert_int_equal(status != MR_OK, fired);
            assert_int_equal(token.fd == -7, fired);
            assert_int_equal(error.text[0] != '\0', fired);
            if (!fired)
                mr__token_release(pool, token);
            mr__token_pool_close(pool);
            if (!fired)
                break;
            failures++;
        }
    }
    assert_true(failures >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_more_tokens_than_the_limit),
        cmocka_unit_test(test_a_new_pool_has_the_preset_limit),
        cmocka_unit_test(test_a_lowered_limit_counts_what_is_out_above_it),
        cmocka_unit_test(test_the_limit_stays_when_everybody_has_gone),
        cmocka_unit_test(test_names_that_cannot_be_a_file_are_refused),
        cmocka_unit_test(test_the_pool_is_that_of_the_place),
        cmocka_unit_test(test_a_job_above_its_share_yields_while_another_waits),
        cmocka_unit_test(test_one_token_goes_in_turns_even_to_those_who_only_try),
        cmocka_unit_test(test_a_job_that_lost_interest_holds_nobody_up_for_long),
        cmocka_unit_test(test_only_so_many_jobs_share_a_device),
        cmocka_unit_test(test_waiting_ends_at_its_time_and_costs_no_processor),
        cmocka_unit_test(test_threads_share_one_pool),
        cmocka_unit_test(test_a_damaged_file_is_built_anew),
        cmocka_unit_test(test_flipped_bytes_break_no_rule),
        cmocka_unit_test(test_tokens_that_are_out_count_in_a_file_built_anew),
        cmocka_unit_test(test_damage_and_removal_under_a_running_job_get_a_sentence),
        cmocka_unit_test(test_a_stopped_process_with_the_mutex_does_not_hold_up_who_only_asks),
        cmocka_unit_test(test_a_folder_that_others_may_use_is_refused),
        cmocka_unit_test(test_another_user_can_not_take_our_tokens),
        cmocka_unit_test(test_another_user_can_not_block_our_tokens),
        cmocka_unit_test(test_tokens_lie_in_the_cache_folder_where_shared_memory_cannot_be_used),
        cmocka_unit_test(test_every_call_may_fail),
    };
    return cmocka_run_group_tests(tests, token_fixture_make, token_fixture_remove);
}
