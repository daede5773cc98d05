#include "core/merge/refine.h"

#include <math.h>
#include <string.h>

static bool all_known(const struct rb_refine_curve *curves, size_t curve_count, const bool *members,
                      size_t count)
{
    for (size_t c = 0; c < curve_count; c++)
        for (size_t i = 0; i < count; i++)
            if (members[i] && !curves[c].known[i])
                return false;
    return true;
}

/* The member that lies highest above the line from `first` at 0 to `last` at 1. */
static size_t highest(const double *lambdas, size_t count, const double *losses,
                      const bool *members, double first, double last)
{
    size_t at = 0;
    double top = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        double over = losses[i] - (1 - lambdas[i]) * first - lambdas[i] * last;
        if (members[i] && over > top) {
            top = over;
            at = i;
        }
    }
    return at;
}

static void add_around(size_t at, size_t distance, size_t count, bool *members)
{
    if (at >= distance)
        members[at - distance] = true;
    if (at + distance < count)
        members[at + distance] = true;
}

/* All maxima are found before any midpoint is added: a new member has no loss yet. */
static void add_midpoints(const double *lambdas, size_t count, const struct rb_refine_curve *curve,
                          const bool *members, size_t distance, bool *ret)
{
    double first = curve->losses[0], last = curve->losses[count - 1], mean = (first + last) / 2;
    add_around(highest(lambdas, count, curve->losses, members, first, last), distance, count, ret);
    add_around(highest(lambdas, count, curve->losses, members, mean, mean), distance, count, ret);
}

bool rb_refine(const double *lambdas, size_t count, const struct rb_refine_curve *curves,
               size_t curve_count, bool *ret_members)
{
    bool next[RB_REFINE_POINTS];
    memset(ret_members, 0, count * sizeof *ret_members);
    for (size_t i = 0; i < count; i += RB_REFINE_STEP)
        ret_members[i] = true;
    for (size_t distance = RB_REFINE_STEP / 2; all_known(curves, curve_count, ret_members, count);
         distance /= 2) {
        if (distance == 0)
            return true;
        memcpy(next, ret_members, count * sizeof *next);
        for (size_t c = 0; c < curve_count; c++)
            add_midpoints(lambdas, count, &curves[c], ret_members, distance, next);
        memcpy(ret_members, next, count * sizeof *next);
    }
    return false;
}
