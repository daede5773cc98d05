// LINK: core_merge
/* Every kernel set this CPU can run against its reference in F64, within the bounds that
 * core/model/kernels.h states; against scalar loops, bit for bit, where it promises exactness. */
#include "unit/numbers.h"

#include "core/model/kernels.h"

#include <float.h>

/* Row lengths: every remainder of every register width, and real models'. */
enum { SHORT_ROWS = 70, ROWS = 3, WIDEST = 3072, DISTINCT_LENGTHS = SHORT_ROWS + 4 };

static size_t length_at(size_t i)
{
    static const size_t longer[] = {127, 768, 1000, WIDEST};
    return i < SHORT_ROWS ? i + 1 : longer[i - SHORT_ROWS];
}

/* What the inputs look like. */
enum spread { ORDINARY, WIDE, TINY, HUGE_VALUES, SHIFTED, EQUAL, SPREADS };
static const char *const spread_names[] = {"ordinary", "wide", "tiny", "huge", "shifted", "equal"};

static float draw(enum spread spread, uint64_t *seed)
{
    static const double ranges[] = {4, 60, 1e-30, 1e15, 0};
    return spread == EQUAL ? 0.71F : (float)random_uniform(seed, -ranges[spread], ranges[spread]);
}

/* Exactly n floats on the heap, one float off any vector's alignment: the sanitizer sees the end.
 */
struct floats {
    float *block, *at;
};

static struct floats floats_new(size_t n)
{
    struct floats f = {.block = malloc((n + 1) * sizeof(float))};
    assert_non_null(f.block);
    f.at = f.block + 1;
    return f;
}

static struct floats floats_drawn(size_t n, enum spread spread, uint64_t *seed)
{
    struct floats f = floats_new(n);
    for (size_t i = 0; i < n; i++)
        f.at[i] = draw(spread, seed);
    return f;
}

static struct floats floats_copy(const float *from, size_t n)
{
    struct floats f = floats_new(n);
    memcpy(f.at, from, n * sizeof(float));
    return f;
}

/* The case under test, for messages, and the worst error in units of the bound. */
struct trial {
    const struct rb_kernels *k;
    const char *kernel;
    enum spread spread;
    size_t n;
    double worst;
};

static void within(struct trial *t, size_t i, double found, double expected, double bound)
{
    double share = fabs(found - expected) / bound;
    if (!(share <= 1))
        fail_msg("%s %s, %s, n = %zu: element %zu is %.9g, expected %.9g within %g", t->k->name,
                 t->kernel, spread_names[t->spread], t->n, i, found, expected, bound);
    t->worst = fmax(t->worst, share);
}

static void same_bits(const struct trial *t, const float *found, const float *expected, size_t n)
{
    if (memcmp(found, expected, n * sizeof(float)) != 0)
        fail_msg("%s %s, %s, n = %zu: other bits than expected", t->k->name, t->kernel,
                 spread_names[t->spread], t->n);
}

/* ---- one element from one element: x = f(x + bias) ---- */

static double ref_sum(double x)
{
    return x;
}

static double ref_tanh(double x)
{
    return tanh(x);
}

static double bound_sum(double x)
{
    return FLT_EPSILON / 2 * fabs(x) + FLT_TRUE_MIN;
}

static double bound_gelu(double x)
{
    return 5e-7 * fmax(1, fabs(x));
}

static double bound_silu(double x)
{
    return 5e-7 * fmax(1, x);
}

static double bound_tanh(double x)
{
    (void)x;
    return 4e-7;
}

static const struct map {
    const char *name;
    size_t offset; /* in struct rb_kernels */
    double sign;   /* of the bias */
    double (*reference)(double);
    double (*bound)(double);
} maps[] = {
    {"add_bias", offsetof(struct rb_kernels, add_bias), 1, ref_sum, bound_sum},
    {"subtract", offsetof(struct rb_kernels, subtract), -1, ref_sum, bound_sum},
    {"bias_gelu", offsetof(struct rb_kernels, bias_gelu), 1, rb_ref_gelu, bound_gelu},
    {"bias_gelu_new", offsetof(struct rb_kernels, bias_gelu_new), 1, rb_ref_gelu_new, bound_gelu},
    {"bias_silu", offsetof(struct rb_kernels, bias_silu), 1, rb_ref_silu, bound_silu},
    {"bias_relu", offsetof(struct rb_kernels, bias_relu), 1, rb_ref_relu, bound_sum},
    {"bias_tanh", offsetof(struct rb_kernels, bias_tanh), 1, ref_tanh, bound_tanh},
};

