/* core/learn/maps.h: the maps of B that are learned, and what the gradient of a moved weight says
 * about them (METHOD 11).
 *
 * DESIGN. The maps of an alignment keep their index vectors; what is learned is the orthogonal
 * matrix F behind them (or, inside heads, an invertible one): one for the residual stream (dense),
 * one per layer and key-value head for queries and keys, and one for values. With theta a moved
 * weight and H = dL/dtheta, a map that moves theta's columns has dL/dF = F theta^T H, one that
 * moves its rows has F theta H^T: only the moved weight itself is needed, whatever was done to it
 * before. So the way back adds up G = theta^T H + theta H^T over all tensors and layers, in F32,
 * and F is applied to the sum once at the end of a step, in F64.
 *
 * Of a matrix that stretches, M^-T is not M: columns move by it, and so do keys' rows. Then
 * dL/dF = F^-T G with G = theta H^T of rows, -H^T theta of columns and -H theta^T of keys' rows. */
#ifndef RB_CORE_LEARN_MAPS_H
#define RB_CORE_LEARN_MAPS_H

#include "core/learn/head_order.h"
#include "core/learn/learned.h"
#include "core/learn/units.h"
#include "core/model/blend.h"

/* One matrix under learning. */
struct rb_learn_matrix {
    struct rb_learned f;
    float *g; /* (n, n) G of the present step */
    float
        *gains; /* (n, n) the sum of g h^T over the stream's norms, g their gains as B has them and
                   h the gradients of the moved ones, g' = (F o F)^T g: METHOD 11's near; NULL */
    size_t first; /* of its parameters in the vectors of rb_learn_maps */
};

enum rb_learn_kind { RB_LEARN_QUERY_KEY, RB_LEARN_VALUE, RB_LEARN_KINDS };

struct rb_learn_maps {
    struct rb_motion *motion; /* borrowed: B's; its maps point at the arrays here */
    uint32_t layers, heads, kv_heads, head_dim;
    bool residual, kinds[RB_LEARN_KINDS]; /* what is learned */
    struct rb_learn_matrix *matrices; /* [0] the residual's if there; then kinds by layer, head */
    size_t count;
    float *stream; /* (hidden_size, hidden_size) the residual's F */
    bool stretches;
    /* (layers): (heads or kv_heads, d_h, d_h) of each axis' map and, where it stretches, its
     * inverse transposed; the same pointers where not. */
    float **query, **key, **value, **output;
    float **query_inverse, **key_inverse, **value_inverse, **output_inverse;
    struct rb_learn_units units; /* FF's; a layer's parameters lie behind those of all matrices */
    struct rb_learn_head_order heads_order; /* behind those, likewise; with both kinds alone */
    size_t parameters;
    double *x, *dx, *m, *v; /* (parameters) and Adam's moments; one block, x owns it */
};

/* What is learned; what B's family leaves free of it is the caller's to say. */
struct rb_learn_what {
    bool residual, kinds[RB_LEARN_KINDS], stretches; /* a dense map of the stream; inside heads */
    bool scales, orders;                             /* of FF units */
    bool head_orders;                                /* only with both kinds */
};

/* Starts at the motion's own F where it has them,
 * else at the identity. The motion must outlive *ret, and its maps point into *ret from now on: its
 * F are taken over (see rb_learn_maps_value). RB_ENOMEM. */
enum rb_status rb_learn_maps_init(struct rb_learn_maps *ret, const struct rb_config *c,
                                  struct rb_motion *motion, const struct rb_learn_what *what,
                                  struct rb_error *err) RB_MUST_CHECK;
void rb_learn_maps_deinit(struct rb_learn_maps *m);

/* The heads' order of the present parameters, before their matrices are written; solve: the best
 * one by the present scores. As rb_learn_head_order_value. */
enum rb_status rb_learn_maps_order(struct rb_learn_maps *m, bool solve,
                                   struct rb_error *err) RB_MUST_CHECK;

/* Matrix i: F of the present parameters into the arrays that the motion reads. Any thread; one item
 * a matrix. RB_ENUMERIC. */
enum rb_status rb_learn_maps_value(struct rb_learn_maps *m, size_t i,
                                   struct rb_error *err) RB_MUST_CHECK;
/* The same, made exactly orthogonal (polar factor, rounded once): what is certified and saved. */
enum rb_status rb_learn_maps_project(struct rb_learn_maps *m, size_t i,
                                     struct rb_error *err) RB_MUST_CHECK;
/* The stream's norms lie on its way (near-equivalent maps): room for what their gains say.
 * RB_ENOMEM. */
enum rb_status rb_learn_maps_take_gains(struct rb_learn_maps *m,
                                        struct rb_error *err) RB_MUST_CHECK;

/* Matrix i: the gradient of its parameters from its G (and gains) times `scale`, into dx; then both
 * are 0. */
enum rb_status rb_learn_maps_gradient(struct rb_learn_maps *m, size_t i, double scale,
                                      struct rb_scratch *scratch,
                                      struct rb_error *err) RB_MUST_CHECK;

/* Items of a round over everything learned: matrices, then FF's layers, then those of the heads'
 * order. */
static inline size_t
rb_learn_maps_order_item(const struct rb_learn_maps *m) /* the first of these */
{
    return m->count + (m->units.parameters > 0 ? m->layers : 0);
}
static inline size_t rb_learn_maps_items(const struct rb_learn_maps *m)
{
    return rb_learn_maps_order_item(m) + (m->heads_order.parameters > 0 ? m->layers : 0);
}
/* The first parameter of an item, and how many. */
size_t rb_learn_maps_first(const struct rb_learn_maps *m, size_t item, size_t *ret_count);

/* The matrix of the head that stands in slot kv_head; its kind must be learned. */
struct rb_learn_matrix *rb_learn_maps_head(const struct rb_learn_maps *m, enum rb_learn_kind kind,
                                           uint32_t layer, uint32_t kv_head);

#endif
