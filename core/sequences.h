/* core/sequences.h: token sequences packed end to end, without padding, as the forward pass reads
 * them; and the draws that choose among them (METHOD 7). How they are made of text is for
 * core/text/packing.h to say. */
#ifndef RB_CORE_SEQUENCES_H
#define RB_CORE_SEQUENCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rb_sequences {
    size_t count;        /* sequences */
    size_t *starts;      /* (count + 1): sequence s is tokens [starts[s], starts[s+1]) */
    int32_t *ids;        /* (tokens) input ids */
    uint8_t *types;      /* (tokens) token type, 0 or 1 */
    uint8_t *special;    /* (tokens) 1 for what the encoder added around the text ([CLS], [SEP]) */
    int32_t *targets;    /* (tokens) the id to predict there, -1 where nothing is; else NULL */
    size_t target_count; /* predicted positions in all */
    double *labels;      /* (count) classification and regression; else NULL */
    uint64_t *rows;      /* (count) line in the file each came from, for messages; blocks: 0 */
};

static inline size_t rb_sequences_tokens(const struct rb_sequences *s)
{
    return s->count > 0 ? s->starts[s->count] : 0;
}

void rb_sequences_deinit(struct rb_sequences *s);
/* Sequences [from, to) of s, which lends all but starts: free(ret->starts) alone. false when out of
 * memory. */
bool rb_sequences_slice(const struct rb_sequences *s, size_t from, size_t to,
                        struct rb_sequences *ret);

/* METHOD 7's generator: uniform in [0, 1) for (seed, block s, position t, draw k). */
double rb_mask_uniform(uint64_t seed, uint64_t s, uint64_t t, uint64_t k);
/* METHOD 7's mask at (seed, block s, position t): the target there, -1 where nothing is predicted
 * (always where `special`); *id, the token's own id, becomes what the model reads instead. */
int32_t rb_mask_token(uint64_t seed, uint64_t s, uint64_t t, double probability, int32_t mask_id,
                      uint32_t vocab_size, bool special, int32_t *id);

/* METHOD 7's mix, for other deterministic choices. */
uint64_t rb_mix(uint64_t x);

#endif
