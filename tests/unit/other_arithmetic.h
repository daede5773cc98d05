/* tests/unit/other_arithmetic.h: a saved state as another build, library or machine would have
 * written it: whole, with a right checksum, and of no use here. */
#ifndef RB_TESTS_OTHER_ARITHMETIC_H
#define RB_TESTS_OTHER_ARITHMETIC_H

#include "core/learn/arithmetic.h"
#include "core/learn/checksum.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { ARITHMETIC_AT = 8 }; /* behind the magic */

static inline void state_reseal(unsigned char *state, size_t bytes)
{
    uint64_t sum = rb_learn_checksum(state, bytes - sizeof sum, 0);
    memcpy(state + bytes - sizeof sum, &sum, sizeof sum);
}

/* Of another arithmetic, and back. */
static inline void state_set_arithmetic(unsigned char *state, size_t bytes, bool other)
{
    char words[RB_LEARN_ARITHMETIC_SIZE] = {0};
    rb_learn_arithmetic(words);
    if (other) {
        memset(words, 0, sizeof words);
        (void)snprintf(words, sizeof words, "arithmetic 0, kernels of another machine");
    }
    memcpy(state + ARITHMETIC_AT, words, sizeof words);
    state_reseal(state, bytes);
}

/* With the number that an older build had at the end of its magic, and back. */
static inline void state_set_format(unsigned char *state, size_t bytes, bool older)
{
    state[ARITHMETIC_AT - 1] = (unsigned char)(state[ARITHMETIC_AT - 1] + (older ? -1 : 1));
    state_reseal(state, bytes);
}

#endif
