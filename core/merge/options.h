/* core/merge/options.h: what is measured along the path (METHOD 6 and 7), and its names. */
#ifndef RB_CORE_MERGE_OPTIONS_H
#define RB_CORE_MERGE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rb_task { RB_TASK_MLM, RB_TASK_CLASSIFICATION, RB_TASK_REGRESSION, RB_TASK_CLM };
extern const char *const rb_task_names[]; /* "mlm", "classification", "regression", "clm" */

/* Does it read rows with labels? The others cut running text into blocks. */
static inline bool rb_task_has_labels(enum rb_task task)
{
    return task == RB_TASK_CLASSIFICATION || task == RB_TASK_REGRESSION;
}

enum rb_metric {
    RB_PSEUDO_PERPLEXITY, /* mlm */
    RB_PERPLEXITY,        /* clm */
    RB_ACCURACY,
    RB_F1,
    RB_MATTHEWS,
    RB_PEARSON,
    RB_SPEARMAN,
    RB_METRIC_COUNT
};
/* "pseudo_perplexity", "perplexity", "accuracy", "f1", "matthews", "pearson", "spearman" */
extern const char *const rb_metric_names[];

/* How what is written of a merge is made (METHOD 12). */
enum rb_merge_method { RB_METHOD_LINEAR, RB_METHOD_LEAST_SQUARES };
extern const char *const rb_merge_method_names[]; /* "linear", "least_squares" */

struct rb_evaluate_options {
    enum rb_task task;
    uint32_t block_size; /* mlm, clm */
    uint32_t max_blocks; /* mlm, clm; 0: all */
    double precision; /* mlm, clm; nats: the standard error wanted of the barrier; 0: all blocks */
    double mask_probability; /* mlm */
    uint64_t seed;           /* mlm */
    uint32_t max_length;     /* classification, regression */
    uint32_t max_examples;   /* 0: all */
    enum rb_metric metric;   /* the one asked for; others of the task come along */
    bool control;
};

#endif
