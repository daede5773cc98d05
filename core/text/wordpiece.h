/* core/text/wordpiece.h: BERT's tokenizer: clean-up, NFD accent stripping, lower case, CJK and
 * punctuation splitting, then WordPiece by greedy longest match. Equal, id for id, to Hugging
 * Face's BertTokenizerFast, special tokens written in the text included. One text is wrapped as
 * [CLS] a [SEP], two as [CLS] a [SEP] b [SEP] with types 0 and 1.
 *
 * In a checkpoint folder: vocab.txt, and tokenizer_config.json (at most 1 MB) if there is one, of
 * which the members of rb_wordpiece_options are read: a token may be a string or an object with
 * "content". */
#ifndef RB_CORE_TEXT_WORDPIECE_H
#define RB_CORE_TEXT_WORDPIECE_H

#include "core/text/added.h"
#include "core/text/tokenizer.h"

struct rb_wordpiece_options {
    bool do_lower_case;          /* default true */
    int strip_accents;           /* -1: as do_lower_case (null in tokenizer_config.json), 0, 1 */
    bool tokenize_chinese_chars; /* default true */
    const char *unk_token, *sep_token, *pad_token, *cls_token, *mask_token; /* "[UNK]" … */
    const struct rb_added_token *added; /* beside those five, or one of them with its flags */
    size_t added_count;
};

void rb_wordpiece_options_default(struct rb_wordpiece_options *o);

/* From vocab.txt's bytes, borrowed for the call: one token a line, the first has id 0. `label`
 * names it in errors. RB_EVOCAB (empty, duplicate token, missing special token, not UTF-8, a NUL
 * byte, a line over 1 kB, over 64 MB in all), RB_ENOMEM. */
enum rb_status rb_wordpiece_new(const char *label, const char *vocab, size_t vocab_bytes,
                                const struct rb_wordpiece_options *options,
                                struct rb_tokenizer **ret, struct rb_error *err) RB_MUST_CHECK;

/* The same from a vocabulary, which is taken (and released on failure too). */
enum rb_status rb_wordpiece_new_from(const char *label, struct rb_vocabulary *vocabulary,
                                     const struct rb_wordpiece_options *options,
                                     struct rb_tokenizer **ret, struct rb_error *err) RB_MUST_CHECK;

#endif
