/* DESIGN. A word begins as one symbol per byte; the pair of neighbours whose merge comes first in
 * the list is merged, the leftmost of equals, until no pair is in the list. Short words do that by
 * looking through all pairs each time; long ones, which only odd texts have, by a heap of pairs
 * over a linked list, in n log n steps. Both give the same. Merges are found in one hash table by
 * the pair of ids; its probes are bounded, as a vocabulary's. */
#include "core/text/bpe.h"

#include "core/sequences.h"
#include "core/text/unicode.h"

#include <stdlib.h>
#include <string.h>

enum { SHORT_WORD = 48, MAX_PROBES = 512, MAPPED_BYTES = 2 };

#define NO_MERGE UINT32_MAX

struct merge {
    int32_t a, b, result;
    uint32_t rank; /* in the file; later in the tokenizer: its place among those that count */
};

struct bpe {
    struct rb_tokenizer base;
    struct merge *merges; /* by rank */
    size_t merge_count;
    uint32_t *slots; /* indices of merges, NO_MERGE: empty */
    size_t slot_mask;
    int32_t symbols[2][2][256]; /* [first of the word][last of it][byte]: its id, -1: none */
    int32_t unk;                /* -1: bytes without a token vanish */
    bool fuse_unk, ignore_merges, compose;
    struct rb_pretokenizer words;
};

static const struct rb_tokenizer_ops ops;

size_t rb_bpe_byte_char(unsigned char byte, char out[3])
{
    unsigned code = byte;
    if (byte <= ' ')
        code = 0x100U + byte;
    else if (byte >= 0x7F && byte <= 0xA0)
        code = 0x100U + 33 + (byte - 0x7FU);
    else if (byte == 0xAD)
        code = 0x100U + 67;
    size_t n = 0;
    if (code >= 0x80)
        out[n++] = (char)(0xC0 | code >> 6);
    out[n] = (char)(code >= 0x80 ? 0x80 | (code & 0x3F) : code);
    out[++n] = '\0';
    return n;
}

/* ---- merges ---- */

static size_t home_slot(const struct bpe *m, int32_t a, int32_t b)
{
    uint64_t key = (uint64_t)(uint32_t)a << 32 | (uint32_t)b;
    return (size_t)(rb_mix(key) & m->slot_mask);
}

/* The slot that holds the pair or the empty one where it belongs; NULL after MAX_PROBES. */
static uint32_t *find_slot(const struct bpe *m, int32_t a, int32_t b)
{
    size_t at = home_slot(m, a, b);
    for (int probe = 0; probe < MAX_PROBES; probe++) {
        uint32_t *slot = &m->slots[at];
        if (*slot == NO_MERGE || (m->merges[*slot].a == a && m->merges[*slot].b == b))
            return slot;
        at = (at + 1) & m->slot_mask;
    }
    return NULL;
}

/* The rank of the merge of a and b; NO_MERGE if they do not merge. */
static uint32_t rank_of(const struct bpe *m, int32_t a, int32_t b)
{
    const uint32_t *slot = find_slot(m, a, b);
    return slot != NULL ? *slot : NO_MERGE;
}

static enum rb_status not_a_token(const struct rb_bpe_parts *p, size_t merge, const char *token,
                                  size_t bytes, struct rb_error *err)
{
    char shown[64];
    return rb_error_set(err, RB_EVOCAB, "%s: merge %zu: '%s' is not in the vocabulary",
                        p->merges_label, merge + 1,
                        rb_utf8_excerpt(shown, sizeof shown, token, bytes));
}

/* The id of a + b without the prefix that b has as a continuation. */
static int32_t find_joined(const struct rb_vocabulary *v, const char *a, size_t a_bytes,
                           const char *b, size_t b_bytes)
{
    char joined[2 * RB_ADDED_BYTES + 1];
    if (a_bytes + b_bytes > v->longest_bytes || a_bytes + b_bytes > sizeof joined)
        return -1;
    memcpy(joined, a, a_bytes);
    memcpy(joined + a_bytes, b, b_bytes);
    return rb_vocabulary_find(v, joined, a_bytes + b_bytes);
}

