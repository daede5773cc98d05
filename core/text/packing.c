#include "core/text/packing.h"

#include "core/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static enum rb_status no_memory(const struct rb_dataset_view *data, struct rb_error *err)
{
    return rb_error_set(err, RB_ENOMEM, "%s: out of memory for its tokens", data->label);
}

/* Grows *array to hold `count` elements of `size` bytes, by half its capacity at least. */
static bool grow(void *array, size_t *capacity, size_t count, size_t size)
{
    if (count <= *capacity)
        return true;
    size_t wanted = *capacity + *capacity / 2;
    if (wanted < count)
        wanted = count;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = reallocarray(old, wanted, size);
    if (grown == NULL)
        return false;
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return true;
}

/* ---- rows to sequences ---- */

/* Sequences under construction, each array with its own capacity. */
struct builder {
    struct rb_sequences s;
    size_t ids, types, special, starts, labels, rows; /* capacities */
};

static bool reserve(struct builder *b, size_t tokens, bool labelled)
{
    struct rb_sequences *s = &b->s;
    size_t total;
    return rb_add_size(rb_sequences_tokens(s), tokens, &total) &&
           grow(&s->ids, &b->ids, total, sizeof *s->ids) &&
           grow(&s->types, &b->types, total, sizeof *s->types) &&
           grow(&s->special, &b->special, total, sizeof *s->special) &&
           grow(&s->starts, &b->starts, s->count + 2, sizeof *s->starts) &&
           grow(&s->rows, &b->rows, s->count + 1, sizeof *s->rows) &&
           (!labelled || grow(&s->labels, &b->labels, s->count + 1, sizeof *s->labels));
}

static void put(struct rb_sequences *s, size_t at, int32_t id, uint8_t type, bool special)
{
    s->ids[at] = id;
    s->types[at] = type;
    s->special[at] = special;
}

static size_t put_all(struct rb_sequences *s, size_t at, const int32_t *ids, size_t count,
                      uint8_t type)
{
    for (size_t i = 0; i < count; i++)
        put(s, at + i, ids[i], type, false);
    return at + count;
}

static size_t put_part(struct rb_sequences *s, size_t at, const struct rb_template_part *p)
{
    for (size_t i = 0; i < p->count; i++)
        put(s, at + i, p->ids[i], p->types[i], true);
    return at + p->count;
}

/* Longest first, as Hugging Face's fast tokenizers do it: the longer text gives way down to the
 * shorter one's length, then both get half, the odd token to the longer (to the second of equals).
 */
static void truncate_pair(size_t *a, size_t *b, size_t room)
{
    if (*a + *b <= room)
        return;
    size_t *shorter = *a > *b ? b : a, *longer = *a > *b ? a : b;
    if (2 * *shorter > room) {
        *shorter = room / 2;
        *longer = room - room / 2;
    } else {
        *longer = room - *shorter;
    }
}

/* ids holds the first text's tokens, then the second's from `first` on (if any). */
static bool add_sequence(struct builder *b, const struct rb_template *wrap,
                         const struct rb_ids *ids, size_t first, const struct rb_row *row,
                         bool labelled, size_t max_length)
{
    struct rb_sequences *s = &b->s;
    size_t added = rb_template_tokens(wrap);
    size_t na = first, nb = ids->count - first;
    truncate_pair(&na, &nb, max_length - added);
    if (!reserve(b, na + nb + added, labelled))
        return false;
    size_t at = rb_sequences_tokens(s);
    s->starts[s->count] = at;
    at = put_part(s, at, &wrap->prefix);
    at = put_all(s, at, ids->ids, na, wrap->types[0]);
    at = put_part(s, at, &wrap->between);
    at = put_all(s, at, ids->ids + first, nb, wrap->types[1]);
    at = put_part(s, at, &wrap->suffix);
    s->rows[s->count] = row->number;
    if (labelled)
        s->labels[s->count] = row->label;
    s->starts[++s->count] = at;
    return true;
}

