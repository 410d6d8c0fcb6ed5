/* show.h: numbers as people read them, and texts as JSON takes them.
 * Owner     The caller's buffer of CLI_SHOW_SIZE bytes, which is also what each call returns.
 * Units     Sizes in powers of 1024 (as --memory), rates in powers of 1000 (as disks and networks are sold). */
#ifndef MR__SHOW_H
#define MR__SHOW_H

#include <jansson.h>
#include <stdint.h>

#include <millrace/status.h>

enum { CLI_SHOW_SIZE = 32 };

const char *cli_show_bytes(uint64_t bytes, char *text);         /* "1.50 GiB", "17 bytes" */
const char *cli_show_count(uint64_t count, char *text);         /* "169,009,871" */
const char *cli_show_seconds(double seconds, char *text);       /* "3.1 ms", "1.42 s", "12 min 05 s" */
const char *cli_show_rate(double per_second, const char *unit, char *text);    /* "756 MB/s", "1.2 Mrows/s" */

/* The text, `most` bytes of it at most, with control characters as \xNN: a name must not steer a terminal. */
const char *cli_show_text(const char *text, size_t most, char *to, size_t size);

/* A JSON string; null for NULL. Bytes that are no UTF-8 become U+FFFD. */
json_t *cli_json_text(const char *text);
json_t *cli_json_count(uint64_t count);
/* What --json prints of a failure, a line. text: the sentence, and maybe "\n  hint: ..."; free() what is returned. */
char *cli_json_failure(mr_status status, const char *text);

#endif
