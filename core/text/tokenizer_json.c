#include "core/text/tokenizer_json.h"

#include "core/json_bounded.h"
#include "core/text/unicode.h"
#include "core/text/wordpiece.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct rb_json_limits limits = {.bytes = 64 << 20, .depth = 32, .values = 4 << 20};

enum { MERGES_MAX = 1 << 22 };

/* ---- places, and what is wrong there ---- */

struct place {
    const char *file;
    char member[128]; /* "pre_tokenizer.pretokenizers[0].pattern" */
};

static struct place below(const struct place *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static struct place below(const struct place *p, const char *format, ...)
{
    struct place q = *p;
    size_t used = strlen(q.member);
    if (used > 0 && format[0] != '[' && used + 1 < sizeof q.member)
        q.member[used++] = '.';
    va_list args;
    va_start(args, format);
    (void)vsnprintf(q.member + used, sizeof q.member - used, format, args);
    va_end(args);
    return q;
}

static void describe(const json_t *found, char *out, size_t size)
{
    char shown[160];
    const json_t *type = json_object_get(found, "type");
    const char *text = json_string_value(json_is_string(type) ? type : found);
    if (text != NULL)
        rb_utf8_excerpt(shown, sizeof shown, text, strlen(text));
    if (json_is_string(type))
        (void)snprintf(out, size, "an object of type '%s'", shown);
    else if (text != NULL)
        (void)snprintf(out, size, "'%s'", shown);
    else if (json_is_number(found))
        (void)snprintf(out, size, "%g", json_number_value(found));
    else
        (void)snprintf(out, size, "%s",
                       found == NULL            ? "nothing"
                       : json_is_null(found)    ? "null"
                       : json_is_boolean(found) ? (json_is_true(found) ? "true" : "false")
                       : json_is_array(found)   ? "an array"
                                                : "an object");
}

static enum rb_status unfit(struct rb_error *err, const struct place *p, const json_t *found,
                            const char *expected)
{
    char shown[200];
    describe(found, shown, sizeof shown);
    return rb_error_set(err, RB_EVOCAB, "%s: %s: found %s, expected %s", p->file, p->member, shown,
                        expected);
}

static enum rb_status no_memory(struct rb_error *err, const struct place *p)
{
    return rb_error_set(err, RB_ENOMEM, "%s: out of memory", p->file);
}

/* "absent" for a member that may be missing or null: it then stays as it is. */
static enum rb_status get_bool(const json_t *object, const struct place *p, const char *name,
                               bool absent, bool *ret, struct rb_error *err)
{
    const json_t *value = json_object_get(object, name);
    struct place q = below(p, "%s", name);
    if (absent && (value == NULL || json_is_null(value)))
        return RB_OK;
    if (!json_is_boolean(value))
        return unfit(err, &q, value, "true or false");
    *ret = json_is_true(value);
    return RB_OK;
}

/* NULL in *ret where it is missing or null. */
static enum rb_status get_string(const json_t *object, const struct place *p, const char *name,
                                 const char **ret, struct rb_error *err)
{
    const json_t *value = json_object_get(object, name);
    struct place q = below(p, "%s", name);
    if (value != NULL && !json_is_null(value) && !json_is_string(value))
        return unfit(err, &q, value, "a string or null");
    *ret = json_string_value(value);
    return RB_OK;
}

static bool is_type(const json_t *object, const char *type)
{
    const char *found = json_string_value(json_object_get(object, "type"));
    return found != NULL && strcmp(found, type) == 0;
}

static bool is_absent(const json_t *value)
{
    return value == NULL || json_is_null(value);
}

/* ---- the vocabulary ---- */

/* One more than the largest id. */
static enum rb_status count_ids(json_t *object, const char *label, const char *member, size_t *ret,
                                struct rb_error *err)
{
    const char *token;
    json_t *id;
    size_t count = 0;
    json_object_foreach(object, token, id)
    {
        json_int_t n = json_is_integer(id) ? json_integer_value(id) : -1;
        char shown[64];
        if (n < 0 || n >= RB_VOCABULARY_IDS)
            return rb_error_set(
                err, RB_EVOCAB, "%s: %s: the id of '%s' must be an integer below %d", label, member,
                rb_utf8_excerpt(shown, sizeof shown, token, strlen(token)), RB_VOCABULARY_IDS);
        if ((size_t)n >= count)
            count = (size_t)n + 1;
    }
    *ret = count;
    return RB_OK;
}

static enum rb_status order_by_id(json_t *object, const char *label, const char *member,
                                  const char **tokens, struct rb_error *err)
{
    const char *token;
    json_t *id;
    json_object_foreach(object, token, id)
    {
        const char **place = &tokens[json_integer_value(id)];
        if (*place != NULL) {
            char shown[64], other[64];
            return rb_error_set(err, RB_EVOCAB, "%s: %s: '%s' and '%s' have the same id %lld",
                                label, member,
                                rb_utf8_excerpt(other, sizeof other, *place, strlen(*place)),
                                rb_utf8_excerpt(shown, sizeof shown, token, strlen(token)),
                                (long long)json_integer_value(id));
        }
        *place = token;
    }
    return RB_OK;
}

enum rb_status rb_vocabulary_from_json(struct rb_vocabulary *v, const char *label,
                                       const char *member, json_t *object, struct rb_error *err)
{
    struct place p = {.file = label};
    (void)snprintf(p.member, sizeof p.member, "%s", member);
    if (!json_is_object(object) || json_object_size(object) == 0)
        return unfit(err, &p, object, "an object of tokens and their ids");
    size_t count;
    enum rb_status status = count_ids(object, label, member, &count, err);
    if (status != RB_OK)
        return status;
    const char **tokens = calloc(count + 1, sizeof *tokens);
    if (tokens == NULL)
        return no_memory(err, &p);
    status = order_by_id(object, label, member, tokens, err);
    if (status == RB_OK)
        status = rb_vocabulary_init_ids(v, label, tokens, count, err);
    free(tokens);
    return status;
}

/* ---- added tokens ---- */

static enum rb_status take_added(const json_t *value, const struct place *p,
                                 struct rb_added_token *ret, struct rb_error *err)
{
    struct rb_added_token t = {.id = -1, .normalized = true};
    bool special = false;
    t.content = json_string_value(json_object_get(value, "content"));
    if (t.content == NULL)
        return unfit(err, p, value, "an added token: an object with \"content\" and flags");
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"single_word", &t.single_word}, {"lstrip", &t.lstrip}, {"rstrip", &t.rstrip},
        {"normalized", &t.normalized},   {"special", &special},
    };
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        enum rb_status status = get_bool(value, p, flags[i].name, false, flags[i].flag, err);
        if (status != RB_OK)
            return status;
    }
    *ret = t;
    return RB_OK;
}

