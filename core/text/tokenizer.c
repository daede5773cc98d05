/* DESIGN. One pass over the raw bytes. Special tokens are looked for in the raw text, before
 * anything is normalised. Every other character is classified, normalised and pushed onto the word
 * under construction (a fixed buffer); a space, a punctuation mark, a Chinese character or a
 * special token ends the word, which is then cut into pieces and appended to the ids. Nothing is
 * allocated but the ids, and no text, however hostile, costs more than a constant per byte. */
#include "core/text/tokenizer.h"

#include "core/text/unicode.h"
#include "core/text/vocabulary.h"
#include "core/text/word.h"

#include <stdlib.h>
#include <string.h>

enum special { UNK, SEP, PAD, CLS, MASK, SPECIAL_COUNT };

static const char *const special_names[SPECIAL_COUNT] = {
    [UNK] = "unk_token", [SEP] = "sep_token",   [PAD] = "pad_token",
    [CLS] = "cls_token", [MASK] = "mask_token",
};

struct rb_tokenizer {
    struct rb_vocabulary vocabulary;
    bool lower, strip, split_cjk;
    int32_t special[SPECIAL_COUNT]; /* ids */
    /* The special tokens as they may stand in a text, the longest first. */
    int32_t literals[SPECIAL_COUNT];
    bool literal_begins_with[256];
};

void rb_tokenizer_options_default(struct rb_tokenizer_options *o)
{
    *o = (struct rb_tokenizer_options){
        .do_lower_case = true,
        .strip_accents = -1,
        .tokenize_chinese_chars = true,
        .unk_token = "[UNK]",
        .sep_token = "[SEP]",
        .pad_token = "[PAD]",
        .cls_token = "[CLS]",
        .mask_token = "[MASK]",
    };
}

static size_t token_bytes(const struct rb_tokenizer *t, int32_t id)
{
    size_t bytes;
    rb_vocabulary_token(&t->vocabulary, (size_t)id, &bytes);
    return bytes;
}

static enum rb_status find_specials(struct rb_tokenizer *t, const char *label,
                                    const struct rb_tokenizer_options *o, struct rb_error *err)
{
    const char *const tokens[SPECIAL_COUNT] = {[UNK] = o->unk_token,
                                               [SEP] = o->sep_token,
                                               [PAD] = o->pad_token,
                                               [CLS] = o->cls_token,
                                               [MASK] = o->mask_token};
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        size_t bytes = strlen(tokens[i]);
        int32_t id = bytes > 0 ? rb_vocabulary_find(&t->vocabulary, tokens[i], bytes) : -1;
        if (id < 0) {
            char shown[64];
            return rb_error_at(err, RB_EVOCAB, special_names[i],
                               "%s: the %s '%s' is not in the vocabulary", label, special_names[i],
                               rb_utf8_excerpt(shown, sizeof shown, tokens[i], bytes));
        }
        t->special[i] = id;
        t->literal_begins_with[(unsigned char)tokens[i][0]] = true;
        int at = i;
        for (; at > 0 && token_bytes(t, t->literals[at - 1]) < bytes; at--)
            t->literals[at] = t->literals[at - 1];
        t->literals[at] = id;
    }
    return RB_OK;
}

enum rb_status rb_tokenizer_new(const char *label, const char *vocab, size_t vocab_bytes,
                                const struct rb_tokenizer_options *options,
                                struct rb_tokenizer **ret, struct rb_error *err)
{
    struct rb_tokenizer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", label);
    t->lower = options->do_lower_case;
    t->strip = options->strip_accents < 0 ? options->do_lower_case : options->strip_accents != 0;
    t->split_cjk = options->tokenize_chinese_chars;
    enum rb_status status = rb_vocabulary_init(&t->vocabulary, label, vocab, vocab_bytes, err);
    if (status != RB_OK)
        goto err_after_alloc;
    status = find_specials(t, label, options, err);
    if (status != RB_OK)
        goto err_after_vocabulary;
    *ret = t;
    return RB_OK;

err_after_vocabulary:
    rb_vocabulary_deinit(&t->vocabulary);
err_after_alloc:
    free(t);
    return status;
}

