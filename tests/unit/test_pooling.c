// LINK: core_align
/* What a sequence's rows become, against the definition: every pooling, with special tokens and
 * without, where they stand first, last, in the middle, everywhere. */
#include "unit/numbers.h"

#include "core/align/pooling.h"

enum { TOKENS = 11, SEQUENCES = 4, WIDTH = 5 };

static const size_t starts[SEQUENCES + 1] = {0, 4, 5, 8, TOKENS};
static const uint8_t special[TOKENS] = {1, 0, 0, 1, /**/ 0, /**/ 1, 1, 1, /**/ 0, 1, 0};

/* The value of unit j of a sequence's only row: METHOD 2, word for word. */
static double pooled(enum rb_pooling pooling, bool with_special, const float *x, size_t s, size_t j)
{
    double sum = 0, largest = -INFINITY, first = NAN;
    size_t n = 0;
    for (size_t t = starts[s]; t < starts[s + 1]; t++) {
        if (special[t] && !with_special)
            continue;
        double v = (double)x[t * WIDTH + j];
        first = n == 0 ? v : first;
        largest = v > largest ? v : largest;
        sum += v;
        n++;
    }
    return pooling == RB_POOL_MEAN ? sum / (double)n : pooling == RB_POOL_MAX ? largest : first;
}

static size_t kept_of(size_t s, bool with_special)
{
    size_t n = 0;
    for (size_t t = starts[s]; t < starts[s + 1]; t++)
        n += with_special || !special[t];
    return n;
}

static void check(enum rb_pooling pooling, bool with_special, const float *x)
{
    const struct rb_sequences sequences = {.starts = (size_t *)(uintptr_t)starts,
                                           .special = (uint8_t *)(uintptr_t)special,
                                           .count = SEQUENCES};
    struct rb_pool_rows rows;
    struct rb_error err;
    MUST(rb_pool_rows_init(&rows, &sequences, pooling, with_special, &err), &err);
    for (size_t s = 0; s < SEQUENCES; s++) {
        float found[TOKENS * WIDTH];
        size_t kept = kept_of(s, with_special), row = 0;
        size_t expected = pooling == RB_POOL_TOKEN ? kept : kept > 0;
        assert_int_equal(rb_pool_rows_between(&rows, s, s + 1), expected);
        if (expected == 0)
            continue;
        rb_pool_sequence(&rows, s, x + starts[s] * WIDTH, WIDTH, found);
        if (pooling != RB_POOL_TOKEN) {
            for (size_t j = 0; j < WIDTH; j++)
                assert_true(fabs((double)found[j] - pooled(pooling, with_special, x, s, j)) < 1e-6);
            continue;
        }
        for (size_t t = starts[s]; t < starts[s + 1]; t++)
            if (with_special || !special[t])
                assert_memory_equal(found + row++ * WIDTH, x + t * WIDTH, WIDTH * sizeof *x);
    }
    rb_pool_rows_deinit(&rows);
}

static void test_poolings(void **state)
{
    (void)state;
    static const enum rb_pooling poolings[] = {RB_POOL_TOKEN, RB_POOL_MEAN, RB_POOL_MAX,
                                               RB_POOL_CLS};
    uint64_t seed = 3;
    float x[TOKENS * WIDTH];
    for (size_t i = 0; i < COUNT(x); i++)
        x[i] = (float)random_normal(&seed);
    for (size_t p = 0; p < COUNT(poolings); p++)
        for (int with_special = 0; with_special < 2; with_special++)
            check(poolings[p], with_special, x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_poolings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
