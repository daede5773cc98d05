#include "core/text/added.h"

#include "core/text/unicode.h"

#include <stdlib.h>
#include <string.h>

/* ---- making ---- */

static int by_bytes(const void *a, const void *b)
{
    const struct rb_added_pattern *pa = a, *pb = b;
    size_t common = pa->bytes < pb->bytes ? pa->bytes : pb->bytes;
    int order = memcmp(pa->text, pb->text, common);
    if (order != 0)
        return order;
    if (pa->bytes != pb->bytes)
        return pa->bytes < pb->bytes ? -1 : 1;
    return pa->token < pb->token ? -1 : pa->token > pb->token; /* alike once normalised */
}

static const struct rb_added_token *find(const struct rb_added *a, size_t count,
                                         const char *content)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(a->tokens[i].content, content) == 0)
            return &a->tokens[i];
    return NULL;
}

const struct rb_added_token *rb_added_find(const struct rb_added *a, const char *content)
{
    return find(a, a->count, content);
}

const struct rb_added_token *rb_added_with_id(const struct rb_added *a, int32_t id)
{
    for (size_t i = 0; i < a->count; i++)
        if (a->tokens[i].id == id)
            return &a->tokens[i];
    return NULL;
}

static size_t count_tokens(const struct rb_vocabulary *model)
{
    size_t n = 0;
    for (size_t id = 0; id < model->count; id++)
        n += rb_vocabulary_has(model, id);
    return n;
}

static enum rb_status copy_tokens(struct rb_added *a, const char *label,
                                  const struct rb_vocabulary *model,
                                  const struct rb_added_token *tokens, size_t count,
                                  struct rb_error *err)
{
    int32_t next = (int32_t)count_tokens(model); /* so the library counts, gaps or none */
    for (size_t i = 0; i < count; i++) {
        const char *content = tokens[i].content;
        size_t bytes = strlen(content);
        char shown[64];
        if (bytes == 0)
            continue;
        if (bytes > RB_ADDED_BYTES)
            return rb_error_set(err, RB_EVOCAB, "%s: an added token is longer than %d bytes: '%s'",
                                label, RB_ADDED_BYTES,
                                rb_utf8_excerpt(shown, sizeof shown, content, bytes));
        if (find(a, a->count, content) != NULL)
            return rb_error_set(err, RB_EVOCAB, "%s: the added token '%s' comes twice", label,
                                rb_utf8_excerpt(shown, sizeof shown, content, bytes));
        int32_t id = rb_vocabulary_find(model, content, bytes);
        if (id < 0)
            id = next++;
        char *copy = strdup(content);
        if (copy == NULL)
            return rb_error_set(err, RB_ENOMEM, "%s: out of memory", label);
        a->tokens[a->count] = tokens[i];
        a->tokens[a->count].content = copy;
        a->tokens[a->count++].id = id;
    }
    return RB_OK;
}

static void add_pattern(struct rb_added_set *set, const char *text, size_t bytes,
                        const struct rb_added_token *token)
{
    if (bytes == 0) /* nothing is left of it once it is normalised */
        return;
    set->patterns[set->count++] = (struct rb_added_pattern){text, bytes, token};
    set->begins_with[(unsigned char)text[0]] = true;
}

static enum rb_status make_sets(struct rb_added *a, rb_normalize *normalize, const void *data,
                                struct rb_error *err)
{
    for (size_t i = 0; i < a->count; i++) {
        const struct rb_added_token *token = &a->tokens[i];
        const char *text = token->content;
        size_t bytes = strlen(text);
        if (token->normalized && normalize != NULL) {
            enum rb_status status = normalize(data, &text, &bytes, &a->owned[i], err);
            if (status != RB_OK)
                return status;
        }
        add_pattern(token->normalized ? &a->normalized : &a->raw, text, bytes, token);
    }
    qsort(a->raw.patterns, a->raw.count, sizeof *a->raw.patterns, by_bytes);
    qsort(a->normalized.patterns, a->normalized.count, sizeof *a->normalized.patterns, by_bytes);
    return RB_OK;
}