void rb_tokenizer_free(struct rb_tokenizer *t)
{
    if (t == NULL)
        return;
    rb_vocabulary_deinit(&t->vocabulary);
    free(t);
}

/* ---- encoding ---- */

struct encoder {
    const struct rb_tokenizer *t;
    struct rb_ids *ids;
    struct rb_word word;
    bool out_of_memory;
};

/* Room for all that one word can become. */
static bool reserve(struct encoder *e)
{
    struct rb_ids *ids = e->ids;
    if (ids->capacity - ids->count >= RB_WORD_CHARS)
        return true;
    size_t capacity = ids->capacity + ids->capacity / 2 + 256;
    int32_t *grown = reallocarray(ids->ids, capacity, sizeof *grown);
    if (grown == NULL) {
        e->out_of_memory = true;
        return false;
    }
    ids->ids = grown;
    ids->capacity = capacity;
    return true;
}

static void end_word(struct encoder *e)
{
    const struct rb_vocabulary *v = &e->t->vocabulary;
    struct rb_ids *ids = e->ids;
    if (e->word.chars == 0)
        return;
    if (reserve(e)) {
        size_t before = ids->count;
        int32_t id = -1;
        if (!rb_word_too_long(&e->word))
            for (size_t at = 0; at < e->word.chars;) {
                id = rb_vocabulary_longest(v, &e->word, &at);
                if (id < 0)
                    break;
                ids->ids[ids->count++] = id;
            }
        if (id < 0) { /* one piece that is no token makes the whole word unknown */
            ids->count = before;
            ids->ids[ids->count++] = e->t->special[UNK];
        }
    }
    rb_word_clear(&e->word);
}

static void add_special(struct encoder *e, int32_t id)
{
    end_word(e);
    if (reserve(e))
        e->ids->ids[e->ids->count++] = id;
}

/* The special token written out at text; -1 if none. */
static int32_t literal_at(const struct rb_tokenizer *t, const char *text, size_t bytes)
{
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        size_t n;
        const char *token = rb_vocabulary_token(&t->vocabulary, (size_t)t->literals[i], &n);
        if (n <= bytes && memcmp(text, token, n) == 0)
            return t->literals[i];
    }
    return -1;
}

