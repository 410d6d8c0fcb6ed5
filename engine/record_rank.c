/* record_rank.c: what one rank did, as bytes to the rank that keeps the record:
 *   host, numbers (u64 each, as MR__RANK_NUMBERS lists them), map_ns (u64), then its trace (trace_pack.c) or nothing
 * The trace is only looked at when it is written: one that cannot be read costs the record nothing else. */
#include "record.h"

void mr__record_rank_pack(const mr__record_rank *rank, const mr__trace *trace, size_t trace_most, mr__writing *to)
{
    mr__write_text(to, rank->host);
#define WRITE_NUMBER(name) mr__write_u64(to, rank->name);
    MR__RANK_NUMBERS(WRITE_NUMBER)
#undef WRITE_NUMBER
    mr__write_u64(to, rank->map_ns);
    mr__trace_pack(trace, trace_most, to);
}

bool mr__record_rank_unpack(const uint8_t *packed, size_t size, mr__record_rank *rank)
{
    mr__reading in = {packed, packed + size, false};
    mr__record_rank read = {.host = mr__read_text(&in)};
#define READ_NUMBER(name) read.name = mr__read_u64(&in);
    MR__RANK_NUMBERS(READ_NUMBER)
#undef READ_NUMBER
    read.map_ns = mr__read_u64(&in);
    if (in.broken)
        return false;
    read.trace = in.at < in.end ? in.at : NULL;
    read.trace_size = (size_t)(in.end - in.at);
    *rank = read;
    return true;
}