typedef void (*map_fn)(float *x, const float *bias, size_t rows, size_t n);

static map_fn map_of(const struct rb_kernels *k, const struct map *m)
{
    map_fn f;
    memcpy(&f, (const char *)k + m->offset, sizeof f);
    return f;
}

static void check_map(struct trial *t, const struct map *m, uint64_t *seed)
{
    size_t n = t->n;
    map_fn f = map_of(t->k, m);
    struct floats x = floats_drawn(ROWS * n, t->spread, seed),
                  bias = floats_drawn(n, ORDINARY, seed);
    struct floats y = floats_copy(x.at, ROWS * n), one = floats_copy(x.at + n, n);
    f(y.at, bias.at, ROWS, n);
    for (size_t i = 0; i < ROWS * n; i++) {
        double v = (double)x.at[i] + m->sign * (double)bias.at[i % n];
        within(t, i, (double)y.at[i], m->reference(v), m->bound(v));
    }
    f(one.at, bias.at, 1, n); /* a row on its own */
    same_bits(t, one.at, y.at + n, n);
    free(x.block);
    free(bias.block);
    free(y.block);
    free(one.block);
}

/* A bias that is not there counts as zeros. */
static void test_no_bias(void **state)
{
    (void)state;
    for (const struct rb_kernels *const *k = rb_kernels_all(); *k != NULL; k++)
        for (size_t m = 0; m < COUNT(maps); m++)
            for (size_t n = 1; n <= SHORT_ROWS; n++) {
                uint64_t seed = n;
                struct trial t = {.k = *k, .kernel = maps[m].name, .n = n};
                struct floats x = floats_drawn(ROWS * n, ORDINARY, &seed), zero = floats_new(n);
                struct floats y = floats_copy(x.at, ROWS * n);
                memset(zero.at, 0, n * sizeof(float));
                map_of(*k, &maps[m])(x.at, NULL, ROWS, n);
                map_of(*k, &maps[m])(y.at, zero.at, ROWS, n);
                same_bits(&t, x.at, y.at, ROWS * n);
                free(x.block);
                free(y.block);
                free(zero.block);
            }
}

/* ---- two to one: y = f(gate + bias) * (up + bias) ---- */

static const struct gated {
    const char *name;
    size_t offset;
    double (*reference)(double);
    double (*bound)(double);
} gates[] = {
    {"gated_gelu", offsetof(struct rb_kernels, gated_gelu), rb_ref_gelu, bound_gelu},
    {"gated_gelu_new", offsetof(struct rb_kernels, gated_gelu_new), rb_ref_gelu_new, bound_gelu},
    {"gated_silu", offsetof(struct rb_kernels, gated_silu), rb_ref_silu, bound_silu},
    {"gated_relu", offsetof(struct rb_kernels, gated_relu), rb_ref_relu, bound_sum},
    {"gated_tanh", offsetof(struct rb_kernels, gated_tanh), ref_tanh, bound_tanh},
};

static rb_gated_fn gated_of(const struct rb_kernels *k, const struct gated *g)
{
    rb_gated_fn f;
    memcpy(&f, (const char *)k + g->offset, sizeof f);
    return f;
}

