/* test_schedule.c: who takes what, asked of the schedule itself: no job runs. */
#include "cmocka_all.h"

#include "fault.h"
#include "internal.h"

enum { CPU_WORKERS = 2, WORKERS = 3, DEPTH = 2, DEVICE = CPU_WORKERS };

static mr_session session;
static bool added;
static mr_app app = {.input = MR_INPUT_RANGE};
static mr__job_device device;
static mr__partition partition;
static mr__job job = {.partition = &partition, .session = &session, .app = &app, .partitions = 1,
                      .devices = {.item = &device}};
static mr__worker cpu = {.ops = &mr__worker_cpu_ops, .index = 0}, accelerator = {.ops = &mr__worker_device_ops,
                                                                                .index = DEVICE};

/* Two CPU workers of a million units a second, and a device of the same speed that needs so long to take 1000 units
 * in. */
static void begin(uint32_t cores, uint64_t taken_ns)
{
    mr__error error = {.text = ""};
    session.topology.count = cores;
    device = (mr__job_device){.taken_ns = taken_ns, .taken = 1000};
    assert_int_equal(mr__schedule_init(&job.schedule, &job, WORKERS, CPU_WORKERS, DEPTH, &error), MR_OK);
    job.schedule.device_largest = 1000;
    for (uint32_t w = 0; w < WORKERS; w++)
        mr__schedule_expect(&job.schedule, w, 1e6);
    mr__schedule_begin(&job.schedule, 10, 1000);
    assert_int_equal(mr__schedule_add(&job.schedule, 0, 1000000, 0, 1, &added, &error), MR_OK);
}

static enum mr__pull pull(mr__worker *worker)
{
    mr__error error = {.text = ""};
    mr__task task;
    const enum mr__pull pulled = mr__schedule_pull(&job.schedule, worker, 0, &task);
    assert_int_equal(mr__schedule_check(&job.schedule, &error), MR_OK);
    return pulled;
}

static void test_a_device_whose_results_cost_more_than_mapping_gets_nothing(void **state)
{
    static const struct {
        uint32_t cores;
        uint64_t taken_ns;
        enum mr__pull pulled;
    } cases[] = {
        {2, 0, MR__PULLED},             /* nothing taken in yet */
        {2, 900000, MR__PULLED},        /* 0.9 us a unit; a CPU worker needs 1 us */
        {2, 1100000, MR__WAIT},
        {3, 1100000, MR__PULLED},       /* the device's thread has a core of its own */
    };
    for (size_t i = 0; i < MR__COUNT(cases); i++) {
        begin(cases[i].cores, cases[i].taken_ns);
        assert_int_equal(pull(&accelerator), cases[i].pulled);
        assert_int_equal(pull(&cpu), MR__PULLED);
        mr__schedule_fini(&job.schedule);
    }
    begin(2, 1100000);
    const double burden = mr__schedule_burden(&job.schedule, DEVICE);
    assert_true(burden > 1.09 && burden < 1.11);
    mr__schedule_fini(&job.schedule);
}

static void test_a_slow_device_takes_nothing_that_others_would_wait_for(void **state)
{
    begin(2, 0);
    mr__schedule_expect(&job.schedule, DEVICE, 10);     /* the smallest task would take it a second, as all the rest */
    assert_int_equal(pull(&accelerator), MR__WAIT);
    assert_int_equal(pull(&cpu), MR__PULLED);
    mr__schedule_fini(&job.schedule);
}

/* One of many ranks: nothing is left for now, and what the device mapped is flushed for it while it is away. */
static void test_a_device_maps_nothing_while_its_buffers_are_flushed(void **state)
{
    mr__error error = {.text = ""};
    mr__task mapped, flush, more;
    assert_int_equal(mr__schedule_init(&job.schedule, &job, WORKERS, CPU_WORKERS, DEPTH, &error), MR_OK);
    job.schedule.device_largest = 1000;
    mr__schedule_begin(&job.schedule, 10, 1000);
    assert_int_equal(mr__schedule_add(&job.schedule, 0, 10, 0, 1, &added, &error), MR_OK);
    assert_int_equal(mr__schedule_pull(&job.schedule, &accelerator, 0, &mapped), MR__PULLED);
    mr__schedule_done(&job.schedule, &accelerator, &(mr__done){.task = mapped, .started_ns = 1, .finished_ns = 2});
    mr__schedule_run_dry(&job.schedule);
    assert_false(mr__schedule_over(&job.schedule, &accelerator));
    assert_int_equal(mr__schedule_pull(&job.schedule, &cpu, 0, &flush), MR__PULLED);
    assert_int_equal(flush.kind, MR__TASK_FLUSH);
    assert_int_equal(flush.partition, DEVICE);
    assert_int_equal(mr__schedule_add(&job.schedule, 10, 20, 0, 1, &added, &error), MR_OK);    /* of a lost rank */
    assert_int_equal(mr__schedule_pull(&job.schedule, &accelerator, 0, &more), MR__WAIT);
    mr__schedule_done(&job.schedule, &cpu, &(mr__done){.task = flush, .started_ns = 2, .finished_ns = 3});
    assert_int_equal(mr__schedule_pull(&job.schedule, &accelerator, 0, &more), MR__PULLED);
    assert_int_equal(more.kind, MR__TASK_MAP);
    mr__schedule_fini(&job.schedule);
}

