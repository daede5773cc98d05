#include "api/matrix.h"
#include "api/names.h"
#include "core/align/pairs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool rb_matrix_is(const char *kind)
{
    return strcmp(kind, RB_MATRIX_KIND) == 0;
}

/* ---- the body ---- */

static void check_name(const json_t *models, size_t i, const char *pointer,
                       struct rb_problems *problems)
{
    const json_t *model = json_array_get(models, i);
    const char *name = json_string_value(model);
    char at[160], found[80];
    (void)snprintf(at, sizeof at, "%s/%zu", pointer, i);
    rb_json_describe(model, found, sizeof found);
    if (name == NULL || !rb_name_valid(name, json_string_length(model))) {
        rb_problems_add(problems, at, "expected a model's name, " RB_NAME_RULE ", found %s", found);
        return;
    }
    for (size_t k = 0; k < i; k++)
        if (json_equal(json_array_get(models, k), model)) {
            rb_problems_add(problems, at, "the model '%s' is there already, at %zu", name, k);
            return;
        }
}

/* {"models":[{"a","b"}, …]}: new; NULL without memory. */
static json_t *grid_of(const json_t *models)
{
    size_t n = json_array_size(models);
    json_t *pairs = json_array();
    bool fine = pairs != NULL;
    for (size_t i = 0; i < rb_pair_count(n) && fine; i++) {
        struct rb_pair p = rb_pair_at(n, i);
        fine =
            json_array_append_new(pairs, json_pack("{s:O, s:O}", "a", json_array_get(models, p.a),
                                                   "b", json_array_get(models, p.b))) == 0;
    }
    json_t *grid = fine ? json_pack("{s:O}", "models", pairs) : NULL;
    json_decref(pairs);
    return grid;
}

static void decode_models(const json_t *json, const char *pointer, unsigned flags, void *target,
                          struct rb_problems *problems)
{
    json_t **ret = target;
    size_t n = json_array_size(json), before = problems->count;
    char found[80];
    (void)flags;
    (void)snprintf(found, sizeof found, "%zu", n);
    if (!json_is_array(json))
        rb_json_describe(json, found, sizeof found);
    if (!json_is_array(json) || n < 2 || n > RB_MATRIX_MODELS_MAX) {
        rb_problems_add(problems, pointer, "expected a list of 2 to %d models, found %s",
                        RB_MATRIX_MODELS_MAX, found);
        return;
    }
    for (size_t i = 0; i < n; i++)
        check_name(json, i, pointer, problems);
    if (problems->count > before)
        return;
    *ret = grid_of(json);
    problems->out_of_memory |= *ret == NULL;
}

static void decode_spec(const json_t *json, const char *pointer, unsigned flags, void *target,
                        struct rb_problems *problems)
{
    json_t **ret = target;
    char found[80];
    (void)flags;
    if (!json_is_object(json)) {
        rb_json_describe(json, found, sizeof found);
        rb_problems_add(problems, pointer,
                        "expected a job, as POST /v1/jobs takes it but without models, found %s",
                        found);
        return;
    }
    *ret = json_incref((json_t *)(uintptr_t)json);
    if (json_object_get(json, "models") != NULL) {
        char at[160];
        (void)snprintf(at, sizeof at, "%s/models", pointer);
        rb_problems_add(problems, at, "the models of a matrix stand beside its spec");
    }
}

static const struct rb_field fields[] = {
    {.key = "models",
     .type = RB_FIELD_CUSTOM,
     .offset = offsetof(struct rb_sweep, grid),
     .required = true,
     .expected = "a list of models",
     .decode = decode_models},
    {.key = "spec",
     .type = RB_FIELD_CUSTOM,
     .offset = offsetof(struct rb_sweep, spec),
     .required = true,
     .expected = "a job without models",
     .decode = decode_spec},
    {.key = "name",
     .type = RB_FIELD_STRING,
     .offset = offsetof(struct rb_sweep, name),
     .low = 1,
     .high = RB_JOB_NAME_MAX},
    {.key = "labels", .type = RB_FIELD_LABELS, .offset = offsetof(struct rb_sweep, labels)},
};
static const struct rb_object object = {
    .fields = fields, .field_count = sizeof fields / sizeof fields[0], .given_offset = RB_NO_GIVEN};

enum rb_status rb_matrix_decode(const json_t *json, struct rb_sweep *ret,
                                struct rb_problems *problems, struct rb_error *err)
{
    return rb_sweep_decode_as(&object, json, ret, problems, err);
}

/* ---- its models ---- */

static const json_t *pairs_of(const json_t *grid)
{
    return json_object_get(grid, "models");
}

size_t rb_matrix_models(const json_t *grid)
{
    size_t n = 2, pairs = json_array_size(pairs_of(grid));
    while (rb_pair_count(n) < pairs)
        n++;
    return n;
}

size_t rb_matrix_among(size_t models, size_t first, size_t end)
{
    bool seen[RB_MODELS_MAX] = {false};
    size_t count = 0;
    for (size_t i = first; i < end; i++) {
        const struct rb_pair p = rb_pair_at(models, i);
        seen[p.a] = seen[p.b] = true;
    }
    for (size_t m = 0; m < models; m++)
        count += seen[m];
    return count;
}

