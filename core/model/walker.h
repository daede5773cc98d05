/* core/model/walker.h: some models over a slab of sequences, in rounds: embeddings, then layer
 * after layer. One walker serves features (core/align/collect.c listens at the taps), losses
 * (core/merge/evaluate.c) and the certificate (core/align/certify.c): they differ in what they take
 * and when weights are brought to F32.
 *
 * DESIGN. An item of a round is one model over one span of sequences; both models of a pair take
 * part in the same round. Weights of the next layer are items too: beside the present layer's
 * (ahead: two layers of each model are in F32 then), or whenever the owner calls
 * rb_walker_prepare, whose items it runs in a round of its own. What a head needs comes along with
 * the last layer. */
#ifndef RB_CORE_MODEL_WALKER_H
#define RB_CORE_MODEL_WALKER_H

#include "core/model/head.h"
#include "core/model/layer.h"

/* Where an item is: model `side` over sequences of span `span`, in a layer. */
struct rb_visit {
    size_t side, span;
    uint32_t layer;
};

/* Called in the item's thread around a layer over one span; either may be NULL. Errors end the
 * item. before: x (tokens, hidden_size) is the layer's input; the owner says in the call where it
 * wants features, and may end the layer after its MLP's activation. after: x is the layer's output.
 */
struct rb_walker_taps {
    void *owner;
    enum rb_status (*before)(void *owner, const struct rb_visit *at, const float *x,
                             struct rb_layer_call *call, struct rb_scratch *scratch,
                             struct rb_error *err);
    enum rb_status (*after)(void *owner, const struct rb_visit *at, const float *x,
                            const struct rb_layer_taps *taps, struct rb_scratch *scratch,
                            struct rb_error *err);
};

struct rb_walker_options {
    enum rb_reads reads; /* RB_READ_ALL with taps */
    bool with_head;      /* the head's hidden layer is brought to F32 too */
    bool ahead;
    bool keep_basis; /* the embeddings' norm's output is kept: struct rb_walker_side's basis */
    bool whole;      /* x is kept for all sequences: rb_walker_resume */
    struct rb_walker_taps taps;
};

struct rb_walker_side {
    const struct rb_blend *blend; /* borrowed */
    float *x;                     /* (slab tokens, hidden_size); whole: of all tokens */
    float *basis;                 /* (slab tokens, embedding_size), with keep_basis */
    struct rb_weights weights[2]; /* ahead: layer l lives in weights[l % 2]; else in weights[0] */
    struct rb_weights head;       /* ready when the rounds are over */
};

struct rb_walker {
    struct rb_walker_side *sides;
    size_t side_count;
    const struct rb_config *config; /* of all sides */
    const struct rb_sequences *sequences;
    struct rb_rotary rotary; /* tables as far as the longest sequence reaches */
    struct rb_walker_options options;

    size_t from, to; /* sequences of the slab */
    size_t *spans;   /* (span_count + 1) */
    size_t span_count, span_capacity;
    size_t token_capacity;
    uint32_t layer;    /* of the present round; 0 also while embedding */
    bool embedding;    /* or, after resuming, before the layer that is next */
    uint32_t *rows;    /* tokens read, relative to their span, span after span */
    size_t *first_row; /* (span_count + 1) where a span's begin in rows */
};

/* Zero-initialise the struct first. blends: (count) of equal models. RB_ENOMEM. */
enum rb_status rb_walker_init(struct rb_walker *w, const struct rb_blend *blends, size_t count,
                              const struct rb_sequences *sequences,
                              const struct rb_walker_options *o,
                              struct rb_error *err) RB_MUST_CHECK;
void rb_walker_deinit(struct rb_walker *w);

/* Begins the slab of sequences [from, to) with its first round. RB_ENOMEM. */
enum rb_status rb_walker_begin(struct rb_walker *w, size_t from, size_t to, size_t *ret_items,
                               struct rb_error *err) RB_MUST_CHECK;
/* Begins a slab that has been walked before, as far as `layer` >= 1, whose input is still in x: the
 * last slab walked, or with `whole` any one. Its first round is that layer's weights; without
 * `ahead` only. 0 items where they are used in place: rb_walker_next all the same. RB_ENOMEM. */
enum rb_status rb_walker_resume(struct rb_walker *w, size_t from, size_t to, uint32_t layer,
                                size_t *ret_items, struct rb_error *err) RB_MUST_CHECK;
/* The next round; 0 items when the last layer's output is there. */
enum rb_status rb_walker_next(struct rb_walker *w, size_t *ret_items,
                              struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_walker_item(struct rb_walker *w, size_t item, struct rb_scratch *scratch,
                              struct rb_error *err) RB_MUST_CHECK;
double rb_walker_item_cost(const struct rb_walker *w, size_t item);

/* Without `ahead`: between two rounds, the weights of the layer that comes next (0 items after the
 * last). The items must have run before rb_walker_next. RB_ENOMEM. */
enum rb_status rb_walker_prepare(struct rb_walker *w, size_t *ret_items,
                                 struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_walker_prepare_item(struct rb_walker *w, size_t item, struct rb_scratch *scratch,
                                      struct rb_error *err) RB_MUST_CHECK;

/* The token that RB_READ_LAST reads: the sequence's last one that is not padding_token, however it
 * came there; its first if all are. An index into the tokens of s. */
size_t rb_walker_last_token(const struct rb_config *c, const struct rb_sequences *s,
                            size_t sequence);
struct rb_span rb_walker_span(const struct rb_walker *w, size_t span);
/* Where a span's rows lie in a buffer of the slab with `columns` floats per token. */
size_t rb_walker_offset(const struct rb_walker *w, size_t span, size_t columns);

/* Rows read in the whole slab, and where each lies after the last round (hidden_size floats);
 * span is the one that row i belongs to. */
size_t rb_walker_rows(const struct rb_walker *w);
const float *rb_walker_row(const struct rb_walker *w, size_t side, size_t span, size_t i);

/* Useful flops of one model over sequences [from, to), last layer's savings counted. */
double rb_walker_flops(const struct rb_config *c, const struct rb_sequences *s, enum rb_reads reads,
                       size_t from, size_t to);

#endif
