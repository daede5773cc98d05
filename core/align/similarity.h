/* core/align/similarity.h: rows of a group's similarity matrix, from the moments of its taps
 * (METHOD 3 and 4). */
#ifndef RB_CORE_ALIGN_SIMILARITY_H
#define RB_CORE_ALIGN_SIMILARITY_H

#include "core/align/moments.h"

/* The taps that a group's similarity is made of. */
struct rb_similarity_source {
    const struct rb_tap *const *taps;
    size_t count;
    bool pooled; /* rows of all taps are one sample (queries and keys); else moments are averaged */
    uint32_t size;
};

/* Rows [first, first + rows) of C over all units of B: out (rows, size). Correlation divides by
 * max(sigma_a sigma_b, 1e-7), so that a constant unit has correlation 0 with everything.
 * RB_ENOMEM. */
enum rb_status rb_similarity_rows(const struct rb_similarity_source *source,
                                  enum rb_similarity kind, size_t first, size_t rows, float *out,
                                  struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

/* Means and variances over a tap's rows; side 0 is A, 1 is B. */
double rb_tap_mean(const struct rb_tap *t, int side, size_t unit);
double rb_tap_variance(const struct rb_tap *t, int side, size_t unit);
/* cov(a_i, b_j) and E[a_i b_j]. */
double rb_tap_covariance(const struct rb_tap *t, size_t i, size_t j);
double rb_tap_dot(const struct rb_tap *t, size_t i, size_t j);

#endif
