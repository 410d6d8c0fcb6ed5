/* test_token_processes.c: tokens among processes that come, go and are killed. The children are this program again,
 * executed with a role, so that nothing but the pool's file connects them.
 * Oracle: a page that the test shares with its children, in which each holder writes itself. */
#include "cmocka_all.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "token_fixture.h"
#include "token_shared.h"

enum { LIMIT = 3, CHILDREN = 5, KILLS = 200, CHANNEL = 9, JOBS = 2 };

static const uint64_t second = 1000000000, PATIENCE_NS = 60000000000;

typedef struct page {
    _Atomic int32_t holder[MR__TOKENS_MOST];    /* pid; 0: nobody */
    _Atomic uint32_t out, out_most;             /* only where nobody is killed */
    _Atomic uint32_t taken[JOBS];
    _Atomic uint32_t wrong;                     /* how often a token had two living holders, or a call failed */
    _Atomic bool stop;
} page;

static page *shared;

static void nap(uint64_t ns)
{
    nanosleep(&(const struct timespec){.tv_nsec = (long)ns}, NULL);
}

/* ---- the children ------------------------------------------------------------------------------------------------ */

/* Dead, or a zombie. */
static bool is_dead(int32_t pid)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return true;
    const size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    const char *state = strrchr(text, ')');
    return size == 0 || (state != NULL && (state[2] == 'Z' || state[2] == 'X'));
}

/* A holder that was killed could not take its name away: the kernel gave its token back on the way to its death. */
static void enter(uint32_t number)
{
    const int32_t before = atomic_exchange(&shared->holder[number], getpid());
    const uint64_t deadline = mr__now_ns() + PATIENCE_NS;
    while (before != 0 && !is_dead(before)) {
        if (mr__now_ns() > deadline) {
            atomic_fetch_add(&shared->wrong, 1);
            break;
        }
        nap(100000);
    }
}

static void leave(uint32_t number)
{
    int32_t mine = getpid();
    atomic_compare_exchange_strong(&shared->holder[number], &mine, 0);
}

static void count_out(int32_t by)
{
    const uint32_t now = atomic_fetch_add(&shared->out, (uint32_t)by) + (uint32_t)by;
    uint32_t most = atomic_load(&shared->out_most);
    while (by > 0 && now > most && !atomic_compare_exchange_weak(&shared->out_most, &most, now)) {
    }
}

static int play_worker(const char *device, uint32_t job)
{
    mr__token_pool *pool = NULL;
    mr__error error = {.code = MR_OK};
    if (mr__token_pool_open(device, "", &pool, &error) != MR_OK) {
        fprintf(stderr, "%s\n", error.text);
        atomic_fetch_add(&shared->wrong, 1);
        return 1;
    }
    for (uint32_t i = 0; !atomic_load(&shared->stop); i++) {
        mr__token token;
        const mr_status status = mr__token_acquire(pool, i % 3 == 0 ? 0 : second, &token, NULL);
        if (status == MR_TIMEOUT)
            continue;
        if (status != MR_OK) {
            atomic_fetch_add(&shared->wrong, 1);
            break;
        }
        enter(token.number);
        count_out(1);
        nap(i % 7 * 50000);
        atomic_fetch_add(&shared->taken[job], 1);
        count_out(-1);
        leave(token.number);
        mr__token_release(pool, token);
    }
    mr__token_pool_close(pool);
    return 0;
}

/* Dies with the mutex, having left nonsense behind it. */
static int play_dying_owner(const char *device)
{
    mr__token_pool *pool = NULL;
    if (mr__token_pool_open(device, "", &pool, NULL) != MR_OK || mr__token_lock(pool, NULL) != MR_OK)
        return 1;
    pool->shared->token[0] = (mr__token_record){.lease = 77, .job = 3};
    pool->shared->token[1] = (mr__token_record){.lease = 77, .job = 99};
    pool->shared->job[5] = (mr__token_job){.generation = 1, .ticket = 1, .claim_ns = UINT64_MAX};
    pool->shared->state = MR__STATE_PROBING;
    _exit(0);
}

