/* kmeans.h: what the app and its row kernel share. */
#ifndef KMEANS_H
#define KMEANS_H

enum { KMEANS_DIM_MAX = 64 };

struct kmeans_params {
    uint64_t k, rounds, dim;
    float centre[1];        /* k * dim of them: plan() makes room, round() moves them */
};

#endif
