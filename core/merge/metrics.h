/* core/merge/metrics.h: what is reported beside the loss (METHOD 7). All in F64. */
#ifndef RB_CORE_MERGE_METRICS_H
#define RB_CORE_MERGE_METRICS_H

#include "core/status.h"

#include <stdint.h>

/* n examples, classes below `classes`. */
double rb_accuracy(const uint32_t *predicted, const uint32_t *truth, size_t n);
/* Two classes: F1 of class 1; more: the mean of each class's F1. A class that occurs nowhere counts
 * 0. */
double rb_f1(const uint32_t *predicted, const uint32_t *truth, size_t n, uint32_t classes);
/* Matthews correlation (R_K for more than two classes); 0 when either side is constant, as
 * scikit-learn. NaN when out of memory. */
double rb_matthews(const uint32_t *predicted, const uint32_t *truth, size_t n, uint32_t classes);
/* NaN when either side is constant. */
double rb_pearson(const double *x, const double *y, size_t n);
/* Pearson of the ranks, ties at their mean rank. NaN when either side is constant or out of memory.
 */
double rb_spearman(const double *x, const double *y, size_t n);

#endif
