#include "core/text/sequences.h"

#include "core/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void rb_sequences_deinit(struct rb_sequences *s)
{
    free(s->starts);
    free(s->ids);
    free(s->types);
    free(s->special);
    free(s->targets);
    free(s->labels);
    free(s->rows);
    *s = (struct rb_sequences){0};
}

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

/* ids holds the first text's tokens, then the second's from `first` on (if pair). */
static bool add_sequence(struct builder *b, const struct rb_tokenizer *t, const struct rb_ids *ids,
                         size_t first, bool pair, const struct rb_row *row, bool labelled,
                         size_t max_length)
{
    struct rb_sequences *s = &b->s;
    size_t room = max_length - (pair ? 3 : 2);
    size_t na = first, nb = ids->count - first;
    truncate_pair(&na, &nb, room);
    if (!reserve(b, na + nb + 3, labelled))
        return false;
    assert(s->ids != NULL && s->types != NULL && s->special != NULL);
    size_t at = rb_sequences_tokens(s);
    s->starts[s->count] = at;
    put(s, at++, rb_tokenizer_cls(t), 0, true);
    at = put_all(s, at, ids->ids, na, 0);
    put(s, at++, rb_tokenizer_sep(t), 0, true);
    if (pair) {
        at = put_all(s, at, ids->ids + first, nb, 1);
        put(s, at++, rb_tokenizer_sep(t), 1, true);
    }
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
        if (!add_sequence(b, t, ids, first, pair, &row, labelled, max_length))
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
    size_t least = data->fields.text_pair != NULL ? 3 : 2;
    if (max_length < least)
        return rb_error_at(err, RB_EINPUT, "max_length",
                           "max_length %zu leaves no room for [CLS] and [SEP]: at least %zu",
                           max_length, least);
    struct rb_dataset_reader *reader;
    enum rb_status status = rb_dataset_reader_new(data->label, data->format, &data->fields,
                                                  data->data, data->bytes, &reader, err);
    if (status != RB_OK)
        return status;
    struct builder b = {0};
    struct rb_ids ids = {0};
    status = read_rows(&b, t, data, reader, &ids, max_rows, max_length, err);
    free(ids.ids);
    rb_dataset_reader_free(reader);
    if (status == RB_OK)
        *ret = b.s;
    else
        rb_sequences_deinit(&b.s);
    return status;
}

/* ---- masked blocks ---- */

uint64_t rb_mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

double rb_mask_uniform(uint64_t seed, uint64_t s, uint64_t t, uint64_t k)
{
    uint64_t r = rb_mix(rb_mix(rb_mix(rb_mix(seed) ^ s) ^ t) ^ k);
    return (double)(r >> 11) * 0x1p-53;
}

/* All rows as [CLS] … [SEP] runs, end to end, until there are `enough` tokens (0: all). */
static enum rb_status read_runs(const struct rb_tokenizer *t, const struct rb_dataset_view *data,
                                size_t enough, struct rb_ids *ids, uint8_t **special,
                                struct rb_error *err)
{
    /* Only the text matters here; a second text or a label the dataset may have is not read. */
    struct rb_fields fields = {.text = data->fields.text};
    struct rb_dataset_reader *reader;
    enum rb_status status = rb_dataset_reader_new(data->label, data->format, &fields, data->data,
                                                  data->bytes, &reader, err);
    if (status != RB_OK)
        return status;
    size_t special_capacity = 0, rows = 0;
    while (enough == 0 || ids->count < enough) {
        struct rb_row row;
        bool more;
        status = rb_dataset_reader_next(reader, &row, &more, err);
        if (status != RB_OK)
            goto out;
        if (!more)
            break;
        rows++;
        size_t first = ids->count;
        if (!grow(&ids->ids, &ids->capacity, first + 1, sizeof *ids->ids))
            goto err_memory;
        ids->ids[ids->count++] = rb_tokenizer_cls(t);
        status = rb_tokenizer_encode(t, row.text, row.text_bytes, ids, err);
        if (status != RB_OK)
            goto out;
        if (!grow(&ids->ids, &ids->capacity, ids->count + 1, sizeof *ids->ids))
            goto err_memory;
        ids->ids[ids->count++] = rb_tokenizer_sep(t);
        if (!grow(special, &special_capacity, ids->count, 1))
            goto err_memory;
        memset(*special + first, 0, ids->count - first);
        (*special)[first] = (*special)[ids->count - 1] = 1;
    }
    if (rows == 0)
        status = rb_error_set(err, RB_EDATASET, "%s: no usable line", data->label);
    goto out;

err_memory:
    status = no_memory(data, err);
out:
    rb_dataset_reader_free(reader);
    return status;
}

