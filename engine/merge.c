/* merge.c: many sorted runs become one stream, through a binary heap of their heads. */
#include "internal.h"

#include "memory.h"

static bool before(const mr__merge *merge, uint32_t a, uint32_t b)
{
    const int compared = mr__order_compare_refs(merge->order, &merge->heads[a], &merge->heads[b]);
    return compared != 0 ? compared < 0 : a < b;
}

static void sift_down(mr__merge *merge, uint32_t at)
{
    const uint32_t moving = merge->heap[at];
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child >= merge->live)
            break;
        if (child + 1 < merge->live && before(merge, merge->heap[child + 1], merge->heap[child]))
            child++;
        if (!before(merge, merge->heap[child], moving))
            break;
        merge->heap[at] = merge->heap[child];
        at = child;
    }
    merge->heap[at] = moving;
}

/* Reads the next head of a cursor; false at its end. */
static mr_status read_head(mr__merge *merge, uint32_t index, bool *more, mr__error *error)
{
    mr_status status = MR_OK;
    mr__ref *head = &merge->heads[index];
    MR_TRY(mr__run_cursor_next(&merge->cursors[index], &head->pair, error));
    *more = head->pair != NULL;
    if (*more) {
        mr__pair pair;
        mr__pair_read(&merge->order->layout, head->pair, &pair);
        head->prefix = mr__order_prefix(merge->order, &pair);
    }
done:
    return status;
}

mr_status mr__merge_open(mr__merge *merge, const mr__order *order, mr__run_cursor *cursors, uint32_t count,
                         mr__error *error)
{
    mr_status status = MR_OK;
    *merge = (mr__merge){.order = order, .cursors = cursors, .count = count};
    merge->heads = mr__alloc_zero(count, sizeof *merge->heads);
    merge->heap = mr__alloc_zero(count, sizeof *merge->heap);
    MR_CHECK(merge->heads != NULL && merge->heap != NULL, MR_NO_MEMORY, "no memory to merge %u runs", count);
    for (uint32_t i = 0; i < count; i++) {
        bool more;
        MR_TRY(read_head(merge, i, &more, error));
        if (more)
            merge->heap[merge->live++] = i;
    }
    for (uint32_t i = merge->live / 2; i-- > 0;)
        sift_down(merge, i);
done:
    return status;
}

void mr__merge_close(mr__merge *merge)
{
    for (uint32_t i = 0; i < merge->count; i++)
        mr__run_cursor_close(&merge->cursors[i]);
    mr__free(merge->heads);
    mr__free(merge->heap);
    *merge = (mr__merge){0};
}

/* The pair given out last stays on top until the next call: its bytes belong to its cursor's window. */
mr_status mr__merge_next(mr__merge *merge, const uint8_t **at, mr__error *error)
{
    mr_status status = MR_OK;
    *at = NULL;
    if (merge->started && merge->live > 0) {
        bool more;
        MR_TRY(read_head(merge, merge->heap[0], &more, error));
        if (!more)
            merge->heap[0] = merge->heap[--merge->live];
        if (merge->live > 0)
            sift_down(merge, 0);
    }
    merge->started = true;
    if (merge->live > 0)
        *at = merge->heads[merge->heap[0]].pair;
done:
    return status;
}
