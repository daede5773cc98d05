#include "core/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 160 };

static void row_name(const struct rb_model *m, const struct rb_tensor_row *row,
                     const char *template, uint32_t layer, char *buffer)
{
    const char *prefix = row->outside || m->bare ? "" : m->arch->prefix;
    int n = snprintf(buffer, NAME_MAX_BYTES, "%s", prefix);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* templates are the table's own */
    (void)snprintf(buffer + n, NAME_MAX_BYTES - (size_t)n, template, layer);
#pragma GCC diagnostic pop
}

static const struct rb_tensor *find_row(const struct rb_model *m, const struct rb_tensor_row *row,
                                        uint32_t layer)
{
    char name[NAME_MAX_BYTES];
    row_name(m, row, row->name, layer, name);
    const struct rb_tensor *t = rb_checkpoint_find(&m->checkpoint, name);
    if (t == NULL && row->alias != NULL) {
        row_name(m, row, row->alias, layer, name);
        t = rb_checkpoint_find(&m->checkpoint, name);
    }
    return t;
}

static bool needed(const struct rb_model *m, const struct rb_tensor_row *row)
{
    switch (row->need) {
    case RB_ALWAYS:
        return true;
    case RB_WITH_MLM:
        return m->head == RB_HEAD_MLM;
    case RB_WITH_CLASSIFIER:
        return m->head == RB_HEAD_CLASSIFIER;
    case RB_IF_PRESENT:
        return false;
    }
    return false;
}

static enum rb_status check_tensor(const struct rb_model *m, const struct rb_tensor_row *row,
                                   const struct rb_tensor *t, struct rb_error *err)
{
    uint64_t expected[2] = {rb_config_dim(&m->config, row->rows),
                            rb_config_dim(&m->config, row->columns)};
    uint32_t rank = row->columns == RB_DIM_NONE ? 1 : 2;
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

static enum rb_status bind_row(struct rb_model *m, const struct rb_tensor_row *row, uint32_t layer,
                               struct rb_error *err)
{
    const struct rb_tensor **slot =
        &m->tensors[(size_t)row->role * m->config.num_hidden_layers + layer];
    const struct rb_tensor *t = find_row(m, row, layer);
    if (row->role == RB_DECODER_WEIGHT && m->head == RB_HEAD_MLM && !m->decoder_stored)
        t = rb_model_tensor(m, RB_WORD_EMBEDDINGS,
                            0); /* tied: transformers ignores a stored copy */
    if (t == NULL) {
        if (!needed(m, row))
            return RB_OK;
        char name[NAME_MAX_BYTES];
        row_name(m, row, row->name, layer, name);
        return rb_error_set(err, RB_ETENSOR, "%s: tensor '%s' is missing", m->checkpoint.path,
                            name);
    }
    enum rb_status s = check_tensor(m, row, t, err);
    if (s != RB_OK)
        return s;
    *slot = t;
    if (row->role != RB_DECODER_WEIGHT || m->decoder_stored)
        m->parameters += t->bytes / rb_dtype_bytes(t->dtype);
    return RB_OK;
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), k = strlen(suffix);
    return n >= k && strcmp(name + n - k, suffix) == 0;
}

/* A tensor that binds to nothing: a buffer, a tied decoder's stored copy (which nobody reads, but
 * which core/merge/write.c writes: it must be what it is called), or a stranger. */
static enum rb_status check_extra(const struct rb_model *m, const struct rb_tensor *t,
                                  struct rb_error *err)
{
    for (size_t i = 0; m->arch->ignored[i] != NULL; i++)
        if (ends_with(t->name, m->arch->ignored[i]))
            return RB_OK;
    if (m->head == RB_HEAD_MLM && strcmp(t->name, "cls.predictions.decoder.weight") == 0)
        return check_tensor(m, &m->arch->rows[RB_DECODER_WEIGHT], t, err);
    if (m->head == RB_HEAD_MLM && strcmp(t->name, "cls.predictions.decoder.bias") == 0)
        return check_tensor(m, &m->arch->rows[RB_DECODER_BIAS], t, err);
    return rb_error_set(err, RB_ETENSOR,
                        "%s: tensor '%s' does not belong to architecture '%s' with %u layers: it "
                        "could not be moved",
                        m->checkpoint.path, t->name, m->arch->model_type,
                        m->config.num_hidden_layers);
}

static int compare_pointers(const void *x, const void *y)
{
    const struct rb_tensor *const *a = x, *const *b = y;
    return (*a > *b) - (*a < *b);
}

