/* core/text/tokenizer_json.h: a tokenizer from tokenizer.json, Hugging Face's own format; private
 * to core/text.
 *
 * What loads:
 *   model           BPE that is byte-level (merges as strings or as pairs), WordPiece
 *   normalizer      null, NFC, Sequence of those; for WordPiece BertNormalizer
 *   pre_tokenizer   ByteLevel; Sequence of Split (a known pattern), Digits and, last, ByteLevel;
 * for WordPiece BertPreTokenizer post_processor  null, ByteLevel, RobertaProcessing,
 * BertProcessing, TemplateProcessing, Sequence added_tokens    with all their flags decoder,
 * truncation and padding are not looked at. Everything else is refused by name: what stands there
 * may change ids. */
#ifndef RB_CORE_TEXT_TOKENIZER_JSON_H
#define RB_CORE_TEXT_TOKENIZER_JSON_H

#include "core/text/bpe.h"
#include "core/text/tokenizer_settings.h"

/* path: the file. RB_ENOTFOUND, RB_EIO, RB_ENOMEM; RB_EVOCAB naming the member, what was found
 * there and what is expected. */
enum rb_status rb_tokenizer_json_open(const char *path,
                                      const struct rb_tokenizer_settings *settings,
                                      struct rb_tokenizer **ret,
                                      struct rb_error *err) RB_MUST_CHECK;

/* A model's {token: id}, named `member` in messages. RB_EVOCAB for ids that are no small integers
 * or come twice, RB_ENOMEM. */
enum rb_status rb_vocabulary_from_json(struct rb_vocabulary *v, const char *label,
                                       const char *member, json_t *tokens,
                                       struct rb_error *err) RB_MUST_CHECK;

/* Reads a large JSON object, as both vocab.json and tokenizer.json are. */
enum rb_status rb_tokenizer_json_read(const char *path, json_t **ret,
                                      struct rb_error *err) RB_MUST_CHECK;

#endif
