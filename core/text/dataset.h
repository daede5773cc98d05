/* core/text/dataset.h: a file of lines, JSON lines or tab-separated values -> rows of text, and
 * their labels. Readers stream over bytes the caller has mapped or read; nothing is trusted. */
#ifndef RB_CORE_TEXT_DATASET_H
#define RB_CORE_TEXT_DATASET_H

#include "core/status.h"

#include <stdatomic.h>
#include <stdint.h>

enum rb_format { RB_TEXT, RB_JSONL, RB_TSV };

const char *rb_format_name(enum rb_format f); /* "text", "jsonl", "tsv" */
bool rb_format_from_name(const char *name, enum rb_format *ret);

/* Which fields are read. For RB_TEXT all are NULL; for the others text is required. Borrowed. */
struct rb_fields {
    const char *text, *text_pair, *label;
};

struct rb_dataset_reader; /* private */

struct rb_row {
    const char *text; /* valid until the next call; UTF-8, not NUL-terminated */
    size_t text_bytes;
    const char *text_pair; /* NULL without that field */
    size_t text_pair_bytes;
    double label;    /* NaN without that field */
    uint64_t number; /* 1-based line in the file, for messages */
};

/* data, label and the names in fields stay borrowed until the reader is freed. A UTF-8 BOM is
 * skipped; CRLF is taken as LF; a line must be UTF-8 and at most 16 MB.
 * Text: empty lines and lines of white space are skipped. JSONL: each line an object with the
 * fields (strings; label a number or a boolean); other members are ignored, blank lines skipped.
 * TSV: first line names the columns (at most 1024, each name once), no quoting (as GLUE's files); a
 * row with another number of cells is an error; empty lines are skipped. In both an empty text is a
 * row, an empty text_pair an error. RB_EDATASET names line and field. `label` names the file in
 * errors. */
enum rb_status rb_dataset_reader_new(const char *label, enum rb_format format,
                                     const struct rb_fields *fields, const char *data, size_t bytes,
                                     struct rb_dataset_reader **ret,
                                     struct rb_error *err) RB_MUST_CHECK;
void rb_dataset_reader_free(struct rb_dataset_reader *r);
/* false in *ret_more at the end of the data; then row is untouched. */
enum rb_status rb_dataset_reader_next(struct rb_dataset_reader *r, struct rb_row *row,
                                      bool *ret_more, struct rb_error *err) RB_MUST_CHECK;

struct rb_dataset_summary {
    uint64_t rows;
    char **fields; /* names seen: JSONL's of the first row, TSV's header; NULL for text */
    size_t field_count;
};

/* Reads the whole file once and counts its rows; checks every row. Empty: RB_EDATASET ("no usable
 * line"). When fields.text is NULL for JSONL/TSV, only the shape is checked and fields reported.
 * RB_ECANCELED once *stop is set (stop may be NULL). */
enum rb_status rb_dataset_check(const char *label, enum rb_format format,
                                const struct rb_fields *fields, const char *data, size_t bytes,
                                const atomic_bool *stop, struct rb_dataset_summary *ret,
                                struct rb_error *err) RB_MUST_CHECK;
void rb_dataset_summary_deinit(struct rb_dataset_summary *s);

#endif
