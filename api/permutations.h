/* api/permutations.h: an alignment as JSON. */
#ifndef RB_API_PERMUTATIONS_H
#define RB_API_PERMUTATIONS_H

#include "api/encode.h"
#include "core/align/alignment.h"

/* {"job","groups":[…],"certificate":{…}|null}: GET /v1/jobs/{id}/permutations and the artifact
 * permutations.json. job may be NULL: null. */
void rb_permutations_encode(struct rb_json *w, const char *job, const struct rb_alignment *a);

/* The member "rounds" of an alignment whose stream turns; nothing without rounds. */
void rb_rounds_encode(struct rb_json *w, const struct rb_alignment *a);
/* The member "certificate", null where there is none. */
void rb_certificate_encode(struct rb_json *w, const struct rb_certificate *c);
/* The members of one group of the two below, into an open object. */
void rb_permutation_members_encode(struct rb_json *w, const struct rb_group *group, bool rotations);

/* The members "kind" and, of near-equivalent maps, "kl", "top1_agreement", "loss_before" and
 * "loss_after" (null where not known) into an open object. */
void rb_certificate_encode_kind(struct rb_json *w, const struct rb_certificate *c);

/* One group with "job" first; with rotations also "rotation" and "value_rotation": per head a
 * d_h x d_h matrix, rows first; null where the group is not rotated. */
void rb_permutation_encode(struct rb_json *w, const char *job, const struct rb_group *group,
                           bool rotations);

#endif
