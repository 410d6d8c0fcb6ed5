/* worker_cpu.c: the worker that is its own thread: it holds one task, and runs it when it is polled. */
#include "worker.h"

#include "clock.h"
#include "memory.h"

struct cpu_worker {
    mr__task task;
    bool busy;
};

static mr_status cpu_probe(const mr__topology *topology, uint32_t *count, mr__error *error)
{
    *count = topology->suggested;
    return MR_OK;
}

static mr_status cpu_start(mr__worker *worker, mr__error *error)
{
    mr_status status = MR_OK;
    struct cpu_worker *cpu = mr__alloc_zero(1, sizeof *cpu);
    MR_CHECK(cpu != NULL, MR_NO_MEMORY, "no memory to start CPU worker %u; raise --memory", worker->index);
    worker->state = cpu;
done:
    return status;
}

static enum mr__room cpu_room(mr__worker *worker)
{
    const struct cpu_worker *cpu = worker->state;
    return cpu->busy ? MR__FULL : MR__TAKES;
}

static void cpu_submit(mr__worker *worker, const mr__task *task)
{
    struct cpu_worker *cpu = worker->state;
    cpu->task = *task;
    cpu->busy = true;
}

void mr__task_run(const mr__task *task, mr__worker *worker, mr__done *done)
{
    done->task = *task;
    done->apart = false;
    mr__error_clear(&done->error);
    done->started_ns = mr__now_ns();
    done->status = done->task.run(&done->task, worker, &done->error);
    done->finished_ns = mr__now_ns();
}

static uint32_t cpu_poll(mr__worker *worker, uint64_t timeout_ns, mr__done *done, uint32_t max)
{
    struct cpu_worker *cpu = worker->state;
    if (!cpu->busy || max == 0)
        return 0;
    mr__task_run(&cpu->task, worker, done);
    cpu->busy = false;
    return 1;
}

static void cpu_stop(mr__worker *worker)
{
    mr__free(worker->state);
    worker->state = NULL;
}

const mr__worker_ops mr__worker_cpu_ops = {
    .kind = "cpu",
    .probe = cpu_probe,
    .start = cpu_start,
    .room = cpu_room,
    .submit = cpu_submit,
    .poll = cpu_poll,
    .stop = cpu_stop,
};
