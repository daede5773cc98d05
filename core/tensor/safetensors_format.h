/* core/tensor/safetensors_format.h: what reader and writer share; private to core/tensor. */
#ifndef RB_CORE_TENSOR_SAFETENSORS_FORMAT_H
#define RB_CORE_TENSOR_SAFETENSORS_FORMAT_H

#include <stdint.h>

/* The file begins with the header's length, little-endian. */
enum { RB_ST_LENGTH_BYTES = 8 };

static inline uint64_t rb_st_length_get(const unsigned char *bytes)
{
    uint64_t n = 0;
    for (int i = RB_ST_LENGTH_BYTES - 1; i >= 0; i--)
        n = n << 8 | bytes[i];
    return n;
}

static inline void rb_st_length_put(unsigned char *bytes, uint64_t n)
{
    for (int i = 0; i < RB_ST_LENGTH_BYTES; i++)
        bytes[i] = (unsigned char)(n >> (8 * i));
}

#endif
