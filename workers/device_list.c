/* device_list.c: the list of devices as JSON, from millrace-device or from the cache. Drivers write these texts, so
 * nothing in them is believed: ids become names of files, names go to a terminal. */
#include <jansson.h>
#include <string.h>

#include "device_find.h"
#include "device_list.h"
#include "memory.h"

static const char *const type_names[] = {"cpu", "gpu", "accelerator"};

const char *mr__device_type_name(enum mr__device_type type)
{
    return (uint32_t)type < MR__COUNT(type_names) ? type_names[type] : "unknown";
}

void mr__device_list_free(mr__device_list *list)
{
    mr__free(list->device);
    *list = (mr__device_list){.count = 0};
}

const mr__device_info *mr__device_by_id(const mr__device_list *list, const char *id)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (strcmp(list->device[i].id, id) == 0)
            return &list->device[i];
    }
    return NULL;
}

void mr__device_list_note(mr__device_list *list, const char *text)
{
    const size_t used = strlen(list->note), room = sizeof list->note - used;
    const size_t size = strlen(text);
    if (size + 2 > room)
        return;
    if (used > 0)
        list->note[used] = '\n';
    char *to = list->note + used + (used > 0);
    for (size_t i = 0; i <= size; i++)
        to[i] = ((unsigned char)text[i] < ' ' && text[i] != '\0') || text[i] == 0x7f ? ' ' : text[i];
}

/* ---- fields ------------------------------------------------------------------------------------------------------ */

/* A text for people: cut to the room at the beginning of a character, without control characters. */
static bool copy_text(const json_t *object, const char *key, char *to, size_t room)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (text == NULL)
        return false;
    size_t size = strnlen(text, room);
    if (size == room) {
        size--;
        while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80)
            size--;
    }
    for (size_t i = 0; i < size; i++)
        to[i] = ((unsigned char)text[i] < ' ' || text[i] == 0x7f) ? ' ' : text[i];
    to[size] = '\0';
    return true;
}

static bool copy_count(const json_t *object, const char *key, uint64_t most, uint64_t *to)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) > most)
        return false;
    *to = (uint64_t)json_integer_value(value);
    return true;
}

static bool copy_bool(const json_t *object, const char *key, bool *to)
{
    const json_t *value = json_object_get(object, key);
    *to = json_is_true(value);
    return json_is_boolean(value);
}

static bool copy_type(const json_t *object, enum mr__device_type *to)
{
    const char *name = json_string_value(json_object_get(object, "type"));
    for (uint32_t i = 0; name != NULL && i < MR__COUNT(type_names); i++) {
        if (strcmp(name, type_names[i]) == 0) {
            *to = (enum mr__device_type)i;
            return true;
        }
    }
    return false;
}

static bool read_device(const json_t *from, mr__device_info *to)
{
    const char *id = json_string_value(json_object_get(from, "id"));
    uint64_t units, platform, device;
    if (id == NULL || !mr__name_is_plain(id, sizeof to->id))
        return false;
    strcpy(to->id, id);
    if (!copy_text(from, "name", to->name, sizeof to->name) ||
        !copy_text(from, "platform", to->platform, sizeof to->platform) ||
        !copy_text(from, "vendor", to->vendor, sizeof to->vendor) ||
        !copy_text(from, "version", to->version, sizeof to->version) ||
        !copy_text(from, "driver", to->driver, sizeof to->driver) ||
        !copy_text(from, "bus", to->bus, sizeof to->bus) ||
        (to->bus[0] != '\0' && !mr__name_is_plain(to->bus, sizeof to->bus)))
        return false;
    if (!copy_type(from, &to->type) || !copy_bool(from, "unified", &to->unified) || !copy_bool(from, "f64", &to->f64) ||
        !copy_bool(from, "int64_atomics", &to->int64_atomics))
        return false;
    if (!copy_count(from, "platform_index", UINT32_MAX, &platform) ||
        !copy_count(from, "device_index", UINT32_MAX, &device) || !copy_count(from, "units", UINT32_MAX, &units) ||
        !copy_count(from, "global_bytes", INT64_MAX, &to->global_bytes) ||
        !copy_count(from, "local_bytes", INT64_MAX, &to->local_bytes) ||
        !copy_count(from, "max_alloc_bytes", INT64_MAX, &to->max_alloc_bytes))
        return false;
    to->platform_index = (uint32_t)platform;
    to->device_index = (uint32_t)device;
    to->units = (uint32_t)units;
    return true;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

mr_status mr__device_list_from_json(const json_t *root, mr__device_list *out, mr__error *error)
{
    mr_status status = MR_OK;
    mr__device_list list = {.count = 0};
    char note[MR__DEVICE_WHY];
    const json_t *devices = json_object_get(root, "devices"), *notes = json_object_get(root, "notes");
    const size_t count = json_array_size(devices);
    MR_CHECK(json_is_array(devices), MR_BAD_INPUT, "it has no list of devices");
    MR_CHECK(count <= MR__DEVICES_MOST, MR_BAD_INPUT, "%zu devices are too many", count);
    list.device = mr__alloc_zero(count + 1, sizeof *list.device);
    MR_CHECK(list.device != NULL, MR_NO_MEMORY, "no memory for a list of %zu devices", count);
    for (size_t i = 0; i < json_array_size(notes); i++) {
        const json_t *text = json_array_get(notes, i);
        if (json_is_string(text))
            mr__device_list_note(&list, json_string_value(text));
    }
    for (size_t i = 0; i < count; i++) {
        mr__device_info *device = &list.device[list.count];
        MR_CHECK(read_device(json_array_get(devices, i), device), MR_BAD_INPUT, "device %zu is not well described", i);
        MR_CHECK(mr__device_by_id(&list, device->id) == NULL, MR_BAD_INPUT, "two devices are called %s", device->id);
        if (device->max_alloc_bytes > device->global_bytes) {
            snprintf(note, sizeof note, "%s says that it allocates more than it has: taken for its memory", device->id);
            mr__device_list_note(&list, note);
            device->max_alloc_bytes = device->global_bytes;
        }
        list.count++;
    }
    *out = list;
    list.device = NULL;
done:
    mr__device_list_free(&list);
    return status;
}

mr_status mr__device_list_parse(const char *text, size_t size, mr__device_list *out, mr__error *error)
{
    mr_status status = MR_OK;
    json_error_t problem = {.text = ""};
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
    MR_CHECK(root != NULL, MR_BAD_INPUT, "line %d: %s", problem.line, problem.text);
    MR_TRY(mr__device_list_from_json(root, out, error));
done:
    json_decref(root);
    return status;
}