static void check_gated(struct trial *t, const struct gated *g, bool biases, uint64_t *seed)
{
    size_t n = t->n;
    rb_gated_fn f = gated_of(t->k, g);
    struct floats gate = floats_drawn(ROWS * n, t->spread, seed), y = floats_new(ROWS * n);
    struct floats up = floats_drawn(ROWS * n, ORDINARY, seed), one = floats_new(n);
    struct floats bias = floats_drawn(2 * n, ORDINARY, seed);
    const float *gate_bias = biases ? bias.at : NULL, *up_bias = biases ? bias.at + n : NULL;
    f(y.at, gate.at, gate_bias, up.at, up_bias, ROWS, n);
    for (size_t i = 0; i < ROWS * n; i++) { /* the sums rounded as the kernel reads them */
        double a = (double)(gate.at[i] + (biases ? gate_bias[i % n] : 0));
        double b = (double)(up.at[i] + (biases ? up_bias[i % n] : 0)), v = g->reference(a);
        within(t, i, (double)y.at[i], v * b,
               g->bound(a) * fabs(b) + 2e-7 * fabs(v * b) + FLT_TRUE_MIN);
    }
    f(one.at, gate.at + n, gate_bias, up.at + n, up_bias, 1, n); /* a row on its own */
    same_bits(t, one.at, y.at + n, n);
    f(gate.at, gate.at, gate_bias, up.at, up_bias, ROWS, n); /* in place */
    same_bits(t, gate.at, y.at, ROWS * n);
    free(gate.block);
    free(up.block);
    free(y.block);
    free(one.block);
    free(bias.block);
}

static void test_gated(void **state)
{
    (void)state;
    for (const struct rb_kernels *const *k = rb_kernels_all(); *k != NULL; k++)
        for (size_t g = 0; g < COUNT(gates); g++) {
            struct trial t = {.k = *k, .kernel = gates[g].name};
            uint64_t seed = 1 + g;
            for (t.spread = 0; t.spread < SPREADS; t.spread++)
                for (size_t l = 0; l < DISTINCT_LENGTHS; l++) {
                    t.n = length_at(l);
                    check_gated(&t, &gates[g], l % 2 == 0, &seed);
                }
            print_message("  %-7s %-14s worst error is %.3f of the bound\n", t.k->name, t.kernel,
                          t.worst);
        }
}

/* ---- rows ---- */

static void check_softmax(struct trial *t, uint64_t *seed)
{
    size_t n = t->n, stride = n + 3;
    struct floats x = floats_drawn(ROWS * stride, t->spread, seed);
    struct floats y = floats_copy(x.at, ROWS * stride), one = floats_copy(x.at + stride, n);
    double *expected = must_alloc(n, sizeof *expected);
    const float scale = 0.125F;
    t->k->softmax(y.at, ROWS, n, stride, scale);
    for (size_t r = 0; r < ROWS; r++) {
        double top = 0;
        rb_ref_softmax(x.at + r * stride, expected, n, (double)scale);
        for (size_t i = 0; i < n; i++)
            top = fmax(top, expected[i]);
        for (size_t i = 0; i < n; i++)
            within(t, i, (double)y.at[r * stride + i], expected[i], 2e-6 * top);
        same_bits(t, y.at + r * stride + n, x.at + r * stride + n, stride - n); /* between rows */
    }
    t->k->softmax(one.at, 1, n, n, scale);
    same_bits(t, one.at, y.at + stride, n);
    free(x.block);
    free(y.block);
    free(one.block);
    free(expected);
}

/* The places where the result may go. */
enum target { TO_OTHER, TO_X, TO_SKIP, TARGETS };

static void check_layer_norm_to(struct trial *t, const float *x, const float *bias,
                                const float *skip, const float *weight, const float *shift,
                                enum target target, float *ret)
{
    size_t n = t->n;
    struct floats a = floats_copy(x, ROWS * n), b = floats_copy(skip, ROWS * n);
    struct floats other = floats_new(ROWS * n);
    float *y = target == TO_X ? a.at : target == TO_SKIP ? b.at : other.at;
    t->k->layer_norm(y, a.at, bias, b.at, weight, shift, 1e-12F, ROWS, n);
    if (target == TO_OTHER)
        memcpy(ret, y, ROWS * n * sizeof(float));
    else
        same_bits(t, y, ret, ROWS * n);
    free(a.block);
    free(b.block);
    free(other.block);
}