enum rb_status rb_added_init(struct rb_added *a, const char *label,
                             const struct rb_vocabulary *model, const struct rb_added_token *tokens,
                             size_t count, rb_normalize *normalize, const void *data,
                             struct rb_error *err)
{
    if (count > RB_ADDED_MAX)
        return rb_error_set(err, RB_EVOCAB, "%s: %zu added tokens, at most %d are allowed", label,
                            count, RB_ADDED_MAX);
    *a = (struct rb_added){
        .tokens = calloc(count + 1, sizeof *a->tokens),
        .owned = calloc(count + 1, sizeof *a->owned),
    };
    a->raw.patterns = calloc(count + 1, sizeof *a->raw.patterns);
    a->normalized.patterns = calloc(count + 1, sizeof *a->normalized.patterns);
    enum rb_status status = RB_OK;
    if (a->tokens == NULL || a->owned == NULL || a->raw.patterns == NULL ||
        a->normalized.patterns == NULL)
        status = rb_error_set(err, RB_ENOMEM, "%s: out of memory", label);
    if (status == RB_OK)
        status = copy_tokens(a, label, model, tokens, count, err);
    if (status == RB_OK)
        status = make_sets(a, normalize, data, err);
    if (status != RB_OK)
        rb_added_deinit(a);
    return status;
}

void rb_added_deinit(struct rb_added *a)
{
    for (size_t i = 0; i < a->count; i++) {
        free((char *)a->tokens[i].content);
        free(a->owned[i]);
    }
    free(a->tokens);
    free(a->owned);
    free(a->raw.patterns);
    free(a->normalized.patterns);
    *a = (struct rb_added){0};
}

/* ---- looking for them ---- */

/* The longest pattern that text begins with; NULL if none does. One byte after the other narrows
 * the range of patterns that begin like it. */
static const struct rb_added_pattern *longest_at(const struct rb_added_set *set, const char *text,
                                                 size_t bytes)
{
    const struct rb_added_pattern *found = NULL;
    size_t low = 0, high = set->count;
    for (size_t depth = 0; depth < bytes && low < high; depth++) {
        unsigned char c = (unsigned char)text[depth];
        size_t from = low, to = high;
        while (from < to) { /* the first whose byte here is at least c */
            size_t middle = from + (to - from) / 2;
            const struct rb_added_pattern *p = &set->patterns[middle];
            if (p->bytes <= depth || (unsigned char)p->text[depth] < c)
                from = middle + 1;
            else
                to = middle;
        }
        low = from;
        to = high;
        while (from < to) { /* the first whose byte is more */
            size_t middle = from + (to - from) / 2;
            if ((unsigned char)set->patterns[middle].text[depth] <= c)
                from = middle + 1;
            else
                to = middle;
        }
        high = from;
        if (low < high && set->patterns[low].bytes == depth + 1)
            found = &set->patterns[low];
    }
    return found;
}

struct split {
    const struct rb_added_set *set;
    const char *text;
    size_t bytes;
    size_t done;        /* what the parts told so far cover */
    size_t spaces_end;  /* white space that an rstrip has been over reaches from … */
    size_t spaces_from; /* … here to there, so that nothing is looked at twice */
};

static bool word_before(const struct split *s, size_t at)
{
    if (at == 0)
        return false;
    size_t begin = at - 1;
    while (begin > 0 && ((unsigned char)s->text[begin] & 0xC0) == 0x80)
        begin--;
    int32_t code;
    return rb_utf8_decode(s->text + begin, s->bytes - begin, &code) > 0 && rb_char_is_word(code);
}

static bool word_behind(const struct split *s, size_t at)
{
    int32_t code;
    return at < s->bytes && rb_utf8_decode(s->text + at, s->bytes - at, &code) > 0 &&
           rb_char_is_word(code);
}

/* Where the white space before `at` begins, not before what is done. */
static size_t spaces_before(const struct split *s, size_t at)
{
    while (at > s->done) {
        size_t begin = at - 1;
        while (begin > s->done && ((unsigned char)s->text[begin] & 0xC0) == 0x80)
            begin--;
        int32_t code;
        if (rb_utf8_decode(s->text + begin, at - begin, &code) != at - begin ||
            !rb_char_is_space(code))
            break;
        at = begin;
    }
    return at;
}

static size_t spaces_behind(struct split *s, size_t at)
{
    if (at >= s->spaces_from && at < s->spaces_end)
        return s->spaces_end;
    s->spaces_from = at;
    while (at < s->bytes) {
        int32_t code;
        size_t n = rb_utf8_decode(s->text + at, s->bytes - at, &code);
        if (n == 0 || !rb_char_is_space(code))
            break;
        at += n;
    }
    s->spaces_end = at;
    return at;
}