const char *rb_matrix_model(const json_t *grid, size_t pair, size_t side)
{
    return json_string_value(
        json_object_get(json_array_get(pairs_of(grid), pair), side == 0 ? "a" : "b"));
}

static const char *name_of(const json_t *grid, size_t model)
{
    return rb_matrix_model(grid, model > 0 ? model - 1 : 0, model > 0);
}

void rb_matrix_place(const json_t *grid, char *pointer, size_t size)
{
    static const char own[] = "/grid";
    char *end = pointer;
    if (strncmp(pointer, own, sizeof own - 1) != 0)
        return;
    size_t n = rb_matrix_models(grid), models = strlen("/grid/models/");
    size_t at = strlen(pointer) > models ? strtoul(pointer + models, &end, 10) : SIZE_MAX;
    bool one = at < rb_pair_count(n) && end[0] == '/' && (end[1] == 'a' || end[1] == 'b');
    if (!one) {
        (void)snprintf(pointer, size, "/models");
        return;
    }
    struct rb_pair p = rb_pair_at(n, at);
    (void)snprintf(pointer, size, "/models/%u", end[1] == 'a' ? p.a : p.b);
}

/* ---- the order ---- */

enum { MOST = RB_MATRIX_MODELS_MAX };

struct cluster {
    size_t count, models[MOST]; /* 0: it is part of another */
};

static double between(const double *barriers, size_t n, size_t a, size_t b)
{
    double d = barriers[a * n + b];
    return isnan(d) ? (double)INFINITY : d;
}

static double distance(const double *barriers, size_t n, const struct cluster *a,
                       const struct cluster *b)
{
    double sum = 0;
    for (size_t i = 0; i < a->count; i++)
        for (size_t k = 0; k < b->count; k++)
            sum += between(barriers, n, a->models[i], b->models[k]);
    return sum / (double)(a->count * b->count);
}

static void turn(struct cluster *c)
{
    for (size_t i = 0, k = c->count - 1; i < k; i++, k--) {
        size_t model = c->models[i];
        c->models[i] = c->models[k];
        c->models[k] = model;
    }
}

/* a gets what b has, each turned as brings their nearest ends together. */
static void join(const double *barriers, size_t n, struct cluster *a, struct cluster *b)
{
    const size_t of_a[] = {a->models[a->count - 1], a->models[0]};
    const size_t of_b[] = {b->models[0], b->models[b->count - 1]};
    size_t best = 0;
    for (size_t i = 1; i < 4; i++)
        if (between(barriers, n, of_a[i / 2], of_b[i % 2]) <
            between(barriers, n, of_a[best / 2], of_b[best % 2]))
            best = i;
    if (best / 2 == 1)
        turn(a);
    if (best % 2 == 1)
        turn(b);
    memcpy(a->models + a->count, b->models, b->count * sizeof *b->models);
    a->count += b->count;
    b->count = 0;
}

void rb_matrix_order(const double *barriers, size_t n, size_t *ret)
{
    struct cluster clusters[MOST];
    for (size_t i = 0; i < n; i++)
        clusters[i] = (struct cluster){1, {i}};
    for (size_t left = n; left > 1; left--) {
        struct cluster *a = NULL, *b = NULL;
        double nearest = 0;
        for (size_t i = 0; i < n; i++)
            for (size_t k = i + 1; k < n && clusters[i].count > 0; k++) {
                if (clusters[k].count == 0)
                    continue;
                double d = distance(barriers, n, &clusters[i], &clusters[k]);
                if (a == NULL || d < nearest) {
                    a = &clusters[i];
                    b = &clusters[k];
                    nearest = d;
                }
            }
        join(barriers, n, a, b);
    }
    memcpy(ret, clusters[0].models, n * sizeof *ret);
}

/* ---- what it shows ---- */

void rb_matrix_pair_encode(struct rb_json *w, const char *key, const json_t *grid, size_t pair)
{
    rb_json_object(w, key);
    rb_json_string(w, "a", rb_matrix_model(grid, pair, 0));
    rb_json_string(w, "b", rb_matrix_model(grid, pair, 1));
    rb_json_end(w);
}

void rb_matrix_encode(struct rb_json *w, const char *key, const json_t *grid,
                      const double *of_pairs)
{
    double barriers[MOST * MOST];
    size_t order[MOST], n = rb_matrix_models(grid);
    for (size_t i = 0; i < n; i++)
        barriers[i * n + i] = (double)NAN;
    for (size_t i = 0; i < rb_pair_count(n); i++) {
        struct rb_pair p = rb_pair_at(n, i);
        barriers[p.a * n + p.b] = barriers[p.b * n + p.a] = of_pairs[i];
    }
    rb_matrix_order(barriers, n, order);
    rb_json_object(w, key);
    rb_json_array(w, "models");
    for (size_t i = 0; i < n; i++)
        rb_json_string(w, NULL, name_of(grid, i));
    rb_json_end(w);
    rb_json_array(w, "order");
    for (size_t i = 0; i < n; i++)
        rb_json_uint(w, NULL, order[i]);
    rb_json_end(w);
    rb_json_array(w, "barriers");
    for (size_t i = 0; i < n; i++) {
        rb_json_array(w, NULL);
        for (size_t k = 0; k < n; k++)
            rb_json_number(w, NULL, barriers[i * n + k]);
        rb_json_end(w);
    }
    rb_json_end(w);
    rb_json_end(w);
}
