/* tests/unit/odd_shapes.h: one small model per way in which a BERT checkpoint can differ. */
#ifndef RB_TESTS_ODD_SHAPES_H
#define RB_TESTS_ODD_SHAPES_H

#include "unit/random_model.h"

#define SIZES(h, l, n, i, t, c)                                                                    \
    .hidden = (h), .layers = (l), .heads = (n), .intermediate = (i), .types = (t), .labels = (c),  \
    .vocab = 83, .positions = 24
#define MLM .head = RB_HEAD_MLM, .dtype = RB_F32

static const struct random_shape odd_shapes[] = {
    {.name = "plain", SIZES(32, 2, 4, 64, 2, 2), MLM},
    {.name = "one head", SIZES(20, 2, 1, 33, 2, 2), MLM},
    {.name = "twelve heads", SIZES(60, 1, 12, 70, 2, 2), MLM},
    {.name = "hidden 42, three layers", SIZES(42, 3, 6, 50, 2, 2), MLM},
    {.name = "one layer", SIZES(32, 1, 2, 48, 2, 2), MLM},
    {.name = "narrow FF", SIZES(40, 2, 4, 11, 2, 2), MLM},
    {.name = "heads = hidden", SIZES(16, 2, 16, 30, 2, 2), MLM},
    {.name = "one token type", SIZES(24, 1, 3, 30, 1, 2), MLM},
    {.name = "bare names, no head",
     SIZES(32, 2, 4, 64, 2, 2),
     .bare = true,
     .head = RB_HEAD_NONE,
     .dtype = RB_F32},
    {.name = "gamma and beta", SIZES(32, 2, 4, 40, 2, 2), .gamma_beta = true, MLM},
    {.name = "untied decoder", SIZES(32, 2, 4, 40, 2, 2), .decoder = DECODER_UNTIED, MLM},
    {.name = "copied decoder", SIZES(32, 2, 4, 40, 2, 2), .decoder = DECODER_COPIED, MLM},
    {.name = "pretraining", SIZES(32, 2, 4, 40, 2, 2), .pretraining = true, .buffers = true, MLM},
    {.name = "F16", SIZES(32, 2, 4, 40, 2, 2), .head = RB_HEAD_MLM, .dtype = RB_F16},
    {.name = "BF16", SIZES(32, 2, 4, 40, 2, 2), .head = RB_HEAD_MLM, .dtype = RB_BF16},
    {.name = "F64", SIZES(32, 2, 4, 40, 2, 2), .head = RB_HEAD_MLM, .dtype = RB_F64},
    {.name = "classifier", SIZES(32, 2, 4, 40, 2, 3), .head = RB_HEAD_CLASSIFIER, .dtype = RB_F32},
    {.name = "regression, bare, F16",
     SIZES(32, 1, 4, 40, 2, 1),
     .bare = true,
     .head = RB_HEAD_CLASSIFIER,
     .dtype = RB_F16},
};

#undef SIZES
#undef MLM

#endif
