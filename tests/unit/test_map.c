// LINK: core_model
/* Every kind of map on rows, lists of rows, columns and gains, composed and inverted, against the
 * plain matrices in F64. Sizes are odd on purpose, and one is wider than what is multiplied at a
 * time. */
#include "unit/numbers.h"

#include "core/model/map.h"

enum { COLUMNS = 7 };

static const struct kind {
    const char *name;
    uint32_t size, blocks;
    bool index, signs, orthogonal;
} kinds[] = {
    {"identity", 9, 0, false, false, true},
    {"index", 13, 0, true, false, true},
    {"signed index", 13, 0, true, true, true},
    {"signs", 13, 0, false, true, true},
    {"blocks", 15, 5, false, false, true},
    {"blocks after an index", 15, 5, true, false, true},
    {"blocks after a signed index", 15, 3, true, true, true},
    {"blocks, not orthogonal", 15, 3, true, true, false},
    {"blocks of one unit", 5, 5, true, false, false},
    {"dense", 11, 1, false, false, true},
    {"dense after an index, not orthogonal", 11, 1, true, true, false},
    {"deep", 1201, 1, true, false, true},
};

/* (b, b) F by plane rotations, F^-T beside it; not orthogonal: rows scaled by 1/2 … 2. */
static void random_block(uint64_t *seed, size_t b, bool orthogonal, float *f, float *inverse)
{
    double *m = must_alloc(b * b, sizeof *m);
    for (size_t i = 0; i < b; i++)
        m[i * b + i] = 1;
    for (size_t n = 0; n < 3 * b && b > 1; n++) {
        size_t i = random_index(seed, b), j = (i + 1 + random_index(seed, b - 1)) % b;
        double a = random_uniform(seed, -3, 3);
        for (size_t c = 0; c < b; c++) {
            double x = m[i * b + c], y = m[j * b + c];
            m[i * b + c] = cos(a) * x - sin(a) * y;
            m[j * b + c] = sin(a) * x + cos(a) * y;
        }
    }
    for (size_t i = 0; i < b; i++) {
        double scale = orthogonal ? 1 : random_uniform(seed, 0.5, 2);
        for (size_t c = 0; c < b; c++) {
            f[i * b + c] = (float)(m[i * b + c] * scale);
            inverse[i * b + c] = (float)(m[i * b + c] / scale);
        }
    }
    free(m);
}

static struct rb_map random_map(const struct kind *k, uint64_t seed)
{
    struct rb_map m = {.size = k->size, .blocks = k->blocks};
    size_t b = rb_map_block(&m), floats = (size_t)k->blocks * b * b;
    if (k->index) {
        m.index = must_alloc(k->size, sizeof *m.index);
        random_permutation(&seed, m.index, k->size);
    }
    if (k->signs)
        m.signs = must_alloc(k->size, sizeof *m.signs);
    for (size_t i = 0; k->signs && i < k->size; i++)
        m.signs[i] = random_uniform(&seed, -1, 1) < 0 ? -1.0f : 1.0f;
    if (k->blocks > 0) {
        m.forward = must_alloc(floats, sizeof *m.forward);
        m.inverse = k->orthogonal ? m.forward : must_alloc(floats, sizeof *m.inverse);
    }
    for (size_t i = 0; i < k->blocks; i++)
        random_block(&seed, b, k->orthogonal, m.forward + i * b * b, m.inverse + i * b * b);
    return m;
}

static double *matrix_of(const struct rb_map *m, bool inverse)
{
    double *x = must_alloc((size_t)m->size * m->size, sizeof *x);
    if (inverse)
        rb_map_inverse_transposed(m, x);
    else
        rb_map_matrix(m, x);
    return x;
}

static float *random_rows(uint64_t seed, size_t n)
{
    float *w = must_alloc(n, sizeof *w);
    for (size_t i = 0; i < n; i++)
        w[i] = (float)random_normal(&seed);
    return w;
}

static enum rb_status read_rows(const void *source, const uint32_t *rows, size_t count, float *dst,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    (void)scratch;
    (void)err;
    for (size_t i = 0; i < count; i++)
        memcpy(dst + i * COLUMNS, (const float *)source + rows[i] * COLUMNS, COLUMNS * 4);
    return RB_OK;
}

