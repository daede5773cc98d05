#include "core/align/heads.h"
#include "core/align/assignment.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_TURNS = 10 };

enum rb_status rb_heads_work_init(struct rb_heads_work *w, const struct rb_heads_shape *s,
                                  struct rb_error *err)
{
    size_t pairs = s->groups * s->groups;
    *w = (struct rb_heads_work){calloc(pairs * s->units, sizeof *w->inner),
                                calloc(pairs * s->queries, sizeof *w->queries),
                                calloc(pairs, sizeof *w->value)};
    if (w->inner != NULL && w->queries != NULL && w->value != NULL)
        return RB_OK;
    rb_heads_work_deinit(w);
    return rb_error_set(err, RB_ENOMEM, "no memory to match heads");
}

void rb_heads_work_deinit(struct rb_heads_work *w)
{
    free(w->inner);
    free(w->queries);
    free(w->value);
    *w = (struct rb_heads_work){0};
}

/* Where the similarities of A's query head i (of its group) and B's query head j begin. */
static const float *block(const struct rb_heads_shape *s, const float *c, size_t i, size_t other,
                          size_t j)
{
    size_t columns = s->groups * s->queries * s->units;
    return c + i * s->units * columns + (other * s->queries + j) * s->units;
}

/* T[i, j] = sum over t of C[i t, j pi(t)]; ret (queries, queries). */
static void sum_heads(const struct rb_heads_shape *s, const float *c, size_t other,
                      const uint32_t *pi, float *ret)
{
    size_t columns = s->groups * s->queries * s->units;
    for (size_t i = 0; i < s->queries; i++)
        for (size_t j = 0; j < s->queries; j++) {
            const float *b = block(s, c, i, other, j);
            double sum = 0;
            for (size_t t = 0; t < s->units; t++)
                sum += (double)b[t * columns + pi[t]];
            ret[i * s->queries + j] = (float)sum;
        }
}

/* sum over i of C[i t, sigma(i) u]; ret (units, units). */
static void sum_units(const struct rb_heads_shape *s, const float *c, size_t other,
                      const uint32_t *sigma, float *ret)
{
    size_t columns = s->groups * s->queries * s->units;
    for (size_t t = 0; t < s->units; t++)
        for (size_t u = 0; u < s->units; u++) {
            double sum = 0;
            for (size_t i = 0; i < s->queries; i++)
                sum += (double)block(s, c, i, other, sigma[i])[t * columns + u];
            ret[t * s->units + u] = (float)sum;
        }
}

static enum rb_status take_turns(const struct rb_heads_shape *s, const float *c, const float *v,
                                 size_t other, uint32_t *pi, uint32_t *sigma, double *ret_value,
                                 struct rb_worker *worker, struct rb_error *err)
{
    size_t r = s->queries, n = s->units;
    float *heads = rb_scratch_alloc(&worker->scratch, r * r, sizeof *heads);
    float *units = rb_scratch_alloc(&worker->scratch, n * n, sizeof *units);
    uint32_t *before = rb_scratch_alloc(&worker->scratch, r, sizeof *before);
    if (heads == NULL || units == NULL || before == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to match heads");
    if (s->in_order) {
        for (size_t i = 0; i < r; i++)
            sigma[i] = (uint32_t)i;
        sum_units(s, c, other, sigma, units);
        return rb_assignment_solve(units, n, n, pi, ret_value, worker, err);
    }
    double score;
    enum rb_status st =
        rb_assignment_solve(v + other * n, n, s->groups * n, pi, &score, worker, err);
    for (size_t turn = 0; turn < MOST_TURNS && st == RB_OK; turn++) {
        memcpy(before, sigma, r * sizeof *before);
        sum_heads(s, c, other, pi, heads);
        st = rb_assignment_solve(heads, r, r, sigma, &score, worker, err);
        if (st != RB_OK || (turn > 0 && memcmp(before, sigma, r * sizeof *before) == 0))
            break;
        sum_units(s, c, other, sigma, units);
        st = rb_assignment_solve(units, n, n, pi, ret_value, worker, err);
    }
    return st;
}

enum rb_status rb_heads_match(const struct rb_heads_shape *s, const float *c, const float *v,
                              size_t g, size_t other, struct rb_heads_work *w,
                              struct rb_worker *worker, struct rb_error *err)
{
    size_t pair = g * s->groups + other;
    uint32_t *pi = w->inner + pair * s->units;
    double value;
    enum rb_status st =
        s->queries > 1
            ? take_turns(s, c, v, other, pi, w->queries + pair * s->queries, &value, worker, err)
            : rb_assignment_solve(block(s, c, 0, other, 0), s->units, s->groups * s->units, pi,
                                  &value, worker, err);
    if (st == RB_OK)
        w->value[pair] = (float)value;
    return st;
}

void rb_heads_assemble(const struct rb_heads_shape *s, const struct rb_heads_work *w,
                       const uint32_t *assigned, uint32_t *heads, uint32_t *index, uint32_t *values)
{
    size_t n = s->units;
    for (size_t g = 0; g < s->groups; g++) {
        size_t other = assigned[g], pair = g * s->groups + other;
        const uint32_t *pi = w->inner + pair * n;
        for (size_t t = 0; t < n && values != NULL; t++)
            values[g * n + t] = (uint32_t)(other * n) + pi[t];
        for (size_t i = 0; i < s->queries; i++) {
            size_t head = g * s->queries + i;
            size_t to = other * s->queries + w->queries[pair * s->queries + i];
            if (heads != NULL)
                heads[head] = (uint32_t)to;
            for (size_t t = 0; t < n; t++)
                index[head * n + t] = (uint32_t)(to * n) + pi[t];
        }
    }
}