/* Sends its token over CHANNEL, as the engine does to the device process, and waits for its end. */
static int play_sender(const char *device)
{
    mr__token_pool *pool = NULL;
    mr__token token;
    if (mr__token_pool_open(device, "", &pool, NULL) != MR_OK ||
        mr__token_acquire(pool, PATIENCE_NS, &token, NULL) != MR_OK)
        return 1;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.head), &token.fd, sizeof token.fd);
    struct iovec byte = {.iov_base = "t", .iov_len = 1};
    const struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control,
                                   .msg_controllen = sizeof control};
    if (sendmsg(CHANNEL, &message, 0) != 1)
        return 1;
    pause();
    return 0;
}

static int play(const char *role, const char *device, const char *memory)
{
    const int fd = atoi(memory);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED)
        return 1;
    if (strcmp(role, "dying-owner") == 0)
        return play_dying_owner(device);
    if (strcmp(role, "sender") == 0)
        return play_sender(device);
    return play_worker(device, (uint32_t)atoi(role));
}

/* ---- the parent -------------------------------------------------------------------------------------------------- */

static int memory;

static void reset_page(void)
{
    memset(shared, 0, sizeof *shared);
}

/* channel: -1, or what the child sees as CHANNEL. */
static pid_t start(const char *role, const char *device, int channel)
{
    char number[16];
    snprintf(number, sizeof number, "%d", memory);
    const pid_t pid = fork();
    if (pid == 0) {
        if (channel >= 0)
            dup2(channel, CHANNEL);
        execl("/proc/self/exe", "test_token_processes", role, device, number, (char *)NULL);
        _exit(98);
    }
    assert_true(pid > 0);
    return pid;
}

static int wait_for(pid_t pid)
{
    int how = 0;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    return how;
}

/* How soon it does is the machine's affair. */
static void assert_goes_beyond(_Atomic uint32_t *counter, uint32_t number)
{
    const uint64_t deadline = mr__now_ns() + PATIENCE_NS;
    while (atomic_load(counter) <= number && mr__now_ns() < deadline)
        nap(20000000);
    assert_true(atomic_load(counter) > number);
}

static void assert_all_tokens_are_back(mr__token_pool *pool, uint32_t limit)
{
    mr__token token[MR__TOKENS_MOST], extra;
    for (uint32_t i = 0; i < limit; i++)
        token[i] = acquire(pool);
    assert_int_equal(try_acquire(pool, &extra), MR_TIMEOUT);
    for (uint32_t i = 0; i < limit; i++)
        mr__token_release(pool, token[i]);
    assert_rules(pool);
}

static void test_processes_never_hold_more_than_the_limit(void **state)
{
    pid_t child[CHILDREN];
    reset_page();
    mr__token_pool *pool = open_pool("stress");
    assert_int_equal(mr__token_limit(pool, LIMIT, NULL), MR_OK);
    for (uint32_t c = 0; c < CHILDREN; c++)
        child[c] = start("0", "stress", -1);
    for (uint32_t i = 0; i < 20; i++) {
        nap(50000000);
        assert_rules(pool);
    }
    assert_goes_beyond(&shared->taken[0], 100);
    assert_goes_beyond(&shared->out_most, 1);
    atomic_store(&shared->stop, true);
    for (uint32_t c = 0; c < CHILDREN; c++)
        assert_int_equal(wait_for(child[c]), 0);
    assert_int_equal(atomic_load(&shared->wrong), 0);
    assert_int_equal(atomic_load(&shared->out), 0);
    assert_true(atomic_load(&shared->out_most) <= LIMIT);
    assert_all_tokens_are_back(pool, LIMIT);
    mr__token_pool_close(pool);
}

static void test_killed_holders_give_their_tokens_back(void **state)
{
    pid_t child[CHILDREN];
    uint64_t seed = 7;
    reset_page();
    mr__token_pool *pool = open_pool("kills");
    assert_int_equal(mr__token_limit(pool, LIMIT, NULL), MR_OK);
    for (uint32_t c = 0; c < CHILDREN; c++)
        child[c] = start("0", "kills", -1);
    for (uint32_t k = 0; k < KILLS; k++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        nap((seed >> 40) % 8000000);
        const uint32_t c = (uint32_t)(seed >> 33) % CHILDREN;
        kill(child[c], SIGKILL);
        assert_true(WIFSIGNALED(wait_for(child[c])));
        child[c] = start("0", "kills", -1);
    }
    assert_goes_beyond(&shared->taken[0], atomic_load(&shared->taken[0]));      /* who is left goes on */
    for (uint32_t c = 0; c < CHILDREN; c++) {
        kill(child[c], SIGKILL);
        wait_for(child[c]);
    }
    assert_int_equal(atomic_load(&shared->wrong), 0);
    assert_int_equal(health_of(pool).in_use, 0);
    assert_int_equal(health_of(pool).jobs, 0);
    assert_all_tokens_are_back(pool, LIMIT);
    mr__token_pool_close(pool);
}

