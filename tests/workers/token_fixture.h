/* token_fixture.h: a folder for tokens of the test's own, and short words for what every test of tokens does. */
#ifndef MR__TOKEN_FIXTURE_H
#define MR__TOKEN_FIXTURE_H

#include "token.h"

/* cmocka set-up and tear-down of a group: MILLRACE_TOKENS and XDG_CACHE_HOME name folders that go with it. */
int token_fixture_make(void **state);
int token_fixture_remove(void **state);
extern char token_folder[64];

mr__token_pool *open_pool(const char *device);      /* it must work */
mr__token acquire(mr__token_pool *pool);            /* it must work, within ten seconds */
/* Only tries. */
mr_status try_acquire(mr__token_pool *pool, mr__token *out);
void assert_rules(mr__token_pool *pool);
mr__device_health health_of(mr__token_pool *pool);
/* The right to probe, after whatever back-off there is; within ten seconds. */
void begin_probe(mr__token_pool *pool);
void sleep_ns(uint64_t ns);

#endif
