/* core/learn/learn_internal.h: what learn*.c share, and tests of them. */
#ifndef RB_CORE_LEARN_LEARN_INTERNAL_H
#define RB_CORE_LEARN_LEARN_INTERNAL_H

#include "core/learn/batch.h"
#include "core/learn/learn_head.h"
#include "core/learn/look.h"
#include "core/learn/maps.h"
#include "core/learn/tape.h"
#include "core/program.h"

/* What a layer's slot says to the maps. */
struct rb_wanted {
    enum rb_slot slot;
    bool vector;            /* a bias or a norm's: its gradient is a sum over tokens */
    int norm;               /* which of rb_tape_call's dnorms; -1: none of a norm */
    bool gain;              /* of a norm: moves by squares */
    bool reads, writes;     /* the stream, whose map is learned */
    int kind;               /* the matrix inside heads that moves it, -1: none */
    bool head_columns;      /* the heads are its columns */
    bool units;             /* learned FF units are its rows (or columns) … */
    enum rb_unit_part part; /* … and this is how they move it */
    size_t out, in;         /* in 1 for a vector */
    float *h;               /* (out, in) dL/dtheta; NULL with rows */
    float *rows; /* (tokens, hidden_size): only the stream's map asks, and it needs no dL/dtheta
                  * (learn_fold.h); NULL */
    bool joins;  /* its rows are added to those of an earlier map that reads the same */
};
enum { WANTED_MOST = 20 };

enum rb_learn_round {
    ROUND_START,
    ROUND_MAPS,
    ROUND_EMBED,
    ROUND_LAYER,
    ROUND_HIDDEN,
    ROUND_LOGITS,
    ROUND_SOFTMAX,
    ROUND_LOGITS_BACK,
    ROUND_HIDDEN_BACK,
    ROUND_HEAD_FOLD,
    ROUND_BACK,
    ROUND_GRADIENT,
    ROUND_FOLD,
    ROUND_EMBED_BACK, /* near-equivalent maps only */
    ROUND_EMBED_FOLD,
    ROUND_UPDATE,
    ROUND_PROJECT,
    ROUND_DONE
};

struct rb_learn {
    struct rb_program program;
    struct rb_learn_options options;
    struct rb_learn_text text;
    const struct rb_model *model; /* says sizes: B */
    const struct rb_config *config;
    struct rb_blend theta, moved; /* the path's point; B alone, moved */
    struct rb_learn_maps maps;
    struct rb_rotary rotary, back;

    struct rb_learn_batch batch;
    size_t step_blocks;
    double lambda;
    size_t held_first; /* blocks of the present look that are through */
    double held_sum;
    size_t held_rows;

    float
        *x; /* (layers + 1, tokens, hidden_size): the input of each layer, the last one's output */
    float *dx;       /* (tokens, hidden_size) */
    float *embedded; /* (tokens, hidden_size): moved B's embeddings; only with a residual map */
    /* Near-equivalent maps: norms on the stream's way (METHOD 11). */
    bool near;
    float *summed; /* (tokens, embedding_size): theta's embeddings before their norm; where E is not
                    * hidden_size, after it */
    double *dnorms; /* (spans, 4, hidden_size) gradients of norms, by span */
    float *gains;   /* (2 L + 1, hidden_size) B's own, by tap of the stream */
    struct rb_tape tape;
    struct rb_weights weights[3]; /* theta's of two layers in turns, [layer % 2]; on the way back
                                     moved B's in turns there, and theta's in [2] */
    struct rb_weights head_weights, moved_head;
    const float *head_slots[RB_SLOT_COUNT];
    struct rb_learn_head head;
    struct rb_wanted wanted[WANTED_MOST];
    size_t wanted_count;
    float *gradients; /* what wanted[].h and .rows point into */

    enum rb_learn_round round;
    uint32_t layer;
    bool looking; /* the present pass is a look at the held part */
    bool ended;
    /* what a run continues from */
    uint32_t step, best_step, looks_since_best;
    double best_held, last_loss, sum_since_look;
    uint32_t steps_since_look;
    struct rb_learn_look *looks;
    size_t look_count, look_capacity;
    double *best; /* (maps.parameters) */
};

static inline size_t rb_learn_tokens(const struct rb_learn *c)
{
    return c->batch.s.count * c->batch.block_size;
}

#endif