static double bound(const struct rb_map *m, double sum)
{
    return 0x1p-22 * sqrt((double)rb_map_block(m)) * sum + 1e-12;
}

/* dst row k = sum_u M[u][rows[k]] w[u]. */
static void check_rows(const struct kind *k, const struct rb_map *m, const uint32_t *rows,
                       size_t count)
{
    struct rb_scratch scratch;
    struct rb_error err = {0};
    rb_scratch_init(&scratch);
    float *w = random_rows(5, (size_t)m->size * COLUMNS);
    float *y = must_alloc(count * COLUMNS, sizeof *y);
    double *x = matrix_of(m, false);
    MUST(rb_map_rows(m, read_rows, w, rows, count, COLUMNS, y, &scratch, &err), &err);
    for (size_t r = 0; r < count; r++)
        for (size_t c = 0; c < COLUMNS; c++) {
            double sum = 0, size = 0;
            for (size_t u = 0; u < m->size; u++) {
                double v = x[u * m->size + rows[r]] * (double)w[u * COLUMNS + c];
                sum += v;
                size += fabs(v);
            }
            assert_near(k->name, (double)y[r * COLUMNS + c], sum, bound(m, size));
        }
    free(w);
    free(y);
    free(x);
    rb_scratch_deinit(&scratch);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct rb_map m = random_map(&kinds[i], i + 1);
        uint32_t n = m.size, *all = must_alloc(n, sizeof *all);
        uint64_t seed = 11;
        for (uint32_t u = 0; u < n; u++)
            all[u] = u;
        check_rows(&kinds[i], &m, all, n < 40 ? n : 40);
        check_rows(&kinds[i], &m, all + 2, 3); /* a part that begins and ends inside a block */
        check_rows(&kinds[i], &m, all + n - 3, 3);
        for (uint32_t u = 0; u < n; u++) /* a list, in any order, some twice */
            all[u] = (uint32_t)random_index(&seed, n);
        check_rows(&kinds[i], &m, all, n < 40 ? n : 40);
        free(all);
        rb_map_deinit(&m);
    }
}

static void test_columns(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct rb_map m = random_map(&kinds[i], i + 1);
        struct rb_scratch scratch;
        struct rb_error err = {0};
        rb_scratch_init(&scratch);
        size_t n = m.size;
        float *w = random_rows(6, 3 * n), *y = random_rows(6, 3 * n);
        double *x = matrix_of(&m, true);
        MUST(rb_map_columns(&m, y, 3, &scratch, &err), &err);
        for (size_t r = 0; r < 3; r++)
            for (size_t c = 0; c < n; c++) {
                double sum = 0, size = 0;
                for (size_t u = 0; u < n; u++) {
                    sum += (double)w[r * n + u] * x[u * n + c];
                    size += fabs((double)w[r * n + u] * x[u * n + c]);
                }
                assert_near(kinds[i].name, (double)y[r * n + c], sum, bound(&m, size));
            }
        free(w);
        free(y);
        free(x);
        rb_scratch_deinit(&scratch);
        rb_map_deinit(&m);
    }
}

/* M M^-1 = 1 whatever the kind; gains by the squares of M. */
static void test_matrices_and_gains(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct rb_map m = random_map(&kinds[i], i + 1);
        size_t n = m.size;
        double *x = matrix_of(&m, false), *z = matrix_of(&m, true);
        float *g = random_rows(9, n), *y = must_alloc(n, sizeof *y);
        rb_map_gains(&m, g, y);
        for (size_t r = 0; r < (n < 60 ? n : 60); r++) {
            double gain = 0;
            for (size_t c = 0; c < n; c++) {
                double sum = 0;
                for (size_t k = 0; k < n; k++)
                    sum += x[r * n + k] * z[c * n + k];
                assert_near(kinds[i].name, sum, r == c, 1e-4);
                gain += x[c * n + r] * x[c * n + r] * (double)g[c];
            }
            assert_near(kinds[i].name, (double)y[r], gain, 1e-5);
        }
        free(x);
        free(z);
        free(g);
        free(y);
        rb_map_deinit(&m);
    }
}

