/* core/text/added.h: added tokens: strings that are tokens wherever they stand in a text, whatever
 * the model would make of them. The behaviour is that of Hugging Face's tokenizers: those that are
 * not `normalized` are looked for in the raw text, the others in what lies between, once it is
 * normalised; the leftmost wins, and of those that begin there the longest. */
#ifndef RB_CORE_TEXT_ADDED_H
#define RB_CORE_TEXT_ADDED_H

#include "core/text/vocabulary.h"

struct rb_added_token {
    const char *content;
    int32_t id;
    bool single_word; /* only where no word character stands directly before or behind it */
    bool lstrip;      /* takes the white space before it along */
    bool rstrip;      /* and behind it */
    bool normalized;  /* looked for, itself normalised, in the normalised text */
};

/* Tokens that are looked for together. */
struct rb_added_set {
    struct rb_added_pattern {
        const char *text;
        size_t bytes;
        const struct rb_added_token *token;
    } * patterns; /* in the order of their bytes */
    size_t count;
    bool begins_with[256];
};

struct rb_added {
    struct rb_added_token *tokens; /* contents are owned */
    size_t count;
    struct rb_added_set raw, normalized;
    char **owned; /* (count) the normalised patterns; NULL where the content is the pattern */
};

enum { RB_ADDED_MAX = 16384, RB_ADDED_BYTES = 1024 };

/* How a tokenizer's normalizer rewrites a text: *text and *bytes stay as they are where it changes
 * nothing, else they point into *ret_owned, which the caller frees. */
typedef enum rb_status rb_normalize(const void *data, const char **text, size_t *bytes,
                                    char **ret_owned, struct rb_error *err);

/* Copies the tokens, and gives each the id that Hugging Face's library gives it: that of the
 * model's vocabulary if it is there, else the next behind the number of the model's tokens; tokens'
 * own ids are not looked at. Empty ones are left out. normalize NULL: patterns are as they are
 * written. RB_EVOCAB for a token that is too long or comes twice, or for too many; RB_ENOMEM. */
enum rb_status rb_added_init(struct rb_added *a, const char *label,
                             const struct rb_vocabulary *model, const struct rb_added_token *tokens,
                             size_t count, rb_normalize *normalize, const void *data,
                             struct rb_error *err) RB_MUST_CHECK;
void rb_added_deinit(struct rb_added *a);

/* The token with that content, NULL if there is none. */
const struct rb_added_token *rb_added_find(const struct rb_added *a, const char *content);
/* The token with that id, NULL if there is none. */
const struct rb_added_token *rb_added_with_id(const struct rb_added *a, int32_t id);

/* Cuts text (UTF-8) at the tokens of the set, and calls visit for each part in its order: for a
 * token with its id, for text between with id -1. Stops at the first failure and returns it. */
typedef enum rb_status rb_added_visit(void *data, const char *text, size_t bytes, int32_t id,
                                      struct rb_error *err);
enum rb_status rb_added_split(const struct rb_added_set *set, const char *text, size_t bytes,
                              rb_added_visit *visit, void *data,
                              struct rb_error *err) RB_MUST_CHECK;

/* Do both find the same tokens everywhere? has_normalizer: whether a text can change between the
 * two searches. RB_EMODELS naming the first that differs. */
enum rb_status rb_added_equal(const struct rb_added *a, const struct rb_added *b,
                              bool has_normalizer, struct rb_error *err) RB_MUST_CHECK;

#endif
