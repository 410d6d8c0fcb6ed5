/* visits.c: visits per address of a web log that lies compressed, as logs do. A visit ends after half an hour of
 * silence.
 *
 *     file.zst -> "1700000123 10.0.18.103 GET ..." -> key 10.0.18.103, value 1700000123 (big-endian: in order of time)
 *     reduce   all times of 10.0.18.103 -> 10.0.18.103 <TAB> visits, pages, seconds of the longest visit
 *
 * A compressed file cannot be cut, so one worker maps it; and a reduce needs all values of a key, so nothing can be
 * combined before. This is the job for which reduce is pipelined with map:
 * bench/run --must --claims pipelined_reduce. */
#include <inttypes.h>
#include <string.h>

#include <millrace/millrace.h>
#include <zstd.h>

enum { PIECE = 1 << 20, LONGEST_LINE = 4096, SILENCE = 1800 };

static void emit_line(const uint8_t *at, const uint8_t *end, mr_emitter *out)
{
    uint64_t time = 0;
    for (; at < end && (uint8_t)(*at - '0') < 10; at++)
        time = time * 10 + (uint64_t)(*at - '0');
    at += at < end;
    const uint8_t *stop = memchr(at, ' ', (size_t)(end - at));
    time = __builtin_bswap64(time);
    if (stop != NULL)
        mr_emit(out, at, (size_t)(stop - at), &time);
}

/* Emits the whole lines of [at, end); returns where the rest begins. */
static const uint8_t *emit_lines(const uint8_t *at, const uint8_t *end, mr_emitter *out)
{
    for (const uint8_t *stop; (stop = memchr(at, '\n', (size_t)(end - at))) != NULL; at = stop + 1)
        emit_line(at, stop, out);
    return at;
}

static mr_status visits_map(const mr_block *block, mr_emitter *out, const void *params)
{
    mr_status status = MR_OK;
    ZSTD_DStream *stream = ZSTD_createDStream();
    uint8_t *text = mr_scratch(out, PIECE + LONGEST_LINE);
    ZSTD_inBuffer in = {block->data, block->size, 0};
    size_t kept = 0, left = 1;
    if (stream == NULL || text == NULL)
        status = MR_NO_MEMORY;
    while (status == MR_OK && (in.pos < in.size || left > 0)) {
        ZSTD_outBuffer plain = {text, PIECE + LONGEST_LINE, kept};
        left = ZSTD_decompressStream(stream, &plain, &in);
        if (ZSTD_isError(left) || plain.pos == kept) {
            status = MR_BAD_INPUT;
            break;
        }
        const uint8_t *rest = emit_lines(text, text + plain.pos, out);
        kept = (size_t)(text + plain.pos - rest);
        memmove(text, rest, kept);
        if (kept > LONGEST_LINE)
            status = MR_BAD_INPUT;
    }
    ZSTD_freeDStream(stream);
    return status;
}

static mr_status visits_reduce(mr_slice address, mr_values *values, mr_writer *out, const void *params)
{
    uint64_t visits = 0, pages = 0, longest = 0, begin = 0, last = 0;
    for (mr_slice value; mr_values_next(values, &value); pages++) {
        uint64_t time;
        memcpy(&time, value.data, sizeof time);
        time = __builtin_bswap64(time);
        if (pages == 0 || time - last > SILENCE) {
            visits++;
            begin = time;
        }
        last = time;
        longest = last - begin > longest ? last - begin : longest;
    }
    return mr_writef(out, "%" PRIu64 " %" PRIu64 " %" PRIu64, visits, pages, longest);
}

MR_APP(visits) {
    .summary = "Visits per address of compressed web logs",
    .input = MR_INPUT_FILES,
    .key = MR_BYTES, .value = MR_STRUCT, .value_size = 8, .combine = MR_COMBINE_NONE,
    .map = visits_map, .reduce = visits_reduce,
};
