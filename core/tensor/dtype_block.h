/* core/tensor/dtype_block.h: the loop around an element conversion; private to core/tensor. */
#ifndef RB_CORE_TENSOR_DTYPE_BLOCK_H
#define RB_CORE_TENSOR_DTYPE_BLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Defines void name(src, dst, n) that applies element() to n elements of any alignment. A block
 * has a fixed number of elements so that compilers vectorise it at -O2 already. */
enum { RB_BLOCK = 16 };
#define RB_BLOCKWISE(name, in_type, out_type, element)                                             \
    void name(const void *src, void *dst, size_t n)                                                \
    {                                                                                              \
        const unsigned char *from = src;                                                           \
        unsigned char *to = dst;                                                                   \
        in_type in[RB_BLOCK];                                                                      \
        out_type out[RB_BLOCK];                                                                    \
        for (; n >= RB_BLOCK; n -= RB_BLOCK, from += sizeof in, to += sizeof out) {                \
            memcpy(in, from, sizeof in);                                                           \
            for (int i = 0; i < RB_BLOCK; i++)                                                     \
                out[i] = element(in[i]);                                                           \
            memcpy(to, out, sizeof out);                                                           \
        }                                                                                          \
        for (; n > 0; n--, from += sizeof in[0], to += sizeof out[0]) {                            \
            memcpy(in, from, sizeof in[0]);                                                        \
            out[0] = element(in[0]);                                                               \
            memcpy(to, out, sizeof out[0]);                                                        \
        }                                                                                          \
    }

#endif