static enum rb_status check_extras(const struct rb_model *m, struct rb_error *err)
{
    size_t slots = m->arch->row_count * m->config.num_hidden_layers;
    const struct rb_tensor **bound = malloc(slots * sizeof bound[0]);
    if (bound == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory for the tensor table",
                            m->checkpoint.path);
    memcpy(bound, m->tensors, slots * sizeof bound[0]);
    qsort(bound, slots, sizeof bound[0], compare_pointers);
    enum rb_status s = RB_OK;
    for (size_t i = 0; i < m->checkpoint.tensor_count && s == RB_OK; i++) {
        const struct rb_tensor *t = m->checkpoint.tensors[i];
        if (bsearch(&t, bound, slots, sizeof bound[0], compare_pointers) == NULL)
            s = check_extra(m, t, err);
    }
    free(bound);
    return s;
}

static enum rb_status bind(struct rb_model *m, struct rb_error *err)
{
    char label[512];
    (void)snprintf(label, sizeof label, "%s/config.json", m->checkpoint.path);
    enum rb_status s = rb_config_parse(label, m->checkpoint.config, &m->arch, &m->config, err);
    if (s != RB_OK)
        return s;
    m->tensors = calloc(m->arch->row_count * m->config.num_hidden_layers, sizeof m->tensors[0]);
    if (m->tensors == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory for the tensor table", label);
    const struct rb_tensor_row *rows = m->arch->rows;
    m->bare = find_row(m, &rows[RB_WORD_EMBEDDINGS], 0) == NULL;
    if (find_row(m, &rows[RB_TRANSFORM_WEIGHT], 0) != NULL)
        m->head = RB_HEAD_MLM;
    else if (find_row(m, &rows[RB_CLASSIFIER_WEIGHT], 0) != NULL)
        m->head = RB_HEAD_CLASSIFIER;
    if (m->bare && find_row(m, &rows[RB_WORD_EMBEDDINGS], 0) == NULL)
        m->bare = false; /* name what is missing as most checkpoints would */
    m->decoder_stored = m->head == RB_HEAD_MLM && !m->config.tie_word_embeddings;
    for (size_t r = 0; r < m->arch->row_count; r++)
        for (uint32_t l = 0; l < (rows[r].per_layer ? m->config.num_hidden_layers : 1); l++) {
            s = bind_row(m, &rows[r], l, err);
            if (s != RB_OK)
                return s;
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

const struct rb_tensor *rb_model_tensor(const struct rb_model *m, enum rb_role role, uint32_t layer)
{
    return m->tensors[(size_t)role * m->config.num_hidden_layers + layer];
}

static const char *const head_names[] = {"no head", "an MLM head", "a classification head"};

enum rb_status rb_models_equal(const struct rb_model *a, const struct rb_model *b,
                               struct rb_error *err)
{
    if (a->arch != b->arch)
        return rb_error_at(err, RB_EMODELS, "model_type", "model_type: '%s' in a, '%s' in b",
                           a->arch->model_type, b->arch->model_type);
    if (a->head != b->head)
        return rb_error_set(err, RB_EMODELS, "a has %s, b has %s", head_names[a->head],
                            head_names[b->head]);
    const struct {
        const char *name;
        uint32_t a, b;
    } rows[] = {
#define SAME(member) {#member, a->config.member, b->config.member}
        SAME(vocab_size),          SAME(hidden_size),       SAME(num_hidden_layers),
        SAME(num_attention_heads), SAME(intermediate_size), SAME(max_position_embeddings),
        SAME(type_vocab_size),
#undef SAME
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].a != rows[i].b)
            return rb_error_at(err, RB_EMODELS, rows[i].name, "%s: %u in a, %u in b", rows[i].name,
                               rows[i].a, rows[i].b);
    if (a->head == RB_HEAD_CLASSIFIER && a->config.num_labels != b->config.num_labels)
        return rb_error_at(err, RB_EMODELS, "num_labels", "num_labels: %u in a, %u in b",
                           a->config.num_labels, b->config.num_labels);
    if (memcmp(&a->config.layer_norm_eps, &b->config.layer_norm_eps, sizeof(float)) != 0)
        return rb_error_at(err, RB_EMODELS, "layer_norm_eps", "layer_norm_eps: %g in a, %g in b",
                           (double)a->config.layer_norm_eps, (double)b->config.layer_norm_eps);
    if (a->decoder_stored != b->decoder_stored)
        return rb_error_at(
            err, RB_EMODELS, "tie_word_embeddings", "tie_word_embeddings: %s in a, %s in b",
            a->decoder_stored ? "false" : "true", b->decoder_stored ? "false" : "true");
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