static uint64_t units_left(void)
{
    return mr__cover_units(&job.schedule.left);
}

/* Runs the task that was pulled, and notes what it covers. */
static void run_task(mr__worker *worker, const mr__task *task, uint8_t *covered)
{
    const mr__done done = {.task = *task, .status = MR_OK, .started_ns = 1, .finished_ns = 2};
    for (uint64_t i = task->begin; task->kind == MR__TASK_MAP && i < task->end; i++)
        covered[i]++;
    mr__schedule_done(&job.schedule, worker, &done);
}

enum { SHORT = 5000 };

static void test_ranges_may_come_while_others_are_mapped(void **state)
{
    static const struct {
        uint64_t begin, end;
    } ranges[] = {{4000, SHORT}, {0, 1500}, {1500, 1500}, {1501, 4000}};
    uint8_t covered[SHORT] = {0};
    mr__error error = {.text = ""};
    mr__task task;
    assert_int_equal(mr__schedule_init(&job.schedule, &job, 1, 1, 1, &error), MR_OK);
    mr__schedule_begin(&job.schedule, 10, 1000);
    for (size_t i = 0; i < MR__COUNT(ranges); i++) {
        assert_int_equal(mr__schedule_add(&job.schedule, ranges[i].begin, ranges[i].end, 0, 1, &added, &error), MR_OK);
        for (uint32_t tasks = 0; units_left() > (i < 2 ? 300 : 0); tasks++) {
            assert_int_equal(mr__schedule_pull(&job.schedule, &cpu, 0, &task), MR__PULLED);
            assert_int_equal(task.kind, MR__TASK_MAP);
            assert_true(task.end - task.begin <= 1000);
            run_task(&cpu, &task, covered);
            assert_int_equal(mr__schedule_check(&job.schedule, &error), MR_OK);
        }
    }
    /* nothing is left, but the input is open: once it is dry, what the worker has is flushed, and the stage stays */
    mr__schedule_run_dry(&job.schedule);
    assert_false(mr__schedule_is_drained(&job.schedule));
    assert_int_equal(mr__schedule_pull(&job.schedule, &cpu, 0, &task), MR__PULLED);
    assert_int_equal(task.kind, MR__TASK_FLUSH);
    assert_false(mr__schedule_is_drained(&job.schedule));
    run_task(&cpu, &task, covered);
    assert_true(mr__schedule_is_drained(&job.schedule));
    assert_int_equal(job.schedule.stage, MR__STAGE_MAP);
    assert_int_equal(mr__schedule_add(&job.schedule, 1500, 1501, 0, 1, &added, &error), MR_OK);
    assert_true(added);
    assert_false(mr__schedule_is_drained(&job.schedule));
    mr__schedule_close(&job.schedule);
    assert_int_equal(mr__schedule_pull(&job.schedule, &cpu, 0, &task), MR__PULLED);
    assert_int_equal(task.kind, MR__TASK_MAP);
    run_task(&cpu, &task, covered);
    assert_int_equal(mr__schedule_pull(&job.schedule, &cpu, 0, &task), MR__PULLED);
    assert_int_equal(task.kind, MR__TASK_FLUSH);
    run_task(&cpu, &task, covered);
    assert_int_equal(mr__schedule_pull(&job.schedule, &cpu, 0, &task), MR__FINISHED);
    assert_int_equal(job.schedule.stage, MR__STAGE_END);
    for (uint32_t i = 0; i < SHORT; i++)
        assert_int_equal(covered[i], 1);
    mr__schedule_fini(&job.schedule);
}

