/* top_k.h: what the app and its kernel for devices share. */
#ifndef TOP_K_H
#define TOP_K_H

struct top_k_params {
    uint64_t k;
    uint32_t split, fold;
};

#endif