static void check_layer_norm(struct trial *t, uint64_t *seed)
{
    size_t n = t->n;
    struct floats x = floats_drawn(ROWS * n, t->spread, seed), y = floats_new(ROWS * n);
    struct floats skip = floats_drawn(ROWS * n, t->spread, seed);
    struct floats bias = floats_drawn(n, t->spread, seed), one = floats_new(n);
    struct floats weight = floats_drawn(n, ORDINARY, seed), shift = floats_drawn(n, ORDINARY, seed);
    double *sum = must_alloc(n, sizeof *sum), *expected = must_alloc(n, sizeof *expected);
    for (enum target to = TO_OTHER; to < TARGETS; to++)
        check_layer_norm_to(t, x.at, bias.at, skip.at, weight.at, shift.at, to, y.at);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < n; i++) /* rounded as the kernel reads it */
            sum[i] = (double)(x.at[r * n + i] + bias.at[i] + skip.at[r * n + i]);
        rb_ref_layer_norm(sum, weight.at, shift.at, 1e-12, expected, n);
        for (size_t i = 0; i < n; i++)
            within(t, i, (double)y.at[r * n + i], expected[i],
                   2e-6 * fmax(1, fabs(expected[i] - (double)shift.at[i]) +
                                      fabs((double)shift.at[i])));
    }
    t->k->layer_norm(one.at, x.at + n, bias.at, skip.at + n, weight.at, shift.at, 1e-12F, 1, n);
    same_bits(t, one.at, y.at + n, n);
    free(x.block);
    free(y.block);
    free(skip.block);
    free(bias.block);
    free(one.block);
    free(weight.block);
    free(shift.block);
    free(sum);
    free(expected);
}

static void check_rms_norm(struct trial *t, uint64_t *seed)
{
    size_t n = t->n;
    struct floats x = floats_drawn(ROWS * n, t->spread, seed), y = floats_new(ROWS * n);
    struct floats weight = floats_drawn(n, ORDINARY, seed), one = floats_new(n);
    double *expected = must_alloc(n, sizeof *expected);
    t->k->rms_norm(y.at, x.at, weight.at, 1e-6F, ROWS, n);
    for (size_t r = 0; r < ROWS; r++) {
        rb_ref_rms_norm(x.at + r * n, weight.at, (double)1e-6F, expected, n);
        for (size_t i = 0; i < n; i++)
            within(t, i, (double)y.at[r * n + i], expected[i],
                   2e-6 * fabs(expected[i]) + FLT_TRUE_MIN);
    }
    t->k->rms_norm(one.at, x.at + n, weight.at, 1e-6F, 1, n); /* a row on its own */
    same_bits(t, one.at, y.at + n, n);
    t->k->rms_norm(x.at, x.at, weight.at, 1e-6F, ROWS, n); /* in place */
    same_bits(t, x.at, y.at, ROWS * n);
    free(x.block);
    free(y.block);
    free(weight.block);
    free(one.block);
    free(expected);
}

/* n planes. */
static void check_rotate(struct trial *t, uint64_t *seed)
{
    size_t n = t->n;
    struct floats x = floats_drawn(2 * n, t->spread, seed), y = floats_new(2 * n);
    struct floats cosine = floats_new(n), sine = floats_new(n);
    for (size_t i = 0; i < n; i++) {
        double angle = random_uniform(seed, -9, 9);
        cosine.at[i] = (float)cos(angle);
        sine.at[i] = (float)sin(angle);
    }
    t->k->rotate(y.at, x.at, cosine.at, sine.at, n);
    for (size_t i = 0; i < n; i++) {
        double a = (double)x.at[i], b = (double)x.at[n + i];
        double c = (double)cosine.at[i], s = (double)sine.at[i];
        double bound = 2e-7 * (fabs(a) + fabs(b)) + FLT_TRUE_MIN;
        within(t, i, (double)y.at[i], a * c - b * s, bound);
        within(t, n + i, (double)y.at[n + i], b * c + a * s, bound);
    }
    t->k->rotate(x.at, x.at, cosine.at, sine.at, n);
    same_bits(t, x.at, y.at, 2 * n);
    free(x.block);
    free(y.block);
    free(cosine.block);
    free(sine.block);
}

static void check_exp_sum(struct trial *t, uint64_t *seed)
{
    size_t n = t->n;
    const float scale = 0.125F;
    struct floats x = floats_drawn(n, t->spread, seed), y = floats_copy(x.at, n);
    double top = -INFINITY, expected = 0;
    float sum = t->k->exp_sum(y.at, n, scale);
    for (size_t i = 0; i < n; i++)
        top = fmax(top, (double)scale * (double)x.at[i]);
    for (size_t i = 0; i < n; i++) {
        double e = exp((double)scale * (double)x.at[i] - top);
        within(t, i, (double)y.at[i], e, 2e-6);
        expected += e;
    }
    within(t, n, (double)sum, expected, 2e-6 * expected);
    free(x.block);
    free(y.block);
}

