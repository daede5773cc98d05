/* The validator: one table of fields against one JSON object. */
#include "api/decode.h"

#include "api/encode.h"
#include "api/names.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POINTER_SIZE = sizeof((struct rb_fault *)0)->pointer, TEXT_SIZE = 256 };

void rb_numbers_deinit(struct rb_numbers *n)
{
    free(n->values);
    *n = (struct rb_numbers){0};
}

void rb_labels_deinit(struct rb_labels *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->items[i].key);
        free(l->items[i].value);
    }
    free(l->items);
    *l = (struct rb_labels){0};
}

static bool label_add(struct rb_labels *l, const char *key, const char *value)
{
    struct rb_label label = {.key = strdup(key), .value = strdup(value)};
    if (label.key == NULL || label.value == NULL) {
        free(label.key);
        free(label.value);
        return false;
    }
    l->items[l->count++] = label;
    return true;
}

/* ---- what a field expects, in words ---- */

static void describe_bounds(const struct rb_field *f, const char *what, char *buffer, size_t size)
{
    char low[RB_NUMBER_SIZE], high[RB_NUMBER_SIZE];
    (void)rb_number_format(f->low, low);
    (void)rb_number_format(f->high, high);
    if (f->open_low)
        (void)snprintf(buffer, size, "%s above %s, at most %s", what, low, high);
    else
        (void)snprintf(buffer, size, "%s from %s to %s", what, low, high);
    size_t length = strlen(buffer);
    if (f->word != NULL)
        (void)snprintf(buffer + length, size - length, ", or \"%s\"", f->word);
}

static void describe_names(const struct rb_field *f, const char *what, char *buffer, size_t size)
{
    char list[200];
    rb_enum_list(f->names, list, sizeof list);
    (void)snprintf(buffer, size, "%s %s", what, list);
}

static void describe_field(const struct rb_field *f, char *buffer, size_t size)
{
    switch (f->type) {
    case RB_FIELD_BOOL:
        (void)snprintf(buffer, size, "true or false");
        break;
    case RB_FIELD_INT:
    case RB_FIELD_UINT:
    case RB_FIELD_UINT64:
        describe_bounds(f, "an integer", buffer, size);
        break;
    case RB_FIELD_NUMBER:
        describe_bounds(f, "a number", buffer, size);
        break;
    case RB_FIELD_STRING:
        (void)snprintf(buffer, size, "a string of %.0f to %.0f characters", f->low, f->high);
        break;
    case RB_FIELD_NAME:
        (void)snprintf(buffer, size, "a name (" RB_NAME_RULE ")");
        break;
    case RB_FIELD_JOB_ID:
        (void)snprintf(buffer, size, "a job's id (" RB_JOB_ID_RULE ")");
        break;
    case RB_FIELD_ENUM:
        describe_names(f, "one of", buffer, size);
        break;
    case RB_FIELD_FLAGS:
        describe_names(f, "an array of", buffer, size);
        break;
    case RB_FIELD_NUMBERS:
        (void)snprintf(buffer, size, "an array of at most %zu numbers from %.15g to %.15g", f->most,
                       f->low, f->high);
        break;
    case RB_FIELD_LABELS:
        (void)snprintf(buffer, size, "an object of at most %d strings", RB_LABELS_MAX);
        break;
    case RB_FIELD_OBJECT:
        (void)snprintf(buffer, size, "an object");
        break;
    case RB_FIELD_CUSTOM:
        (void)snprintf(buffer, size, "%s", f->expected);
        break;
    }
}

static void unexpected(const struct rb_field *f, const json_t *json, const char *pointer,
                       struct rb_problems *problems)
{
    char expected[TEXT_SIZE], found[TEXT_SIZE];
    uint32_t hidden;
    size_t at;
    describe_field(f, expected, sizeof expected);
    rb_json_describe(json, found, sizeof found);
    if (json_is_string(json) &&
        rb_text_hidden(json_string_value(json), json_string_length(json), &hidden, &at)) {
        rb_problems_add(problems, pointer,
                        "expected %s, found %s: character %zu is U+%04X, which nobody would see",
                        expected, found, at, (unsigned)hidden);
        return;
    }
    rb_problems_add(problems, pointer, "expected %s, found %s", expected, found);
}

/* ---- single values; each returns whether json is what the field expects ---- */

static bool in_bounds(const struct rb_field *f, double value)
{
    return (f->open_low ? value > f->low : value >= f->low) && value <= f->high;
}

/* JSON Schema counts 21.0 as an integer. Bounds stay within 2^53, where double is exact. */
static bool decode_integer(const struct rb_field *f, const json_t *json, void *target)
{
    double value = json_number_value(json);
    if (f->word != NULL && json_is_string(json) && strcmp(json_string_value(json), f->word) == 0) {
        *(uint32_t *)target = UINT32_MAX;
        return true;
    }
    if (!json_is_number(json) || value != floor(value) || !in_bounds(f, value))
        return false;
    if (f->type == RB_FIELD_INT)
        *(int32_t *)target = (int32_t)value;
    else if (f->type == RB_FIELD_UINT)
        *(uint32_t *)target = (uint32_t)value;
    else
        *(uint64_t *)target = (uint64_t)value;
    return true;
}

