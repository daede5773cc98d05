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
    rb_added_deinit(&t->added);
    t->ops->free(t);
}

enum rb_status rb_tokenizer_give(struct rb_tokenizer *t, enum rb_status status,
                                 struct rb_tokenizer **ret)
{
    if (status == RB_OK)
        *ret = t;
    else
        rb_tokenizer_free(t);
    return status;
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

/* ---- encoding ---- */

struct encoder {
    const struct rb_tokenizer *t;
    struct rb_ids *ids;
};

static enum rb_status add_id(struct encoder *e, int32_t id, struct rb_error *err)
{
    if (!rb_ids_reserve(e->ids, 1))
        return rb_error_set(err, RB_ENOMEM, "out of memory for the tokens of a text");
    e->ids->ids[e->ids->count++] = id;
    return RB_OK;
}

/* Part of a normalised text: an added token, or what lies between. */
static enum rb_status encode_part(void *data, const char *text, size_t bytes, int32_t id,
                                  struct rb_error *err)
{
    struct encoder *e = data;
    if (id >= 0)
        return add_id(e, id, err);
    return e->t->ops->encode(e->t, text, bytes, e->ids, err);
}

/* Part of a raw text. */
static enum rb_status normalize_part(void *data, const char *text, size_t bytes, int32_t id,
                                     struct rb_error *err)
{
    struct encoder *e = data;
    if (id >= 0)
        return add_id(e, id, err);
    char *owned = NULL;
    enum rb_status status = e->t->ops->normalize(e->t, &text, &bytes, &owned, err);
    if (status == RB_OK)
        status = rb_added_split(&e->t->added.normalized, text, bytes, encode_part, e, err);
    free(owned);
    return status;
}

/* The text with every byte that is not UTF-8 as U+FFFD; NULL when out of memory. */
static char *replace_invalid(const char *text, size_t bytes, size_t *ret_bytes)
{
    static const char replacement[] = "\xEF\xBF\xBD";
    char *out = malloc(3 * bytes + 1);
    size_t used = 0;
    for (size_t i = 0; out != NULL && i < bytes;) {
        size_t valid = rb_utf8_valid_prefix(text + i, bytes - i);
        memcpy(out + used, text + i, valid);
        used += valid;
        i += valid;
        if (i < bytes) {
            memcpy(out + used, replacement, sizeof replacement - 1);
            used += sizeof replacement - 1;
            i++;
        }
    }
    *ret_bytes = used;
    return out;
}

enum rb_status rb_tokenizer_encode(const struct rb_tokenizer *t, const char *text, size_t bytes,
                                   struct rb_ids *ids, struct rb_error *err)
{
    size_t before = ids->count;
    char *replaced = NULL;
    if (bytes > RB_TEXT_BYTES)
        return rb_error_set(err, RB_EDATASET, "a text of %zu bytes, at most %d are allowed", bytes,
                            RB_TEXT_BYTES);
    if (rb_utf8_valid_prefix(text, bytes) < bytes) {
        replaced = replace_invalid(text, bytes, &bytes);
        if (replaced == NULL)
            return rb_error_set(err, RB_ENOMEM, "out of memory for a text of %zu bytes", bytes);
        text = replaced;
    }
    struct encoder e = {t, ids};
    enum rb_status status = rb_added_split(&t->added.raw, text, bytes, normalize_part, &e, err);
    free(replaced);
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
    size_t size = t->vocabulary.count;
    for (size_t i = 0; i < t->added.count; i++)
        if ((size_t)t->added.tokens[i].id >= size)
            size = (size_t)t->added.tokens[i].id + 1;
    return size;
}

const char *rb_tokenizer_token(const struct rb_tokenizer *t, int32_t id)
{
    if (id < 0)
        return NULL;
    size_t bytes;
    if ((size_t)id < t->vocabulary.count && rb_vocabulary_has(&t->vocabulary, (size_t)id))
        return rb_vocabulary_token(&t->vocabulary, (size_t)id, &bytes);
    const struct rb_added_token *added = rb_added_with_id(&t->added, id);
    return added != NULL ? added->content : NULL;
}

int32_t rb_tokenizer_find(const struct rb_tokenizer *t, const char *token)
{
    const struct rb_added_token *added = rb_added_find(&t->added, token);
    return added != NULL ? added->id : rb_vocabulary_find(&t->vocabulary, token, strlen(token));
}

int32_t rb_tokenizer_special(const struct rb_tokenizer *t, enum rb_special part)
{
    return t->special[part];
}

void rb_tokenizer_default_special(struct rb_tokenizer *t, enum rb_special part, uint32_t id)
{
    if (t->special[part] < 0 && id < rb_tokenizer_vocab_size(t))
        t->special[part] = (int32_t)id;
}

static bool in_part(const struct rb_template_part *p, int32_t id)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->ids[i] == id)
            return true;
    return false;
}

bool rb_tokenizer_is_special(const struct rb_tokenizer *t, int32_t id)
{
    for (int i = 0; i < RB_SPECIAL_COUNT; i++)
        if (t->special[i] == id && id >= 0)
            return true;
    return in_part(&t->single.prefix, id) || in_part(&t->single.suffix, id);
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
        if (ta == NULL && tb == NULL)
            continue;
        if (ta == NULL || tb == NULL || strcmp(ta, tb) != 0) {
            char sa[64], sb[64];
            ta = ta != NULL ? ta : "";
            tb = tb != NULL ? tb : "";
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
        status = specials_equal(a, b, err);
    if (status == RB_OK)
        status = a->ops->equal(a, b, err);
    if (status == RB_OK)
        status = templates_equal(&a->single, &b->single, "a text", err);
    if (status == RB_OK)
        status = templates_equal(&a->pair, &b->pair, "a pair of texts", err);
    return status;
}
