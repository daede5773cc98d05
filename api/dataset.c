#include "api/dataset.h"

#include "api/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fields_deinit(struct rb_dataset_fields *f)
{
    free(f->text);
    free(f->text_pair);
    free(f->label);
    *f = (struct rb_dataset_fields){0};
}

void rb_dataset_resource_deinit(struct rb_dataset_resource *d)
{
    fields_deinit(&d->fields);
    *d = (struct rb_dataset_resource){0};
}

void rb_dataset_encode(struct rb_json *w, const char *key, const struct rb_dataset_resource *d)
{
    rb_json_object(w, key);
    rb_json_string(w, "name", d->name);
    rb_json_string(w, "format", rb_format_name(d->format));
    rb_json_uint(w, "rows", d->rows);
    rb_json_uint(w, "bytes", d->bytes);
    rb_json_text_or_null(w, "sha256", d->sha256);
    rb_json_object(w, "fields");
    rb_json_string(w, "text", d->fields.text);
    rb_json_string(w, "text_pair", d->fields.text_pair);
    rb_json_string(w, "label", d->fields.label);
    rb_json_end(w);
    rb_json_time(w, "created_at", d->created_ms);
    rb_json_text_or_null(w, "submitted_by", d->submitted_by);
    rb_json_end(w);
}

/* ---- format and fields ---- */

const char *const rb_dataset_format_names[] = {
    [RB_TEXT] = "text",
    [RB_JSONL] = "jsonl",
    [RB_TSV] = "tsv",
    NULL,
};

static void field_fault(const char *at, const char *member, const char *words,
                        struct rb_problems *problems)
{
    char pointer[sizeof problems->items[0].pointer];
    (void)snprintf(pointer, sizeof pointer, "%s%s%s", at != NULL ? at : "", at != NULL ? "/" : "",
                   member);
    rb_problems_add(problems, pointer, "%s", words);
}

void rb_dataset_fields_check(enum rb_format format, const char *text, const char *text_pair,
                             const char *label, const char *at, struct rb_problems *problems)
{
    const struct {
        const char *member, *value;
    } fields[] = {{"text", text}, {"text_pair", text_pair}, {"label", label}};
    enum { FIELDS = sizeof fields / sizeof fields[0] };
    if (format != RB_TEXT && text == NULL)
        field_fault(at, "text",
                    format == RB_TSV ? "required: expected the column that holds the text, found "
                                       "none (format tsv)"
                                     : "required: expected the member that holds the text, found "
                                       "none (format jsonl)",
                    problems);
    for (size_t i = 0; i < FIELDS; i++) {
        if (fields[i].value == NULL)
            continue;
        if (format == RB_TEXT)
            field_fault(at, fields[i].member,
                        "expected only with format jsonl or tsv, found with format text", problems);
        for (size_t j = 0; j < i; j++)
            if (fields[j].value != NULL && strcmp(fields[i].value, fields[j].value) == 0)
                field_fault(at, fields[i].member,
                            "expected another field than those already named, found the same",
                            problems);
    }
}

/* ---- POST ---- */

#define NESTED(name, member)                                                                       \
    {                                                                                              \
        .key = (name), .type = RB_FIELD_STRING,                                                    \
        .offset = offsetof(struct rb_dataset_fields, member), .low = 1, .high = RB_FIELD_NAME_MAX, \
        .nullable = true                                                                           \
    }
static const struct rb_field nested_fields[] = {
    NESTED("text", text), NESTED("text_pair", text_pair), NESTED("label", label)};
static const struct rb_object nested_object = {
    .fields = nested_fields, .field_count = 3, .given_offset = RB_NO_GIVEN};

#define AT(member) .offset = offsetof(struct rb_dataset_post, member)
static const struct rb_field post_fields[] = {
    {.key = "name", .type = RB_FIELD_NAME, AT(name), .required = true},
    {.key = "path",
     .type = RB_FIELD_STRING,
     AT(path),
     .required = true,
     .low = 1,
     .high = RB_PATH_CHARACTERS_MAX},
    {.key = "format",
     .type = RB_FIELD_ENUM,
     AT(format),
     .names = rb_dataset_format_names,
     .given = RB_DATASET_FORMAT},
    {.key = "fields",
     .type = RB_FIELD_OBJECT,
     AT(nested),
     .object = &nested_object,
     .given = RB_DATASET_NESTED},
    {.key = "text", .type = RB_FIELD_STRING, AT(fields.text), .low = 1, .high = RB_FIELD_NAME_MAX},
    {.key = "text_pair",
     .type = RB_FIELD_STRING,
     AT(fields.text_pair),
     .low = 1,
     .high = RB_FIELD_NAME_MAX},
    {.key = "label",
     .type = RB_FIELD_STRING,
     AT(fields.label),
     .low = 1,
     .high = RB_FIELD_NAME_MAX},
};
static const struct rb_object post_object = {
    .fields = post_fields,
    .field_count = sizeof post_fields / sizeof post_fields[0],
    .given_offset = offsetof(struct rb_dataset_post, given),
};

/* One place or the other. */
static void take_nested(struct rb_dataset_post *p, struct rb_problems *problems)
{
    if ((p->given & RB_DATASET_NESTED) == 0)
        return;
    if (p->fields.text != NULL || p->fields.text_pair != NULL || p->fields.label != NULL) {
        rb_problems_add(problems, "/fields",
                        "text, text_pair and label stand here or beside "
                        "fields, not in both places");
        return;
    }
    p->fields = p->nested;
    p->nested = (struct rb_dataset_fields){0};
}

enum rb_status rb_dataset_post_decode(const json_t *json, struct rb_dataset_post *ret,
                                      struct rb_problems *problems, struct rb_error *err)
{
    struct rb_problems own = {0};
    struct rb_problems *list = problems != NULL ? problems : &own;
    struct rb_dataset_post post = {.format = RB_TEXT};
    rb_object_decode(json, "", &post_object, 0, &post, list);
    rb_import_path_check(post.path, list);
    take_nested(&post, list);
    if (list->count == 0)
        rb_dataset_fields_check(post.format, post.fields.text, post.fields.text_pair,
                                post.fields.label, "", list);
    enum rb_status status = rb_problems_status(list, err);
    if (status == RB_OK)
        *ret = post;
    else
        rb_dataset_post_deinit(&post);
    return status;
}

void rb_dataset_post_deinit(struct rb_dataset_post *p)
{
    free(p->name);
    free(p->path);
    fields_deinit(&p->fields);
    fields_deinit(&p->nested);
    *p = (struct rb_dataset_post){0};
}
