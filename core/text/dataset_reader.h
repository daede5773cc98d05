/* core/text/dataset_reader.h: the reader's inside, shared by the formats. Private to dataset*.c. */
#ifndef RB_CORE_TEXT_DATASET_READER_H
#define RB_CORE_TEXT_DATASET_READER_H

#include "core/text/dataset.h"

#include <jansson.h>

/* Where in a TSV line a field stands; NO_COLUMN: not asked for. */
#define RB_NO_COLUMN SIZE_MAX

struct rb_dataset_reader {
    const atomic_bool *stop; /* may be NULL */
    const char *label;
    const struct rb_format_ops *ops;
    struct rb_fields fields;
    const char *next, *end;
    uint64_t line; /* 1-based, of the line read last */
    /* JSONL: the object of the present row, which the row's strings belong to. */
    json_t *object;
    /* TSV: the header. */
    char **columns;
    size_t column_count;
    size_t text_column, text_pair_column, label_column;
};

struct rb_format_ops {
    const char *name;
    bool has_fields;
    /* A line without a row in it; such lines are skipped. */
    bool (*is_blank)(const char *line, size_t bytes);
    /* Reads what stands before the rows. May be NULL. */
    enum rb_status (*open)(struct rb_dataset_reader *r, struct rb_error *err);
    /* Fills all of row but number. */
    enum rb_status (*parse)(struct rb_dataset_reader *r, const char *line, size_t bytes,
                            struct rb_row *row, struct rb_error *err);
    /* The field names the file has, once the first row is read: a new array of new strings. May be
     * NULL: the format has no names. */
    enum rb_status (*names)(const struct rb_dataset_reader *r, char ***ret, size_t *ret_count,
                            struct rb_error *err);
};

extern const struct rb_format_ops rb_format_jsonl, rb_format_tsv;

/* The next line that is not blank, checked for length and UTF-8, without its line end; *ret NULL at
 * the end of the data. */
enum rb_status rb_dataset_next_line(struct rb_dataset_reader *r, const char **ret,
                                    size_t *ret_bytes, struct rb_error *err) RB_MUST_CHECK;

/* RB_EDATASET at the present line: "label: line 3: …". field: the pointer of the error, or "". */
enum rb_status rb_dataset_error(const struct rb_dataset_reader *r, struct rb_error *err,
                                const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
enum rb_status rb_dataset_no_memory(const struct rb_dataset_reader *r, struct rb_error *err);

/* A comma-separated list of names for a message, built up one by one and cut when it is full. */
struct rb_name_list {
    char text[256];
    size_t used;
    bool full;
};
void rb_name_list_add(struct rb_name_list *l, const char *name);

void rb_names_free(char **names, size_t count);

#endif
