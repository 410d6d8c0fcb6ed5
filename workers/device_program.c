/* device_program.c: puts a program's text together and gets it compiled.
 *
 * Includes are replaced here and not by the driver: OpenCL C 1.2 compilers look for files in the working directory, and
 * what is cached must not depend on files. A header is put in once; other lines of its kind become empty, and so does
 * an include that no header answers to (the C side of row.h). */
#include "device_program.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <millrace/app.h>

#include "memory.h"

enum { HEADERS_MAX = 32 };

struct text {
    char *data;
    size_t size, room;
    bool failed;
    bool used[HEADERS_MAX];
};

static void append(struct text *text, const char *bytes, size_t size)
{
    if (text->failed || size == 0)
        return;
    if (text->size + size + 1 > text->room) {
        const size_t room = (text->size + size + 1) * 2;
        char *more = mr__realloc(text->data, room);
        if (more == NULL) {
            text->failed = true;
            return;
        }
        text->data = more;
        text->room = room;
    }
    memcpy(text->data + text->size, bytes, size);
    text->size += size;
    text->data[text->size] = '\0';
}

static void __attribute__((format(printf, 2, 3))) appendf(struct text *text, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    append(text, line, size > 0 && (size_t)size < sizeof line ? (size_t)size : 0);
}

/* ---- includes ---------------------------------------------------------------------------------------------------- */

/* If the line is `#include <millrace/x>`, the name between the brackets. */
static bool is_include(const char *line, size_t size, const char **name, size_t *length)
{
    static const char prefix[] = "millrace/";
    const char *end = line + size, *p = line;
    while (p < end && isblank((unsigned char)*p))
        p++;
    if (p == end || *p++ != '#')
        return false;
    while (p < end && isblank((unsigned char)*p))
        p++;
    if (end - p < 8 || memcmp(p, "include", 7) != 0)
        return false;
    for (p += 7; p < end && isblank((unsigned char)*p);)
        p++;
    if (p == end || *p++ != '<')
        return false;
    const char *close = memchr(p, '>', (size_t)(end - p));
    if (close == NULL || (size_t)(close - p) < sizeof prefix || memcmp(p, prefix, sizeof prefix - 1) != 0)
        return false;
    *name = p;
    *length = (size_t)(close - p);
    return true;
}

static bool has_include(const char *source)
{
    const char *name;
    size_t length;
    for (const char *line = source; *line != '\0';) {
        const size_t size = strcspn(line, "\n");
        if (is_include(line, size, &name, &length))
            return true;
        line += size + (line[size] == '\n');
    }
    return false;
}

static void append_source(struct text *text, const char *source, const char *called);

static void append_header(struct text *text, const char *name, size_t length)
{
    for (uint32_t i = 0; i < HEADERS_MAX && mr__device_headers[i].name != NULL; i++) {
        if (strlen(mr__device_headers[i].name) != length || memcmp(mr__device_headers[i].name, name, length) != 0)
            continue;
        if (!text->used[i]) {
            text->used[i] = true;
            append_source(text, mr__device_headers[i].text, mr__device_headers[i].name);
        }
        return;
    }
}

static void append_source(struct text *text, const char *source, const char *called)
{
    uint32_t number = 1;
    appendf(text, "#line 1 \"%s\"\n", called);
    for (const char *line = source; *line != '\0'; number++) {
        const size_t size = strcspn(line, "\n");
        const char *name;
        size_t length;
        if (is_include(line, size, &name, &length)) {
            append_header(text, name, length);
            appendf(text, "\n#line %u \"%s\"\n", number + 1, called);
        } else {
            append(text, line, size);
            append(text, "\n", 1);
        }
        line += size + (line[size] == '\n');
    }
}

/* ---- definitions ------------------------------------------------------------------------------------------------- */

static uint32_t type_size(uint32_t type)
{
    switch (type) {
    case MR_COLUMN_U8: return 1;
    case MR_COLUMN_I16: return 2;
    case MR_COLUMN_I64: case MR_COLUMN_U64: case MR_COLUMN_F64: return 8;
    default: return 4;
    }
}

static bool is_aligned(const mr__device_job_view *view)
{
    for (uint32_t c = 0; c < view->job.column_count; c++) {
        const uint32_t size = type_size(view->columns[c].type);
        if (view->columns[c].offset % size != 0 || view->job.record_size % size != 0)
            return false;
    }
    return true;
}

