/* sink.c: pairs become lines or bytes of a part, or pairs of a run. */
#include "sink.h"

#include <stdarg.h>
#include <stdio.h>

#include "memory.h"
#include "number.h"

enum { NUMBER_ROOM = MR__F64_ROOM, RESERVE = 4096, WRITEF_ROOM = 512 };

mr_status mr__sink_open_part(mr__sink *sink, uint32_t index, mr__error *error)
{
    return mr__output_part(sink->job->output, index, &sink->part, error);
}

mr_status mr__sink_open_run(mr__sink *sink, mr__run *run, mr__error *error)
{
    mr__run_init(run, &sink->job->result_layout, &sink->job->pool);
    run->sampled = sink->job->sorts && sink->job->parts > 1;
    sink->run = run;
    sink->limit = sink->job->sorts ? sink->job->limit : 0;
    return MR_OK;
}

mr_status mr__sink_close_part(mr__sink *sink, mr__error *error)
{
    uint64_t bytes = 0;
    mr__part *part = sink->part;
    sink->part = NULL;
    const mr_status status = mr__part_close(part, &bytes, error);
    atomic_fetch_add_explicit(&sink->job->output_bytes, bytes, memory_order_relaxed);
    return status;
}

void mr__sink_fini(mr__sink *sink)
{
    if (sink->part != NULL)
        mr__part_abort(sink->part);
    sink->part = NULL;
    mr__free(sink->writer.text);
    sink->writer.text = NULL;
    mr__free(sink->value);
    sink->value = NULL;
}

bool mr__sink_is_full(const mr__sink *sink)
{
    return sink->limit != 0 && sink->pairs >= sink->limit;
}

/* ---- numbers as text --------------------------------------------------------------------------------------------- */

