#include "core/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

static void spell(const struct rb_model *m, const struct rb_tensor_row *row, const char *template,
                  uint32_t layer, char *buffer)
{
    const char *prefix = row->outside || m->bare ? "" : m->family->prefix;
    int n = snprintf(buffer, RB_TENSOR_NAME_MAX, "%s", prefix);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* templates are the table's own */
    (void)snprintf(buffer + n, RB_TENSOR_NAME_MAX - (size_t)n, template, layer);
#pragma GCC diagnostic pop
}

const char *rb_model_name(const struct rb_model *m, enum rb_slot slot, uint32_t layer, char *buffer)
{
    const struct rb_tensor_row *row = rb_family_row(m->family, slot);
    spell(m, row, row->name, layer, buffer);
    return buffer;
}

static const struct rb_tensor *find_row(const struct rb_model *m, const struct rb_tensor_row *row,
                                        uint32_t layer)
{
    char name[RB_TENSOR_NAME_MAX];
    spell(m, row, row->name, layer, name);
    const struct rb_tensor *t = rb_checkpoint_find(&m->checkpoint, name);
    if (t == NULL && row->alias != NULL) {
        spell(m, row, row->alias, layer, name);
        t = rb_checkpoint_find(&m->checkpoint, name);
    }
    return t;
}

static bool is_stored(const struct rb_model *m, enum rb_slot slot)
{
    const struct rb_tensor_row *row = rb_family_row(m->family, slot);
    return row != NULL && find_row(m, row, 0) != NULL;
}

/* ---- binding ---- */

static bool projects(const struct rb_model *m)
{
    return m->config.embedding_size != m->config.hidden_size;
}

static bool is_needed(const struct rb_model *m, const struct rb_tensor_row *row)
{
    switch (row->need) {
    case RB_ALWAYS:
        return true;
    case RB_WITH_MLM:
        return m->head == RB_HEAD_MLM;
    case RB_WITH_CLASSIFIER:
        return m->head == RB_HEAD_CLASSIFIER;
    case RB_WITH_CAUSAL:
        return m->head == RB_HEAD_CAUSAL;
    case RB_WITH_DISCRIMINATOR:
        return m->head == RB_HEAD_DISCRIMINATOR;
    case RB_WITH_PROJECTION:
        return projects(m);
    case RB_WITH_ATTENTION_BIAS:
        return m->config.attention_bias;
    case RB_WITH_ATTENTION_OUTPUT_BIAS:
        return m->config.attention_output_bias;
    case RB_WITH_MLP_BIAS:
        return m->config.mlp_bias;
    case RB_IF_PRESENT:
        return false;
    }
    return false;
}

/* Some rows are strangers where the description says that there is no such thing: a projection of
 * embeddings that are as wide as the stream, a bias that no linear map adds. */
static bool is_possible(const struct rb_model *m, const struct rb_tensor_row *row)
{
    switch (row->need) {
    case RB_WITH_PROJECTION:
    case RB_WITH_ATTENTION_BIAS:
    case RB_WITH_ATTENTION_OUTPUT_BIAS:
    case RB_WITH_MLP_BIAS:
        return is_needed(m, row);
    default:
        return true;
    }
}

static uint32_t parts_of(const struct rb_tensor_row *row)
{
    return row->view.parts > 1 ? row->view.parts : 1;
}

