#include "core/merge/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

double rb_accuracy(const uint32_t *predicted, const uint32_t *truth, size_t n)
{
    size_t right = 0;
    for (size_t i = 0; i < n; i++)
        right += predicted[i] == truth[i];
    return (double)right / (double)n;
}

static double f1_of(const uint32_t *predicted, const uint32_t *truth, size_t n, uint32_t class)
{
    size_t both = 0, either = 0;
    for (size_t i = 0; i < n; i++) {
        both += predicted[i] == class && truth[i] == class;
        either += (size_t)(predicted[i] == class) + (truth[i] == class);
    }
    return either > 0 ? 2 * (double)both / (double)either : 0;
}

double rb_f1(const uint32_t *predicted, const uint32_t *truth, size_t n, uint32_t classes)
{
    if (classes == 2)
        return f1_of(predicted, truth, n, 1);
    double sum = 0;
    for (uint32_t c = 0; c < classes; c++)
        sum += f1_of(predicted, truth, n, c) / classes;
    return sum;
}

double rb_matthews(const uint32_t *predicted, const uint32_t *truth, size_t n, uint32_t classes)
{
    double *p = calloc(classes, sizeof *p), *t = calloc(classes, sizeof *t);
    double right = 0, pt = 0, pp = 0, tt = 0, s = (double)n, result = (double)NAN;
    if (p != NULL && t != NULL) {
        for (size_t i = 0; i < n; i++) {
            p[predicted[i]]++;
            t[truth[i]]++;
            right += predicted[i] == truth[i];
        }
        for (uint32_t c = 0; c < classes; c++) {
            pt += p[c] * t[c];
            pp += p[c] * p[c];
            tt += t[c] * t[c];
        }
        double scale = sqrt((s * s - pp) * (s * s - tt));
        result = scale > 0 ? (right * s - pt) / scale : 0;
    }
    free(p);
    free(t);
    return result;
}

/* Asked exactly: the mean of equal numbers is not always that number. */
static bool constant(const double *x, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (x[i] < x[0] || x[i] > x[0])
            return false;
    return true;
}

double rb_pearson(const double *x, const double *y, size_t n)
{
    double mx = 0, my = 0, xy = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        xy += (x[i] - mx) * (y[i] - my);
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
    }
    bool defined = !constant(x, n) && !constant(y, n) && xx > 0 && yy > 0;
    return defined ? xy / sqrt(xx * yy) : (double)NAN;
}

struct ranked {
    double value;
    size_t at;
};

static int compare(const void *x, const void *y)
{
    const struct ranked *a = x, *b = y;
    return (a->value > b->value) - (a->value < b->value);
}

static double *ranks(const double *x, size_t n)
{
    struct ranked *order = calloc(n + 1, sizeof *order);
    double *rank = calloc(n + 1, sizeof *rank);
    if (order == NULL || rank == NULL) {
        free(order);
        free(rank);
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        order[i] = (struct ranked){x[i], i};
    qsort(order, n, sizeof *order, compare);
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && !(order[j].value > order[i].value); j++)
            ;
        for (size_t k = i; k < j; k++)
            rank[order[k].at] = (double)(i + j - 1) / 2;
    }
    free(order);
    return rank;
}

double rb_spearman(const double *x, const double *y, size_t n)
{
    double *rx = ranks(x, n), *ry = ranks(y, n), result = (double)NAN;
    if (rx != NULL && ry != NULL)
        result = rb_pearson(rx, ry, n);
    free(rx);
    free(ry);
    return result;
}
