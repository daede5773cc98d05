/* core/text/tokenizer.h: text -> token ids, id for id what Hugging Face's fast tokenizers give. The
 * kinds stand behind operations (tokenizer_ops.h): WordPiece (wordpiece.h), byte-level BPE (bpe.h).
 */
#ifndef RB_CORE_TEXT_TOKENIZER_H
#define RB_CORE_TEXT_TOKENIZER_H

#include "core/status.h"

#include <stdint.h>

struct rb_tokenizer; /* immutable once made: any thread may use it */

void rb_tokenizer_free(struct rb_tokenizer *t); /* t may be NULL */
/* The end of opening one: with status RB_OK gives t into *ret, else frees it. Returns status. */
enum rb_status rb_tokenizer_give(struct rb_tokenizer *t, enum rb_status status,
                                 struct rb_tokenizer **ret);

/* The names of all files that a tokenizer may have in a checkpoint folder, whether this kind reads
 * them or not; NULL at the end. Who copies a checkpoint takes those that are there. */
extern const char *const rb_tokenizer_files[];

/* "wordpiece", "bpe" */
const char *rb_tokenizer_kind(const struct rb_tokenizer *t);
/* One more than the largest id. */
size_t rb_tokenizer_vocab_size(const struct rb_tokenizer *t);
/* As the vocabulary has it; NULL if no token has that id. */
const char *rb_tokenizer_token(const struct rb_tokenizer *t, int32_t id);

/* A growing array of ids; zero-initialise, free ids with free(). */
struct rb_ids {
    int32_t *ids;
    size_t count, capacity;
};

/* Room for `more` ids behind those that are there; false when out of memory. */
bool rb_ids_reserve(struct rb_ids *ids, size_t more);

/* A text's bytes, at most. */
enum { RB_TEXT_BYTES = 1 << 30 };

/* Appends the ids of text (UTF-8; invalid bytes count as U+FFFD), without what a sequence is
 * wrapped in. On failure (RB_ENOMEM; RB_EDATASET for a text that is too long) ids are as they were.
 */
enum rb_status rb_tokenizer_encode(const struct rb_tokenizer *t, const char *text, size_t bytes,
                                   struct rb_ids *ids, struct rb_error *err) RB_MUST_CHECK;

/* The parts that a token can play. */
enum rb_special {
    RB_SPECIAL_UNK,
    RB_SPECIAL_SEP,
    RB_SPECIAL_PAD,
    RB_SPECIAL_CLS,
    RB_SPECIAL_MASK,
    RB_SPECIAL_BOS,
    RB_SPECIAL_EOS,
    RB_SPECIAL_COUNT
};
extern const char *const rb_special_names[RB_SPECIAL_COUNT]; /* "unk_token" … */

/* The id of the token that plays it, -1 if none does. */
int32_t rb_tokenizer_special(const struct rb_tokenizer *t, enum rb_special part);
/* Token `id` plays this part if none did: what a model's config.json says where the tokenizer's
 * files are silent. id: below rb_tokenizer_vocab_size, or nothing happens. */
void rb_tokenizer_default_special(struct rb_tokenizer *t, enum rb_special part, uint32_t id);
/* Does this token play any of them, or is a text wrapped in it? Such are never predicted by the MLM
 * task (METHOD 7). */
bool rb_tokenizer_is_special(const struct rb_tokenizer *t, int32_t id);

/* What one text, or a pair, is wrapped in: prefix a suffix, or prefix a between b suffix. */
struct rb_template {
    struct rb_template_part {
        size_t count;
        int32_t ids[8];
        uint8_t types[8]; /* token types, 0 or 1 */
    } prefix, between, suffix;
    uint8_t types[2]; /* of a's and of b's tokens */
};
enum { RB_TEMPLATE_PART_IDS = 8 };

/* Tokens that the template adds. */
static inline size_t rb_template_tokens(const struct rb_template *t)
{
    return t->prefix.count + t->between.count + t->suffix.count;
}

/* Borrowed from t. */
const struct rb_template *rb_tokenizer_template(const struct rb_tokenizer *t, bool pair);

/* Do A's tokenizer and B's do the same, whatever files they came from? RB_EMODELS naming the first
 * token or rule that differs. */
enum rb_status rb_tokenizer_equal(const struct rb_tokenizer *a, const struct rb_tokenizer *b,
                                  struct rb_error *err) RB_MUST_CHECK;

#endif
