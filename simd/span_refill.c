/* span_refill.c: the library's end of mr_spans: one batch of words or lines a call.
 *
 *   block  [ dealt with | window ............................ | rest ]
 *                       ^ base: spans of this batch count from here, in 32 bits
 *
 * A kernel sees at most one window of 4 GiB - 64. A span that touches a window's end goes on in the rest, so it is left
 * for the next batch; only one that fills a window by itself is cut (no key can be that long: emitting it fails). */
#include "kernels.h"

static const size_t largest_window = UINT32_MAX - 63;

bool mr__spans_refill(mr_spans *spans)
{
    const mr__kernels *kernels = mr__kernels_current();
    spans->next = spans->count = 0;
    while (spans->cursor < spans->end) {
        const size_t left = (size_t)(spans->end - spans->cursor);
        const size_t window = left < largest_window ? left : largest_window;
        size_t consumed = 0;
        size_t count = kernels->spans(spans->cursor, window, spans->mode, spans->start, spans->stop, MR__SPAN_BATCH,
                                      &consumed);
        if (window < left && consumed == window && count > 0 && spans->stop[count - 1] == window &&
            spans->start[count - 1] > 0)
            consumed = spans->start[--count];
        spans->base = spans->cursor;
        spans->cursor += consumed;
        spans->count = (uint32_t)count;
        if (count > 0)
            return true;
    }
    return false;
}
