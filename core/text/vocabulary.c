#include "core/text/vocabulary.h"

#include "core/text/unicode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_BYTES = 64 << 20,
    MAX_LINE_BYTES = 1024,
    /* A half-full table of honest tokens never needs a tenth of this; a file built to collide would
     * otherwise make every look-up walk the whole table. */
    MAX_PROBES = 512,
    EXCERPT_BYTES = 64
};

static const char continuation[] = "##";
enum { CONTINUATION_BYTES = sizeof continuation - 1 };

/* A key in two parts, so that "##" + piece need not be put together. */
struct key {
    uint64_t hash;
    const char *prefix;
    size_t prefix_bytes;
    const char *rest;
    size_t rest_bytes;
};

static bool key_is(const struct rb_vocabulary *v, const struct key *k, int32_t id)
{
    size_t bytes;
    const char *token = rb_vocabulary_token(v, (size_t)id, &bytes);
    return bytes == k->prefix_bytes + k->rest_bytes &&
           memcmp(token, k->prefix, k->prefix_bytes) == 0 &&
           memcmp(token + k->prefix_bytes, k->rest, k->rest_bytes) == 0;
}

/* The slot that holds the key or the empty one where it belongs; NULL after MAX_PROBES. */
static struct rb_vocabulary_slot *find_slot(const struct rb_vocabulary *v, const struct key *k)
{
    uint64_t spread = rb_vocabulary_spread(k->hash);
    uint32_t tag = (uint32_t)(spread >> 32);
    size_t at = (size_t)spread & v->slot_mask;
    for (int probe = 0; probe < MAX_PROBES; probe++) {
        struct rb_vocabulary_slot *slot = &v->slots[at];
        if (slot->id < 0 || (slot->tag == tag && key_is(v, k, slot->id)))
            return slot;
        at = (at + 1) & v->slot_mask;
    }
    return NULL;
}

static struct key whole_key(const char *token, size_t bytes)
{
    return (struct key){rb_vocabulary_hash(RB_HASH_START, token, bytes), "", 0, token, bytes};
}

/* Splits the file into tokens; starts has room for one more than the file has lines. */
static enum rb_status read_tokens(struct rb_vocabulary *v, const char *label, const char *vocab,
                                  size_t vocab_bytes, struct rb_error *err)
{
    char *out = v->text;
    const char *end = vocab + vocab_bytes;
    for (const char *line = vocab; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *next = newline != NULL ? newline + 1 : end;
        size_t bytes = (size_t)((newline != NULL ? newline : end) - line);
        if (bytes > 0 && line[bytes - 1] == '\r')
            bytes--;
        if (bytes > MAX_LINE_BYTES)
            return rb_error_set(err, RB_EVOCAB, "%s: line %zu is longer than %d bytes", label,
                                v->count + 1, MAX_LINE_BYTES);
        size_t valid = rb_utf8_valid_prefix(line, bytes);
        if (valid < bytes)
            return rb_error_set(err, RB_EVOCAB, "%s: line %zu is not UTF-8 at byte %zu", label,
                                v->count + 1, valid + 1);
        if (memchr(line, '\0', bytes) != NULL)
            return rb_error_set(err, RB_EVOCAB, "%s: line %zu contains a NUL byte", label,
                                v->count + 1);
        v->starts[v->count++] = (uint32_t)(out - v->text);
        memcpy(out, line, bytes);
        out += bytes;
        *out++ = '\0';
        if (bytes > v->longest_bytes)
            v->longest_bytes = bytes;
        line = next;
    }
    v->starts[v->count] = (uint32_t)(out - v->text);
    return RB_OK;
}

static enum rb_status fill_table(struct rb_vocabulary *v, const char *label, struct rb_error *err)
{
    for (size_t id = 0; id < v->count; id++) {
        size_t bytes;
        if (!rb_vocabulary_has(v, id))
            continue;
        const char *token = rb_vocabulary_token(v, id, &bytes);
        struct key key = whole_key(token, bytes);
        struct rb_vocabulary_slot *slot = find_slot(v, &key);
        if (slot == NULL)
            return rb_error_set(err, RB_EVOCAB,
                                "%s: line %zu: the tokens are built to share one hash", label,
                                id + 1);
        if (slot->id >= 0) {
            char shown[EXCERPT_BYTES];
            return rb_error_set(err, RB_EVOCAB, "%s: line %zu repeats the token '%s' of line %d",
                                label, id + 1, rb_utf8_excerpt(shown, sizeof shown, token, bytes),
                                slot->id + 1);
        }
        slot->tag = (uint32_t)(rb_vocabulary_spread(key.hash) >> 32);
        slot->id = (int32_t)id;
    }
    return RB_OK;
}

