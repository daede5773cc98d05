// LINK: core_learn
/* Learned orthogonal matrices: orthogonal, centred where promised, and their gradient against
 * differences, at odd sizes; Adam against its formula written another way. */
#include "unit/numbers.h"

#include "core/learn/adam.h"
#include "core/learn/learned.h"

#include <math.h>
#include <string.h>

enum { LARGEST = 37 };

static void fill(double *x, size_t n, double size, uint64_t *seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = random_uniform(seed, -size, size);
}

/* Some orthogonal matrix to start from, with Q 1 = 1 when centred. */
static void some_base(size_t n, bool centred, double *ret, uint64_t *seed)
{
    double *eye = calloc(n * n, sizeof *eye), *w = calloc(n * n, sizeof *w);
    assert_non_null(eye);
    assert_non_null(w);
    for (size_t i = 0; i < n; i++)
        eye[i * n + i] = 1;
    fill(w, n * n, 0.7, seed);
    struct rb_cayley c;
    assert_int_equal(rb_cayley_init(&c, n, eye, centred, NULL), RB_OK);
    assert_int_equal(rb_cayley_value(&c, w, NULL), RB_OK);
    memcpy(ret, c.q, n * n * sizeof *ret);
    rb_cayley_deinit(&c);
    free(eye);
    free(w);
}

static double off_orthogonal(const double *q, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double dot = i == j ? -1 : 0;
            for (size_t k = 0; k < n; k++)
                dot += q[i * n + k] * q[j * n + k];
            worst = fmax(worst, fabs(dot));
        }
    return worst;
}

static double off_centred(const double *q, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double row = -1, column = -1;
        for (size_t j = 0; j < n; j++) {
            row += q[i * n + j];
            column += q[j * n + i];
        }
        worst = fmax(worst, fmax(fabs(row), fabs(column)));
    }
    return worst;
}

static double weighted(struct rb_cayley *c, const double *w, const double *g)
{
    double sum = 0;
    assert_int_equal(rb_cayley_value(c, w, NULL), RB_OK);
    for (size_t i = 0; i < c->n * c->n; i++)
        sum += c->q[i] * g[i];
    return sum;
}

static void check(size_t n, bool centred, uint64_t seed)
{
    static double base[LARGEST * LARGEST], w[LARGEST * LARGEST], g[LARGEST * LARGEST],
        way[LARGEST * LARGEST], dq[LARGEST * LARGEST], dw[LARGEST * LARGEST],
        polar[LARGEST * LARGEST];
    size_t nn = n * n;
    some_base(n, centred, base, &seed);
    fill(w, nn, 0.5, &seed);
    fill(g, nn, 1, &seed);
    fill(way, nn, 1, &seed);
    struct rb_cayley c;
    assert_int_equal(rb_cayley_init(&c, n, base, centred, NULL), RB_OK);
    assert_int_equal(rb_cayley_value(&c, w, NULL), RB_OK);
    assert_true(off_orthogonal(c.q, n) < 1e-12);
    if (centred)
        assert_true(off_centred(c.q, n) < 1e-12);
    memcpy(dq, g, nn * sizeof *dq);
    rb_cayley_gradient(&c, dq, dw);
    double slope = 0, size = 0, h = 1e-5;
    for (size_t i = 0; i < nn; i++) {
        slope += dw[i] * way[i];
        size += fabs(dw[i] * way[i]);
    }
    assert_int_equal(rb_cayley_project(&c, polar, NULL), RB_OK);
    assert_true(off_orthogonal(polar, n) < 1e-13);
    for (size_t i = 0; i < nn; i++)
        assert_true(fabs(polar[i] - c.q[i]) < 1e-11);
    for (size_t i = 0; i < nn; i++)
        w[i] += h * way[i];
    double above = weighted(&c, w, g);
    for (size_t i = 0; i < nn; i++)
        w[i] -= 2 * h * way[i];
    double below = weighted(&c, w, g), measured = (above - below) / (2 * h);
    assert_true(fabs(measured - slope) <= 1e-7 * fmax(size, 1e-3));
    rb_cayley_deinit(&c);
}

static void test_values_and_gradients(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 5, 8, 16, 31, LARGEST};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int centred = 0; centred < 2; centred++)
            check(sizes[i], centred, 77 + i);
}

/* value^T dual is the identity. */
static double off_dual(const struct rb_learned *l)
{
    double worst = 0;
    for (size_t i = 0; i < l->n; i++)
        for (size_t j = 0; j < l->n; j++) {
            double sum = i == j ? -1 : 0;
            for (size_t k = 0; k < l->n; k++)
                sum += l->value[k * l->n + i] * l->dual[k * l->n + j];
            worst = fmax(worst, fabs(sum));
        }
    return worst;
}

/* Turned planes beside a free rest: orthogonal, or stretched with its inverse beside it; the planes
 * only turn (and stretch), gradient by differences. */
