#include "core/learn/checksum.h"
#include "core/sequences.h"

#include <string.h>

uint64_t rb_learn_checksum(const void *bytes, size_t count, uint64_t sum)
{
    for (size_t i = 0; i < count; i += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, (const char *)bytes + i, count - i < sizeof word ? count - i : sizeof word);
        sum = rb_mix(sum ^ word);
    }
    return rb_mix(sum ^ count);
}
