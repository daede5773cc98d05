// LINK: core_merge
/* The decoders' forward pass against golden/forward.json, which another implementation wrote: 24
 * tokens through each fixture model; logits of three positions, and the first features of every tap
 * at the last position. Tolerance: F32 passes of four layers in another order, relative to
 * max(1, |x|); the file has seven digits. */
#include "unit/numbers.h"

#include "core/model/walker.h"

#include <cblas.h>
#include <jansson.h>
#include <stdio.h>

static const double TOLERANCE = 2e-5;

enum { TOKENS_MOST = 64, FEATURES = 4, LAYERS_MOST = 8 };

struct features {
    float first[LAYERS_MOST][6][FEATURES]; /* q k v mha middle ff of the last token */
    float residual[LAYERS_MOST + 1][FEATURES];
};

struct fixture {
    struct rb_model model;
    struct rb_blend blend;
    struct rb_sequences sequences;
    size_t starts[2];
    int32_t ids[TOKENS_MOST];
    uint8_t types[TOKENS_MOST];
    struct rb_walker walker;
    struct rb_scratch scratch;
    struct features found;
    struct rb_error err;
    double worst;
};

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != RB_OK)                                                                       \
            fail_msg("%s", f->err.detail);                                                         \
    } while (0)

static size_t last_of(const struct fixture *f)
{
    return f->starts[1] - 1;
}

static enum rb_status before(void *owner, const struct rb_visit *at, const float *x,
                             struct rb_layer_call *call, struct rb_scratch *scratch,
                             struct rb_error *err)
{
    struct fixture *f = owner;
    const struct rb_config *c = call->config;
    size_t n = f->starts[1], d = c->hidden_size, q = (size_t)rb_config_dim(c, RB_DIM_QUERY);
    size_t k = (size_t)rb_config_dim(c, RB_DIM_KEY);
    if (at->layer == 0)
        memcpy(f->found.residual[0], x + last_of(f) * d, sizeof f->found.residual[0]);
    call->taps = (struct rb_layer_taps){
        .q = rb_scratch_alloc(scratch, n * q, sizeof(float)),
        .k = rb_scratch_alloc(scratch, n * k, sizeof(float)),
        .v = rb_scratch_alloc(scratch, n * k, sizeof(float)),
        .mha = rb_scratch_alloc(scratch, n * q, sizeof(float)),
        .middle = c->parallel_residual ? NULL : rb_scratch_alloc(scratch, n * d, sizeof(float)),
        .ff = rb_scratch_alloc(scratch, n * c->mlp.inner_size, sizeof(float)),
    };
    (void)err;
    return RB_OK;
}

static enum rb_status after(void *owner, const struct rb_visit *at, const float *x,
                            const struct rb_layer_taps *taps, struct rb_scratch *scratch,
                            struct rb_error *err)
{
    struct fixture *f = owner;
    const struct rb_config *c = &f->model.config;
    size_t d = c->hidden_size, q = (size_t)rb_config_dim(c, RB_DIM_QUERY);
    size_t k = (size_t)rb_config_dim(c, RB_DIM_KEY), inner = c->mlp.inner_size;
    const float *from[] = {taps->q, taps->k, taps->v, taps->mha, taps->middle, taps->ff};
    const size_t widths[] = {q, k, k, q, d, inner};
    for (size_t i = 0; i < COUNT(from); i++)
        if (from[i] != NULL)
            memcpy(f->found.first[at->layer][i], from[i] + last_of(f) * widths[i],
                   sizeof f->found.first[0][0]);
    memcpy(f->found.residual[at->layer + 1], x + last_of(f) * d, sizeof f->found.residual[0]);
    (void)scratch;
    (void)err;
    return RB_OK;
}

static void walk(struct fixture *f)
{
    const struct rb_walker_options o = {
        .reads = RB_READ_ALL, .with_head = true, .ahead = true, .taps = {f, before, after}};
    size_t items;
    OK(rb_walker_init(&f->walker, &f->blend, 1, &f->sequences, &o, &f->err));
    OK(rb_walker_begin(&f->walker, 0, 1, &items, &f->err));
    while (items > 0) {
        for (size_t i = 0; i < items; i++) {
            rb_scratch_reset(&f->scratch);
            OK(rb_walker_item(&f->walker, i, &f->scratch, &f->err));
        }
        OK(rb_walker_next(&f->walker, &items, &f->err));
    }
}