static void check_max_sum_exp(struct trial *t, uint64_t *seed)
{
    size_t n = t->n;
    struct floats x = floats_drawn(n, t->spread, seed), bias = floats_drawn(n, ORDINARY, seed);
    float top, sum;
    double expected_top = -INFINITY, expected = 0;
    t->k->max_sum_exp(x.at, bias.at, n, &top, &sum);
    for (size_t i = 0; i < n; i++)
        expected_top = fmax(expected_top, (double)(x.at[i] + bias.at[i]));
    for (size_t i = 0; i < n; i++)
        expected += exp((double)(x.at[i] + bias.at[i]) - expected_top);
    within(t, 0, (double)top, expected_top, FLT_TRUE_MIN);
    within(t, 1, (double)sum, expected, 2e-6 * expected);
    free(x.block);
    free(bias.block);
}

static void check_blend(struct trial *t, uint64_t *seed)
{
    size_t n = t->n;
    struct floats x = floats_drawn(n, t->spread, seed), z = floats_drawn(n, t->spread, seed);
    struct floats y = floats_new(n), to_x = floats_copy(x.at, n), to_z = floats_copy(z.at, n);
    const float wa = 0.35F, wb = 0.65F;
    t->k->blend(y.at, x.at, wa, z.at, wb, n);
    for (size_t i = 0; i < n; i++) {
        double a = (double)wa * (double)x.at[i], b = (double)wb * (double)z.at[i];
        within(t, i, (double)y.at[i], a + b, FLT_EPSILON * (fabs(a) + fabs(b)) + FLT_TRUE_MIN);
    }
    t->k->blend(to_x.at, to_x.at, wa, z.at, wb, n);
    same_bits(t, to_x.at, y.at, n);
    t->k->blend(to_z.at, x.at, wa, to_z.at, wb, n);
    same_bits(t, to_z.at, y.at, n);
    free(x.block);
    free(z.block);
    free(y.block);
    free(to_x.block);
    free(to_z.block);
}

static void check_add_residual(struct trial *t, uint64_t *seed)
{
    size_t n = t->n;
    struct floats x = floats_drawn(ROWS * n, t->spread, seed),
                  bias = floats_drawn(n, ORDINARY, seed);
    struct floats y = floats_drawn(ROWS * n, t->spread, seed), plain = floats_copy(x.at, ROWS * n);
    struct floats sum = floats_copy(x.at, ROWS * n);
    t->k->add_residual(sum.at, y.at, bias.at, ROWS, n);
    t->k->add_residual(plain.at, y.at, NULL, ROWS, n);
    for (size_t i = 0; i < ROWS * n; i++) {
        double a = (double)x.at[i], b = (double)y.at[i], c = (double)bias.at[i % n];
        double bound = FLT_EPSILON * (fabs(a) + fabs(b) + fabs(c)) + FLT_TRUE_MIN;
        within(t, i, (double)sum.at[i], a + (b + c), bound);
        within(t, i, (double)plain.at[i], a + b, bound);
    }
    free(x.block);
    free(y.block);
    free(bias.block);
    free(plain.block);
    free(sum.block);
}

static const struct row_kernel {
    const char *name;
    void (*check)(struct trial *t, uint64_t *seed);
} row_kernels[] = {
    {"softmax", check_softmax},   {"layer_norm", check_layer_norm},
    {"rms_norm", check_rms_norm}, {"rotate", check_rotate},
    {"exp_sum", check_exp_sum},   {"max_sum_exp", check_max_sum_exp},
    {"blend", check_blend},       {"add_residual", check_add_residual},
};

