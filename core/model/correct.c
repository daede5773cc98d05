#include "core/model/correct.h"
#include "core/model/family.h"

#include <stdlib.h>

enum { STRIP = 64 };

/* The norm whose output is tap k of the stream (METHOD 2). */
struct site {
    enum rb_slot gain; /* its bias stands right after it (family.h); RB_SLOT_NONE: none */
    uint32_t layer;
};

static struct site site_of(const struct rb_model *m, size_t tap)
{
    if (tap > 0)
        return (struct site){tap % 2 == 1 ? RB_ATTENTION_NORM_WEIGHT : RB_MLP_NORM_WEIGHT,
                             (uint32_t)(tap - 1) / 2};
    bool projects = m->config.embedding_size != m->config.hidden_size;
    return (struct site){projects ? RB_SLOT_NONE : RB_EMBEDDINGS_NORM_WEIGHT, 0};
}

static const struct rb_tensor_row *row_of(const struct rb_model *m, enum rb_slot slot)
{
    const struct rb_tensor_row *row = rb_family_row(m->family, slot);
    return row != NULL && row->name != NULL ? row : NULL;
}

/* The tap that a weight's columns read; false where it reads none. */
static bool reads_tap(const struct rb_model *m, enum rb_slot slot, uint32_t layer, size_t *ret)
{
    const struct rb_tensor_row *row = row_of(m, slot);
    enum rb_axis axis =
        row != NULL && row->columns != RB_DIM_NONE ? row->column_axis : RB_AXIS_FIXED;
    *ret = axis == RB_AXIS_RES_LAST  ? 2 * (size_t)m->config.num_hidden_layers
           : axis == RB_AXIS_RES_MID ? 2 * (size_t)layer + 1
                                     : 2 * (size_t)layer;
    return axis == RB_AXIS_RES_IN || axis == RB_AXIS_RES_MID || axis == RB_AXIS_RES_LAST;
}

/* The weight that a vector is the bias of: its neighbour before. */
static bool is_bias(const struct rb_model *m, enum rb_slot slot)
{
    const struct rb_tensor_row *row = row_of(m, slot);
    return row != NULL && row->columns == RB_DIM_NONE && slot > 0;
}

static enum rb_slot weight_of(const struct rb_model *m, enum rb_slot slot)
{
    return is_bias(m, slot) ? slot - 1 : slot;
}

bool rb_correction_changes(const struct rb_correction *c, enum rb_slot slot)
{
    size_t tap;
    return reads_tap(c->model, weight_of(c->model, slot), 0, &tap);
}

/* ---- the table ---- */

static enum rb_status read_vector(const struct rb_model *m, enum rb_slot slot, uint32_t layer,
                                  float *ret, struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_rows all = {.count = m->config.hidden_size};
    return rb_tensor_read(m, slot, layer, &all, ret, scratch, err);
}

/* One tap: from gain and bias (d), with room for two more vectors. */
static enum rb_status fill_tap(struct rb_correction *c, size_t tap, const struct rb_map *stream,
                               const float *gain, const float *bias, float *moved, double *turned,
                               struct rb_error *err)
{
    size_t d = c->model->config.hidden_size;
    const float *o = stream->forward;
    double *g = c->gains + tap * d, *inverse = c->inverses + tap * d, *shift = c->shifts + tap * d;
    rb_map_gains(stream, gain, moved);
    for (size_t i = 0; i < d; i++) {
        if (!(moved[i] > 0) && !(moved[i] < 0))
            return rb_error_set(err, RB_ENUMERIC,
                                "gain %zu of the norm at tap %zu of the stream is %g once the "
                                "stream has turned: what reads it cannot be corrected",
                                i, tap, (double)moved[i]);
        g[i] = (double)gain[i];
        inverse[i] = 1 / (double)moved[i];
        turned[i] = 0;
    }
    for (size_t j = 0; j < d; j++) /* O^T b */
        for (size_t i = 0; i < d; i++)
            turned[i] += (double)o[j * d + i] * (double)bias[j];
    for (size_t j = 0; j < d; j++) {
        double sum = 0;
        for (size_t i = 0; i < d; i++)
            sum += (double)o[j * d + i] * inverse[i] * turned[i];
        shift[j] = (double)bias[j] - g[j] * sum;
    }
    return RB_OK;
}

