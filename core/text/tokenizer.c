#include "core/text/tokenizer.h"

#include "core/text/tokenizer_ops.h"
#include "core/text/unicode.h"

#include <stdlib.h>
#include <string.h>

const char *const rb_special_names[RB_SPECIAL_COUNT] = {
    [RB_SPECIAL_UNK] = "unk_token",   [RB_SPECIAL_SEP] = "sep_token",
    [RB_SPECIAL_PAD] = "pad_token",   [RB_SPECIAL_CLS] = "cls_token",
    [RB_SPECIAL_MASK] = "mask_token", [RB_SPECIAL_BOS] = "bos_token",
    [RB_SPECIAL_EOS] = "eos_token",
};

void rb_tokenizer_free(struct rb_tokenizer *t)
{
    if (t == NULL)
        return;
    rb_vocabulary_deinit(&t->vocabulary);
    t->ops->free(t);
}

bool rb_ids_reserve(struct rb_ids *ids, size_t more)
{
    if (ids->capacity - ids->count >= more)
        return true;
    size_t capacity = ids->count + more;
    if (capacity < ids->capacity + ids->capacity / 2)
        capacity = ids->capacity + ids->capacity / 2;
    int32_t *grown = reallocarray(ids->ids, capacity, sizeof *grown);
    if (grown == NULL)
        return false;
    ids->ids = grown;
    ids->capacity = capacity;
    return true;
}

enum rb_status rb_tokenizer_encode(const struct rb_tokenizer *t, const char *text, size_t bytes,
                                   struct rb_ids *ids, struct rb_error *err)
{
    size_t before = ids->count;
    enum rb_status status = t->ops->encode(t, text, bytes, ids, err);
    if (status != RB_OK)
        ids->count = before;
    return status;
}

/* ---- questions ---- */

const char *rb_tokenizer_kind(const struct rb_tokenizer *t)
{
    return t->ops->kind;
}

size_t rb_tokenizer_vocab_size(const struct rb_tokenizer *t)
{
    return t->vocabulary.count;
}

const char *rb_tokenizer_token(const struct rb_tokenizer *t, int32_t id)
{
    if (id < 0 || (size_t)id >= t->vocabulary.count)
        return NULL;
    size_t bytes;
    return rb_vocabulary_token(&t->vocabulary, (size_t)id, &bytes);
}

int32_t rb_tokenizer_special(const struct rb_tokenizer *t, enum rb_special part)
{
    return t->special[part];
}

bool rb_tokenizer_is_special(const struct rb_tokenizer *t, int32_t id)
{
    for (int i = 0; i < RB_SPECIAL_COUNT; i++)
        if (t->special[i] == id)
            return true;
    return false;
}

const struct rb_template *rb_tokenizer_template(const struct rb_tokenizer *t, bool pair)
{
    return pair ? &t->pair : &t->single;
}

/* ---- two tokenizers ---- */

enum rb_status rb_tokenizer_differ(struct rb_error *err, const char *name, const char *a,
                                   const char *b)
{
    char sa[64], sb[64];
    return rb_error_set(err, RB_EMODELS, "the tokenizers differ in %s: %s in A, %s in B", name,
                        rb_utf8_excerpt(sa, sizeof sa, a, strlen(a)),
                        rb_utf8_excerpt(sb, sizeof sb, b, strlen(b)));
}

static enum rb_status vocabularies_equal(const struct rb_tokenizer *a, const struct rb_tokenizer *b,
                                         struct rb_error *err)
{
    const char *place = a->ops->place;
    size_t na = rb_tokenizer_vocab_size(a), nb = rb_tokenizer_vocab_size(b);
    size_t common = na < nb ? na : nb;
    for (size_t id = 0; id < common; id++) {
        const char *ta = rb_tokenizer_token(a, (int32_t)id);
        const char *tb = rb_tokenizer_token(b, (int32_t)id);
        if (strcmp(ta, tb) != 0) {
            char sa[64], sb[64];
            return rb_error_set(
                err, RB_EMODELS, "the vocabularies differ from %s %zu on: '%s' in A, '%s' in B",
                place, id + a->ops->first_place, rb_utf8_excerpt(sa, sizeof sa, ta, strlen(ta)),
                rb_utf8_excerpt(sb, sizeof sb, tb, strlen(tb)));
        }
    }
    if (na != nb)
        return rb_error_set(err, RB_EMODELS,
                            "the vocabularies differ from %s %zu on: %zu tokens in A, %zu in B",
                            place, common + a->ops->first_place, na, nb);
    return RB_OK;
}

static enum rb_status specials_equal(const struct rb_tokenizer *a, const struct rb_tokenizer *b,
                                     struct rb_error *err)
{
    for (int i = 0; i < RB_SPECIAL_COUNT; i++) {
        if (a->special[i] == b->special[i])
            continue;
        const char *ta = rb_tokenizer_token(a, a->special[i]);
        const char *tb = rb_tokenizer_token(b, b->special[i]);
        char sa[64] = "none", sb[64] = "none";
        return rb_error_set(err, RB_EMODELS, "the tokenizers differ in %s: '%s' in A, '%s' in B",
                            rb_special_names[i],
                            ta ? rb_utf8_excerpt(sa, sizeof sa, ta, strlen(ta)) : sa,
                            tb ? rb_utf8_excerpt(sb, sizeof sb, tb, strlen(tb)) : sb);
    }
    return RB_OK;
}

static bool parts_equal(const struct rb_template_part *a, const struct rb_template_part *b)
{
    return a->count == b->count && memcmp(a->ids, b->ids, a->count * sizeof *a->ids) == 0 &&
           memcmp(a->types, b->types, a->count) == 0;
}

static enum rb_status templates_equal(const struct rb_template *a, const struct rb_template *b,
                                      const char *what, struct rb_error *err)
{
    if (parts_equal(&a->prefix, &b->prefix) && parts_equal(&a->between, &b->between) &&
        parts_equal(&a->suffix, &b->suffix) && a->types[0] == b->types[0] &&
        a->types[1] == b->types[1])
        return RB_OK;
    return rb_error_set(err, RB_EMODELS,
                        "the tokenizers differ in the tokens or types that they put around %s",
                        what);
}

enum rb_status rb_tokenizer_equal(const struct rb_tokenizer *a, const struct rb_tokenizer *b,
                                  struct rb_error *err)
{
    if (a->ops != b->ops)
        return rb_tokenizer_differ(err, "their kind", a->ops->kind, b->ops->kind);
    enum rb_status status = vocabularies_equal(a, b, err);
    if (status == RB_OK)
        status = a->ops->equal(a, b, err);
    if (status == RB_OK)
        status = specials_equal(a, b, err);
    if (status == RB_OK)
        status = templates_equal(&a->single, &b->single, "a text", err);
    if (status == RB_OK)
        status = templates_equal(&a->pair, &b->pair, "a pair of texts", err);
    return status;
}
