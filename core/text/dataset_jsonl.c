/* JSON lines: each line an object; the fields are looked up, other members ignored. */
#include "core/text/dataset_reader.h"

#include "core/json.h"
#include "core/text/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {
    [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
    [JSON_INTEGER] = "a number", [JSON_REAL] = "a number",  [JSON_TRUE] = "a boolean",
    [JSON_FALSE] = "a boolean",  [JSON_NULL] = "null",
};

static enum rb_status missing(const struct rb_dataset_reader *r, const char *field,
                              struct rb_error *err)
{
    struct rb_name_list names = {.used = 0};
    const char *name;
    json_t *value;
    json_object_foreach(r->object, name, value) rb_name_list_add(&names, name);
    return rb_dataset_error(r, err, field, "no member '%s'; the members are %s", field,
                            names.used > 0 ? names.text : "none");
}

static enum rb_status get_text(const struct rb_dataset_reader *r, const char *field,
                               const char **ret, size_t *ret_bytes, struct rb_error *err)
{
    const json_t *value = json_object_get(r->object, field);
    if (value == NULL)
        return missing(r, field, err);
    if (!json_is_string(value))
        return rb_dataset_error(r, err, field, "'%s' is %s, expected a string", field,
                                type_names[json_typeof(value)]);
    *ret = json_string_value(value);
    *ret_bytes = json_string_length(value);
    return RB_OK;
}

static enum rb_status get_label(const struct rb_dataset_reader *r, const char *field, double *ret,
                                struct rb_error *err)
{
    const json_t *value = json_object_get(r->object, field);
    if (value == NULL)
        return missing(r, field, err);
    if (json_is_string(value)) {
        char shown[48];
        return rb_dataset_error(r, err, field,
                                "the label '%s' is the string \"%s\", expected a number or a "
                                "boolean (a number is written without quotes)",
                                field,
                                rb_utf8_excerpt(shown, sizeof shown, json_string_value(value),
                                                json_string_length(value)));
    }
    if (!json_is_number(value) && !json_is_boolean(value))
        return rb_dataset_error(r, err, field,
                                "the label '%s' is %s, expected a number or a boolean", field,
                                type_names[json_typeof(value)]);
    *ret = json_is_number(value) ? json_number_value(value) : json_is_true(value);
    return RB_OK;
}

static enum rb_status load(struct rb_dataset_reader *r, const char *line, size_t bytes,
                           struct rb_error *err)
{
    json_decref(r->object);
    /* Integers as reals: an id of 20 digits in a member that nobody reads is no error. */
    json_error_t where;
    bool no_memory;
    r->object =
        rb_json_load(line, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL,
                     &where, &no_memory);
    if (no_memory)
        return rb_dataset_no_memory(r, err);
    if (r->object == NULL)
        return rb_dataset_error(r, err, "", "not valid JSON at column %d: %s", where.column,
                                where.text);
    if (!json_is_object(r->object))
        return rb_dataset_error(r, err, "", "%s, expected an object",
                                type_names[json_typeof(r->object)]);
    return RB_OK;
}

static enum rb_status parse_jsonl(struct rb_dataset_reader *r, const char *line, size_t bytes,
                                  struct rb_row *row, struct rb_error *err)
{
    *row = (struct rb_row){.text = "", .label = NAN};
    enum rb_status status = load(r, line, bytes, err);
    if (status == RB_OK && r->fields.text != NULL)
        status = get_text(r, r->fields.text, &row->text, &row->text_bytes, err);
    if (status == RB_OK && r->fields.text_pair != NULL)
        status = get_text(r, r->fields.text_pair, &row->text_pair, &row->text_pair_bytes, err);
    if (status == RB_OK && r->fields.label != NULL)
        status = get_label(r, r->fields.label, &row->label, err);
    return status;
}

static enum rb_status names_jsonl(const struct rb_dataset_reader *r, char ***ret, size_t *ret_count,
                                  struct rb_error *err)
{
    char **names = calloc(json_object_size(r->object) + 1, sizeof *names);
    if (names == NULL)
        return rb_dataset_no_memory(r, err);
    size_t count = 0;
    const char *name;
    json_t *value;
    json_object_foreach(r->object, name, value)
    {
        names[count] = strdup(name);
        if (names[count] == NULL) {
            rb_names_free(names, count);
            return rb_dataset_no_memory(r, err);
        }
        count++;
    }
    *ret = names;
    *ret_count = count;
    return RB_OK;
}

const struct rb_format_ops rb_format_jsonl = {
    .name = "jsonl",
    .has_fields = true,
    .is_blank = rb_utf8_is_blank,
    .parse = parse_jsonl,
    .names = names_jsonl,
};
