#include "core/align/similarity.h"

#include <math.h>

double rb_tap_mean(const struct rb_tap *t, int side, size_t unit)
{
    const double *pivot = side == 0 ? t->pivot_a : t->pivot_b;
    const double *sum = side == 0 ? t->sum_a : t->sum_b;
    return pivot[unit] + sum[unit] / t->rows;
}

double rb_tap_variance(const struct rb_tap *t, int side, size_t unit)
{
    double mean = (side == 0 ? t->sum_a : t->sum_b)[unit] / t->rows; /* of shifted features */
    double v = (side == 0 ? t->square_a : t->square_b)[unit] / t->rows - mean * mean;
    return v > 0 ? v : 0;
}

double rb_tap_covariance(const struct rb_tap *t, size_t i, size_t j)
{
    return rb_tap_cross(t, i, j) / t->rows - t->sum_a[i] / t->rows * (t->sum_b[j] / t->rows);
}

double rb_tap_dot(const struct rb_tap *t, size_t i, size_t j)
{
    return rb_tap_covariance(t, i, j) + rb_tap_mean(t, 0, i) * rb_tap_mean(t, 1, j);
}

/* Averages over taps; for a pooled sample of equal parts also what their means differ by:
 * Var = mean of Var + Var of means, and likewise for covariances. */
struct side {
    double *sigma; /* (size) */
    double *mean;  /* (size) of all rows together */
};

static double pooled_mean(const struct rb_similarity_source *s, int side, size_t unit)
{
    double mean = 0;
    for (size_t t = 0; t < s->count; t++)
        mean += rb_tap_mean(s->taps[t], side, unit) / (double)s->count;
    return mean;
}

static void fill_side(const struct rb_similarity_source *s, int side, struct side *ret)
{
    for (size_t u = 0; u < s->size; u++) {
        double variance = 0;
        ret->mean[u] = pooled_mean(s, side, u);
        for (size_t t = 0; t < s->count; t++) {
            double off = rb_tap_mean(s->taps[t], side, u) - ret->mean[u];
            variance += rb_tap_variance(s->taps[t], side, u) / (double)s->count;
            if (s->pooled)
                variance += off * off / (double)s->count;
        }
        ret->sigma[u] = sqrt(variance);
    }
}

/* Row i of cross in F64; room (d) is written where it is not kept so. */
static const double *cross_row(const struct rb_tap *t, size_t i, double *restrict room)
{
    if (t->cross != NULL)
        return t->cross + i * t->size;
    const float *restrict narrow = t->cross_f32 + i * t->size;
    for (size_t j = 0; j < t->size; j++)
        room[j] = (double)narrow[j];
    return room;
}

/* Adds one tap's share of covariance (or second moment) of unit i with all units of B: `off` is
 * what the mean of B's unit is taken against, factor_a the same of A's. */
static void add_tap(const struct rb_similarity_source *s, const struct rb_tap *t, double factor_a,
                    const double *restrict off, size_t i, double *restrict room,
                    double *restrict row)
{
    const double *restrict cross = cross_row(t, i, room);
    const double *restrict sum_b = t->sum_b, *restrict pivot_b = t->pivot_b;
    double inverse = 1 / t->rows, sum_a = t->sum_a[i] * inverse, share = 1 / (double)s->count;
    for (size_t j = 0; j < s->size; j++) {
        double mean_shifted = sum_b[j] * inverse;
        double cov = cross[j] * inverse - sum_a * mean_shifted;
        row[j] += (cov + factor_a * (pivot_b[j] + mean_shifted - off[j])) * share;
    }
}

enum rb_status rb_similarity_rows(const struct rb_similarity_source *source,
                                  enum rb_similarity kind, size_t first, size_t rows, float *out,
                                  struct rb_scratch *scratch, struct rb_error *err)
{
    size_t d = source->size;
    struct side a, b;
    a.sigma = rb_scratch_alloc(scratch, d, sizeof(double));
    a.mean = rb_scratch_alloc(scratch, d, sizeof(double));
    b.sigma = rb_scratch_alloc(scratch, d, sizeof(double));
    b.mean = rb_scratch_alloc(scratch, d, sizeof(double));
    double *row = rb_scratch_alloc(scratch, d, sizeof(double));
    double *zero = rb_scratch_alloc(scratch, d, sizeof(double));
    double *room = rb_scratch_alloc(scratch, d, sizeof(double));
    if (a.sigma == NULL || a.mean == NULL || b.sigma == NULL || b.mean == NULL || row == NULL ||
        zero == NULL || room == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a similarity of %zu units", d);
    fill_side(source, 0, &a);
    fill_side(source, 1, &b);
    for (size_t j = 0; j < d; j++)
        zero[j] = 0;
    for (size_t i = first; i < first + rows; i++, out += d) {
        for (size_t j = 0; j < d; j++)
            row[j] = 0;
        for (size_t t = 0; t < source->count; t++) {
            double mean_a = rb_tap_mean(source->taps[t], 0, i);
            double off_a = source->pooled ? mean_a - a.mean[i] : 0;
            add_tap(source, source->taps[t], kind == RB_DOT ? mean_a : off_a,
                    kind == RB_DOT ? zero : b.mean, i, room, row);
        }
        if (kind == RB_CORRELATION)
            for (size_t j = 0; j < d; j++) {
                double scale = a.sigma[i] * b.sigma[j];
                row[j] /= scale > 1e-7 ? scale : 1e-7;
            }
        for (size_t j = 0; j < d; j++)
            out[j] = (float)row[j];
    }
    return RB_OK;
}