/* A new array with room for RB_SPECIAL_COUNT more. */
static enum rb_status read_added(const json_t *root, const struct place *file,
                                 struct rb_added_token **ret, size_t *ret_count,
                                 struct rb_error *err)
{
    const json_t *list = json_object_get(root, "added_tokens");
    struct place p = below(file, "added_tokens");
    if (!is_absent(list) && !json_is_array(list))
        return unfit(err, &p, list, "an array of added tokens");
    size_t count = json_array_size(list);
    if (count > RB_ADDED_MAX)
        return rb_error_set(err, RB_EVOCAB, "%s: added_tokens: %zu of them, at most %d are allowed",
                            p.file, count, RB_ADDED_MAX);
    struct rb_added_token *tokens = calloc(count + RB_SPECIAL_COUNT, sizeof *tokens);
    if (tokens == NULL)
        return no_memory(err, &p);
    for (size_t i = 0; i < count; i++) {
        struct place q = below(&p, "[%zu]", i);
        enum rb_status status = take_added(json_array_get(list, i), &q, &tokens[i], err);
        if (status != RB_OK) {
            free(tokens);
            return status;
        }
    }
    *ret = tokens;
    *ret_count = count;
    return RB_OK;
}

/* ---- the normalizer ---- */

static enum rb_status read_normalizer(const json_t *n, const struct place *p, int depth,
                                      bool *compose, struct rb_error *err)
{
    if (is_absent(n))
        return RB_OK;
    if (is_type(n, "NFC")) {
        *compose = true;
        return RB_OK;
    }
    const json_t *list = json_object_get(n, "normalizers");
    if (!is_type(n, "Sequence") || !json_is_array(list) || depth == 0)
        return unfit(err, p, n, "null, NFC or a Sequence of those");
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct place q = below(p, "normalizers[%zu]", i);
        enum rb_status status =
            read_normalizer(json_array_get(list, i), &q, depth - 1, compose, err);
        if (status != RB_OK)
            return status;
    }
    return RB_OK;
}

