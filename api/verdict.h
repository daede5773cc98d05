/* api/verdict.h: what a job's curve says about merging, in one of five answers: everywhere the
 * same, made in one place. Pure. */
#ifndef RB_API_VERDICT_H
#define RB_API_VERDICT_H

#include "api/encode.h"
#include "api/job_spec.h"
#include "core/merge/chance.h"
#include "core/merge/curve.h"

enum rb_merge_verdict_kind {
    RB_MERGE_NONE, /* nothing is known: null */
    RB_MERGE_BETTER,
    RB_MERGE_BETWEEN,
    RB_MERGE_WORSE,
    RB_MERGE_CHANCE,
    RB_MERGE_DIFFERENT,
    RB_MERGE_COUNT
};
/* "none", "better than both", "between", "worse than both", "no better than chance", "not the same
 * function": in enum order, NULL-terminated; "none" never goes over the wire. */
extern const char *const rb_merge_verdict_names[];

/* What the certificate says of moved B. */
enum rb_sameness {
    RB_SAME_UNKNOWN, /* nothing was moved, or nobody looked */
    RB_SAME_EXACT,
    RB_SAME_NEAR,
    RB_SAME_DIFFERENT,
};

/* How the checkpoints that the job writes are made (METHOD 12): the curve and the verdict are of
 * the straight path, and of them only where they are points of it. */
enum rb_written {
    RB_WRITTEN_LINEAR,
    RB_WRITTEN_SOLVED,
    RB_WRITTEN_TUNED,
    RB_WRITTEN_BOTH,
    RB_WRITTEN_COUNT
};
/* "linear", "least_squares", "finetuned", "least_squares, finetuned" */
extern const char *const rb_written_names[];

/* NaN where not known. */
struct rb_merge_verdict {
    enum rb_merge_verdict_kind kind;
    enum rb_written written;
    bool near; /* B was moved nearly, not exactly */
    /* Of the best point between the ends: that of least loss. Of three models or more lambda is the
     * point's number, above 1, and the parents are the best and the worst of all. */
    double lambda, loss, metric;
    double midpoint_loss;  /* at lambda 1/2, whether or not that is the best point */
    double parent_loss[2]; /* of A, and of B as evaluated: moved, where near as it was */
    double parent_metric[2];
    enum rb_metric metric_name; /* what metric and parent_metric are */
    struct rb_chance chance;
};
struct rb_merge_verdict rb_merge_verdict_none(void);

/* The index of the point between the ends that has the least loss; 0 if there is none. */
size_t rb_merge_best(const struct rb_point *points, size_t count);
/* The same of three models or more, whose first points are the models. */
size_t rb_merge_best_of(const struct rb_point *points, size_t count, size_t models);

/* METHOD 13. points: (count) of the aligned curve, whole, ascending in lambda; without a point
 * between the ends there is no answer but RB_MERGE_DIFFERENT, which needs no curve. chance: NULL
 * where it is not known. parent_errors: standard errors of the best point's loss less each
 * parent's, paired; NULL or NaN where not known: then what is above rounding (1e-5 of the loss)
 * counts. */
void rb_merge_verdict_make(const struct rb_point *points, size_t count, enum rb_task task,
                           enum rb_metric metric, const struct rb_chance *chance,
                           const double parent_errors[2], enum rb_sameness same,
                           struct rb_merge_verdict *ret);

/* The same of three models or more: points' numbers are their lambdas, the first `models` are the
 * parents; parent_errors (models). The names speak of "both" where all are meant. */
void rb_merge_verdict_several(const struct rb_point *points, size_t count, size_t models,
                              enum rb_task task, enum rb_metric metric,
                              const struct rb_chance *chance, const double *parent_errors,
                              enum rb_sameness same, struct rb_merge_verdict *ret);

/* Is it a merge whose numbers may be held against others'? Not if B's function was lost. */
static inline bool rb_merge_verdict_ranks(const struct rb_merge_verdict *v)
{
    return v->kind != RB_MERGE_DIFFERENT;
}

/* The few words that tables show: the name; where the best point lies beside an end (lambda below
 * 1/4 or above 3/4) that too, as in "between, beside B": it is that parent rather than a merge. ""
 * for RB_MERGE_NONE. Returns ret. */
enum { RB_MERGE_LABEL_SIZE = 48 };
char *rb_merge_verdict_label(const struct rb_merge_verdict *v, char ret[RB_MERGE_LABEL_SIZE]);

/* {"text","label","sentence","written" (where it is not
 * linear),"best_lambda","loss","midpoint_loss","metric":{"name","value"},
 * "parents":[{"loss","metric"},{"loss","metric"}],"chance","chance_accuracy"}; null for
 * RB_MERGE_NONE. spec as for the sentence. */
void rb_merge_verdict_encode(struct rb_json *w, const char *key, const struct rb_merge_verdict *v,
                             const struct rb_job_spec *spec);

/* The answer in words, with its numbers; "" for RB_MERGE_NONE. spec: the job's, which names the
 * weights of three models or more ("the average of all three", "0.5 gpt2-a + 0.5 gpt2-b"); not
 * needed of two; NULL: they are told by their number. Returns ret. */
enum { RB_MERGE_SENTENCE_SIZE = 800 };
char *rb_merge_verdict_sentence(const struct rb_merge_verdict *v, const struct rb_job_spec *spec,
                                char ret[RB_MERGE_SENTENCE_SIZE]);

#endif
