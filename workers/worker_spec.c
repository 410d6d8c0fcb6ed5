/* worker_spec.c: reads   ITEM[,ITEM]...   where ITEM is   N | cpu=N | device=WHO[:M] | WHO[:M]   and the last form goes
 * on with a list that device= began. A sentence for each way to be wrong, because people type this. */
#include "worker_spec.h"

#include <stdio.h>
#include <string.h>

#include "device_protocol.h"
#include "parse.h"

enum { ITEM_SIZE = 96, NAMES_SIZE = 512 };

static const char *const forms = "cpu=N,device=NAME[:M],...";

/* ---- parse ------------------------------------------------------------------------------------------------------- */

static mr_status read_cpus(const char *text, mr__worker_spec *spec, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t count = 0;
    MR_CHECK(!spec->cpus_given, MR_BAD_USAGE, "the number of CPU workers is given twice");
    const mr__parsed parsed = mr__parse_u64(text, &count);
    MR_CHECK(parsed != MR__PARSE_SYNTAX, MR_BAD_USAGE,
             "--workers cannot be '%.60s'\n  hint: give a whole number, such as 4, or %s", text, forms);
    MR_CHECK(parsed == MR__PARSED && count <= MR__SPEC_CPUS_MOST, MR_BAD_USAGE,
             "--workers is out of range: %.60s CPU workers\n  hint: up to %d are possible", text, MR__SPEC_CPUS_MOST);
    spec->cpus_given = true;
    spec->cpus = (uint32_t)count;
done:
    return status;
}

static mr_status read_device(char *text, bool *none, mr__worker_spec *spec, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t depth = 0;
    char *colon = strchr(text, ':');
    if (colon != NULL) {
        *colon = '\0';
        MR_CHECK(mr__parse_u64(colon + 1, &depth) == MR__PARSED && depth >= 1 && depth <= MR__DEVICE_SLOTS,
                 MR_BAD_USAGE, "tasks in flight on device %.40s cannot be '%.40s'\n  hint: 1 .. %d", text, colon + 1,
                 MR__DEVICE_SLOTS);
    }
    if (strcmp(text, "none") == 0) {
        MR_CHECK(depth == 0, MR_BAD_USAGE, "device=none has no tasks in flight");
        *none = true;
        return MR_OK;
    }
    MR_CHECK(mr__name_is_plain(text, MR__DEVICE_ID), MR_BAD_USAGE,
             "'%.40s' cannot be the name of a device\n  hint: millrace devices lists them; all and none are possible",
             text);
    for (uint32_t i = 0; i < spec->device_count; i++)
        MR_CHECK(strcmp(spec->device[i].who, text) != 0, MR_BAD_USAGE, "device %s is named twice", text);
    MR_CHECK(spec->device_count < MR__SPEC_DEVICES, MR_BAD_USAGE, "more than %d devices are named\n  hint: device=all",
             MR__SPEC_DEVICES);
    strcpy(spec->device[spec->device_count].who, text);
    spec->device[spec->device_count++].depth = (uint32_t)depth;
done:
    return status;
}

static bool is_type(const char *who)
{
    return strcmp(who, mr__device_type_name(MR__DEVICE_CPU)) == 0 ||
           strcmp(who, mr__device_type_name(MR__DEVICE_GPU)) == 0 ||
           strcmp(who, mr__device_type_name(MR__DEVICE_ACCELERATOR)) == 0;
}

/* Did somebody leave out device=? */
static bool may_be_device(const char *item)
{
    return strpbrk(item, "-:") != NULL || is_type(item) || strcmp(item, "all") == 0 || strcmp(item, "none") == 0;
}

static mr_status read_item(char *item, bool *in_devices, bool *none, mr__worker_spec *spec, mr__error *error)
{
    static const char cpu[] = "cpu=", device[] = "device=";
    if (strncmp(item, cpu, sizeof cpu - 1) == 0) {
        *in_devices = false;
        return read_cpus(item + sizeof cpu - 1, spec, error);
    }
    if (strncmp(item, device, sizeof device - 1) == 0) {
        *in_devices = true;
        return read_device(item + sizeof device - 1, none, spec, error);
    }
    if (item[0] == '\0')
        return mr__fail(error, MR_BAD_USAGE, "--workers has an empty part\n  hint: %s", forms);
    if (*in_devices && strchr(item, '=') == NULL)
        return read_device(item, none, spec, error);
    if (strchr(item, '=') == NULL && (item[0] < '0' || item[0] > '9'))
        return mr__fail(error, MR_BAD_USAGE, "--workers cannot be '%.60s'\n  hint: %s%s, or a whole number", item,
                        may_be_device(item) ? "did you mean device=...? It is " : "", forms);
    return read_cpus(item, spec, error);
}

