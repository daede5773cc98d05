#include "core/align/assignment.h"
#include "core/model/kernels.h"

#include <math.h>
#include <string.h>

enum { NONE = UINT32_MAX };

struct problem {
    const struct rb_kernels *kernels;
    const float *similarity;
    size_t n, stride;
    double *v;           /* (n) column duals */
    uint32_t *column_of; /* (n) column assigned to a row, or NONE */
    uint32_t *row_of;    /* (n) row assigned to a column, or NONE */
    uint32_t *free_rows; /* (n) */
    size_t free_count;
    uint32_t *free_columns; /* (n) ascending, while augmenting */
    size_t free_column_count;
    double *distance; /* (n) Dijkstra */
    uint32_t *from;   /* (n) row through which a column is reached */
    uint32_t *done;   /* (n) columns in the order in which they were settled */
    double *done_at;  /* (n) their distances */
};

static const float *row(const struct problem *p, size_t i)
{
    return p->similarity + i * p->stride;
}

static void assign(struct problem *p, uint32_t i, uint32_t j)
{
    p->column_of[i] = j;
    p->row_of[j] = i;
}

/* v[j] becomes the least cost of column j; its row takes the column if it has none yet. distance
 * and from serve as scratch. */
static void reduce_columns(struct problem *p)
{
    for (size_t j = 0; j < p->n; j++) {
        p->v[j] = INFINITY;
        p->from[j] = 0;
    }
    for (uint32_t i = 0; i < p->n; i++) {
        const float *s = row(p, i);
        for (size_t j = 0; j < p->n; j++) {
            double c = -(double)s[j];
            p->from[j] = c < p->v[j] ? i : p->from[j];
            p->v[j] = c < p->v[j] ? c : p->v[j];
        }
    }
    for (size_t k = p->n; k-- > 0;)
        if (p->column_of[p->from[k]] == NONE)
            assign(p, p->from[k], (uint32_t)k);
}

/* Rows that have a column give up what their second best would cost them. */
static void transfer_reduction(struct problem *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->column_of[i] == NONE) {
            p->free_rows[p->free_count++] = i;
            continue;
        }
        struct rb_two_least t;
        p->kernels->two_least(row(p, i), p->v, p->n, &t);
        double other = t.column == p->column_of[i] ? t.second : t.least;
        p->v[p->column_of[i]] -= other; /* the assigned column's own reduced cost is 0 */
    }
}

/* Free rows bid for their best column, as an auction; a row that lost its column bids next. Twice
 * over the free rows, and never more than a bounded number of bids: prices that move by rounding
 * only would otherwise go round in circles. */
static void reduce_rows(struct problem *p)
{
    for (int pass = 0; pass < 2; pass++) {
        size_t count = p->free_count, k = 0, bids = 0, most = 16 * p->n;
        p->free_count = 0;
        while (k < count) {
            uint32_t i = p->free_rows[k++];
            struct rb_two_least t;
            p->kernels->two_least(row(p, i), p->v, p->n, &t);
            uint32_t j = (uint32_t)t.column, owner = p->row_of[j];
            double lowered = p->v[j] - (t.second - t.least);
            bool strict = lowered < p->v[j];
            if (strict) {
                p->v[j] = lowered;
            } else if (owner != NONE) {
                j = (uint32_t)t.second_column;
                owner = p->row_of[j];
            }
            assign(p, i, j);
            if (owner == NONE)
                continue;
            p->column_of[owner] = NONE;
            if (strict && ++bids < most)
                p->free_rows[--k] = owner;
            else
                p->free_rows[p->free_count++] = owner;
        }
    }
}

static void list_free_columns(struct problem *p)
{
    for (uint32_t j = 0; j < p->n; j++)
        if (p->row_of[j] == NONE)
            p->free_columns[p->free_column_count++] = j;
}

/* Of the columns at the least distance, one that is free ends the search: without this, rows full
 * of equal entries (dead units) would settle every column one by one. */
static size_t prefer_free(const struct problem *p, size_t j, double least)
{
    for (size_t k = 0; k < p->free_column_count; k++)
        if (p->distance[p->free_columns[k]] <= least)
            return p->free_columns[k];
    return j;
}

static void take_column(struct problem *p, size_t j)
{
    size_t k = 0;
    while (p->free_columns[k] != j)
        k++;
    p->free_column_count--;
    memmove(p->free_columns + k, p->free_columns + k + 1,
            (p->free_column_count - k) * sizeof *p->free_columns); /* ascending: ties stay stable */
}

