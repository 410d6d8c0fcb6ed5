/* test_team.c: whatever mix of workers a team has, and whoever is lost, every task is done exactly once.
 * Oracle: a counter per task. The source is as small as one can be: a list of task numbers under a mutex. */
#include "cmocka_all.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_worker.h"
#include "fault.h"

enum { TASKS = 500, WORKERS_MAX = 12, BAD_TASK = 123 };

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint32_t waiting[TASKS], waiting_count;     /* a stack: who puts a task back finds it on top */
    uint32_t done_count;
    uint32_t runs[TASKS], lost, failed;
    char failure[sizeof(((mr__error *)0)->text)];
    uint32_t wrong;             /* seen on a worker's thread, where a failed assertion could not end the test */
} board;

static uint32_t begun, ended;                   /* guarded by board.mutex */
static pthread_t begin_thread[WORKERS_MAX];

static mr_status count_run(mr__task *task, mr__worker *worker, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&board.mutex);
    board.runs[task->index]++;
    pthread_mutex_unlock(&board.mutex);
    MR_CHECK(task->partition != BAD_TASK, MR_BAD_INPUT, "task %u is no good", (unsigned)task->index);
done:
    return status;
}

static enum mr__pull board_pull(void *context, mr__worker *worker, uint32_t in_flight, mr__task *task)
{
    enum mr__pull answer = MR__FINISHED;
    pthread_mutex_lock(&board.mutex);
    if (worker->ops == &mr__worker_cpu_ops && in_flight > 0)
        board.wrong++;          /* it would sit on a task that another could run */
    while (board.waiting_count == 0 && board.done_count < TASKS && in_flight == 0)
        pthread_cond_wait(&board.changed, &board.mutex);
    if (board.waiting_count > 0) {
        const uint32_t index = board.waiting[--board.waiting_count];
        *task = (mr__task){.index = index, .partition = index, .run = count_run};
        answer = MR__PULLED;
    } else if (board.done_count < TASKS) {
        answer = MR__WAIT;
    }
    pthread_mutex_unlock(&board.mutex);
    return answer;
}

static void board_done(void *context, mr__worker *worker, const mr__done *done)
{
    pthread_mutex_lock(&board.mutex);
    if (done->status == MR_DEVICE_LOST) {
        board.wrong += done->error.text[0] == '\0';
        board.lost++;
        board.waiting[board.waiting_count++] = (uint32_t)done->task.index;
    } else {
        board.done_count++;
        if (done->status != MR_OK) {
            board.failed++;
            snprintf(board.failure, sizeof board.failure, "%s", done->error.text);
        }
    }
    pthread_cond_broadcast(&board.changed);
    pthread_mutex_unlock(&board.mutex);
}

static bool board_over(void *context, mr__worker *worker)
{
    pthread_mutex_lock(&board.mutex);
    const bool over = board.done_count == TASKS;
    pthread_mutex_unlock(&board.mutex);
    return over;
}

static const mr__task_source source = {.pull = board_pull, .done = board_done, .over = board_over};

static int fill_board(void **state)
{
    memset(&board, 0, sizeof board);
    pthread_mutex_init(&board.mutex, NULL);
    pthread_cond_init(&board.changed, NULL);
    begun = ended = 0;
    for (uint32_t i = 0; i < TASKS; i++)
        board.waiting[board.waiting_count++] = TASKS - 1 - i;
    return 0;
}

/* cpus CPU workers, then one fake per entry of `fakes` */
static uint32_t make_team(mr__worker *workers, const mr__topology *topology, uint32_t cpus, struct fake *fakes,
                          uint32_t fake_count)
{
    for (uint32_t i = 0; i < cpus + fake_count; i++)
        workers[i] = (mr__worker){.ops = i < cpus ? &mr__worker_cpu_ops : &fake_worker_ops, .topology = topology,
                                  .index = i, .core = i, .engine = i < cpus ? NULL : &fakes[i - cpus]};
    return cpus + fake_count;
}

static void assert_each_task_ran_once(void)
{
    for (uint32_t i = 0; i < TASKS; i++)
        assert_int_equal(board.runs[i], 1);
    assert_int_equal(board.done_count, TASKS);
    assert_int_equal(board.wrong, 0);
}

