#include "api/product.h"
#include "api/body.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Decodes a text into target by its table. */
static enum rb_status decode(const char *text, size_t bytes, const struct rb_object *object,
                             void *target, struct rb_error *err)
{
    struct rb_problems problems = {0};
    json_t *json;
    enum rb_status status = rb_body_parse(text, bytes, RB_PRODUCT_JSON_MAX, &json, err);
    if (status != RB_OK)
        return status;
    rb_object_decode(json, "", object, 0, target, &problems);
    json_decref(json);
    return rb_problems_status(&problems, err);
}

/* A word of text into a buffer, cut. */
static void take_word(char **from, char *to, size_t size)
{
    if (*from != NULL)
        (void)snprintf(to, size, "%s", *from);
    free(*from);
    *from = NULL;
}

#define OBJECT(name, table)                                                                        \
    static const struct rb_object name = {.fields = (table),                                       \
                                          .field_count = sizeof(table) / sizeof(table)[0],         \
                                          .given_offset = RB_NO_GIVEN}

/* ---- seals ---- */

struct seal_draft {
    char *sha256, *node, *cpu, *blas_kernel;
    struct rb_seal seal;
};

void rb_seal_encode(struct rb_json *w, const char *key, const struct rb_seal *s)
{
    rb_json_object(w, key);
    rb_json_uint(w, "bytes", s->bytes);
    rb_json_string(w, "sha256", s->sha256);
    rb_json_uint(w, "attempt", s->attempt);
    rb_json_uint(w, "task", s->task);
    rb_json_string(w, "node", s->node);
    rb_json_string(w, "cpu", s->cpu);
    rb_json_string(w, "blas_kernel", s->blas_kernel);
    rb_json_uint(w, "threads", s->threads);
    rb_json_end(w);
}

#define SEAL(field) .offset = offsetof(struct seal_draft, field), .required = true
static const struct rb_field seal_fields[] = {
    {.key = "bytes", .type = RB_FIELD_UINT64, SEAL(seal.bytes), .low = 0, .high = 9e15},
    {.key = "sha256", .type = RB_FIELD_STRING, SEAL(sha256), .low = 64, .high = 64},
    {.key = "attempt", .type = RB_FIELD_UINT, SEAL(seal.attempt), .low = 0, .high = 1e9},
    {.key = "task", .type = RB_FIELD_UINT, SEAL(seal.task), .low = 0, .high = 1e6},
    {.key = "node", .type = RB_FIELD_STRING, SEAL(node), .low = 0, .high = 256},
    {.key = "cpu", .type = RB_FIELD_STRING, SEAL(cpu), .low = 0, .high = 256},
    {.key = "blas_kernel", .type = RB_FIELD_STRING, SEAL(blas_kernel), .low = 0, .high = 256},
    {.key = "threads", .type = RB_FIELD_UINT, SEAL(seal.threads), .low = 0, .high = 1e6},
};
OBJECT(seal_object, seal_fields);

enum rb_status rb_seal_decode(const char *text, size_t bytes, struct rb_seal *ret,
                              struct rb_error *err)
{
    struct seal_draft d = {0};
    enum rb_status status = decode(text, bytes, &seal_object, &d, err);
    take_word(&d.sha256, d.seal.sha256, sizeof d.seal.sha256);
    take_word(&d.node, d.seal.node, sizeof d.seal.node);
    take_word(&d.cpu, d.seal.cpu, sizeof d.seal.cpu);
    take_word(&d.blas_kernel, d.seal.blas_kernel, sizeof d.seal.blas_kernel);
    if (status == RB_OK)
        *ret = d.seal;
    return status;
}

/* ---- points ---- */

struct point_draft {
    int curve;
    struct rb_product_point p;
    struct rb_numbers blocks;
};

void rb_product_point_deinit(struct rb_product_point *p)
{
    free(p->blocks);
    *p = (struct rb_product_point){0};
}

