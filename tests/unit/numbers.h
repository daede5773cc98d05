/* tests/unit/numbers.h: the tests' own source of numbers, the same on every run, and comparisons
 * that say by how much they failed. */
#ifndef RB_TESTS_NUMBERS_H
#define RB_TESTS_NUMBERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* xorshift64*: Marsaglia 2003, Vigna 2014. Any state but 0. */
static inline uint64_t random_bits(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

static inline double random_uniform(uint64_t *state, double low, double high)
{
    return low + (high - low) * ((double)(random_bits(state) >> 11) * 0x1p-53);
}

static inline size_t random_index(uint64_t *state, size_t n)
{
    return (size_t)(random_uniform(state, 0, 1) * (double)n);
}

/* Mean 0, deviation 1: a sum of 12 uniforms. */
static inline double random_normal(uint64_t *state)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += random_uniform(state, 0, 1);
    return sum;
}

static inline void random_permutation(uint64_t *state, uint32_t *index, size_t n)
{
    for (size_t i = 0; i < n; i++)
        index[i] = (uint32_t)i;
    for (size_t i = n; i > 1; i--) {
        size_t j = random_index(state, i);
        uint32_t t = index[i - 1];
        index[i - 1] = index[j];
        index[j] = t;
    }
}

static inline void *must_alloc(size_t count, size_t size)
{
    void *p = calloc(count + 1, size);
    assert_non_null(p);
    return p;
}

/* |found - expected| <= tolerance; NaN never is. */
static inline void assert_near(const char *what, double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%s: %.17g, expected %.17g within %g", what, found, expected, tolerance);
}

static inline void assert_text_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

/* For a call that must succeed; e is the struct rb_error it fills. */
#define MUST(call, e)                                                                              \
    do {                                                                                           \
        if ((call) != RB_OK)                                                                       \
            fail_msg("%s:%d: %s: %s", __FILE__, __LINE__, #call, (e)->detail);                     \
    } while (0)

#endif