static enum rb_status check_tensor(const struct rb_model *m, const struct rb_tensor_row *row,
                                   const struct rb_tensor *t, struct rb_error *err)
{
    uint64_t rows = rb_config_dim(&m->config, row->rows) * parts_of(row);
    uint64_t columns = rb_config_dim(&m->config, row->columns);
    uint32_t rank = row->columns == RB_DIM_NONE ? 1 : 2;
    bool transposed = row->view.layout == RB_LAYOUT_TRANSPOSED && rank == 2;
    uint64_t expected[2] = {transposed ? columns : rows, transposed ? rows : columns};
    if (!rb_dtype_is_float(t->dtype))
        return rb_error_set(err, RB_ETENSOR,
                            "%s: tensor '%s': expected F64, F32, F16 or BF16, "
                            "found %s",
                            m->checkpoint.path, t->name, rb_dtype_name(t->dtype));
    if (t->rank == rank && t->shape[0] == expected[0] && (rank == 1 || t->shape[1] == expected[1]))
        return RB_OK;
    char want[64], found[256];
    return rb_error_set(err, RB_ESHAPE,
                        "%s: tensor '%s': config.json gives the shape %s, the file "
                        "has %s",
                        m->checkpoint.path, t->name,
                        rb_shape_text(expected, rank, want, sizeof want),
                        rb_shape_text(t->shape, t->rank, found, sizeof found));
}

/* Does the model take the unembedding from the word embeddings? */
static bool is_tied(const struct rb_model *m, enum rb_slot slot)
{
    return slot == RB_UNEMBEDDING_WEIGHT && !m->unembedding_stored && m->head_shape != NULL &&
           m->head_shape->output == RB_UNEMBEDDING_WEIGHT;
}

static enum rb_status bind_slot(struct rb_model *m, enum rb_slot slot, uint32_t layer,
                                struct rb_error *err)
{
    const struct rb_tensor_row *row = rb_family_row(m->family, slot);
    bool tied = is_tied(m, slot); /* a stored copy is not read: transformers ignores it too */
    const struct rb_tensor *t =
        tied ? rb_model_tensor(m, RB_WORD_EMBEDDINGS, 0) : find_row(m, row, layer);
    if (t == NULL) {
        if (!is_needed(m, row))
            return RB_OK;
        char name[RB_TENSOR_NAME_MAX];
        return rb_error_set(err, RB_ETENSOR, "%s: tensor '%s' is missing", m->checkpoint.path,
                            rb_model_name(m, slot, layer, name));
    }
    enum rb_status s = check_tensor(m, tied ? rb_model_row(m, slot) : row, t, err);
    if (s != RB_OK)
        return s;
    m->tensors[(size_t)slot * m->config.num_hidden_layers + layer] = t;
    if (!tied && row->view.part == 0) /* a fused tensor counts once */
        m->parameters += t->bytes / rb_dtype_bytes(t->dtype);
    return RB_OK;
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), k = strlen(suffix);
    return n >= k && strcmp(name + n - k, suffix) == 0;
}

/* Files often hold the unembedding twice: a tied one beside the word embeddings, its bias under two
 * names. Nobody reads the copy, but it is written again (core/merge/write.c): it must be what it is
 * called. RB_SLOT_NONE: not a copy. */
static enum rb_slot copied_slot(const struct rb_model *m, const struct rb_tensor *t)
{
    static const enum rb_slot slots[] = {RB_UNEMBEDDING_WEIGHT, RB_UNEMBEDDING_BIAS};
    if (m->head_shape == NULL || m->head_shape->output != RB_UNEMBEDDING_WEIGHT)
        return RB_SLOT_NONE;
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
        const struct rb_tensor_row *row = rb_family_row(m->family, slots[i]);
        const char *templates[] = {row != NULL ? row->name : NULL, row != NULL ? row->alias : NULL};
        for (size_t k = 0; k < 2; k++) {
            char name[RB_TENSOR_NAME_MAX];
            if (templates[k] == NULL)
                continue;
            spell(m, row, templates[k], 0, name);
            if (strcmp(t->name, name) == 0)
                return slots[i];
        }
    }
    return RB_SLOT_NONE;
}

/* A tensor that binds to nothing: a buffer, a copy, or a stranger. */
static enum rb_status check_extra(const struct rb_model *m, const struct rb_tensor *t,
                                  struct rb_error *err)
{
    for (size_t i = 0; m->family->ignored[i] != NULL; i++)
        if (ends_with(t->name, m->family->ignored[i]))
            return RB_OK;
    enum rb_slot copy = copied_slot(m, t);
    if (copy != RB_SLOT_NONE)
        return check_tensor(m, rb_family_row(m->family, copy), t, err);
    return rb_error_set(err, RB_ETENSOR,
                        "%s: tensor '%s' does not belong to architecture '%s' with %u layers: it "
                        "could not be moved",
                        m->checkpoint.path, t->name, m->family->model_type,
                        m->config.num_hidden_layers);
}

