/* api/correlations.h: what alignment had to hold on to, as JSON. */
#ifndef RB_API_CORRELATIONS_H
#define RB_API_CORRELATIONS_H

#include "api/encode.h"
#include "core/align/alignment.h"

/* {"job","tokens","groups":[{name,size,verdict,weak_share,before,after,moved,best_unmatched}]},
 * each distribution {mean,quantiles{p5,p25,p50,p75,p95}}. before: C[i,i]; after: the matched pairs;
 * moved: with all maps applied (core/align/report.h), null where that is not known. */
void rb_correlations_encode(struct rb_json *w, const char *job, const struct rb_alignment *a);

/* The mean of "moved"; NaN where it is not known. */
double rb_correlation_moved(const struct rb_group *g);

/* One group: the same with "histogram" {edges (41), before, after, best_unmatched (40 each)} and,
 * with matrix_size > 0, "matrix" {size, before, after}: (size, size) block means. */
void rb_correlation_encode(struct rb_json *w, const char *job, const struct rb_group *group,
                           uint32_t matrix_size);

/* ?size=: NULL gives the largest. RB_EQUERY at "size" unless it divides the stored heat map's
 * size, min(d, 128); the message lists the sizes that do. RB_ENOTFOUND if none was stored. */
enum rb_status rb_correlation_size_decode(const struct rb_group *group, const char *text,
                                          uint32_t *ret, struct rb_error *err) RB_MUST_CHECK;

#endif
