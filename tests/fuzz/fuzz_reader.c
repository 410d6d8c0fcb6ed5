/* fuzz_reader.c: any file, read through any path in any steps, perhaps cut short on the way.
 *   input: [path and cut u8][window u8][start u8][soft end u8][keep u8 ...16][the file]
 * Holds: windows are in order and without a gap, with readable padding; the walk ends; a walk that ends well showed
 * what the file held; a file that was cut short is an error with a sentence and never a signal. Before that error, what
 * was cut off may read as zeros, and nothing else. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reader.h"

enum { HEAD = 20, KEEPS = 16 };

static mr__namespace *names;
static mr__tier *memory;

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void make_file(const uint8_t *bytes, size_t size)
{
    mr__file file;
    if (names == NULL) {
        check(mr__tier_memory_create(0, &memory, NULL) == MR_OK);
        check(mr__namespace_create(&names, NULL) == MR_OK);
        check(mr__namespace_mount(names, "/memory", memory, NULL) == MR_OK);
    }
    check(memory->ops->create(memory, "file", &file) == 0);
    check(memory->ops->write_at(&file, bytes, size, 0) == 0);
    memory->ops->close(&file);
}

static void cut_file(size_t size)
{
    mr__file file;
    check(memory->ops->open(memory, "file", &file) == 0);
    check(ftruncate(file.fd, (off_t)size) == 0);
    memory->ops->close(&file);
}

static bool equal_or_zero(const mr_slice *window, const uint8_t *bytes)
{
    for (size_t i = 0; i < window->size; i++)
        if (window->data[i] != bytes[i] && window->data[i] != 0)
            return false;
    return true;
}

static mr_status walk(mr__reader *reader, const uint8_t *head, const uint8_t *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t start = head[2] * size / 256, soft_end = start + head[3] * (size - start) / 255;
    const size_t cut_at = head[0] & 4 ? head[0] >> 3 : SIZE_MAX;
    uint64_t position = start, offset;
    size_t keep = 0;
    bool at_end = false, all_equal = true;
    volatile uint8_t padding = 0;
    MR_TRY(mr__reader_start(reader, 0, start, soft_end, error));
    for (size_t step = 0; !at_end; step++) {
        mr_slice window = {0};
        if (step == cut_at)
            cut_file(size / 2);
        MR_TRY(mr__reader_next(reader, keep, &window, &offset, &at_end, error));
        check(offset == position - keep && offset + window.size <= size);
        check(window.size > keep || at_end);
        check(equal_or_zero(&window, bytes + offset));
        all_equal = all_equal && memcmp(window.data, bytes + offset, window.size) == 0;
        check(all_equal || step >= cut_at);
        for (size_t i = 0; i < MR_BLOCK_PADDING; i++)
            padding += window.data[window.size + i];
        position = offset + window.size;
        keep = head[4 + step % KEEPS] * window.size / 255;
    }
    check(position == size);
    MR_TRY(mr__reader_end(reader, error));
    check(all_equal);
done:
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = "/memory/file";
    mr__sources *sources = NULL;
    mr__reader *reader = NULL;
    mr__error error = {.code = MR_OK};
    mr__budget budget;
    if (size < HEAD)
        return 0;
    const uint8_t *bytes = data + HEAD;
    size -= HEAD;
    make_file(bytes, size);
    mr__budget_init(&budget, 64 << 20);
    check(mr__sources_open(names, &path, 1, NULL, &sources, &error) == MR_OK);
    check(mr__reader_create(sources, (mr__read_path)(data[0] % 3), 1 + data[1] * 8u, &budget, &reader, &error) ==
          MR_OK);
    const mr_status status = walk(reader, data, bytes, size, &error);
    check(status == MR_OK || (status == MR_BAD_INPUT && error.text[0] != '\0' && (data[0] & 4)));
    mr__reader_destroy(reader);
    mr__sources_close(sources);
    check(atomic_load(&budget.used) == 0);
    check(memory->ops->remove(memory, "file") == 0);
    return 0;
}
