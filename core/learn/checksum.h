/* core/learn/checksum.h: bytes to a number, for states that a run goes on from. Not against
 * somebody's will, only against accidents. */
#ifndef RB_CORE_LEARN_CHECKSUM_H
#define RB_CORE_LEARN_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Goes on from sum: what came before, or any number. */
uint64_t rb_learn_checksum(const void *bytes, size_t count, uint64_t sum);

#endif
