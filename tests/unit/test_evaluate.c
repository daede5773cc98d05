// LINK: core_merge
/* One point of a curve: loss, standard error and metrics against loops in F64; what is refused
 * before it starts; and that what is not finite is said, wherever it comes from. */
#include "unit/naive_bert.h"
#include "unit/odd_shapes.h"

#include "core/merge/curve.h"
#include "core/merge/evaluate.h"
#include "core/merge/metrics.h"

#include <cblas.h>

static const double LOSS = 1e-6;   /* relative */
static const double METRIC = 1e-5; /* correlations of outputs */

/* odd_shapes by what they are for */
enum {
    SHAPE_MLM = 0,
    SHAPE_ONE_TYPE = 7,
    SHAPE_NO_HEAD = 8,
    SHAPE_CLASSIFIER = 16,
    SHAPE_REGRESSION
};

struct fixture {
    struct tmpdir dir;
    struct random_model random;
    struct rb_model model;
    struct rb_sequences sequences;
    struct rb_worker worker;
    struct rb_error err;
};

static void open_fixture(struct fixture *f, const struct random_shape *shape, size_t sequences)
{
    memset(f, 0, sizeof *f);
    tmpdir_init(&f->dir);
    rb_worker_init(&f->worker, NULL);
    random_model_init(&f->random, shape, 61);
    random_model_open(&f->random, &f->dir, "m", &f->model);
    f->sequences = random_sequences(shape, sequences, 3, shape->positions, 62);
}

static void close_fixture(struct fixture *f)
{
    rb_sequences_deinit(&f->sequences);
    rb_model_deinit(&f->model);
    random_model_deinit(&f->random);
    rb_worker_deinit(&f->worker);
    tmpdir_deinit(&f->dir);
}

static enum rb_task task_of(const struct random_shape *s)
{
    return s->head == RB_HEAD_MLM ? RB_TASK_MLM
           : s->labels == 1       ? RB_TASK_REGRESSION
                                  : RB_TASK_CLASSIFICATION;
}

/* Blocks add up to the point's loss and to its standard error. */
static void check_blocks(const struct rb_program *p, const struct rb_sequences *s,
                         const struct rb_point *point)
{
    struct rb_block *blocks = calloc(s->count + 1, sizeof *blocks);
    double sum = 0, square = 0, count = 0;
    rb_evaluate_blocks(p, blocks);
    for (size_t i = 0; i < s->count; i++) {
        sum += blocks[i].sum;
        square += blocks[i].square;
        count += blocks[i].count;
    }
    free(blocks);
    assert_near("loss by blocks", sum / count, point->loss, 1e-12);
    double error = count > 1 ? sqrt((square - sum * sum / count) / (count - 1) / count) : 0;
    assert_near("error by blocks", error, point->standard_error, 1e-6);
}

static enum rb_status evaluate(struct fixture *f, struct rb_point *ret)
{
    const struct rb_evaluate_options o = {.task = task_of(&f->random.shape)};
    const struct rb_blend blend = rb_blend_single(&f->model, NULL);
    struct rb_program *p;
    MUST(rb_evaluate_check(&f->model, &o, &f->sequences, &f->err), &f->err);
    MUST(rb_evaluate_new(&blend, &o, &f->sequences, &p, &f->err), &f->err);
    enum rb_status s = rb_program_run(p, &f->worker, &f->err);
    if (s == RB_OK)
        s = rb_evaluate_result(p, ret, &f->err);
    if (s == RB_OK)
        check_blocks(p, &f->sequences, ret);
    rb_program_free(p);
    return s;
}

/* ---- figures ---- */

