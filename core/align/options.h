/* core/align/options.h: the choices of an alignment (METHOD 2-4), and their names on the wire. */
#ifndef RB_CORE_ALIGN_OPTIONS_H
#define RB_CORE_ALIGN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rb_component {
    RB_COMPONENT_FF = 1,
    RB_COMPONENT_MHA = 2,
    RB_COMPONENT_RESIDUAL = 4,
    RB_COMPONENT_EMBEDDING = 8, /* where the embeddings are narrower than the stream: METHOD 9 */
    RB_COMPONENT_ALL = 15,
};
enum rb_heads { RB_HEADS_PERMUTE, RB_HEADS_MONOTONIC, RB_HEADS_IGNORE };
enum rb_residual { RB_RESIDUAL_FIRST, RB_RESIDUAL_LAST, RB_RESIDUAL_ALL, RB_RESIDUAL_SEPARATE };
enum rb_decoder { RB_DECODER_TIED, RB_DECODER_UNTIED };
enum rb_similarity { RB_CORRELATION, RB_COVARIANCE, RB_DOT };
enum rb_pooling { RB_POOL_TOKEN, RB_POOL_CLS, RB_POOL_MEAN, RB_POOL_MAX };
enum rb_match { RB_MATCH_ACTIVATIONS, RB_MATCH_WEIGHTS, RB_MATCH_BOTH };
enum rb_residual_map { RB_RESIDUAL_MAP_PERMUTATION, RB_RESIDUAL_MAP_ORTHOGONAL };
/* May the moved model be another function? METHOD 10's near-equivalence: a stream that turns though
 * norms stand after the additions. */
enum rb_equivalence { RB_EQUIVALENCE_EXACT, RB_EQUIVALENCE_NEAR };
/* Invertible maps start as orthogonal ones; learning stretches them (METHOD 10 and 11). */
enum rb_head_map { RB_HEAD_MAP_PERMUTATION, RB_HEAD_MAP_ORTHOGONAL, RB_HEAD_MAP_INVERTIBLE };

/* Of several models: what each is aligned to (METHOD 13). */
enum rb_reference { RB_REFERENCE_ANCHOR, RB_REFERENCE_UNIVERSE };

/* Names on the wire, in enum order, NULL-terminated; components in bit order. */
extern const char *const rb_component_names[];    /* "ff", "mha", "residual", "embedding" */
extern const char *const rb_heads_names[];        /* "permute", "monotonic", "ignore" */
extern const char *const rb_residual_names[];     /* "first", "last", "all", "separate" */
extern const char *const rb_decoder_names[];      /* "tied", "untied" */
extern const char *const rb_similarity_names[];   /* "correlation", "covariance", "dot" */
extern const char *const rb_pooling_names[];      /* "token", "cls", "mean", "max" */
extern const char *const rb_match_names[];        /* "activations", "weights", "both" */
extern const char *const rb_residual_map_names[]; /* "permutation", "orthogonal" */
extern const char *const rb_equivalence_names[];  /* "exact", "near" */
extern const char *const rb_head_map_names[];     /* "permutation", "orthogonal", "invertible" */
extern const char *const rb_reference_names[];    /* "anchor", "universe" */

enum { RB_ALIGN_ROUNDS_MOST = 20 };

struct rb_align_options {
    unsigned components; /* of enum rb_component; 0: plain averaging */
    enum rb_heads heads;
    bool separate_qk;
    bool rotate_heads;
    enum rb_residual residual;
    enum rb_decoder decoder;
    bool output_head;
    enum rb_similarity similarity;
    bool absolute;
    enum rb_pooling pooling;
    bool special_tokens;
    enum rb_match match; /* what maps are made from; see `rounds` */
    enum rb_residual_map residual_map;
    bool fold;         /* norms folded into the maps behind them: METHOD 10 */
    bool signed_units; /* units may change sign: METHOD 9's `signed` */
    enum rb_head_map head_map;
    enum rb_equivalence equivalence;
    /* FF, heads, then the stream's orthogonal map, so often. In the first FF and heads go by
     * activations, `match` says from what the stream's map is made; in each later one FF and heads
     * go by `match` too, under that map. Where the stream does not turn: 1, and FF and heads go by
     * `match` under the stream's permutation. */
    uint32_t rounds; /* 1 … RB_ALIGN_ROUNDS_MOST */
};

/* What is asked for inside heads: rotate_heads is another word for "orthogonal". */
enum rb_head_map rb_align_head_map(const struct rb_align_options *o);
/* Is the moved model B only nearly, by construction? */
bool rb_align_is_near(const struct rb_align_options *o);
/* Are norms folded? Asked for, or needed by a stream that turns exactly. */
bool rb_align_folds(const struct rb_align_options *o);
/* Is the stream moved by an orthogonal map? */
bool rb_align_turns_stream(const struct rb_align_options *o);

/* ff+mha, permute, last, tied, correlation, token, special tokens counted. */
void rb_align_options_default(struct rb_align_options *o);

#endif
