/* core/learn/least_squares.h: merged weights that are solved for (METHOD 12): each linear map W of
 * the merged model minimises sum of w_m |Z_m W^T - Y_m|^2 over the inputs Z_m and outputs Y_m that
 * the map has in each parent, as it was moved.
 *
 * DESIGN. Y_m = Z_m W_m^T, so all that is needed of a text are the Gram matrices G_m = Z_m^T Z_m of
 * the inputs, a bias being one more input that is always 1. Entries off the diagonal count 0.9; W =
 * (sum of w_m W_m G_m)(sum of w_m G_m)^-1. A millionth of the mean of the diagonal draws W to the
 * weighted mean of the W_m where no input says anything. All parents go through the model together,
 * layer after layer; the matrices of one layer are in memory at a time (F64). Rounds:
 *
 *     embed -> per layer: weights -> (forward -> gram) per slab -> factor -> solve -> the head
 *
 * Covered are the linear maps of the layers, the head's hidden layer and an output weight of its
 * own; embeddings, norms and what is tied to an embedding stay the weighted mean.
 * The result is not the same function as any parent, nor a point of the path between them. */
#ifndef RB_CORE_LEARN_LEAST_SQUARES_H
#define RB_CORE_LEARN_LEAST_SQUARES_H

#include "core/model/blend.h"
#include "core/program.h"
#include "core/sequences.h"

/* How far the merged maps are from their parents' outputs: the shrunk objective above over all
 * maps, for the weighted mean of the weights and for the solution, as parts of the parents' own
 * outputs' (0: all outputs are met; of no tokens, NaN). */
struct rb_least_squares_fit {
    uint64_t tokens; /* that were read, per parent */
    double mean, solved;
};

/* Borrows the blend's models and motions, s and overlay; the sequences have passed
 * rb_sequences_check. What is solved goes into the overlay, layer by layer. RB_EDATASET without a
 * token, RB_ENOMEM. */
enum rb_status rb_least_squares_new(const struct rb_blend *blend, const struct rb_sequences *s,
                                    struct rb_overlay *overlay, struct rb_program **ret,
                                    struct rb_error *err) RB_MUST_CHECK;
/* After it has finished. */
struct rb_least_squares_fit rb_least_squares_result(const struct rb_program *p);

/* Layers that are solved; it may be saved when that has grown. */
uint32_t rb_least_squares_layers(const struct rb_program *p);
/* What a killed run continues from, with the same bits: between two rounds; *ret is malloc'ed. */
enum rb_status rb_least_squares_save(const struct rb_program *p, unsigned char **ret,
                                     size_t *ret_bytes, struct rb_error *err) RB_MUST_CHECK;
/* Before the first round. RB_EINPUT when the bytes are damaged, or of another blend or text:
 * nothing is changed then. */
enum rb_status rb_least_squares_restore(struct rb_program *p, const unsigned char *bytes,
                                        size_t count, struct rb_error *err) RB_MUST_CHECK;

/* For the plan: operations, and bytes beside mapped weights, of so many parents and tokens. */
double rb_least_squares_cost(const struct rb_model *m, size_t parents, uint64_t tokens);
uint64_t rb_least_squares_bytes(const struct rb_model *m, size_t parents, uint64_t tokens);

#endif
