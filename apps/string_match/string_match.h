/* string_match.h: what the app and its kernel for devices share. */
#ifndef STRING_MATCH_H
#define STRING_MATCH_H

struct match_params {
    char patterns[4096], pattern[1024];
    uint64_t count, compiled;       /* how many patterns; where in the blob the compiled set begins */
};

#endif
