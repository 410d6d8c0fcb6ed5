/* namespace.c: a short list of mounts; the longest prefix that ends at a path component wins. */
#include "namespace.h"

#include <errno.h>
#include <string.h>

#include "memory.h"

typedef struct mount {
    char *prefix;
    size_t length;
    mr__tier *tier;
} mount;

enum { MOUNTS_MAX = 16 };

struct mr__namespace {
    uint32_t count;
    mount mounts[MOUNTS_MAX];
};

const mr__namespace *mr__namespace_plain(void)
{
    static const mr__namespace plain;
    return &plain;
}

mr_status mr__namespace_create(mr__namespace **names, mr__error *error)
{
    mr_status status = MR_OK;
    mr__namespace *made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for a namespace");
    *names = made;
done:
    return status;
}

void mr__namespace_destroy(mr__namespace *names)
{
    if (names == NULL)
        return;
    for (uint32_t i = 0; i < names->count; i++)
        mr__free(names->mounts[i].prefix);
    mr__free(names);
}

mr_status mr__namespace_mount(mr__namespace *names, const char *prefix, mr__tier *tier, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t length = strlen(prefix);
    MR_CHECK(length > 1 && prefix[0] == '/' && prefix[length - 1] != '/', MR_BAD_USAGE,
             "could not mount tier %s at %s: a mount's name looks like /name", tier->name, prefix);
    for (uint32_t i = 0; i < names->count; i++)
        MR_CHECK(strcmp(names->mounts[i].prefix, prefix) != 0, MR_BAD_USAGE,
                 "could not mount tier %s at %s: tier %s is mounted there", tier->name, prefix,
                 names->mounts[i].tier->name);
    MR_CHECK(names->count < MOUNTS_MAX, MR_BAD_USAGE, "could not mount tier %s at %s: there are %d mounts already",
             tier->name, prefix, MOUNTS_MAX);
    char *copy = mr__strdup(prefix);
    MR_CHECK(copy != NULL, MR_NO_MEMORY, "no memory to mount tier %s at %s", tier->name, prefix);
    names->mounts[names->count++] = (mount){.prefix = copy, .length = length, .tier = tier};
done:
    return status;
}

mr__tier *mr__namespace_resolve(const mr__namespace *names, const char *path, const char **inside)
{
    const mount *best = NULL;
    for (uint32_t i = 0; i < names->count; i++) {
        const mount *one = &names->mounts[i];
        const bool matches = strncmp(path, one->prefix, one->length) == 0 &&
                             (path[one->length] == '/' || path[one->length] == '\0');
        if (matches && (best == NULL || one->length > best->length))
            best = one;
    }
    if (best == NULL) {
        *inside = path;
        return mr__tier_global();
    }
    *inside = path + best->length;
    *inside += strspn(*inside, "/");
    return best->tier;
}

mr_status mr__namespace_open(const mr__namespace *names, const char *path, mr__file *file, uint64_t *size,
                             mr__error *error)
{
    mr_status status = MR_OK;
    const char *inside;
    mr__tier *tier = mr__namespace_resolve(names, path, &inside);
    mr__entry entry;
    *file = (mr__file){.fd = -1};
    int result = tier->ops->stat(tier, inside, &entry);
    /* before it is opened: that would wait for who writes a pipe */
    MR_CHECK(result != 0 || entry.kind == MR__FILE, MR_BAD_INPUT, "could not read %s: it is not a file", path);
    if (result == 0)
        result = tier->ops->open(tier, inside, file);
    MR_CHECK(result == 0, mr__status_of_errno(-result, MR_BAD_INPUT), "could not open %s: %s%s", path,
             strerror(-result), mr__errno_hint(result));
    *size = entry.size;
done:
    if (status != MR_OK && file->tier != NULL)
        tier->ops->close(file);
    return status;
}

mr_status mr__namespace_load(const mr__namespace *names, const char *path, mr_slice *content, mr__error *error)
{
    enum { STEP = 64 << 10 };
    mr_status status = MR_OK;
    mr__file file = {.fd = -1};
    uint8_t *bytes = NULL;
    size_t size = 0, capacity = 0;
    uint64_t expected;
    MR_TRY(mr__namespace_open(names, path, &file, &expected, error));
    for (ssize_t got = 1; got != 0; size += (size_t)got) {
        if (capacity - size <= MR_BLOCK_PADDING) {
            capacity = capacity == 0 ? expected + STEP : capacity * 2;
            uint8_t *grown = mr__realloc(bytes, capacity);
            MR_CHECK(grown != NULL, MR_NO_MEMORY, "no memory for the %zu bytes of %s", capacity, path);
            bytes = grown;
            mr__advise_huge(bytes, capacity);
        }
        got = file.tier->ops->read_at(&file, bytes + size, capacity - size, size);
        MR_CHECK(got >= 0, mr__status_of_errno((int)-got, MR_BAD_INPUT), "could not read %s at offset %zu: %s", path,
                 size, strerror((int)-got));
    }
    *content = (mr_slice){.data = bytes, .size = size};
    bytes = NULL;
done:
    if (file.tier != NULL)
        file.tier->ops->close(&file);
    mr__free(bytes);
    return status;
}
