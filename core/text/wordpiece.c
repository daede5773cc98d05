/* DESIGN. One pass over the raw bytes. Special tokens are looked for in the raw text, before
 * anything is normalised. Every other character is classified, normalised and pushed onto the word
 * under construction (a fixed buffer); a space, a punctuation mark, a Chinese character or a
 * special token ends the word, which is then cut into pieces and appended to the ids. Nothing is
 * allocated but the ids, and no text, however hostile, costs more than a constant per byte. */
#include "core/text/wordpiece.h"

#include "core/text/tokenizer_ops.h"
#include "core/text/unicode.h"
#include "core/text/word.h"

#include <stdlib.h>
#include <string.h>

/* The parts that BERT's tokens play; the others are nobody's. */
enum { PART_COUNT = RB_SPECIAL_MASK + 1 };

struct wordpiece {
    struct rb_tokenizer base;
    bool lower, strip, split_cjk;
    /* The special tokens as they may stand in a text, the longest first. */
    int32_t literals[PART_COUNT];
    bool literal_begins_with[256];
};

static const struct rb_tokenizer_ops ops;

void rb_wordpiece_options_default(struct rb_wordpiece_options *o)
{
    *o = (struct rb_wordpiece_options){
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

static enum rb_status find_specials(struct wordpiece *w, const char *label,
                                    const struct rb_wordpiece_options *o, struct rb_error *err)
{
    const char *const tokens[PART_COUNT] = {
        [RB_SPECIAL_UNK] = o->unk_token,   [RB_SPECIAL_SEP] = o->sep_token,
        [RB_SPECIAL_PAD] = o->pad_token,   [RB_SPECIAL_CLS] = o->cls_token,
        [RB_SPECIAL_MASK] = o->mask_token,
    };
    struct rb_tokenizer *t = &w->base;
    for (int i = 0; i < RB_SPECIAL_COUNT; i++)
        t->special[i] = -1;
    for (int i = 0; i < PART_COUNT; i++) {
        size_t bytes = strlen(tokens[i]);
        int32_t id = bytes > 0 ? rb_vocabulary_find(&t->vocabulary, tokens[i], bytes) : -1;
        if (id < 0) {
            char shown[64];
            const char *name = rb_special_names[i];
            return rb_error_at(err, RB_EVOCAB, name, "%s: the %s '%s' is not in the vocabulary",
                               label, name, rb_utf8_excerpt(shown, sizeof shown, tokens[i], bytes));
        }
        t->special[i] = id;
        w->literal_begins_with[(unsigned char)tokens[i][0]] = true;
        int at = i;
        for (; at > 0 && token_bytes(t, w->literals[at - 1]) < bytes; at--)
            w->literals[at] = w->literals[at - 1];
        w->literals[at] = id;
    }
    return RB_OK;
}

/* [CLS] a [SEP], and [CLS] a [SEP] b [SEP] with types 0 and 1. */
static void set_templates(struct rb_tokenizer *t)
{
    int32_t cls = t->special[RB_SPECIAL_CLS], sep = t->special[RB_SPECIAL_SEP];
    const struct rb_template_part begin = {1, {cls}, {0}}, end = {1, {sep}, {0}};
    t->single = (struct rb_template){.prefix = begin, .suffix = end};
    t->pair = (struct rb_template){
        .prefix = begin, .between = end, .suffix = {1, {sep}, {1}}, .types = {0, 1}};
}

enum rb_status rb_wordpiece_new(const char *label, const char *vocab, size_t vocab_bytes,
                                const struct rb_wordpiece_options *options,
                                struct rb_tokenizer **ret, struct rb_error *err)
{
    struct wordpiece *w = calloc(1, sizeof *w);
    if (w == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", label);
    w->base.ops = &ops;
    w->lower = options->do_lower_case;
    w->strip = options->strip_accents < 0 ? options->do_lower_case : options->strip_accents != 0;
    w->split_cjk = options->tokenize_chinese_chars;
    enum rb_status status = rb_vocabulary_init(&w->base.vocabulary, label, vocab, vocab_bytes, err);
    if (status != RB_OK)
        goto err_after_alloc;
    status = find_specials(w, label, options, err);
    if (status != RB_OK)
        goto err_after_vocabulary;
    set_templates(&w->base);
    *ret = &w->base;
    return RB_OK;

err_after_vocabulary:
    rb_vocabulary_deinit(&w->base.vocabulary);
err_after_alloc:
    free(w);
    return status;
}

/* ---- encoding ---- */

struct encoder {
    const struct wordpiece *w;
    struct rb_ids *ids;
    struct rb_word word;
    bool out_of_memory;
};

/* Room for all that one word can become. */
static bool reserve(struct encoder *e)
{
    if (rb_ids_reserve(e->ids, RB_WORD_CHARS))
        return true;
    e->out_of_memory = true;
    return false;
}

static void end_word(struct encoder *e)
{
    const struct rb_vocabulary *v = &e->w->base.vocabulary;
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
            ids->ids[ids->count++] = e->w->base.special[RB_SPECIAL_UNK];
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
static int32_t literal_at(const struct wordpiece *w, const char *text, size_t bytes)
{
    for (int i = 0; i < PART_COUNT; i++) {
        size_t n;
        const char *token = rb_vocabulary_token(&w->base.vocabulary, (size_t)w->literals[i], &n);
        if (n <= bytes && memcmp(text, token, n) == 0)
            return w->literals[i];
    }
    return -1;
}

static void add_ascii(struct encoder *e, char c)
{
    switch ((enum rb_char_class)rb_ascii_class[(unsigned char)c]) {
    case RB_CHAR_WORD:
        rb_word_push_ascii(&e->word, e->w->lower && c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
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
    size_t n = rb_char_normalize(code, e->w->strip, e->w->lower, chars);
    bool cjk = e->w->split_cjk && rb_char_is_cjk(code);
    for (size_t i = 0; i < n; i++) {
        /* Asked of the normalised character: U+1FEF is a symbol, but decomposes to '`'. */
        bool alone = cjk || rb_char_class(chars[i]) == RB_CHAR_PUNCT;
        if (alone)
            end_word(e);
        rb_word_push(&e->word, chars[i], e->w->strip);
        if (alone)
            end_word(e);
    }
}

static enum rb_status encode(const struct rb_tokenizer *t, const char *text, size_t bytes,
                             struct rb_ids *ids, struct rb_error *err)
{
    const struct wordpiece *w = (const struct wordpiece *)t;
    struct encoder e = {.w = w, .ids = ids};
    rb_word_clear(&e.word);
    for (size_t i = 0; i < bytes && !e.out_of_memory;) {
        unsigned char c = (unsigned char)text[i];
        int32_t special = w->literal_begins_with[c] ? literal_at(w, text + i, bytes - i) : -1;
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
    if (e.out_of_memory)
        return rb_error_set(err, RB_ENOMEM, "out of memory for the tokens of a text of %zu bytes",
                            bytes);
    return RB_OK;
}

/* ---- the kind ---- */

static enum rb_status equal(const struct rb_tokenizer *a, const struct rb_tokenizer *b,
                            struct rb_error *err)
{
    const struct wordpiece *wa = (const struct wordpiece *)a, *wb = (const struct wordpiece *)b;
    const struct {
        const char *name;
        bool a, b;
    } switches[] = {
        {"do_lower_case", wa->lower, wb->lower},
        {"strip_accents", wa->strip, wb->strip},
        {"tokenize_chinese_chars", wa->split_cjk, wb->split_cjk},
    };
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++)
        if (switches[i].a != switches[i].b)
            return rb_tokenizer_differ(err, switches[i].name, switches[i].a ? "true" : "false",
                                       switches[i].b ? "true" : "false");
    return RB_OK;
}

static void wordpiece_free(struct rb_tokenizer *t)
{
    free((struct wordpiece *)t);
}

static const struct rb_tokenizer_ops ops = {
    .kind = "wordpiece",
    .place = "line",
    .first_place = 1,
    .encode = encode,
    .equal = equal,
    .free = wordpiece_free,
};
