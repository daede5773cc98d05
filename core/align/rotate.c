#include "core/align/rotate.h"
#include "core/align/procrustes.h"
#include "core/align/similarity.h"

#include <math.h>

typedef double (*moment)(const struct rb_tap *t, size_t i, size_t j);

/* m (n, n) += block / |block|_F, block[r][s] the sum over `count` heads from unit `first` on of the
 * moment of A's s-th unit and of the unit of B that moves to the r-th. */
static void add_block(const struct rb_tap *t, moment of, const uint32_t *index, size_t first,
                      size_t count, size_t n, double *m, double *block)
{
    double square = 0;
    for (size_t r = 0; r < n; r++)
        for (size_t s = 0; s < n; s++) {
            double v = 0;
            for (size_t h = 0; h < count; h++)
                v += of(t, first + h * n + s, index[first + h * n + r]);
            block[r * n + s] = v;
            square += v * v;
        }
    double scale = square > 0 ? 1 / sqrt(square) : 0;
    for (size_t i = 0; i < n * n; i++)
        m[i] += block[i] * scale;
}

static enum rb_status rotate(const struct rb_rotate_input *in, moment of, moment of_keys,
                             float *ret, struct rb_scratch *scratch, struct rb_error *err)
{
    size_t n = in->shape.units, queries = in->shape.queries;
    double *m = rb_scratch_alloc(scratch, n * n, sizeof(double));
    double *block = rb_scratch_alloc(scratch, n * n, sizeof(double));
    if (m == NULL || block == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to rotate a head of %zu units", n);
    for (size_t g = 0; g < in->shape.groups; g++) {
        for (size_t i = 0; i < n * n; i++)
            m[i] = 0;
        add_block(in->tap, of, in->index, g * queries * n, queries, n, m, block);
        if (of_keys != NULL)
            add_block(in->keys, of_keys, in->keys_index, g * n, 1, n, m, block);
        enum rb_status s = of_keys != NULL && in->rotary_dims > 0
                               ? rb_procrustes_rotary(m, n, in->rotary_dims, block, scratch, err)
                               : rb_procrustes(m, n, block, scratch, err);
        if (s != RB_OK)
            return s;
        for (size_t i = 0; i < n * n; i++)
            ret[g * n * n + i] = (float)block[i];
    }
    return RB_OK;
}

enum rb_status rb_rotate_keys(const struct rb_rotate_input *in, float *ret,
                              struct rb_scratch *scratch, struct rb_error *err)
{
    return rotate(in, rb_tap_dot, in->rotary_dims > 0 ? rb_tap_dot : rb_tap_covariance, ret,
                  scratch, err);
}

enum rb_status rb_rotate_values(const struct rb_rotate_input *in, float *ret,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    return rotate(in, rb_tap_covariance, NULL, ret, scratch, err);
}