static bool decode_number(const struct rb_field *f, const json_t *json, double *target)
{
    double value = json_number_value(json);
    if (!json_is_number(json) || !in_bounds(f, value))
        return false;
    *target = value + 0.0; /* -0 is 0 */
    return true;
}

bool rb_text_fits(const char *text, size_t low, size_t high)
{
    size_t characters = 0, at;
    uint32_t hidden;
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0'; s++)
        characters += (*s & 0xc0) != 0x80;
    return characters >= low && characters <= high &&
           !rb_text_hidden(text, strlen(text), &hidden, &at);
}

static bool keep_string(const char *text, char **target, struct rb_problems *problems)
{
    char *copy = strdup(text);
    if (copy == NULL)
        problems->out_of_memory = true;
    free(*target);
    *target = copy;
    return true;
}

static bool decode_string(const struct rb_field *f, const json_t *json, char **target,
                          struct rb_problems *problems)
{
    if (!json_is_string(json))
        return false;
    const char *text = json_string_value(json);
    size_t length = json_string_length(json);
    bool fits = f->type == RB_FIELD_NAME     ? rb_name_valid(text, length)
                : f->type == RB_FIELD_JOB_ID ? rb_job_id_valid(text, length)
                                             : rb_text_fits(text, (size_t)f->low, (size_t)f->high);
    return fits && keep_string(text, target, problems);
}

bool rb_enum_decode(const json_t *json, const char *pointer, const char *const *names, int *ret,
                    struct rb_problems *problems)
{
    int index = json_is_string(json) ? rb_enum_find(names, json_string_value(json)) : -1;
    if (index >= 0) {
        *ret = index;
        return true;
    }
    char words[sizeof problems->items[0].detail];
    if (json_is_string(json)) {
        rb_enum_describe(names, json_string_value(json), words, sizeof words);
        rb_problems_add(problems, pointer, "%s", words);
    } else {
        unexpected(&(struct rb_field){.type = RB_FIELD_ENUM, .names = names}, json, pointer,
                   problems);
    }
    return false;
}

/* ---- lists; faults point at the element ---- */

static bool decode_flags(const struct rb_field *f, const json_t *json, const char *pointer,
                         unsigned *target, struct rb_problems *problems)
{
    if (!json_is_array(json))
        return false;
    unsigned flags = 0;
    size_t i;
    const json_t *element;
    json_array_foreach(json, i, element)
    {
        char at[POINTER_SIZE];
        (void)snprintf(at, sizeof at, "%s", pointer);
        rb_pointer_append_index(at, sizeof at, i);
        int index = 0;
        if (!rb_enum_decode(element, at, f->names, &index, problems))
            continue;
        if ((flags & 1U << index) != 0)
            rb_problems_add(problems, at, "expected each name once, found \"%s\" again",
                            f->names[index]);
        flags |= 1U << index;
    }
    *target = flags;
    return true;
}

static bool decode_numbers(const struct rb_field *f, const json_t *json, const char *pointer,
                           struct rb_numbers *target, struct rb_problems *problems)
{
    if (!json_is_array(json))
        return false;
    size_t count = json_array_size(json);
    if (count > f->most) {
        rb_problems_add(problems, pointer, "expected at most %zu numbers, found %zu", f->most,
                        count);
        return true;
    }
    struct rb_numbers numbers = {.values = calloc(count + 1, sizeof *numbers.values)};
    if (numbers.values == NULL) {
        problems->out_of_memory = true;
        return true;
    }
    struct rb_field one = *f;
    one.type = RB_FIELD_NUMBER;
    for (size_t i = 0; i < count; i++) {
        char at[POINTER_SIZE];
        (void)snprintf(at, sizeof at, "%s", pointer);
        rb_pointer_append_index(at, sizeof at, i);
        const json_t *element = json_array_get(json, i);
        if (!decode_number(&one, element, &numbers.values[numbers.count]))
            unexpected(&one, element, at, problems);
        else
            numbers.count++;
    }
    rb_numbers_deinit(target);
    *target = numbers;
    return true;
}

static int compare_labels(const void *a, const void *b)
{
    return strcmp(((const struct rb_label *)a)->key, ((const struct rb_label *)b)->key);
}

static void decode_label(const char *key, const json_t *value, const char *pointer,
                         struct rb_labels *labels, struct rb_problems *problems)
{
    static const struct rb_field text = {
        .type = RB_FIELD_STRING, .low = 0, .high = RB_LABEL_VALUE_MAX};
    char at[POINTER_SIZE];
    (void)snprintf(at, sizeof at, "%s", pointer);
    rb_pointer_append(at, sizeof at, key);
    if (!rb_name_valid(key, strlen(key)))
        rb_problems_add(problems, at, "expected a label's key (" RB_NAME_RULE ")");
    else if (!json_is_string(value) ||
             !rb_text_fits(json_string_value(value), 0, RB_LABEL_VALUE_MAX))
        unexpected(&text, value, at, problems);
    else if (!label_add(labels, key, json_string_value(value)))
        problems->out_of_memory = true;
}