static void test_any_mix_of_workers_runs_each_task_once(void **state)
{
    static const struct {
        const char *name;
        uint32_t cpus, devices, dying;
    } cases[] = {
        {"one CPU", 1, 0, 0},       {"more CPU workers than cores", 12, 0, 0}, {"one device", 0, 1, 0},
        {"CPUs and devices", 4, 3, 0}, {"a device dies", 2, 1, 1},             {"all devices die", 2, 0, 3},
        {"only a device is left", 0, 1, 2},
    };
    mr__topology topology;
    assert_int_equal(mr__topology_read(&topology, NULL), MR_OK);
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr__error error = {.code = MR_OK};
        mr__worker workers[WORKERS_MAX];
        struct fake fakes[WORKERS_MAX] = {{0}};
        for (uint32_t i = 0; i < cases[c].devices + cases[c].dying; i++)
            fakes[i].lost_after = i < cases[c].devices ? FAKE_NEVER : 5 * i;
        fill_board(NULL);
        const uint32_t count = make_team(workers, &topology, cases[c].cpus, fakes, cases[c].devices + cases[c].dying);
        if (mr__team_run(workers, count, &source, NULL, NULL, &error) != MR_OK)
            fail_msg("%s: %s", cases[c].name, error.text);
        assert_each_task_ran_once();
        for (uint32_t i = 0; i < cases[c].devices + cases[c].dying; i++) {
            assert_int_equal(fakes[i].starts, fakes[i].stops);
            assert_int_equal(fakes[i].in_flight, 0);
        }
    }
    mr__topology_fini(&topology);
}

static void test_a_device_keeps_as_many_tasks_in_flight_as_it_takes(void **state)
{
    mr__topology topology;
    mr__worker worker;
    struct fake fake = {.lost_after = FAKE_NEVER};
    assert_int_equal(mr__topology_read(&topology, NULL), MR_OK);
    make_team(&worker, &topology, 0, &fake, 1);
    assert_int_equal(mr__team_run(&worker, 1, &source, NULL, NULL, NULL), MR_OK);
    assert_each_task_ran_once();
    assert_int_equal(fake.most_in_flight, FAKE_SLOTS);
    assert_true(fake.full > 0);
    mr__topology_fini(&topology);
}

static void test_a_worker_that_is_away_holds_no_task_and_comes_back_or_ends(void **state)
{
    mr__topology topology;
    mr__worker workers[2];
    struct fake fakes[2] = {{.lost_after = FAKE_NEVER, .away_after = 7}, {.lost_after = FAKE_NEVER}};
    assert_int_equal(mr__topology_read(&topology, NULL), MR_OK);
    make_team(workers, &topology, 0, fakes, 1);
    assert_int_equal(mr__team_run(workers, 1, &source, NULL, NULL, NULL), MR_OK);
    assert_each_task_ran_once();
    assert_true(fakes[0].full >= FAKE_AWAY - FAKE_SLOTS);
    fill_board(NULL);
    fakes[0] = (struct fake){.lost_after = FAKE_NEVER, .away_after = 1};
    make_team(workers, &topology, 0, fakes, 2);
    assert_int_equal(mr__team_run(workers, 2, &source, NULL, NULL, NULL), MR_OK);
    assert_each_task_ran_once();
    mr__topology_fini(&topology);
}

static void test_tasks_of_a_lost_worker_go_back_and_run_elsewhere(void **state)
{
    mr__topology topology;
    mr__worker workers[2];
    struct fake fakes[2] = {{.lost_after = 10}, {.lost_after = FAKE_NEVER}};
    assert_int_equal(mr__topology_read(&topology, NULL), MR_OK);
    make_team(workers, &topology, 0, fakes, 2);
    assert_int_equal(mr__team_run(workers, 2, &source, NULL, NULL, NULL), MR_OK);
    assert_each_task_ran_once();
    /* a quick team may be done before the first worker has had its ten tasks */
    if (fakes[0].accepted == 10)
        assert_in_range(board.lost, 1, FAKE_SLOTS);
    mr__topology_fini(&topology);
}