static enum rb_status read_merge(const struct rb_bpe_parts *p, const struct rb_vocabulary *v,
                                 size_t i, struct merge *ret, struct rb_error *err)
{
    const struct rb_bpe_pair *pair = &p->merges[i];
    size_t b_bytes = strlen(pair->b), prefix = strlen(p->prefix);
    ret->a = rb_vocabulary_find(v, pair->a, pair->a_bytes);
    if (ret->a < 0)
        return not_a_token(p, i, pair->a, pair->a_bytes, err);
    ret->b = rb_vocabulary_find(v, pair->b, b_bytes);
    if (ret->b < 0)
        return not_a_token(p, i, pair->b, b_bytes, err);
    if (b_bytes < prefix)
        return rb_error_set(err, RB_EVOCAB,
                            "%s: merge %zu: its second token is shorter than the "
                            "continuing_subword_prefix",
                            p->merges_label, i + 1);
    ret->result = find_joined(v, pair->a, pair->a_bytes, pair->b + prefix, b_bytes - prefix);
    if (ret->result < 0)
        return rb_error_set(err, RB_EVOCAB,
                            "%s: merge %zu: what its two tokens make is not in the vocabulary",
                            p->merges_label, i + 1);
    ret->rank = (uint32_t)i;
    return RB_OK;
}

static int by_rank(const void *a, const void *b)
{
    uint32_t ra = ((const struct merge *)a)->rank, rb = ((const struct merge *)b)->rank;
    return ra < rb ? -1 : ra > rb;
}

static enum rb_status fill_slots(struct bpe *m, const struct rb_bpe_parts *p, struct rb_error *err)
{
    memset(m->slots, 0xFF, (m->slot_mask + 1) * sizeof *m->slots);
    size_t kept = 0;
    for (size_t i = 0; i < m->merge_count; i++) {
        uint32_t *slot = find_slot(m, m->merges[i].a, m->merges[i].b);
        if (slot == NULL)
            return rb_error_set(err, RB_EVOCAB,
                                "%s: merge %u: the merges are built to share one hash",
                                p->merges_label, m->merges[i].rank + 1);
        if (*slot !=
            NO_MERGE) { /* of a pair that comes twice the later counts, as in the library */
            m->merges[*slot].rank = m->merges[i].rank;
            continue;
        }
        *slot = (uint32_t)kept;
        m->merges[kept++] = m->merges[i];
    }
    m->merge_count = kept;
    return RB_OK;
}

