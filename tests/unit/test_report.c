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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_heat_maps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
