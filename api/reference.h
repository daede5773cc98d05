/* api/reference.h: what there is to say of the alignment of three models or more: reference.json.
 */
#ifndef RB_API_REFERENCE_H
#define RB_API_REFERENCE_H

#include "api/encode.h"
#include "api/job_spec.h"
#include "core/align/joint.h"

/* {"job","reference","models":[the anchor first],"objective":[at the start and after each round],
 * "rounds","settled","cycle_consistency":{group: share of units, null for maps that are no
 * permutations}}. objective, rounds and settled are null for the anchor, which has no rounds;
 * cycle_consistency is null where not all pairs were aligned. */
void rb_reference_encode(struct rb_json *w, const char *job, const struct rb_job_spec *spec,
                         const struct rb_joint_facts *f);

#endif
