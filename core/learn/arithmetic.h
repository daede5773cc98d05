/* core/learn/arithmetic.h: what the bits of learning, and of merges that are made, depend on beside
 * their inputs. Saved states carry it: one of another arithmetic is begun anew, for gone on from it
 * would give bits that no run from start to end has. */
#ifndef RB_CORE_LEARN_ARITHMETIC_H
#define RB_CORE_LEARN_ARITHMETIC_H

#include "core/status.h"

/* Raised with every change to the bits of a step: of learning, least squares or fine-tuning.
 * tests/unit/test_learn.c notices one of learning that was forgotten. */
#define RB_LEARN_ARITHMETIC 1

enum { RB_LEARN_ARITHMETIC_SIZE = 128 };

/* "arithmetic 1, kernels avx2, OpenBLAS 0.3.21 Haswell, glibc 2.36, gcc 12.2.0, flags 0c1d2e3f",
 * zeros behind it: the number above, which of core/model/kernels.h run, the library's version and
 * kernel, whose logarithms, and what compiled how (it decides where products and sums are fused).
 * Never on two threads at once: OpenBLAS puts its words together in one place. */
void rb_learn_arithmetic(char ret[RB_LEARN_ARITHMETIC_SIZE]);

/* RB_OK if `found` is this process's. Else RB_EINPUT, saying what both are; `what` is the state's
 * name ("state of learning"). */
enum rb_status rb_learn_arithmetic_check(const char found[RB_LEARN_ARITHMETIC_SIZE],
                                         const char *what, struct rb_error *err) RB_MUST_CHECK;

#endif