/* The part that the match takes, as the library counts it: with rstrip, the next match may lie
 * inside what was stripped. */
static enum rb_status take(struct split *s, const struct rb_added_token *token, size_t start,
                           size_t stop, rb_added_visit *visit, void *data, struct rb_error *err)
{
    if (token->single_word && (word_before(s, start) || word_behind(s, stop)))
        return RB_OK;
    if (token->lstrip) {
        size_t from = start > s->done ? spaces_before(s, start) : start;
        start = from > s->done ? from : s->done;
    }
    if (token->rstrip)
        stop = spaces_behind(s, stop);
    if (s->done < start) {
        enum rb_status status = visit(data, s->text + s->done, start - s->done, -1, err);
        if (status != RB_OK)
            return status;
    }
    s->done = stop;
    return visit(data, s->text + start, stop > start ? stop - start : 0, token->id, err);
}

enum rb_status rb_added_split(const struct rb_added_set *set, const char *text, size_t bytes,
                              rb_added_visit *visit, void *data, struct rb_error *err)
{
    struct split s = {.set = set, .text = text, .bytes = bytes};
    for (size_t at = 0; set->count > 0 && at < bytes;) {
        const struct rb_added_pattern *p = set->begins_with[(unsigned char)text[at]]
                                               ? longest_at(set, text + at, bytes - at)
                                               : NULL;
        if (p == NULL) {
            at++;
            continue;
        }
        enum rb_status status = take(&s, p->token, at, at + p->bytes, visit, data, err);
        if (status != RB_OK)
            return status;
        at += p->bytes;
    }
    if (s.done < bytes)
        return visit(data, text + s.done, bytes - s.done, -1, err);
    return RB_OK;
}

/* ---- two of them ---- */

static bool has_space(const char *text)
{
    size_t bytes = strlen(text);
    for (size_t i = 0; i < bytes;) {
        int32_t code;
        size_t n = rb_utf8_decode(text + i, bytes - i, &code);
        if (n > 0 && rb_char_is_space(code))
            return true;
        i += n > 0 ? n : 1;
    }
    return false;
}

/* Can an occurrence of a and one of b share bytes? */
static bool overlap(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    if (strstr(a, b) != NULL || strstr(b, a) != NULL)
        return true;
    for (size_t n = 1; n < na && n < nb; n++)
        if (memcmp(a + na - n, b, n) == 0 || memcmp(b + nb - n, a, n) == 0)
            return true;
    return false;
}

/* Is it all one which of the tokens are looked for first, as long as the text stays the same? */
static bool order_is_free(const struct rb_added *a)
{
    enum { LOOKED_AT = 512 };
    if (a->raw.count == 0 || a->normalized.count == 0)
        return true;
    if (a->count > LOOKED_AT)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (a->tokens[i].single_word || has_space(a->tokens[i].content))
            return false;
        for (size_t j = 0; j < i; j++)
            if (overlap(a->tokens[i].content, a->tokens[j].content))
                return false;
    }
    return true;
}

enum rb_status rb_added_equal(const struct rb_added *a, const struct rb_added *b,
                              bool has_normalizer, struct rb_error *err)
{
    bool free_order = !has_normalizer && order_is_free(a) && order_is_free(b);
    for (int side = 0; side < 2; side++) {
        const struct rb_added *one = side == 0 ? a : b, *other = side == 0 ? b : a;
        for (size_t i = 0; i < one->count; i++) {
            const struct rb_added_token *x = &one->tokens[i];
            const struct rb_added_token *y = rb_added_find(other, x->content);
            char shown[64];
            rb_utf8_excerpt(shown, sizeof shown, x->content, strlen(x->content));
            if (y == NULL)
                return rb_error_set(err, RB_EMODELS,
                                    "the tokenizers differ: '%s' is an added token in %s only",
                                    shown, side == 0 ? "A" : "B");
            if (x->id != y->id || x->single_word != y->single_word || x->lstrip != y->lstrip ||
                x->rstrip != y->rstrip || (x->normalized != y->normalized && !free_order))
                return rb_error_set(err, RB_EMODELS,
                                    "the tokenizers differ in the id or the flags of the added "
                                    "token '%s'",
                                    shown);
        }
    }
    return RB_OK;
}
