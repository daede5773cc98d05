// LINK: core_align
/* The report of a group whose correlations are not symmetric, against its definition: heat maps
 * have A's units as rows and B's as columns, moved in one of them and not in the other. */
#include "unit/numbers.h"

#include "core/align/report.h"
#include "core/program.h"

static void check(size_t d, bool with_signs)
{
    uint64_t seed = d;
    struct rb_error err;
    struct rb_worker worker;
    struct rb_group g = {.name = "layer.0.ff", .size = (uint32_t)d};
    float *c = must_alloc(d * d, sizeof *c);
    rb_worker_init(&worker, NULL);
    g.index = must_alloc(d, sizeof *g.index);
    random_permutation(&seed, g.index, d);
    for (size_t i = 0; i < d * d; i++) /* rows and columns far apart from each other */
        c[i] = (float)(0.9 * (double)(i / d) / (double)d - 0.4 * (double)(i % d) / (double)d);
    if (with_signs) {
        g.signs = must_alloc(d, sizeof *g.signs);
        for (size_t i = 0; i < d; i++)
            g.signs[i] = i % 3 == 0 ? -1 : 1;
    }
    MUST(rb_report_fill(&g, c, &worker.scratch, &err), &err);
    const struct rb_correlations *r = &g.correlations;
    size_t n = r->heatmap_size;
    assert_int_equal(n, d < RB_HEATMAP_SIZE ? d : RB_HEATMAP_SIZE);
    for (size_t row = 0; row < n; row++)
        for (size_t column = 0; column < n; column++) {
            double before = 0, after = 0, count = 0;
            for (size_t i = row * d / n; i < (row + 1) * d / n; i++)
                for (size_t j = column * d / n; j < (column + 1) * d / n; j++, count++) {
                    before += (double)c[i * d + j];
                    after += (double)c[i * d + g.index[j]];
                }
            assert_near("before", (double)r->heatmap_before[row * n + column], before / count,
                        1e-6);
            assert_near("after", (double)r->heatmap_after[row * n + column], after / count, 1e-6);
        }
    double matched = 0, identity = 0;
    for (size_t i = 0; i < d; i++) {
        matched += (with_signs ? (double)g.signs[i] : 1) * (double)c[i * d + g.index[i]];
        identity += (double)c[i * d + i];
    }
    assert_near("matched", r->matched.mean, matched / (double)d, 1e-6);
    assert_true(r->moved_known); /* nothing but the order and signs */
    assert_near("moved", r->moved.mean, matched / (double)d, 1e-6);
    assert_near("identity", r->identity.mean, identity / (double)d, 1e-6);
    assert_near("mean_correlation", g.mean_correlation, matched / (double)d, 1e-6);
    free(c);
    rb_group_deinit(&g);
    rb_worker_deinit(&worker);
}

static void test_heat_maps(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 7, 64, 65, 130, 200};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        check(sizes[i], false);
        check(sizes[i], true);
    }
}

/* ---- with all maps applied ---- */

enum { ROWS = 3000, MOST = 24 };

/* Features of one tap: B's are independent with variance 1, A's are the moved B's and noise. */
struct features {
    double a[ROWS][MOST], b[ROWS][MOST], moved[ROWS][MOST];
};

static void fill_features(uint64_t *seed, const struct rb_group *g, const float *map, size_t n,
                          size_t shared, struct features *f)
{
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t j = 0; j < g->size; j++)
            f->b[row][j] = 0.5 + random_normal(seed);
        for (size_t i = 0; i < g->size; i++) {
            f->moved[row][i] = 0;
            for (size_t r = 0; r < n; r++)
                f->moved[row][i] += f->b[row][g->index[i - i % n + r]] *
                                    (double)map[i / n / shared * n * n + r * n + i % n];
            f->a[row][i] = f->moved[row][i] + (double)(i + 1) * 0.2 * random_normal(seed);
        }
    }
}

