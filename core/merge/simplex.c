#include "core/merge/simplex.h"

#include <math.h>
#include <string.h>

const char *const rb_simplex_names[] = {"listed", "simplex", "centroid", NULL};

static bool is_triangle(enum rb_simplex_grid grid, size_t models, size_t points)
{
    return grid == RB_SIMPLEX_WHOLE && models == 3 && points > 0;
}

size_t rb_simplex_count(enum rb_simplex_grid grid, size_t models, size_t points)
{
    if (points > 1U << 16)
        return SIZE_MAX;
    if (is_triangle(grid, models, points))
        return points * (points + 1) / 2;
    if (grid == RB_SIMPLEX_WHOLE) /* of two models the midpoint is the centroid */
        return models == 2 ? 3 : models + models * (models - 1) / 2 + 1;
    return models * (points - 1) + 1;
}

static double *add_zeros(double **at, size_t models)
{
    double *w = *at;
    memset(w, 0, models * sizeof *w);
    *at += models;
    return w;
}

static void add_centroid(double **at, size_t models)
{
    double *w = add_zeros(at, models);
    for (size_t m = 0; m < models; m++)
        w[m] = 1 / (double)models;
}

/* All but the vertices, which are there already. */
static void add_triangle(double **at, size_t points)
{
    size_t steps = points - 1;
    for (size_t i = 0; i <= steps; i++)
        for (size_t j = 0; i + j <= steps; j++) {
            size_t k = steps - i - j;
            if (i == steps || j == steps || k == steps)
                continue;
            double *w = add_zeros(at, 3);
            w[0] = (double)k / (double)steps;
            w[1] = (double)j / (double)steps;
            w[2] = (double)i / (double)steps;
        }
}

static void add_midpoints(double **at, size_t models)
{
    for (size_t a = 0; a < models && models > 2; a++)
        for (size_t b = a + 1; b < models; b++) {
            double *w = add_zeros(at, models);
            w[a] = w[b] = 0.5;
        }
}

static void add_spokes(double **at, size_t models, size_t points)
{
    for (size_t m = 0; m < models; m++)
        for (size_t i = 1; i + 1 < points; i++) {
            double t = (double)i / (double)(points - 1), *w = add_zeros(at, models);
            for (size_t k = 0; k < models; k++)
                w[k] = t / (double)models + (k == m ? 1 - t : 0);
        }
}

void rb_simplex_fill(enum rb_simplex_grid grid, size_t models, size_t points, double *ret)
{
    for (size_t m = 0; m < models; m++)
        add_zeros(&ret, models)[m] = 1;
    if (is_triangle(grid, models, points)) {
        add_triangle(&ret, points);
        return;
    }
    if (grid == RB_SIMPLEX_WHOLE)
        add_midpoints(&ret, models);
    else
        add_spokes(&ret, models, points);
    add_centroid(&ret, models);
}

bool rb_simplex_valid(const double *weights, size_t models)
{
    double sum = 0;
    for (size_t m = 0; m < models; m++) {
        if (!(weights[m] >= 0))
            return false;
        sum += weights[m];
    }
    return fabs(sum - 1) <= 1e-9;
}

bool rb_simplex_equal(const double *x, const double *y, size_t models)
{
    for (size_t m = 0; m < models; m++)
        if (!(fabs(x[m] - y[m]) <= 1e-12))
            return false;
    return true;
}

size_t rb_simplex_barriers(const struct rb_point *points, size_t count, const double *weights,
                           size_t models, double *ret_barriers)
{
    size_t highest = 0;
    for (size_t i = 0; i < count; i++) {
        double barrier = points[i].loss;
        for (size_t m = 0; m < models; m++)
            barrier -= weights[i * models + m] * points[m].loss;
        ret_barriers[i] = i < models ? 0 : barrier;
        if (ret_barriers[i] > ret_barriers[highest])
            highest = i;
    }
    return highest;
}
