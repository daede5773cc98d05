/* core/align/rotate.h: the basis inside matched heads (METHOD 4, rotate_heads, and METHOD 10). One
 * matrix per key-value head, of sums over the query heads that share it. Index vectors as in a
 * group: unit i of A goes with unit index[i] of B. */
#ifndef RB_CORE_ALIGN_ROTATE_H
#define RB_CORE_ALIGN_ROTATE_H

#include "core/align/heads.h"
#include "core/align/moments.h"

struct rb_rotate_input {
    struct rb_heads_shape shape;
    const struct rb_tap *tap; /* of queries or head outputs: groups * queries * units wide */
    const uint32_t *index;
    const struct rb_tap *keys;  /* groups * units wide */
    const uint32_t *keys_index; /* order of what `keys` or `narrow` has */
    uint32_t rotary_dims;
    /* What they are made from, and for weights the products of the tap's and the keys' (or the
     * values') rows, core/align/products.h: (groups * queries * units) and (groups * units) square.
     * Of activations and both the taps are read, of weights and both the products. */
    enum rb_match match;
    const float *wide, *narrow;
};

/* Of products each block is divided by its norm likewise; of both M is the sum of the two M, each
 * divided by its norm.
 *
 * R of queries and keys: M = E[q_B^T q_A] / |.|_F + cov(k_B, k_A) / |.|_F; with rotary positions
 * E[k_B^T k_A] (a constant in the keys does not cancel there), and only turns in the planes that
 * positions turn. ret: (groups, d_h, d_h). RB_ENUMERIC, RB_ENOMEM. */
enum rb_status rb_rotate_keys(const struct rb_rotate_input *in, float *ret,
                              struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;
/* S from the head outputs: M = cov(v_B, v_A). */
enum rb_status rb_rotate_values(const struct rb_rotate_input *in, float *ret,
                                struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

/* What a basis is found from between any two models (METHOD 13): both have their units in an order.
 */
struct rb_rotate_sides {
    const struct rb_tap *tap; /* `heads` at a time share a basis; units of each: n */
    const uint32_t *a, *b;    /* orders: slot i is unit a[i] of A, b[i] of B; NULL: as they are */
};
/* m (n, n) += block / |block|_F, rows B's units, columns A's, summed over the heads [first, first +
 * count): of second moments with dot, else of covariances. block: room (n, n). */
void rb_rotate_add(const struct rb_rotate_sides *s, bool dot, size_t first, size_t count, size_t n,
                   double *m, double *block);

#endif
