#include "core/model/finite.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK = 4096 };

/* Whether an exponent is all ones somewhere: branch-free, so that it goes at the memory's speed. */
static bool any_16(const unsigned char *p, size_t n, uint16_t mask)
{
    uint16_t any = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t x;
        memcpy(&x, p + i * sizeof x, sizeof x);
        any |= (uint16_t)((x & mask) == mask);
    }
    return any != 0;
}

static bool any_32(const unsigned char *p, size_t n)
{
    const uint32_t mask = 0x7F800000U;
    uint32_t any = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t x;
        memcpy(&x, p + i * sizeof x, sizeof x);
        any |= (uint32_t)((x & mask) == mask);
    }
    return any != 0;
}

/* F64 is used as F32, so what becomes infinite there counts. */
static bool any_64(const unsigned char *p, size_t n)
{
    unsigned any = 0;
    for (size_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, p + i * sizeof x, sizeof x);
        any |= isfinite((float)x) ? 0U : 1U;
    }
    return any != 0;
}

static bool any_not_finite(enum rb_dtype dtype, const unsigned char *p, size_t n)
{
    switch (dtype) {
    case RB_F16:
        return any_16(p, n, 0x7C00);
    case RB_BF16:
        return any_16(p, n, 0x7F80);
    case RB_F64:
        return any_64(p, n);
    default:
        return any_32(p, n);
    }
}

size_t rb_find_not_finite(enum rb_dtype dtype, const void *values, size_t count)
{
    const unsigned char *p = values;
    size_t bytes = rb_dtype_bytes(dtype);
    for (size_t i = 0; i < count; i += BLOCK) {
        size_t n = count - i < BLOCK ? count - i : BLOCK;
        if (!any_not_finite(dtype, p + i * bytes, n))
            continue;
        while (!any_not_finite(dtype, p + i * bytes, 1))
            i++;
        return i;
    }
    return count;
}

static double value_at(const struct rb_tensor *t, size_t index)
{
    const unsigned char *p = (const unsigned char *)t->data + index * rb_dtype_bytes(t->dtype);
    double wide;
    float single;
    if (t->dtype == RB_F64) {
        memcpy(&wide, p, sizeof wide);
        return wide;
    }
    rb_dtype_to_f32(t->dtype, p, &single, 1);
    return (double)single;
}

static enum rb_status check_tensor(const struct rb_tensor *t, size_t elements, size_t columns,
                                   const atomic_bool *stop, struct rb_error *err)
{
    enum { STEP = 1 << 22 };
    const unsigned char *data = t->data;
    for (size_t first = 0; first < elements; first += STEP) {
        size_t n = elements - first < STEP ? elements - first : STEP;
        if (stop != NULL && atomic_load_explicit(stop, memory_order_relaxed))
            return rb_error_set(err, RB_ECANCELED, "canceled");
        size_t at = rb_find_not_finite(t->dtype, data + first * rb_dtype_bytes(t->dtype), n);
        if (at < n)
            return rb_error_set(err, RB_ENUMERIC,
                                "tensor '%s': row %zu, column %zu is %g, expected finite numbers "
                                "within F32's range",
                                t->name, (first + at) / columns, (first + at) % columns,
                                value_at(t, first + at));
    }
    return RB_OK;
}

static bool is_bound(const struct rb_model *m, const struct rb_tensor *t)
{
    size_t n = (size_t)RB_SLOT_COUNT * m->config.num_hidden_layers;
    for (size_t i = 0; i < n; i++)
        if (m->tensors[i] == t)
            return true;
    return false;
}

enum rb_status rb_model_check_finite(const struct rb_model *m, const atomic_bool *stop,
                                     struct rb_error *err)
{
    for (size_t i = 0; i < m->checkpoint.tensor_count; i++) {
        const struct rb_tensor *t = m->checkpoint.tensors[i];
        size_t elements = 1;
        if (!is_bound(m, t))
            continue;
        for (size_t d = 0; d < t->rank; d++)
            elements *= (size_t)t->shape[d];
        size_t columns = t->rank > 1 ? (size_t)t->shape[t->rank - 1] : 1;
        enum rb_status s = check_tensor(t, elements, columns, stop, err);
        rb_checkpoint_forget(&m->checkpoint, t);
        if (s != RB_OK)
            return s;
    }
    return RB_OK;
}