/* ---- the pre-tokenizer ---- */

struct words {
    struct rb_pretokenizer pre;
    bool byte_level; /* it has come: bytes are characters from there on */
};

static enum rb_status add_step(struct words *w, enum rb_pre_step step, const struct place *p,
                               struct rb_error *err)
{
    if (w->pre.count == RB_PRE_STEPS)
        return rb_error_set(err, RB_EVOCAB, "%s: %s: more than %d steps", p->file, p->member,
                            RB_PRE_STEPS);
    w->pre.steps[w->pre.count++] = step;
    return RB_OK;
}

static enum rb_status read_byte_level(const json_t *pre, const struct place *p, struct words *w,
                                      struct rb_error *err)
{
    bool add_prefix_space = false, use_regex = true;
    enum rb_status status = get_bool(pre, p, "add_prefix_space", false, &add_prefix_space, err);
    if (status == RB_OK)
        status = get_bool(pre, p, "use_regex", true, &use_regex, err);
    if (status == RB_OK && add_prefix_space)
        status = add_step(w, RB_PRE_PREFIX_SPACE, p, err);
    if (status == RB_OK && use_regex)
        status = add_step(w, RB_PRE_GPT2, p, err);
    w->byte_level = true;
    return status;
}

/* The patterns match every character, so that it is all one whether the matches or what lies
 * between them is thrown away, as long as the matches stay. */
static enum rb_status read_split(const json_t *pre, const struct place *p, struct words *w,
                                 struct rb_error *err)
{
    const json_t *pattern = json_object_get(json_object_get(pre, "pattern"), "Regex");
    struct place q = below(p, "pattern");
    enum rb_pre_step step;
    if (!json_is_string(pattern) || !rb_pre_step_of(json_string_value(pattern), &step))
        return unfit(err, &q, json_is_string(pattern) ? pattern : json_object_get(pre, "pattern"),
                     "the regular expression of GPT-2, Llama 3 or Qwen2");
    bool invert = false;
    enum rb_status status = get_bool(pre, p, "invert", true, &invert, err);
    if (status != RB_OK)
        return status;
    const char *behavior = json_string_value(json_object_get(pre, "behavior"));
    bool isolated = behavior != NULL && strcmp(behavior, "Isolated") == 0;
    bool removed = behavior != NULL && strcmp(behavior, "Removed") == 0;
    q = below(p, "behavior");
    if (!isolated && !(removed && invert))
        return unfit(err, &q, json_object_get(pre, "behavior"),
                     "Isolated, or Removed with invert true");
    return add_step(w, step, p, err);
}

static enum rb_status read_pre(const json_t *pre, const struct place *p, int depth, struct words *w,
                               struct rb_error *err)
{
    static const char expected[] =
        "ByteLevel, or a Sequence of Split, Digits and, last, ByteLevel: only byte-level BPE loads";
    const json_t *list = json_object_get(pre, "pretokenizers");
    if (is_type(pre, "Sequence") && json_is_array(list) && depth > 0) {
        enum rb_status status = RB_OK;
        for (size_t i = 0; i < json_array_size(list) && status == RB_OK; i++) {
            struct place q = below(p, "pretokenizers[%zu]", i);
            status = read_pre(json_array_get(list, i), &q, depth - 1, w, err);
        }
        return status;
    }
    if (w->byte_level)
        return unfit(err, p, pre, "nothing behind ByteLevel");
    if (is_type(pre, "ByteLevel"))
        return read_byte_level(pre, p, w, err);
    if (is_type(pre, "Split"))
        return read_split(pre, p, w, err);
    if (is_type(pre, "Digits")) {
        bool individual = false;
        enum rb_status status = get_bool(pre, p, "individual_digits", false, &individual, err);
        return status == RB_OK ? add_step(w, individual ? RB_PRE_DIGITS : RB_PRE_NUMBERS, p, err)
                               : status;
    }
    return unfit(err, p, pre, expected);
}

