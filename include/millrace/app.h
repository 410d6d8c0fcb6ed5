/* app.h: what an app declares. An app is data: one descriptor that names functions, types and parameters, so that the
 * same object serves programs, the `millrace` command, other ranks, the device compiler and Spark.
 *
 *     static mr_status wc_map(const mr_block *block, mr_emitter *out, const void *params)
 *     {
 *         mr_text_words(block, word)
 *             mr_emit(out, word.data, word.size, NULL);
 *         return MR_OK;
 *     }
 *     MR_APP(wordcount) {
 *         .summary = "Count the words of a text",
 *         .input = MR_INPUT_TEXT, .unit = MR_WORDS,
 *         .key = MR_BYTES, .value = MR_U64, .combine = MR_COUNT,
 *         .map = wc_map,
 *     };
 *
 * Built as a shared object it runs with `millrace run ./libwordcount.so INPUT -o OUT`; linked into a program it is
 * &mr_app_wordcount. A field left out is zero, and zero is a sensible choice everywhere.
 *
 * Thread safety: map, reduce, combine_with and format run on many workers at once, on different data; they may read
 * params and must not write to it. plan, round and finish run alone. */
#ifndef MILLRACE_APP_H
#define MILLRACE_APP_H

#include <millrace/emit.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MR_API_VERSION = 1 };

typedef enum mr_input {
    MR_INPUT_TEXT,      /* files of text; blocks hold whole lines or words (see mr_unit) */
    MR_INPUT_RECORDS,   /* files of fixed-size records; blocks hold whole records as columns or rows (see mr_layout) */
    MR_INPUT_FILES,     /* each file is one block; empty files give none */
    MR_INPUT_RANGE      /* no files: the rows first_row .. first_row + rows - 1 of 0 .. plan->range - 1 */
} mr_input;

typedef enum mr_unit {
    MR_LINES,           /* a text block begins and ends at line boundaries */
    MR_WORDS            /* ... at a byte that is no letter, digit or other word character: at a blank (C isspace) */
} mr_unit;

typedef enum mr_layout {
    MR_COLUMNS,         /* structure of arrays: block->columns, transposed with SIMD */
    MR_ROWS             /* the records as they are: block->data */
} mr_layout;

typedef enum mr_type {
    MR_NONE,
    MR_BYTES,           /* key: any bytes */
    MR_FIXED,           /* key: key_size bytes, ordered like memcmp */
    MR_DENSE,           /* key: 0 .. dense_keys - 1, in an array container */
    MR_U32,             /* key */
    MR_U64,             /* key or value */
    MR_I64,             /* value */
    MR_F64,             /* value */
    MR_F64_VECTOR,      /* value: value_width doubles */
    MR_STRUCT           /* value: value_size bytes, copied as they are */
} mr_type;

typedef enum mr_combine {
    MR_COMBINE_NONE,    /* every pair is kept; reduce sees all values of a key */
    MR_SUM,             /* u64 and i64 wrap around; f64 see docs/determinism.md */
    MR_MIN,             /* here and in MR_MAX over f64: -0.0 is less than +0.0, and a NaN is left only where all values
                         * of the key are NaN: of those the one whose bits are the least number */
    MR_MAX,
    MR_COUNT,           /* value type MR_U64; the emitted value is ignored, each pair counts 1 */
    MR_COMBINE_USER     /* combine_with(): associative and commutative */
} mr_combine;

typedef enum mr_sort {
    MR_SORT_NONE,
    MR_SORT_KEY,        /* the parts, concatenated, are in ascending order of the key (bytes like memcmp) */
    MR_SORT_VALUE       /* ... in descending order of the value, equal values in ascending order of the key */
} mr_sort;

typedef enum mr_output {
    MR_OUTPUT_TSV,      /* key <TAB> value <LF> */
    MR_OUTPUT_BINARY,   /* key bytes and value bytes, nothing between them */
    MR_OUTPUT_VALUES    /* value bytes only */
} mr_output;

typedef enum mr_column_type {
    MR_COLUMN_U8, MR_COLUMN_I16, MR_COLUMN_I32, MR_COLUMN_U32, MR_COLUMN_I64, MR_COLUMN_U64,
    MR_COLUMN_F32, MR_COLUMN_F64
} mr_column_type;

enum { MR_VALUE_MAX = 64 << 20 };   /* bytes of a value, at most */

/* One column of a record: type, and offset in bytes (any alignment). Little-endian. */
typedef struct mr_column {
    mr_column_type type;
    uint32_t offset;
} mr_column;

/* ---- parameters -------------------------------------------------------------------------------------------------- */

typedef enum mr_param_type {
    MR_PARAM_U64,       /* uint64_t; suffixes K, M, G, T (2^10 ...) and forms like 1e9 are understood */
    MR_PARAM_I64,       /* int64_t */
    MR_PARAM_F64,       /* double */
    MR_PARAM_CHOICE,    /* uint32_t: index into choices, "a|b|c" */
    MR_PARAM_TEXT       /* char[size], NUL-terminated */
} mr_param_type;