/* Dijkstra from a free row to the nearest free column; then the path is flipped. */
static void augment(struct problem *p, uint32_t start)
{
    for (size_t j = 0; j < p->n; j++)
        p->distance[j] = INFINITY;
    double least;
    size_t settled = 0;
    size_t j = p->kernels->relax(row(p, start), p->v, 0, start, p->n, p->distance, p->from, &least);
    while (p->row_of[j] != NONE) {
        p->done[settled] = (uint32_t)j;
        p->done_at[settled++] = least;
        p->distance[j] = NAN; /* settled: relax leaves it alone */
        uint32_t i = p->row_of[j];
        double base = least + (double)row(p, i)[j] + p->v[j], before = least;
        j = p->kernels->relax(row(p, i), p->v, base, i, p->n, p->distance, p->from, &least);
        if (!(least > before) && p->row_of[j] != NONE)
            j = prefer_free(p, j, least);
    }
    take_column(p, j);
    for (size_t k = 0; k < settled; k++)
        p->v[p->done[k]] += p->done_at[k] - least;
    for (uint32_t i = NONE; i != start;) {
        i = p->from[j];
        uint32_t next = p->column_of[i];
        assign(p, i, (uint32_t)j);
        j = next;
    }
}

static bool alloc(struct problem *p, struct rb_scratch *s)
{
    p->v = rb_scratch_alloc(s, p->n, sizeof(double));
    p->distance = rb_scratch_alloc(s, p->n, sizeof(double));
    p->done_at = rb_scratch_alloc(s, p->n, sizeof(double));
    p->column_of = rb_scratch_alloc(s, p->n, sizeof(uint32_t));
    p->row_of = rb_scratch_alloc(s, p->n, sizeof(uint32_t));
    p->free_rows = rb_scratch_alloc(s, p->n, sizeof(uint32_t));
    p->from = rb_scratch_alloc(s, p->n, sizeof(uint32_t));
    p->done = rb_scratch_alloc(s, p->n, sizeof(uint32_t));
    p->free_columns = rb_scratch_alloc(s, p->n, sizeof(uint32_t));
    return p->v != NULL && p->distance != NULL && p->done_at != NULL && p->column_of != NULL &&
           p->row_of != NULL && p->free_rows != NULL && p->from != NULL && p->done != NULL &&
           p->free_columns != NULL;
}

static enum rb_status check_finite(const struct problem *p, struct rb_error *err)
{
    for (size_t i = 0; i < p->n; i++) {
        const float *s = row(p, i);
        float sum = 0;
        for (size_t j = 0; j < p->n; j++)
            sum += s[j] * 0.0f; /* stays 0 unless something is not finite */
        if (sum != 0.0f || isnan(sum))
            for (size_t j = 0; j < p->n; j++)
                if (!isfinite(s[j]))
                    return rb_error_set(err, RB_ENUMERIC,
                                        "similarity of unit %zu of A and unit "
                                        "%zu of B is %g",
                                        i, j, (double)s[j]);
    }
    return RB_OK;
}

enum rb_status rb_assignment_solve(const float *similarity, size_t n, size_t stride,
                                   uint32_t *ret_index, double *ret_score, struct rb_worker *w,
                                   struct rb_error *err)
{
    struct problem p = {
        .kernels = rb_kernels(), .similarity = similarity, .n = n, .stride = stride};
    if (!alloc(&p, &w->scratch))
        return rb_error_set(err, RB_ENOMEM, "no memory for an assignment of %zu units", n);
    enum rb_status s = check_finite(&p, err);
    if (s == RB_OK && rb_worker_stopped(w))
        s = rb_error_set(err, RB_ECANCELED, "canceled");
    if (s != RB_OK)
        return s;
    memset(p.column_of, 0xff, n * sizeof(uint32_t));
    memset(p.row_of, 0xff, n * sizeof(uint32_t));
    if (n == 1) {
        assign(&p, 0, 0);
    } else {
        reduce_columns(&p);
        transfer_reduction(&p);
        reduce_rows(&p);
    }
    list_free_columns(&p);
    for (size_t k = 0; k < p.free_count; k++) {
        if (rb_worker_stopped(w))
            return rb_error_set(err, RB_ECANCELED, "canceled");
        augment(&p, p.free_rows[k]);
    }
    double score = 0;
    for (size_t i = 0; i < n; i++)
        score += (double)row(&p, i)[p.column_of[i]];
    memcpy(ret_index, p.column_of, n * sizeof(uint32_t));
    *ret_score = score;
    return RB_OK;
}
