/* Tab-separated values as GLUE's files have them: a header, no quoting, no escapes. */
#include "core/text/dataset_reader.h"

#include "core/text/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Far above any real table; keeps the search for repeated names quick. */
enum { MAX_COLUMNS = 1024, MAX_NUMBER_BYTES = 63 };

/* White space alone may be a row of one column, or of empty cells. */
static bool is_empty(const char *line, size_t bytes)
{
    (void)line;
    return bytes == 0;
}

/* The cell at *rest, which then points behind its tab; NULL when there are no more. */
static const char *next_cell(const char **rest, const char *end, size_t *ret_bytes)
{
    const char *cell = *rest;
    if (cell == NULL)
        return NULL;
    const char *tab = cell < end ? memchr(cell, '\t', (size_t)(end - cell)) : NULL;
    *ret_bytes = (size_t)((tab != NULL ? tab : end) - cell);
    *rest = tab != NULL ? tab + 1 : NULL;
    return cell;
}

/* RB_NO_COLUMN if there is none of that name. */
static size_t column_called(const struct rb_dataset_reader *r, const char *name)
{
    for (size_t i = 0; i < r->column_count; i++)
        if (strcmp(r->columns[i], name) == 0)
            return i;
    return RB_NO_COLUMN;
}

/* Takes name. */
static enum rb_status add_column(struct rb_dataset_reader *r, char *name, struct rb_error *err)
{
    size_t same = column_called(r, name);
    r->columns[r->column_count++] = name;
    if (same == RB_NO_COLUMN)
        return RB_OK;
    char shown[48];
    return rb_dataset_error(r, err, "", "columns %zu and %zu are both called '%s'", same + 1,
                            r->column_count,
                            rb_utf8_excerpt(shown, sizeof shown, name, strlen(name)));
}

static enum rb_status read_header(struct rb_dataset_reader *r, const char *line, size_t bytes,
                                  struct rb_error *err)
{
    r->column_count = 0;
    r->columns = calloc(MAX_COLUMNS, sizeof *r->columns);
    if (r->columns == NULL)
        return rb_dataset_no_memory(r, err);
    const char *rest = line, *cell;
    size_t cell_bytes;
    while ((cell = next_cell(&rest, line + bytes, &cell_bytes)) != NULL) {
        if (r->column_count == MAX_COLUMNS)
            return rb_dataset_error(r, err, "", "more than %d columns", MAX_COLUMNS);
        if (memchr(cell, '\0', cell_bytes) != NULL)
            return rb_dataset_error(r, err, "", "the name of column %zu contains a NUL byte",
                                    r->column_count + 1);
        char *name = strndup(cell, cell_bytes);
        if (name == NULL)
            return rb_dataset_no_memory(r, err);
        enum rb_status status = add_column(r, name, err);
        if (status != RB_OK)
            return status;
    }
    return RB_OK;
}

static enum rb_status find_column(const struct rb_dataset_reader *r, const char *field, size_t *ret,
                                  struct rb_error *err)
{
    *ret = field != NULL ? column_called(r, field) : RB_NO_COLUMN;
    if (field == NULL || *ret != RB_NO_COLUMN)
        return RB_OK;
    struct rb_name_list names = {.used = 0};
    for (size_t i = 0; i < r->column_count; i++)
        rb_name_list_add(&names, r->columns[i]);
    return rb_dataset_error(r, err, field, "no column '%s'; the columns are %s", field, names.text);
}

static enum rb_status open_tsv(struct rb_dataset_reader *r, struct rb_error *err)
{
    const char *line;
    size_t bytes;
    enum rb_status status = rb_dataset_next_line(r, &line, &bytes, err);
    if (status != RB_OK)
        return status;
    if (line == NULL)
        return rb_error_set(err, RB_EDATASET, "%s: no usable line", r->label);
    status = read_header(r, line, bytes, err);
    if (status == RB_OK)
        status = find_column(r, r->fields.text, &r->text_column, err);
    if (status == RB_OK)
        status = find_column(r, r->fields.text_pair, &r->text_pair_column, err);
    if (status == RB_OK)
        status = find_column(r, r->fields.label, &r->label_column, err);
    return status;
}

/* strtod alone would also take "nan", "inf", hexadecimal and leading spaces. */
static bool parse_number(const char *cell, size_t bytes, double *ret)
{
    char text[MAX_NUMBER_BYTES + 1];
    if (bytes == 0 || bytes > MAX_NUMBER_BYTES)
        return false;
    memcpy(text, cell, bytes);
    text[bytes] = '\0';
    if (strspn(text, "0123456789+-.eE") != bytes)
        return false;
    char *end;
    double value = strtod(text, &end);
    if (*end != '\0' || end == text || !isfinite(value))
        return false;
    *ret = value;
    return true;
}

static enum rb_status parse_tsv(struct rb_dataset_reader *r, const char *line, size_t bytes,
                                struct rb_row *row, struct rb_error *err)
{
    *row = (struct rb_row){.text = "", .label = NAN};
    const char *label = NULL;
    size_t label_bytes = 0;
    const char *rest = line, *cell;
    size_t cell_bytes, count = 0;
    for (; (cell = next_cell(&rest, line + bytes, &cell_bytes)) != NULL; count++) {
        if (count == r->text_column) {
            row->text = cell;
            row->text_bytes = cell_bytes;
        }
        if (count == r->text_pair_column) {
            row->text_pair = cell;
            row->text_pair_bytes = cell_bytes;
        }
        if (count == r->label_column) {
            label = cell;
            label_bytes = cell_bytes;
        }
    }
    if (count != r->column_count)
        return rb_dataset_error(r, err, "", "%zu cells, expected the header's %zu", count,
                                r->column_count);
    if (label != NULL && !parse_number(label, label_bytes, &row->label)) {
        char shown[48];
        return rb_dataset_error(r, err, r->fields.label,
                                "the label '%s' is '%s', expected a number", r->fields.label,
                                rb_utf8_excerpt(shown, sizeof shown, label, label_bytes));
    }
    return RB_OK;
}

static enum rb_status names_tsv(const struct rb_dataset_reader *r, char ***ret, size_t *ret_count,
                                struct rb_error *err)
{
    char **names = calloc(r->column_count, sizeof *names);
    if (names == NULL)
        return rb_dataset_no_memory(r, err);
    for (size_t i = 0; i < r->column_count; i++) {
        names[i] = strdup(r->columns[i]);
        if (names[i] == NULL) {
            rb_names_free(names, i);
            return rb_dataset_no_memory(r, err);
        }
    }
    *ret = names;
    *ret_count = r->column_count;
    return RB_OK;
}

const struct rb_format_ops rb_format_tsv = {
    .name = "tsv",
    .has_fields = true,
    .is_blank = is_empty,
    .open = open_tsv,
    .parse = parse_tsv,
    .names = names_tsv,
};
