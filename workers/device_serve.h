/* device_serve.h: what the modes of millrace-device do, and the protocol's device end.
 * Promise   The process ends within a moment after its engine did, whatever its kernels do. Every task gets its DONE,
 *           unless the process dies.
 * Failure   An exit status: 0 (the engine closed the channel), 2 usage, 5 device, 7 protocol. */
#ifndef MR__DEVICE_SERVE_H
#define MR__DEVICE_SERVE_H

int mr__device_serve(const char *id);

#endif