static void test_bounds(void **state)
{
    (void)state;
    for (const struct rb_kernels *const *k = rb_kernels_all(); *k != NULL; k++)
        for (size_t i = 0; i < COUNT(maps) + COUNT(row_kernels); i++) {
            const struct row_kernel *row = i < COUNT(maps) ? NULL : &row_kernels[i - COUNT(maps)];
            struct trial t = {.k = *k, .kernel = row != NULL ? row->name : maps[i].name};
            uint64_t seed = 1 + i;
            for (t.spread = 0; t.spread < SPREADS; t.spread++)
                for (size_t l = 0; l < DISTINCT_LENGTHS; l++) {
                    t.n = length_at(l);
                    if (row != NULL)
                        row->check(&t, &seed);
                    else
                        check_map(&t, &maps[i], &seed);
                }
            print_message("  %-7s %-12s worst error is %.3f of the bound\n", t.k->name, t.kernel,
                          t.worst);
        }
}

/* ---- whole ranges of one argument ---- */

/* Steps of a thousandth over where the functions bend, then a geometric walk to the ends of F32. */
static size_t sweep(float *x)
{
    size_t n = 0;
    for (int i = -12000; i <= 12000; i++)
        x[n++] = (float)i / 1000;
    for (double v = 1e-45; v < (double)FLT_MAX; v *= 1.37) {
        x[n++] = (float)v;
        x[n++] = (float)-v;
    }
    x[n++] = FLT_MAX;
    x[n++] = -FLT_MAX;
    x[n++] = INFINITY;
    return n;
}

static void test_sweeps(void **state)
{
    (void)state;
    float *x = must_alloc(30000, sizeof *x), *y = must_alloc(30000, sizeof *y);
    float *zero = must_alloc(30000, sizeof *zero);
    size_t n = sweep(x);
    assert_in_range(n, 1, 30000);
    for (const struct rb_kernels *const *k = rb_kernels_all(); *k != NULL; k++)
        for (size_t m = 2; m < COUNT(maps); m++) {
            struct trial t = {.k = *k, .kernel = maps[m].name, .spread = WIDE, .n = n};
            memcpy(y, x, n * sizeof *x);
            map_of(*k, &maps[m])(y, zero, 1, n);
            for (size_t i = 0; i + 1 < n; i++)
                within(&t, i, (double)y[i], maps[m].reference((double)x[i]),
                       maps[m].bound((double)x[i]));
            assert_float_equal(y[n - 1], m + 1 < COUNT(maps) ? INFINITY : 1,
                               0); /* tanh is the last */
            print_message("  %-7s %-12s worst error is %.3f of the bound\n", t.k->name, t.kernel,
                          t.worst);
        }
    free(x);
    free(y);
    free(zero);
}

/* ---- what is not a number stays visible, wherever it stands ---- */

static void poison(const struct rb_kernels *k, size_t n, size_t at)
{
    uint64_t seed = 5;
    struct floats x = floats_drawn(n, ORDINARY, &seed), zero = floats_new(n), y = floats_new(n);
    float top, sum;
    memset(zero.at, 0, n * sizeof(float));
    x.at[at] = NAN;
    for (size_t m = 0; m < COUNT(maps); m++) {
        memcpy(y.at, x.at, n * sizeof(float));
        map_of(k, &maps[m])(y.at, zero.at, 1, n);
        for (size_t i = 0; i < n; i++)
            if (isnan(y.at[i]) != (i == at))
                fail_msg("%s %s, n = %zu, NaN at %zu: element %zu is %g", k->name, maps[m].name, n,
                         at, i, (double)y.at[i]);
    }
    k->max_sum_exp(x.at, zero.at, n, &top, &sum);
    if (!isnan(sum))
        fail_msg("%s max_sum_exp, n = %zu, NaN at %zu: the sum is %g", k->name, n, at, (double)sum);
    memcpy(y.at, x.at, n * sizeof(float));
    if (!isnan(k->exp_sum(y.at, n, 1)))
        fail_msg("%s exp_sum, n = %zu, NaN at %zu: the sum is a number", k->name, n, at);
    for (size_t g = 0; g < COUNT(gates); g++) {
        gated_of(k, &gates[g])(y.at, zero.at, NULL, x.at, NULL, 1, n);
        for (size_t i = 0; i < n; i++)
            if (isnan(y.at[i]) != (i == at))
                fail_msg("%s %s, n = %zu, NaN at %zu: element %zu is %g", k->name, gates[g].name, n,
                         at, i, (double)y.at[i]);
    }
    k->rms_norm(y.at, x.at, zero.at, 1e-12F, 1, n);
    for (size_t i = 0; i < n; i++)
        if (!isnan(y.at[i]))
            fail_msg("%s rms_norm, n = %zu, NaN at %zu: element %zu is %g", k->name, n, at, i,
                     (double)y.at[i]);
    k->layer_norm(y.at, x.at, NULL, NULL, zero.at, zero.at, 1e-12F, 1, n);
    k->softmax(x.at, 1, n, n, 1);
    for (size_t i = 0; i < n; i++)
        if (!isnan(x.at[i]) || !isnan(y.at[i]))
            fail_msg("%s softmax or layer_norm, n = %zu, NaN at %zu: element %zu is %g, %g",
                     k->name, n, at, i, (double)x.at[i], (double)y.at[i]);
    free(x.block);
    free(y.block);
    free(zero.block);
}

