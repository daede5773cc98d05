/* server/base/kernel_probe.h: does a kernel of OpenBLAS compute right on this processor, and how
 * fast: tried in a child process, since a wrong one may as well crash or never come back.
 *
 * DESIGN. OpenBLAS reads OPENBLAS_CORETYPE in its constructor, before main, so a kernel can only be
 * tried by a new process. The child is this program again, with the kernel's name in that variable
 * and RB_KERNEL_PROBE set; main calls rb_kernel_probe_answer first of all, which in such a child
 * multiplies, prints one line and ends. What OpenBLAS does not know it ignores, so the child also
 * tells which kernel it really has.
 *
 * Products are of whole numbers small enough that every sum is exact in the product's type and
 * large enough that no narrower type holds them (bfloat16, TF32, F32 for F64): a right kernel gives
 * exactly what the plain reference gives, in whatever order it adds. */
#ifndef RB_SERVER_BASE_KERNEL_PROBE_H
#define RB_SERVER_BASE_KERNEL_PROBE_H

#include <cblas.h>
#include <stdbool.h>

enum { RB_KERNEL_NAME_SIZE = 32 };

/* What is tried; a test puts broken ones here. */
struct rb_products {
    __typeof__(cblas_sgemm) *sgemm;
    __typeof__(cblas_dgemm) *dgemm;
    char *(*corename)(void);
};
extern const struct rb_products rb_products_openblas;

/* Both products over odd shapes, all four ways of transposing, beta 0 (over NaN, which must not be
 * read) and 1, with room between the rows that must stay as it was. NULL when all are right, else
 * which one is wrong (static text). */
const char *rb_products_check(const struct rb_products *p);
/* Operations per second of CPU time of a square sgemm on one core. 0 when out of memory. */
double rb_products_rate(const struct rb_products *p);

/* In a child made by rb_kernel_try: answers on standard output and exits. Else returns. */
void rb_kernel_probe_answer(const struct rb_products *p);

enum rb_kernel_outcome {
    RB_KERNEL_RIGHT,
    RB_KERNEL_ABSENT, /* not in this library */
    RB_KERNEL_WRONG,
    RB_KERNEL_CRASHED,
    RB_KERNEL_HUNG,
    RB_KERNEL_UNTRIED, /* no child could be made: nothing is known */
};
/* In enum order, for people: "computes wrongly" … */
extern const char *const rb_kernel_outcome_words[];

struct rb_kernel_trial {
    enum rb_kernel_outcome outcome;
    char kernel[RB_KERNEL_NAME_SIZE]; /* as OpenBLAS spells it */
    double rate, limit;               /* of one core: sgemm, and rb_fma_limit */
};
/* Starts this program's file as a child with that kernel and waits for at most limit_ms. */
void rb_kernel_try(const char *kernel, unsigned limit_ms, struct rb_kernel_trial *ret);

#endif