void rb_product_point_encode(struct rb_json *w, const char *key, const struct rb_product_point *p)
{
    rb_json_object(w, key);
    rb_json_string(w, "curve", rb_curve_names[p->curve]);
    rb_json_uint(w, "index", p->index);
    rb_json_number(w, "lambda", p->point.lambda);
    rb_json_number(w, "loss", p->point.loss);
    rb_json_number(w, "standard_error", p->point.standard_error);
    rb_json_array(w, "metrics"); /* in enum order, null where not computed */
    for (int m = 0; m < RB_METRIC_COUNT; m++)
        rb_json_number(w, NULL, p->point.metrics[m]);
    rb_json_end(w);
    rb_json_array(w, "blocks"); /* sum, square, count of each */
    for (size_t i = 0; i < p->block_count; i++) {
        rb_json_number(w, NULL, p->blocks[i].sum);
        rb_json_number(w, NULL, p->blocks[i].square);
        rb_json_number(w, NULL, p->blocks[i].count);
    }
    rb_json_end(w);
    rb_json_end(w);
}

static void decode_metrics(const json_t *json, const char *pointer, unsigned flags, void *target,
                           struct rb_problems *problems)
{
    double *metrics = target;
    (void)flags;
    if (json_array_size(json) != RB_METRIC_COUNT) {
        rb_problems_add(problems, pointer, "expected an array of %d", RB_METRIC_COUNT);
        return;
    }
    for (size_t m = 0; m < RB_METRIC_COUNT; m++) {
        const json_t *value = json_array_get(json, m);
        if (!json_is_number(value) && !json_is_null(value))
            rb_problems_add(problems, pointer, "expected numbers or null");
        metrics[m] = json_is_number(value) ? json_number_value(value) : (double)NAN;
    }
}

#define POINT(field) .offset = offsetof(struct point_draft, field), .required = true
static const struct rb_field point_fields[] = {
    {.key = "curve", .type = RB_FIELD_ENUM, POINT(curve), .names = rb_curve_names},
    {.key = "index", .type = RB_FIELD_UINT, POINT(p.index), .low = 0, .high = RB_POINTS_MAX - 1},
    {.key = "lambda", .type = RB_FIELD_NUMBER, POINT(p.point.lambda), .low = 0, .high = 1},
    {.key = "loss", .type = RB_FIELD_NUMBER, POINT(p.point.loss), .low = -1e300, .high = 1e300},
    {.key = "standard_error",
     .type = RB_FIELD_NUMBER,
     POINT(p.point.standard_error),
     .low = 0,
     .high = 1e300},
    {.key = "metrics",
     .type = RB_FIELD_CUSTOM,
     POINT(p.point.metrics),
     .expected = "an array of numbers or null",
     .decode = decode_metrics},
    {.key = "blocks",
     .type = RB_FIELD_NUMBERS,
     POINT(blocks),
     .low = -1e300,
     .high = 1e300,
     .most = 3 * 1000 * 1000},
};
OBJECT(point_object, point_fields);

enum rb_status rb_product_point_decode(const char *text, size_t bytes, struct rb_product_point *ret,
                                       struct rb_error *err)
{
    struct point_draft d = {0};
    enum rb_status status = decode(text, bytes, &point_object, &d, err);
    size_t count = d.blocks.count / 3;
    if (status == RB_OK && d.blocks.count % 3 != 0)
        status = rb_error_set(err, RB_EINPUT, "expected three numbers for each block, found %zu",
                              d.blocks.count);
    if (status == RB_OK) {
        d.p.blocks = calloc(count + 1, sizeof *d.p.blocks);
        if (d.p.blocks == NULL)
            status = rb_error_set(err, RB_ENOMEM, "no memory for a point's blocks");
    }
    for (size_t i = 0; status == RB_OK && i < count; i++)
        d.p.blocks[i] = (struct rb_block){d.blocks.values[3 * i], d.blocks.values[3 * i + 1],
                                          d.blocks.values[3 * i + 2]};
    rb_numbers_deinit(&d.blocks);
    if (status != RB_OK)
        return status;
    d.p.curve = (uint32_t)d.curve;
    d.p.block_count = count;
    *ret = d.p;
    return RB_OK;
}