static void check_planes(size_t n, size_t planes, bool stretches, uint64_t seed)
{
    static double base[LARGEST * LARGEST], x[2 * LARGEST * LARGEST], way[2 * LARGEST * LARGEST],
        g[LARGEST * LARGEST], dx[2 * LARGEST * LARGEST], scratch[LARGEST * LARGEST];
    size_t rest = n - 2 * planes;
    memset(base, 0, sizeof base);
    double *block = calloc(rest * rest + 1, sizeof *block);
    assert_non_null(block);
    if (rest > 0)
        some_base(rest, false, block, &seed);
    for (size_t i = 0; i < rest; i++)
        for (size_t j = 0; j < rest; j++)
            base[(2 * planes + i) * n + 2 * planes + j] = block[i * rest + j];
    for (size_t i = 0; i < planes; i++) {
        double angle = random_uniform(&seed, -3, 3);
        base[i * n + i] = base[(i + planes) * n + i + planes] = cos(angle);
        base[i * n + i + planes] = sin(angle);
        base[(i + planes) * n + i] = -sin(angle);
    }
    struct rb_learned l;
    assert_int_equal(rb_learned_init(&l, n, planes, base, false, stretches, NULL), RB_OK);
    assert_int_equal(l.parameters, (planes + rest * rest) * (stretches ? 2 : 1));
    memset(x, 0, sizeof x);
    assert_int_equal(rb_learned_value(&l, x, NULL), RB_OK);
    for (size_t i = 0; i < n * n; i++)
        assert_true(fabs(l.value[i] - base[i]) < 1e-12);
    fill(x, l.parameters, 0.5, &seed);
    fill(way, l.parameters, 1, &seed);
    fill(g, n * n, 1, &seed);
    assert_int_equal(rb_learned_value(&l, x, NULL), RB_OK);
    assert_int_equal(off_orthogonal(l.value, n) < 1e-12, !stretches);
    assert_true(off_dual(&l) < 1e-12);
    rb_learned_gradient(&l, x, g, dx, scratch);
    double slope = 0, size = 0, h = 1e-5, sums[2];
    for (size_t i = 0; i < l.parameters; i++) {
        slope += dx[i] * way[i];
        size += fabs(dx[i] * way[i]);
    }
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < l.parameters; i++)
            x[i] += (side == 0 ? 1 : -2) * h * way[i];
        assert_int_equal(rb_learned_value(&l, x, NULL), RB_OK);
        sums[side] = 0;
        for (size_t i = 0; i < n * n; i++)
            sums[side] += l.value[i] * g[i];
    }
    assert_true(fabs((sums[0] - sums[1]) / (2 * h) - slope) <= 1e-7 * size);
    assert_int_equal(rb_learned_project(&l, NULL), RB_OK);
    assert_true(stretches || off_orthogonal(l.value, n) < 1e-13);
    assert_true(off_dual(&l) < 1e-12);
    rb_learned_deinit(&l);
    free(block);
}

static void test_planes(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{2, 1}, {4, 1}, {8, 4}, {16, 4}, {7, 2}, {5, 0}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int stretches = 0; stretches < 2; stretches++)
            check_planes(shapes[i][0], shapes[i][1], stretches, 5 + i);
}

static void test_not_finite(void **state)
{
    (void)state;
    double base[4] = {1, 0, 0, 1}, w[4] = {0, INFINITY, 0, 0};
    struct rb_cayley c;
    struct rb_error err;
    assert_int_equal(rb_cayley_init(&c, 2, base, false, NULL), RB_OK);
    assert_int_equal(rb_cayley_value(&c, w, &err), RB_ENUMERIC);
    assert_non_null(strstr(err.detail, "learning_rate"));
    rb_cayley_deinit(&c);
}

static void test_adam(void **state)
{
    (void)state;
    double x = 1, m = 0, v = 0, sum_m = 0, sum_v = 0, expected = 1;
    for (uint32_t t = 0; t < 50; t++) {
        double g = sin(t) + x;
        sum_m = 0.9 * sum_m + 0.1 * g;
        sum_v = 0.98 * sum_v + 0.02 * g * g;
        double mean = sum_m / (1 - pow(0.9, t + 1)), square = sum_v / (1 - pow(0.98, t + 1));
        expected -= 3e-3 * mean / (sqrt(square) + 1e-8);
        rb_adam_step(&rb_adam_default, 3e-3, t, 1, &g, &x, &m, &v);
        assert_true(fabs(x - expected) < 1e-14);
    }
}

static void test_rate(void **state)
{
    (void)state;
    assert_true(fabs(rb_adam_rate(2, 0, 300, 10) - 0.2) < 1e-15);
    assert_true(fabs(rb_adam_rate(2, 9, 300, 10) - 2) < 1e-15);
    assert_true(fabs(rb_adam_rate(2, 10, 300, 10) - 2) < 1e-15);
    assert_true(fabs(rb_adam_rate(2, 299, 300, 10) - 0.1) < 1e-12);
    assert_true(fabs(rb_adam_rate(2, 0, 1, 10) - 0.2) < 1e-15);
    for (uint32_t t = 11; t < 300; t++)
        assert_true(rb_adam_rate(2, t, 300, 10) < rb_adam_rate(2, t - 1, 300, 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_and_gradients),
        cmocka_unit_test(test_planes),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_adam),
        cmocka_unit_test(test_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