static void add_ascii(struct encoder *e, char c)
{
    switch ((enum rb_char_class)rb_ascii_class[(unsigned char)c]) {
    case RB_CHAR_WORD:
        rb_word_push_ascii(&e->word, e->t->lower && c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
        break;
    case RB_CHAR_SPACE:
        end_word(e);
        break;
    case RB_CHAR_PUNCT:
        end_word(e);
        rb_word_push_ascii(&e->word, c);
        end_word(e);
        break;
    case RB_CHAR_DROP:
        break;
    }
}

static void add_char(struct encoder *e, int32_t code)
{
    enum rb_char_class class = rb_char_class(code);
    if (class == RB_CHAR_DROP)
        return;
    if (class == RB_CHAR_SPACE) {
        end_word(e);
        return;
    }
    int32_t chars[RB_NORMAL_CHARS];
    size_t n = rb_char_normalize(code, e->t->strip, e->t->lower, chars);
    bool cjk = e->t->split_cjk && rb_char_is_cjk(code);
    for (size_t i = 0; i < n; i++) {
        /* Asked of the normalised character: U+1FEF is a symbol, but decomposes to '`'. */
        bool alone = cjk || rb_char_class(chars[i]) == RB_CHAR_PUNCT;
        if (alone)
            end_word(e);
        rb_word_push(&e->word, chars[i], e->t->strip);
        if (alone)
            end_word(e);
    }
}

enum rb_status rb_tokenizer_encode(const struct rb_tokenizer *t, const char *text, size_t bytes,
                                   struct rb_ids *ids, struct rb_error *err)
{
    size_t before = ids->count;
    struct encoder e = {.t = t, .ids = ids};
    rb_word_clear(&e.word);
    for (size_t i = 0; i < bytes && !e.out_of_memory;) {
        unsigned char c = (unsigned char)text[i];
        int32_t special = t->literal_begins_with[c] ? literal_at(t, text + i, bytes - i) : -1;
        if (special >= 0) {
            add_special(&e, special);
            i += token_bytes(t, special);
        } else if (c < 128) {
            add_ascii(&e, (char)c);
            i++;
        } else {
            int32_t code;
            size_t n = rb_utf8_decode(text + i, bytes - i, &code);
            if (n > 0)
                add_char(&e, code);
            i += n > 0 ? n : 1; /* invalid: as U+FFFD, which is dropped */
        }
    }
    end_word(&e);
    if (e.out_of_memory) {
        ids->count = before;
        return rb_error_set(err, RB_ENOMEM, "out of memory for the tokens of a text of %zu bytes",
                            bytes);
    }
    return RB_OK;
}

/* ---- questions ---- */

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

int32_t rb_tokenizer_cls(const struct rb_tokenizer *t)
{
    return t->special[CLS];
}

int32_t rb_tokenizer_sep(const struct rb_tokenizer *t)
{
    return t->special[SEP];
}

int32_t rb_tokenizer_mask(const struct rb_tokenizer *t)
{
    return t->special[MASK];
}

bool rb_tokenizer_is_special(const struct rb_tokenizer *t, int32_t id)
{
    for (int i = 0; i < SPECIAL_COUNT; i++)
        if (t->special[i] == id)
            return true;
    return false;
}

static enum rb_status vocabularies_equal(const struct rb_vocabulary *a,
                                         const struct rb_vocabulary *b, struct rb_error *err)
{
    size_t common = a->count < b->count ? a->count : b->count;
    for (size_t id = 0; id < common; id++) {
        size_t na, nb;
        const char *ta = rb_vocabulary_token(a, id, &na);
        const char *tb = rb_vocabulary_token(b, id, &nb);
        if (na != nb || memcmp(ta, tb, na) != 0) {
            char sa[64], sb[64];
            return rb_error_set(err, RB_EMODELS,
                                "the vocabularies differ from line %zu on: '%s' in A, '%s' in B",
                                id + 1, rb_utf8_excerpt(sa, sizeof sa, ta, na),
                                rb_utf8_excerpt(sb, sizeof sb, tb, nb));
        }
    }
    if (a->count != b->count)
        return rb_error_set(err, RB_EMODELS,
                            "the vocabularies differ from line %zu on: %zu tokens in A, %zu in B",
                            common + 1, a->count, b->count);
    return RB_OK;
}

enum rb_status rb_tokenizer_equal(const struct rb_tokenizer *a, const struct rb_tokenizer *b,
                                  struct rb_error *err)
{
    enum rb_status status = vocabularies_equal(&a->vocabulary, &b->vocabulary, err);
    if (status != RB_OK)
        return status;
    const struct {
        const char *name;
        bool a, b;
    } switches[] = {
        {"do_lower_case", a->lower, b->lower},
        {"strip_accents", a->strip, b->strip},
        {"tokenize_chinese_chars", a->split_cjk, b->split_cjk},
    };
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++)
        if (switches[i].a != switches[i].b)
            return rb_error_set(err, RB_EMODELS, "the tokenizers differ in %s: %s in A, %s in B",
                                switches[i].name, switches[i].a ? "true" : "false",
                                switches[i].b ? "true" : "false");
    for (int i = 0; i < SPECIAL_COUNT; i++)
        if (a->special[i] != b->special[i]) {
            char sa[64], sb[64];
            const char *ta = rb_tokenizer_token(a, a->special[i]);
            const char *tb = rb_tokenizer_token(b, b->special[i]);
            return rb_error_set(err, RB_EMODELS,
                                "the tokenizers differ in %s: '%s' in A, '%s' in B",
                                special_names[i], rb_utf8_excerpt(sa, sizeof sa, ta, strlen(ta)),
                                rb_utf8_excerpt(sb, sizeof sb, tb, strlen(tb)));
        }
    return RB_OK;
}