static bool decode_labels(const json_t *json, const char *pointer, struct rb_labels *target,
                          struct rb_problems *problems)
{
    if (!json_is_object(json))
        return false;
    size_t count = json_object_size(json);
    if (count > RB_LABELS_MAX) {
        rb_problems_add(problems, pointer, "expected at most %d labels, found %zu", RB_LABELS_MAX,
                        count);
        return true;
    }
    struct rb_labels labels = {.items = calloc(count + 1, sizeof *labels.items)};
    if (labels.items == NULL) {
        problems->out_of_memory = true;
        return true;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
        decode_label(key, value, pointer, &labels, problems);
    qsort(labels.items, labels.count, sizeof *labels.items, compare_labels);
    rb_labels_deinit(target);
    *target = labels;
    return true;
}

/* ---- one field, one object ---- */

static void decode_field(const struct rb_field *f, const json_t *json, const char *pointer,
                         unsigned flags, void *target, struct rb_problems *problems)
{
    bool expected = true;
    switch (f->type) {
    case RB_FIELD_BOOL:
        expected = json_is_boolean(json);
        if (expected)
            *(bool *)target = json_is_true(json);
        break;
    case RB_FIELD_INT:
    case RB_FIELD_UINT:
    case RB_FIELD_UINT64:
        expected = decode_integer(f, json, target);
        break;
    case RB_FIELD_NUMBER:
        expected = decode_number(f, json, target);
        break;
    case RB_FIELD_STRING:
    case RB_FIELD_NAME:
    case RB_FIELD_JOB_ID:
        expected = decode_string(f, json, target, problems);
        break;
    case RB_FIELD_ENUM:
        (void)rb_enum_decode(json, pointer, f->names, target, problems);
        break;
    case RB_FIELD_FLAGS:
        expected = decode_flags(f, json, pointer, target, problems);
        break;
    case RB_FIELD_NUMBERS:
        expected = decode_numbers(f, json, pointer, target, problems);
        break;
    case RB_FIELD_LABELS:
        expected = decode_labels(json, pointer, target, problems);
        break;
    case RB_FIELD_OBJECT:
        rb_object_decode(json, pointer, f->object, flags, target, problems);
        break;
    case RB_FIELD_CUSTOM:
        f->decode(json, pointer, flags, target, problems);
        break;
    }
    if (!expected)
        unexpected(f, json, pointer, problems);
}

static const struct rb_field *find_field(const struct rb_object *object, const char *key)
{
    for (size_t i = 0; i < object->field_count; i++)
        if (strcmp(object->fields[i].key, key) == 0)
            return &object->fields[i];
    return NULL;
}

static void unknown_member(const struct rb_object *object, const char *key, const char *pointer,
                           struct rb_problems *problems)
{
    const char *names[32];
    assert(object->field_count < sizeof names / sizeof names[0]);
    for (size_t i = 0; i < object->field_count; i++)
        names[i] = object->fields[i].key;
    names[object->field_count] = NULL;
    char words[sizeof problems->items[0].detail - 32];
    rb_enum_describe(names, key, words, sizeof words);
    rb_problems_add(problems, pointer, "unknown member: %s", words);
}

static void decode_member(const struct rb_object *object, const char *key, const json_t *json,
                          const char *at, unsigned flags, void *target,
                          struct rb_problems *problems)
{
    char pointer[POINTER_SIZE];
    (void)snprintf(pointer, sizeof pointer, "%s", at);
    rb_pointer_append(pointer, sizeof pointer, key);
    const struct rb_field *f = find_field(object, key);
    if (f == NULL) {
        unknown_member(object, key, pointer, problems);
        return;
    }
    if (f->given != 0)
        *(uint32_t *)((char *)target + object->given_offset) |= f->given;
    if (!json_is_null(json) || !f->nullable)
        decode_field(f, json, pointer, flags, (char *)target + f->offset, problems);
}

static void check_required(const struct rb_object *object, const json_t *json, const char *at,
                           struct rb_problems *problems)
{
    for (size_t i = 0; i < object->field_count; i++) {
        const struct rb_field *f = &object->fields[i];
        if (!f->required || json_object_get(json, f->key) != NULL)
            continue;
        char pointer[POINTER_SIZE], expected[TEXT_SIZE];
        (void)snprintf(pointer, sizeof pointer, "%s", at);
        rb_pointer_append(pointer, sizeof pointer, f->key);
        describe_field(f, expected, sizeof expected);
        rb_problems_add(problems, pointer, "required: expected %s, found no such member", expected);
    }
}

void rb_object_decode(const json_t *json, const char *at, const struct rb_object *object,
                      unsigned flags, void *target, struct rb_problems *problems)
{
    if (!json_is_object(json)) {
        unexpected(&(struct rb_field){.type = RB_FIELD_OBJECT}, json, at, problems);
        return;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
        decode_member(object, key, value, at, flags, target, problems);
    check_required(object, json, at, problems);
}
