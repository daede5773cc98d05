/* core/learn/finetune.h: the weights of a merge, trained after it (METHOD 12): distillation to the
 * mean of the parents' logits.
 *
 * DESIGN. The student is a blend whose layers lie in an overlay: its linear maps, biases and the
 * norms around sublayers are trained, embeddings, final norm and head stay as merged. A step draws
 * blocks of text (batch.h); student and parents read them layer by layer; at predicted positions
 * the loss is KL(p || q) of p, the softmax of the mean of the parents' logits, and the student's
 * q. On the way back a layer's gradient is used by Adam tensor by tensor as it is made, so that no
 * gradient of the whole is ever held: memory is the student's layers three times (F32: weights and
 * two moments) beside what learning takes. Rounds, each of independent items:
 *
 *     embed -> (weights -> layer)* -> hidden -> (logits -> distil -> back)* -> hidden back ->
 *     (back -> update)*
 *
 * The held tenth of the text is looked at before the first step and after the last. What comes out
 * is no parent's function, and no point of the path between them. */
#ifndef RB_CORE_LEARN_FINETUNE_H
#define RB_CORE_LEARN_FINETUNE_H

#include "core/learn/batch.h"
#include "core/learn/options.h"
#include "core/model/blend.h"
#include "core/program.h"

/* Means over predicted positions of the held blocks: cross-entropy of the text, and KL from the
 * parents' mean; NaN before it was looked at. */
struct rb_finetune_figures {
    double loss_before, loss_after, distance_before, distance_after;
};

/* Borrows all. student: a blend with an overlay (of the program's own making, or empty): the
 * tensors of layers that it does not hold are put into it as they are merged. parents: blends of
 * one model each, as they are. RB_EHEAD where nothing predicts tokens, RB_EDATASET below two
 * blocks, RB_ENOMEM. */
enum rb_status rb_finetune_new(const struct rb_blend *student, struct rb_overlay *overlay,
                               const struct rb_blend *parents, size_t parent_count,
                               const struct rb_learn_text *text,
                               const struct rb_finetune_options *o, struct rb_program **ret,
                               struct rb_error *err) RB_MUST_CHECK;
struct rb_finetune_figures rb_finetune_result(const struct rb_program *p);

uint32_t rb_finetune_steps_done(const struct rb_program *p);
/* Is it between two steps, so that it can be saved? */
bool rb_finetune_at_step(const struct rb_program *p);
/* What a killed run continues from, with the same bits: weights, moments, counters; *ret is
 * malloc'ed. */
enum rb_status rb_finetune_save(const struct rb_program *p, unsigned char **ret, size_t *ret_bytes,
                                struct rb_error *err) RB_MUST_CHECK;
/* Before the first round. RB_EINPUT when the bytes are damaged or of another run: nothing is
 * changed then. */
enum rb_status rb_finetune_restore(struct rb_program *p, const unsigned char *bytes, size_t count,
                                   struct rb_error *err) RB_MUST_CHECK;

/* For the plan, of blocks of that length. */
double rb_finetune_cost(const struct rb_model *m, const struct rb_finetune_options *o,
                        size_t parents, size_t block_size);
uint64_t rb_finetune_bytes(const struct rb_model *m, const struct rb_finetune_options *o,
                           size_t parents, size_t block_size);

#endif