static int compare_pointers(const void *x, const void *y)
{
    const struct rb_tensor *const *a = x, *const *b = y;
    return (*a > *b) - (*a < *b);
}

static enum rb_status check_extras(const struct rb_model *m, struct rb_error *err)
{
    size_t slots = (size_t)RB_SLOT_COUNT * m->config.num_hidden_layers;
    const size_t each = sizeof(const struct rb_tensor *);
    const struct rb_tensor **bound = malloc(slots * each);
    if (bound == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory for the tensor table",
                            m->checkpoint.path);
    memcpy(bound, m->tensors, slots * each);
    qsort(bound, slots, each, compare_pointers);
    enum rb_status s = RB_OK;
    for (size_t i = 0; i < m->checkpoint.tensor_count && s == RB_OK; i++) {
        const struct rb_tensor *t = m->checkpoint.tensors[i];
        if (bsearch(&t, bound, slots, each, compare_pointers) == NULL)
            s = check_extra(m, t, err);
    }
    free(bound);
    return s;
}

static void find_head(struct rb_model *m)
{
    for (const struct rb_head_shape *h = m->family->heads; h->kind != RB_HEAD_NONE; h++)
        if (is_stored(m, h->marker) ||
            (h->kind == RB_HEAD_CAUSAL && m->config.tie_word_embeddings)) {
            m->head = h->kind;
            m->head_shape = h;
            return;
        }
}

