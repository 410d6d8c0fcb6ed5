/* device_channel.h: a device process and the socket to it (device_protocol.h has the messages).
 * Promise   The process is executed, never forked from this one's threads; it ends when the channel is closed, or when
 *           this process dies, whatever its kernels do.
 * Owner     A channel lies in the caller's memory: open and close. Result memory belongs to the channel.
 * Threads   One.
 * Cost      open(): an exec; nothing waits for the process to be ready.
 * Failure   MR_NO_WORKER: the program cannot be run, or somebody ended its process (SIGKILL, SIGXCPU). MR_NO_MEMORY.
 *           MR_DEVICE_LOST: the process is gone for another reason, or does not keep to the protocol. */
#ifndef MR__DEVICE_CHANNEL_H
#define MR__DEVICE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "check.h"
#include "device_protocol.h"

typedef struct mr__device_channel {
    pid_t process;              /* 0: none */
    int socket;
    int memory;                 /* memfd of the slots */
    uint8_t *slots;             /* mapped */
    size_t bytes;
} mr__device_channel;

typedef union mr__device_answer {
    mr__device_message head;
    mr__device_done done;
    mr__device_ready ready;
} mr__device_answer;

/* Starts the process for a device and makes its result memory of `bytes`. */
mr_status mr__device_channel_open(mr__device_channel *channel, const char *device, size_t bytes, mr__error *error);
/* Kills the process if it still runs. Safe on a closed channel. */
void mr__device_channel_close(mr__device_channel *channel);
/* fds: up to two that travel along; -1: none. message->size bytes go out at once or not at all. */
mr_status mr__device_send(mr__device_channel *channel, const mr__device_message *message, int fd, int second_fd,
                          mr__error *error);
/* Does not wait. *got: false when there is no message now. */
mr_status mr__device_receive(mr__device_channel *channel, mr__device_answer *answer, bool *got, mr__error *error);

#endif
