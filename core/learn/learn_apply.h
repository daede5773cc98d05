/* core/learn/learn_apply.h: what was learned, put into an alignment. */
#ifndef RB_CORE_LEARN_LEARN_APPLY_H
#define RB_CORE_LEARN_LEARN_APPLY_H

#include "core/align/alignment.h"
#include "core/program.h"

/* After the program has finished: the learned matrices into the groups of the alignment that the
 * motion was made from, and what was learned into its facts; the motion is to be made anew. On
 * RB_ENOMEM the alignment is as it was. */
enum rb_status rb_learn_apply(const struct rb_program *p, struct rb_alignment *a,
                              struct rb_error *err) RB_MUST_CHECK;

#endif