mr_status mr__worker_spec_parse(const char *text, mr__worker_spec *out, mr__error *error)
{
    mr_status status = MR_OK;
    mr__worker_spec spec = {.cpus = 0};
    char item[ITEM_SIZE];
    bool in_devices = false, none = false;
    for (const char *rest = text; rest != NULL;) {
        const size_t size = strcspn(rest, ",");
        MR_CHECK(size < sizeof item, MR_BAD_USAGE, "--workers has a part that is too long: '%.40s...'", rest);
        memcpy(item, rest, size);
        item[size] = '\0';
        MR_TRY(read_item(item, &in_devices, &none, &spec, error));
        rest = rest[size] == ',' ? rest + size + 1 : NULL;
    }
    MR_CHECK(!none || spec.device_count == 0, MR_BAD_USAGE, "device=none and other devices are asked for at once");
    MR_CHECK(!spec.cpus_given || spec.cpus > 0 || spec.device_count > 0, MR_BAD_USAGE,
             "--workers %.40s leaves nobody to work\n  hint: add device=all, or give a number of CPU workers", text);
    *out = spec;
done:
    return status;
}

/* ---- match ------------------------------------------------------------------------------------------------------- */

/* The more it says, the higher: an id 3, a type 2, all 1; 0: this device is not meant. */
static uint32_t rank_of(const char *who, const mr__device_info *device)
{
    if (strcmp(who, device->id) == 0)
        return 3;
    if (strcmp(who, mr__device_type_name(device->type)) == 0)
        return 2;
    return strcmp(who, "all") == 0;
}

static mr_status name_unknown(const char *who, const mr__device_list *list, mr__error *error)
{
    char names[NAMES_SIZE] = "";
    size_t used = 0;
    if (list->count == 0)
        return mr__fail(error, MR_BAD_USAGE, "there is no device %s: %s\n  hint: millrace devices", who,
                        list->note[0] != '\0' ? list->note : "none was found");
    for (uint32_t i = 0; i < list->count && used + MR__DEVICE_ID + 8 < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", list->device[i].id);
    return mr__fail(error, MR_BAD_USAGE, "there is no device %s\n  hint: there %s %s", who,
                    list->count == 1 ? "is" : "are", names);
}

const char *mr__worker_spec_missing(const mr__worker_spec *spec, const mr__device_list *list)
{
    for (uint32_t i = 0; i < spec->device_count; i++) {
        const char *who = spec->device[i].who;
        bool known = strcmp(who, "all") == 0;
        for (uint32_t d = 0; d < list->count; d++)
            known = known || rank_of(who, &list->device[d]) > 0;
        if (!known)
            return who;
    }
    return NULL;
}

uint32_t mr__worker_spec_pick(const mr__worker_spec *spec, const mr__device_list *list,
                              mr__worker_device out[MR__DEVICES_MOST])
{
    uint32_t found = 0;
    for (uint32_t d = 0; d < list->count && found < MR__DEVICES_MOST; d++) {
        uint32_t best = 0, depth = 0;
        for (uint32_t i = 0; i < spec->device_count; i++) {
            const uint32_t rank = rank_of(spec->device[i].who, &list->device[d]);
            if (rank > best) {
                best = rank;
                depth = spec->device[i].depth;
            }
        }
        if (best > 0)
            out[found++] = (mr__worker_device){.device = &list->device[d], .depth = depth};
    }
    return found;
}

mr_status mr__worker_spec_match(const mr__worker_spec *spec, const mr__device_list *list,
                                mr__worker_device out[MR__DEVICES_MOST], uint32_t *count, mr__error *error)
{
    mr_status status = MR_OK;
    const char *missing = mr__worker_spec_missing(spec, list);
    MR_CHECK(missing == NULL || !is_type(missing) || list->count == 0, MR_BAD_USAGE,
             "no device here is of type %s\n  hint: millrace devices", missing);
    if (missing != NULL)
        return name_unknown(missing, list, error);
    *count = mr__worker_spec_pick(spec, list, out);
done:
    return status;
}