static enum rb_status read_words(const json_t *root, const struct place *file,
                                 struct rb_pretokenizer *ret, struct rb_error *err)
{
    struct words w = {0};
    struct place p = below(file, "pre_tokenizer");
    const json_t *pre = json_object_get(root, "pre_tokenizer");
    enum rb_status status = read_pre(pre, &p, 4, &w, err);
    if (status == RB_OK && !w.byte_level)
        return unfit(err, &p, pre, "ByteLevel in it: only byte-level BPE loads");
    if (status == RB_OK)
        *ret = w.pre;
    return status;
}

/* ---- the post-processor ---- */

struct wraps {
    struct rb_template single, pair;
    bool set; /* by a processor that adds tokens */
};

static const char id_expected[] = "the id of a token";

static enum rb_status add_to_part(struct rb_template_part *part, const json_t *id, int type,
                                  const struct place *p, size_t vocab_size, struct rb_error *err)
{
    if (!json_is_integer(id) || json_integer_value(id) < 0 ||
        (uint64_t)json_integer_value(id) >= vocab_size)
        return unfit(err, p, id, id_expected);
    if (part->count == RB_TEMPLATE_PART_IDS)
        return rb_error_set(err, RB_EVOCAB, "%s: %s: more than %d special tokens in a row", p->file,
                            p->member, RB_TEMPLATE_PART_IDS);
    part->ids[part->count] = (int32_t)json_integer_value(id);
    part->types[part->count++] = (uint8_t)type;
    return RB_OK;
}

/* {"sep": ["</s>", 2], "cls": ["<s>", 0]} of RobertaProcessing and BertProcessing. */
static enum rb_status read_cls_sep(const json_t *post, const struct place *p, size_t vocab_size,
                                   bool roberta, struct wraps *w, struct rb_error *err)
{
    struct place pc = below(p, "cls[1]"), ps = below(p, "sep[1]");
    const json_t *cls = json_array_get(json_object_get(post, "cls"), 1);
    const json_t *sep = json_array_get(json_object_get(post, "sep"), 1);
    struct rb_template single = {0};
    enum rb_status status = add_to_part(&single.prefix, cls, 0, &pc, vocab_size, err);
    if (status == RB_OK)
        status = add_to_part(&single.suffix, sep, 0, &ps, vocab_size, err);
    if (status != RB_OK)
        return status;
    int32_t id = single.suffix.ids[0];
    w->single = w->pair = single;
    w->pair.between = roberta ? (struct rb_template_part){2, {id, id}, {0}} : single.suffix;
    if (!roberta) {
        w->pair.suffix.types[0] = 1;
        w->pair.types[1] = 1;
    }
    return RB_OK;
}

/* A template under construction: which part comes next. */
struct filling {
    struct rb_template *wrap;
    struct rb_template_part *part;
    bool pair;
    int seen; /* sequences so far */
};

static enum rb_status add_sequence(struct filling *f, const json_t *piece, int type,
                                   const struct place *p, struct rb_error *err)
{
    const char *id = json_string_value(json_object_get(piece, "id"));
    const char *wanted = f->seen == 0 ? "A" : "B";
    struct place q = below(p, "Sequence.id");
    if (f->seen == 1 + f->pair || id == NULL || strcmp(id, wanted) != 0)
        return unfit(err, &q, json_object_get(piece, "id"),
                     f->pair ? "A once and then B once" : "A once");
    f->wrap->types[f->seen++] = (uint8_t)type;
    f->part = f->pair && f->seen == 1 ? &f->wrap->between : &f->wrap->suffix;
    return RB_OK;
}