static enum rb_status allocate(struct rb_vocabulary *v, const char *label, size_t tokens,
                               size_t text_bytes, struct rb_error *err)
{
    size_t slots = 16;
    while (slots < 2 * tokens)
        slots *= 2;
    *v = (struct rb_vocabulary){.slot_mask = slots - 1};
    v->text = malloc(text_bytes + 1); /* a last line without a newline */
    v->starts = malloc((tokens + 1) * sizeof *v->starts);
    v->slots = malloc(slots * sizeof *v->slots);
    if (v->text == NULL || v->starts == NULL || v->slots == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", label);
    for (size_t i = 0; i < slots; i++)
        v->slots[i] = (struct rb_vocabulary_slot){.id = -1};
    return RB_OK;
}

/* After allocate and the tokens: status, or of the table; nothing is left of v if that is bad. */
static enum rb_status finish(struct rb_vocabulary *v, const char *label, enum rb_status status,
                             struct rb_error *err)
{
    if (status == RB_OK)
        status = fill_table(v, label, err);
    if (status != RB_OK)
        rb_vocabulary_deinit(v);
    return status;
}

static size_t count_lines(const char *text, size_t bytes)
{
    size_t lines = 1;
    for (const char *p = text; (p = memchr(p, '\n', (size_t)(text + bytes - p))) != NULL; p++)
        lines++;
    return lines;
}

enum rb_status rb_vocabulary_init(struct rb_vocabulary *v, const char *label, const char *vocab,
                                  size_t vocab_bytes, struct rb_error *err)
{
    if (vocab_bytes == 0)
        return rb_error_set(err, RB_EVOCAB, "%s: the vocabulary is empty", label);
    if (vocab_bytes > MAX_BYTES)
        return rb_error_set(err, RB_EVOCAB, "%s: the vocabulary is larger than %d MB", label,
                            MAX_BYTES >> 20);
    static const char bom[] = "\xEF\xBB\xBF";
    if (vocab_bytes >= sizeof bom - 1 && memcmp(vocab, bom, sizeof bom - 1) == 0)
        return rb_error_set(err, RB_EVOCAB,
                            "%s: begins with a byte order mark, which would become part of its "
                            "first token: save it as UTF-8 without one",
                            label);
    enum rb_status status = allocate(v, label, count_lines(vocab, vocab_bytes), vocab_bytes, err);
    if (status == RB_OK)
        status = read_tokens(v, label, vocab, vocab_bytes, err);
    return finish(v, label, status, err);
}

/* Lays the tokens out in the order of their ids. */
static enum rb_status place_tokens(struct rb_vocabulary *v, const char *label,
                                   const char *const *tokens, size_t count, struct rb_error *err)
{
    char *out = v->text;
    for (size_t id = 0; id < count; id++) {
        v->starts[id] = (uint32_t)(out - v->text);
        if (tokens[id] == NULL)
            continue;
        size_t bytes = strlen(tokens[id]);
        if (bytes > MAX_LINE_BYTES)
            return rb_error_set(err, RB_EVOCAB, "%s: the token with id %zu is longer than %d bytes",
                                label, id, MAX_LINE_BYTES);
        memcpy(out, tokens[id], bytes + 1);
        out += bytes + 1;
        if (bytes > v->longest_bytes)
            v->longest_bytes = bytes;
    }
    v->count = count;
    v->starts[count] = (uint32_t)(out - v->text);
    return RB_OK;
}

enum rb_status rb_vocabulary_init_ids(struct rb_vocabulary *v, const char *label,
                                      const char *const *tokens, size_t count, struct rb_error *err)
{
    size_t bytes = 0;
    for (size_t id = 0; id < count; id++)
        bytes += tokens[id] != NULL ? strlen(tokens[id]) + 1 : 0;
    if (bytes > MAX_BYTES)
        return rb_error_set(err, RB_EVOCAB, "%s: the vocabulary is larger than %d MB", label,
                            MAX_BYTES >> 20);
    enum rb_status status = allocate(v, label, count, bytes, err);
    if (status == RB_OK)
        status = place_tokens(v, label, tokens, count, err);
    return finish(v, label, status, err);
}

void rb_vocabulary_deinit(struct rb_vocabulary *v)
{
    free(v->text);
    free(v->starts);
    free(v->slots);
    *v = (struct rb_vocabulary){0};
}

static int32_t find_id(const struct rb_vocabulary *v, const struct key *k)
{
    const struct rb_vocabulary_slot *slot = find_slot(v, k);
    return slot != NULL ? slot->id : -1;
}

int32_t rb_vocabulary_find(const struct rb_vocabulary *v, const char *token, size_t bytes)
{
    struct key key = whole_key(token, bytes);
    return find_id(v, &key);
}

int32_t rb_vocabulary_longest(const struct rb_vocabulary *v, const struct rb_word *w, size_t *at)
{
    size_t first = *at;
    assert(first < w->chars && !rb_word_too_long(w));
    struct key key = {.prefix = continuation,
                      .prefix_bytes = first > 0 ? CONTINUATION_BYTES : 0,
                      .rest = w->bytes + w->starts[first]};
    uint64_t hashes[RB_WORD_CHARS + 1]; /* hashes[i]: of the characters before i */
    uint64_t hash = rb_vocabulary_hash(RB_HASH_START, key.prefix, key.prefix_bytes);
    size_t end = first;
    while (end < w->chars &&
           key.prefix_bytes + w->starts[end + 1] - w->starts[first] <= v->longest_bytes) {
        hash = rb_vocabulary_hash(hash, w->bytes + w->starts[end],
                                  (size_t)(w->starts[end + 1] - w->starts[end]));
        hashes[++end] = hash;
    }
    for (; end > first; end--) {
        key.hash = hashes[end];
        key.rest_bytes = (size_t)(w->starts[end] - w->starts[first]);
        int32_t id = find_id(v, &key);
        if (id >= 0) {
            *at = end;
            return id;
        }
    }
    return -1;
}
