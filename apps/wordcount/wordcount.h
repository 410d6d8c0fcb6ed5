/* wordcount.h: what the app and its kernel for devices share. */
#ifndef WORDCOUNT_H
#define WORDCOUNT_H

struct wordcount_params {
    uint32_t split, fold;
};

#endif