typedef struct mr_param {
    const char *name, *help;
    mr_param_type type;
    uint32_t offset, size;          /* of the field in the params struct */
    const char *preset;             /* the default, as a user would write it; NULL: the parameter must be given */
    double min, max;                /* inclusive; for the numeric types */
    const char *choices;
} mr_param;

#define MR__FIELD(struct_, field) #field, .offset = offsetof(struct_, field), .size = sizeof(((struct_ *)0)->field)
#define MR_PARAM_U64_FIELD(struct_, field, preset_, min_, max_, help_)                                                 \
    {.name = MR__FIELD(struct_, field), .type = MR_PARAM_U64, .preset = (preset_), .min = (min_), .max = (max_),       \
     .help = (help_)}
#define MR_PARAM_I64_FIELD(struct_, field, preset_, min_, max_, help_)                                                 \
    {.name = MR__FIELD(struct_, field), .type = MR_PARAM_I64, .preset = (preset_), .min = (min_), .max = (max_),       \
     .help = (help_)}
#define MR_PARAM_F64_FIELD(struct_, field, preset_, min_, max_, help_)                                                 \
    {.name = MR__FIELD(struct_, field), .type = MR_PARAM_F64, .preset = (preset_), .min = (min_), .max = (max_),       \
     .help = (help_)}
#define MR_PARAM_CHOICE_FIELD(struct_, field, preset_, choices_, help_)                                                \
    {.name = MR__FIELD(struct_, field), .type = MR_PARAM_CHOICE, .preset = (preset_), .choices = (choices_),           \
     .help = (help_)}
#define MR_PARAM_TEXT_FIELD(struct_, field, preset_, help_)                                                            \
    {.name = MR__FIELD(struct_, field), .type = MR_PARAM_TEXT, .preset = (preset_), .help = (help_)}

/* ---- plan: what depends on the parameters and the input ---------------------------------------------------------- */

/* Filled from the descriptor and the parsed parameters; plan() may change the fields below `dataset`. */
typedef struct mr_plan {
    void *params;           /* one relocatable blob, params_size bytes, 64-byte aligned: the struct, then what you
                             * add */
    size_t params_size;
    const struct mr_dataset *dataset;
    uint64_t input_bytes;   /* of the dataset; 0 for MR_INPUT_RANGE */
    uint64_t rows;          /* records of the dataset, once record_size is known; else 0 */
    /* may be changed */
    const mr_column *columns;   /* copied when plan returns */
    uint32_t column_count;
    uint32_t record_size;
    size_t block_rows;      /* rows per block; 0: the engine sizes a block to L2 */
    uint64_t range;         /* MR_INPUT_RANGE: number of rows */
    uint64_t dense_keys;
    uint32_t key_size, value_size, value_width;
    mr_sort sort;
    uint64_t limit;         /* keep only the first so many pairs of the sorted result; 0: all */
    uint64_t key_range;     /* MR_U64 keys in order: they lie evenly in 0 .. key_range - 1; 0: find out by mapping some
                             * blocks beforehand, which costs where a map is expensive */
    struct mr__plan_private *internal;
} mr_plan;

/* Makes plan->params `size` bytes large (old content kept, new bytes zero). NULL when memory ran out. */
MR_API void *mr_plan_resize(mr_plan *plan, size_t size);
/* Reads a whole file (a side input, such as a list of patterns). *data lives until plan() returns. What a plan reads by
 * this call and the next two must be the same on all ranks of a job, or the job ends with MR_BAD_INPUT. */
MR_API mr_status mr_plan_read_file(mr_plan *plan, const char *path, mr_slice *content);
/* Makes a whole file part of the params: behind what they hold, at a multiple of `alignment` (a power of two up to 64).
 * plan->params may move. *content points into them, until they are resized. Cost: one pass, by as many threads as there
 * are workers: for side inputs of many MiB. On failure the params are as they were. */
