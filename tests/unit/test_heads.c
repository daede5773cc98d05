// LINK: core_merge core_text
/* Every head of RoBERTa, DistilBERT and ELECTRA against golden/heads.json: token ids of texts and
 * pairs, last hidden states, logits; and each of them moved by random orders, certified. Tolerance:
 * F32 sums of ten-wide models in another order. */
#include "unit/numbers.h"

#include "core/align/alignment.h"
#include "core/align/certify.h"
#include "core/model/linear.h"
#include "core/model/walker.h"
#include "core/program.h"
#include "core/text/packing.h"
#include "core/text/tokenizer_open.h"

#include <cblas.h>

static const double TOLERANCE = 1e-5; /* the golden file has five decimals of some */

enum { LONGEST = 24 };

struct fixture {
    const char *name;
    struct rb_model model;
    struct rb_tokenizer *tokenizer;
    struct rb_worker worker;
    struct rb_error err;
    size_t values; /* compared */
    double worst;
};

static void near(struct fixture *f, const char *what, float found, const json_t *expected)
{
    double difference = fabs((double)found - json_number_value(expected));
    f->values++;
    f->worst = fmax(f->worst, difference);
    if (!(difference <= TOLERANCE))
        fail_msg("%s: %s: %.9g, golden %.9g", f->name, what, (double)found,
                 json_number_value(expected));
}

/* One example as a dataset of one line, through the tokenizer. */
static void read_example(struct fixture *f, const json_t *e, struct rb_sequences *ret)
{
    const json_t *pair = json_object_get(e, "text_pair");
    json_t *line = json_pack("{s:O, s:O, s:i}", "a", json_object_get(e, "text"), "b",
                             json_is_string(pair) ? pair : json_object_get(e, "text"), "label", 0);
    char *text = json_dumps(line, JSON_COMPACT);
    const struct rb_dataset_view view = {.label = "example",
                                         .format = RB_JSONL,
                                         .data = text,
                                         .bytes = strlen(text),
                                         .fields = {"a", json_is_string(pair) ? "b" : NULL, NULL}};
    MUST(rb_sequences_from_rows(f->tokenizer, &view, 1, LONGEST, ret, &f->err), &f->err);
    json_decref(line);
    free(text);
    const json_t *ids = json_object_get(e, "ids"), *types = json_object_get(e, "token_type_ids");
    assert_int_equal(ret->count, 1);
    assert_int_equal(ret->starts[1], json_array_size(ids));
    for (size_t i = 0; i < ret->starts[1]; i++) {
        assert_int_equal(ret->ids[i], json_integer_value(json_array_get(ids, i)));
        if (json_is_array(types))
            assert_int_equal(ret->types[i], json_integer_value(json_array_get(types, i)));
    }
    MUST(rb_sequences_check(&f->model.config, ret, &f->err), &f->err);
}

static void walk(struct fixture *f, struct rb_walker *w)
{
    size_t items;
    MUST(rb_walker_begin(w, 0, 1, &items, &f->err), &f->err);
    while (items > 0) {
        for (size_t i = 0; i < items; i++) {
            rb_scratch_reset(&f->worker.scratch);
            MUST(rb_walker_item(w, i, &f->worker.scratch, &f->err), &f->err);
        }
        MUST(rb_walker_next(w, &items, &f->err), &f->err);
    }
}

/* One row's logits, (outputs), in the worker's scratch. */
static const float *logits_of(struct fixture *f, const struct rb_blend *blend,
                              const struct rb_weights *head, const float *x)
{
    struct rb_scratch *scratch = &f->worker.scratch;
    size_t width = rb_head_width(&f->model), outputs = rb_head_outputs(&f->model);
    rb_scratch_reset(scratch);
    float *y = rb_scratch_alloc(scratch, width, sizeof *y);
    float *logits = rb_scratch_alloc(scratch, outputs, sizeof *logits);
    struct rb_head_tile tile;
    MUST(rb_head_apply(&f->model, head, x, 1, y, scratch, &f->err), &f->err);
    MUST(rb_head_read_tile(blend, 0, outputs, &tile, scratch, &f->err), &f->err);
    rb_linear(y, 1, width, tile.weight, outputs, logits);
    for (size_t i = 0; i < outputs; i++)
        logits[i] += tile.bias[i];
    return logits;
}

static void check_logits(struct fixture *f, const struct rb_blend *blend, const struct rb_walker *w,
                         const json_t *e)
{
    const json_t *logits = json_object_get(e, "logits"), *rows = json_object_get(e, "logit_rows");
    size_t count = rows != NULL                             ? json_array_size(rows)
                   : f->model.head == RB_HEAD_DISCRIMINATOR ? json_array_size(logits)
                                                            : 1;
    size_t step = rows != NULL ? 8 : 1; /* "every 8th" */
    for (size_t r = 0; r < count; r++) {
        size_t at = rows != NULL ? (size_t)json_integer_value(json_array_get(rows, r)) : r;
        const float *found = logits_of(f, blend, &w->sides[0].head, rb_walker_row(w, 0, 0, at));
        const json_t *expected = rows != NULL ? json_array_get(logits, r) : logits;
        size_t outputs = rb_head_outputs(&f->model), n = (outputs + step - 1) / step;
        if (f->model.head == RB_HEAD_DISCRIMINATOR) {
            near(f, "logit", found[0], json_array_get(expected, r));
            continue;
        }
        assert_int_equal(json_array_size(expected), n);
        for (size_t i = 0; i < n; i++)
            near(f, "logit", found[i * step], json_array_get(expected, i));
    }
}

