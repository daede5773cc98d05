/* core/text/tokenizer_settings.h: what stands beside a vocabulary in a checkpoint folder:
 * tokenizer_config.json, special_tokens_map.json and added_tokens.json, each if it is there;
 * private to core/text.
 *
 * A special token may be a string, an object with "content" and flags, or null. What
 * tokenizer_config.json does not name, special_tokens_map.json may, and then the defaults of the
 * tokenizer's class. */
#ifndef RB_CORE_TEXT_TOKENIZER_SETTINGS_H
#define RB_CORE_TEXT_TOKENIZER_SETTINGS_H

#include "core/text/added.h"
#include "core/text/pretokenize.h"
#include "core/text/tokenizer.h"

#include <jansson.h>

/* What transformers knows of a class that reads vocab.json and merges.txt. */
struct rb_tokenizer_class {
    const char *name;       /* tokenizer_class, without "Fast" */
    const char *model_type; /* of config.json, where no class is named */
    bool compose;
    enum rb_pre_step words;
    bool roberta; /* wrapped as <s> a </s>, <s> a </s></s> b </s> */
    const char *tokens[RB_SPECIAL_COUNT];
};

struct rb_tokenizer_settings {
    struct rb_added_token tokens[RB_SPECIAL_COUNT]; /* content NULL: not named */
    struct rb_added_token *extra; /* added_tokens_decoder and added_tokens.json, by their ids */
    size_t extra_count;
    bool do_lower_case, tokenize_chinese_chars, add_prefix_space, add_bos_token;
    int strip_accents;                      /* -1: null */
    const char *class_name;                 /* tokenizer_class; NULL: not named */
    const struct rb_tokenizer_class *class; /* NULL: none that reads vocab.json */
    json_t *files[3];                       /* which the strings belong to */
};

/* RB_EVOCAB naming file and member, RB_EIO, RB_ENOMEM. The caller owns *ret:
 * rb_tokenizer_settings_deinit. */
enum rb_status rb_tokenizer_settings_read(const char *folder, struct rb_tokenizer_settings *ret,
                                          struct rb_error *err) RB_MUST_CHECK;
void rb_tokenizer_settings_deinit(struct rb_tokenizer_settings *s);

/* The tokens that settings name as special and that are in v, but not among the `count` in tokens,
 * are put behind them; tokens has room for RB_SPECIAL_COUNT more. Returns the new count. */
size_t rb_tokenizer_settings_add_specials(const struct rb_tokenizer_settings *s,
                                          const struct rb_vocabulary *v,
                                          struct rb_added_token *tokens, size_t count);
/* Sets the special ids of t by what the settings name, or their class's defaults, of what t has. */
void rb_tokenizer_settings_set_specials(const struct rb_tokenizer_settings *s,
                                        struct rb_tokenizer *t);
/* RB_EVOCAB where an added token has another id in its file than it has in t, which counts as
 * Hugging Face's library does. */
enum rb_status rb_tokenizer_settings_check_ids(const struct rb_tokenizer_settings *s,
                                               const char *folder, const struct rb_tokenizer *t,
                                               struct rb_error *err) RB_MUST_CHECK;

/* The names of all classes in the table, for messages: "GPT2Tokenizer, …". */
const char *rb_tokenizer_class_names(void);

#endif