static enum rb_status add_special(struct filling *f, const json_t *piece, int type,
                                  const json_t *specials, const struct place *p, size_t vocab_size,
                                  struct rb_error *err)
{
    const char *name = json_string_value(json_object_get(piece, "id"));
    const json_t *ids =
        json_object_get(name != NULL ? json_object_get(specials, name) : NULL, "ids");
    struct place q = below(p, "SpecialToken.id");
    if (json_array_size(ids) == 0)
        return unfit(err, &q, json_object_get(piece, "id"),
                     "a name that special_tokens gives ids for");
    for (size_t i = 0; i < json_array_size(ids); i++) {
        enum rb_status status =
            add_to_part(f->part, json_array_get(ids, i), type, &q, vocab_size, err);
        if (status != RB_OK)
            return status;
    }
    return RB_OK;
}

static enum rb_status add_piece(struct filling *f, const json_t *piece, const json_t *specials,
                                const struct place *p, size_t vocab_size, struct rb_error *err)
{
    const json_t *sequence = json_object_get(piece, "Sequence");
    const json_t *special = json_object_get(piece, "SpecialToken");
    const json_t *inner = sequence != NULL ? sequence : special;
    const json_t *type = json_object_get(inner, "type_id");
    struct place q = below(p, "type_id");
    if (!json_is_object(inner))
        return unfit(err, p, piece, "an object with Sequence or SpecialToken");
    if (!json_is_integer(type) || json_integer_value(type) < 0 || json_integer_value(type) > 1)
        return unfit(err, &q, type, "0 or 1");
    int value = (int)json_integer_value(type);
    if (sequence != NULL)
        return add_sequence(f, sequence, value, p, err);
    return add_special(f, special, value, specials, p, vocab_size, err);
}

static enum rb_status read_template(const json_t *post, const struct place *p, bool pair,
                                    size_t vocab_size, struct rb_template *ret,
                                    struct rb_error *err)
{
    const char *name = pair ? "pair" : "single";
    const json_t *list = json_object_get(post, name);
    const json_t *specials = json_object_get(post, "special_tokens");
    struct rb_template wrap = {0};
    struct filling f = {.wrap = &wrap, .part = &wrap.prefix, .pair = pair};
    struct place q = below(p, "%s", name);
    if (!json_is_array(list))
        return unfit(err, &q, list, "an array of pieces");
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct place r = below(&q, "[%zu]", i);
        enum rb_status status =
            add_piece(&f, json_array_get(list, i), specials, &r, vocab_size, err);
        if (status != RB_OK)
            return status;
    }
    if (f.seen != 1 + pair)
        return unfit(err, &q, list,
                     pair ? "both sequences, A and B, in it" : "the sequence A in it");
    *ret = wrap;
    return RB_OK;
}

static enum rb_status read_post(const json_t *post, const struct place *p, int depth,
                                size_t vocab_size, struct wraps *w, struct rb_error *err)
{
    if (is_absent(post) || is_type(post, "ByteLevel"))
        return RB_OK;
    const json_t *list = json_object_get(post, "processors");
    if (is_type(post, "Sequence") && json_is_array(list) && depth > 0) {
        enum rb_status status = RB_OK;
        for (size_t i = 0; i < json_array_size(list) && status == RB_OK; i++) {
            struct place q = below(p, "processors[%zu]", i);
            status = read_post(json_array_get(list, i), &q, depth - 1, vocab_size, w, err);
        }
        return status;
    }
    bool roberta = is_type(post, "RobertaProcessing"), bert = is_type(post, "BertProcessing");
    bool template = is_type(post, "TemplateProcessing");
    if (!roberta && !bert && !template)
        return unfit(err, p, post,
                     "null, ByteLevel, RobertaProcessing, BertProcessing, TemplateProcessing or a "
                     "Sequence of those");
    if (w->set)
        return unfit(err, p, post, "one processor that adds special tokens, not two");
    w->set = true;
    if (!template)
        return read_cls_sep(post, p, vocab_size, roberta, w, err);
    enum rb_status status = read_template(post, p, false, vocab_size, &w->single, err);
    return status == RB_OK ? read_template(post, p, true, vocab_size, &w->pair, err) : status;
}

