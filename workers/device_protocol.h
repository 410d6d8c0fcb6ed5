/* device_protocol.h: what the engine's end of a device worker (worker_device.c) and the device process
 * (millrace-device) say to each other.
 *
 *   engine --JOB (job blob, result memory as file descriptors)--> device  compiles, chooses lanes, probes itself
 *          <------------------------------------------- READY --
 *          --TASK id, slot, segments (+ its token)------------->          reads the segments, copies, runs, copies back
 *          <------------------------------------ DONE id, slot --          the result lies in the slot
 *          --ROUND (the params in the blob have changed)------->          between tasks only: none is in flight
 *          --PROBE--------------------------------------------->          the known-answer kernels
 *          <------------------------------------------ PROBED --
 *
 * The channel is a Unix socket of whole messages (SOCK_SEQPACKET), file descriptor MR__DEVICE_SOCKET in the device
 * process. When it closes, the process ends at once, whatever its kernels do: a thread of its own waits for that. Every
 * message begins with mr__device_message; a size that does not fit its kind is a protocol error and ends the process.
 *
 * Job blob: a memfd of mr__device_job and what its offsets name. Result memory: a memfd of `slots` slots of
 * `slot_bytes` each, or of fewer where the user gave this device less to do at once than another one; a slot belongs to
 * the device from TASK to DONE, else to the engine. Behind the slots lie MR__DEVICE_SLOTS readings, which the
 * device writes.
 *
 * What a slot holds after DONE, by form:
 *   ROWS      `blocks` dense tables, dense_keys * width values of 8 bytes each, in the order of the task's blocks
 *   TEXT      pairs: mr__device_pair, then the key (and `suffix_size` bytes of suffix), padded to 8; or, with dense
 *             keys, one dense table of u64
 *   RECORDS   rows * value_size bytes: the value of each row; the key is the row's number in the dataset */
#ifndef MR__DEVICE_PROTOCOL_H
#define MR__DEVICE_PROTOCOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MR__DEVICE_VERSION = 2,
    MR__DEVICE_SOCKET = 3,          /* the socket's number in the device process */
    MR__DEVICE_SLOTS = 8,           /* at most */
    MR__DEVICE_SEGMENTS = 1024,     /* of one task, at most */
    MR__DEVICE_TEXT = 1024          /* of a sentence; a compiler's log is cut to it, file and line first */
};

enum mr__device_form { MR__DEVICE_ROWS, MR__DEVICE_TEXTS, MR__DEVICE_RECORDS };
enum mr__device_buffer { MR__DEVICE_AUTO, MR__DEVICE_ARRAY, MR__DEVICE_COMBINE, MR__DEVICE_DENSE };

/* A range of the job blob. */
typedef struct mr__device_range {
    uint64_t at, size;
} mr__device_range;

typedef struct mr__device_column {
    uint32_t type, offset;          /* mr_column_type; bytes in the record */
} mr__device_column;

typedef struct mr__device_job {
    uint32_t version;               /* MR__DEVICE_VERSION */
    uint32_t form, buffer;
    uint32_t slots;                 /* tasks in flight at most: the depth of the pipeline */
    uint64_t slot_bytes;
    uint32_t lanes, group;          /* 0: measure what suits this device, and keep it in the cache */
    uint32_t zero_copy;             /* 0: copy even where the device shares the host's memory */
    uint32_t record_size, column_count;
    uint32_t unit;                  /* TEXT: mr_unit */
    uint32_t suffix_size;           /* TEXT: 0, or 4: the source's number, big-endian, goes behind each key */
    uint32_t value_size;            /* RECORDS */
    uint32_t width, dense_f64;
    uint64_t dense_keys;            /* 0: none */
    uint64_t block_rows;            /* ROWS, RECORDS: every block of a task but a file's last has so many rows */
    uint64_t largest_segment;       /* bytes; transfer buffers are made for it */
    mr__device_range name;          /* of the app, for sentences and the cache; not terminated */
    mr__device_range kernel;        /* the app's OpenCL C */
    mr__device_range params;
    mr__device_range columns;       /* mr__device_column[column_count] */
    mr__device_range files;         /* mr__device_range[], each the path of a file, terminated by a NUL */
    mr__device_range cache;         /* path of the cache directory, terminated; size 0: keep nothing */
} mr__device_job;