static void mask(struct rb_sequences *s, const struct rb_tokenizer *t, size_t block_size,
                 double probability, uint64_t seed)
{
    enum { PREDICTED, KIND, RANDOM_ID }; /* METHOD 7's draws k */
    double vocab_size = (double)rb_tokenizer_vocab_size(t);
    for (size_t b = 0; b < s->count; b++)
        for (size_t p = 0; p < block_size; p++) {
            size_t at = b * block_size + p;
            s->targets[at] = -1;
            if (rb_tokenizer_is_special(t, s->ids[at]) ||
                !(rb_mask_uniform(seed, b, p, PREDICTED) < probability))
                continue;
            s->targets[at] = s->ids[at];
            s->target_count++;
            double kind = rb_mask_uniform(seed, b, p, KIND);
            if (kind < 0.8)
                s->ids[at] = rb_tokenizer_mask(t);
            else if (kind < 0.9)
                s->ids[at] = (int32_t)(rb_mask_uniform(seed, b, p, RANDOM_ID) * vocab_size);
        }
}

/* Cuts the runs into blocks. Takes ids->ids and special; on failure they are released too. */
static bool cut_blocks(struct rb_ids *ids, uint8_t *special, size_t blocks, size_t block_size,
                       struct rb_sequences *ret)
{
    size_t tokens = blocks * block_size;
    *ret = (struct rb_sequences){
        .count = blocks,
        .starts = malloc((blocks + 1) * sizeof *ret->starts),
        .ids = ids->ids,
        .types = calloc(tokens, sizeof *ret->types),
        .special = special,
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

enum rb_status rb_sequences_mlm(const struct rb_tokenizer *t, const struct rb_dataset_view *data,
                                size_t block_size, size_t max_blocks, double mask_probability,
                                uint64_t seed, struct rb_sequences *ret, struct rb_error *err)
{
    size_t enough;
    if (block_size == 0 || !rb_mul_size(block_size, max_blocks, &enough))
        return rb_error_at(err, RB_EINPUT, "block_size", "%zu blocks of %zu tokens cannot be made",
                           max_blocks, block_size);
    if (!(mask_probability > 0 && mask_probability <= 1))
        return rb_error_at(err, RB_EINPUT, "mask_probability",
                           "mask_probability %g lies outside (0, 1]", mask_probability);
    struct rb_ids ids = {0};
    uint8_t *special = NULL;
    enum rb_status status = read_runs(t, data, enough, &ids, &special, err);
    if (status != RB_OK)
        goto err_after_runs;
    size_t blocks = ids.count / block_size;
    if (max_blocks > 0 && blocks > max_blocks)
        blocks = max_blocks;
    if (blocks == 0) {
        status = rb_error_set(err, RB_EDATASET, "%s: its %zu tokens do not fill one block of %zu",
                              data->label, ids.count, block_size);
        goto err_after_runs;
    }
    struct rb_sequences s;
    if (!cut_blocks(&ids, special, blocks, block_size, &s))
        return no_memory(data, err);
    mask(&s, t, block_size, mask_probability, seed);
    if (s.target_count == 0) {
        rb_sequences_deinit(&s);
        return rb_error_set(err, RB_EDATASET,
                            "%s: no position is predicted: with mask_probability %g none of the "
                            "%zu tokens was drawn",
                            data->label, mask_probability, blocks * block_size);
    }
    *ret = s;
    return RB_OK;

err_after_runs:
    free(ids.ids);
    free(special);
    return status;
}