static enum rb_status read_rows(struct builder *b, const struct rb_tokenizer *t,
                                const struct rb_dataset_view *data, struct rb_dataset_reader *r,
                                struct rb_ids *ids, size_t max_rows, size_t max_length,
                                struct rb_error *err)
{
    bool pair = data->fields.text_pair != NULL, labelled = data->fields.label != NULL;
    const struct rb_template *wrap = rb_tokenizer_template(t, pair);
    while (max_rows == 0 || b->s.count < max_rows) {
        struct rb_row row;
        bool more;
        enum rb_status status = rb_dataset_reader_next(r, &row, &more, err);
        if (status != RB_OK)
            return status;
        if (!more)
            break;
        ids->count = 0;
        status = rb_tokenizer_encode(t, row.text, row.text_bytes, ids, err);
        if (status != RB_OK)
            return status;
        size_t first = ids->count;
        if (pair)
            status = rb_tokenizer_encode(t, row.text_pair, row.text_pair_bytes, ids, err);
        if (status != RB_OK)
            return status;
        if (!add_sequence(b, wrap, ids, first, &row, labelled, max_length))
            return no_memory(data, err);
    }
    if (b->s.count == 0)
        return rb_error_set(err, RB_EDATASET, "%s: no usable line", data->label);
    return RB_OK;
}

enum rb_status rb_sequences_from_rows(const struct rb_tokenizer *t,
                                      const struct rb_dataset_view *data, size_t max_rows,
                                      size_t max_length, struct rb_sequences *ret,
                                      struct rb_error *err)
{
    size_t least = rb_template_tokens(rb_tokenizer_template(t, data->fields.text_pair != NULL));
    if (max_length < least)
        return rb_error_at(err, RB_EINPUT, "max_length",
                           "max_length %zu leaves no room for the special tokens around a text: "
                           "at least %zu",
                           max_length, least);
    struct rb_dataset_reader *reader;
    enum rb_status status = rb_dataset_reader_new(data->label, data->format, &data->fields,
                                                  data->data, data->bytes, &reader, err);
    if (status != RB_OK)
        return status;
    struct builder b = {0};
    struct rb_ids ids = {0};
    if (!rb_ids_reserve(&ids, 1))
        status = no_memory(data, err);
    else
        status = read_rows(&b, t, data, reader, &ids, max_rows, max_length, err);
    free(ids.ids);
    rb_dataset_reader_free(reader);
    if (status == RB_OK)
        *ret = b.s;
    else
        rb_sequences_deinit(&b.s);
    return status;
}

/* ---- blocks ---- */

/* Tokens end to end, and which of them the encoder added. */
struct runs {
    struct rb_template_part end; /* what follows each row beside its template */
    struct rb_ids ids;
    uint8_t *special;
    size_t special_capacity;
};

static bool add_part(struct runs *r, const struct rb_template_part *p)
{
    if (!rb_ids_reserve(&r->ids, p->count))
        return false;
    for (size_t i = 0; i < p->count; i++)
        r->ids.ids[r->ids.count++] = p->ids[i];
    return true;
}

/* One row, wrapped, and what ends it. */
static enum rb_status add_run(struct runs *r, const struct rb_tokenizer *t,
                              const struct rb_template *wrap, const struct rb_row *row,
                              const struct rb_dataset_view *data, struct rb_error *err)
{
    size_t first = r->ids.count, behind = wrap->suffix.count + r->end.count;
    if (!add_part(r, &wrap->prefix))
        return no_memory(data, err);
    enum rb_status status = rb_tokenizer_encode(t, row->text, row->text_bytes, &r->ids, err);
    if (status != RB_OK)
        return status;
    if (!add_part(r, &wrap->suffix) || !add_part(r, &r->end) ||
        !grow(&r->special, &r->special_capacity, r->ids.count + 1, sizeof *r->special))
        return no_memory(data, err);
    memset(r->special + first, 0, r->ids.count - first);
    memset(r->special + first, 1, wrap->prefix.count);
    memset(r->special + r->ids.count - behind, 1, behind);
    return RB_OK;
}