/* ---- how a task ended ---- */

struct outcome_draft {
    char *code, *detail, *warning;
    struct rb_outcome outcome;
};

void rb_outcome_encode(struct rb_json *w, const char *key, const struct rb_outcome *o)
{
    rb_json_object(w, key);
    rb_json_bool(w, "job_failed", o->job_failed);
    rb_json_string(w, "code", rb_problem_code(o->status));
    rb_json_string(w, "detail", o->detail);
    if (o->warning[0] != '\0')
        rb_json_string(w, "warning", o->warning);
    rb_json_end(w);
}

#define OUTCOME(field) .offset = offsetof(struct outcome_draft, field), .required = true
static const struct rb_field outcome_fields[] = {
    {.key = "job_failed", .type = RB_FIELD_BOOL, OUTCOME(outcome.job_failed)},
    {.key = "code", .type = RB_FIELD_STRING, OUTCOME(code), .low = 1, .high = 64},
    {.key = "detail", .type = RB_FIELD_STRING, OUTCOME(detail), .low = 0, .high = 600},
    {.key = "warning",
     .type = RB_FIELD_STRING,
     .offset = offsetof(struct outcome_draft, warning),
     .low = 0,
     .high = 600},
};
OBJECT(outcome_object, outcome_fields);

enum rb_status rb_outcome_decode(const char *text, size_t bytes, struct rb_outcome *ret,
                                 struct rb_error *err)
{
    struct outcome_draft d = {0};
    enum rb_status status = decode(text, bytes, &outcome_object, &d, err);
    d.outcome.status = d.code != NULL ? rb_problem_status(d.code) : RB_OK;
    if (d.outcome.status == RB_OK && d.code != NULL && strcmp(d.code, rb_problem_code(RB_OK)) != 0)
        d.outcome.status = RB_EINTERNAL; /* a code of another version */
    take_word(&d.detail, d.outcome.detail, sizeof d.outcome.detail);
    take_word(&d.warning, d.outcome.warning, sizeof d.outcome.warning);
    free(d.code);
    if (status == RB_OK)
        *ret = d.outcome;
    return status;
}

/* ---- how far it is ---- */

struct progress_draft {
    int phase;
    double fraction;
    uint64_t at_ms;
};

void rb_unit_progress_encode(struct rb_json *w, const char *key, const struct rb_unit_progress *p)
{
    rb_json_object(w, key);
    rb_json_string(w, "phase", rb_phase_names[p->phase]);
    rb_json_number(w, "fraction", p->fraction);
    rb_json_uint(w, "at_ms", (uint64_t)p->at_ms);
    rb_json_end(w);
}

#define PROGRESS(field) .offset = offsetof(struct progress_draft, field), .required = true
static const struct rb_field progress_fields[] = {
    {.key = "phase", .type = RB_FIELD_ENUM, PROGRESS(phase), .names = rb_phase_names},
    {.key = "fraction", .type = RB_FIELD_NUMBER, PROGRESS(fraction), .low = 0, .high = 1},
    {.key = "at_ms", .type = RB_FIELD_UINT64, PROGRESS(at_ms), .low = 0, .high = 9e15},
};
OBJECT(progress_object, progress_fields);

enum rb_status rb_unit_progress_decode(const char *text, size_t bytes, struct rb_unit_progress *ret,
                                       struct rb_error *err)
{
    struct progress_draft d = {0};
    enum rb_status status = decode(text, bytes, &progress_object, &d, err);
    if (status == RB_OK)
        *ret = (struct rb_unit_progress){(enum rb_phase)d.phase, d.fraction, (int64_t)d.at_ms};
    return status;
}
