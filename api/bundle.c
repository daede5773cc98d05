#include "api/bundle.h"
#include "api/body.h"
#include "api/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const rb_unit_names[] = {"align", "learn", "points", "write", NULL};

void rb_bundle_deinit(struct rb_bundle *b)
{
    for (size_t i = 0; i < b->input_count; i++) {
        struct rb_bundle_input *in = &b->inputs[i];
        free(in->name);
        free(in->path);
        free(in->text);
        free(in->text_pair);
        free(in->label);
    }
    free(b->job);
    free(b->version);
    free(b->spec_json);
    free(b->points);
    rb_numbers_deinit(&b->merged);
    *b = (struct rb_bundle){0};
}

/* ---- out ---- */

static void encode_inputs(struct rb_json *w, const struct rb_bundle *b)
{
    rb_json_array(w, "inputs");
    for (size_t i = 0; i < b->input_count; i++) {
        const struct rb_bundle_input *in = &b->inputs[i];
        rb_json_object(w, NULL);
        rb_json_string(w, "role", in->role);
        rb_json_string(w, "name", in->name);
        rb_json_string(w, "sha256", in->sha256);
        if (in->path != NULL)
            rb_json_string(w, "path", in->path);
        if (in->path != NULL && !in->is_model) {
            rb_json_string(w, "format", rb_dataset_format_names[in->format]);
            if (in->text != NULL)
                rb_json_string(w, "text", in->text);
            if (in->text_pair != NULL)
                rb_json_string(w, "text_pair", in->text_pair);
            if (in->label != NULL)
                rb_json_string(w, "label", in->label);
        }
        rb_json_end(w);
    }
    rb_json_end(w);
}

static void encode_tasks(struct rb_json *w, const struct rb_bundle *b)
{
    rb_json_array(w, "tasks");
    for (uint32_t t = 0; t < b->tasks; t++) {
        rb_json_array(w, NULL);
        for (size_t i = 0; i < b->point_count; i++) {
            if (b->points[i].task != t)
                continue;
            rb_json_array(w, NULL);
            rb_json_string(w, NULL, rb_curve_names[b->points[i].curve]);
            rb_json_uint(w, NULL, b->points[i].index);
            rb_json_end(w);
        }
        rb_json_end(w);
    }
    rb_json_end(w);
}

void rb_bundle_encode(struct rb_json *w, const char *key, const struct rb_bundle *b)
{
    rb_json_object(w, key);
    rb_json_uint(w, "format", RB_BUNDLE_FORMAT);
    rb_json_string(w, "version", b->version);
    rb_json_string(w, "unit", rb_unit_names[b->unit]);
    rb_json_string(w, "job", b->job);
    rb_json_uint(w, "attempt", b->attempt);
    rb_json_uint(w, "tries", b->tries);
    rb_json_raw(w, "spec", b->spec_json);
    encode_inputs(w, b);
    rb_json_bool(w, "solved", b->solved);
    rb_json_bool(w, "learned", b->learned);
    rb_json_bool(w, "certified", b->certified);
    encode_tasks(w, b);
    rb_json_array(w, "merged");
    for (size_t i = 0; i < b->merged.count; i++)
        rb_json_number(w, NULL, b->merged.values[i]);
    rb_json_end(w);
    rb_json_end(w);
}

/* ---- in ---- */

struct draft {
    uint32_t format;
    char *spec;
    struct rb_bundle bundle;
};

struct draft_input {
    char *role, *sha256;
    uint32_t given;
    struct rb_bundle_input input;
};

enum { GIVEN_FORMAT = 1 };

#define IN(field) .offset = offsetof(struct draft_input, field)
static const struct rb_field input_fields[] = {
    {.key = "role", .type = RB_FIELD_STRING, IN(role), .required = true, .low = 1, .high = 23},
    {.key = "name",
     .type = RB_FIELD_STRING,
     IN(input.name),
     .required = true,
     .low = 1,
     .high = 80},
    {.key = "sha256", .type = RB_FIELD_STRING, IN(sha256), .required = true, .low = 64, .high = 64},
    {.key = "path", .type = RB_FIELD_STRING, IN(input.path), .low = 1, .high = RB_BUNDLE_PATH_MAX},
    {.key = "format",
     .type = RB_FIELD_ENUM,
     IN(input.format),
     .names = rb_dataset_format_names,
     .given = GIVEN_FORMAT},
    {.key = "text", .type = RB_FIELD_STRING, IN(input.text), .low = 1, .high = 256},
    {.key = "text_pair", .type = RB_FIELD_STRING, IN(input.text_pair), .low = 1, .high = 256},
    {.key = "label", .type = RB_FIELD_STRING, IN(input.label), .low = 1, .high = 256},
};
static const struct rb_object input_object = {.fields = input_fields,
                                              .field_count =
                                                  sizeof input_fields / sizeof input_fields[0],
                                              .given_offset = offsetof(struct draft_input, given)};

static void decode_inputs(const json_t *json, const char *pointer, unsigned flags, void *target,
                          struct rb_problems *problems)
{
    struct rb_bundle *b = target;
    size_t count = json_array_size(json);
    if (count < 1 || count > RB_JOB_INPUTS_MAX) {
        rb_problems_add(problems, pointer, "expected an array of 1 to %d inputs",
                        RB_JOB_INPUTS_MAX);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct draft_input d = {0};
        char at[64];
        (void)snprintf(at, sizeof at, "%s/%zu", pointer, i);
        rb_object_decode(json_array_get(json, i), at, &input_object, flags, &d, problems);
        if (d.role != NULL)
            (void)snprintf(d.input.role, sizeof d.input.role, "%s", d.role);
        if (d.sha256 != NULL)
            (void)snprintf(d.input.sha256, sizeof d.input.sha256, "%s", d.sha256);
        d.input.is_model = d.input.path != NULL && (d.given & GIVEN_FORMAT) == 0;
        free(d.role);
        free(d.sha256);
        b->inputs[b->input_count++] = d.input;
    }
}