static void near(struct fixture *f, const char *what, size_t i, float found, const json_t *expected)
{
    double e = json_number_value(expected), share = fabs((double)found - e) / fmax(1, fabs(e));
    if (!(share <= TOLERANCE))
        fail_msg("%s[%zu]: %.9g, expected %.9g", what, i, (double)found, e);
    f->worst = fmax(f->worst, share);
}

/* "layer.2.mha", "residual.3": where the test keeps it. */
static const float *found_at(const struct fixture *f, const char *tap)
{
    static const char *const kinds[] = {"q", "k", "v", "mha", "", "ff"};
    unsigned layer, k;
    char kind[16];
    if (sscanf(tap, "residual.%u", &k) == 1) {
        if (f->model.config.parallel_residual)
            return f->found.residual[k];
        return k % 2 == 0 ? f->found.residual[k / 2] : f->found.first[k / 2][4];
    }
    assert_int_equal(sscanf(tap, "layer.%u.%15s", &layer, kind), 2);
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (strcmp(kind, kinds[i]) == 0)
            return f->found.first[layer][i];
    fail_msg("unknown tap %s", tap);
    return NULL;
}

static void check_logits(struct fixture *f, const json_t *positions)
{
    size_t vocabulary = rb_head_outputs(&f->model), width = rb_head_width(&f->model);
    struct rb_head_tile tile;
    const char *position;
    json_t *expected;
    rb_scratch_reset(&f->scratch);
    OK(rb_head_read_tile(&f->blend, 0, vocabulary, &tile, &f->scratch, &f->err));
    float *row = rb_scratch_alloc(&f->scratch, width, sizeof(float));
    assert_int_equal(width, f->model.config.hidden_size);
    json_object_foreach((json_t *)(uintptr_t)positions, position, expected)
    {
        size_t at = (size_t)atoi(position);
        OK(rb_head_apply(&f->model, &f->walker.sides[0].head, rb_walker_row(&f->walker, 0, 0, at),
                         1, row, &f->scratch, &f->err));
        assert_int_equal(json_array_size(expected), vocabulary);
        for (size_t i = 0; i < vocabulary; i++)
            near(f, position, i,
                 cblas_sdot((int)width, row, 1, tile.weight + i * width, 1) + tile.bias[i],
                 json_array_get(expected, i));
    }
}

static void check_model(const char *name, const json_t *expected)
{
    struct fixture fixture = {0}, *f = &fixture;
    const json_t *ids = json_object_get(expected, "ids"), *values;
    const char *tap;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/models/%s", RB_FIXTURES, name);
    OK(rb_model_open(path, &f->model, &f->err));
    f->blend = rb_blend_single(&f->model, NULL);
    f->starts[1] = json_array_size(ids);
    assert_in_range(f->starts[1], 1, TOKENS_MOST);
    assert_in_range(f->model.config.num_hidden_layers, 1, LAYERS_MOST);
    for (size_t i = 0; i < f->starts[1]; i++)
        f->ids[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    f->sequences = (struct rb_sequences){
        .count = 1, .starts = f->starts, .ids = f->ids, .types = f->types, .special = f->types};
    OK(rb_sequences_check(&f->model.config, &f->sequences, &f->err));
    rb_scratch_init(&f->scratch);
    walk(f);
    json_object_foreach(json_object_get(expected, "features_at_23_first_4"), tap,
                        values) for (size_t i = 0; i < FEATURES; i++)
        near(f, tap, i, found_at(f, tap)[i], json_array_get(values, i));
    check_logits(f, json_object_get(expected, "logits"));
    print_message("  %s: worst difference %.2g\n", name, f->worst);
    rb_walker_deinit(&f->walker);
    rb_scratch_deinit(&f->scratch);
    rb_model_deinit(&f->model);
}

static void test_models(void **state)
{
    (void)state;
    json_t *file = json_load_file(RB_FIXTURES "/golden/forward.json", 0, NULL), *expected;
    const char *name;
    assert_non_null(file);
    json_object_foreach(json_object_get(file, "models"), name, expected)
        check_model(name, expected);
    assert_int_equal(json_object_size(json_object_get(file, "models")), 6);
    json_decref(file);
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