static enum rb_status init_merges(struct bpe *m, const struct rb_bpe_parts *p, struct rb_error *err)
{
    size_t slots = 16;
    while (slots < 2 * p->merge_count)
        slots *= 2;
    m->slot_mask = slots - 1;
    m->merges = malloc((p->merge_count + 1) * sizeof *m->merges);
    m->slots = malloc(slots * sizeof *m->slots);
    if (m->merges == NULL || m->slots == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", p->merges_label);
    for (size_t i = 0; i < p->merge_count; i++) {
        enum rb_status status = read_merge(p, &m->base.vocabulary, i, &m->merges[i], err);
        if (status != RB_OK)
            return status;
    }
    m->merge_count = p->merge_count;
    enum rb_status status = fill_slots(m, p, err);
    if (status != RB_OK)
        return status;
    /* Where a pair came twice, the order has changed. */
    qsort(m->merges, m->merge_count, sizeof *m->merges, by_rank);
    return fill_slots(m, p, err);
}

/* ---- bytes ---- */

static void init_symbols(struct bpe *m, const struct rb_bpe_parts *p)
{
    size_t prefix = strlen(p->prefix), suffix = strlen(p->suffix);
    char text[2 * RB_BPE_AFFIX_BYTES + MAPPED_BYTES + 1];
    for (int first = 0; first < 2; first++)
        for (int last = 0; last < 2; last++)
            for (int byte = 0; byte < 256; byte++) {
                size_t n = first ? 0 : prefix;
                memcpy(text, p->prefix, n);
                n += rb_bpe_byte_char((unsigned char)byte, text + n);
                memcpy(text + n, p->suffix, last ? suffix : 0);
                n += last ? suffix : 0;
                m->symbols[first][last][byte] = rb_vocabulary_find(&m->base.vocabulary, text, n);
            }
}

/* Every byte that UTF-8 can have is a token wherever it stands? */
static bool knows_all_bytes(const struct bpe *m)
{
    for (int i = 0; i < 4; i++)
        for (int byte = 0; byte < 256; byte++) {
            bool in_utf8 = byte != 0xC0 && byte != 0xC1 && byte <= 0xF4;
            if (in_utf8 && m->symbols[i & 1][i >> 1][byte] < 0)
                return false;
        }
    return true;
}

static enum rb_status init_unknown(struct bpe *m, const struct rb_bpe_parts *p,
                                   struct rb_error *err)
{
    m->unk = -1;
    if (p->unk_token != NULL)
        m->unk = rb_vocabulary_find(&m->base.vocabulary, p->unk_token, strlen(p->unk_token));
    if (knows_all_bytes(m)) {
        m->unk = -1;
        m->fuse_unk = false;
    } else if (p->unk_token != NULL && m->unk < 0) {
        char shown[64];
        return rb_error_set(
            err, RB_EVOCAB,
            "%s: model.unk_token: '%s' is not in the vocabulary, which lacks bytes too", p->label,
            rb_utf8_excerpt(shown, sizeof shown, p->unk_token, strlen(p->unk_token)));
    }
    return RB_OK;
}

/* ---- making ---- */

static void bpe_free(struct rb_tokenizer *t)
{
    struct bpe *m = (struct bpe *)t;
    free(m->merges);
    free(m->slots);
    free(m);
}

static enum rb_status normalize(const void *data, const char **text, size_t *bytes,
                                char **ret_owned, struct rb_error *err)
{
    const struct bpe *m = data;
    if (!m->compose || rb_utf8_compose(text, bytes, ret_owned))
        return RB_OK;
    return rb_error_set(err, RB_ENOMEM, "out of memory for a text of %zu bytes", *bytes);
}

static enum rb_status init(struct bpe *m, const struct rb_bpe_parts *p, struct rb_error *err)
{
    if (strlen(p->prefix) > RB_BPE_AFFIX_BYTES || strlen(p->suffix) > RB_BPE_AFFIX_BYTES)
        return rb_error_set(err, RB_EVOCAB,
                            "%s: model: continuing_subword_prefix or end_of_word_suffix is longer "
                            "than %d bytes",
                            p->label, RB_BPE_AFFIX_BYTES);
    init_symbols(m, p);
    enum rb_status status = init_unknown(m, p, err);
    if (status == RB_OK)
        status = init_merges(m, p, err);
    if (status == RB_OK)
        status = rb_added_init(&m->base.added, p->label, &m->base.vocabulary, p->added,
                               p->added_count, normalize, m, err);
    return status;
}

enum rb_status rb_bpe_new(struct rb_bpe_parts *p, struct rb_tokenizer **ret, struct rb_error *err)
{
    struct bpe *m = calloc(1, sizeof *m);
    if (m == NULL) {
        rb_vocabulary_deinit(&p->vocabulary);
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", p->label);
    }
    m->base.ops = &ops;
    m->base.vocabulary = p->vocabulary;
    p->vocabulary = (struct rb_vocabulary){0};
    m->words = p->words;
    m->fuse_unk = p->fuse_unk;
    m->ignore_merges = p->ignore_merges;
    m->compose = p->compose;
    for (int i = 0; i < RB_SPECIAL_COUNT; i++)
        m->base.special[i] = -1;
    enum rb_status status = init(m, p, err);
    if (status != RB_OK) {
        rb_tokenizer_free(&m->base);
        return status;
    }
    *ret = &m->base;
    return RB_OK;
}

/* ---- one word ---- */

struct encoder {
    const struct bpe *m;
    struct rb_ids *ids;
};

/* The symbols of a word's bytes; returns how many. out has room for one each. */
static size_t to_symbols(const struct bpe *m, const char *word, size_t bytes, int32_t *out)
{
    size_t n = 0;
    bool unknown = false; /* the symbol before is the unknown token */
    for (size_t i = 0; i < bytes; i++) {
        int32_t id = m->symbols[i == 0][i + 1 == bytes][(unsigned char)word[i]];
        if (id >= 0) {
            out[n++] = id;
            unknown = false;
        } else if (m->unk >= 0 && !(unknown && m->fuse_unk)) {
            out[n++] = m->unk;
            unknown = true;
        }
    }
    return n;
}

/* Merges in place; returns how many are left. n <= SHORT_WORD. */
static size_t merge_short(const struct bpe *m, int32_t *symbols, size_t n)
{
    uint32_t ranks[SHORT_WORD];
    for (size_t i = 0; i + 1 < n; i++)
        ranks[i] = rank_of(m, symbols[i], symbols[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best])
                best = i;
        if (ranks[best] == NO_MERGE)
            break;
        symbols[best] = m->merges[ranks[best]].result;
        n--;
        memmove(symbols + best + 1, symbols + best + 2, (n - best - 1) * sizeof *symbols);
        memmove(ranks + best, ranks + best + 1, (n - best - 1) * sizeof *ranks);
        if (best > 0)
            ranks[best - 1] = rank_of(m, symbols[best - 1], symbols[best]);
        if (best + 1 < n)
            ranks[best] = rank_of(m, symbols[best], symbols[best + 1]);
    }
    return n;
}

