/* inverted_index.h: what the app and its kernel for devices share. */
#ifndef INVERTED_INDEX_H
#define INVERTED_INDEX_H

struct index_params {
    uint32_t split, fold;
};

#endif
