#include "core/align/assignment.h"
#include "core/model/kernels.h"

#include <math.h>
#include <string.h>

enum {
    NONE = UINT32_MAX,
    SHORT_LIST = 32,        /* columns on a row's short list */
    CHUNK = 512,            /* columns looked at before the limit is taken anew */
    FIRST_STEP_SHARE = 128, /* first step of the auction: this part of a short list's spread */
    STEP_FACTOR = 4,        /* each next step is smaller by it */
    STEPS = 3,              /* and then twice with a step of 0 */
    BIDS_PER_ROW = 64,      /* most, on average, at one step */
};

struct entry {
    double cost; /* reduced */
    uint32_t column;
};

/* Prices v only ever fall, so reduced costs only ever rise. Each row therefore remembers the few
 * columns that were cheapest when it last looked at all of them, and what every other column cost
 * at least: until the second best on that short list costs more than that, the list is enough, and
 * a bid reads 32 numbers instead of n. */
struct problem {
    const struct rb_kernels *kernels;
    const float *similarity;
    size_t n, stride;
    double *v;           /* (n) column duals */
    uint32_t *column_of; /* (n) column assigned to a row, or NONE */
    uint32_t *row_of;    /* (n) row assigned to a column, or NONE */
    bool *flat;          /* (n) all similarities of the row are equal, as a dead unit's are */
    uint32_t *free_rows; /* (n) */
    size_t free_count;

    size_t list_size;      /* columns on a short list: all of them when they are few */
    uint32_t *list_column; /* (n, list_size) */
    float *list_value;     /* (n, list_size) their similarities */
    double *others_from;   /* (n) no column off the list has a lower reduced cost */
    struct entry *entries; /* (list_size + CHUNK) while a list is made */
    uint32_t *found;       /* (CHUNK) */