static void test_nan(void **state)
{
    (void)state;
    for (const struct rb_kernels *const *k = rb_kernels_all(); *k != NULL; k++)
        for (size_t n = 1; n <= SHORT_ROWS; n += 3)
            for (size_t at = 0; at < n; at++)
                poison(*k, n, at);
}

/* bias and skip may be missing. */
static void test_layer_norm_plain(void **state)
{
    (void)state;
    for (const struct rb_kernels *const *k = rb_kernels_all(); *k != NULL; k++)
        for (size_t n = 1; n <= SHORT_ROWS; n++) {
            uint64_t seed = n;
            struct trial t = {.k = *k, .kernel = "layer_norm", .n = n};
            struct floats x = floats_drawn(n, ORDINARY, &seed), zero = floats_new(n);
            struct floats a = floats_new(n), b = floats_new(n);
            memset(zero.at, 0, n * sizeof(float));
            (*k)->layer_norm(a.at, x.at, NULL, NULL, x.at, zero.at, 1e-5F, 1, n);
            (*k)->layer_norm(b.at, x.at, zero.at, zero.at, x.at, zero.at, 1e-5F, 1, n);
            same_bits(&t, a.at, b.at, n);
            free(x.block);
            free(zero.block);
            free(a.block);
            free(b.block);
        }
}

/* ---- rows of an assignment: exact ---- */

/* Few distinct values, so that ties are everywhere; or none alike. */
static double draw_cost(bool ties, uint64_t *seed)
{
    return ties ? (double)random_index(seed, 3) : random_uniform(seed, -2, 2);
}

static void check_below(const struct rb_kernels *k, const float *s, const double *v, double limit,
                        size_t n)
{
    uint32_t *found = must_alloc(n, sizeof *found), *expected = must_alloc(n, sizeof *expected);
    size_t count = 0;
    for (size_t j = 0; j < n; j++)
        if (0.5 + (-(double)s[j] - v[j]) < limit)
            expected[count++] = (uint32_t)j;
    size_t hits = k->below(s, v, 0.5, limit, n, found);
    if (hits != count || memcmp(found, expected, count * sizeof *found) != 0)
        fail_msg("%s below %g, n = %zu: %zu columns, expected %zu", k->name, limit, n, hits, count);
    free(found);
    free(expected);
}

static void assignment_rows(const struct rb_kernels *k, size_t n, bool ties, uint64_t *seed)
{
    static const double limits[] = {-INFINITY, -2.5, 0.5, 1.5, INFINITY};
    float *s = must_alloc(n, sizeof *s);
    double *v = must_alloc(n, sizeof *v);
    for (size_t j = 0; j < n; j++) {
        s[j] = (float)draw_cost(ties, seed);
        v[j] = draw_cost(ties, seed);
    }
    for (size_t l = 0; l < COUNT(limits); l++)
        check_below(k, s, v, limits[l], n);
    free(s);
    free(v);
}

static void test_assignment_rows(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (const struct rb_kernels *const *k = rb_kernels_all(); *k != NULL; k++)
        for (size_t l = 0; l < DISTINCT_LENGTHS; l++)
            for (int round = 0; round < 20; round++)
                assignment_rows(*k, length_at(l), round % 2 == 0, &seed);
}

/* ---- sums in F64: exact, since the square of a float is ---- */

