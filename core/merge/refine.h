/* core/merge/refine.h: which lambdas are worth evaluating where only the barrier is asked for. */
#ifndef RB_CORE_MERGE_REFINE_H
#define RB_CORE_MERGE_REFINE_H

#include <stdbool.h>
#include <stddef.h>

/* The grid that is refined: 0, 0.05 … 1, of which every fourth is the coarse one; and how many are
 * evaluated when all maxima agree. */
enum { RB_REFINE_POINTS = 21, RB_REFINE_STEP = 4, RB_REFINE_EXPECTED = 10 };

/* The losses known of one curve, by index of lambda. Borrowed. */
struct rb_refine_curve {
    const double *losses; /* (count) */
    const bool *known;    /* (count) */
};

/* The coarse grid, then the midpoints on both sides of each curve's maxima (over the chord and over
 * the mean), until their neighbours are one step of the grid away. lambdas: (count) ascending from
 * 0 to 1, count - 1 a multiple of RB_REFINE_STEP. ret_members (count): what belongs to the answer
 * as far as that is known; those of them that some curve lacks are to be evaluated next. True once
 * all are known and nothing more belongs. What else is known does not matter: after a restart the
 * same points are chosen. */
bool rb_refine(const double *lambdas, size_t count, const struct rb_refine_curve *curves,
               size_t curve_count, bool *ret_members);

#endif
