#include "tests/bench/synth.h"
#include "core/tensor/safetensors_write.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct synth_shape synth_base = {12, 768, 12, 3072, 30522, 512};
const struct synth_shape synth_large = {24, 1024, 16, 4096, 30522, 512};

enum { ID_UNK = 1, ID_CLS = 2, ID_SEP = 3, ID_MASK = 4, FIRST_WORD = 5, NAME_BYTES = 96 };

/* ---- random numbers ---- */

struct generator {
    uint64_t state;
};

static uint64_t draw(struct generator *g)
{
    g->state += UINT64_C(0x9E3779B97F4A7C15);
    return rb_mix(g->state);
}

static double uniform(struct generator *g)
{
    return (double)(draw(g) >> 11) * 0x1p-53;
}

/* Near enough to normal: the sum of four uniforms of 16 bits, one draw for each number. */
static float normal(struct generator *g)
{
    uint64_t x = draw(g);
    uint64_t sum = (x & 0xFFFF) + (x >> 16 & 0xFFFF) + (x >> 32 & 0xFFFF) + (x >> 48);
    return ((float)sum - 131070.0f) * (1.0f / 37837.2f);
}

/* ---- models ---- */

struct plan {
    const struct synth_shape *shape;
    struct rb_st_spec *specs;
    char (*names)[NAME_BYTES];
    enum rb_slot *slots;
    size_t count;
};

static const enum rb_slot left_out[] = {
    RB_POOLER_WEIGHT,   RB_POOLER_BIAS,          RB_UNEMBEDDING_WEIGHT, RB_CLASSIFIER_WEIGHT,
    RB_CLASSIFIER_BIAS, RB_NEXT_SENTENCE_WEIGHT, RB_NEXT_SENTENCE_BIAS};

static bool is_stored(enum rb_slot slot)
{
    for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++)
        if (left_out[i] == slot)
            return false;
    return true;
}

static uint64_t size_of(const struct synth_shape *s, enum rb_dim dim)
{
    const struct rb_config c = {
        .vocab_size = s->vocab,
        .hidden_size = s->hidden,
        .num_hidden_layers = s->layers,
        .attention = {.heads = s->heads, .kv_heads = s->heads, .head_dim = s->hidden / s->heads},
        .mlp.inner_size = s->inner,
        .max_position_embeddings = s->positions,
        .type_vocab_size = 2,
        .num_labels = 2,
    };
    return rb_config_dim(&c, dim);
}

static void plan_tensor(struct plan *p, const struct rb_family *family, enum rb_slot slot,
                        uint32_t layer)
{
    const struct rb_tensor_row *row = rb_family_row(family, slot);
    char *name = p->names[p->count];
    int n = snprintf(name, NAME_BYTES, "%s", row->outside ? "" : "bert.");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the family's own table */
    (void)snprintf(name + n, NAME_BYTES - (size_t)n, row->name, layer);
#pragma GCC diagnostic pop
    struct rb_st_spec *spec = &p->specs[p->count];
    *spec = (struct rb_st_spec){.name = name, .dtype = RB_F32, .rank = 1};
    spec->shape[0] = size_of(p->shape, row->rows);
    if (row->columns != RB_DIM_NONE) {
        spec->rank = 2;
        spec->shape[1] = size_of(p->shape, row->columns);
    }
    p->slots[p->count++] = slot;
}

static void plan_free(struct plan *p)
{
    free(p->specs);
    free(p->names);
    free(p->slots);
}

static enum rb_status plan_init(struct plan *p, const struct synth_shape *s, struct rb_error *err)
{
    const struct rb_family *family = rb_family_find("bert");
    size_t most = (size_t)RB_SLOT_COUNT * s->layers;
    *p = (struct plan){.shape = s};
    p->specs = calloc(most, sizeof *p->specs);
    p->names = calloc(most, sizeof *p->names);
    p->slots = calloc(most, sizeof *p->slots);
    if (p->specs == NULL || p->names == NULL || p->slots == NULL) {
        plan_free(p);
        return rb_error_set(err, RB_ENOMEM, "no memory for a list of tensors");
    }
    for (enum rb_slot slot = 0; slot < RB_SLOT_COUNT; slot++) {
        const struct rb_tensor_row *row = rb_family_row(family, slot);
        for (uint32_t l = 0; row != NULL && l < (row->per_layer ? s->layers : 1); l++)
            if (is_stored(slot))
                plan_tensor(p, family, slot, l);
    }
    return RB_OK;
}

static uint64_t elements(const struct rb_st_spec *s)
{
    return s->rank == 2 ? s->shape[0] * s->shape[1] : s->shape[0];
}

