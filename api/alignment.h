/* api/alignment.h: how B is moved, for maps of every kind: what GET /v1/jobs/{id}/alignment
 * answers. Beside it permutations.h, as the contract had it on its first day. */
#ifndef RB_API_ALIGNMENT_H
#define RB_API_ALIGNMENT_H

#include "api/encode.h"
#include "core/align/alignment.h"

/* "permutation", "signed_permutation", "orthogonal", "invertible". */
const char *rb_group_kind_name(const struct rb_group *g);

/* {"job","residual_map","head_map","match","equivalence","folded","groups":[{"name","size","kind",
 * "objective":{"name","value"},"correlation":{"before","after","moved"}}],"rounds"…,"learned":{…}|null,"certificate":{…}|null}.
 */
void rb_alignment_encode(struct rb_json *w, const char *job, const struct rb_alignment *a);

/* One group with "job" first: the members above, the permutation's own, and "angles": by what
 * angles its matrices turn ("stream", "queries_keys", "values": {"count","mean","most",
 * "condition","histogram"}, null for what does not turn and for more than RB_ANGLES_MOST units);
 * matrices: those of heads, too ("rotation", "value_rotation"). RB_ENOMEM, RB_ENUMERIC: then w is
 * not whole. */
enum rb_status rb_alignment_group_encode(struct rb_json *w, const char *job,
                                         const struct rb_group *g, bool matrices,
                                         struct rb_error *err) RB_MUST_CHECK;

#endif