static void test_two_jobs_share_one_token_fairly(void **state)
{
    pid_t child[JOBS];
    reset_page();
    mr__token_pool *pool = open_pool("fair");
    assert_int_equal(mr__token_limit(pool, 1, NULL), MR_OK);
    child[0] = start("0", "fair", -1);
    child[1] = start("1", "fair", -1);
    for (uint32_t j = 0; j < JOBS; j++)     /* one starts before the other and is alone for a while */
        assert_goes_beyond(&shared->taken[j], 100);
    atomic_store(&shared->stop, true);
    for (uint32_t j = 0; j < JOBS; j++)
        assert_int_equal(wait_for(child[j]), 0);
    assert_int_equal(atomic_load(&shared->wrong), 0);
    assert_int_equal(atomic_load(&shared->out_most), 1);
    print_message("shares of one token: %u and %u\n", atomic_load(&shared->taken[0]), atomic_load(&shared->taken[1]));
    mr__token_pool_close(pool);
}

static void test_a_dead_owner_of_the_mutex_is_survived(void **state)
{
    mr__token token;
    mr__token_pool *pool = open_pool("owner");
    token = acquire(pool);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(wait_for(start("dying-owner", "owner", -1)), 0);
        assert_rules(pool);
        assert_int_equal(health_of(pool).in_use, 1);
        assert_int_equal(health_of(pool).state, MR__STATE_FAILED);      /* a probe whose prober is dead */
        assert_int_equal(mr__device_restore(pool, NULL), MR_OK);
        mr__token_release(pool, acquire(pool));
    }
    mr__token_release(pool, token);
    assert_all_tokens_are_back(pool, MR__TOKENS_PRESET);
    mr__token_pool_close(pool);
}

static int receive_fd(int channel)
{
    char byte;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec into = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    int fd = -1;
    assert_int_equal(recvmsg(channel, &message, MSG_CMSG_CLOEXEC), 1);
    assert_int_equal(message.msg_controllen, sizeof control);
    memcpy(&fd, CMSG_DATA(&control.head), sizeof fd);
    return fd;
}

static void test_a_token_that_was_sent_outlives_its_sender(void **state)
{
    int channel[2];
    mr__token token;
    mr__token_holder holder;
    mr__token_pool *pool = open_pool("sent");
    assert_int_equal(mr__token_limit(pool, 1, NULL), MR_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel), 0);
    const pid_t child = start("sender", "sent", channel[1]);
    close(channel[1]);          /* should the child end, nobody waits for it */
    const int fd = receive_fd(channel[0]);
    assert_int_equal(mr__token_holders(pool, &holder, 1), 1);
    assert_int_equal(holder.pid, child);
    assert_false(holder.orphan);
    kill(child, SIGKILL);
    wait_for(child);
    assert_int_equal(try_acquire(pool, &token), MR_TIMEOUT);        /* the task may still be in flight */
    assert_int_equal(mr__token_holders(pool, &holder, 1), 1);
    assert_int_equal(holder.pid, child);
    assert_true(holder.orphan);
    assert_rules(pool);
    close(fd);
    mr__token_release(pool, acquire(pool));
    mr__token_pool_close(pool);
    close(channel[0]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_processes_never_hold_more_than_the_limit),
        cmocka_unit_test(test_killed_holders_give_their_tokens_back),
        cmocka_unit_test(test_two_jobs_share_one_token_fairly),
        cmocka_unit_test(test_a_dead_owner_of_the_mutex_is_survived),
        cmocka_unit_test(test_a_token_that_was_sent_outlives_its_sender),
    };
    if (argc == 4)
        return play(argv[1], argv[2], argv[3]);
    memory = memfd_create("token-test", 0);     /* the children inherit it */
    if (memory < 0 || ftruncate(memory, sizeof *shared) != 0)
        return 1;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (shared == MAP_FAILED)
        return 1;
    return cmocka_run_group_tests(tests, token_fixture_make, token_fixture_remove);
}
