// LINK: core_merge
/* What is not finite is found before anything is computed, wherever it stands; and the certificate
 * never compares with an infinite tolerance. */
#include "unit/odd_shapes.h"
#include "unit/pair.h"

#include "core/align/certify.h"
#include "core/model/finite.h"

#include <cblas.h>

enum { SHAPE_MLM = 0, SHAPE_CLASSIFIER = 16, SHAPE_REGRESSION = 17 }; /* of odd_shapes */

/* ---- in an array ---- */

static void put(enum rb_dtype dtype, void *values, size_t at, double value)
{
    float single = (float)value;
    size_t bytes = rb_dtype_bytes(dtype);
    if (dtype == RB_F64)
        memcpy((char *)values + at * bytes, &value, sizeof value);
    else
        rb_dtype_from_f32(dtype, &single, (char *)values + at * bytes, 1);
}

static void test_find(void **state)
{
    (void)state;
    static const enum rb_dtype dtypes[] = {RB_F64, RB_F32, RB_F16, RB_BF16};
    static const double odd[] = {INFINITY, -INFINITY, NAN};
    static const size_t places[] = {0, 1, 4095, 4096, 9000, 9999};
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        char *values = must_alloc(10001, sizeof(double)), *from = values + 1; /* unaligned */
        for (size_t i = 0; i < 10000; i++) /* F16's largest, its smallest, and zero are finite */
            put(dtypes[d], from, i, i % 3 == 0 ? 65504 : i % 3 == 1 ? -6e-8 : 0);
        assert_int_equal(rb_find_not_finite(dtypes[d], from, 10000), 10000);
        for (size_t o = 0; o < COUNT(odd); o++)
            for (size_t p = 0; p < COUNT(places); p++) {
                put(dtypes[d], from, places[p], odd[o]);
                assert_int_equal(rb_find_not_finite(dtypes[d], from, 10000), places[p]);
                assert_int_equal(rb_find_not_finite(dtypes[d], from, places[p]), places[p]);
                put(dtypes[d], from, places[p], 1);
            }
        free(values);
    }
    const double large[] = {1, 3.4028235e38, 1e39};
    assert_int_equal(rb_find_not_finite(RB_F64, large, 3), 2); /* infinite as F32 */
}

/* ---- in a model ---- */

static void check_model(const struct random_shape *shape, size_t tensor, double value)
{
    struct tmpdir dir;
    struct random_model random;
    struct rb_model m;
    struct rb_error err;
    char name[128], words[192];
    tmpdir_init(&dir);
    random_model_init(&random, shape, 7);
    struct random_tensor *t = &random.tensors[tensor];
    t->values[t->rows * t->columns - 1] = value;
    random_model_open(&random, &dir, "m", &m);
    random_name(shape, t, name, sizeof name);
    (void)snprintf(words, sizeof words, "tensor '%s': row %zu, column %zu is ", name, t->rows - 1,
                   t->columns - 1);
    assert_int_equal(rb_model_check_finite(&m, NULL, &err), RB_ENUMERIC);
    assert_text_has(err.detail, words);
    rb_model_deinit(&m);
    random_model_deinit(&random);
    tmpdir_deinit(&dir);
}

static void test_every_tensor(void **state)
{
    (void)state;
    static const size_t some[] = {SHAPE_MLM, SHAPE_CLASSIFIER, SHAPE_REGRESSION};
    for (size_t i = 0; i < COUNT(some); i++) {
        struct random_model m;
        random_model_init(&m, &odd_shapes[some[i]], 61);
        for (size_t t = 0; t < m.count; t++)
            check_model(&odd_shapes[some[i]], t, t % 2 ? (double)INFINITY : (double)NAN);
        random_model_deinit(&m);
    }
}

static void test_finite_and_stopped(void **state)
{
    (void)state;
    struct tmpdir dir;
    struct random_model random;
    struct rb_model m;
    struct rb_error err;
    atomic_bool stop = true;
    tmpdir_init(&dir);
    random_model_init(&random, &odd_shapes[SHAPE_MLM], 7);
    random_model_open(&random, &dir, "m", &m);
    MUST(rb_model_check_finite(&m, NULL, &err), &err);
    assert_int_equal(rb_model_check_finite(&m, &stop, &err), RB_ECANCELED);
    rb_model_deinit(&m);
    random_model_deinit(&random);
    tmpdir_deinit(&dir);
}

/* ---- the certificate ---- */

/* As if the weights had not been looked at, or were finite and overflow on the way. */
static void check_certificate(size_t shape, const char *tensor, double value, const char *words)
{
    struct pair p;
    struct rb_program *program;
    const struct rb_align_options o = {.components = RB_COMPONENT_FF};
    pair_init(&p, &odd_shapes[shape], PAIR_INDEPENDENT, 5);
    pair_open(&p);
    struct rb_alignment *a = pair_align(&p, &o);
    rb_model_deinit(&p.b);
    random_find(&p.random_b, tensor, 0)->values[0] = value;
    random_model_open(&p.random_b, &p.dir, "odd", &p.b);
    MUST(rb_certify_new(&p.b, a, &program, &p.err), &p.err);
    enum rb_status s = rb_program_run(program, &p.worker, &p.err);
    if (s != RB_ENUMERIC)
        fail_msg("%s = %g: %s, equivalent %d", tensor, value, rb_status_code(s),
                 rb_certify_result(program).equivalent);
    assert_text_has(p.err.detail, words);
    rb_program_free(program);
    rb_alignment_free(a);
    pair_deinit(&p);
}

static void test_certificate(void **state)
{
    (void)state;
    static const double odd[] = {INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < COUNT(odd); i++) {
        check_certificate(SHAPE_MLM, "cls.predictions.bias", odd[i], "logit 0 of row 0 ");
        check_certificate(SHAPE_CLASSIFIER, "classifier.bias", odd[i], "logit 0 of row 0 ");
        check_certificate(SHAPE_MLM, "encoder.layer.%u.output.dense.bias", odd[i], " in B, ");
    }
    check_certificate(SHAPE_MLM, "embeddings.LayerNorm.bias", 3e38, " in B, ");
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_every_tensor),
        cmocka_unit_test(test_finite_and_stopped),
        cmocka_unit_test(test_certificate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
