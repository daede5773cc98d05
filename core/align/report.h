/* core/align/report.h: what the correlations of one group looked like. */
#ifndef RB_CORE_ALIGN_REPORT_H
#define RB_CORE_ALIGN_REPORT_H

#include "core/align/alignment.h"
#include "core/align/similarity.h"

/* correlation: (size, size) of the group, always the correlation whatever the similarity. Fills
 * group->mean_correlation and group->correlations (whose heat maps it allocates). RB_ENOMEM. */
enum rb_status rb_report_fill(struct rb_group *group, const float *correlation,
                              struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

/* The same of a stream that turns: covariance (d, d), rows A's units, columns B's. Correlations of
 * A's units with those of B turned: B's deviations after the turn are not known unit by unit, so
 * their mean square (which a turn keeps) stands for each. "identity" is of B as it was. */
enum rb_status rb_report_turned(struct rb_group *group, const struct rb_similarity_source *source,
                                const float *covariance, struct rb_scratch *scratch,
                                struct rb_error *err) RB_MUST_CHECK;

/* Fills correlations.moved of the group as solved, with everything that its maps do: turned or
 * stretched inside heads, turned as a whole. Unit i of A goes with column c of B's block F
 * (a head, or the stream), b' = sum over r of b[index r] F[r, c]:
 *     cov(a, b') / (sigma_a sigma_b'),  sigma_b'^2 = |F column c|^2 * (mean of the block's
 * variances) since what B's units of a block have in common is not kept; exact where they have
 * equal variances and nothing in common, and for groups without F. rb_report_fill has filled it
 * where the group has no F. RB_ENOMEM. */
enum rb_status rb_report_moved(struct rb_group *group, const struct rb_similarity_source *source,
                               struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

#endif