uint64_t synth_parameters(const struct synth_shape *s)
{
    struct plan p;
    uint64_t n = 0;
    if (plan_init(&p, s, NULL) != RB_OK)
        return 0;
    for (size_t i = 0; i < p.count; i++)
        n += elements(&p.specs[i]);
    plan_free(&p);
    return n;
}

static bool is_norm_weight(enum rb_slot slot)
{
    return slot == RB_EMBEDDINGS_NORM_WEIGHT || slot == RB_ATTENTION_NORM_WEIGHT ||
           slot == RB_MLP_NORM_WEIGHT || slot == RB_TRANSFORM_NORM_WEIGHT;
}

static enum rb_status write_tensor(struct rb_st_writer *w, const struct plan *p, size_t i,
                                   struct generator *g, float *buffer, size_t capacity,
                                   struct rb_error *err)
{
    uint64_t left = elements(&p->specs[i]), offset = 0;
    float centre = is_norm_weight(p->slots[i]) ? 1.0f : 0.0f;
    while (left > 0) {
        size_t n = left < capacity ? (size_t)left : capacity;
        for (size_t k = 0; k < n; k++)
            buffer[k] = centre + 0.02f * normal(g);
        enum rb_status s = rb_st_writer_write(w, i, offset, buffer, n * sizeof(float), err);
        if (s != RB_OK)
            return s;
        offset += n * sizeof(float);
        left -= n;
    }
    return RB_OK;
}

static enum rb_status write_weights(const char *folder, const struct plan *p, uint64_t seed,
                                    struct rb_error *err)
{
    enum { BUFFER_FLOATS = 1 << 18 };
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    float *buffer = malloc(BUFFER_FLOATS * sizeof *buffer);
    if (buffer == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a buffer");
    struct rb_st_writer *w = NULL;
    enum rb_status s = rb_st_writer_open(path, p->specs, p->count, NULL, 0, &w, err);
    struct generator g = {rb_mix(seed)};
    for (size_t i = 0; i < p->count && s == RB_OK; i++)
        s = write_tensor(w, p, i, &g, buffer, BUFFER_FLOATS, err);
    free(buffer);
    if (s == RB_OK)
        return rb_st_writer_commit(w, err);
    rb_st_writer_abort(w);
    return s;
}

/* ---- text files ---- */

static enum rb_status open_text(const char *path, FILE **ret, struct rb_error *err)
{
    *ret = fopen(path, "w");
    return *ret != NULL ? RB_OK : rb_error_errno(err, errno, path);
}

static enum rb_status close_text(FILE *f, const char *path, struct rb_error *err)
{
    bool failed = ferror(f) != 0;
    if (fclose(f) != 0 || failed)
        return rb_error_errno(err, errno != 0 ? errno : EIO, path);
    return RB_OK;
}

static enum rb_status write_config(const char *folder, const struct synth_shape *s,
                                   struct rb_error *err)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *f;
    enum rb_status st = open_text(path, &f, err);
    if (st != RB_OK)
        return st;
    (void)fprintf(f,
                  "{\"architectures\": [\"BertForMaskedLM\"], \"model_type\": \"bert\", "
                  "\"vocab_size\": %u, \"hidden_size\": %u, \"num_hidden_layers\": %u, "
                  "\"num_attention_heads\": %u, \"intermediate_size\": %u, "
                  "\"hidden_act\": \"gelu\", \"max_position_embeddings\": %u, "
                  "\"type_vocab_size\": 2, \"layer_norm_eps\": 1e-12, \"pad_token_id\": 0}\n",
                  s->vocab, s->hidden, s->layers, s->heads, s->inner, s->positions);
    return close_text(f, path, err);
}

/* Word `id`: four letters, so that no word begins another. */
static void write_word(FILE *f, uint32_t id)
{
    static const char *const special[FIRST_WORD] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    if (id < FIRST_WORD) {
        (void)fputs(special[id], f);
        return;
    }
    char word[5] = {0};
    for (int i = 3; i >= 0; i--, id /= 26)
        word[i] = (char)('a' + id % 26);
    (void)fputs(word, f);
}

static enum rb_status write_vocabulary(const char *folder, const struct synth_shape *s,
                                       struct rb_error *err)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/vocab.txt", folder);
    FILE *f;
    enum rb_status st = open_text(path, &f, err);
    if (st != RB_OK)
        return st;
    for (uint32_t id = 0; id < s->vocab; id++) {
        write_word(f, id);
        (void)fputc('\n', f);
    }
    return close_text(f, path, err);
}

enum rb_status synth_model_write(const char *folder, const struct synth_shape *s, uint64_t seed,
                                 struct rb_error *err)
{
    struct plan p;
    enum rb_status st = plan_init(&p, s, err);
    if (st != RB_OK)
        return st;
    st = write_weights(folder, &p, seed, err);
    plan_free(&p);
    if (st == RB_OK)
        st = write_config(folder, s, err);
    return st == RB_OK ? write_vocabulary(folder, s, err) : st;
}

