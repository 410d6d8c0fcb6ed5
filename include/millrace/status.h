/* status.h: what a call returns, the exit status of its class, and what the words mean.
 *
 * Every call of the public API returns an mr_status. The sentence that a person needs (what failed, on which file or
 * device, and what to do) is kept by the session: mr_error(session). */
#ifndef MILLRACE_STATUS_H
#define MILLRACE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#error "Millrace runs on POSIX systems"
#endif
#define MR_API __attribute__((visibility("default")))

/* Code, exit status of the `millrace` command, meaning. The classes of exit status: 2 usage, 3 input, 4 resource,
 * 5 device, 6 network, 7 internal, 130 cancelled. */
#define MR_STATUS_MAP(X)                                                                                               \
    X(MR_OK, 0, "success")                                                                                             \
    X(MR_BAD_USAGE, 2, "a command, option, parameter or descriptor is wrong")                                          \
    X(MR_EXISTS, 2, "the output exists already")                                                                       \
    X(MR_BAD_APP, 2, "an app could not be loaded or does not fit this version")                                        \
    X(MR_BAD_INPUT, 3, "an input is missing, unreadable or corrupt")                                                   \
    X(MR_NO_MEMORY, 4, "memory ran out")                                                                               \
    X(MR_NO_SPACE, 4, "a disk is full")                                                                                \
    X(MR_IO_FAILED, 4, "reading or writing failed")                                                                    \
    X(MR_NO_WORKER, 4, "no worker can run the job")                                                                    \
    X(MR_DEVICE_LOST, 5, "a device failed")                                                                            \
    X(MR_NETWORK_FAILED, 6, "a rank or the network failed")                                                            \
    X(MR_INTERNAL, 7, "a rule inside Millrace was broken")                                                             \
    X(MR_APP_FAILED, 7, "a function of the app reported a failure")                                                    \
    X(MR_TIMEOUT, 4, "a deadline passed")                                                                              \
    X(MR_CANCELLED, 130, "the job was cancelled")

typedef enum mr_status {
#define MR__STATUS_CODE(code, exit_status, meaning) code,
    MR_STATUS_MAP(MR__STATUS_CODE)
#undef MR__STATUS_CODE
} mr_status;

/* The name of the code ("MR_BAD_INPUT"), its meaning, and the exit status of a command that ends with it.
 * An unknown code gives "MR_UNKNOWN", "unknown status" and 7. Thread safety: any thread. */
MR_API const char *mr_status_name(mr_status status);
MR_API const char *mr_status_meaning(mr_status status);
MR_API int mr_status_exit(mr_status status);

#ifdef __cplusplus
}
#endif
#endif
