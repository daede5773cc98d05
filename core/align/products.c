#include "core/align/products.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>

enum { STRIP = 512 }; /* rows of a matrix that are read at a time */

/* Reading rows takes scratch, and strips are many: they share their own. */
struct product {
    const struct rb_blend *a, *b;
    enum rb_slot slot;
    uint32_t layer;
    size_t rows, columns;
    float *wa, *wb;            /* (STRIP, columns) room */
    struct rb_scratch scratch; /* of the present strips */
};

/* Some rows of one side, in dst; what the strip before took of scratch is free again. */
static enum rb_status read_strip(struct product *p, const struct rb_blend *side, size_t from,
                                 size_t rows, float *dst, const struct rb_worker *w,
                                 struct rb_error *err)
{
    if (rb_worker_stopped(w))
        return RB_ECANCELED;
    rb_scratch_reset(&p->scratch);
    return rb_blend_rows(side, p->slot, p->layer, from, rows, dst, &p->scratch, err);
}

/* |W|^2 of one side, as it is moved. */
static enum rb_status square_of(struct product *p, const struct rb_blend *side, double *ret,
                                struct rb_worker *w, struct rb_error *err)
{
    double sum = 0;
    for (size_t from = 0; from < p->rows; from += STRIP) {
        size_t n = p->rows - from < STRIP ? p->rows - from : STRIP;
        enum rb_status s = read_strip(p, side, from, n, p->wa, w, err);
        if (s != RB_OK)
            return s;
        for (size_t i = 0; i < n * p->columns; i++)
            sum += (double)p->wa[i] * (double)p->wa[i];
    }
    *ret = sum;
    return RB_OK;
}

/* Units are rows: each strip of B's, which may be costly to move, meets all of A's. */
static enum rb_status add_rows(struct product *p, float scale, float *ret, struct rb_worker *w,
                               struct rb_error *err)
{
    int n = (int)p->rows, k = (int)p->columns;
    for (size_t to = 0; to < p->rows; to += STRIP) {
        size_t nb = p->rows - to < STRIP ? p->rows - to : STRIP;
        enum rb_status s = read_strip(p, p->b, to, nb, p->wb, w, err);
        for (size_t from = 0; from < p->rows && s == RB_OK; from += STRIP) {
            size_t na = p->rows - from < STRIP ? p->rows - from : STRIP;
            s = read_strip(p, p->a, from, na, p->wa, w, err);
            if (s == RB_OK)
                cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)na, (int)nb, k, scale,
                            p->wa, k, p->wb, k, 1.0f, ret + from * p->rows + to, n);
        }
        if (s != RB_OK)
            return s;
    }
    return RB_OK;
}

/* Units are columns. */
static enum rb_status add_columns(struct product *p, float scale, float *ret, struct rb_worker *w,
                                  struct rb_error *err)
{
    int n = (int)p->columns;
    for (size_t from = 0; from < p->rows; from += STRIP) {
        size_t rows = p->rows - from < STRIP ? p->rows - from : STRIP;
        enum rb_status s = read_strip(p, p->a, from, rows, p->wa, w, err);
        if (s == RB_OK)
            s = read_strip(p, p->b, from, rows, p->wb, w, err);
        if (s != RB_OK)
            return s;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, n, (int)rows, scale, p->wa, n,
                    p->wb, n, 1.0f, ret, n);
    }
    return RB_OK;
}

static enum rb_status add_matrix(struct product *p, bool of_rows, float *ret, struct rb_worker *w,
                                 struct rb_error *err)
{
    double square_a = 0, square_b = 0;
    enum rb_status s = square_of(p, p->a, &square_a, w, err);
    if (s == RB_OK)
        s = square_of(p, p->b, &square_b, w, err);
    double size = sqrt(square_a) * sqrt(square_b);
    if (s != RB_OK || !(size > 0))
        return s;
    return of_rows ? add_rows(p, (float)(1 / size), ret, w, err)
                   : add_columns(p, (float)(1 / size), ret, w, err);
}

static enum rb_status add_slot(struct product *p, bool of_rows, float *ret, struct rb_worker *w,
                               struct rb_error *err)
{
    rb_model_size(rb_blend_model(p->a), p->slot, &p->rows, &p->columns);
    p->wa = rb_malloc_aligned(STRIP * p->columns, sizeof *p->wa);
    p->wb = rb_malloc_aligned(STRIP * p->columns, sizeof *p->wb);
    rb_scratch_init(&p->scratch);
    enum rb_status s = p->wa != NULL && p->wb != NULL
                           ? add_matrix(p, of_rows, ret, w, err)
                           : rb_error_set(err, RB_ENOMEM, "no memory to compare weights");
    rb_scratch_deinit(&p->scratch);
    free(p->wa);
    free(p->wb);
    return s;
}

enum rb_status rb_products_add(const struct rb_blend *a, const struct rb_blend *b,
                               enum rb_axis axis, uint32_t layer, float *ret, struct rb_worker *w,
                               struct rb_error *err)
{
    const struct rb_model *m = rb_blend_model(a);
    enum rb_status s = RB_OK;
    for (enum rb_slot slot = 0; slot < RB_SLOT_COUNT && s == RB_OK; slot++) {
        const struct rb_tensor_row *row = rb_model_row(m, slot);
        if (row == NULL || row->name == NULL || row->columns == RB_DIM_NONE || !row->per_layer ||
            (row->row_axis != axis && row->column_axis != axis) ||
            rb_model_tensor(m, slot, layer) == NULL)
            continue;
        struct product p = {.a = a, .b = b, .slot = slot, .layer = layer};
        s = add_slot(&p, row->row_axis == axis, ret, w, err);
    }
    return s;
}

double rb_products_cost(double n, double d, double matrices)
{
    return matrices * (4 * n * d * d + 2 * n * n * d);
}
