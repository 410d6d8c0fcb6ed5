/* device_platforms.c: walks platforms and devices. Counting needs no more than the platforms' names and how many
 * devices each has, so that finding one device asks nothing of the others. */
#include "device_platforms.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PLATFORMS_MAX = 32 };

/* What the platform calls itself, then what its ids are made of. Others: the first word of the name. */
static const struct { const char *name, *word; } words[] = {
    {"Portable Computing Language", "pocl"}, {"Intel", "intel"},   {"NVIDIA", "nvidia"},
    {"AMD", "amd"},                          {"Clover", "clover"}, {"rusticl", "rusticl"},
    {"Oclgrind", "oclgrind"},
};

static void word_of(const char *platform, char *word, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < MR__COUNT(words); i++)
        if (strstr(platform, words[i].name) != NULL) {
            snprintf(word, room, "%s", words[i].word);
            return;
        }
    for (; isalpha((unsigned char)platform[n]) && n + 1 < room; n++)
        word[n] = (char)tolower((unsigned char)platform[n]);
    word[n] = '\0';
    if (n == 0)
        snprintf(word, room, "device");
}

struct counters {
    char word[PLATFORMS_MAX][32];
    uint32_t next[PLATFORMS_MAX], count;
};

static uint32_t take_number(struct counters *counters, const char *word)
{
    uint32_t i = 0;
    while (i < counters->count && strcmp(counters->word[i], word) != 0)
        i++;
    if (i == counters->count) {
        counters->count++;
        snprintf(counters->word[i], sizeof counters->word[i], "%s", word);
        counters->next[i] = 0;
    }
    return counters->next[i]++;
}

static void __attribute__((format(printf, 2, 3))) note(mr__platform_devices *list, const char *format, ...)
{
    va_list arguments;
    if (list == NULL || list->note_count == MR__PLATFORM_NOTES)
        return;
    va_start(arguments, format);
    vsnprintf(list->notes[list->note_count++], sizeof list->notes[0], format, arguments);
    va_end(arguments);
}

/* Calls `visit` for each device with id, platform and handles filled in, until it returns false. */
static mr_status walk(mr__platform_devices *list, bool (*visit)(const mr__cl_device *device, void *context),
                      void *context, mr__error *error)
{
    mr_status status = MR_OK;
    cl_platform_id platforms[PLATFORMS_MAX];
    cl_device_id handles[MR__PLATFORM_DEVICES];
    struct counters counters = {.count = 0};
    uint32_t platform_count = 0;
    MR_TRY(mr__cl_platforms(platforms, PLATFORMS_MAX, &platform_count, error));
    for (uint32_t p = 0; p < platform_count; p++) {
        mr__error trouble = {.text = ""};
        mr__cl_device device = {.platform_handle = platforms[p], .platform_index = p};
        uint32_t count = 0;
        char word[32];
        if (mr__cl_platform_text(platforms[p], CL_PLATFORM_NAME, device.platform, sizeof device.platform, &trouble) !=
                MR_OK ||
            mr__cl_devices(platforms[p], handles, MR__PLATFORM_DEVICES, &count, &trouble) != MR_OK) {
            note(list, "platform %u (%s) skipped: %s", p, device.platform[0] != '\0' ? device.platform : "no name",
                 trouble.text);
            continue;
        }
        if (count == 0)
            note(list, "platform %u (%s) has no devices", p, device.platform);
        word_of(device.platform, word, sizeof word);
        for (uint32_t d = 0; d < count; d++) {
            snprintf(device.id, sizeof device.id, "%s-%u", word, take_number(&counters, word));
            device.handle = handles[d];
            device.device_index = d;
            if (!visit(&device, context))
                goto done;
        }
    }
done:
    return status;
}

static bool add(const mr__cl_device *device, void *context)
{
    mr__platform_devices *list = context;
    mr__error trouble = {.text = ""};
    if (list->count == MR__PLATFORM_DEVICES) {
        note(list, "only the first %d devices are listed", MR__PLATFORM_DEVICES);
        return false;
    }
    mr__cl_device *item = &list->items[list->count];
    *item = *device;
    if (mr__cl_describe(item, &trouble) == MR_OK)
        list->count++;
    else
        note(list, "device %s skipped: %s", device->id, trouble.text);
    return true;
}

mr_status mr__platforms_list(mr__platform_devices *list, mr__error *error)
{
    list->count = list->note_count = 0;
    return walk(list, add, list, error);
}

struct wanted {
    const char *id;
    mr__cl_device *device;
    bool found;
};

static bool match(const mr__cl_device *device, void *context)
{
    struct wanted *wanted = context;
    if (strcmp(device->id, wanted->id) != 0)
        return true;
    *wanted->device = *device;
    wanted->found = true;
    return false;
}

mr_status mr__platforms_find(const char *id, mr__cl_device *device, mr__error *error)
{
    mr_status status = MR_OK;
    struct wanted wanted = {id, device, false};
    MR_TRY(walk(NULL, match, &wanted, error));
    MR_CHECK(wanted.found, MR_NO_WORKER, "there is no device %s\n  hint: `millrace devices` lists them", id);
    MR_TRY(mr__cl_describe(device, error));
done:
    return status;
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void print_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++)
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
            printf("\\u%04x", (unsigned char)*text);
        else
            putchar(*text);
    putchar('"');
}

static void print_field(const char *name, const char *text)
{
    printf("\"%s\": ", name);
    print_text(text);
    printf(", ");
}

static void print_device(const mr__cl_device *device)
{
    printf("    {");
    print_field("id", device->id);
    print_field("name", device->name);
    print_field("platform", device->platform);
    print_field("vendor", device->vendor);
    print_field("version", device->version);
    print_field("driver", device->driver);
    print_field("type", device->type);
    print_field("bus", device->bus);
    printf("\"platform_index\": %u, \"device_index\": %u, \"units\": %u, \"global_bytes\": %" PRIu64
           ", \"local_bytes\": %" PRIu64 ", \"max_alloc_bytes\": %" PRIu64
           ", \"unified\": %s, \"f64\": %s, \"int64_atomics\": %s}",
           device->platform_index, device->device_index, device->units, device->global_bytes, device->local_bytes,
           device->max_alloc_bytes, device->unified ? "true" : "false", device->f64 ? "true" : "false",
           device->int64_atomics ? "true" : "false");
}

void mr__platforms_print(const mr__platform_devices *list)
{
    printf("{\"devices\": [");
    for (uint32_t i = 0; i < list->count; i++) {
        printf(i > 0 ? ",\n" : "\n");
        print_device(&list->items[i]);
    }
    printf("],\n \"notes\": [");
    for (uint32_t i = 0; i < list->note_count; i++) {
        printf(i > 0 ? ", " : "");
        print_text(list->notes[i]);
    }
    printf("]}\n");
}