/* ---- a long word ---- */

#define NONE UINT32_MAX

struct candidate {
    uint32_t rank, at; /* the pair that begins at symbol `at` */
};

struct long_word {
    int32_t *symbols;
    uint32_t *next, *before; /* NONE at the ends; next[i] == i: symbol i is gone */
    struct candidate *heap;  /* the least first */
    size_t heap_count;
};

static bool less(struct candidate a, struct candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void push(struct long_word *w, struct candidate c)
{
    size_t at = w->heap_count++;
    while (at > 0 && less(c, w->heap[(at - 1) / 2])) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = c;
}

static struct candidate pop(struct long_word *w)
{
    struct candidate top = w->heap[0], last = w->heap[--w->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= w->heap_count)
            break;
        if (child + 1 < w->heap_count && less(w->heap[child + 1], w->heap[child]))
            child++;
        if (!less(w->heap[child], last))
            break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return top;
}

static void offer(const struct bpe *m, struct long_word *w, uint32_t at)
{
    if (at == NONE || w->next[at] == NONE)
        return;
    uint32_t rank = rank_of(m, w->symbols[at], w->symbols[w->next[at]]);
    if (rank != NO_MERGE)
        push(w, (struct candidate){rank, at});
}

/* Merges in place; returns how many are left. */
static size_t merge_all(const struct bpe *m, struct long_word *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        w->next[i] = i + 1 < n ? (uint32_t)i + 1 : NONE;
        w->before[i] = i > 0 ? (uint32_t)i - 1 : NONE;
    }
    for (size_t i = 0; i < n; i++)
        offer(m, w, (uint32_t)i);
    while (w->heap_count > 0) {
        struct candidate c = pop(w);
        uint32_t at = c.at, gone = w->next[at];
        if (gone == at || gone == NONE || rank_of(m, w->symbols[at], w->symbols[gone]) != c.rank)
            continue; /* one of the two has been merged since */
        w->symbols[at] = m->merges[c.rank].result;
        w->next[at] = w->next[gone];
        if (w->next[at] != NONE)
            w->before[w->next[at]] = at;
        w->next[gone] = gone;
        offer(m, w, w->before[at]);
        offer(m, w, at);
    }
    size_t left = 0;
    for (uint32_t i = 0; i != NONE && n > 0; i = w->next[i])
        w->symbols[left++] = w->symbols[i]; /* left <= i */
    return left;
}

/* Symbols are merged in place. A merge takes one candidate and leaves at most two: 2n suffice. */
static bool merge_long(const struct bpe *m, int32_t *symbols, size_t n, size_t *ret_left)
{
    struct long_word w = {
        .symbols = symbols,
        .next = malloc(n * sizeof *w.next),
        .before = malloc(n * sizeof *w.before),
        .heap = malloc(2 * n * sizeof *w.heap),
    };
    bool made = w.next != NULL && w.before != NULL && w.heap != NULL;
    if (made)
        *ret_left = merge_all(m, &w, n);
    free(w.next);
    free(w.before);
    free(w.heap);
    return made;
}

/* ---- a text ---- */

/* The token that the word is by itself; -1 if it is none. */
static int32_t whole_word(const struct bpe *m, const char *word, size_t bytes)
{
    char text[RB_ADDED_BYTES + MAPPED_BYTES + 1];
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        n += rb_bpe_byte_char((unsigned char)word[i], text + n);
        if (n > m->base.vocabulary.longest_bytes || n > RB_ADDED_BYTES)
            return -1;
    }
    return rb_vocabulary_find(&m->base.vocabulary, text, n);
}