static void assert_product(const char *name, const struct rb_map *found, const double *a,
                           const double *b, bool inverse)
{
    size_t n = found->size;
    double *x = matrix_of(found, inverse);
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < n; c++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++)
                sum += a[r * n + k] * b[k * n + c];
            assert_near(name, x[r * n + c], sum, 4e-6);
        }
    free(x);
}

/* All pairs of kinds of one size; the kind of the result is no larger than it must be. */
static void test_compose(void **state)
{
    (void)state;
    size_t pairs = 0;
    for (size_t i = 0; i < COUNT(kinds); i++)
        for (size_t k = 0; k < COUNT(kinds); k++) {
            if (kinds[i].size != kinds[k].size || kinds[i].size > 100)
                continue;
            struct rb_map a = random_map(&kinds[i], 20 + i), b = random_map(&kinds[k], 40 + k), c;
            struct rb_error err = {0};
            MUST(rb_map_compose(&a, &b, &c, &err), &err);
            double *x = matrix_of(&a, false), *y = matrix_of(&b, false);
            double *u = matrix_of(&a, true), *v = matrix_of(&b, true);
            assert_product(kinds[i].name, &c, x, y, false);
            assert_product(kinds[i].name, &c, u, v, true);
            if (a.blocks == 0 && b.blocks == 0)
                assert_int_equal(c.blocks, 0);
            if (a.blocks == b.blocks && b.index == NULL)
                assert_int_equal(c.blocks, a.blocks);
            assert_int_equal(c.forward == c.inverse, kinds[i].orthogonal && kinds[k].orthogonal);
            free(x);
            free(y);
            free(u);
            free(v);
            rb_map_deinit(&a);
            rb_map_deinit(&b);
            rb_map_deinit(&c);
            pairs++;
        }
    assert_true(pairs > 25);
}

/* Heads that move as wholes: blocks stay blocks, composed and inverted. */
static void test_heads_stay_blocks(void **state)
{
    (void)state;
    static const uint32_t heads[] = {2, 0, 3, 1};
    const struct kind kind = {"heads", 12, 4, true, true, false};
    struct rb_map a = random_map(&kind, 3), b = random_map(&kind, 4), c, d;
    struct rb_error err = {0};
    uint64_t seed = 5;
    for (size_t i = 0; i < 12; i++)
        a.index[i] = b.index[i] = heads[i / 3] * 3 + (uint32_t)((i % 3 + 1 + i / 3) % 3);
    (void)seed;
    MUST(rb_map_compose(&a, &b, &c, &err), &err);
    MUST(rb_map_invert(&a, &d, &err), &err);
    assert_int_equal(rb_map_kind(&c), RB_MAP_BLOCKS);
    assert_int_equal(rb_map_kind(&d), RB_MAP_BLOCKS);
    double *x = matrix_of(&a, false), *y = matrix_of(&b, false);
    assert_product("heads", &c, x, y, false);
    free(x);
    free(y);
    rb_map_deinit(&a);
    rb_map_deinit(&b);
    rb_map_deinit(&c);
    rb_map_deinit(&d);
}

static void test_invert(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        if (kinds[i].size > 100)
            continue;
        struct rb_map m = random_map(&kinds[i], 60 + i), inverse;
        struct rb_error err = {0};
        MUST(rb_map_invert(&m, &inverse, &err), &err);
        size_t n = m.size;
        double *x = matrix_of(&m, false), *y = matrix_of(&inverse, false);
        for (size_t r = 0; r < n; r++)
            for (size_t c = 0; c < n; c++) {
                double sum = 0;
                for (size_t k = 0; k < n; k++)
                    sum += x[r * n + k] * y[k * n + c];
                assert_near(kinds[i].name, sum, r == c, 4e-6);
            }
        free(x);
        free(y);
        rb_map_deinit(&m);
        rb_map_deinit(&inverse);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_matrices_and_gains),
        cmocka_unit_test(test_compose),
        cmocka_unit_test(test_heads_stay_blocks),
        cmocka_unit_test(test_invert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
