#include "core/align/turns.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double LEAST_GAIN = 1e-6; /* of the sum that is raised */

/* ret (n, n) = sum of M R over the other models, or over those before this one. */
static void sum_of(const struct rb_turns *t, size_t model, bool before, double *ret)
{
    size_t n = t->n, nn = n * n;
    memset(ret, 0, nn * sizeof *ret);
    for (size_t other = 0; other < (before ? model : t->count); other++) {
        if (other == model)
            continue;
        bool first = model < other; /* then the pair's rows are the other's units */
        const double *m = t->pairs[first ? rb_pair_place(t->count, model, other)
                                         : rb_pair_place(t->count, other, model)];
        cblas_dgemm(CblasRowMajor, first ? CblasTrans : CblasNoTrans, CblasNoTrans, (int)n, (int)n,
                    (int)n, 1, m, (int)n, t->turns + other * nn, (int)n, 1, ret, (int)n);
    }
}

static double inner(const double *x, const double *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* One model's turn; *gain grows by what that was worth. */
static enum rb_status improve(const struct rb_turns *t, size_t model, double *room, double *gain,
                              struct rb_worker *w, struct rb_error *err)
{
    size_t nn = t->n * t->n;
    double *mine = t->turns + model * nn, *sum = room, *turn = room + nn;
    if (rb_worker_stopped(w))
        return rb_error_set(err, RB_ECANCELED, "canceled");
    rb_scratch_reset(&w->scratch);
    sum_of(t, model, false, sum);
    enum rb_status s = t->polar(t->data, sum, t->n, turn, &w->scratch, err);
    if (s != RB_OK)
        return s;
    double before = inner(mine, sum, nn), after = inner(turn, sum, nn);
    if (after > before + LEAST_GAIN * fabs(before)) {
        memcpy(mine, turn, nn * sizeof *mine);
        *gain += after - before;
    }
    return RB_OK;
}

enum rb_status rb_turns_ascend(const struct rb_turns *t, struct rb_objective *ret,
                               struct rb_worker *w, struct rb_error *err)
{
    size_t nn = t->n * t->n;
    struct rb_objective o = {0};
    double *room = rb_malloc_aligned(2 * nn, sizeof *room);
    enum rb_status s =
        room != NULL ? RB_OK : rb_error_set(err, RB_ENOMEM, "no memory to turn several models");
    for (size_t m = 1; m < t->count && s == RB_OK; m++) {
        sum_of(t, m, true, room);
        o.values[0] += inner(t->turns + m * nn, room, nn);
    }
    double gain = 1;
    while (s == RB_OK && gain > 0 && o.rounds < RB_ASCENT_ROUNDS) {
        gain = 0;
        for (size_t m = 1; m < t->count && s == RB_OK; m++)
            s = improve(t, m, room, &gain, w, err);
        o.rounds++;
        o.values[o.rounds] = o.values[o.rounds - 1] + gain;
    }
    free(room);
    if (s == RB_OK)
        *ret = o;
    return s;
}
