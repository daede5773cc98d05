/* core/text/tokenizer_ops.h: a tokenizer's inside, shared by the kinds. Private to core/text. */
#ifndef RB_CORE_TEXT_TOKENIZER_OPS_H
#define RB_CORE_TEXT_TOKENIZER_OPS_H

#include "core/text/added.h"
#include "core/text/tokenizer.h"
#include "core/text/vocabulary.h"

struct rb_tokenizer {
    const struct rb_tokenizer_ops *ops;
    struct rb_vocabulary vocabulary;   /* the model's */
    struct rb_added added;             /* some are in the model's vocabulary too */
    int32_t special[RB_SPECIAL_COUNT]; /* ids; -1: none */
    struct rb_template single, pair;
};

struct rb_tokenizer_ops {
    const char *kind;
    /* What a place in the vocabulary is called in a message, and the number of the first. */
    const char *place;
    size_t first_place;
    /* Does it change texts before `encode` sees them? Its data is the tokenizer. */
    rb_normalize *normalize;
    /* Appends the ids of a text without added tokens in it, valid UTF-8, not empty and normalised;
     * on failure ids may hold some of them already. */
    enum rb_status (*encode)(const struct rb_tokenizer *t, const char *text, size_t bytes,
                             struct rb_ids *ids, struct rb_error *err);
    /* The rules beside vocabulary, special tokens and templates, of two of this kind. */
    enum rb_status (*equal)(const struct rb_tokenizer *a, const struct rb_tokenizer *b,
                            struct rb_error *err);
    /* Releases what the kind has beside `struct rb_tokenizer`, and t itself. */
    void (*free)(struct rb_tokenizer *t);
};

/* The id of a token, added or of the model; -1 if there is none. */
int32_t rb_tokenizer_find(const struct rb_tokenizer *t, const char *token);

/* RB_EMODELS: "the tokenizers differ in NAME: A in A, B in B". */
enum rb_status rb_tokenizer_differ(struct rb_error *err, const char *name, const char *a,
                                   const char *b);

#endif