    /* Dijkstra. Its nodes are the n columns, and n more: node n + i is all that is off the list of
     * row i. */
    double *distance;  /* (2n) INFINITY: not reached; -INFINITY: settled */
    uint32_t *from;    /* (n) row through which a column is reached */
    double *base;      /* (n) what a column costs through row i, less its reduced cost */
    uint32_t *touched; /* (n) columns with a distance */
    uint32_t *done;    /* (n) columns in the order in which they were settled */
    double *done_at;   /* (n) their distances */
    uint32_t *heap;    /* (2n) nodes, by distance */
    uint32_t *heap_at; /* (2n) place of a node in heap, or NONE */
    size_t heap_count, touched_count;
    uint32_t goal;     /* nearest free column reached so far, or NONE */
    double goal_at;    /* its distance, or INFINITY */
    bool flat_reached; /* a flat row was reached */
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

static double reduced_cost(const struct problem *p, uint32_t i, uint32_t j)
{
    return -(double)row(p, i)[j] - p->v[j];
}

/* ---- short lists ---- */

/* Hoare's quickselect: the `keep` cheapest of `count` entries come first. */
static void select_cheapest(struct entry *e, size_t count, size_t keep)
{
    ptrdiff_t low = 0, high = (ptrdiff_t)count - 1, k = (ptrdiff_t)keep - 1;
    while (low < high) {
        double pivot = e[low + (high - low) / 2].cost;
        ptrdiff_t i = low, j = high;
        while (i <= j) {
            while (e[i].cost < pivot)
                i++;
            while (e[j].cost > pivot)
                j--;
            if (i <= j) {
                struct entry swap = e[i];
                e[i++] = e[j];
                e[j--] = swap;
            }
        }
        if (k <= j)
            high = j;
        else if (k >= i)
            low = i;
        else
            return;
    }
}

static double dearest(const struct entry *e, size_t count)
{
    double most = -INFINITY;
    for (size_t k = 0; k < count; k++)
        most = e[k].cost > most ? e[k].cost : most;
    return most;
}

static void make_list(struct problem *p, uint32_t i)
{
    const float *s = row(p, i);
    struct entry *e = p->entries;
    size_t count = 0;
    double limit = INFINITY;
    /* First a few columns, so that most of the others are beyond the limit. */
    for (size_t first = 0, width, next = 2 * p->list_size; first < p->n; first += width) {
        next = next < CHUNK ? next : CHUNK;
        width = p->n - first < next ? p->n - first : next;
        next *= 2;
        size_t below = p->kernels->below(s + first, p->v + first, 0, limit, width, p->found);
        for (size_t k = 0; k < below; k++) {
            uint32_t j = (uint32_t)first + p->found[k];
            e[count++] = (struct entry){reduced_cost(p, i, j), j};
        }
        if (count > p->list_size) {
            select_cheapest(e, count, p->list_size);
            count = p->list_size;
            limit = dearest(e, count);
        }
    }
    for (size_t k = 0; k < count; k++) {
        p->list_column[i * p->list_size + k] = e[k].column;
        p->list_value[i * p->list_size + k] = s[e[k].column];
    }
    p->others_from[i] = p->list_size < p->n ? limit : INFINITY;
}

struct two_least {
    struct entry least, second;
};

static struct two_least look_at_list(const struct problem *p, uint32_t i)
{
    struct two_least t = {{INFINITY, NONE}, {INFINITY, NONE}};
    const uint32_t *column = p->list_column + i * p->list_size;
    const float *value = p->list_value + i * p->list_size;
    for (size_t k = 0; k < p->list_size; k++) {
        struct entry e = {-(double)value[k] - p->v[column[k]], column[k]};
        if (e.cost < t.least.cost) {
            t.second = t.least;
            t.least = e;
        } else if (e.cost < t.second.cost) {
            t.second = e;
        }
    }
    return t;
}

/* The two cheapest columns of a row, of all n. */
static struct two_least two_least(struct problem *p, uint32_t i)
{
    struct two_least t = look_at_list(p, i);
    if (t.second.cost > p->others_from[i]) {
        make_list(p, i);
        t = look_at_list(p, i);
    }
    return t;
}

/* ---- prices: an auction whose step shrinks to 0 ---- */

/* Mean distance from the cheapest column of a row to the end of its short list. */
static double mean_spread(const struct problem *p)
{
    double sum = 0;
    for (uint32_t i = 0; i < p->n; i++)
        sum += p->others_from[i] - look_at_list(p, i).least.cost;
    return sum / (double)p->n;
}

/* Rows without a column are listed; so are those whose column costs them over `step` more than
 * their cheapest, and they lose it. */
static void free_rows_beyond(struct problem *p, double step)
{
    p->free_count = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t j = p->column_of[i];
        if (j != NONE && reduced_cost(p, i, j) <= two_least(p, i).least.cost + step)
            continue;
        if (j != NONE) {
            p->row_of[j] = NONE;
            p->column_of[i] = NONE;
        }
        p->free_rows[p->free_count++] = i;
    }
}

/* Free rows bid for their cheapest column until its price is `step` beyond their second; a row that
 * lost its column bids next. Prices that move by rounding only would go round in circles: such a
 * row stays free, and bids have a bound. */