static void check_metrics(const struct fixture *f, const struct rb_point *p)
{
    const struct rb_sequences *s = &f->sequences;
    const struct random_shape *shape = &f->random.shape;
    double *outputs = must_alloc(s->count, sizeof *outputs), expected[RB_METRIC_COUNT];
    uint32_t *predicted = must_alloc(s->count, 4), *truth = must_alloc(s->count, 4);
    for (size_t m = 0; m < RB_METRIC_COUNT; m++)
        expected[m] = (double)NAN;
    for (size_t i = 0; i < s->count && shape->head == RB_HEAD_CLASSIFIER; i++) {
        struct naive n;
        naive_init(&n, &f->random, s, i);
        outputs[i] = n.logits[0];
        truth[i] = shape->labels > 1 ? (uint32_t)s->labels[i] : 0;
        for (uint32_t c = 1; c < shape->labels; c++)
            predicted[i] = n.logits[c] > n.logits[predicted[i]] ? c : predicted[i];
        naive_deinit(&n, shape->layers);
    }
    if (shape->head == RB_HEAD_MLM) {
        expected[RB_PSEUDO_PERPLEXITY] = exp(p->loss);
    } else if (shape->labels > 1) {
        expected[RB_ACCURACY] = rb_accuracy(predicted, truth, s->count);
        expected[RB_F1] = rb_f1(predicted, truth, s->count, shape->labels);
        expected[RB_MATTHEWS] = rb_matthews(predicted, truth, s->count, shape->labels);
    } else {
        expected[RB_PEARSON] = rb_pearson(outputs, s->labels, s->count);
        expected[RB_SPEARMAN] = rb_spearman(outputs, s->labels, s->count);
    }
    for (size_t m = 0; m < RB_METRIC_COUNT; m++) {
        bool has = rb_task_metrics(task_of(shape), shape->labels) >> m & 1U;
        assert_int_equal(has, !isnan(expected[m]));
        assert_int_equal(has, !isnan(p->metrics[m]));
        if (has)
            assert_near(rb_metric_names[m], p->metrics[m], expected[m], METRIC);
    }
    free(outputs);
    free(predicted);
    free(truth);
}

static void check_figures(const struct random_shape *shape, size_t sequences)
{
    struct fixture f;
    struct rb_point p;
    open_fixture(&f, shape, sequences);
    double *losses = must_alloc(f.sequences.starts[sequences], sizeof *losses), sum = 0, square = 0;
    size_t n = naive_losses(&f.random, &f.sequences, losses);
    MUST(evaluate(&f, &p), &f.err);
    for (size_t i = 0; i < n; i++)
        sum += losses[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        square += (losses[i] - sum) * (losses[i] - sum);
    double error = sqrt(square / (double)(n - 1) / (double)n);
    assert_near(shape->name, p.loss, sum, LOSS * sum);
    assert_near(shape->name, p.standard_error, error, LOSS * error * 10);
    assert_float_equal(p.lambda, 0, 0);
    check_metrics(&f, &p);
    free(losses);
    close_fixture(&f);
}

static void test_figures(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(odd_shapes); i++)
        if (odd_shapes[i].head != RB_HEAD_NONE)
            check_figures(&odd_shapes[i], 300); /* more rows than the head takes at a time */
}

/* More tokens than one slab holds (2^16), and a vocabulary of many tiles. */
static void test_slabs(void **state)
{
    (void)state;
    const struct random_shape narrow = {.name = "slabs",
                                        .hidden = 4,
                                        .layers = 1,
                                        .heads = 1,
                                        .intermediate = 4,
                                        .vocab = 40,
                                        .positions = 24,
                                        .types = 1,
                                        .labels = 2,
                                        .head = RB_HEAD_MLM,
                                        .dtype = RB_F32};
    struct random_shape wide = odd_shapes[SHAPE_MLM];
    check_figures(&narrow, 5500);
    wide.vocab = 9001;
    check_figures(&wide, 20);
}

/* ---- what is refused ---- */

static const struct {
    size_t shape;
    enum rb_task task;
    const char *words;
} heads[] = {
    {SHAPE_NO_HEAD, RB_TASK_MLM, "needs an MLM head (cls.predictions), the model has no head"},
    {SHAPE_CLASSIFIER, RB_TASK_MLM, "the model has a classifier"},
    {SHAPE_MLM, RB_TASK_CLM, "from left to right, the model has an MLM head"},
    {SHAPE_MLM, RB_TASK_CLASSIFICATION, "'classification' needs a classification head"},
    {SHAPE_NO_HEAD, RB_TASK_REGRESSION, "'regression' needs a classification head"},
    {SHAPE_CLASSIFIER, RB_TASK_REGRESSION, "with 1 label, the model's has 3"},
    {SHAPE_REGRESSION, RB_TASK_CLASSIFICATION, "2 labels or more, the model's has 1"},
};

static void test_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(heads); i++) {
        struct fixture f;
        const struct rb_evaluate_options o = {.task = heads[i].task};
        open_fixture(&f, &odd_shapes[heads[i].shape], 5);
        for (int with = 0; with < 2; with++) { /* before the data are there, and after */
            assert_int_equal(rb_evaluate_check(&f.model, &o, with ? &f.sequences : NULL, &f.err),
                             RB_EHEAD);
            assert_text_has(f.err.detail, heads[i].words);
            assert_string_equal(f.err.pointer, "task");
        }
        close_fixture(&f);
    }
}

enum spot { SPOT_ID, SPOT_TYPE, SPOT_TARGET, SPOT_LABEL, SPOT_LENGTH };

