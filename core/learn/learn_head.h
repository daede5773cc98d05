/* core/learn/learn_head.h: from the last layer's output to the loss and back: the final norm, a
 * head's hidden layer, the logits and the cross-entropy (METHOD 7 and 9).
 *
 * DESIGN. Only rows that predict something are there. Logits are made for a chunk of rows over the
 * whole vocabulary, turned into their own gradient in place, and used twice: times the output
 * weight and times moved B's, for the stream's map (learn_fold.h). Rounds, in this order:
 *
 *     hidden -> (logits -> softmax -> back) per chunk -> hidden back -> fold
 */
#ifndef RB_CORE_LEARN_LEARN_HEAD_H
#define RB_CORE_LEARN_LEARN_HEAD_H

#include "core/model/head.h"
#include "core/sequences.h"

struct rb_learn_head {
    const struct rb_model *model; /* says shapes; borrowed */
    const float *const *w;        /* by slot: theta's; borrowed, set by the owner each step */
    size_t rows, row_capacity;
    uint32_t *tokens; /* (rows) which token each row belongs to */
    int32_t *targets; /* (rows) */
    size_t width, outputs, chunk_rows, chunk_first, chunk_count;
    bool want_output;   /* dmoved is asked for … */
    const float *moved; /* … (outputs, width), an output weight in the place of the head's;
                         * borrowed, set by the owner each step */
    float *x, *normed, *before,
        *after;     /* (rows, d), (rows, d), (rows, width) around the activation */
    float *z, *dz;  /* (rows, width) what the output weight reads */
    float *logits;  /* (chunk_rows, outputs) */
    float *dmoved;  /* (rows, width), with want_output: dlogits times `moved` */
    double *losses; /* (rows), and behind them dshift */
    double *dshift; /* (groups, hidden_size) of the final norm's bias */
    float *block;
};

/* For at most `rows` rows. RB_EHEAD when the model predicts no tokens; RB_ENOMEM. The caller owns
 * *ret.
 */
enum rb_status rb_learn_head_init(struct rb_learn_head *ret, const struct rb_model *m, size_t rows,
                                  bool want_output, struct rb_error *err) RB_MUST_CHECK;
void rb_learn_head_deinit(struct rb_learn_head *h);
uint64_t rb_learn_head_bytes(const struct rb_model *m, size_t rows, bool want_output);

/* The slots whose weights a head needs, the output's last; how many (at most 8). */
size_t rb_learn_head_slots(const struct rb_model *m, enum rb_slot ret[8]);

/* A step's rows: tokens of s with a target. */
void rb_learn_head_begin(struct rb_learn_head *h, const struct rb_sequences *s);

/* Rounds and their items; x (tokens, hidden_size) is the last layer's output, dx its gradient. */
size_t rb_learn_head_hidden_items(const struct rb_learn_head *h);
void rb_learn_head_hidden(struct rb_learn_head *h, size_t item, const float *x);

bool rb_learn_head_next_chunk(struct rb_learn_head *h); /* false: no rows are left */
size_t rb_learn_head_logits_items(const struct rb_learn_head *h);
void rb_learn_head_logits(struct rb_learn_head *h, size_t item);
/* In place of softmax: the student's chunk h against teachers' (count) of the same rows, whose
 * logits are there: h->losses become KL(p || q), p the softmax of the mean of the teachers' logits;
 * crosses (rows) the cross-entropy of the targets. The teachers' logits are overwritten. */
void rb_learn_head_distil(struct rb_learn_head *h, struct rb_learn_head *const *teachers,
                          size_t count, double *crosses, size_t item);
size_t rb_learn_head_softmax_items(const struct rb_learn_head *h);
void rb_learn_head_softmax(struct rb_learn_head *h, size_t item);
size_t rb_learn_head_back_items(const struct rb_learn_head *h);
void rb_learn_head_back(struct rb_learn_head *h, size_t item);

/* dx's rows that predict something; the others are left alone. RB_ENOMEM. */
enum rb_status rb_learn_head_hidden_back(struct rb_learn_head *h, size_t item, float *dx,
                                         struct rb_scratch *scratch,
                                         struct rb_error *err) RB_MUST_CHECK;
/* After that round: the gradient of the final norm's bias, (hidden_size). */
void rb_learn_head_final_shift(const struct rb_learn_head *h, double *ret);

/* Mean loss of the step's rows, once all chunks are through. */
double rb_learn_head_loss(const struct rb_learn_head *h);

#endif
