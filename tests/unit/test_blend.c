// LINK: core_model
/* What a blend answers when more than one axis of a tensor turns, in any order of rows, beside the
 * plain formula W' = M_rows^T W M_columns^-T in F64. The three cases here were right once only
 * because no axis that turned was read that way. */
#include "unit/random_model.h"

#include "core/model/blend.h"

static const struct random_shape shape = {.name = "plain",
                                          .hidden = 32,
                                          .layers = 2,
                                          .heads = 4,
                                          .intermediate = 40,
                                          .types = 2,
                                          .labels = 2,
                                          .vocab = 50,
                                          .positions = 16,
                                          .head = RB_HEAD_MLM,
                                          .dtype = RB_F32};

struct fixture {
    struct tmpdir dir;
    struct random_model random;
    struct rb_model model;
    struct rb_motion motion;
    struct rb_scratch scratch;
    float *values, *keys; /* (heads, d_h, d_h) */
    struct rb_error err;
};

/* Any orthogonal matrix: a product of plane rotations. */
static float *turns(uint64_t *seed, size_t blocks, size_t b)
{
    float *r = must_alloc(blocks * b * b, sizeof *r);
    for (size_t k = 0; k < blocks; k++) {
        float *m = r + k * b * b;
        for (size_t i = 0; i < b; i++)
            m[i * b + i] = 1;
        for (size_t n = 0; n < 4 * b; n++) {
            size_t i = random_index(seed, b), j = (i + 1 + random_index(seed, b - 1)) % b;
            double a = random_uniform(seed, -3, 3);
            for (size_t c = 0; c < b; c++) {
                double x = (double)m[i * b + c], y = (double)m[j * b + c];
                m[i * b + c] = (float)(cos(a) * x - sin(a) * y);
                m[j * b + c] = (float)(sin(a) * x + cos(a) * y);
            }
        }
    }
    return r;
}

static void turn(struct fixture *f, enum rb_axis axis, uint32_t layer, float *r)
{
    *rb_motion_map(&f->motion, axis, layer) =
        (struct rb_map){.size = shape.hidden, .blocks = shape.heads, .forward = r, .inverse = r};
}

static void setup(struct fixture *f)
{
    uint64_t seed = 7;
    memset(f, 0, sizeof *f);
    tmpdir_init(&f->dir);
    rb_scratch_init(&f->scratch);
    random_model_init(&f->random, &shape, 3);
    random_model_open(&f->random, &f->dir, "m", &f->model);
    MUST(rb_motion_init(&f->motion, shape.layers, &f->err), &f->err);
    f->values = turns(&seed, shape.heads, shape.hidden / shape.heads);
    f->keys = turns(&seed, shape.heads, shape.hidden / shape.heads);
    turn(f, RB_AXIS_V, 1, f->values);
    turn(f, RB_AXIS_O, 1, f->values);
    turn(f, RB_AXIS_Q, 1, f->keys);
}

static void teardown(struct fixture *f)
{
    free(f->values);
    free(f->keys);
    rb_motion_deinit(&f->motion);
    rb_model_deinit(&f->model);
    random_model_deinit(&f->random);
    rb_scratch_deinit(&f->scratch);
    tmpdir_deinit(&f->dir);
}

/* (w R)[i][j] or (R^T w)[i][j] of one block-diagonal R, in F64. */
static double *turned(const double *w, const float *r, bool columns)
{
    size_t n = shape.hidden, b = n / shape.heads;
    double *y = must_alloc(n * n, sizeof *y);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t k = 0; k < b; k++) {
                size_t h = columns ? j / b : i / b, at = h * b + k;
                double v = (double)r[h * b * b + k * b + (columns ? j % b : i % b)];
                y[i * n + j] += v * (columns ? w[i * n + at] : w[at * n + j]);
            }
    return y;
}

static double *stored(const struct fixture *f, enum rb_slot slot)
{
    size_t n = shape.hidden;
    const struct rb_tensor *t = rb_model_tensor(&f->model, slot, 1);
    double *w = must_alloc(n * n, sizeof *w);
    for (size_t i = 0; i < n * n; i++)
        w[i] = (double)((const float *)t->data)[i];
    return w;
}

static void assert_rows(const char *what, const float *found, const double *expected,
                        const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < shape.hidden; j++)
            assert_near(what, (double)found[i * shape.hidden + j],
                        expected[(size_t)(ids != NULL ? ids[i] : (int32_t)i) * shape.hidden + j],
                        1e-5);
}

static void test_rows_and_columns_turn(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    /* queries whose columns are a head's: no family has that, a table may say it */
    struct rb_family family = *f.model.family;
    struct rb_tensor_row rows[RB_SLOT_COUNT];
    memcpy(rows, family.rows, sizeof rows);
    rows[RB_QUERY_WEIGHT].column_axis = RB_AXIS_V;
    family.rows = rows;
    f.model.family = &family;
    const struct rb_blend blend = rb_blend_single(&f.model, &f.motion);
    size_t n = shape.hidden;
    float *w = must_alloc(n * n, sizeof *w);
    MUST(rb_blend_rows(&blend, RB_QUERY_WEIGHT, 1, 0, n, w, &f.scratch, &f.err), &f.err);
    double *x = stored(&f, RB_QUERY_WEIGHT), *y = turned(x, f.keys, false);
    double *z = turned(y, f.values, true);
    assert_rows("rows and columns", w, z, NULL, n);
    free(w);
    free(x);
    free(y);
    free(z);
    teardown(&f);
}

static void test_a_gather_list_turns(void **state)
{
    (void)state;
    static const int32_t ids[] = {31, 3, 4, 5, 5, 17, 0, 16};
    struct fixture f;
    setup(&f);
    /* one tensor per model can be gathered: the value weight of layer 0 */
    turn(&f, RB_AXIS_V, 0, f.values);
    const struct rb_blend blend = rb_blend_single(&f.model, &f.motion);
    float *w = must_alloc(COUNT(ids) * shape.hidden, sizeof *w);
    MUST(rb_blend_gather(&blend, RB_VALUE_WEIGHT, ids, COUNT(ids), w, &f.scratch, &f.err), &f.err);
    const struct rb_tensor *t = rb_model_tensor(&f.model, RB_VALUE_WEIGHT, 0);
    double *x = must_alloc(shape.hidden * shape.hidden, sizeof *x);
    for (size_t i = 0; i < (size_t)shape.hidden * shape.hidden; i++)
        x[i] = (double)((const float *)t->data)[i];
    double *y = turned(x, f.values, false);
    assert_rows("a list of rows", w, y, ids, COUNT(ids));
    free(w);
    free(x);
    free(y);
    teardown(&f);
}

static void test_turned_columns_are_not_as_stored(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    const struct rb_blend blend = rb_blend_single(&f.model, &f.motion);
    assert_null(rb_blend_direct(&blend, RB_ATTENTION_OUTPUT_WEIGHT, 1));
    assert_null(rb_blend_direct(&blend, RB_VALUE_WEIGHT, 1));
    assert_non_null(rb_blend_direct(&blend, RB_ATTENTION_OUTPUT_WEIGHT, 0));
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_and_columns_turn),
        cmocka_unit_test(test_a_gather_list_turns),
        cmocka_unit_test(test_turned_columns_are_not_as_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
