#include "core/align/report.h"
#include "core/model/kernels.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double WEAK = 0.1;

const char *const rb_verdict_names[] = {"strong", "weak", "none", NULL};

static int compare(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* Linear interpolation between order statistics, as numpy's default. Sorts values. */
static void distribution(double *values, size_t n, struct rb_distribution *ret)
{
    static const double at[5] = {0.05, 0.25, 0.5, 0.75, 0.95};
    struct rb_distribution d = {0};
    for (size_t i = 0; i < n; i++) {
        double bin = floor((values[i] + 1) / 2 * RB_HISTOGRAM_BINS);
        bin = bin < 0 ? 0 : bin >= RB_HISTOGRAM_BINS ? RB_HISTOGRAM_BINS - 1 : bin;
        d.histogram[(size_t)bin]++;
        d.mean += values[i] / (double)n;
    }
    qsort(values, n, sizeof *values, compare);
    for (size_t q = 0; q < 5; q++) {
        double place = at[q] * (double)(n - 1);
        size_t below = (size_t)place, above = below + 1 < n ? below + 1 : below;
        d.quantiles[q] = values[below] + (place - (double)below) * (values[above] - values[below]);
    }
    *ret = d;
}

/* Block means of one row of a heat map: of the column sums of `rows` rows; column j is read at
 * index[j], or at j. */
static void heat_row(const double *column_sums, size_t rows, size_t d, const uint32_t *index,
                     size_t size, float *ret)
{
    for (size_t k = 0; k < size; k++) {
        size_t first = k * d / size, end = (k + 1) * d / size;
        double sum = 0;
        for (size_t j = first; j < end; j++)
            sum += column_sums[index != NULL ? index[j] : j];
        ret[k] = (float)(sum / (double)(rows * (end - first)));
    }
}

/* Both heat maps in one pass over c: they differ in the order of columns only. */
static void heat_maps(const float *c, size_t d, struct rb_group *group, double *sum, double *square)
{
    struct rb_correlations *r = &group->correlations;
    size_t size = r->heatmap_size;
    for (size_t k = 0; k < size; k++) {
        size_t first = k * d / size, rows = (k + 1) * d / size - first;
        memset(sum, 0, d * sizeof *sum);
        rb_kernels()->add_sums(c + first * d, rows, d, d, sum, square);
        heat_row(sum, rows, d, NULL, size, r->heatmap_before + k * size);
        heat_row(sum, rows, d, group->index, size, r->heatmap_after + k * size);
    }
}

/* Strong: the typical matched unit correlates clearly, and clearly more than what chance offers as
 * the best of the rest. */
static enum rb_verdict judge(const struct rb_correlations *r)
{
    if (r->matched.quantiles[2] >= 0.3 && r->weak_share < 0.25)
        return RB_VERDICT_STRONG;
    return r->matched.quantiles[2] >= WEAK ? RB_VERDICT_WEAK : RB_VERDICT_NONE;
}

enum rb_status rb_report_fill(struct rb_group *group, const float *correlation,
                              struct rb_scratch *scratch, struct rb_error *err)
{
    size_t d = group->size, weak = 0;
    assert(d > 0);
    struct rb_correlations *r = &group->correlations;
    double *values = rb_scratch_alloc(scratch, d, sizeof(double));
    double *squares = rb_scratch_alloc(scratch, d, sizeof(double)); /* nobody reads them */
    r->heatmap_size = (uint32_t)(d < RB_HEATMAP_SIZE ? d : RB_HEATMAP_SIZE);
    r->heatmap_before = calloc((size_t)r->heatmap_size * r->heatmap_size, sizeof(float));
    r->heatmap_after = calloc((size_t)r->heatmap_size * r->heatmap_size, sizeof(float));
    if (values == NULL || squares == NULL || r->heatmap_before == NULL || r->heatmap_after == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the report of group '%s'", group->name);
    for (size_t i = 0; i < d; i++) {
        values[i] = (double)correlation[i * d + group->index[i]];
        if (group->signs != NULL)
            values[i] *= (double)group->signs[i];
        weak += values[i] < WEAK;
    }
    distribution(values, d, &r->matched);
    r->moved = r->matched;
    r->moved_known = true;
    for (size_t i = 0; i < d; i++)
        values[i] = (double)correlation[i * d + i];
    distribution(values, d, &r->identity);
    for (size_t i = 0; i < d; i++) {
        double best = d > 1 ? -1 : 0;
        for (size_t j = 0; j < d; j++)
            if (j != group->index[i] && (double)correlation[i * d + j] > best)
                best = (double)correlation[i * d + j];
        values[i] = best;
    }
    distribution(values, d, &r->best_unmatched);
    r->weak_share = (double)weak / (double)d;
    r->verdict = judge(r);
    group->mean_correlation = r->matched.mean;
    memset(squares, 0, d * sizeof *squares);
    heat_maps(correlation, d, group, values, squares);
    return RB_OK;
}

/* Deviations of one side's units, over all taps. */
static void deviations(const struct rb_similarity_source *s, int side, double *ret)
{
    for (size_t i = 0; i < s->size; i++) {
        double v = 0;
        for (size_t t = 0; t < s->count; t++)
            v += rb_tap_variance(s->taps[t], side, i) / (double)s->count;
        ret[i] = sqrt(v);
    }
}

static double root_mean_square(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i] / (double)n;
    return sqrt(sum);
}

enum rb_status rb_report_turned(struct rb_group *group, const struct rb_similarity_source *source,
                                const float *covariance, struct rb_scratch *scratch,
                                struct rb_error *err)
{
    size_t d = group->size;
    float *turned = rb_scratch_alloc(scratch, d * d, sizeof *turned);
    double *a = rb_scratch_alloc(scratch, d, sizeof *a),
           *b = rb_scratch_alloc(scratch, d, sizeof *b);
    if (turned == NULL || a == NULL || b == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the report of group '%s'", group->name);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)d, (int)d, (int)d, 1.0f, covariance,
                (int)d, group->matrix, (int)d, 0.0f, turned, (int)d);
    deviations(source, 0, a);
    deviations(source, 1, b);
    double typical = root_mean_square(b, d);
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++)
            turned[i * d + j] /= (float)fmax(a[i] * typical, 1e-7);
    enum rb_status s = rb_report_fill(group, turned, scratch, err);
    for (size_t i = 0; s == RB_OK && i < d; i++)
        a[i] = (double)covariance[i * d + i] / fmax(a[i] * b[i], 1e-7);
    if (s == RB_OK)
        distribution(a, d, &group->correlations.identity);
    return s;
}