static void append_definitions(struct text *text, const mr__device_job_view *view, const mr__cl_device *device,
                               uint32_t lanes, uint32_t group)
{
    const mr__device_job *job = &view->job;
    appendf(text, "#define MR_DEVICE 1\n#define MR_LANES %u\n#define MR_GROUP %u\n", lanes, group);
    appendf(text, "#define MR_RECORD_SIZE %u\n#define MR_COLUMN_COUNT %u\n#define MR_COLUMN_OFFSETS ", job->record_size,
            job->column_count);
    for (uint32_t c = 0; c < job->column_count; c++)
        appendf(text, c > 0 ? ", %u" : "%u", view->columns[c].offset);
    appendf(text, "%s\n#define MR_ALIGNED %d\n", job->column_count == 0 ? "0" : "", is_aligned(view));
    appendf(text, "#define MR_DENSE_KEYS %" PRIu64 "\n#define MR_DENSE_WIDTH %u\n#define MR_DENSE_F64 %u\n",
            job->dense_keys, job->width, job->dense_f64);
    appendf(text, "#define MR_VALUE_SIZE %u\n#define MR_BLOCK_ROWS %" PRIu64 "\n#define MR_UNIT %u\n", job->value_size,
            job->block_rows, job->unit);
    appendf(text, "#define MR_SUFFIX_SIZE %u\n#define MR_LOCAL_BYTES %" PRIu64 "\n#define MR_LARGEST_SEGMENT %" PRIu64
            "\n", job->suffix_size, device->local_bytes, job->largest_segment);
}

mr_status mr__device_text_make(const mr__device_job_view *view, const mr__cl_device *device, uint32_t lanes,
                               uint32_t group, char **out, mr__error *error)
{
    /* for a source that includes none itself */
    static const char *const header_of[] = {"millrace/row.h", "millrace/text_opencl.h", "millrace/device_opencl.h"};
    mr_status status = MR_OK;
    struct text text = {.size = 0};
    char called[160];
    append_definitions(&text, view, device, lanes, group);
    if (!has_include(view->kernel))
        append_header(&text, header_of[view->job.form], strlen(header_of[view->job.form]));
    snprintf(called, sizeof called, "%s.cl", view->name[0] != '\0' ? view->name : "kernel");
    append_source(&text, view->kernel, called);
    MR_CHECK(!text.failed, MR_NO_MEMORY, "no memory for the text of a device program");
    *out = text.data;
    text.data = NULL;
done:
    mr__free(text.data);
    return status;
}

/* ---- building ---------------------------------------------------------------------------------------------------- */

static const char *options_of(const mr__cl_device *device)
{
    return device->exact_f32 ? "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt" : "-cl-std=CL1.2";
}

mr__cache_key mr__device_key(const mr__cl_device *device, const char *text)
{
    char units[32];
    snprintf(units, sizeof units, "%u", device->units);
    const char *const parts[] = {text, options_of(device), device->platform, device->vendor, device->name,
                                 device->version, device->driver, units};
    return mr__cache_key_of(parts, MR__COUNT(parts));
}

mr_status mr__device_build(const mr__cl *cl, const char *text, char *log, cl_program *program, mr__error *error)
{
    return mr__cl_program_build(cl, text, options_of(&cl->device), log, program, error);
}

mr_status mr__device_load(const mr__cl *cl, mr__device_cache *cache, mr__device_kept *kept, cl_program *program,
                          mr__error *error)
{
    mr_status status = MR_OK;
    mr__cache_entry entry;
    mr__error refused = {.text = ""};
    *program = NULL;
    kept->there = false;
    if (!mr__device_cache_load(cache, kept->key, &entry))
        return MR_OK;
    status = mr__cl_program_load(cl, entry.binary, entry.size, options_of(&cl->device), program, &refused);
    mr__free(entry.binary);
    if (status != MR_OK) {
        mr__device_cache_remove(cache, kept->key);
        snprintf(cache->note, sizeof cache->note, "a compiled kernel was refused and is built again: %.400s",
                 refused.text);
        return MR_OK;
    }
    *kept = (mr__device_kept){.key = kept->key, .there = true, .lanes = entry.lanes, .group = entry.group};
    return MR_OK;
}

void mr__device_keep(const mr__cl *cl, mr__device_cache *cache, mr__device_kept *kept, cl_program program)
{
    mr__cache_entry entry = {.lanes = kept->lanes, .group = kept->group};
    mr__error error = {.text = ""};
    if (cache->directory[0] == '\0')
        return;
    if (mr__cl_program_binary(cl, program, &entry.binary, &entry.size, &error) != MR_OK) {
        snprintf(cache->note, sizeof cache->note, "a compiled kernel was not kept: %.400s", error.text);
        return;
    }
    mr__device_cache_store(cache, kept->key, &entry);
    kept->there = true;
    mr__free(entry.binary);
}
