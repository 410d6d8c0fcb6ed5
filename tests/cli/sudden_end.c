/* sudden_end.c: wordcount with functions that end the process in place of returning, once `crowd` threads have come to
 * the same place and `nap` milliseconds have passed. $SUDDEN_END_AT=load: already when it is loaded. With
 * $SUDDEN_END_RANK only on that rank, which prints nothing; the others nap, too. */
#include <millrace/millrace.h>

#include <err.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOWHERE, PLAN, MAP, COMBINE, REDUCE };
enum { EXIT, ERR, QUICK, CHILD };
enum { PATIENCE_S = 10 };

struct sudden_end_params {
    uint64_t crowd, nap, code;
    uint32_t at, by;
};

static const mr_param sudden_end_params[] = {
    MR_PARAM_CHOICE_FIELD(struct sudden_end_params, at, "nowhere", "nowhere|plan|map|combine|reduce", "which function"),
    MR_PARAM_CHOICE_FIELD(struct sudden_end_params, by, "exit", "exit|err|quick|child",
                          "exit(), err(), quick_exit(), or exit() in a process that it forks"),
    MR_PARAM_U64_FIELD(struct sudden_end_params, code, "0", 0, 255, "the status it asks for"),
    MR_PARAM_U64_FIELD(struct sudden_end_params, crowd, "1", 1, 64, "threads that end the process at once"),
    MR_PARAM_U64_FIELD(struct sudden_end_params, nap, "0", 0, 99999, "milliseconds before that"),
};

static void end_here(const struct sudden_end_params *p, uint32_t at)
{
    static _Atomic uint64_t here;
    struct timespec nap = {.tv_sec = (time_t)(p->nap / 1000), .tv_nsec = (long)(p->nap % 1000) * 1000000};
    const char *chosen = getenv("SUDDEN_END_RANK"), *rank = getenv("PMI_RANK");
    if (p->at != at)
        return;
    while (nanosleep(&nap, &nap) != 0 && errno == EINTR)
        continue;
    if (chosen != NULL && rank != NULL && strcmp(chosen, rank) != 0)
        return;
    if (chosen == NULL)
        printf("the app's last words\n");
    atomic_fetch_add(&here, 1);
    for (const time_t begun = time(NULL); atomic_load(&here) < p->crowd && time(NULL) < begun + PATIENCE_S;)
        continue;
    switch (p->by) {
    case EXIT:
        exit((int)p->code);
    case ERR:
        errx((int)p->code, "the library's last words");
    case QUICK:
        quick_exit((int)p->code);
    default:
        break;
    }
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0)
        exit((int)p->code);
    waitpid(child, NULL, 0);
}

__attribute__((constructor)) static void load(void)
{
    const char *when = getenv("SUDDEN_END_AT");
    if (when != NULL && strcmp(when, "load") == 0)
        exit(0);
}

static mr_status sudden_end_plan(mr_plan *plan)
{
    end_here(plan->params, PLAN);
    return MR_OK;
}

static mr_status sudden_end_map(const mr_block *block, mr_emitter *out, const void *params)
{
    static const uint64_t one = 1;
    end_here(params, MAP);
    mr_text_words(block, word)
        mr_emit(out, word.data, word.size, &one);
    return MR_OK;
}

static void sudden_end_combine(void *into, const void *value, const void *params)
{
    uint64_t sum, more;
    end_here(params, COMBINE);
    memcpy(&sum, into, sizeof sum);
    memcpy(&more, value, sizeof more);
    sum += more;
    memcpy(into, &sum, sizeof sum);
}

static mr_status sudden_end_reduce(mr_slice key, mr_values *values, mr_writer *out, const void *params)
{
    uint64_t sum = 0, more;
    end_here(params, REDUCE);
    for (mr_slice value; mr_values_next(values, &value); sum += more)
        memcpy(&more, value.data, sizeof more);
    return mr_writef(out, "%llu", (unsigned long long)sum);
}

MR_APP(sudden_end) {
    .summary = "Count words, if it lives so long",
    .input = MR_INPUT_TEXT, .unit = MR_WORDS,
    .key = MR_BYTES, .value = MR_U64, .combine = MR_COMBINE_USER, .combine_with = sudden_end_combine,
    .params = sudden_end_params, .param_count = 5, .params_size = sizeof(struct sudden_end_params),
    .plan = sudden_end_plan, .map = sudden_end_map, .reduce = sudden_end_reduce,
};
