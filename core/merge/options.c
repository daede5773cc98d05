#include "core/merge/options.h"

const char *const rb_task_names[] = {"mlm", "classification", "regression", "clm", NULL};
const char *const rb_merge_method_names[] = {"linear", "least_squares", NULL};
const char *const rb_metric_names[] = {"pseudo_perplexity", "perplexity", "accuracy", "f1",
                                       "matthews",          "pearson",    "spearman", NULL};