/* All rows, wrapped, end to end, until there are `enough` tokens (0: all). */
static enum rb_status read_runs(const struct rb_tokenizer *t, const struct rb_dataset_view *data,
                                size_t enough, struct runs *r, struct rb_error *err)
{
    /* Only the text matters here; a second text or a label the dataset may have is not read. */
    struct rb_fields fields = {.text = data->fields.text};
    const struct rb_template *wrap = rb_tokenizer_template(t, false);
    struct rb_dataset_reader *reader;
    enum rb_status status = rb_dataset_reader_new(data->label, data->format, &fields, data->data,
                                                  data->bytes, &reader, err);
    if (status != RB_OK)
        return status;
    size_t rows = 0;
    bool more = true;
    while (more && status == RB_OK && (enough == 0 || r->ids.count < enough)) {
        struct rb_row row;
        status = rb_dataset_reader_next(reader, &row, &more, err);
        if (status != RB_OK || !more)
            break;
        rows++;
        status = add_run(r, t, wrap, &row, data, err);
    }
    rb_dataset_reader_free(reader);
    if (status == RB_OK && rows == 0)
        return rb_error_set(err, RB_EDATASET, "%s: no usable line", data->label);
    return status;
}

static void mask(struct rb_sequences *s, const struct rb_tokenizer *t, size_t block_size,
                 double probability, uint64_t seed)
{
    uint32_t vocab_size = (uint32_t)rb_tokenizer_vocab_size(t);
    int32_t mask_id = rb_tokenizer_special(t, RB_SPECIAL_MASK);
    for (size_t b = 0; b < s->count; b++)
        for (size_t p = 0; p < block_size; p++) {
            int32_t *id = &s->ids[b * block_size + p], *target = &s->targets[b * block_size + p];
            *target = rb_mask_token(seed, b, p, probability, mask_id, vocab_size,
                                    rb_tokenizer_is_special(t, *id), id);
            s->target_count += *target >= 0;
        }
}

/* Cuts the runs into blocks. Takes what r has; on failure it is released too. */
static bool cut_blocks(struct runs *r, size_t blocks, size_t block_size, struct rb_sequences *ret)
{
    size_t tokens = blocks * block_size;
    *ret = (struct rb_sequences){
        .count = blocks,
        .starts = malloc((blocks + 1) * sizeof *ret->starts),
        .ids = r->ids.ids,
        .types = calloc(tokens, sizeof *ret->types),
        .special = r->special,
        .targets = malloc(tokens * sizeof *ret->targets),
        .rows = calloc(blocks, sizeof *ret->rows),
    };
    if (ret->starts == NULL || ret->types == NULL || ret->targets == NULL || ret->rows == NULL) {
        rb_sequences_deinit(ret);
        return false;
    }
    for (size_t b = 0; b <= blocks; b++)
        ret->starts[b] = b * block_size;
    return true;
}

/* The blocks of a dataset's rows, without targets yet. */
static enum rb_status read_blocks(const struct rb_tokenizer *t, const struct rb_dataset_view *data,
                                  const struct rb_template_part *end, size_t block_size,
                                  size_t max_blocks, struct rb_sequences *ret, struct rb_error *err)
{
    size_t enough;
    if (block_size == 0 || !rb_mul_size(block_size, max_blocks, &enough))
        return rb_error_at(err, RB_EINPUT, "block_size", "%zu blocks of %zu tokens cannot be made",
                           max_blocks, block_size);
    struct runs r = {.end = *end};
    enum rb_status status = read_runs(t, data, enough, &r, err);
    if (status != RB_OK)
        goto err_after_runs;
    size_t blocks = r.ids.count / block_size;
    if (max_blocks > 0 && blocks > max_blocks)
        blocks = max_blocks;
    if (blocks == 0) {
        status = rb_error_set(err, RB_EDATASET, "%s: its %zu tokens do not fill one block of %zu",
                              data->label, r.ids.count, block_size);
        goto err_after_runs;
    }
    return cut_blocks(&r, blocks, block_size, ret) ? RB_OK : no_memory(data, err);

err_after_runs:
    free(r.ids.ids);
    free(r.special);
    return status;
}

