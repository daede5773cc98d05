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
