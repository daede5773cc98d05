/* What all formats share: lines, limits, messages, the check of a whole file. */
#include "core/text/dataset_reader.h"

#include "core/text/unicode.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINE_BYTES = 16 << 20 };

/* ---- plain text ---- */

static enum rb_status parse_text(struct rb_dataset_reader *r, const char *line, size_t bytes,
                                 struct rb_row *row, struct rb_error *err)
{
    (void)r;
    (void)err;
    *row = (struct rb_row){.text = line, .text_bytes = bytes, .label = NAN};
    return RB_OK;
}

static const struct rb_format_ops format_text = {
    .name = "text",
    .is_blank = rb_utf8_is_blank,
    .parse = parse_text,
};

static const struct rb_format_ops *const formats[] = {
    [RB_TEXT] = &format_text,
    [RB_JSONL] = &rb_format_jsonl,
    [RB_TSV] = &rb_format_tsv,
};
enum { FORMAT_COUNT = sizeof formats / sizeof formats[0] };

const char *rb_format_name(enum rb_format f)
{
    return formats[f]->name;
}

bool rb_format_from_name(const char *name, enum rb_format *ret)
{
    for (int i = 0; i < FORMAT_COUNT; i++)
        if (strcmp(formats[i]->name, name) == 0) {
            *ret = (enum rb_format)i;
            return true;
        }
    return false;
}

/* ---- messages ---- */

enum rb_status rb_dataset_error(const struct rb_dataset_reader *r, struct rb_error *err,
                                const char *field, const char *format, ...)
{
    char words[sizeof err->detail];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof words, format, args);
    va_end(args);
    return rb_error_at(err, RB_EDATASET, field, "%s: line %llu: %s", r->label,
                       (unsigned long long)r->line, words);
}

enum rb_status rb_dataset_no_memory(const struct rb_dataset_reader *r, struct rb_error *err)
{
    return rb_error_set(err, RB_ENOMEM, "%s: line %llu: out of memory", r->label,
                        (unsigned long long)r->line);
}

static enum rb_status no_usable_line(const char *label, struct rb_error *err)
{
    return rb_error_set(err, RB_EDATASET, "%s: no usable line", label);
}

void rb_name_list_add(struct rb_name_list *l, const char *name)
{
    char shown[48];
    rb_utf8_excerpt(shown, sizeof shown, name, strlen(name));
    size_t need = strlen(shown) + 4; /* the quotes and ", " */
    if (l->full || l->used + need + sizeof ", …" > sizeof l->text) {
        if (!l->full)
            (void)snprintf(l->text + l->used, sizeof l->text - l->used, ", …");
        l->full = true;
        return;
    }
    l->used += (size_t)snprintf(l->text + l->used, sizeof l->text - l->used, "%s'%s'",
                                l->used > 0 ? ", " : "", shown);
}

void rb_names_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

/* ---- lines ---- */

enum rb_status rb_dataset_next_line(struct rb_dataset_reader *r, const char **ret,
                                    size_t *ret_bytes, struct rb_error *err)
{
    while (r->next < r->end) {
        const char *line = r->next;
        size_t left = (size_t)(r->end - line), most = MAX_LINE_BYTES + 2;
        if (r->stop != NULL && atomic_load_explicit(r->stop, memory_order_relaxed))
            return rb_error_set(err, RB_ECANCELED, "%s: reading it was stopped", r->label);
        /* No further than an end is allowed to be: the rest may be gigabytes without one. */
        const char *newline = memchr(line, '\n', left < most ? left : most);
        size_t bytes = (size_t)((newline != NULL ? newline : r->end) - line);
        r->next = newline != NULL ? newline + 1 : r->end;
        r->line++;
        if (bytes > 0 && line[bytes - 1] == '\r')
            bytes--;
        if (bytes > MAX_LINE_BYTES)
            return rb_dataset_error(r, err, "", "longer than %d MB", MAX_LINE_BYTES >> 20);
        size_t valid = rb_utf8_valid_prefix(line, bytes);
        if (valid < bytes)
            return rb_dataset_error(r, err, "", "not UTF-8: byte 0x%02X at position %zu",
                                    (unsigned char)line[valid], valid + 1);
        if (r->ops->is_blank(line, bytes))
            continue;
        *ret = line;
        *ret_bytes = bytes;
        return RB_OK;
    }
    *ret = NULL;
    return RB_OK;
}

/* ---- the reader ---- */