static bool decode_point(const json_t *json, uint32_t task, struct rb_bundle_point *ret)
{
    const char *curve = json_string_value(json_array_get(json, 0));
    const json_t *index = json_array_get(json, 1);
    if (json_array_size(json) != 2 || curve == NULL || !json_is_integer(index) ||
        json_integer_value(index) < 0 || json_integer_value(index) >= RB_POINTS_MAX)
        return false;
    for (uint32_t c = 0; rb_curve_names[c] != NULL; c++)
        if (strcmp(curve, rb_curve_names[c]) == 0) {
            *ret = (struct rb_bundle_point){task, c, (uint32_t)json_integer_value(index)};
            return true;
        }
    return false;
}

static void decode_tasks(const json_t *json, const char *pointer, unsigned flags, void *target,
                         struct rb_problems *problems)
{
    struct rb_bundle *b = target;
    size_t tasks = json_array_size(json), points = 0;
    (void)flags;
    for (size_t t = 0; t < tasks; t++)
        points += json_array_size(json_array_get(json, t));
    if (tasks < 1 || tasks > RB_BUNDLE_POINTS_MAX || points > RB_BUNDLE_POINTS_MAX) {
        rb_problems_add(problems, pointer, "expected 1 to %d tasks with as many points at most",
                        RB_BUNDLE_POINTS_MAX);
        return;
    }
    b->tasks = (uint32_t)tasks;
    b->points = calloc(points + 1, sizeof *b->points);
    if (b->points == NULL) {
        problems->out_of_memory = true;
        return;
    }
    for (uint32_t t = 0; t < tasks; t++) {
        const json_t *list = json_array_get(json, t);
        for (size_t i = 0; i < json_array_size(list); i++)
            if (!decode_point(json_array_get(list, i), t, &b->points[b->point_count++])) {
                rb_problems_add(problems, pointer,
                                "expected points like [\"aligned\",3] in task %u", t);
                return;
            }
    }
}

static void decode_spec(const json_t *json, const char *pointer, unsigned flags, void *target,
                        struct rb_problems *problems)
{
    char **spec = target;
    (void)flags;
    if (!json_is_object(json)) {
        rb_problems_add(problems, pointer, "expected a job's spec");
        return;
    }
    *spec = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (*spec == NULL)
        problems->out_of_memory = true;
}

#define AT(field) .offset = offsetof(struct draft, field)
static const struct rb_field fields[] = {
    {.key = "format",
     .type = RB_FIELD_UINT,
     AT(format),
     .required = true,
     .low = RB_BUNDLE_FORMAT,
     .high = RB_BUNDLE_FORMAT},
    {.key = "version",
     .type = RB_FIELD_STRING,
     AT(bundle.version),
     .required = true,
     .low = 1,
     .high = 64},
    {.key = "unit",
     .type = RB_FIELD_ENUM,
     AT(bundle.unit),
     .required = true,
     .names = rb_unit_names},
    {.key = "job", .type = RB_FIELD_JOB_ID, AT(bundle.job), .required = true},
    {.key = "attempt",
     .type = RB_FIELD_UINT,
     AT(bundle.attempt),
     .required = true,
     .low = 1,
     .high = 1e9},
    {.key = "tries", .type = RB_FIELD_UINT, AT(bundle.tries), .low = 0, .high = 1000},
    {.key = "spec",
     .type = RB_FIELD_CUSTOM,
     AT(spec),
     .required = true,
     .expected = "a job's spec",
     .decode = decode_spec},
    {.key = "inputs",
     .type = RB_FIELD_CUSTOM,
     AT(bundle),
     .required = true,
     .expected = "an array of inputs",
     .decode = decode_inputs},
    {.key = "solved", .type = RB_FIELD_BOOL, AT(bundle.solved), .required = true},
    {.key = "learned", .type = RB_FIELD_BOOL, AT(bundle.learned), .required = true},
    {.key = "certified", .type = RB_FIELD_BOOL, AT(bundle.certified), .required = true},
    {.key = "tasks",
     .type = RB_FIELD_CUSTOM,
     AT(bundle),
     .required = true,
     .expected = "an array of tasks",
     .decode = decode_tasks},
    {.key = "merged",
     .type = RB_FIELD_NUMBERS,
     AT(bundle.merged),
     .required = true,
     .low = 0,
     .high = 1,
     .most = RB_MERGED_MAX},
};
static const struct rb_object object = {
    .fields = fields, .field_count = sizeof fields / sizeof fields[0], .given_offset = RB_NO_GIVEN};

enum rb_status rb_bundle_decode(const char *text, size_t bytes, struct rb_bundle *ret,
                                struct rb_error *err)
{
    struct draft d = {0};
    struct rb_problems problems = {0};
    json_t *json;
    enum rb_status status = rb_body_parse(text, bytes, RB_BUNDLE_BYTES_MAX, &json, err);
    if (status != RB_OK)
        return status;
    rb_object_decode(json, "", &object, 0, &d, &problems);
    json_decref(json);
    d.bundle.spec_json = d.spec;
    status = rb_problems_status(&problems, err);
    if (status == RB_OK)
        *ret = d.bundle;
    else
        rb_bundle_deinit(&d.bundle);
    return status;
}