/* ---- sequences ---- */

static int32_t word_id(struct generator *g, const struct synth_shape *s)
{
    double u = uniform(g);
    return (int32_t)(FIRST_WORD + u * u * u * (s->vocab - FIRST_WORD));
}

static enum rb_status allocate(struct rb_sequences *q, size_t count, size_t tokens, bool targets,
                               struct rb_error *err)
{
    *q = (struct rb_sequences){.count = count};
    q->starts = calloc(count + 1, sizeof *q->starts);
    q->ids = calloc(tokens, sizeof *q->ids);
    q->types = calloc(tokens, sizeof *q->types);
    q->special = calloc(tokens, sizeof *q->special);
    q->rows = calloc(count, sizeof *q->rows);
    q->targets = targets ? calloc(tokens, sizeof *q->targets) : NULL;
    if (q->starts && q->ids && q->types && q->special && q->rows && (q->targets || !targets))
        return RB_OK;
    rb_sequences_deinit(q);
    return rb_error_set(err, RB_ENOMEM, "no memory for %zu tokens", tokens);
}

static size_t line_length(struct generator *g, double mean, size_t longest)
{
    const double spread = 0.5; /* of the logarithm */
    double length = mean * exp(spread * (double)normal(g) - spread * spread / 2);
    return length < 8 ? 8 : length > (double)longest ? longest : (size_t)length;
}

enum rb_status synth_lines(const struct synth_shape *s, size_t lines, double mean, size_t longest,
                           uint64_t seed, struct rb_sequences *ret, struct rb_error *err)
{
    struct generator g = {rb_mix(seed)};
    struct rb_sequences q;
    enum rb_status st = allocate(&q, lines, lines * longest, false, err);
    if (st != RB_OK)
        return st;
    for (size_t i = 0; i < lines; i++) {
        size_t first = q.starts[i], n = line_length(&g, mean, longest);
        q.starts[i + 1] = first + n;
        for (size_t t = first; t < first + n; t++)
            q.ids[t] = word_id(&g, s);
        q.ids[first] = ID_CLS;
        q.ids[first + n - 1] = ID_SEP;
        q.special[first] = q.special[first + n - 1] = 1;
        q.rows[i] = i + 1;
    }
    *ret = q;
    return RB_OK;
}

enum rb_status synth_blocks(const struct synth_shape *s, size_t blocks, size_t length,
                            uint64_t seed, struct rb_sequences *ret, struct rb_error *err)
{
    struct generator g = {rb_mix(seed)};
    struct rb_sequences q;
    enum rb_status st = allocate(&q, blocks, blocks * length, true, err);
    if (st != RB_OK)
        return st;
    for (size_t i = 0; i < blocks; i++) {
        q.starts[i + 1] = (i + 1) * length;
        for (size_t t = 0; t < length; t++) {
            size_t at = i * length + t;
            int32_t id = word_id(&g, s);
            bool predicted = rb_mask_uniform(seed, i, t, 0) < 0.15;
            q.ids[at] = predicted && rb_mask_uniform(seed, i, t, 1) < 0.8 ? ID_MASK : id;
            q.targets[at] = predicted ? id : -1;
            q.target_count += predicted;
        }
    }
    *ret = q;
    return RB_OK;
}

enum rb_status synth_sequences_write(const struct rb_sequences *s, const char *path,
                                     struct rb_error *err)
{
    FILE *f;
    enum rb_status st = open_text(path, &f, err);
    if (st != RB_OK)
        return st;
    for (size_t i = 0; i < s->count; i++) {
        for (size_t t = s->starts[i]; t < s->starts[i + 1]; t++) {
            (void)fprintf(f, "%s%" PRId32, t > s->starts[i] ? " " : "", s->ids[t]);
            if (s->targets != NULL && s->targets[t] >= 0)
                (void)fprintf(f, ":%" PRId32, s->targets[t]);
        }
        (void)fputc('\n', f);
    }
    return close_text(f, path, err);
}

enum rb_status synth_text_write(const struct rb_sequences *s, const char *path,
                                struct rb_error *err)
{
    FILE *f;
    enum rb_status st = open_text(path, &f, err);
    if (st != RB_OK)
        return st;
    for (size_t i = 0; i < s->count; i++) {
        for (size_t t = s->starts[i] + 1; t + 1 < s->starts[i + 1]; t++) {
            write_word(f, (uint32_t)s->ids[t]);
            (void)fputc(t + 2 < s->starts[i + 1] ? ' ' : '\n', f);
        }
    }
    return close_text(f, path, err);
}
