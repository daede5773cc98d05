/* core/align/alignment.h: how B is moved: one permutation group per part of the model, with its
 * score, head assignment and rotations; the certificate; and what the correlations looked like. */
#ifndef RB_CORE_ALIGN_ALIGNMENT_H
#define RB_CORE_ALIGN_ALIGNMENT_H

#include "core/align/moments.h"
#include "core/model/blend.h"

enum { RB_HISTOGRAM_BINS = 40, RB_HEATMAP_SIZE = 128 };

/* A distribution of correlations over the d units of a group. */
struct rb_distribution {
    double mean;
    double quantiles[5];                   /* 5, 25, 50, 75, 95 % */
    uint64_t histogram[RB_HISTOGRAM_BINS]; /* equal bins over [-1, 1]; the last one closed */
};

enum rb_verdict { RB_VERDICT_STRONG, RB_VERDICT_WEAK, RB_VERDICT_NONE };
extern const char *const rb_verdict_names[]; /* "strong", "weak", "none" */

/* Did alignment have something to hold on to? */
struct rb_correlations {
    struct rb_distribution matched;        /* C[i, p[i]] */
    struct rb_distribution identity;       /* C[i, i] */
    struct rb_distribution best_unmatched; /* max over j != p[i] of C[i, j] */
    double weak_share;                     /* units with matched correlation < 0.1 */
    enum rb_verdict verdict;
    uint32_t heatmap_size; /* min(d, RB_HEATMAP_SIZE) */
    float *heatmap_before; /* (size, size) block means of C[i, j] */
    float *heatmap_after;  /* (size, size) block means of C[i, p[j]] */
};

/* One group of units and its map (core/model/map.h). Which parts are there says the map's kind:
 * "index" (with signs or without), "blocks" (matrices inside heads after it), "dense". */
struct rb_group {
    char name[32]; /* "layer.0.ff", "layer.0.mha", "layer.0.qk", "residual", "residual.3", "head",
                    * "embedding" */
    enum rb_axis axis; /* RB_AXIS_FF, _V (heads), _Q (queries and keys), _RES_FIRST (every residual
                        * group), _TRANSFORM, _POOLER, _EMBEDDING */
    uint32_t layer;    /* of residual groups under "separate": the tap's index */
    uint32_t size;
    uint32_t *index;     /* (size) unit index[i] of B is matched to unit i of A */
    float *signs;        /* (size) 1 or -1 for unit i; NULL: none changes sign */
    uint32_t head_count; /* query heads; 0 without heads */
    uint32_t kv_count;   /* key-value heads; head_count unless queries are grouped */
    uint32_t *heads;     /* (head_count) head heads[i] of B is matched to head i of A */
    uint32_t *kv_heads;  /* (kv_count) the same of key-value heads; only where grouped … */
    uint32_t *values;    /* … (kv_count * d_h) and the order of value units */
    double score;        /* sum of the similarity over matched pairs; of a dense map tr(O^T M) */
    double mean_correlation; /* of matched pairs; the correlation whatever the similarity */
    /* Inside heads: (kv_count, d_h, d_h) row-major, NULL when not turned. */
    float *rotation;         /* R of queries (keys: its inverse transposed), for _Q and _V … */
    float *rotation_inverse; /* … R^-T; NULL: R is orthogonal, and this is R itself */
    float *value_rotation;   /* S of values and the attention output, and likewise */
    float *value_inverse;
    float *matrix; /* (size, size) O of a stream that turns; the index is then 0, 1, 2, … */
    struct rb_correlations correlations;
};

enum rb_map_kind rb_group_kind(const struct rb_group *g);
void rb_group_deinit(struct rb_group *g);

struct rb_certificate {
    bool present;    /* a job that moves B always has one */
    bool equivalent; /* measured: within tolerance */
    bool expected;   /* false for heads "ignore" and residual "separate" */
    double max_abs_logit_difference;
    double tolerance;
    uint32_t sequences;
};

