/* job_fixture.h: small apps and inputs for tests of whole jobs, linked against the layers themselves (so that fault
 * points can be armed in the same process). */
#ifndef MR__JOB_FIXTURE_H
#define MR__JOB_FIXTURE_H

#include <millrace/millrace.h>

extern const mr_app_handle mr_app_fixture_count;    /* words, counted */
extern const mr_app_handle mr_app_fixture_group;    /* word -> lengths of the lines it is in, by reduce */
extern const mr_app_handle mr_app_fixture_order;    /* 16-byte records in total order */
extern const mr_app_handle mr_app_fixture_mean;     /* f32 rows: f64 sums by a C map over columns, dense */

/* The test program's own folder, below $TMPDIR (or /tmp). tear_down fails if something was left in it. */
extern const char *fixture_folder;
int fixture_set_up(void **state);
int fixture_tear_down(void **state);

/* A session that keeps no records and spills into fixture_folder. extra_memory: bytes beyond the least that so many
 * workers need; 0: no limit to speak of. It succeeds, or the test fails; so does run. */
mr_session *fixture_session(uint32_t workers, uint64_t extra_memory);
mr_result *fixture_run(mr_session *session, const mr_job *job);
uint64_t fixture_u64(mr_slice slice);
/* What parts first .. first + count - 1 of an output hold, NUL-terminated; free() it. */
char *fixture_parts(const char *output, uint32_t first, uint32_t count, size_t *size);

/* A folder with everything in it. */
void fixture_remove(const char *folder);
/* Writes `words` random words (of `distinct` different ones) as lines of ten; returns the path. counts: [distinct], how
 * often word "w<i>x..." occurs. */
const char *fixture_words(const char *folder, const char *name, uint32_t words, uint32_t distinct, uint32_t seed,
                          uint64_t *counts);
/* The word with number i; at most 40 bytes. */
uint32_t fixture_word(uint32_t number, char *text);
/* How many entries a folder has, hidden ones too; -1 if it is not there. */
int fixture_entries(const char *folder);
/* Fails the test with what lies there. */
void fixture_assert_empty(const char *folder);

#endif
