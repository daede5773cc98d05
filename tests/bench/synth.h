/* tests/bench/synth.h: models and texts that cost what real ones cost. Weights are random, so
 * nothing has to be shipped; shapes, dtypes, file layout and token counts are those of real jobs,
 * and no part of the engine is faster or slower for the values. */
#ifndef TESTS_BENCH_SYNTH_H
#define TESTS_BENCH_SYNTH_H

#include "core/model/config.h"
#include "core/sequences.h"

struct synth_shape {
    uint32_t layers, hidden, heads, inner, vocab, positions;
};

extern const struct synth_shape synth_base;  /* BERT-base: 12 layers, 768 wide */
extern const struct synth_shape synth_large; /* BERT-large: 24 layers, 1024 wide */

/* The model's weights, of all tensors that are stored. */
uint64_t synth_parameters(const struct synth_shape *s);

/* Writes a BertForMaskedLM checkpoint (config.json, model.safetensors, vocab.txt) into an existing
 * folder: matrices of standard deviation 0.02 as BERT is initialised, layer norms near 1, small
 * biases. The same seed gives the same bytes. RB_EIO, RB_EDISKFULL, RB_ENOMEM. */
enum rb_status synth_model_write(const char *folder, const struct synth_shape *s, uint64_t seed,
                                 struct rb_error *err) RB_MUST_CHECK;

/* Lines as a sentence splitter leaves them: lengths log-normal with mean `mean`, 8 to `longest`
 * tokens, [CLS] and [SEP] counted; ids from all over the vocabulary, frequent ones more often. */
enum rb_status synth_lines(const struct synth_shape *s, size_t lines, double mean, size_t longest,
                           uint64_t seed, struct rb_sequences *ret,
                           struct rb_error *err) RB_MUST_CHECK;

/* MLM blocks of equal length, masked by METHOD 7's generator with probability 0.15. */
enum rb_status synth_blocks(const struct synth_shape *s, size_t blocks, size_t length,
                            uint64_t seed, struct rb_sequences *ret,
                            struct rb_error *err) RB_MUST_CHECK;

/* One line of ids per sequence, space-separated; where something is predicted "id:target". For
 * torch_pipeline.py, which then sees exactly what the engine saw. */
enum rb_status synth_sequences_write(const struct rb_sequences *s, const char *path,
                                     struct rb_error *err) RB_MUST_CHECK;

/* The same lines as text that the vocabulary of synth_model_write turns back into these ids. */
enum rb_status synth_text_write(const struct rb_sequences *s, const char *path,
                                struct rb_error *err) RB_MUST_CHECK;

#endif