static size_t put_u64(uint8_t *to, uint64_t number)
{
    uint8_t digits[20];
    size_t count = 0;
    do {
        digits[count++] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    for (size_t i = 0; i < count; i++)
        to[i] = digits[count - 1 - i];
    return count;
}

static size_t put_i64(uint8_t *to, int64_t number)
{
    if (number >= 0)
        return put_u64(to, (uint64_t)number);
    *to = '-';
    return 1 + put_u64(to + 1, (uint64_t)0 - (uint64_t)number);
}

static size_t put_f64(uint8_t *to, double number)
{
    return mr__format_f64(number, (char *)to);
}

static size_t put_number(mr_type type, const uint8_t *from, uint8_t *to)
{
    uint64_t u64;
    int64_t i64;
    double f64;
    switch (type) {
    case MR_I64:
        memcpy(&i64, from, 8);
        return put_i64(to, i64);
    case MR_F64:
    case MR_F64_VECTOR:
        memcpy(&f64, from, 8);
        return put_f64(to, f64);
    default:
        memcpy(&u64, from, 8);
        return put_u64(to, u64);
    }
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static mr_status write_key(const mr__job *job, mr__part *part, const mr__pair *pair, mr__error *error)
{
    uint8_t digits[NUMBER_ROOM];
    uint64_t number = 0;
    if (job->app->key != MR_U32 && job->app->key != MR_U64 && job->app->key != MR_DENSE)
        return mr__part_write(part, pair->key, pair->key_size, error);
    memcpy(&number, pair->key, job->app->key == MR_U32 ? 4 : 8);
    return mr__part_write(part, digits, put_u64(digits, number), error);
}

/* Short byte key and one number: the usual line, formatted in place. */
static bool is_plain(const mr__job *job, const mr__pair *pair)
{
    return pair->key_size <= RESERVE - 2 * NUMBER_ROOM && (job->app->key == MR_BYTES || job->app->key == MR_FIXED) &&
           pair->value_size == 8 && job->app->format == NULL && !job->reduces &&
           (job->app->value == MR_U64 || job->app->value == MR_I64);
}

static mr_status write_plain(const mr__job *job, mr__part *part, const mr__pair *pair, mr__error *error)
{
    uint8_t *const line = mr__part_reserve(part, RESERVE, error);
    if (line == NULL)
        return error->code;
    memcpy(line, pair->key, pair->key_size);
    uint8_t *at = line + pair->key_size;
    *at++ = '\t';
    at += put_number(job->app->value, pair->value, at);
    *at++ = '\n';
    mr__part_advance(part, (size_t)(at - line));
    return MR_OK;
}

static mr_status format_value(mr__sink *sink, const mr__pair *pair, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__job *job = sink->job;
    const uint8_t *value = pair->value;
    if ((uintptr_t)value % sizeof(uint64_t) != 0) {     /* pairs lie packed; a struct wants its alignment */
        if (sink->value == NULL)
            sink->value = mr__alloc(pair->value_size);
        MR_CHECK(sink->value != NULL, MR_NO_MEMORY, "no memory for a value of %u bytes", pair->value_size);
        value = memcpy(sink->value, value, pair->value_size);
    }
    sink->writer = (mr_writer){.sink = sink, .text = sink->writer.text, .room = sink->writer.room};
    sink->error = error;
    const mr_status formatted =
        job->app->format((mr_slice){pair->key, pair->key_size}, value, &sink->writer, job->plan.params);
    MR_TRY(sink->writer.status);
    MR_CHECK(formatted == MR_OK, formatted, "format of app %s failed: %s", job->app_name, mr_status_meaning(formatted));
done:
    return status;
}

static mr_status write_value(mr__sink *sink, const mr__pair *pair, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = sink->job;
    if (job->reduces)
        return mr__part_write(sink->part, pair->value, pair->value_size, error);
    if (job->app->format != NULL)
        return format_value(sink, pair, error);
    for (uint32_t at = 0; at + 8 <= pair->value_size; at += 8) {
        uint8_t text[NUMBER_ROOM + 1] = {' '};
        const size_t size = 1 + put_number(job->app->value, pair->value + at, text + 1);
        MR_TRY(mr__part_write(sink->part, text + (at == 0), size - (at == 0), error));
    }
done:
    return status;
}

mr_status mr__sink_pair(mr__sink *sink, const mr__pair *pair, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = sink->job;
    sink->pairs++;
    if (sink->run != NULL)
        return mr__run_append(sink->run, sink->lane, pair, error);
    if (job->app->output == MR_OUTPUT_TSV) {
        if (is_plain(job, pair))
            return write_plain(job, sink->part, pair, error);
        MR_TRY(write_key(job, sink->part, pair, error));
        MR_TRY(mr__part_write(sink->part, "\t", 1, error));
        MR_TRY(write_value(sink, pair, error));
        MR_TRY(mr__part_write(sink->part, "\n", 1, error));
        goto done;
    }
    if (job->app->output == MR_OUTPUT_BINARY)
        MR_TRY(mr__part_write(sink->part, pair->key, pair->key_size, error));
    MR_TRY(mr__part_write(sink->part, pair->value, pair->value_size, error));
done:
    return status;
}

/* ---- the app's writer -------------------------------------------------------------------------------------------- */

static mr_status capture(mr_writer *out, const void *bytes, size_t size)
{
    mr_status status = MR_OK;
    mr__error *error = out->sink->error;
    if (out->room - out->size < size) {
        const size_t room = (out->size + size) * 2 + 256;
        uint8_t *text = mr__realloc(out->text, room);
        MR_CHECK(text != NULL, MR_NO_MEMORY, "no memory for %zu bytes of text that the app wrote", room);
        out->text = text;
        out->room = room;
    }
    memcpy(out->text + out->size, bytes, size);
    out->size += size;
done:
    return status;
}

/* The key, before the first byte of its text. */
static mr_status begin_value(const mr_writer *out)
{
    mr_status status = MR_OK;
    mr__sink *sink = out->sink;
    mr__error *error = sink->error;
    const mr__pair key = {.key = out->key.data, .key_size = (uint32_t)out->key.size};
    if (sink->job->app->output == MR_OUTPUT_BINARY)
        MR_TRY(mr__part_write(sink->part, key.key, key.key_size, error));
    if (sink->job->app->output == MR_OUTPUT_TSV) {
        MR_TRY(write_key(sink->job, sink->part, &key, error));
        MR_TRY(mr__part_write(sink->part, "\t", 1, error));
    }
done:
    return status;
}

mr_status mr_write(mr_writer *out, const void *bytes, size_t size)
{
    if (out->status != MR_OK || size == 0)
        return out->status;
    mr__sink *sink = out->sink;
    if (out->capture) {
        out->status = capture(out, bytes, size);
    } else {
        if (out->written == 0 && out->key.data != NULL)
            out->status = begin_value(out);
        if (out->status == MR_OK)
            out->status = mr__part_write(sink->part, bytes, size, sink->error);
    }
    out->written += size;
    return out->status;
}

static mr_status write_text(mr_writer *out, const char *format, va_list arguments)
{
    char text[WRITEF_ROOM];
    va_list again;
    va_copy(again, arguments);
    mr_status status = out->status;
    const int size = vsnprintf(text, sizeof text, format, arguments);
    if (size >= 0 && (size_t)size < sizeof text) {
        status = mr_write(out, text, (size_t)size);
    } else {
        char *longer = size < 0 ? NULL : mr__alloc((size_t)size + 1);
        if (longer != NULL) {
            vsnprintf(longer, (size_t)size + 1, format, again);
            status = mr_write(out, longer, (size_t)size);
        } else {
            status = mr__fail(out->sink->error, MR_NO_MEMORY, "no memory for text that the app wrote");
        }
        mr__free(longer);
    }
    va_end(again);
    return out->status = status;
}

mr_status mr_writef(mr_writer *out, const char *format, ...)
{
    va_list arguments;
    if (out->status != MR_OK)
        return out->status;
    const locale_t before = mr__numbers_begin();
    va_start(arguments, format);
    const mr_status status = write_text(out, format, arguments);
    va_end(arguments);
    mr__numbers_end(before);
    return status;
}

mr_status mr__sink_begin_text(mr__sink *sink, const uint8_t *key, size_t size, mr_writer **writer, mr__error *error)
{
    sink->error = error;
    sink->writer = (mr_writer){.sink = sink, .capture = sink->run != NULL, .key = {key, size},
                               .text = sink->writer.text, .room = sink->writer.room};
    *writer = &sink->writer;
    return MR_OK;
}

mr_status mr__sink_end_text(mr__sink *sink, mr__error *error)
{
    mr_status status = MR_OK;
    mr_writer *out = &sink->writer;
    MR_TRY(out->status);
    if (out->written == 0)
        goto done;
    if (sink->run != NULL) {
        MR_CHECK(out->size < (size_t)1 << 31, MR_BAD_INPUT, "the app wrote %zu bytes for one key; 2 GiB are allowed",
                 out->size);
        const mr__pair pair = {out->key.data, out->text, (uint32_t)out->key.size, (uint32_t)out->size};
        MR_TRY(mr__sink_pair(sink, &pair, error));
        goto done;
    }
    sink->pairs++;
    if (sink->job->app->output == MR_OUTPUT_TSV)
        MR_TRY(mr__part_write(sink->part, "\n", 1, error));
done:
    return status;
}

mr_status mr__sink_begin_free_text(mr__sink *sink, mr_writer **writer, mr__error *error)
{
    return mr__sink_begin_text(sink, NULL, 0, writer, error);
}

mr_status mr__sink_end_free_text(mr__sink *sink, mr__error *error)
{
    mr_status status = MR_OK;
    mr_writer *out = &sink->writer;
    MR_TRY(out->status);
    if (sink->run != NULL && out->size > 0) {
        const mr__pair pair = {(const uint8_t *)"", out->text, 0, (uint32_t)out->size};
        MR_TRY(mr__sink_pair(sink, &pair, error));
    }
done:
    return status;
}
