#include "tests/bench/profile.h"
#include "core/align/assignment.h"
#include "core/model/embed.h"
#include "core/model/head.h"
#include "core/model/kernels.h"
#include "core/model/layer.h"

#include <cblas.h>
#include <string.h>
#include <time.h>

const char *const profile_names[PROFILE_KINDS] = {
    "other",   "embed",     "weights", "layer",      "projections", "ff up",
    "ff down", "attention", "softmax", "gelu",       "norm",        "bias",
    "moments", "transform", "logits",  "sum of exp", "assignment",
};

/* ---- the clock ---- */

struct clock {
    struct profile *to;
    enum profile_kind now;
    double since;
};

static _Thread_local struct clock own;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void settle(void)
{
    double t = seconds();
    own.to->seconds[own.now] += t - own.since;
    own.since = t;
}

static enum profile_kind enter(enum profile_kind kind)
{
    enum profile_kind before = own.now;
    if (own.to == NULL)
        return before;
    settle();
    own.to->calls[kind]++;
    own.now = kind;
    return before;
}

static void leave(enum profile_kind before)
{
    if (own.to == NULL)
        return;
    settle();
    own.now = before;
}

void profile_on(struct profile *p)
{
    if (own.to != NULL)
        settle();
    own = (struct clock){.to = p, .now = PROFILE_OTHER, .since = seconds()};
}

void profile_add(struct profile *to, const struct profile *from, double scale)
{
    for (int k = 0; k < PROFILE_KINDS; k++) {
        to->seconds[k] += from->seconds[k] * scale;
        to->flops[k] += from->flops[k];
        to->calls[k] += from->calls[k];
    }
}

/* ---- functions (the linker sends calls of f to __wrap_f, whose f is __real_f) ---- */

#define WRAPPED(type, name, parameters)                                                            \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters

#define TIMED(kind, type, name, parameters, arguments)                                             \
    WRAPPED(type, name, parameters)                                                                \
    {                                                                                              \
        enum profile_kind before = enter(kind);                                                    \
        type result = __real_##name arguments;                                                     \
        leave(before);                                                                             \
        return result;                                                                             \
    }

TIMED(PROFILE_EMBED, enum rb_status, rb_embed,
      (const struct rb_blend *blend, const struct rb_sequences *s, const struct rb_span *span,
       float *x, float *ret_basis, struct rb_scratch *scratch, struct rb_error *err),
      (blend, s, span, x, ret_basis, scratch, err))
TIMED(PROFILE_LAYER, enum rb_status, rb_layer_forward,
      (const struct rb_layer_call *call, float *x, struct rb_scratch *scratch,
       struct rb_error *err),
      (call, x, scratch, err))
TIMED(PROFILE_TRANSFORM, enum rb_status, rb_head_apply,
      (const struct rb_model *m, const struct rb_weights *w, const float *x, size_t rows, float *y,
       struct rb_scratch *scratch, struct rb_error *err),
      (m, w, x, rows, y, scratch, err))
TIMED(PROFILE_WEIGHTS, enum rb_status, rb_blend_rows,
      (const struct rb_blend *blend, enum rb_slot slot, uint32_t layer, size_t first, size_t rows,
       float *dst, struct rb_scratch *scratch, struct rb_error *err),
      (blend, slot, layer, first, rows, dst, scratch, err))
TIMED(PROFILE_ASSIGNMENT, enum rb_status, rb_assignment_solve,
      (const float *similarity, size_t n, size_t stride, uint32_t *ret_index, double *ret_score,
       struct rb_worker *w, struct rb_error *err),
      (similarity, n, stride, ret_index, ret_score, w, err))

/* What a product is for, told by who asks and by its sizes. */
static enum profile_kind kind_of_product(CBLAS_TRANSPOSE ta, int n, int k)
{
    if (ta == CblasTrans)
        return PROFILE_MOMENTS;
    if (own.now == PROFILE_TRANSFORM)
        return PROFILE_TRANSFORM;
    if (own.now != PROFILE_LAYER)
        return PROFILE_LOGITS;
    if (n < 256 || k < 256) /* narrower than any layer that is worth a profile */
        return PROFILE_ATTENTION;
    if (n == k || n == 2 * k || n == 3 * k) /* keys and values, or all three, at once */
        return PROFILE_PROJECTION;
    return n == 4 * k ? PROFILE_FF_UP : PROFILE_FF_DOWN;
}

WRAPPED(void, cblas_sgemm,
        (CBLAS_ORDER order, CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k,
         float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c,
         int ldc))
{
    enum profile_kind kind = own.to != NULL ? kind_of_product(ta, n, k) : PROFILE_OTHER;
    enum profile_kind before = enter(kind);
    __real_cblas_sgemm(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    leave(before);
    if (own.to != NULL)
        own.to->flops[kind] += 2.0 * m * n * k;
}

/* ---- kernels: a table of timed ones over the real table ---- */

static const struct rb_kernels *real;
static struct rb_kernels timed;

static void timed_add_bias(float *x, const float *bias, size_t rows, size_t n)
{
    enum profile_kind before = enter(PROFILE_BIAS);
    real->add_bias(x, bias, rows, n);
    leave(before);
}

static void timed_bias_gelu(float *x, const float *bias, size_t rows, size_t n)
{
    enum profile_kind before = enter(PROFILE_GELU);
    real->bias_gelu(x, bias, rows, n);
    leave(before);
}

static void timed_softmax(float *x, size_t rows, size_t n, size_t stride, float scale)
{
    enum profile_kind before = enter(PROFILE_SOFTMAX);
    real->softmax(x, rows, n, stride, scale);
    leave(before);
}

static void timed_layer_norm(float *y, const float *x, const float *bias, const float *skip,
                             const float *weight, const float *shift, float eps, size_t rows,
                             size_t n)
{
    enum profile_kind before = enter(PROFILE_NORM);
    real->layer_norm(y, x, bias, skip, weight, shift, eps, rows, n);
    leave(before);
}

static void timed_max_sum_exp(const float *x, const float *bias, size_t n, float *ret_max,
                              float *ret_sum)
{
    enum profile_kind before = enter(PROFILE_SUM_EXP);
    real->max_sum_exp(x, bias, n, ret_max, ret_sum);
    leave(before);
}

static void timed_subtract(float *x, const float *pivot, size_t rows, size_t n)
{
    enum profile_kind before = enter(PROFILE_BIAS);
    real->subtract(x, pivot, rows, n);
    leave(before);
}

const struct rb_kernels *__real_rb_kernels(void);
const struct rb_kernels *__wrap_rb_kernels(void);

__attribute__((constructor)) static void make_timed(void)
{
    real = __real_rb_kernels();
    timed = *real;
    timed.add_bias = timed_add_bias;
    timed.bias_gelu = timed_bias_gelu;
    timed.softmax = timed_softmax;
    timed.layer_norm = timed_layer_norm;
    timed.max_sum_exp = timed_max_sum_exp;
    timed.subtract = timed_subtract;
}

const struct rb_kernels *__wrap_rb_kernels(void)
{
    return own.to != NULL ? &timed : real;
}
