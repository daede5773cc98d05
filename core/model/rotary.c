#include "core/model/rotary.h"
#include "core/memory.h"
#include "core/model/kernels.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

double rb_rope_frequency(const struct rb_rope *rope, size_t i)
{
    double plain = pow(rope->theta, -2.0 * (double)i / rope->dims);
    if (rope->scaling == RB_ROPE_PLAIN)
        return plain;
    double waves =
        rope->original_positions * plain / (2 * M_PI); /* in the context it was trained on */
    double share = (waves - rope->low_frequency_factor) /
                   (rope->high_frequency_factor - rope->low_frequency_factor);
    share = fmin(1, fmax(0, share));
    return (1 - share) * plain / rope->factor + share * plain;
}

enum rb_status rb_rotary_init(const struct rb_rope *rope, size_t positions, struct rb_rotary *ret,
                              struct rb_error *err)
{
    size_t half = rope->dims / 2, count;
    struct rb_rotary r = {.dims = rope->dims, .positions = positions};
    bool fits = rb_mul_size(positions, half, &count);
    r.cosine = fits ? rb_malloc_aligned(count, sizeof(float)) : NULL;
    r.sine = fits ? rb_malloc_aligned(count, sizeof(float)) : NULL;
    if (r.cosine == NULL || r.sine == NULL) {
        rb_rotary_deinit(&r);
        return rb_error_set(err, RB_ENOMEM, "no memory for the rotary tables of %zu positions",
                            positions);
    }
    for (size_t i = 0; i < half; i++) {
        double frequency = rb_rope_frequency(rope, i);
        for (size_t t = 0; t < positions; t++) {
            r.cosine[t * half + i] = (float)cos((double)t * frequency);
            r.sine[t * half + i] = (float)sin((double)t * frequency);
        }
    }
    *ret = r;
    return RB_OK;
}

void rb_rotary_deinit(struct rb_rotary *r)
{
    free(r->cosine);
    free(r->sine);
    *r = (struct rb_rotary){0};
}

void rb_rotary_turn(const struct rb_rotary *r, size_t position, const float *x, size_t head_dim,
                    float *y)
{
    assert(position < r->positions && r->dims <= head_dim);
    size_t half = r->dims / 2;
    rb_kernels()->rotate(y, x, r->cosine + position * half, r->sine + position * half, half);
    if (y != x)
        memcpy(y + r->dims, x + r->dims, (head_dim - r->dims) * sizeof(float));
}

void rb_ref_rotary(const struct rb_rope *rope, size_t position, const double *x, size_t head_dim,
                   double *y)
{
    size_t half = rope->dims / 2;
    for (size_t i = 0; i < head_dim; i++)
        y[i] = x[i];
    for (size_t i = 0; i < half; i++) {
        double angle = (double)position * rb_rope_frequency(rope, i);
        y[i] = x[i] * cos(angle) - x[half + i] * sin(angle);
        y[half + i] = x[half + i] * cos(angle) + x[i] * sin(angle);
    }
}