static enum rb_status set_wraps(struct rb_tokenizer *t, const json_t *root,
                                const struct place *file, struct rb_error *err)
{
    struct wraps w = {.pair.types = {0, 1}};
    struct place p = below(file, "post_processor");
    enum rb_status status = read_post(json_object_get(root, "post_processor"), &p, 4,
                                      rb_tokenizer_vocab_size(t), &w, err);
    if (status != RB_OK)
        return status;
    t->single = w.single;
    t->pair = w.pair;
    return RB_OK;
}

/* ---- BPE ---- */

/* "a b" or ["a", "b"]. */
static bool take_merge(const json_t *value, struct rb_bpe_pair *ret)
{
    if (json_is_array(value)) {
        const char *a = json_string_value(json_array_get(value, 0));
        const char *b = json_string_value(json_array_get(value, 1));
        if (json_array_size(value) != 2 || a == NULL || b == NULL)
            return false;
        *ret = (struct rb_bpe_pair){a, b, strlen(a)};
        return true;
    }
    const char *text = json_string_value(value);
    const char *space = text != NULL ? strchr(text, ' ') : NULL;
    if (space == NULL || strchr(space + 1, ' ') != NULL)
        return false;
    *ret = (struct rb_bpe_pair){text, space + 1, (size_t)(space - text)};
    return true;
}

static bool is_version(const json_t *value)
{
    const char *text = json_string_value(value);
    return text != NULL && strncmp(text, "#version", 8) == 0;
}

/* A new array. */
static enum rb_status read_merges(const json_t *model, const struct place *p,
                                  struct rb_bpe_pair **ret, size_t *ret_count, struct rb_error *err)
{
    const json_t *list = json_object_get(model, "merges");
    struct place q = below(p, "merges");
    if (!json_is_array(list))
        return unfit(err, &q, list, "an array of merges");
    size_t count = json_array_size(list), kept = 0;
    if (count > MERGES_MAX)
        return rb_error_set(err, RB_EVOCAB, "%s: %s: %zu of them, at most %d are allowed", q.file,
                            q.member, count, MERGES_MAX);
    struct rb_bpe_pair *pairs = calloc(count + 1, sizeof *pairs);
    if (pairs == NULL)
        return no_memory(err, &q);
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(list, i);
        if (is_version(value))
            continue;
        if (!take_merge(value, &pairs[kept])) {
            struct place r = below(&q, "[%zu]", i);
            free(pairs);
            return unfit(err, &r, value, "\"a b\" or [\"a\", \"b\"]");
        }
        kept++;
    }
    *ret = pairs;
    *ret_count = kept;
    return RB_OK;
}

static enum rb_status read_bpe_options(const json_t *model, const struct place *p,
                                       struct rb_bpe_parts *parts, struct rb_error *err)
{
    const json_t *dropout = json_object_get(model, "dropout");
    struct place q = below(p, "dropout");
    const char *prefix, *suffix;
    if (!is_absent(dropout) && !(json_is_number(dropout) && json_number_value(dropout) == 0))
        return unfit(err, &q, dropout, "null: ids must not depend on chance");
    enum rb_status status = get_bool(model, p, "fuse_unk", true, &parts->fuse_unk, err);
    if (status == RB_OK)
        status = get_bool(model, p, "ignore_merges", true, &parts->ignore_merges, err);
    if (status == RB_OK)
        status = get_string(model, p, "unk_token", &parts->unk_token, err);
    if (status == RB_OK)
        status = get_string(model, p, "continuing_subword_prefix", &prefix, err);
    if (status == RB_OK)
        status = get_string(model, p, "end_of_word_suffix", &suffix, err);
    if (status != RB_OK)
        return status;
    parts->prefix = prefix != NULL ? prefix : "";
    parts->suffix = suffix != NULL ? suffix : "";
    return RB_OK;
}

/* Falling back to tokens for bytes has no place where every byte is a character; files that say so
 * are of another kind, unless they have a token for each. */