/* A run of bytes of one file. ROWS and RECORDS: whole blocks. TEXT: the records that start in it, read to their ends,
 * as map.c says; at the beginning of a file (offset 0) a record starts. */
typedef struct mr__device_segment {
    uint32_t file;
    uint32_t blocks;                /* ROWS, RECORDS */
    uint64_t offset, size;
    uint64_t first_row;             /* in the dataset; also for index ranges, which have no file (file = UINT32_MAX) */
    uint64_t rows;
} mr__device_segment;

enum mr__device_kind {
    MR__DEVICE_JOB = 1, MR__DEVICE_ROUND, MR__DEVICE_TASK, MR__DEVICE_PROBE,            /* to the device */
    MR__DEVICE_READY, MR__DEVICE_DONE, MR__DEVICE_PROBED, MR__DEVICE_FAILED             /* from it */
};

typedef struct mr__device_message {
    uint32_t kind, size;            /* of the whole message, this header included */
} mr__device_message;

typedef struct mr__device_task {    /* TASK: this, then the segments; the token's file descriptor may travel with it */
    mr__device_message head;
    uint64_t id;
    uint32_t slot, segments;
} mr__device_task;

enum mr__device_outcome {
    MR__DEVICE_OK,
    MR__DEVICE_UNFIT,               /* this task is not for a device (a word longer than its buffer, a bound exceeded
                                     * for good): a CPU runs it; the device is well */
    MR__DEVICE_BAD_DATA,            /* reading failed, or a key was out of range: a CPU runs it and says so properly */
    MR__DEVICE_BROKEN               /* an OpenCL call failed, or the result is not possible: the device is not well */
};

typedef struct mr__device_done {    /* DONE */
    mr__device_message head;
    uint64_t id;
    uint32_t slot, outcome;
    uint64_t bytes;                 /* of the slot that are the result */
    uint64_t pairs, rows;           /* pairs before combining; rows mapped */
    uint64_t read_ns[2], copy_ns[2], run_ns[2], back_ns[2];     /* begin and end of each step, CLOCK_MONOTONIC;
                                     * 0 0: none */
    uint32_t again;                 /* how often blocks ran again with a larger buffer, or a smaller block */
    uint32_t buffer;                /* mr__device_buffer: what was used */
    char text[MR__DEVICE_TEXT];     /* unless OK: why; "" else */
} mr__device_done;

typedef struct mr__device_ready {   /* READY, PROBED, FAILED */
    mr__device_message head;
    uint32_t bad_kernel;            /* FAILED: 1: the app's kernel does not compile (text: the compiler's log) */
    uint32_t starved;               /* FAILED: 1: there is no memory, or the device is not to be seen from this process:
                                     * others may do well with it */
    uint32_t lanes, group;          /* chosen */
    uint32_t cached;                /* 1: the program came from the cache */
    uint32_t zero_copy;             /* 1: the device reads the files' pages themselves */
    uint64_t build_ns;
    char text[MR__DEVICE_TEXT];     /* FAILED: why */
} mr__device_ready;

typedef struct mr__device_pair {
    uint32_t size;                  /* of the key, suffix included */
    uint32_t reserved;
    uint64_t value;                 /* combined already: a count to add, ... */
} mr__device_pair;

/* When the task of a slot last began to wait for a file (odd) or had waited (even), CLOCK_MONOTONIC; 0: never. That is
 * not the device's time: the watchdog wants to know. */
typedef _Atomic uint64_t mr__device_reading;

enum { MR__DEVICE_READING_BYTES = MR__DEVICE_SLOTS * sizeof(mr__device_reading) };

/* results: the whole result memory, of `bytes`. */
static inline mr__device_reading *mr__device_readings(uint8_t *results, size_t bytes)
{
    return (mr__device_reading *)(results + bytes - MR__DEVICE_READING_BYTES);
}

/* Of a pair with a key of `key` bytes. */
static inline uint64_t mr__device_pair_bytes(uint64_t key)
{
    return sizeof(mr__device_pair) + (key + 7) / 8 * 8;
}

#endif
