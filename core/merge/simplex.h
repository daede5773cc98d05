/* core/merge/simplex.h: where the loss of a blend of several models is looked at (METHOD 13):
 * weight vectors, and their barriers. A point is `models` weights that are not negative and sum to
 * 1; the first `models` points are the vertices, in order: each model alone. */
#ifndef RB_CORE_MERGE_SIMPLEX_H
#define RB_CORE_MERGE_SIMPLEX_H

#include "core/merge/curve.h"
#include "core/status.h"

enum rb_simplex_grid {
    RB_SIMPLEX_LISTED,   /* the weights are given one by one */
    RB_SIMPLEX_WHOLE,    /* vertices, edges' midpoints, centroid; of three models with points > 0 a
                          * triangular grid of that many a side */
    RB_SIMPLEX_CENTROID, /* points from each vertex to the centroid, and the centroid */
};
extern const char *const rb_simplex_names[]; /* "listed", "simplex", "centroid" */

/* How many points that makes; a number beyond any use where it overflows. models >= 2, points 0 (of
 * RB_SIMPLEX_WHOLE only) or >= 2, both ends counted. */
size_t rb_simplex_count(enum rb_simplex_grid grid, size_t models, size_t points);
/* Fills ret (rb_simplex_count, models). Not for RB_SIMPLEX_LISTED. */
void rb_simplex_fill(enum rb_simplex_grid grid, size_t models, size_t points, double *ret);

/* Are these weights: none negative, sum 1 to within 1e-9? */
bool rb_simplex_valid(const double *weights, size_t models);
/* The same point, to within 1e-12. */
bool rb_simplex_equal(const double *x, const double *y, size_t models);

/* ret_barriers (count): L(w) - sum of w_m L(vertex m); of the vertices 0. Returns the index of the
 * highest, the first of equals. points (count), the vertices first; weights (count, models). */
size_t rb_simplex_barriers(const struct rb_point *points, size_t count, const double *weights,
                           size_t models, double *ret_barriers);

#endif
