/* merge.c: many sorted runs become one stream, through a tree of losers.
 *
 *            losers[0] = 2             the winner of all
 *            losers[1] = 0             each node keeps who lost there (cursors 0..3 are the leaves 4..7)
 *     losers[2] = 1  losers[3] = 3
 *       0      1       2      3
 *
 * The next head of the winner plays only against those who lost on its way up: one comparison a level, where a heap
 * needs two (D. Knuth, "The Art of Computer Programming" 3, 5.4.1). Heads keep 24 bytes of what orders them, short keys
 * and the beginnings of their values among them, so a comparison rarely looks at the pairs. */
#include "internal.h"

#include "memory.h"

#define NOBODY UINT32_MAX

/* Of heads that begin alike. */
static bool before(const mr__merge *merge, uint32_t a, uint32_t b)
{
    const mr__merge_head *left = &merge->heads[a], *right = &merge->heads[b];
    mr__pair one, other;
    if (left->pair == NULL || right->pair == NULL)
        return left->pair != NULL;
    if (left->key_size == right->key_size && left->third != right->third)
        return left->third < right->third;
    mr__pair_read(&merge->order->layout, left->pair, &one);
    mr__pair_read(&merge->order->layout, right->pair, &other);
    return mr__order_compare(merge->order, &one, &other, true) < 0;
}

static mr_status read_head(mr__merge *merge, uint32_t index, mr__error *error)
{
    mr_status status = MR_OK;
    mr__merge_head *head = &merge->heads[index];
    MR_TRY(mr__run_cursor_next(&merge->cursors[index], &head->pair, error));
    head->first = ~(unsigned __int128)0;
    if (head->pair != NULL) {
        mr__pair pair;
        mr__pair_read(&merge->order->layout, head->pair, &pair);
        head->first = (unsigned __int128)mr__order_prefix(merge->order, &pair) << 64 |
                      mr__order_second(merge->order, &pair);
        head->third = mr__order_third(merge->order, &pair);
        head->key_size = pair.key_size;
    }
done:
    return status;
}

/* Cursor `index` plays its way up. While the tree is built, the first to come to a node waits there. */
static void play(mr__merge *merge, uint32_t index)
{
    for (uint32_t node = (index + merge->count) / 2; node > 0; node /= 2) {
        const uint32_t other = merge->losers[node];
        if (other == NOBODY) {
            merge->losers[node] = index;
            return;
        }
        const unsigned __int128 theirs = merge->heads[other].first, ours = merge->heads[index].first;
        const bool lost = theirs != ours ? theirs < ours : before(merge, other, index);
        merge->losers[node] = lost ? index : other;
        index = lost ? other : index;
    }
    merge->losers[0] = index;
}

mr_status mr__merge_open(mr__merge *merge, const mr__order *order, mr__run_cursor *cursors, uint32_t count,
                         mr__error *error)
{
    mr_status status = MR_OK;
    *merge = (mr__merge){.order = order, .cursors = cursors, .count = count};
    merge->heads = mr__alloc_zero(count, sizeof *merge->heads);
    merge->losers = mr__alloc_zero(count, sizeof *merge->losers);
    MR_CHECK(merge->heads != NULL && merge->losers != NULL, MR_NO_MEMORY, "no memory to merge %u runs", count);
    for (uint32_t i = 0; i < count; i++)
        merge->losers[i] = NOBODY;
    for (uint32_t i = 0; i < count; i++) {
        MR_TRY(read_head(merge, i, error));
        play(merge, i);
    }
done:
    return status;
}

void mr__merge_close(mr__merge *merge)
{
    for (uint32_t i = 0; i < merge->count; i++)
        mr__run_cursor_close(&merge->cursors[i]);
    mr__free(merge->heads);
    mr__free(merge->losers);
    *merge = (mr__merge){0};
}

/* The pair given out last stays the winner until the next call: its bytes belong to its cursor's window. */
mr_status mr__merge_next(mr__merge *merge, const uint8_t **at, mr__error *error)
{
    mr_status status = MR_OK;
    *at = NULL;
    if (merge->count == 0)
        return MR_OK;
    if (merge->started && merge->heads[merge->losers[0]].pair != NULL) {
        MR_TRY(read_head(merge, merge->losers[0], error));
        play(merge, merge->losers[0]);
    }
    merge->started = true;
    *at = merge->heads[merge->losers[0]].pair;
done:
    return status;
}