/* One of many ranks, 700 ms into its job, has nothing more to map: only after 100 ms it merges. */
static void test_a_short_wait_for_other_ranks_is_no_time_to_merge(void **state)
{
    enum { MS = 1000000, SO_FAR = 700, PATIENCE = 100 };
    mr__error error = {.text = ""};
    mr__task task;
    assert_int_equal(mr__schedule_init(&job.schedule, &job, 1, 1, 1, &error), MR_OK);
    mr__schedule_begin(&job.schedule, 10, 1000);
    job.schedule.started_ns[MR__STAGE_MAP] -= (uint64_t)SO_FAR * MS;
    mr__schedule_merge(&job.schedule, 0);
    const uint64_t before = mr__now_ns();
    mr__schedule_run_dry(&job.schedule);
    assert_int_equal(mr__schedule_pull(&job.schedule, &cpu, 0, &task), MR__PULLED);
    assert_int_equal(task.kind, MR__TASK_MERGE);
    assert_true(mr__now_ns() - before >= (uint64_t)PATIENCE * MS);
    mr__schedule_fini(&job.schedule);
}

static void test_devices_take_the_last_rows_and_cpu_workers_the_first(void **state)
{
    static uint8_t covered[1000000];
    uint64_t first = 0, last = 1000000;
    mr__task task;
    begin(3, 0);
    mr__schedule_close(&job.schedule);
    while (units_left() > 0) {
        for (uint32_t w = 0; w < 2 && units_left() > 0; w++) {
            mr__worker *worker = w == 0 ? &cpu : &accelerator;
            if (mr__schedule_pull(&job.schedule, worker, 0, &task) != MR__PULLED)
                continue;
            assert_int_equal(w == 0 ? task.begin : task.end, w == 0 ? first : last);
            first = w == 0 ? task.end : first;
            last = w == 0 ? last : task.begin;
            run_task(worker, &task, covered);
        }
    }
    assert_int_equal(first, last);
    assert_true(first > 300000 && first < 700000);
    for (uint32_t i = 0; i < 1000000; i++)
        assert_int_equal(covered[i], 1);
    mr__schedule_fini(&job.schedule);
}

static void test_what_is_left_is_for_the_same_partitions(void **state)
{
    mr__error error = {.text = ""};
    mr__task task;
    assert_int_equal(mr__schedule_init(&job.schedule, &job, 1, 1, 1, &error), MR_OK);
    mr__schedule_begin(&job.schedule, 10, 1000);
    assert_int_equal(mr__schedule_add(&job.schedule, 0, 10, 0, 8, &added, &error), MR_OK);
    assert_true(added);
    assert_int_equal(mr__schedule_add(&job.schedule, 10, 20, 2, 4, &added, &error), MR_OK);
    assert_false(added);
    assert_int_equal(units_left(), 10);
    assert_int_equal(mr__schedule_pull(&job.schedule, &cpu, 0, &task), MR__PULLED);
    assert_int_equal(task.first, 0);
    assert_int_equal(task.last, 8);
    assert_int_equal(mr__schedule_add(&job.schedule, 10, 20, 2, 4, &added, &error), MR_OK);
    assert_true(added);
    mr__schedule_done(&job.schedule, &cpu, &(mr__done){.task = task, .finished_ns = 1});
    assert_int_equal(mr__schedule_pull(&job.schedule, &cpu, 0, &task), MR__PULLED);
    assert_int_equal(task.first, 2);
    assert_int_equal(task.last, 4);
    mr__schedule_done(&job.schedule, &cpu, &(mr__done){.task = task, .finished_ns = 2});
    mr__schedule_fini(&job.schedule);
}

static void test_without_memory_no_range_is_added(void **state)
{
    mr__error error = {.text = ""};
    assert_int_equal(mr__schedule_init(&job.schedule, &job, 1, 1, 1, &error), MR_OK);
    mr__schedule_begin(&job.schedule, 10, 1000);
    mr__fault_arm(MR__FAULT_ALLOC, 1);
    assert_int_equal(mr__schedule_add(&job.schedule, 0, 10, 0, 1, &added, &error), MR_NO_MEMORY);
    assert_string_not_equal(error.text, "");
    assert_int_equal(units_left(), 0);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(mr__schedule_add(&job.schedule, i * 10, i * 10 + 7, 0, 1, &added, &error), MR_OK);
    assert_int_equal(units_left(), 700);
    assert_int_equal(mr__schedule_check(&job.schedule, &error), MR_OK);
    mr__schedule_fini(&job.schedule);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_device_whose_results_cost_more_than_mapping_gets_nothing),
        cmocka_unit_test(test_a_slow_device_takes_nothing_that_others_would_wait_for),
        cmocka_unit_test(test_a_device_maps_nothing_while_its_buffers_are_flushed),
        cmocka_unit_test(test_ranges_may_come_while_others_are_mapped),
        cmocka_unit_test(test_a_short_wait_for_other_ranks_is_no_time_to_merge),
        cmocka_unit_test(test_devices_take_the_last_rows_and_cpu_workers_the_first),
        cmocka_unit_test(test_what_is_left_is_for_the_same_partitions),
        cmocka_unit_test(test_without_memory_no_range_is_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