/* ---- with all maps applied ---- */

/* What stands in the group's blocks: F of tap t, or none, which is a block of one unit each. */
struct blocks {
    const float *maps[2]; /* of queries and of keys; else both the same; NULL: none */
    size_t n;             /* units of a block */
    size_t shared;        /* blocks that have one F: the queries of a key-value head */
};

static struct blocks blocks_of(const struct rb_group *g)
{
    const float *first = g->matrix, *second = g->matrix;
    if (g->axis == RB_AXIS_V)
        first = second = g->value_rotation;
    if (g->axis == RB_AXIS_Q) {
        first = g->rotation;
        second = g->rotation_inverse != NULL ? g->rotation_inverse : first;
    }
    if (first == NULL)
        return (struct blocks){.n = 1, .shared = 1};
    size_t heads = g->head_count > 0 ? g->head_count : 1;
    return (struct blocks){
        {first, second}, g->size / heads, g->kv_count > 0 ? heads / g->kv_count : 1};
}

/* First and second moments of A's unit i and of what B's became, over all taps. */
struct pair {
    double a, b, aa, bb, ab;
};

/* One tap's share. spread: the mean of the variances of B's units in the block. */
static void add_moved(const struct rb_group *g, const struct blocks *k, const struct rb_tap *t,
                      const float *map, bool pooled, size_t i, double spread, struct pair *p)
{
    size_t n = k->n, column = i % n, first = i - column;
    double cov = 0, mean = 0, square = 0;
    for (size_t r = 0; r < n; r++) {
        double f = map != NULL        ? (double)map[i / n / k->shared * n * n + r * n + column]
                   : g->signs != NULL ? (double)g->signs[i]
                                      : 1;
        size_t j = g->index[first + r];
        cov += f * rb_tap_covariance(t, i, j);
        mean += f * rb_tap_mean(t, 1, j);
        square += f * f;
    }
    double of_a = pooled ? rb_tap_mean(t, 0, i) : 0, of_b = pooled ? mean : 0;
    p->a += of_a;
    p->b += of_b;
    p->aa += rb_tap_variance(t, 0, i) + of_a * of_a;
    p->bb += spread * square + of_b * of_b;
    p->ab += cov + of_a * of_b;
}

static double correlation_of(const struct pair *p, double count)
{
    double a = p->a / count, b = p->b / count;
    double aa = fmax(p->aa / count - a * a, 0), bb = fmax(p->bb / count - b * b, 0);
    return (p->ab / count - a * b) / fmax(sqrt(aa * bb), 1e-7);
}

enum rb_status rb_report_moved(struct rb_group *g, const struct rb_similarity_source *source,
                               struct rb_scratch *scratch, struct rb_error *err)
{
    const struct blocks k = blocks_of(g);
    double *values = rb_scratch_alloc(scratch, g->size, sizeof *values);
    double *spread = rb_scratch_alloc(scratch, source->count, sizeof *spread);
    if (values == NULL || spread == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the report of group '%s'", g->name);
    for (size_t i = 0; i < g->size; i++) {
        struct pair p = {0};
        for (size_t t = 0; t < source->count; t++) {
            if (i % k.n == 0)
                spread[t] = 0;
            for (size_t r = 0; i % k.n == 0 && r < k.n; r++)
                spread[t] += rb_tap_variance(source->taps[t], 1, g->index[i + r]) / (double)k.n;
            add_moved(g, &k, source->taps[t], k.maps[t > 0], source->pooled, i, spread[t], &p);
        }
        values[i] = correlation_of(&p, (double)source->count);
    }
    distribution(values, g->size, &g->correlations.moved);
    g->correlations.moved_known = true;
    return RB_OK;
}