static const struct {
    size_t shape;
    enum spot spot;
    double value;
    const char *words;
} inputs[] = {
    {SHAPE_MLM, SPOT_ID, -1, "line 3: token id -1, but the model's vocab_size is 83"},
    {SHAPE_MLM, SPOT_ID, 83, "line 3: token id 83, but the model's vocab_size is 83"},
    {SHAPE_MLM, SPOT_TYPE, 2, "line 3: token type 2, but the model's type_vocab_size is 2"},
    {SHAPE_ONE_TYPE, SPOT_TYPE, 1, "line 3: token type 1, but the model's type_vocab_size is 1"},
    {SHAPE_MLM, SPOT_TARGET, 83, "line 3: target 83, but the model's vocab_size is 83"},
    {SHAPE_MLM, SPOT_LENGTH, 25,
     "line 3: tokens: 25, but the model's max_position_embeddings is 24"},
    {SHAPE_CLASSIFIER, SPOT_ID, 83, "line 3: token id 83"},
    {SHAPE_CLASSIFIER, SPOT_LABEL, 3, "line 3: label 3: expected an integer from 0 to 2"},
    {SHAPE_CLASSIFIER, SPOT_LABEL, -1, "line 3: label -1: expected an integer from 0 to 2"},
    {SHAPE_CLASSIFIER, SPOT_LABEL, 0.5, "line 3: label 0.5: expected an integer from 0 to 2"},
    {SHAPE_CLASSIFIER, SPOT_LABEL, (double)NAN, "line 3: label nan: expected an integer"},
    {SHAPE_REGRESSION, SPOT_LABEL, (double)NAN, "line 3: label nan: expected a finite number"},
    {SHAPE_REGRESSION, SPOT_LABEL, (double)INFINITY, "line 3: label inf: expected a finite number"},
};

static void spoil(struct rb_sequences *s, enum spot spot, double value)
{
    size_t token = s->starts[3] - 1; /* the third sequence's last */
    switch (spot) {
    case SPOT_ID:
        s->ids[token] = (int32_t)value;
        break;
    case SPOT_TYPE:
        s->types[token] = (uint8_t)value;
        break;
    case SPOT_TARGET:
        s->targets[token] = (int32_t)value;
        break;
    case SPOT_LABEL:
        s->labels[2] = value;
        break;
    case SPOT_LENGTH: /* the rest of the data as one long sequence */
        s->count = 3;
        s->starts[3] = s->starts[2] + (size_t)value;
        break;
    }
}

static void test_inputs(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(inputs); i++) {
        struct fixture f;
        const struct random_shape *shape = &odd_shapes[inputs[i].shape];
        const struct rb_evaluate_options o = {.task = task_of(shape)};
        open_fixture(&f, shape, 30);
        MUST(rb_evaluate_check(&f.model, &o, &f.sequences, &f.err), &f.err);
        spoil(&f.sequences, inputs[i].spot, inputs[i].value);
        assert_int_equal(rb_evaluate_check(&f.model, &o, &f.sequences, &f.err), RB_EDATASET);
        assert_text_has(f.err.detail, inputs[i].words);
        close_fixture(&f);
    }
}

/* ---- what is not finite ---- */

static void check_poisoned(const struct random_shape *shape, size_t tensor, double value)
{
    struct fixture f;
    struct rb_point p = {.loss = 42};
    open_fixture(&f, shape, 30);
    f.sequences.ids[0] = 0; /* row 0 of the embeddings is read */
    struct random_tensor *t = &f.random.tensors[tensor];
    t->values[0] = value;
    rb_model_deinit(&f.model);
    random_model_open(&f.random, &f.dir, "m", &f.model);
    enum rb_status s = evaluate(&f, &p);
    if (s != RB_ENUMERIC)
        fail_msg("%s: %g in %s of layer %u: %s, loss %g", shape->name, value, t->row->name,
                 t->layer, rb_status_code(s), p.loss);
    assert_text_has(f.err.detail, "the loss at lambda = 0 is ");
    assert_float_equal(p.loss, 42, 0);
    close_fixture(&f);
}

/* One NaN, in each tensor in turn, is never hidden by a maximum, a clamp or a softmax. */
static void test_not_finite(void **state)
{
    (void)state;
    static const size_t some[] = {SHAPE_MLM, SHAPE_CLASSIFIER, SHAPE_REGRESSION};
    for (size_t i = 0; i < COUNT(some); i++) {
        struct random_model m;
        random_model_init(&m, &odd_shapes[some[i]], 61);
        for (size_t t = 0; t < m.count; t++)
            check_poisoned(&odd_shapes[some[i]], t, (double)NAN);
        random_model_deinit(&m);
    }
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures),    cmocka_unit_test(test_slabs),
        cmocka_unit_test(test_heads),      cmocka_unit_test(test_inputs),
        cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
