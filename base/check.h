/* check.h: one way to fail.
 * Promise   A function that can fail has a `status`, an `error` and one exit label `done`. The first failure wins: it
 *           fills the error's sentence; cleaning up never overwrites it.
 * Threads   An mr__error belongs to one thread at a time. */
#ifndef MR__CHECK_H
#define MR__CHECK_H

#include <stddef.h>

#include <millrace/status.h>

typedef struct mr__error {
    mr_status code;
    char text[1024];        /* "could not open /a/b: permission denied\n  hint: ..." */
} mr__error;

/* Records code and sentence unless the error has one already; returns code. error may be NULL. */
mr_status mr__fail(mr__error *error, mr_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
void mr__error_clear(mr__error *error);

/* What errno means for a job: ENOMEM -> MR_NO_MEMORY, ENOSPC/EDQUOT -> MR_NO_SPACE, EMFILE/ENFILE (no descriptor is
 * left) -> MR_IO_FAILED, else `otherwise`. */
mr_status mr__status_of_errno(int number, mr_status otherwise);
/* "\n  hint: ..." for an errno that a user can do something about, else "". */
const char *mr__errno_hint(int number);

#define MR_CHECK(cond, code, ...)                                                                                      \
    do {                                                                                                               \
        if (__builtin_expect(!(cond), 0)) {                                                                            \
            status = mr__fail(error, (code), __VA_ARGS__);                                                             \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)
#define MR_TRY(call)                                                                                                   \
    do {                                                                                                               \
        if (__builtin_expect((status = (call)) != MR_OK, 0))                                                           \
            goto done;                                                                                                 \
    } while (0)

#define MR__COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