static enum rb_status fill(struct rb_correction *c, const struct rb_map *stream,
                           struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_model *m = c->model;
    size_t d = m->config.hidden_size, taps = 2 * (size_t)m->config.num_hidden_layers + 1;
    float *vectors = rb_scratch_alloc(scratch, 3 * d, sizeof *vectors);
    double *turned = rb_scratch_alloc(scratch, d, sizeof *turned);
    if (vectors == NULL || turned == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to correct what reads the stream");
    for (size_t tap = 0; tap < taps; tap++) {
        struct site site = site_of(m, tap);
        enum rb_status s = RB_OK;
        for (size_t i = 0; i < d; i++) {
            vectors[i] = 1;
            vectors[d + i] = 0;
        }
        if (site.gain != RB_SLOT_NONE)
            s = read_vector(m, site.gain, site.layer, vectors, scratch, err);
        if (s == RB_OK && site.gain != RB_SLOT_NONE &&
            rb_model_tensor(m, site.gain + 1, site.layer) != NULL)
            s = read_vector(m, site.gain + 1, site.layer, vectors + d, scratch, err);
        if (s == RB_OK && site.gain == RB_SLOT_NONE)
            for (size_t i = 0; i < d; i++)
                c->gains[tap * d + i] = c->inverses[tap * d + i] = 1;
        else if (s == RB_OK)
            s = fill_tap(c, tap, stream, vectors, vectors + d, vectors + 2 * d, turned, err);
        if (s != RB_OK)
            return s;
    }
    return RB_OK;
}

enum rb_status rb_correction_init(struct rb_correction *c, const struct rb_model *m,
                                  const struct rb_map *stream, struct rb_error *err)
{
    size_t numbers = (2 * (size_t)m->config.num_hidden_layers + 1) * m->config.hidden_size;
    struct rb_correction out = {.model = m,
                                .gains = rb_calloc_aligned(3 * numbers, sizeof(double))};
    if (out.gains == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to correct what reads the stream");
    out.inverses = out.gains + numbers;
    out.shifts = out.inverses + numbers;
    struct rb_scratch scratch;
    rb_scratch_init(&scratch);
    enum rb_status s = fill(&out, stream, &scratch, err);
    rb_scratch_deinit(&scratch);
    if (s != RB_OK) {
        rb_correction_deinit(&out);
        return s;
    }
    *c = out;
    return RB_OK;
}

void rb_correction_deinit(struct rb_correction *c)
{
    free(c->gains);
    *c = (struct rb_correction){0};
}

/* ---- reading ---- */

/* c + W t of the rows asked for. */
static enum rb_status add_shift(const struct rb_correction *c, enum rb_slot weight, uint32_t layer,
                                const double *shift, const struct rb_rows *rows, float *x,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    size_t all, columns;
    rb_model_size(c->model, weight, &all, &columns);
    float *w = rb_scratch_alloc(scratch, STRIP * columns, sizeof *w);
    uint32_t list[STRIP];
    if (w == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to correct a bias");
    for (size_t done = 0; done < rows->count; done += STRIP) {
        size_t n = rows->count - done < STRIP ? rows->count - done : STRIP;
        for (size_t i = 0; i < n; i++)
            list[i] = (uint32_t)rb_row_at(rows, done + i);
        const struct rb_rows part = {.count = n, .list = list};
        enum rb_status s = rb_tensor_read(c->model, weight, layer, &part, w, scratch, err);
        if (s != RB_OK)
            return s;
        for (size_t i = 0; i < n; i++) {
            double sum = (double)x[done + i];
            for (size_t j = 0; j < columns; j++)
                sum += (double)w[i * columns + j] * shift[j];
            x[done + i] = (float)sum;
        }
    }
    return RB_OK;
}

static void scale(const double *by, size_t count, size_t columns, float *x)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < columns; j++)
            x[i * columns + j] = (float)((double)x[i * columns + j] * by[j]);
}

enum rb_status rb_correction_before(const struct rb_correction *c, enum rb_slot slot,
                                    uint32_t layer, const struct rb_rows *rows, float *x,
                                    struct rb_scratch *scratch, struct rb_error *err)
{
    enum rb_slot weight = weight_of(c->model, slot);
    size_t tap, d = c->model->config.hidden_size;
    if (!reads_tap(c->model, weight, layer, &tap))
        return RB_OK;
    if (weight != slot)
        return add_shift(c, weight, layer, c->shifts + tap * d, rows, x, scratch, err);
    scale(c->gains + tap * d, rows->count, d, x);
    return RB_OK;
}

void rb_correction_after(const struct rb_correction *c, enum rb_slot slot, uint32_t layer,
                         size_t count, float *x)
{
    size_t tap, d = c->model->config.hidden_size;
    if (!is_bias(c->model, slot) && reads_tap(c->model, slot, layer, &tap))
        scale(c->inverses + tap * d, count, d, x);
}