static enum rb_status check_fallback(const json_t *model, const struct place *p,
                                     const struct rb_vocabulary *v, struct rb_error *err)
{
    bool fallback = false;
    struct place q = below(p, "byte_fallback");
    enum rb_status status = get_bool(model, p, "byte_fallback", true, &fallback, err);
    for (int byte = 0; status == RB_OK && fallback && byte < 256; byte++) {
        char text[3];
        size_t n = rb_bpe_byte_char((unsigned char)byte, text);
        if (rb_vocabulary_find(v, text, n) < 0)
            return unfit(err, &q, json_object_get(model, "byte_fallback"),
                         "false: of BPE only the byte-level kind loads");
    }
    return status;
}

static enum rb_status make_bpe(json_t *root, const json_t *model, const struct place *file,
                               const struct rb_tokenizer_settings *settings,
                               struct rb_tokenizer **ret, struct rb_error *err)
{
    struct place p = below(file, "model"), n = below(file, "normalizer");
    struct rb_bpe_parts parts = {.label = file->file, .merges_label = file->file};
    struct rb_bpe_pair *merges = NULL;
    struct rb_added_token *added = NULL;
    enum rb_status status =
        read_normalizer(json_object_get(root, "normalizer"), &n, 4, &parts.compose, err);
    if (status == RB_OK)
        status = read_words(root, file, &parts.words, err);
    if (status == RB_OK)
        status = read_bpe_options(model, &p, &parts, err);
    if (status == RB_OK)
        status = rb_vocabulary_from_json(&parts.vocabulary, file->file, "model.vocab",
                                         json_object_get(model, "vocab"), err);
    if (status == RB_OK)
        status = check_fallback(model, &p, &parts.vocabulary, err);
    if (status == RB_OK)
        status = read_merges(model, &p, &merges, &parts.merge_count, err);
    if (status == RB_OK)
        status = read_added(root, file, &added, &parts.added_count, err);
    if (status == RB_OK) {
        parts.merges = merges;
        parts.added = added;
        parts.added_count = rb_tokenizer_settings_add_specials(settings, &parts.vocabulary, added,
                                                               parts.added_count);
        status = rb_bpe_new(&parts, ret, err);
    }
    rb_vocabulary_deinit(&parts.vocabulary);
    free(merges);
    free(added);
    if (status == RB_OK)
        rb_tokenizer_settings_set_specials(settings, *ret);
    return status;
}

/* ---- WordPiece ---- */

static enum rb_status read_bert_normalizer(const json_t *root, const struct place *file,
                                           struct rb_wordpiece_options *o, struct rb_error *err)
{
    const json_t *n = json_object_get(root, "normalizer");
    const json_t *strip = json_object_get(n, "strip_accents");
    struct place p = below(file, "normalizer"), q = below(&p, "strip_accents");
    bool clean = true;
    if (!is_type(n, "BertNormalizer"))
        return unfit(err, &p, n, "BertNormalizer");
    enum rb_status status = get_bool(n, &p, "clean_text", false, &clean, err);
    if (status == RB_OK)
        status = get_bool(n, &p, "handle_chinese_chars", false, &o->tokenize_chinese_chars, err);
    if (status == RB_OK)
        status = get_bool(n, &p, "lowercase", false, &o->do_lower_case, err);
    if (status != RB_OK)
        return status;
    if (!is_absent(strip) && !json_is_boolean(strip))
        return unfit(err, &q, strip, "true, false or null");
    o->strip_accents = is_absent(strip) ? -1 : json_is_true(strip);
    q = below(&p, "clean_text");
    return clean ? RB_OK : unfit(err, &q, json_object_get(n, "clean_text"), "true");
}