static enum rb_status encode_word(void *data, const char *word, size_t bytes, struct rb_error *err)
{
    struct encoder *e = data;
    struct rb_ids *ids = e->ids;
    if (!rb_ids_reserve(ids, bytes))
        goto err_memory;
    int32_t whole = e->m->ignore_merges ? whole_word(e->m, word, bytes) : -1;
    if (whole >= 0) {
        ids->ids[ids->count++] = whole;
        return RB_OK;
    }
    int32_t *symbols = ids->ids + ids->count;
    size_t n = to_symbols(e->m, word, bytes, symbols);
    if (n <= SHORT_WORD)
        n = merge_short(e->m, symbols, n);
    else if (!merge_long(e->m, symbols, n, &n))
        goto err_memory;
    ids->count += n;
    return RB_OK;

err_memory:
    return rb_error_set(err, RB_ENOMEM, "out of memory for the tokens of a word of %zu bytes",
                        bytes);
}

static enum rb_status encode(const struct rb_tokenizer *t, const char *text, size_t bytes,
                             struct rb_ids *ids, struct rb_error *err)
{
    struct encoder e = {(const struct bpe *)t, ids};
    return rb_pretokenize(&e.m->words, text, bytes, encode_word, &e, err);
}

/* ---- two of them ---- */

static enum rb_status merges_equal(const struct bpe *a, const struct bpe *b, struct rb_error *err)
{
    size_t common = a->merge_count < b->merge_count ? a->merge_count : b->merge_count;
    for (size_t i = 0; i < common; i++) {
        const struct merge *x = &a->merges[i], *y = &b->merges[i];
        if (x->a != y->a || x->b != y->b || x->result != y->result)
            return rb_error_set(err, RB_EMODELS, "the tokenizers differ from merge %zu on", i + 1);
    }
    if (a->merge_count != b->merge_count)
        return rb_error_set(err, RB_EMODELS,
                            "the tokenizers differ in their merges: %zu in A, %zu in B",
                            a->merge_count, b->merge_count);
    return RB_OK;
}

static enum rb_status words_equal(const struct rb_pretokenizer *a, const struct rb_pretokenizer *b,
                                  struct rb_error *err)
{
    size_t n = a->count > b->count ? a->count : b->count;
    for (size_t i = 0; i < n; i++) {
        const char *x = i < a->count ? rb_pre_step_name(a->steps[i]) : "nothing";
        const char *y = i < b->count ? rb_pre_step_name(b->steps[i]) : "nothing";
        if (strcmp(x, y) != 0)
            return rb_tokenizer_differ(err, "how they cut a text into words", x, y);
    }
    return RB_OK;
}

static enum rb_status equal(const struct rb_tokenizer *ta, const struct rb_tokenizer *tb,
                            struct rb_error *err)
{
    const struct bpe *a = (const struct bpe *)ta, *b = (const struct bpe *)tb;
    if (a->compose != b->compose)
        return rb_tokenizer_differ(err, "their normalizer", a->compose ? "NFC" : "none",
                                   b->compose ? "NFC" : "none");
    enum rb_status status = words_equal(&a->words, &b->words, err);
    if (status == RB_OK)
        status = merges_equal(a, b, err);
    if (status != RB_OK)
        return status;
    if (a->ignore_merges != b->ignore_merges)
        return rb_tokenizer_differ(err, "ignore_merges", a->ignore_merges ? "true" : "false",
                                   b->ignore_merges ? "true" : "false");
    if (a->unk != b->unk || a->fuse_unk != b->fuse_unk ||
        memcmp(a->symbols, b->symbols, sizeof a->symbols) != 0)
        return rb_error_set(err, RB_EMODELS,
                            "the tokenizers differ in the tokens that they begin a word's bytes "
                            "with");
    return rb_added_equal(&ta->added, &tb->added, a->compose, err);
}

static const struct rb_tokenizer_ops ops = {
    .kind = "bpe",
    .place = "id",
    .first_place = 0,
    .normalize = normalize,
    .encode = encode,
    .equal = equal,
    .free = bpe_free,
};
