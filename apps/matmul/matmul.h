/* matmul.h: what the app and its kernel for devices share. */
#ifndef MATMUL_H
#define MATMUL_H

enum { MATMUL_F32, MATMUL_F64 };

struct matmul_params {
    char b[4096];
    uint32_t type, p;               /* p: columns of B, set by plan() */
    uint64_t n;
};

enum { ALIGN = 64, B_OFFSET = (sizeof(struct matmul_params) + ALIGN - 1) / ALIGN * ALIGN };     /* of B in the params */

#endif
