#include "core/align/stream.h"
#include "core/align/similarity.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>

enum { STRIP = 512 }; /* rows of a tensor that are multiplied at a time */

static double energy(const struct rb_tap *t, int side, bool dot)
{
    double sum = 0;
    for (size_t i = 0; i < t->size; i++) {
        double mean = dot ? rb_tap_mean(t, side, i) : 0;
        sum += rb_tap_variance(t, side, i) + mean * mean;
    }
    return sum;
}

void rb_stream_add_moments(const struct rb_tap *const *taps, size_t count, bool dot, size_t first,
                           size_t rows, double *m)
{
    for (size_t k = 0; k < count; k++) {
        const struct rb_tap *t = taps[k];
        double size = sqrt(energy(t, 0, dot) * energy(t, 1, dot)) * (double)count;
        double scale = size > 0 ? 1 / size : 0;
        for (size_t r = first; r < first + rows; r++)
            for (size_t s = 0; s < t->size; s++)
                m[r * t->size + s] +=
                    scale * (dot ? rb_tap_dot(t, s, r) : rb_tap_covariance(t, s, r));
    }
}

static bool is_stream_axis(enum rb_axis axis)
{
    return axis == RB_AXIS_RES_FIRST || axis == RB_AXIS_RES_IN || axis == RB_AXIS_RES_MID ||
           axis == RB_AXIS_RES_OUT || axis == RB_AXIS_RES_LAST;
}

enum rb_status rb_stream_tensors(const struct rb_model *m, struct rb_stream_tensor **ret,
                                 size_t *ret_count, struct rb_error *err)
{
    size_t n = 0, most = (size_t)RB_SLOT_COUNT * m->config.num_hidden_layers;
    struct rb_stream_tensor *list = calloc(most + 1, sizeof *list);
    if (list == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a list of tensors");
    for (enum rb_slot slot = 0; slot < RB_SLOT_COUNT; slot++) {
        const struct rb_tensor_row *row = rb_model_row(m, slot);
        if (row == NULL || row->name == NULL || row->columns == RB_DIM_NONE ||
            row->need == RB_IF_PRESENT)
            continue;
        bool writes = is_stream_axis(row->row_axis);
        for (uint32_t l = 0; l < (row->per_layer ? m->config.num_hidden_layers : 1); l++)
            if ((writes || is_stream_axis(row->column_axis)) && rb_model_tensor(m, slot, l) != NULL)
                list[n++] = (struct rb_stream_tensor){slot, l, writes};
    }
    *ret = list;
    *ret_count = n;
    return RB_OK;
}

static double square_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

/* What one tensor adds, before it is divided by both norms. */
struct product {
    const struct rb_stream_tensor *tensor;
    size_t first, rows, width; /* of M: rows, and the stream's width */
    size_t columns;            /* of the tensor */
    const float *mine;         /* rows [first, …) of W_B, of a tensor that writes */
    float *part;               /* (rows, width) room */
    double *sum;               /* (rows, width) */
};

/* Rows [from, from + n) of both sides' tensor: a and b (n, columns). */
static void add_strip(const struct product *p, size_t from, size_t n, const float *a,
                      const float *b)
{
    if (p->tensor->writes) { /* W_B's rows times those of W_A: columns [from, from + n) of M */
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)p->rows, (int)n, (int)p->columns,
                    1.0f, p->mine, (int)p->columns, a, (int)p->columns, 0.0f, p->part, (int)n);
        for (size_t r = 0; r < p->rows; r++)
            for (size_t j = 0; j < n; j++)
                p->sum[r * p->width + from + j] = (double)p->part[r * n + j];
        return;
    }
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)p->rows, (int)p->width, (int)n, 1.0f,
                b + p->first, (int)p->columns, a, (int)p->columns, 0.0f, p->part, (int)p->width);
    for (size_t i = 0; i < p->rows * p->width; i++)
        p->sum[i] += (double)p->part[i];
}

enum rb_status rb_stream_add_weights(const struct rb_blend *a, const struct rb_blend *b,
                                     const struct rb_stream_tensor *t, size_t first, size_t rows,
                                     double *m, struct rb_scratch *scratch, struct rb_error *err)
{
    size_t all, columns, d = rb_blend_model(a)->config.hidden_size;
    rb_model_size(rb_blend_model(a), t->slot, &all, &columns);
    size_t strip = all < STRIP ? all : STRIP, wide = d > strip ? d : strip;
    float *wa = rb_scratch_alloc(scratch, strip * columns, sizeof *wa);
    float *wb = rb_scratch_alloc(scratch, strip * columns, sizeof *wb);
    float *mine = rb_scratch_alloc(scratch, t->writes ? rows * columns : 0, sizeof *mine);
    struct product p = {t, first, rows, d, columns, mine, NULL, NULL};
    p.part = rb_scratch_alloc(scratch, rows * wide, sizeof *p.part);
    p.sum = rb_scratch_alloc(scratch, rows * d, sizeof *p.sum);
    if (!wa || !wb || !mine || !p.part || !p.sum)
        return rb_error_set(err, RB_ENOMEM, "no memory to compare weights");
    for (size_t i = 0; i < rows * d; i++)
        p.sum[i] = 0;
    enum rb_status s = RB_OK;
    if (t->writes)
        s = rb_blend_rows(b, t->slot, t->layer, first, rows, mine, scratch, err);
    double square_a = 0, square_b = 0;
    for (size_t from = 0; from < all && s == RB_OK; from += strip) {
        size_t n = all - from < strip ? all - from : strip;
        s = rb_blend_rows(a, t->slot, t->layer, from, n, wa, scratch, err);
        if (s == RB_OK)
            s = rb_blend_rows(b, t->slot, t->layer, from, n, wb, scratch, err);
        if (s != RB_OK)
            return s;
        square_a += square_of(wa, n * columns);
        square_b += square_of(wb, n * columns);
        add_strip(&p, from, n, wa, wb);
    }
    double size = sqrt(square_a * square_b), scale = size > 0 ? 1 / size : 0;
    for (size_t i = 0; i < rows * d && s == RB_OK; i++)
        m[first * d + i] += p.sum[i] * scale;
    return s;
}

double rb_stream_weights_cost(const struct rb_model *m, const struct rb_stream_tensor *t,
                              size_t rows)
{
    size_t all, columns;
    rb_model_size(m, t->slot, &all, &columns);
    return (2.0 * (double)rows + 20) * (double)all * (double)columns;
}