static void test_a_team_whose_workers_are_all_lost_fails_and_ends(void **state)
{
    mr__topology topology;
    mr__error error = {.code = MR_OK};
    mr__worker worker;
    struct fake fake = {.lost_after = 10};
    assert_int_equal(mr__topology_read(&topology, NULL), MR_OK);
    make_team(&worker, &topology, 0, &fake, 1);
    assert_int_equal(mr__team_run(&worker, 1, &source, NULL, NULL, &error), MR_DEVICE_LOST);
    assert_non_null(strstr(error.text, "lost"));
    assert_in_range(board.lost, 1, FAKE_SLOTS);
    assert_int_equal(board.done_count + board.waiting_count, TASKS);
    assert_int_equal(fake.stops, 1);
    mr__topology_fini(&topology);
}

static void test_others_go_on_when_a_worker_cannot_start(void **state)
{
    mr__topology topology;
    mr__error error = {.code = MR_OK};
    mr__worker workers[2];
    struct fake fakes[2] = {{.refuses_to_start = true}, {.lost_after = FAKE_NEVER}};
    assert_int_equal(mr__topology_read(&topology, NULL), MR_OK);
    make_team(workers, &topology, 0, fakes, 2);
    assert_int_equal(mr__team_run(workers, 2, &source, NULL, NULL, &error), MR_OK);
    assert_string_equal(error.text, "");
    assert_each_task_ran_once();
    assert_int_equal(fakes[1].accepted, TASKS);
    mr__topology_fini(&topology);
}

static void test_a_team_without_a_worker_that_starts_says_why(void **state)
{
    mr__topology topology;
    mr__error error = {.code = MR_OK};
    mr__worker workers[2];
    struct fake fakes[2] = {{.refuses_to_start = true}, {.refuses_to_start = true}};
    assert_int_equal(mr__topology_read(&topology, NULL), MR_OK);
    make_team(workers, &topology, 0, fakes, 2);
    assert_int_equal(mr__team_run(workers, 2, &source, NULL, NULL, &error), MR_NO_WORKER);
    assert_non_null(strstr(error.text, "switched off"));
    assert_int_equal(board.waiting_count, TASKS);
    mr__error_clear(&error);
    assert_int_equal(mr__team_run(workers, 0, &source, NULL, NULL, &error), MR_NO_WORKER);
    assert_string_not_equal(error.text, "");
    mr__topology_fini(&topology);
}

static mr_status begin_unless_odd(mr__worker *worker, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(worker->index % 2 == 0, MR_NO_MEMORY, "no memory for worker %u", worker->index);
    begin_thread[worker->index] = pthread_self();
    pthread_mutex_lock(&board.mutex);
    begun++;
    pthread_mutex_unlock(&board.mutex);
done:
    return status;
}

static void end_on_the_same_thread(mr__worker *worker)
{
    pthread_mutex_lock(&board.mutex);
    board.wrong += !pthread_equal(begin_thread[worker->index], pthread_self());
    ended++;
    pthread_mutex_unlock(&board.mutex);
}

static void test_begin_and_end_pair_on_the_workers_own_thread(void **state)
{
    mr__topology topology;
    mr__worker workers[5];
    assert_int_equal(mr__topology_read(&topology, NULL), MR_OK);
    make_team(workers, &topology, 5, NULL, 0);
    assert_int_equal(mr__team_run(workers, 5, &source, begin_unless_odd, end_on_the_same_thread, NULL), MR_OK);
    assert_each_task_ran_once();
    assert_int_equal(begun, 3);
    assert_int_equal(ended, 3);
    mr__topology_fini(&topology);
}


static void test_a_failed_task_comes_back_with_status_and_sentence(void **state)
{
    mr__topology topology;
    mr__worker workers[2];
    struct fake fake = {.lost_after = FAKE_NEVER};
    assert_int_equal(mr__topology_read(&topology, NULL), MR_OK);
    make_team(workers, &topology, 1, &fake, 1);
    assert_int_equal(mr__team_run(workers, 2, &source, NULL, NULL, NULL), MR_OK);
    assert_each_task_ran_once();
    assert_int_equal(board.failed, 1);
    assert_string_equal(board.failure, "task 123 is no good");
    mr__topology_fini(&topology);
}

static mr_status note_core(mr__worker *worker, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t cpu = worker->topology->cores[worker->core].cpu;
    MR_CHECK((uint32_t)sched_getcpu() == cpu, MR_INTERNAL, "worker %u runs beside its core", worker->index);
done:
    return status;
}