static void auction(struct problem *p, double step)
{
    free_rows_beyond(p, step);
    size_t count = p->free_count, k = 0, bids = 0, most = BIDS_PER_ROW * p->n;
    p->free_count = 0;
    while (k < count) {
        uint32_t i = p->free_rows[k++];
        if (p->flat[i]) { /* any column will do: what the others leave */
            p->free_rows[p->free_count++] = i;
            continue;
        }
        struct two_least t = two_least(p, i);
        uint32_t j = t.least.column, owner = p->row_of[j];
        double lowered = p->v[j] - (t.second.cost - t.least.cost) - step;
        bool strict = lowered < p->v[j];
        if (strict) {
            p->v[j] = lowered;
        } else if (owner != NONE) {
            j = t.second.column;
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

static void find_prices(struct problem *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        make_list(p, i);
    double step = p->list_size < p->n ? mean_spread(p) / FIRST_STEP_SHARE : 0;
    for (int k = 0; k < STEPS && step > 0; k++, step /= STEP_FACTOR)
        auction(p, step);
    auction(p, 0);
    auction(p, 0);
}

/* ---- what is still free: Dijkstra to the nearest free column ---- */

static void heap_put(struct problem *p, size_t at, uint32_t node)
{
    p->heap[at] = node;
    p->heap_at[node] = (uint32_t)at;
}

/* The node's distance has become lower, or it is new. */
static void heap_lower(struct problem *p, uint32_t node)
{
    size_t at = p->heap_at[node] != NONE ? p->heap_at[node] : p->heap_count++;
    for (; at > 0; at = (at - 1) / 2) {
        uint32_t above = p->heap[(at - 1) / 2];
        if (p->distance[above] <= p->distance[node])
            break;
        heap_put(p, at, above);
    }
    heap_put(p, at, node);
}

static uint32_t heap_pop(struct problem *p)
{
    uint32_t top = p->heap[0], last = p->heap[--p->heap_count];
    p->heap_at[top] = NONE;
    if (p->heap_count == 0)
        return top;
    size_t at = 0;
    for (size_t next; (next = 2 * at + 1) < p->heap_count; at = next) {
        if (next + 1 < p->heap_count && p->distance[p->heap[next + 1]] < p->distance[p->heap[next]])
            next++;
        if (p->distance[p->heap[next]] >= p->distance[last])
            break;
        heap_put(p, at, p->heap[next]);
    }
    heap_put(p, at, last);
    return top;
}

/* Column j can be reached through row i at `distance`. */
static void reach(struct problem *p, uint32_t i, uint32_t j, double distance)
{
    if (!(distance < p->distance[j]) || !(distance < p->goal_at))
        return;
    if (p->distance[j] == INFINITY)
        p->touched[p->touched_count++] = j;
    p->distance[j] = distance;
    p->from[j] = i;
    if (p->row_of[j] == NONE) {
        p->goal = j;
        p->goal_at = distance;
    } else {
        heap_lower(p, j);
    }
}

/* Row i is reached: its short list at once, the rest when its turn comes. A flat row has one of the
 * columns whose v is largest, so through it a column k costs what it is reached at, plus that v,
 * less v[k]: the first flat row that is reached is as good as any later one. */
static void reach_from(struct problem *p, uint32_t i, double base)
{
    if (p->flat[i] && p->flat_reached)
        return;
    p->flat_reached |= p->flat[i];
    const uint32_t *column = p->list_column + i * p->list_size;
    const float *value = p->list_value + i * p->list_size;
    for (size_t k = 0; k < p->list_size; k++)
        reach(p, i, column[k], base + (-(double)value[k] - p->v[column[k]]));
    p->base[i] = base;
    p->distance[p->n + i] = base + p->others_from[i];
    if (p->distance[p->n + i] < p->goal_at)
        heap_lower(p, (uint32_t)(p->n + i));
}

static void reach_rest(struct problem *p, uint32_t i)
{
    const float *s = row(p, i);
    for (size_t first = 0; first < p->n; first += CHUNK) {
        size_t width = p->n - first < CHUNK ? p->n - first : CHUNK;
        size_t below =
            p->kernels->below(s + first, p->v + first, p->base[i], p->goal_at, width, p->found);
        for (size_t k = 0; k < below; k++) {
            uint32_t j = (uint32_t)first + p->found[k];
            reach(p, i, j, p->base[i] + reduced_cost(p, i, j));
        }
    }
    if (!p->flat[i])
        make_list(p, i); /* the old one was of little use */
}

static void augment(struct problem *p, uint32_t start)
{
    size_t settled = 0;
    p->goal = NONE;
    p->goal_at = INFINITY;
    p->flat_reached = false;
    reach_from(p, start, 0);
    /* At equal distance a free column wins: rows full of equal entries (dead units) would else
     * settle every column one by one. */
    while (p->heap_count > 0 && p->distance[p->heap[0]] < p->goal_at) {
        uint32_t node = heap_pop(p);
        if (node >= p->n) {
            reach_rest(p, node - (uint32_t)p->n);
            continue;
        }
        uint32_t i = p->row_of[node];
        double at = p->distance[node];
        p->done[settled] = node;
        p->done_at[settled++] = at;
        p->distance[node] = -INFINITY;
        reach_from(p, i, at - reduced_cost(p, i, node));
    }
    for (size_t k = 0; k < settled; k++)
        p->v[p->done[k]] += p->done_at[k] - p->goal_at;
    uint32_t j = p->goal;
    for (uint32_t i = NONE; i != start;) {
        i = p->from[j];
        uint32_t next = p->column_of[i];
        assign(p, i, j);
        j = next;
    }
    while (p->heap_count > 0)
        p->heap_at[p->heap[--p->heap_count]] = NONE;
    while (p->touched_count > 0)
        p->distance[p->touched[--p->touched_count]] = INFINITY;
}

static bool alloc(struct problem *p, struct rb_scratch *s)
{
    const struct {
        void *place; /* of a pointer */
        size_t count, size;
    } arrays[] = {
        {&p->v, p->n, sizeof *p->v},
        {&p->column_of, p->n, sizeof *p->column_of},
        {&p->row_of, p->n, sizeof *p->row_of},
        {&p->flat, p->n, sizeof *p->flat},
        {&p->free_rows, p->n, sizeof *p->free_rows},
        {&p->list_column, p->n * p->list_size, sizeof *p->list_column},
        {&p->list_value, p->n * p->list_size, sizeof *p->list_value},
        {&p->others_from, p->n, sizeof *p->others_from},
        {&p->entries, p->list_size + CHUNK, sizeof *p->entries},
        {&p->found, CHUNK, sizeof *p->found},
        {&p->distance, 2 * p->n, sizeof *p->distance},
        {&p->from, p->n, sizeof *p->from},
        {&p->base, p->n, sizeof *p->base},
        {&p->touched, p->n, sizeof *p->touched},
        {&p->done, p->n, sizeof *p->done},
        {&p->done_at, p->n, sizeof *p->done_at},
        {&p->heap, 2 * p->n, sizeof *p->heap},
        {&p->heap_at, 2 * p->n, sizeof *p->heap_at},
    };
    for (size_t k = 0; k < sizeof arrays / sizeof *arrays; k++) {
        void *memory = rb_scratch_alloc(s, arrays[k].count, arrays[k].size);
        if (memory == NULL)
            return false;
        memcpy(arrays[k].place, &memory, sizeof memory);
    }
    return true;
}

static void clear(struct problem *p)
{
    memset(p->column_of, 0xff, p->n * sizeof *p->column_of);
    memset(p->row_of, 0xff, p->n * sizeof *p->row_of);
    memset(p->heap_at, 0xff, 2 * p->n * sizeof *p->heap_at);
    for (size_t k = 0; k < 2 * p->n; k++)
        p->distance[k] = INFINITY;
    for (size_t j = 0; j < p->n; j++)
        p->v[j] = 0;
}

/* Every entry is finite; and which rows are flat. */
static enum rb_status look_through(struct problem *p, struct rb_error *err)
{
    for (size_t i = 0; i < p->n; i++) {
        const float *s = row(p, i);
        float sum = 0;
        bool differs = false;
        for (size_t j = 0; j < p->n; j++) {
            sum += s[j] * 0.0f; /* stays 0 unless something is not finite */
            differs |= s[j] != s[0];
        }
        p->flat[i] = !differs;
        if (sum != 0.0f || isnan(sum))
            for (size_t j = 0; j < p->n; j++)
                if (!isfinite(s[j]))
                    return rb_error_set(err, RB_ENUMERIC,
                                        "similarity of unit %zu of A and unit "
                                        "%zu of B is %g",
                                        i, j, isnan(s[j]) ? (double)NAN : (double)s[j]);
    }
    return RB_OK;
}

enum rb_status rb_assignment_solve(const float *similarity, size_t n, size_t stride,
                                   uint32_t *ret_index, double *ret_score, struct rb_worker *w,
                                   struct rb_error *err)
{
    struct problem p = {.kernels = rb_kernels(),
                        .similarity = similarity,
                        .n = n,
                        .stride = stride,
                        .list_size = n <= 2 * (size_t)SHORT_LIST ? n : (size_t)SHORT_LIST};
    if (!alloc(&p, &w->scratch))
        return rb_error_set(err, RB_ENOMEM, "no memory for an assignment of %zu units", n);
    enum rb_status s = look_through(&p, err);
    if (s == RB_OK && rb_worker_stopped(w))
        s = rb_error_set(err, RB_ECANCELED, "canceled");
    if (s != RB_OK)
        return s;
    clear(&p);
    if (n == 1)
        assign(&p, 0, 0); /* there is no second best to bid against */
    else
        find_prices(&p);
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

/* Measured on correlations of real units: between n^1.4 and n^1.8, for n from 64 to 3072. */
double rb_assignment_cost(double n)
{
    return 3400 * pow(n, 1.55);
}
