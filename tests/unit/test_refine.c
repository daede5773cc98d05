// LINK: core_merge
/* Which lambdas are evaluated where only the barrier is asked for, against the whole grid. */
#include "core/merge/barrier.h"
#include "core/merge/refine.h"

#include "core/merge/curve.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { N = RB_REFINE_POINTS };

static double lambdas[N];

struct curve {
    double losses[N]; /* of all; read only where known */
    bool known[N];
};

/* Evaluates what is asked for, in an order that seed chooses, and at random points besides; returns
 * how many were asked for. */
static size_t walk(struct curve *curves, size_t count, bool *members, unsigned seed)
{
    struct rb_refine_curve views[2];
    size_t asked = 0;
    for (size_t c = 0; c < count; c++)
        views[c] = (struct rb_refine_curve){curves[c].losses, curves[c].known};
    for (int round = 0; !rb_refine(lambdas, N, views, count, members); round++) {
        assert_true(round < 100);
        for (size_t k = 0; k < N; k++) {
            size_t i = (k * 8 + seed) % N;
            for (size_t c = 0; c < count; c++)
                if (members[i] && !curves[c].known[i] && (seed % 3 != 0 || k % 2 == 0 || round > 8))
                    curves[c].known[i] = true;
        }
    }
    for (size_t i = 0; i < N; i++)
        asked += members[i];
    return asked;
}

static void fill(struct curve *c, double top, double height, double tilt)
{
    memset(c->known, 0, sizeof c->known);
    for (size_t i = 0; i < N; i++) {
        double x = lambdas[i] < top ? lambdas[i] / top : (1 - lambdas[i]) / (1 - top);
        c->losses[i] = 2 + tilt * lambdas[i] + height * x * x * (3 - 2 * x);
    }
}

/* A hump anywhere: both barriers are those of all 21 points. */
static void the_same_barrier_as_the_whole_grid(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 500; round++) {
        struct curve curves[2];
        bool members[N];
        double top = 0.03 + 0.94 * (double)(round % 100) / 99;
        fill(&curves[0], top, 3, 0.5);
        fill(&curves[1], 1 - top, 4, -0.2);
        size_t asked = walk(curves, 1 + round % 2, members, round);
        assert_true(asked >= 6 && asked <= 6 + 8 * (1 + round % 2));
        for (size_t c = 0; c < 1 + round % 2; c++) {
            struct rb_point all[N], some[N];
            struct rb_barrier whole, found;
            size_t n = 0;
            for (size_t i = 0; i < N; i++) {
                all[i] = (struct rb_point){.lambda = lambdas[i], .loss = curves[c].losses[i]};
                if (members[i])
                    some[n++] = all[i];
            }
            rb_barrier_compute(all, N, &whole);
            rb_barrier_compute(some, n, &found);
            assert_true(found.chord == whole.chord && found.chord_lambda == whole.chord_lambda);
            assert_true(found.mean == whole.mean && found.mean_lambda == whole.mean_lambda);
        }
    }
}

/* The order in which points become known, as after a restart, changes nothing. */
static void restarts_choose_the_same(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 50; round++) {
        bool first[N], other[N];
        for (unsigned seed = 0; seed < 12; seed++) {
            struct curve curves[2];
            fill(&curves[0], 0.1 + 0.016 * round, 3, 0.5);
            fill(&curves[1], 0.9 - 0.016 * round, 3, 0);
            (void)walk(curves, 2, seed == 0 ? first : other, seed);
            if (seed > 0)
                assert_memory_equal(first, other, sizeof first);
        }
    }
}

static void a_usual_hump_takes_ten(void **state)
{
    (void)state;
    struct curve c;
    bool members[N];
    fill(&c, 0.5, 3, 0);
    assert_int_equal(walk(&c, 1, members, 0), RB_REFINE_EXPECTED);
}

int main(void)
{
    for (size_t i = 0; i < N; i++)
        lambdas[i] = (double)i / (N - 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_barrier_as_the_whole_grid),
        cmocka_unit_test(restarts_choose_the_same),
        cmocka_unit_test(a_usual_hump_takes_ten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
