/* core/learn/learn_state.h: what a run of learning continues from. */
#ifndef RB_CORE_LEARN_LEARN_STATE_H
#define RB_CORE_LEARN_LEARN_STATE_H

#include "core/program.h"

/* Between two steps only (rb_learn_at_step): the whole state, as bytes; *ret is malloc'ed. */
enum rb_status rb_learn_save(const struct rb_program *p, unsigned char **ret, size_t *ret_bytes,
                             struct rb_error *err) RB_MUST_CHECK;
/* Before the first round. RB_EINPUT, in words for whoever waits, when the bytes are damaged, of
 * another run (other options, sizes or text), or of a build, library or machine that computes other
 * bits (arithmetic.h): nothing is changed then. */
enum rb_status rb_learn_restore(struct rb_program *p, const unsigned char *bytes, size_t count,
                                struct rb_error *err) RB_MUST_CHECK;

#endif
