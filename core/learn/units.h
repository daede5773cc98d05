/* core/learn/units.h: what is learned of FF units (METHOD 10 and 11): of gated MLPs a factor e^u
 * per unit, up carrying e^u and down e^-u; and which unit of B goes with which of A, by scores Z
 * whose best assignment is taken (straight through: the gradient of the permutation goes to Z).
 *
 * DESIGN. A layer's parameters lie side by side in the maps' one vector: u (n), then Z (n, n) and
 * the assignment itself (n), as numbers that no gradient reaches, so that whatever keeps the
 * vector keeps all. Slot i of A holds B's unit p[i] times sign and factor: with theta the moved
 * row i and H its gradient, du_i = <H_i, theta_i> of up less that of down's column i, and dP[i, j]
 * is <H_i, the row that unit j would be in slot i>. A sign belongs to B's unit; gate has none. */
#ifndef RB_CORE_LEARN_UNITS_H
#define RB_CORE_LEARN_UNITS_H

#include "core/model/blend.h"
#include "core/program.h"

enum { RB_LEARN_ORDER_EVERY = 10 }; /* steps between two assignments */

struct rb_learn_units {
    uint32_t layers;
    size_t n;
    bool scales, orders; /* what is learned; neither: nothing here */
    size_t parameters;   /* of a layer */
    /* (layers, n), one after the other; owned */
    float *forward, *inverse; /* e^u and e^-u; 1 where not learned */
    uint32_t *index;
    float *signs;      /* of slots, NULL: none changes sign */
    float *unit_signs; /* (layers, n) of B's units */
};

/* How a moved row or column depends on its unit. */
enum rb_unit_part { RB_UNIT_UP, RB_UNIT_GATE, RB_UNIT_DOWN };

/* Points the motion's FF maps at arrays of *ret; they start at the motion's order and signs, u at
 * 0. RB_ENOMEM. */
enum rb_status rb_learn_units_init(struct rb_learn_units *ret, const struct rb_config *c,
                                   struct rb_motion *motion, bool scales, bool orders,
                                   struct rb_error *err) RB_MUST_CHECK;
void rb_learn_units_deinit(struct rb_learn_units *u);

/* Scores and assignment at the start, into a layer's parameters: what stands there is 0. */
void rb_learn_units_start(const struct rb_learn_units *u, uint32_t layer, double *x);
/* Parameters of a layer to what the motion reads; solve: Z's best assignment is taken first, into
 * x. As rb_assignment_solve. */
enum rb_status rb_learn_units_value(struct rb_learn_units *u, uint32_t layer, double *x, bool solve,
                                    struct rb_worker *w, struct rb_error *err) RB_MUST_CHECK;

/* dx += what slots [first, first + count) say: rows of theta and h, (n, columns), of a matrix or
 * bias (columns 1) that makes units; of down (columns, n) its columns. room: (count, n). */
void rb_learn_units_fold(const struct rb_learn_units *u, uint32_t layer, enum rb_unit_part part,
                         size_t first, size_t count, const float *theta, const float *h,
                         size_t columns, float *room, double *dx);
/* dx of a layer as it was folded, times scale and du/dx. */
void rb_learn_units_gradient(const struct rb_learn_units *u, const double *x, double scale,
                             double *dx);

#endif
