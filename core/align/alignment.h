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
    struct rb_distribution moved;          /* of A's units with B's, all maps applied (report.h) */
    bool moved_known;                      /* not in files of old, nor of maps learned since */
    enum rb_verdict verdict;
    uint32_t heatmap_size; /* min(d, RB_HEATMAP_SIZE) */
    float *heatmap_before; /* (size, size) block means of C[i, j] */
    float *heatmap_after;  /* (size, size) block means of C[i, p[j]] */
};

/* One group of units and its map (core/model/map.h). Which parts are there says the map's kind:
 * "index" (with signs or without), "blocks" (matrices inside heads after it, or a factor of each
 * unit), "dense". */
struct rb_group {
    char name[32]; /* "layer.0.ff", "layer.0.mha", "layer.0.qk", "residual", "residual.3", "head",
                    * "embedding" */
    enum rb_axis axis; /* RB_AXIS_FF, _V (heads), _Q (queries and keys), _RES_FIRST (every residual
                        * group), _TRANSFORM, _POOLER, _EMBEDDING */
    uint32_t layer;    /* of residual groups under "separate": the tap's index */
    uint32_t size;
    uint32_t *index;     /* (size) unit index[i] of B is matched to unit i of A */
    float *signs;        /* (size) 1 or -1 for unit i; NULL: none changes sign */
    float *scales;       /* (size) a positive factor of unit i, of gated FF; NULL: all 1 */
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
    bool equivalent; /* measured: within tolerance; never where near */
    bool expected;   /* false for heads "ignore", residual "separate" and near equivalence */
    bool near;       /* moved by maps that keep the function only nearly (METHOD 10) */
    double max_abs_logit_difference;
    double tolerance;
    uint32_t sequences;
    /* Of near ones; else NaN. */
    double kl;                      /* mean KL(B || moved B) of predictions on the probes, nats */
    double top1_agreement;          /* share of predictions whose first choice is the same */
    double loss_before, loss_after; /* B's on the evaluation set; NaN until it is known */
};

enum rb_certificate_kind { RB_KIND_DIFFERENT, RB_KIND_NEAR, RB_KIND_EXACT };
extern const char *const rb_certificate_kind_names[]; /* "different", "near", "exact" */
enum rb_certificate_kind rb_certificate_kind(const struct rb_certificate *c);

/* What learning did to the maps after they were matched (core/learn). */
struct rb_learned_facts {
    uint32_t steps;                 /* that were taken; 0: nothing was learned */
    uint32_t best_step;             /* whose maps were kept */
    double held_before, held_after; /* loss at lambda = 1/2 on text held out; NaN: none was */
};

/* What one round of matching came to where the stream turns (METHOD 10, `rounds`). */
struct rb_alignment_round {
    double activations; /* tr(O^T M): the mean over the taps of how alike both streams are, -1 … 1;
                         * NaN where activations are not read */
    double weights;     /* the mean over the matrices of <A's, moved B's> / (|A's| |B's|), -1 … 1;
                         * NaN where weights are not read */
    uint32_t moved;     /* FF and head units that have another partner than a round before */
};

struct rb_alignment {
    struct rb_align_options options;
    struct rb_group
        *groups; /* in the order of METHOD's tables: per layer ff, mha, qk; residual; head */
    size_t group_count;
    uint64_t tokens; /* rows the moments came from */
    struct rb_certificate certificate;
    struct rb_learned_facts learned;
    struct rb_alignment_round *rounds; /* (round_count) NULL where the stream does not turn */
    size_t round_count;
};

/* Another round behind those that are there. RB_ENOMEM. */
enum rb_status rb_alignment_add_round(struct rb_alignment *a, const struct rb_alignment_round *r,
                                      struct rb_error *err) RB_MUST_CHECK;

/* An alignment without groups: plain averaging. */
enum rb_status rb_alignment_empty(const struct rb_align_options *o, struct rb_alignment **ret,
                                  struct rb_error *err) RB_MUST_CHECK;
void rb_alignment_free(struct rb_alignment *a); /* a may be NULL */
const struct rb_group *rb_alignment_find(const struct rb_alignment *a, const char *name);

/* Does the moved B compute B's function by construction? */
bool rb_alignment_preserves(const struct rb_align_options *o);
/* Will b, moved so, have a decoder that is no longer its word embeddings? */
bool rb_alignment_unties(const struct rb_model *b, const struct rb_align_options *o);

/* What the forward pass and the writer need of an alignment: a map per axis. Borrows from a.
 * *ret must be deinitialised with rb_motion_deinit. RB_EMODELS if a does not fit the model. */
enum rb_status rb_alignment_motion(const struct rb_alignment *a, const struct rb_model *b,
                                   struct rb_motion *ret, struct rb_error *err) RB_MUST_CHECK;

#endif