/* What learning did to the maps after they were matched (core/learn). */
struct rb_learned_facts {
    uint32_t steps;                 /* that were taken; 0: nothing was learned */
    uint32_t best_step;             /* whose maps were kept */
    double held_before, held_after; /* loss at lambda = 1/2 on text held out; NaN: none was */
};

struct rb_alignment {
    struct rb_align_options options;
    struct rb_group
        *groups; /* in the order of METHOD's tables: per layer ff, mha, qk; residual; head */
    size_t group_count;
    uint64_t tokens; /* rows the moments came from */
    struct rb_certificate certificate;
    struct rb_learned_facts learned;
};

/* An alignment without groups: plain averaging. */
enum rb_status rb_alignment_empty(const struct rb_align_options *o, struct rb_alignment **ret,
                                  struct rb_error *err) RB_MUST_CHECK;
void rb_alignment_free(struct rb_alignment *a); /* a may be NULL */
const struct rb_group *rb_alignment_find(const struct rb_alignment *a, const char *name);

/* Does the moved B compute B's function by construction? */
bool rb_alignment_preserves(const struct rb_align_options *o);
/* Will b, moved so, have a decoder that is no longer its word embeddings? */
bool rb_alignment_unties(const struct rb_model *b, const struct rb_align_options *o);

/* Solves every assignment of METHOD 4 from the moments; a program. Borrows moments until freed.
 * RB_EMODELS when the moments lack a tap or are of another size than the model; RB_ENOMEM. */
enum rb_status rb_solve_new(const struct rb_config *c, enum rb_head head,
                            const struct rb_moments *moments, const struct rb_align_options *o,
                            struct rb_program **ret, struct rb_error *err) RB_MUST_CHECK;
/* Gives a solving program both models as they were collected (motions: their folds, or NULL),
 * before its first round: it reads their weights where `match` says so. Borrowed until freed. */
void rb_solve_models(struct rb_program *p, const struct rb_blend_term *a,
                     const struct rb_blend_term *b);
/* After it has finished: the caller owns the alignment. */
struct rb_alignment *rb_solve_take(struct rb_program *p);
/* Its total_cost before there are moments; 0 without memory. */
double rb_solve_cost(const struct rb_config *c, enum rb_head head,
                     const struct rb_align_options *o);

/* What the forward pass and the writer need of an alignment: a map per axis. Borrows from a.
 * *ret must be deinitialised with rb_motion_deinit. RB_EMODELS if a does not fit the model. */
enum rb_status rb_alignment_motion(const struct rb_alignment *a, const struct rb_model *b,
                                   struct rb_motion *ret, struct rb_error *err) RB_MUST_CHECK;

/* Compares moved B with B on probe sequences; a program. rb_certify_result is valid after it.
 * The program ends with RB_ENUMERIC, naming the first logit, if one of either side is not finite:
 * no certificate has an infinite difference or tolerance. */
enum rb_status rb_certify_new(const struct rb_model *b, const struct rb_alignment *a,
                              struct rb_program **ret, struct rb_error *err) RB_MUST_CHECK;
/* Before the first round: B is folded before it moves, and A is another model too: both are
 * compared with what they were, and the certificate is of both. Borrowed until freed. RB_ENOMEM. */
enum rb_status rb_certify_fold(struct rb_program *p, const struct rb_model *a,
                               const struct rb_fold *fold_a, const struct rb_fold *fold_b,
                               struct rb_error *err) RB_MUST_CHECK;
struct rb_certificate rb_certify_result(const struct rb_program *p);
/* Its total_cost; 0 without memory. */
double rb_certify_cost(const struct rb_model *b);

/* alignment.safetensors: index vectors and head assignments as I32, rotations and heat maps as F32,
 * all else as JSON in __metadata__. Loading checks everything: each index a permutation, sizes,
 * names. RB_ESAFETENSORS, RB_EIO, RB_ENOMEM, RB_EDISKFULL. */
enum rb_status rb_alignment_save(const struct rb_alignment *a, const char *path,
                                 struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_alignment_load(const char *path, struct rb_alignment **ret,
                                 struct rb_error *err) RB_MUST_CHECK;

#endif