static void check_sums(const struct rb_kernels *k, size_t n, uint64_t *seed)
{
    size_t stride = n + 5;
    struct floats x = floats_drawn(ROWS * stride, ORDINARY, seed);
    double *sum = must_alloc(n, sizeof *sum), *square = must_alloc(n, sizeof *square);
    double *expected_sum = must_alloc(n, sizeof *sum), *expected = must_alloc(n, sizeof *square);
    for (size_t j = 0; j < n; j++)
        sum[j] = expected_sum[j] = square[j] = expected[j] = random_uniform(seed, -9, 9);
    k->add_sums(x.at, ROWS, n, stride, sum, square);
    k->fold(sum, x.at, n);
    for (size_t r = 0; r <= ROWS; r++)
        for (size_t j = 0; j < n; j++) {
            double v = (double)x.at[r % ROWS * stride + j];
            expected_sum[j] += v;
            expected[j] += r < ROWS ? v * v : 0;
        }
    assert_memory_equal(sum, expected_sum, n * sizeof *sum);
    assert_memory_equal(square, expected, n * sizeof *square);
    free(x.block);
    free(sum);
    free(square);
    free(expected_sum);
    free(expected);
}

static void test_sums(void **state)
{
    (void)state;
    uint64_t seed = 4;
    for (const struct rb_kernels *const *k = rb_kernels_all(); *k != NULL; k++)
        for (size_t l = 0; l < DISTINCT_LENGTHS; l++)
            check_sums(*k, length_at(l), &seed);
}

/* ---- products of small matrices ---- */

enum { SPARE = 3 }; /* floats between rows, that must stay as they are */

static void check_multiply(struct trial *t, size_t m, size_t n, size_t k, uint64_t *seed)
{
    size_t lda = k + SPARE, ldb = n + SPARE, ldc = n + SPARE;
    struct floats a = floats_drawn(m * lda, ORDINARY, seed);
    struct floats b = floats_drawn(k * ldb, ORDINARY, seed);
    struct floats c = floats_drawn(m * ldc, ORDINARY, seed), before = floats_copy(c.at, m * ldc);
    struct floats row = floats_new(n);
    t->n = n;
    t->k->multiply(a.at, lda, b.at, ldb, m, n, k, c.at, ldc);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            double size, expected = rb_ref_multiply(a.at, lda, b.at, ldb, i, j, k, &size);
            within(t, i * n + j, (double)c.at[i * ldc + j], expected,
                   (double)k * 6e-8 * size + 1e-30);
        }
        same_bits(t, c.at + i * ldc + n, before.at + i * ldc + n, SPARE);
        /* whatever the rows around it */
        t->k->multiply(a.at + i * lda, lda, b.at, ldb, 1, n, k, row.at, n);
        same_bits(t, c.at + i * ldc, row.at, n);
    }
    free(a.block);
    free(b.block);
    free(c.block);
    free(before.block);
    free(row.block);
}

static void test_multiply(void **state)
{
    (void)state;
    static const size_t rows[] = {1, 5, 6, 7, 13}, depths[] = {1, 2, 64, 129};
    uint64_t seed = 9;
    for (const struct rb_kernels *const *k = rb_kernels_all(); *k != NULL; k++) {
        struct trial t = {.k = *k, .kernel = "multiply"};
        for (size_t l = 0; l < SHORT_ROWS + 2; l++)
            for (size_t i = 0; i < COUNT(rows) * COUNT(depths); i++)
                check_multiply(&t, rows[i % COUNT(rows)], length_at(l), depths[i / COUNT(rows)],
                               &seed);
        print_message("  %s multiply: %.2f of the bound at worst\n", t.k->name, t.worst);
    }
}

/* The best set comes first, and "plain", which every CPU has, is always there. */
static void test_sets(void **state)
{
    (void)state;
    const struct rb_kernels *const *all = rb_kernels_all();
    assert_ptr_equal(rb_kernels(), all[0]);
    size_t n = 0;
    while (all[n] != NULL)
        n++;
    assert_string_equal(all[n - 1]->name, "plain");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_sweeps),
        cmocka_unit_test(test_no_bias),
        cmocka_unit_test(test_gated),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_layer_norm_plain),
        cmocka_unit_test(test_assignment_rows),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_multiply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