static void test_workers_are_bound_and_the_caller_gets_its_binding_back(void **state)
{
    mr__topology topology;
    mr__worker workers[WORKERS_MAX];
    mr__error error = {.code = MR_OK};
    cpu_set_t before, after;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(mr__topology_read(&topology, NULL), MR_OK);
    const uint32_t count = make_team(workers, &topology, topology.count < WORKERS_MAX ? topology.count : WORKERS_MAX,
                                     NULL, 0);
    /* one team per worker: a team of which a single worker starts would be a success */
    for (uint32_t i = 0; i < count; i++)
        if (mr__team_run(&workers[i], 1, &source, note_core, NULL, &error) != MR_OK)
            fail_msg("%s", error.text);
    assert_int_equal(mr__team_run(workers, count, &source, NULL, NULL, &error), MR_OK);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    mr__topology_fini(&topology);
}

static mr_status note_share(mr__worker *worker, mr__error *error)
{
    mr_status status = MR_OK;
    const cpu_set_t *expected = worker->engine;
    cpu_set_t now;
    MR_CHECK(sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, expected), MR_INTERNAL,
             "a worker may run on other cores than its rank's");
done:
    return status;
}

static void test_a_worker_without_a_core_stays_in_its_ranks_share(void **state)
{
    cpu_set_t before, expected, after;
    mr__error error = {.code = MR_OK};
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    for (uint32_t ranks = 1; ranks <= 2; ranks++) {
        mr__topology topology;
        assert_int_equal(mr__topology_read(&topology, NULL), MR_OK);
        mr__topology_divide(&topology, 0, ranks);
        mr__worker worker = {.ops = &mr__worker_cpu_ops, .topology = &topology, .core = MR__NO_CORE,
                             .engine = &expected};
        CPU_ZERO(&expected);
        for (uint32_t i = 0; i < topology.count; i++)
            CPU_SET(topology.cores[i].cpu, &expected);
        fill_board(NULL);
        if (mr__team_run(&worker, 1, &source, note_share, NULL, &error) != MR_OK)
            fail_msg("%s", error.text);
        assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
        assert_true(CPU_EQUAL(&before, &after));
        mr__topology_fini(&topology);
    }
}

static void test_running_out_of_memory_costs_workers_but_no_task(void **state)
{
    mr__topology topology;
    assert_int_equal(mr__topology_read(&topology, NULL), MR_OK);
    for (uint32_t nth = 1;; nth++) {
        mr__error error = {.code = MR_OK};
        mr__worker workers[3];
        fill_board(NULL);
        make_team(workers, &topology, 3, NULL, 0);
        mr__fault_arm(MR__FAULT_ALLOC, nth);
        const mr_status status = mr__team_run(workers, 3, &source, NULL, NULL, &error);
        if (status == MR_OK) {
            assert_each_task_ran_once();
        } else {
            assert_int_equal(status, MR_NO_MEMORY);
            assert_string_not_equal(error.text, "");
            assert_int_equal(board.waiting_count, TASKS);
        }
        if (!mr__fault_fired())
            break;
    }
    mr__fault_disarm();
    mr__topology_fini(&topology);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_any_mix_of_workers_runs_each_task_once, fill_board),
        cmocka_unit_test_setup(test_a_device_keeps_as_many_tasks_in_flight_as_it_takes, fill_board),
        cmocka_unit_test_setup(test_a_worker_that_is_away_holds_no_task_and_comes_back_or_ends, fill_board),
        cmocka_unit_test_setup(test_tasks_of_a_lost_worker_go_back_and_run_elsewhere, fill_board),
        cmocka_unit_test_setup(test_a_team_whose_workers_are_all_lost_fails_and_ends, fill_board),
        cmocka_unit_test_setup(test_others_go_on_when_a_worker_cannot_start, fill_board),
        cmocka_unit_test_setup(test_a_team_without_a_worker_that_starts_says_why, fill_board),
        cmocka_unit_test_setup(test_begin_and_end_pair_on_the_workers_own_thread, fill_board),
        cmocka_unit_test_setup(test_a_failed_task_comes_back_with_status_and_sentence, fill_board),
        cmocka_unit_test_setup(test_workers_are_bound_and_the_caller_gets_its_binding_back, fill_board),
        cmocka_unit_test_setup(test_a_worker_without_a_core_stays_in_its_ranks_share, fill_board),
        cmocka_unit_test_setup(test_running_out_of_memory_costs_workers_but_no_task, fill_board),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
