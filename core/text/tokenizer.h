/* core/text/tokenizer.h: BERT's tokenizer: clean-up, NFD accent stripping, lower case, CJK and
 * punctuation splitting, then WordPiece by greedy longest match. Equal, id for id, to Hugging
 * Face's BertTokenizerFast, special tokens written in the text included. */
#ifndef RB_CORE_TEXT_TOKENIZER_H
#define RB_CORE_TEXT_TOKENIZER_H

#include "core/status.h"

#include <stdint.h>

struct rb_tokenizer; /* immutable once made: any thread may use it */

struct rb_tokenizer_options {
    bool do_lower_case;          /* default true */
    int strip_accents;           /* -1: as do_lower_case (null in tokenizer_config.json), 0, 1 */
    bool tokenize_chinese_chars; /* default true */
    const char *unk_token, *sep_token, *pad_token, *cls_token, *mask_token; /* "[UNK]" … */
};

void rb_tokenizer_options_default(struct rb_tokenizer_options *o);

/* From vocab.txt's bytes, borrowed for the call: one token a line, the first has id 0. `label`
 * names it in errors. RB_EVOCAB (empty, duplicate token, missing special token, not UTF-8, a NUL
 * byte, a line over 1 kB, over 64 MB in all), RB_ENOMEM. */
enum rb_status rb_tokenizer_new(const char *label, const char *vocab, size_t vocab_bytes,
                                const struct rb_tokenizer_options *options,
                                struct rb_tokenizer **ret, struct rb_error *err) RB_MUST_CHECK;
/* From a checkpoint folder: vocab.txt, and tokenizer_config.json (at most 1 MB) if there is one, of
 * which the members of rb_tokenizer_options are read: a token may be a string or an object with
 * "content". RB_ENOTFOUND, RB_EIO, RB_ENOMEM, RB_EVOCAB naming the file and the member. */
enum rb_status rb_tokenizer_open(const char *folder, struct rb_tokenizer **ret,
                                 struct rb_error *err) RB_MUST_CHECK;
void rb_tokenizer_free(struct rb_tokenizer *t); /* t may be NULL */

/* A growing array of ids; zero-initialise, free ids with free(). */
struct rb_ids {
    int32_t *ids;
    size_t count, capacity;
};

/* Appends the ids of text (UTF-8; invalid bytes count as U+FFFD), without [CLS] and [SEP]. */
enum rb_status rb_tokenizer_encode(const struct rb_tokenizer *t, const char *text, size_t bytes,
                                   struct rb_ids *ids, struct rb_error *err) RB_MUST_CHECK;

size_t rb_tokenizer_vocab_size(const struct rb_tokenizer *t);
/* NULL if id is out of range. */
const char *rb_tokenizer_token(const struct rb_tokenizer *t, int32_t id);
int32_t rb_tokenizer_cls(const struct rb_tokenizer *t);
int32_t rb_tokenizer_sep(const struct rb_tokenizer *t);
int32_t rb_tokenizer_mask(const struct rb_tokenizer *t);
/* One of unk, sep, pad, cls, mask: never predicted by the MLM task (METHOD 7). */
bool rb_tokenizer_is_special(const struct rb_tokenizer *t, int32_t id);
/* RB_EMODELS naming the first line that differs, or the option that differs. */
enum rb_status rb_tokenizer_equal(const struct rb_tokenizer *a, const struct rb_tokenizer *b,
                                  struct rb_error *err) RB_MUST_CHECK;

#endif
