/* core/align/certify.h: the certificate: does the moved B compute what B computes? */
#ifndef RB_CORE_ALIGN_CERTIFY_H
#define RB_CORE_ALIGN_CERTIFY_H

#include "core/align/alignment.h"
#include "core/model/fold.h"
#include "core/program.h"

/* Compares moved B with B on probe sequences; a program. rb_certify_result is valid after it; for
 * near-equivalent maps with kl and top1_agreement where the head makes a choice among several.
 * The program ends with RB_ENUMERIC, naming the first logit, if one of either side is not finite:
 * no certificate has an infinite difference or tolerance. */
enum rb_status rb_certify_new(const struct rb_model *b, const struct rb_alignment *a,
                              struct rb_program **ret, struct rb_error *err) RB_MUST_CHECK;
/* Before the first round: B is folded before it moves, and A is another model too: both are
 * compared with what they were, and the certificate is of both. Borrowed until freed. RB_ENOMEM. */
enum rb_status rb_certify_fold(struct rb_program *p, const struct rb_model *a,
                               const struct rb_fold *fold_a, const struct rb_fold *fold_b,
                               struct rb_error *err) RB_MUST_CHECK;
struct rb_certificate rb_certify_result(const struct rb_program *p);
/* Its total_cost, with norms folded or not; 0 without memory. */
double rb_certify_cost(const struct rb_model *b, bool folds);

#endif