static enum rb_status bind(struct rb_model *m, struct rb_error *err)
{
    char label[512];
    (void)snprintf(label, sizeof label, "%s/config.json", m->checkpoint.path);
    enum rb_status s = rb_config_parse(label, m->checkpoint.config, &m->family, &m->config, err);
    if (s != RB_OK)
        return s;
    m->tensors = calloc((size_t)RB_SLOT_COUNT * m->config.num_hidden_layers,
                        sizeof(const struct rb_tensor *));
    if (m->tensors == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory for the tensor table", label);
    m->bare = !is_stored(m, RB_WORD_EMBEDDINGS);
    find_head(m);
    if (m->bare && !is_stored(m, RB_WORD_EMBEDDINGS))
        m->bare = false; /* name what is missing as most checkpoints would */
    m->unembedding_stored = m->head_shape != NULL &&
                            m->head_shape->output == RB_UNEMBEDDING_WEIGHT &&
                            !m->config.tie_word_embeddings;
    for (enum rb_slot slot = 0; slot < RB_SLOT_COUNT; slot++) {
        const struct rb_tensor_row *row = rb_family_row(m->family, slot);
        if (row == NULL || !is_possible(m, row))
            continue;
        for (uint32_t l = 0; l < (row->per_layer ? m->config.num_hidden_layers : 1); l++) {
            s = bind_slot(m, slot, l, err);
            if (s != RB_OK)
                return s;
        }
    }
    return check_extras(m, err);
}

enum rb_status rb_model_open(const char *folder, struct rb_model *ret, struct rb_error *err)
{
    struct rb_model m = {0};
    enum rb_status s = rb_checkpoint_open(folder, &m.checkpoint, err);
    if (s != RB_OK)
        return s;
    s = bind(&m, err);
    if (s != RB_OK) {
        rb_model_deinit(&m);
        return s;
    }
    *ret = m;
    return RB_OK;
}

void rb_model_deinit(struct rb_model *m)
{
    free(m->tensors);
    rb_checkpoint_deinit(&m->checkpoint);
    *m = (struct rb_model){0};
}

/* ---- reading ---- */

const struct rb_tensor *rb_model_tensor(const struct rb_model *m, enum rb_slot slot, uint32_t layer)
{
    return m->tensors[(size_t)slot * m->config.num_hidden_layers + layer];
}

const struct rb_tensor_row *rb_model_row(const struct rb_model *m, enum rb_slot slot)
{
    return rb_family_row(m->family, is_tied(m, slot) ? RB_WORD_EMBEDDINGS : slot);
}

void rb_model_size(const struct rb_model *m, enum rb_slot slot, size_t *ret_rows,
                   size_t *ret_columns)
{
    const struct rb_tensor_row *row = rb_model_row(m, slot);
    *ret_rows = (size_t)rb_config_dim(&m->config, row->rows);
    *ret_columns = (size_t)rb_config_dim(&m->config, row->columns);
}

struct rb_held rb_model_held(const struct rb_model *m, const struct rb_tensor *t)
{
    struct rb_held held = {0};
    uint32_t layers = m->config.num_hidden_layers;
    for (enum rb_slot slot = 0; slot < RB_SLOT_COUNT; slot++) {
        const struct rb_tensor_row *row = rb_family_row(m->family, slot);
        if (row == NULL || is_tied(m, slot))
            continue;
        for (uint32_t l = 0; l < (row->per_layer ? layers : 1); l++)
            if (rb_model_tensor(m, slot, l) == t && held.count < RB_PARTS_MAX) {
                held.slots[held.count++] = slot;
                held.layer = l;
            }
    }
    enum rb_slot copy = held.count == 0 ? copied_slot(m, t) : RB_SLOT_NONE;
    if (copy != RB_SLOT_NONE)
        held.slots[held.count++] = copy;
    return held;
}

void rb_model_forget(const struct rb_model *m, bool per_layer, uint32_t layer)
{
    for (enum rb_slot slot = 0; slot < RB_SLOT_COUNT; slot++) {
        const struct rb_tensor_row *row = rb_family_row(m->family, slot);
        const struct rb_tensor *t =
            row != NULL && row->per_layer == per_layer ? rb_model_tensor(m, slot, layer) : NULL;
        if (t != NULL)
            rb_checkpoint_forget(&m->checkpoint, t);
    }
}

/* ---- comparing ---- */

static const char *const head_names[RB_HEAD_COUNT] = {
    "no head", "an MLM head", "a classification head", "a causal head", "a discriminator"};

enum rb_status rb_models_equal(const struct rb_model *a, const struct rb_model *b,
                               struct rb_error *err)
{
    if (a->family != b->family)
        return rb_error_at(err, RB_EMODELS, "model_type", "model_type: '%s' in a, '%s' in b",
                           a->family->model_type, b->family->model_type);
    if (a->head != b->head)
        return rb_error_set(err, RB_EMODELS, "a has %s, b has %s", head_names[a->head],
                            head_names[b->head]);
    enum rb_status s =
        rb_configs_equal(a->family, &a->config, &b->config, a->head == RB_HEAD_CLASSIFIER, err);
    if (s != RB_OK)
        return s;
    if (a->unembedding_stored != b->unembedding_stored)
        return rb_error_at(
            err, RB_EMODELS, "tie_word_embeddings", "tie_word_embeddings: %s in a, %s in b",
            a->unembedding_stored ? "false" : "true", b->unembedding_stored ? "false" : "true");
    return RB_OK;
}

enum rb_dtype rb_model_dtype(const struct rb_model *m)
{
    uint64_t bytes[RB_DTYPE_COUNT] = {0};
    enum rb_dtype best = RB_F32;
    for (size_t i = 0; i < m->checkpoint.tensor_count; i++) {
        const struct rb_tensor *t = m->checkpoint.tensors[i];
        if (rb_dtype_is_float(t->dtype))
            bytes[t->dtype] += t->bytes;
    }
    for (int t = 0; t < RB_DTYPE_COUNT; t++)
        if (bytes[t] > bytes[best])
            best = (enum rb_dtype)t;
    return best;
}
