/* DESIGN. One pass over the text between special tokens. Every character is classified, normalised
 * and pushed onto the word under construction (a fixed buffer); a space, a punctuation mark or a
 * Chinese character ends the word, which is then cut into pieces and appended to the ids. Nothing
 * is allocated but the ids, and no text, however hostile, costs more than a constant per byte. Only
 * a vocabulary with added tokens that are looked for in the normalised text makes us write that
 * down.
 */
#include "core/text/wordpiece.h"

#include "core/text/tokenizer_ops.h"
#include "core/text/unicode.h"
#include "core/text/word.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* The parts that BERT's tokens play; the others are nobody's. */
enum { PART_COUNT = RB_SPECIAL_MASK + 1 };

struct wordpiece {
    struct rb_tokenizer base;
    bool lower, strip, split_cjk;
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

/* ---- the normalised text ---- */

/* Room for one more character, whatever becomes of it. */
static bool reserve_char(char **out, size_t used, size_t *capacity)
{
    if (*capacity - used >= 4 * RB_NORMAL_CHARS + 2)
        return true;
    size_t wanted = *capacity + *capacity / 2 + 256;
    char *grown = realloc(*out, wanted);
    if (grown == NULL)
        return false;
    *out = grown;
    *capacity = wanted;
    return true;
}

static size_t put_normalized(const struct wordpiece *w, int32_t code, char *out)
{
    enum rb_char_class class = rb_char_class(code);
    size_t used = 0;
    if (class == RB_CHAR_DROP)
        return 0;
    if (class == RB_CHAR_SPACE) {
        out[0] = ' ';
        return 1;
    }
    bool cjk = w->split_cjk && rb_char_is_cjk(code);
    int32_t chars[RB_NORMAL_CHARS];
    size_t n = rb_char_normalize(code, w->strip, w->lower, chars);
    if (cjk)
        out[used++] = ' ';
    for (size_t i = 0; i < n; i++)
        used += (size_t)utf8proc_encode_char(chars[i], (utf8proc_uint8_t *)out + used);
    if (cjk)
        out[used++] = ' ';
    return used;
}

/* What BertNormalizer makes of a text. Only added tokens need it written down. */
static enum rb_status normalize_text(const void *data, const char **text, size_t *bytes,
                                     char **ret_owned, struct rb_error *err)
{
    const struct wordpiece *w = data;
    char *out = NULL;
    size_t used = 0, capacity = 0;
    for (size_t i = 0; i < *bytes;) {
        int32_t code;
        size_t n = rb_utf8_decode(*text + i, *bytes - i, &code);
        assert(n > 0);
        if (!reserve_char(&out, used, &capacity)) {
            free(out);
            return rb_error_set(err, RB_ENOMEM, "out of memory for a text of %zu bytes", *bytes);
        }
        used += put_normalized(w, code, out + used);
        i += n;
    }
    *ret_owned = out;
    *text = out;
    *bytes = used;
    return RB_OK;
}

/* Without such tokens `encode` does all in one pass. */
static enum rb_status normalize(const void *data, const char **text, size_t *bytes,
                                char **ret_owned, struct rb_error *err)
{
    const struct wordpiece *w = data;
    if (w->base.added.normalized.count == 0 || *bytes == 0)
        return RB_OK;
    return normalize_text(data, text, bytes, ret_owned, err);
}

/* ---- making ---- */

static const char *part_of(const struct rb_wordpiece_options *o, int part)
{
    const char *const tokens[PART_COUNT] = {
        [RB_SPECIAL_UNK] = o->unk_token,   [RB_SPECIAL_SEP] = o->sep_token,
        [RB_SPECIAL_PAD] = o->pad_token,   [RB_SPECIAL_CLS] = o->cls_token,
        [RB_SPECIAL_MASK] = o->mask_token,
    };
    return tokens[part];
}

static enum rb_status find_specials(struct rb_tokenizer *t, const char *label,
                                    const struct rb_wordpiece_options *o, struct rb_error *err)
{
    for (int i = 0; i < RB_SPECIAL_COUNT; i++)
        t->special[i] = -1;
    for (int i = 0; i < PART_COUNT; i++) {
        const char *token = part_of(o, i);
        t->special[i] = token[0] != '\0' ? rb_tokenizer_find(t, token) : -1;
        if (t->special[i] < 0) {
            char shown[64];
            return rb_error_set(err, RB_EVOCAB, "%s: the %s '%s' is not in the vocabulary", label,
                                rb_special_names[i],
                                rb_utf8_excerpt(shown, sizeof shown, token, strlen(token)));
        }
    }
    return RB_OK;
}

static bool among(const struct rb_added_token *tokens, size_t count, const char *content)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(tokens[i].content, content) == 0)
            return true;
    return false;
}