static void fill_tap(const struct features *f, uint32_t d, struct rb_tap *t)
{
    *t = (struct rb_tap){.size = d, .rows = ROWS};
    double **const vectors[] = {&t->pivot_a, &t->pivot_b,  &t->sum_a,
                                &t->sum_b,   &t->square_a, &t->square_b};
    for (size_t i = 0; i < COUNT(vectors); i++)
        *vectors[i] = must_alloc(d, sizeof(double));
    t->cross = must_alloc((size_t)d * d, sizeof *t->cross);
    for (size_t row = 0; row < ROWS; row++)
        for (size_t i = 0; i < d; i++) {
            t->sum_a[i] += f->a[row][i];
            t->sum_b[i] += f->b[row][i];
            t->square_a[i] += f->a[row][i] * f->a[row][i];
            t->square_b[i] += f->b[row][i] * f->b[row][i];
            for (size_t j = 0; j < d; j++)
                t->cross[i * d + j] += f->a[row][i] * f->b[row][j];
        }
}

/* The correlation of unit i over the rows of all taps together. */
static double plain_correlation(const struct features *f, size_t taps, size_t i)
{
    double n = (double)taps * ROWS, a = 0, b = 0, aa = 0, bb = 0, ab = 0;
    for (size_t t = 0; t < taps; t++)
        for (size_t row = 0; row < ROWS; row++) {
            double x = f[t].a[row][i], y = f[t].moved[row][i];
            a += x / n;
            b += y / n;
            aa += x * x / n;
            bb += y * y / n;
            ab += x * y / n;
        }
    return (ab - a * b) / sqrt((aa - a * a) * (bb - b * b));
}

/* Any matrix will do for a map: heads of 3 units, two of them for each of kv matrices; or one. */
static void check_moved(enum rb_axis axis, uint32_t heads, uint32_t kv, size_t taps)
{
    enum { D = 12 };
    uint64_t seed = heads + 7 * taps;
    struct rb_error err;
    struct rb_worker worker;
    struct rb_group g = {.name = "g", .axis = axis, .size = D, .head_count = heads, .kv_count = kv};
    size_t n = heads > 0 ? D / heads : D, count = heads > 0 ? kv : 1;
    struct features *f = must_alloc(taps, sizeof *f);
    struct rb_tap tap[2];
    const struct rb_tap *list[2] = {&tap[0], &tap[1]};
    float *map[2];
    rb_worker_init(&worker, NULL);
    g.index = must_alloc(D, sizeof *g.index);
    random_permutation(&seed, g.index, D);
    for (size_t t = 0; t < 2; t++) {
        map[t] = must_alloc(count * n * n, sizeof(float));
        for (size_t i = 0; i < count * n * n; i++)
            map[t][i] = (float)random_normal(&seed);
    }
    for (size_t t = 0; t < taps; t++) {
        fill_features(&seed, &g, map[t], n, heads > 0 ? heads / kv : 1, &f[t]);
        fill_tap(&f[t], D, &tap[t]);
    }
    float **const places[] = {axis == RB_AXIS_V   ? &g.value_rotation
                              : axis == RB_AXIS_Q ? &g.rotation
                                                  : &g.matrix,
                              axis == RB_AXIS_Q ? &g.rotation_inverse : NULL};
    for (size_t t = 0; t < taps; t++)
        *places[t] = map[t];
    const struct rb_similarity_source source = {
        .taps = list, .count = taps, .pooled = taps > 1, .size = D};
    MUST(rb_report_moved(&g, &source, &worker.scratch, &err), &err);
    double mean = 0;
    for (size_t i = 0; i < D; i++)
        mean += plain_correlation(f, taps, i) / D;
    assert_true(g.correlations.moved_known);
    assert_true(mean > 0.5 && mean < 0.99);
    /* Variances of 3,000 rows: each within a few hundredths of 1. */
    assert_near("moved", g.correlations.moved.mean, mean, 0.02);
    for (size_t t = 0; t < taps; t++)
        rb_tap_clear(&tap[t]);
    for (size_t t = taps; t < 2; t++)
        free(map[t]);
    free(f);
    rb_group_deinit(&g);
    rb_worker_deinit(&worker);
}

static void test_moved(void **state)
{
    (void)state;
    check_moved(RB_AXIS_V, 4, 4, 1);
    check_moved(RB_AXIS_V, 4, 2, 1);
    check_moved(RB_AXIS_Q, 4, 4, 2);
    check_moved(RB_AXIS_RES_FIRST, 0, 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_heat_maps),
                                       cmocka_unit_test(test_moved)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