static enum rb_status read_wordpiece_options(const json_t *root, const json_t *model,
                                             const struct place *file,
                                             const struct rb_tokenizer_settings *settings,
                                             struct rb_wordpiece_options *o, struct rb_error *err)
{
    struct place p = below(file, "model"), pre = below(file, "pre_tokenizer");
    rb_wordpiece_options_default(o);
    enum rb_status status = read_bert_normalizer(root, file, o, err);
    if (status != RB_OK)
        return status;
    const json_t *words = json_object_get(root, "pre_tokenizer");
    if (!is_type(words, "BertPreTokenizer"))
        return unfit(err, &pre, words, "BertPreTokenizer");
    const char *prefix = NULL, *unk = NULL;
    status = get_string(model, &p, "continuing_subword_prefix", &prefix, err);
    if (status == RB_OK)
        status = get_string(model, &p, "unk_token", &unk, err);
    if (status != RB_OK)
        return status;
    struct place q = below(&p, "continuing_subword_prefix");
    if (prefix != NULL && strcmp(prefix, "##") != 0)
        return unfit(err, &q, json_object_get(model, "continuing_subword_prefix"), "'##'");
    const json_t *longest = json_object_get(model, "max_input_chars_per_word");
    q = below(&p, "max_input_chars_per_word");
    if (!is_absent(longest) && json_integer_value(longest) != RB_WORD_CHARS)
        return unfit(err, &q, longest, "100");
    const char **const parts[] = {&o->unk_token, &o->sep_token, &o->pad_token, &o->cls_token,
                                  &o->mask_token};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (settings->tokens[i].content != NULL)
            *parts[i] = settings->tokens[i].content;
    if (unk != NULL)
        o->unk_token = unk;
    return RB_OK;
}

static enum rb_status make_wordpiece(json_t *root, const json_t *model, const struct place *file,
                                     const struct rb_tokenizer_settings *settings,
                                     struct rb_tokenizer **ret, struct rb_error *err)
{
    struct rb_wordpiece_options o;
    struct rb_vocabulary v = {0};
    struct rb_added_token *added = NULL;
    struct rb_tokenizer *t = NULL;
    enum rb_status status = read_wordpiece_options(root, model, file, settings, &o, err);
    if (status == RB_OK)
        status = read_added(root, file, &added, &o.added_count, err);
    if (status == RB_OK)
        status = rb_vocabulary_from_json(&v, file->file, "model.vocab",
                                         json_object_get(model, "vocab"), err);
    if (status == RB_OK) {
        o.added = added;
        status = rb_wordpiece_new_from(file->file, &v, &o, &t, err);
    }
    free(added);
    if (status == RB_OK)
        status = set_wraps(t, root, file, err);
    return rb_tokenizer_give(t, status, ret);
}

/* ---- the file ---- */

/* Older files do not say what their model is; the library then looks at what it has. */
static const char *kind_of(const json_t *model)
{
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type != NULL)
        return type;
    if (json_object_get(model, "merges") != NULL)
        return "BPE";
    if (json_object_get(model, "max_input_chars_per_word") != NULL)
        return "WordPiece";
    return "";
}

static enum rb_status make(json_t *root, const char *path,
                           const struct rb_tokenizer_settings *settings, struct rb_tokenizer **ret,
                           struct rb_error *err)
{
    struct place file = {.file = path}, p = below(&file, "model");
    const json_t *model = json_object_get(root, "model");
    const char *kind = kind_of(model);
    if (strcmp(kind, "WordPiece") == 0)
        return make_wordpiece(root, model, &file, settings, ret, err);
    if (strcmp(kind, "BPE") != 0)
        return unfit(err, &p, model, "BPE (byte-level) or WordPiece");
    struct rb_tokenizer *t = NULL;
    enum rb_status status = make_bpe(root, model, &file, settings, &t, err);
    if (status == RB_OK)
        status = set_wraps(t, root, &file, err);
    return rb_tokenizer_give(t, status, ret);
}

enum rb_status rb_tokenizer_json_read(const char *path, json_t **ret, struct rb_error *err)
{
    return rb_json_file(path, limits, RB_EVOCAB, ret, err);
}

enum rb_status rb_tokenizer_json_open(const char *path,
                                      const struct rb_tokenizer_settings *settings,
                                      struct rb_tokenizer **ret, struct rb_error *err)
{
    json_t *root;
    enum rb_status status = rb_tokenizer_json_read(path, &root, err);
    if (status != RB_OK)
        return status;
    status = make(root, path, settings, ret, err);
    json_decref(root);
    return status;
}
