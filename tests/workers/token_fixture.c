/* token_fixture.c: a folder for tokens of the test's own. */
#include "token_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "cmocka_all.h"

char token_folder[64];

static char cache_folder[64];

int token_fixture_make(void **state)
{
    strcpy(token_folder, "/tmp/millrace-tokens-XXXXXX");
    strcpy(cache_folder, "/tmp/millrace-cache-XXXXXX");
    if (mkdtemp(token_folder) == NULL || mkdtemp(cache_folder) == NULL)
        return -1;
    return setenv("MILLRACE_TOKENS", token_folder, 1) == 0 && setenv("XDG_CACHE_HOME", cache_folder, 1) == 0 ? 0 : -1;
}

int token_fixture_remove(void **state)
{
    char command[160];
    snprintf(command, sizeof command, "rm -r %s %s", token_folder, cache_folder);
    return system(command) == 0 ? 0 : -1;
}

mr__token_pool *open_pool(const char *device)
{
    mr__error error = {.code = MR_OK};
    mr__token_pool *pool = NULL;
    if (mr__token_pool_open(device, "", &pool, &error) != MR_OK)
        fail_msg("%s", error.text);
    return pool;
}

mr__token acquire(mr__token_pool *pool)
{
    mr__error error = {.code = MR_OK};
    mr__token token = {.fd = -1};
    if (mr__token_acquire(pool, 10000000000, &token, &error) != MR_OK)
        fail_msg("%s", error.text);
    return token;
}

mr_status try_acquire(mr__token_pool *pool, mr__token *out)
{
    return mr__token_acquire(pool, 0, out, NULL);
}

void assert_rules(mr__token_pool *pool)
{
    mr__error error = {.code = MR_OK};
    if (mr__token_pool_check(pool, &error) != MR_OK)
        fail_msg("%s", error.text);
}

mr__device_health health_of(mr__token_pool *pool)
{
    mr__error error = {.code = MR_OK};
    mr__device_health health;
    if (mr__device_health_get(pool, &health, &error) != MR_OK)
        fail_msg("%s", error.text);
    return health;
}

void sleep_ns(uint64_t ns)
{
    const struct timespec time = mr__timespec(ns);
    nanosleep(&time, NULL);
}

void begin_probe(mr__token_pool *pool)
{
    const uint64_t deadline = mr__now_ns() + 10000000000;
    uint64_t wait;
    enum mr__probe answer;
    while ((answer = mr__device_probe_begin(pool, &wait)) == MR__PROBE_LATER && mr__now_ns() < deadline)
        sleep_ns(wait);
    assert_int_equal(answer, MR__PROBE_GO);
}