static void reader_deinit(struct rb_dataset_reader *r)
{
    json_decref(r->object);
    rb_names_free(r->columns, r->column_count);
}

/* Takes a fields.text of NULL for every format: then rows have an empty text. */
static enum rb_status reader_init(struct rb_dataset_reader *r, const char *label,
                                  enum rb_format format, const struct rb_fields *fields,
                                  const char *data, size_t bytes, struct rb_error *err)
{
    *r = (struct rb_dataset_reader){.label = label, .ops = formats[format]};
    if (fields != NULL)
        r->fields = *fields;
    if (!r->ops->has_fields &&
        (r->fields.text != NULL || r->fields.text_pair != NULL || r->fields.label != NULL))
        return rb_error_set(err, RB_EDATASET, "%s: lines of text have no fields to choose", label);
    static const char bom[] = {'\xEF', '\xBB', '\xBF'};
    if (bytes >= sizeof bom && memcmp(data, bom, sizeof bom) == 0) {
        data += sizeof bom;
        bytes -= sizeof bom;
    }
    r->next = data;
    r->end = bytes > 0 ? data + bytes : data;
    enum rb_status status = r->ops->open != NULL ? r->ops->open(r, err) : RB_OK;
    if (status != RB_OK)
        reader_deinit(r);
    return status;
}

enum rb_status rb_dataset_reader_new(const char *label, enum rb_format format,
                                     const struct rb_fields *fields, const char *data, size_t bytes,
                                     struct rb_dataset_reader **ret, struct rb_error *err)
{
    if (formats[format]->has_fields && (fields == NULL || fields->text == NULL))
        return rb_error_at(err, RB_EDATASET, "text", "%s: which field holds the text is not said",
                           label);
    struct rb_dataset_reader *r = malloc(sizeof *r);
    if (r == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", label);
    enum rb_status status = reader_init(r, label, format, fields, data, bytes, err);
    if (status != RB_OK) {
        free(r);
        return status;
    }
    *ret = r;
    return RB_OK;
}

void rb_dataset_reader_free(struct rb_dataset_reader *r)
{
    if (r == NULL)
        return;
    reader_deinit(r);
    free(r);
}

enum rb_status rb_dataset_reader_next(struct rb_dataset_reader *r, struct rb_row *row,
                                      bool *ret_more, struct rb_error *err)
{
    const char *line = NULL;
    size_t bytes = 0;
    enum rb_status status = rb_dataset_next_line(r, &line, &bytes, err);
    if (status != RB_OK)
        return status;
    if (line == NULL) {
        *ret_more = false;
        return RB_OK;
    }
    struct rb_row parsed;
    status = r->ops->parse(r, line, bytes, &parsed, err);
    if (status != RB_OK)
        return status;
    if (r->fields.text_pair != NULL && rb_utf8_is_blank(parsed.text_pair, parsed.text_pair_bytes))
        return rb_dataset_error(r, err, r->fields.text_pair, "the second text, '%s', is empty",
                                r->fields.text_pair);
    parsed.number = r->line;
    *row = parsed;
    *ret_more = true;
    return RB_OK;
}

/* ---- the check ---- */

enum rb_status rb_dataset_check(const char *label, enum rb_format format,
                                const struct rb_fields *fields, const char *data, size_t bytes,
                                const atomic_bool *stop, struct rb_dataset_summary *ret,
                                struct rb_error *err)
{
    struct rb_dataset_reader r;
    enum rb_status status = reader_init(&r, label, format, fields, data, bytes, err);
    if (status != RB_OK)
        return status;
    r.stop = stop;
    struct rb_dataset_summary summary = {0};
    for (;;) {
        struct rb_row row;
        bool more = false;
        status = rb_dataset_reader_next(&r, &row, &more, err);
        if (status != RB_OK)
            goto err_after_init;
        if (!more)
            break;
        if (summary.rows++ == 0 && r.ops->names != NULL) {
            status = r.ops->names(&r, &summary.fields, &summary.field_count, err);
            if (status != RB_OK)
                goto err_after_init;
        }
    }
    if (summary.rows == 0) {
        status = no_usable_line(label, err);
        goto err_after_init;
    }
    reader_deinit(&r);
    *ret = summary;
    return RB_OK;

err_after_init:
    rb_dataset_summary_deinit(&summary);
    reader_deinit(&r);
    return status;
}

void rb_dataset_summary_deinit(struct rb_dataset_summary *s)
{
    rb_names_free(s->fields, s->field_count);
    *s = (struct rb_dataset_summary){0};
}
