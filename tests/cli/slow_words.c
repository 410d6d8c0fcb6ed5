/* slow_words.c: wordcount that naps at each block, so that a test can meet it in the middle of its work. If there is a
 * directory $SLOW_WORDS_MARKS, the file PID in there grows by a byte with each block; and while there is a file `hold`
 * with a number N in there, no process goes beyond the beginning of its Nth block. */
#include <millrace/millrace.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct slow_words_params {
    uint64_t nap;
};

static const mr_param slow_words_params[] = {
    MR_PARAM_U64_FIELD(struct slow_words_params, nap, "20", 0, 99999, "milliseconds at each block"),
};

enum { LOOK_NS = 10000000 };

static _Atomic uint32_t blocks;         /* begun by this process */

static bool is_held(uint32_t number)
{
    char path[4096];
    uint32_t most = 0;
    const char *folder = getenv("SLOW_WORDS_MARKS");
    snprintf(path, sizeof path, "%s/hold", folder != NULL ? folder : "");
    FILE *file = folder != NULL ? fopen(path, "re") : NULL;
    const bool held = file != NULL && (fscanf(file, "%u", &most) != 1 || number >= most);
    if (file != NULL)
        fclose(file);
    return held;
}

static void leave_mark(void)
{
    char path[4096];
    const char *folder = getenv("SLOW_WORDS_MARKS");
    snprintf(path, sizeof path, "%s/%d", folder != NULL ? folder : "", (int)getpid());
    const int file = folder != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (file < 0)
        return;
    if (write(file, ".", 1) != 1)
        fprintf(stderr, "slow_words: no mark in %s\n", path);
    close(file);
}

static mr_status slow_words_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const struct slow_words_params *p = params;
    struct timespec nap = {.tv_sec = (time_t)(p->nap / 1000), .tv_nsec = (long)(p->nap % 1000) * 1000000};
    const uint32_t number = atomic_fetch_add(&blocks, 1) + 1;
    leave_mark();
    while (is_held(number))
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    while (nanosleep(&nap, &nap) != 0 && errno == EINTR)
        continue;
    mr_text_words(block, word)
        mr_emit(out, word.data, word.size, NULL);
    return MR_OK;
}

MR_APP(slow_words) {
    .summary = "Count words, slowly",
    .input = MR_INPUT_TEXT, .unit = MR_WORDS,
    .key = MR_BYTES, .value = MR_U64, .combine = MR_COUNT,
    .params = slow_words_params, .param_count = 1, .params_size = sizeof(struct slow_words_params),
    .map = slow_words_map,
};