enum rb_status rb_sequences_mlm(const struct rb_tokenizer *t, const struct rb_dataset_view *data,
                                size_t block_size, size_t max_blocks, double mask_probability,
                                uint64_t seed, struct rb_sequences *ret, struct rb_error *err)
{
    if (!(mask_probability > 0 && mask_probability <= 1))
        return rb_error_at(err, RB_EINPUT, "mask_probability",
                           "mask_probability %g lies outside (0, 1]", mask_probability);
    if (rb_tokenizer_special(t, RB_SPECIAL_MASK) < 0)
        return rb_error_set(err, RB_EHEAD,
                            "the tokenizer has no mask token, and without one no token can be "
                            "masked");
    struct rb_sequences s;
    const struct rb_template_part nothing = {0};
    enum rb_status status = read_blocks(t, data, &nothing, block_size, max_blocks, &s, err);
    if (status != RB_OK)
        return status;
    mask(&s, t, block_size, mask_probability, seed);
    if (s.target_count == 0) {
        size_t tokens = rb_sequences_tokens(&s), maskable = 0;
        for (size_t i = 0; i < tokens; i++)
            maskable += !rb_tokenizer_is_special(t, s.ids[i]);
        rb_sequences_deinit(&s);
        if (maskable == 0)
            return rb_error_set(err, RB_EDATASET,
                                "%s: no position is predicted: its %zu tokens are special tokens "
                                "or unknown, which are never masked",
                                data->label, tokens);
        return rb_error_set(err, RB_EDATASET,
                            "%s: no position is predicted: with mask_probability %g none of the "
                            "%zu tokens was drawn that may be masked",
                            data->label, mask_probability, maskable);
    }
    *ret = s;
    return RB_OK;
}

/* What follows each row of causal text. */
static struct rb_template_part end_of_row(const struct rb_tokenizer *t)
{
    int32_t eos = rb_tokenizer_special(t, RB_SPECIAL_EOS);
    return (struct rb_template_part){.count = eos >= 0, .ids = {eos}};
}

enum rb_status rb_sequences_clm(const struct rb_tokenizer *t, const struct rb_dataset_view *data,
                                size_t block_size, size_t max_blocks, struct rb_sequences *ret,
                                struct rb_error *err)
{
    if (block_size < 2)
        return rb_error_at(err, RB_EINPUT, "block_size",
                           "a block of %zu tokens has no next token: at least 2", block_size);
    struct rb_sequences s;
    const struct rb_template_part end = end_of_row(t);
    enum rb_status status = read_blocks(t, data, &end, block_size, max_blocks, &s, err);
    if (status != RB_OK)
        return status;
    for (size_t b = 0; b < s.count; b++) {
        size_t first = s.starts[b], last = s.starts[b + 1] - 1;
        memcpy(s.targets + first, s.ids + first + 1, (last - first) * sizeof *s.targets);
        s.targets[last] = -1;
    }
    s.target_count = s.count * (block_size - 1);
    *ret = s;
    return RB_OK;
}

enum rb_status rb_sequences_blocks(const struct rb_tokenizer *t, const struct rb_dataset_view *data,
                                   bool mlm, size_t block_size, size_t max_blocks,
                                   struct rb_sequences *ret, struct rb_error *err)
{
    const struct rb_template_part end = mlm ? (struct rb_template_part){0} : end_of_row(t);
    struct rb_sequences s;
    enum rb_status status = read_blocks(t, data, &end, block_size, max_blocks, &s, err);
    if (status != RB_OK)
        return status;
    free(s.targets);
    s.targets = NULL;
    for (size_t i = 0; i < rb_sequences_tokens(&s); i++)
        s.special[i] = mlm && rb_tokenizer_is_special(t, s.ids[i]);
    *ret = s;
    return RB_OK;
}
