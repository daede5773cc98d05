/* Arbitrary bytes as a dataset. The first byte chooses the format and which fields are asked for.
 * What the check accepts must read without error, row for row. */
#include "core/text/dataset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile char sink;

/* Touches every byte, so that a pointer out of bounds is seen. */
static void touch(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        sink = text[i];
}

static uint64_t read_rows(enum rb_format format, const struct rb_fields *fields, const char *data,
                          size_t bytes)
{
    struct rb_dataset_reader *r;
    struct rb_error err;
    if (rb_dataset_reader_new("data", format, fields, data, bytes, &r, &err) != RB_OK)
        abort();
    uint64_t rows = 0, line = 0;
    for (bool more = true;;) {
        struct rb_row row;
        if (rb_dataset_reader_next(r, &row, &more, &err) != RB_OK)
            abort();
        if (!more)
            break;
        rows++;
        touch(row.text, row.text_bytes);
        touch(row.text_pair, row.text_pair_bytes);
        if (row.number <= line || (fields->text_pair != NULL) != (row.text_pair != NULL) ||
            (fields->label != NULL) != (bool)isfinite(row.label))
            abort();
        line = row.number;
    }
    rb_dataset_reader_free(r);
    return rows;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t choice = *data++;
    size--;
    char *bytes = malloc(size > 0 ? size : 1); /* its own memory: no NUL behind it */
    if (bytes == NULL)
        abort();
    if (size > 0)
        memcpy(bytes, data, size);
    enum rb_format format = (enum rb_format)(choice % 3);
    struct rb_fields fields = {0};
    if (format != RB_TEXT) {
        fields.text = choice & 4 ? "t" : NULL;
        fields.text_pair = choice & 8 ? "u" : NULL;
        fields.label = choice & 16 ? "y" : NULL;
    }
    struct rb_dataset_summary summary;
    struct rb_error err;
    enum rb_status status =
        rb_dataset_check("data", format, &fields, bytes, size, NULL, &summary, &err);
    if (status == RB_OK) {
        if (summary.rows == 0 || (format == RB_TEXT) != (summary.fields == NULL))
            abort();
        if ((format == RB_TEXT || fields.text != NULL) &&
            read_rows(format, &fields, bytes, size) != summary.rows)
            abort();
        rb_dataset_summary_deinit(&summary);
    } else if (status != RB_EDATASET || strlen(err.detail) == 0) {
        abort();
    }
    free(bytes);
    return 0;
}
