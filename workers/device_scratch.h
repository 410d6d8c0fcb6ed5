/* device_scratch.h: where the driver may put its files: a directory of this process.
 * Promise   Several processes in one pocl cache can fail a build, so each gets its own. It goes when the process ends,
 *           or, if that was killed, when the next one starts on this host; other hosts leave it alone.
 * Threads   open before the first OpenCL call, as it sets the environment; close from any thread, and when it returns
 *           the directory is gone. */
#ifndef MR__DEVICE_SCRATCH_H
#define MR__DEVICE_SCRATCH_H

/* parent: a directory that exists, or NULL for the system's temporary one. */
void mr__device_scratch_open(const char *parent);
void mr__device_scratch_close(void);

#endif
