/* Both barriers of METHOD 6, and what the curve looks like. */
#include "core/merge/barrier.h"

#include <math.h>

const char *const rb_shape_names[] = {"flat", "hump", "m", "valley", "monotone", NULL};

/* A rise or dip counts from this share of the curve's range; below, it is noise. */
static const double NOTABLE = 0.005;
/* A curve whose range is below this share of its ends is flat. */
static const double FLAT = 0.01;

static double chord_at(const struct rb_point *p, double last_loss, size_t i)
{
    double l = p[i].lambda;
    return (1 - l) * p[0].loss + l * last_loss;
}

/* Peaks: points above which nothing rises before the curve has fallen by `notable` on both sides
 * (an end of the curve is no peak). At most RB_MAX_PEAKS, ascending. */
static void find_peaks(const struct rb_point *p, size_t n, double notable, struct rb_barrier *b)
{
    double low = p[0].loss, high = -INFINITY;
    size_t at = 0;
    for (size_t i = 1; i < n; i++) {
        double loss = p[i].loss;
        if (at == 0) { /* climbing from the lowest point since the last peak */
            low = fmin(low, loss);
            if (loss > low + notable && i + 1 < n) {
                at = i;
                high = loss;
            }
        } else if (loss > high) {
            high = loss;
            at = i + 1 < n ? i : 0; /* still rising at the end: no peak */
        } else if (loss < high - notable) {
            if (b->peak_count < RB_MAX_PEAKS)
                b->peaks[b->peak_count++] = p[at].lambda;
            at = 0;
            low = loss;
        }
    }
}

/* Does the loss fall below an end's before it first rises above it? step +1 from the first end. */
static bool dips(const struct rb_point *p, size_t n, size_t from, int step, double notable)
{
    double end = p[from].loss;
    for (size_t k = 1; k < n; k++) {
        double loss = p[step > 0 ? from + k : from - k].loss;
        if (loss < end - notable)
            return true;
        if (loss > end + notable)
            return false;
    }
    return false;
}

/* The shape of a curve that is not flat. */
static enum rb_shape shape_of(const struct rb_point *p, size_t n, double low, double notable,
                              const struct rb_barrier *b)
{
    if (b->peak_count >= 2)
        return RB_SHAPE_M;
    if (b->peak_count == 1)
        return dips(p, n, 0, 1, notable) && dips(p, n, n - 1, -1, notable) ? RB_SHAPE_M
                                                                           : RB_SHAPE_HUMP;
    return low < fmin(p[0].loss, p[n - 1].loss) - notable ? RB_SHAPE_VALLEY : RB_SHAPE_MONOTONE;
}

void rb_barrier_compute(const struct rb_point *p, size_t n, struct rb_barrier *ret)
{
    rb_barrier_compute_to(p, n, p[n - 1].loss, ret);
}

void rb_barrier_compute_to(const struct rb_point *p, size_t n, double last_loss,
                           struct rb_barrier *ret)
{
    struct rb_barrier b = {.chord = -INFINITY, .mean = -INFINITY, .shape = RB_SHAPE_FLAT};
    double mean = (p[0].loss + last_loss) / 2, low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        double over_chord = p[i].loss - chord_at(p, last_loss, i), over_mean = p[i].loss - mean;
        if (over_chord > b.chord) {
            b.chord = over_chord;
            b.chord_lambda = p[i].lambda;
            b.chord_at = i;
        }
        if (over_mean > b.mean) {
            b.mean = over_mean;
            b.mean_lambda = p[i].lambda;
            b.mean_at = i;
        }
        if (p[i].loss < low) {
            low = p[i].loss;
            b.lowest_lambda = p[i].lambda;
        }
        high = fmax(high, p[i].loss);
    }
    double range = high - low, notable = NOTABLE * range;
    if (range > FLAT * fmax(fabs(p[0].loss), fabs(p[n - 1].loss))) { /* else all is noise */
        find_peaks(p, n, notable, &b);
        b.shape = shape_of(p, n, low, notable, &b);
    }
    *ret = b;
}

/* ---- standard errors (METHOD 13) ---- */

struct rb_excess rb_excess_pair(const struct rb_block *at, const struct rb_block *first,
                                const struct rb_block *last, double first_weight,
                                double last_weight)
{
    return (struct rb_excess){
        .at = at, .ends = {first, last}, .weights = {first_weight, last_weight}, .end_count = 2};
}

/* d_s: by how much block s lies above the weighted ends. */
static double excess_of(const struct rb_excess *e, size_t s)
{
    double excess = e->at[s].sum;
    for (size_t m = 0; m < e->end_count; m++)
        excess -= e->weights[m] * e->ends[m][s].sum;
    return excess;
}

/* N and b = sum of d_s over N. */
static double total(const struct rb_excess *e, size_t blocks, double *ret_barrier)
{
    double count = 0, excess = 0;
    for (size_t s = 0; s < blocks; s++) {
        count += e->at[s].count;
        excess += excess_of(e, s);
    }
    *ret_barrier = excess / count;
    return count;
}

static double error_of(double squares, size_t blocks, double count)
{
    double s = (double)blocks;
    return blocks < 2 || !(count > 0) ? (double)NAN : sqrt(s / (s - 1) * squares) / count;
}

double rb_excess_error(const struct rb_excess *e, size_t blocks)
{
    double barrier, squares = 0, count = total(e, blocks, &barrier);
    for (size_t s = 0; s < blocks; s++) {
        double off = excess_of(e, s) - barrier * e->at[s].count;
        squares += off * off;
    }
    return error_of(squares, blocks, count);
}

double rb_excess_reduction_error(const struct rb_excess *aligned, const struct rb_excess *control,
                                 size_t blocks)
{
    double b, c, squares = 0, count = total(aligned, blocks, &b);
    (void)total(control, blocks, &c);
    if (!(c > 0))
        return (double)NAN;
    for (size_t s = 0; s < blocks; s++) {
        double n = aligned->at[s].count;
        double off_b = excess_of(aligned, s) - b * n, off_c = excess_of(control, s) - c * n;
        double e = -off_b / c + b * off_c / c / c;
        squares += e * e;
    }
    return error_of(squares, blocks, count);
}