static void check_example(struct fixture *f, const json_t *e)
{
    const struct rb_blend blend = rb_blend_single(&f->model, NULL);
    const struct rb_walker_options o = {.reads = RB_READ_ALL, .with_head = true, .ahead = true};
    struct rb_sequences s;
    struct rb_walker w = {0};
    const json_t *hidden = json_object_get(e, "hidden");
    size_t d = f->model.config.hidden_size;
    read_example(f, e, &s);
    MUST(rb_walker_init(&w, &blend, 1, &s, &o, &f->err), &f->err);
    walk(f, &w);
    assert_int_equal(rb_walker_rows(&w), json_array_size(hidden));
    for (size_t t = 0; t < json_array_size(hidden); t++)
        for (size_t j = 0; j < d; j++)
            near(f, "hidden state", rb_walker_row(&w, 0, 0, t)[j],
                 json_array_get(json_array_get(hidden, t), j));
    check_logits(f, &blend, &w, e);
    rb_walker_deinit(&w);
    rb_sequences_deinit(&s);
}

static void test_every_head(void **state)
{
    (void)state;
    json_t *json = json_load_file(RB_FIXTURES "/golden/heads.json", 0, NULL), *examples, *e;
    const char *name;
    size_t i;
    assert_non_null(json);
    json_object_foreach(json_object_get(json, "models"), name, examples)
    {
        struct fixture f = {.name = name};
        char path[512];
        rb_worker_init(&f.worker, NULL);
        (void)snprintf(path, sizeof path, "%s/heads/%s", RB_FIXTURES, name);
        MUST(rb_model_open(path, &f.model, &f.err), &f.err);
        MUST(rb_tokenizer_open(path, &f.tokenizer, &f.err), &f.err);
        json_array_foreach(examples, i, e)
        {
            check_example(&f, e);
        }
        print_message("  %-40s %zu values, worst difference %.2g\n", name, f.values, f.worst);
        rb_tokenizer_free(f.tokenizer);
        rb_model_deinit(&f.model);
        rb_worker_deinit(&f.worker);
    }
    json_decref(json);
}

/* ---- moved ---- */

/* A random order of `size` units as a group of the alignment. */
static void add_group(struct rb_alignment *a, const char *name, enum rb_axis axis, uint32_t layer,
                      uint32_t size, uint64_t *seed)
{
    struct rb_group *g = &a->groups[a->group_count++];
    (void)snprintf(g->name, sizeof g->name, "%s", name);
    g->axis = axis;
    g->layer = layer;
    g->size = size;
    g->index = must_alloc(size, sizeof *g->index);
    random_permutation(seed, g->index, size);
}

/* FF units, the stream and, where the model has them, the narrow basis and the head's hidden layer,
 * all in random orders: the function stays. */
static void check_moved(struct fixture *f, bool hidden_layer)
{
    const struct rb_config *c = &f->model.config;
    struct rb_align_options o;
    struct rb_alignment *a;
    struct rb_program *p;
    uint64_t seed = 5;
    rb_align_options_default(&o);
    o.components = RB_COMPONENT_FF | RB_COMPONENT_RESIDUAL;
    o.output_head = hidden_layer;
    MUST(rb_alignment_empty(&o, &a, &f->err), &f->err);
    a->groups = must_alloc(c->num_hidden_layers + 3, sizeof *a->groups);
    for (uint32_t l = 0; l < c->num_hidden_layers; l++)
        add_group(a, "layer.ff", RB_AXIS_FF, l, c->mlp.inner_size, &seed);
    add_group(a, "residual", RB_AXIS_RES_FIRST, 0, c->hidden_size, &seed);
    if (c->embedding_size != c->hidden_size)
        add_group(a, "embedding", RB_AXIS_EMBEDDING, 0, c->embedding_size, &seed);
    if (hidden_layer)
        add_group(a, "head", f->model.head == RB_HEAD_MLM ? RB_AXIS_TRANSFORM : RB_AXIS_POOLER, 0,
                  rb_head_width(&f->model), &seed);
    MUST(rb_certify_new(&f->model, a, &p, &f->err), &f->err);
    MUST(rb_program_run(p, &f->worker, &f->err), &f->err);
    const struct rb_certificate certificate = rb_certify_result(p);
    if (!certificate.equivalent)
        fail_msg("%s: logits differ by %g when moved", f->name,
                 certificate.max_abs_logit_difference);
    f->worst = fmax(f->worst, certificate.max_abs_logit_difference);
    rb_program_free(p);
    rb_alignment_free(a);
}

static void test_every_head_moves(void **state)
{
    (void)state;
    static const char *const names[] = {
        "RobertaForMaskedLM",      "RobertaForSequenceClassification",
        "DistilBertForMaskedLM",   "DistilBertForSequenceClassification",
        "ElectraForMaskedLM-proj", "ElectraForSequenceClassification-proj",
        "ElectraForMaskedLM",      "ElectraForSequenceClassification",
        "ElectraForPreTraining",   "ElectraForPreTraining-proj"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct fixture f = {.name = names[i]};
        char path[512];
        (void)snprintf(path, sizeof path, "%s/heads/%s", RB_FIXTURES, names[i]);
        rb_worker_init(&f.worker, NULL);
        MUST(rb_model_open(path, &f.model, &f.err), &f.err);
        check_moved(&f, false);
        if (f.model.head != RB_HEAD_DISCRIMINATOR)
            check_moved(&f, true);
        print_message("  %-40s worst logit difference %.2g\n", names[i], f.worst);
        rb_model_deinit(&f.model);
        rb_worker_deinit(&f.worker);
    }
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_head),
                                       cmocka_unit_test(test_every_head_moves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