/* The tokens that o adds, and the special ones among the model's, which are always looked for. */
static enum rb_status init_added(struct wordpiece *w, const char *label,
                                 const struct rb_wordpiece_options *o, struct rb_error *err)
{
    struct rb_added_token *all = calloc(o->added_count + PART_COUNT, sizeof *all);
    if (all == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", label);
    size_t count = o->added_count;
    if (count > 0)
        memcpy(all, o->added, count * sizeof *all);
    for (int i = 0; i < PART_COUNT; i++) {
        const char *token = part_of(o, i);
        if (!among(all, count, token) &&
            rb_vocabulary_find(&w->base.vocabulary, token, strlen(token)) >= 0)
            all[count++] = (struct rb_added_token){.content = token};
    }
    enum rb_status status = rb_added_init(&w->base.added, label, &w->base.vocabulary, all, count,
                                          normalize_text, w, err);
    free(all);
    return status;
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

enum rb_status rb_wordpiece_new_from(const char *label, struct rb_vocabulary *vocabulary,
                                     const struct rb_wordpiece_options *options,
                                     struct rb_tokenizer **ret, struct rb_error *err)
{
    struct wordpiece *w = calloc(1, sizeof *w);
    if (w == NULL) {
        rb_vocabulary_deinit(vocabulary);
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", label);
    }
    w->base.ops = &ops;
    w->base.vocabulary = *vocabulary;
    *vocabulary = (struct rb_vocabulary){0};
    w->lower = options->do_lower_case;
    w->strip = options->strip_accents < 0 ? options->do_lower_case : options->strip_accents != 0;
    w->split_cjk = options->tokenize_chinese_chars;
    enum rb_status status = init_added(w, label, options, err);
    if (status == RB_OK)
        status = find_specials(&w->base, label, options, err);
    if (status != RB_OK) {
        rb_tokenizer_free(&w->base);
        return status;
    }
    set_templates(&w->base);
    *ret = &w->base;
    return RB_OK;
}

enum rb_status rb_wordpiece_new(const char *label, const char *vocab, size_t vocab_bytes,
                                const struct rb_wordpiece_options *options,
                                struct rb_tokenizer **ret, struct rb_error *err)
{
    struct rb_vocabulary v;
    enum rb_status status = rb_vocabulary_init(&v, label, vocab, vocab_bytes, err);
    return status == RB_OK ? rb_wordpiece_new_from(label, &v, options, ret, err) : status;
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
    struct encoder e = {.w = (const struct wordpiece *)t, .ids = ids};
    rb_word_clear(&e.word);
    for (size_t i = 0; i < bytes && !e.out_of_memory;) {
        int32_t code;
        if ((unsigned char)text[i] < 128) {
            add_ascii(&e, text[i]);
            i++;
            continue;
        }
        size_t n = rb_utf8_decode(text + i, bytes - i, &code);
        assert(n > 0);
        add_char(&e, code);
        i += n;
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
    return rb_added_equal(&a->added, &b->added, true, err);
}

static void wordpiece_free(struct rb_tokenizer *t)
{
    free((struct wordpiece *)t);
}

static const struct rb_tokenizer_ops ops = {
    .kind = "wordpiece",
    .place = "line",
    .first_place = 1,
    .normalize = normalize,
    .encode = encode,
    .equal = equal,
    .free = wordpiece_free,
};
