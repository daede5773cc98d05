/* tests/unit/decoder_shapes.h: one small model per way in which a decoder's checkpoint can differ.
 */
#ifndef RB_TESTS_DECODER_SHAPES_H
#define RB_TESTS_DECODER_SHAPES_H

#include "unit/random_decoder.h"

#define SIZES(h, l, n, kv, dh, i)                                                                  \
    .hidden = (h), .layers = (l), .heads = (n), .kv_heads = (kv), .head_dim = (dh), .inner = (i),  \
    .vocab = 83, .positions = 40, .dtype = RB_F32

static const struct decoder_shape decoder_shapes[] = {
    {"gpt2", GPT2, SIZES(32, 2, 4, 4, 8, 128), .tied = true},
    {"gpt2, scaled by layer, copied head", GPT2, SIZES(36, 3, 6, 6, 6, 50), .tied = true,
     .copied = true, .by_layer = true, .buffers = true},
    {"gpt2, unscaled, untied, bare", GPT2, SIZES(20, 2, 1, 1, 20, 33), .unscaled = true,
     .bare = true, .buffers = true},
    {"gpt2 classifier", GPT2, SIZES(32, 1, 4, 4, 8, 40), .labels = 3, .tied = true},
    {"neox", NEOX, SIZES(32, 2, 4, 4, 8, 48), .rotary = 2, .parallel = true, .biases = true,
     .buffers = true},
    {"neox, serial, half a head turns", NEOX, SIZES(42, 2, 3, 3, 14, 30), .rotary = 8,
     .biases = true},
    {"neox, parallel, without attention bias, newer", NEOX, SIZES(24, 2, 2, 2, 12, 30), .rotary = 6,
     .parallel = true, .newer = true},
    {"neox, tied, bare", NEOX, SIZES(32, 2, 4, 4, 8, 40), .rotary = 4, .parallel = true,
     .biases = true, .tied = true, .bare = true},
    {"neox classifier", NEOX, SIZES(32, 1, 4, 4, 8, 40), .rotary = 8, .labels = 2, .parallel = true,
     .biases = true},
    {"llama", LLAMA, SIZES(32, 2, 4, 2, 8, 48), .rotary = 8},
    {"llama, one key-value head, three queries", LLAMA, SIZES(30, 2, 3, 1, 10, 41), .rotary = 10,
     .biases = true},
    {"llama, head_dim of its own", LLAMA, SIZES(28, 2, 6, 3, 12, 37), .rotary = 12, .newer = true},
    {"llama, tied, one layer", LLAMA, SIZES(26, 1, 2, 2, 14, 60), .rotary = 14, .tied = true},
    {"llama3 scaling", LLAMA, SIZES(32, 2, 4, 2, 16, 40), .rotary = 16, .llama3 = true,
     .buffers = true},
    {"llama3 scaling, newer", LLAMA, SIZES(32, 1, 2, 1, 16, 40), .rotary = 16, .llama3 = true,
     .newer = true},
    {"llama classifier, bare", LLAMA, SIZES(32, 2, 4, 2, 8, 40), .rotary = 8, .labels = 3,
     .bare = true},
    {"llama regression", LLAMA, SIZES(32, 1, 4, 1, 8, 40), .rotary = 8, .labels = 1},
    {"qwen2, tied, copied head", QWEN2, SIZES(32, 2, 4, 2, 8, 40), .rotary = 8, .tied = true,
     .copied = true},
    {"qwen2, untied", QWEN2, SIZES(40, 2, 5, 1, 8, 51), .rotary = 8},
    {"olmo2", OLMO2, SIZES(32, 2, 4, 2, 8, 40), .rotary = 8},
    {"olmo2, biases, newer", OLMO2, SIZES(33, 2, 3, 3, 10, 29), .rotary = 10, .biases = true,
     .newer = true},
};

#undef SIZES

#endif