MR_API mr_status mr_plan_append_file(mr_plan *plan, const char *path, size_t alignment, mr_slice *content);
/* Reads the records first .. first + count - 1 of the dataset as they lie in its files (record_size must be set). */
MR_API mr_status mr_plan_read_rows(mr_plan *plan, uint64_t first, size_t count, void *records);
/* Records a sentence for the user and returns `status`: return mr_plan_fail(plan, MR_BAD_INPUT, "...", ...); */
MR_API mr_status mr_plan_fail(mr_plan *plan, mr_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- results ----------------------------------------------------------------------------------------------------- */

/* Where a job's result goes as text or bytes. Errors are sticky, as in an emitter. mr_writef writes numbers as in the C
 * locale, whatever the host program's is. */
typedef struct mr_writer mr_writer;
MR_API mr_status mr_write(mr_writer *out, const void *bytes, size_t size);
MR_API mr_status mr_writef(mr_writer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* All values of one key, streamed in ascending order of their bytes; a key may have more values than memory holds. */
typedef struct mr_values mr_values;
/* The next value: key_suffix bytes of the key (if the app declares a suffix), then the value's bytes; valid until the
 * next call, not aligned: copy numbers out with memcpy(). false at the end. */
MR_API bool mr_values_next(mr_values *values, mr_slice *value);
/* The name of source `index`, as blocks number them. */
MR_API const char *mr_values_source_name(const mr_values *values, uint32_t index);

/* What a finished round of a job with dense keys left. */
typedef struct mr_round {
    void *params;           /* round() may write to it: the next round's map sees it */
    size_t params_size;
    uint32_t index;         /* 0 for the first */
    const void *dense;      /* dense_keys * width values: uint64_t, int64_t or double */
    uint64_t dense_keys;
    uint32_t width;
    uint64_t rows;          /* rows mapped */
    bool again;             /* set by round(): map the dataset once more */
} mr_round;

typedef mr_status (*mr_plan_fn)(mr_plan *plan);
typedef mr_status (*mr_map_fn)(const mr_block *block, mr_emitter *out, const void *params);
/* combine_with and format get values aligned to 8 bytes. */
typedef void (*mr_combine_fn)(void *into, const void *value, const void *params);
typedef mr_status (*mr_reduce_fn)(mr_slice key, mr_values *values, mr_writer *out, const void *params);
typedef mr_status (*mr_format_fn)(mr_slice key, const void *value, mr_writer *out, const void *params);
typedef mr_status (*mr_round_fn)(mr_round *round);
typedef mr_status (*mr_finish_fn)(const mr_round *round, mr_writer *out);

/* A row kernel, compiled once per vector level from one source file (row.h; CMake: millrace_row_kernel()). A level that
 * was not built is NULL. */
typedef void (*mr_row_fn)(const mr_block *block, mr_emitter *out, const void *params);
typedef struct mr_row_kernel {
    const char *name;
    mr_row_fn scalar, sse2, avx2, avx512, neon;
    const char *source;     /* the row file's text, for devices */
} mr_row_kernel;

/* ---- the descriptor ---------------------------------------------------------------------------------------------- */

typedef struct mr_app {
    const char *summary;    /* one line for `millrace apps` */
    /* input */
    mr_input input;
    mr_unit unit;
    mr_layout layout;
    const mr_column *columns;
    uint32_t column_count, record_size;
    /* pairs */
    mr_type key, value;
    mr_combine combine;
    uint32_t key_size;      /* MR_FIXED */
    uint32_t value_size;    /* MR_STRUCT */
    uint32_t value_width;   /* MR_F64_VECTOR */
    uint64_t dense_keys;    /* MR_DENSE */
    uint32_t key_suffix;    /* the last bytes of each key take no part in grouping: reduce gets them with the value
                             * (Hadoop calls this secondary sort) */
    /* parameters */
    const mr_param *params;
    uint32_t param_count;
    size_t params_size;
    /* functions: map or row is required */
    mr_plan_fn plan;
    mr_map_fn map;
    const mr_row_kernel *row;
    mr_combine_fn combine_with;
    mr_reduce_fn reduce;    /* with MR_COMBINE_NONE, or after combine as with Hadoop's combiner */
    mr_format_fn format;    /* writes the value of one pair as text; needed for MR_STRUCT values in TSV */
    mr_round_fn round;      /* dense keys: called after each round */
    mr_finish_fn finish;    /* dense keys: writes the result instead of one line per key */
    /* output */
    mr_sort sort;           /* default order; the user may ask for another unless it is MR_SORT_KEY */
    mr_output output;
    const char *kernel;     /* OpenCL C, for devices: over text (text_opencl.h) or records (device_opencl.h); CMake:
                             * millrace_kernel(). An app with .row needs none */
} mr_app;

/* How a shared object presents its app: looked up by the symbol "mr_app_entry". */
typedef struct mr_app_handle {
    uint32_t magic;         /* MR_APP_MAGIC */
    uint32_t api_version;   /* MR_API_VERSION of the header it was built with */
    uint32_t descriptor_size;
    const char *name;
    const mr_app *app;
} mr_app_handle;

enum { MR_APP_MAGIC = 0x6d72cafe };

/* A program's file may hold several apps. clang refuses to define a name twice, but not what it is called in the
 * object. */
#ifdef __clang__
#define MR__APP_ENTRY(name_) mr__app_entry_##name_ __asm__("mr_app_entry")
#else
#define MR__APP_ENTRY(name_) mr_app_entry
#endif

#define MR_APP(name_)                                                                                                  \
    extern const mr_app mr__descriptor_##name_;                                                                        \
    MR_API extern const mr_app_handle mr_app_##name_;                                                                  \
    const mr_app_handle mr_app_##name_ = {MR_APP_MAGIC, MR_API_VERSION, (uint32_t)sizeof(mr_app), #name_,              \
                                          &mr__descriptor_##name_};                                                    \
    MR_API extern const mr_app_handle MR__APP_ENTRY(name_) __attribute__((weak, alias("mr_app_" #name_)));             \
    const mr_app mr__descriptor_##name_ =

#ifdef __cplusplus
}
#endif
#endif
