#include "core/align/moments.h"
#include "core/tensor/safetensors_open.h"
#include "core/tensor/safetensors_write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned rb_taps_needed(const struct rb_align_options *o)
{
    unsigned taps = 0;
    if (o->components & RB_COMPONENT_FF)
        taps |= 1U << RB_TAP_FF;
    if (o->components & RB_COMPONENT_MHA)
        taps |= 1U << RB_TAP_MHA | 1U << RB_TAP_V;
    if ((o->components & RB_COMPONENT_MHA) &&
        (o->separate_qk || rb_align_head_map(o) != RB_HEAD_MAP_PERMUTATION))
        taps |= 1U << RB_TAP_Q | 1U << RB_TAP_K;
    if (o->components & RB_COMPONENT_RESIDUAL)
        taps |= 1U << RB_TAP_RESIDUAL;
    if (o->components & RB_COMPONENT_EMBEDDING)
        taps |= 1U << RB_TAP_EMBEDDING;
    if (o->output_head)
        taps |= 1U << RB_TAP_HEAD;
    return taps;
}

void rb_tap_clear(struct rb_tap *t)
{
    double **const wide[] = {&t->pivot_a,  &t->pivot_b,  &t->sum_a, &t->sum_b,
                             &t->square_a, &t->square_b, &t->cross};
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        free(*wide[i]);
        *wide[i] = NULL;
    }
    free(t->cross_f32);
    t->cross_f32 = NULL;
}

void rb_moments_free(struct rb_moments *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->tap_count && m->mapped == NULL; i++)
        rb_tap_clear(&m->taps[i]);
    if (m->mapped != NULL) {
        rb_safetensors_deinit(m->mapped);
        free(m->mapped);
    }
    free(m->taps);
    free(m);
}

const struct rb_tap *rb_moments_find(const struct rb_moments *m, enum rb_tap_kind kind,
                                     uint32_t layer)
{
    for (size_t i = 0; i < m->tap_count; i++)
        if (m->taps[i].kind == kind && m->taps[i].layer == layer)
            return &m->taps[i];
    return NULL;
}

/* ---- on disk ---- */

/* One row per array of a tap: its tensor is "<tap>.<name>". narrow: of the same in F32, where a tap
 * can have either. */
static const struct {
    const char *name;
    size_t offset, narrow; /* of the pointers in struct rb_tap */
    uint32_t rank;
} arrays[] = {
    {"pivot_a", offsetof(struct rb_tap, pivot_a), 0, 1},
    {"pivot_b", offsetof(struct rb_tap, pivot_b), 0, 1},
    {"sum_a", offsetof(struct rb_tap, sum_a), 0, 1},
    {"sum_b", offsetof(struct rb_tap, sum_b), 0, 1},
    {"square_a", offsetof(struct rb_tap, square_a), 0, 1},
    {"square_b", offsetof(struct rb_tap, square_b), 0, 1},
    {"cross", offsetof(struct rb_tap, cross), offsetof(struct rb_tap, cross_f32), 2},
};

enum { ARRAYS = sizeof arrays / sizeof arrays[0], KEY_BYTES = 64 };

static void set_array(struct rb_tap *t, size_t i, enum rb_dtype dtype, const void *data)
{
    size_t offset = dtype == RB_F64 ? arrays[i].offset : arrays[i].narrow;
    memcpy((char *)t + offset, &data, sizeof data);
}

static const void *get_array(const struct rb_tap *t, size_t i, enum rb_dtype *ret_dtype)
{
    const void *data;
    memcpy(&data, (const char *)t + arrays[i].offset, sizeof data);
    *ret_dtype = RB_F64;
    if (data != NULL || arrays[i].narrow == 0)
        return data;
    memcpy(&data, (const char *)t + arrays[i].narrow, sizeof data);
    *ret_dtype = RB_F32;
    return data;
}

struct rb_moments_writer {
    struct rb_st_writer *file;
    const struct rb_moments *moments;
};

enum rb_status rb_moments_writer_put(struct rb_moments_writer *w, size_t tap, struct rb_error *err)
{
    const struct rb_tap *t = &w->moments->taps[tap];
    enum rb_status s = RB_OK;
    for (size_t k = 0; k < ARRAYS && s == RB_OK; k++) {
        enum rb_dtype dtype;
        const void *data = get_array(t, k, &dtype);
        size_t n = arrays[k].rank == 2 ? (size_t)t->size * t->size : t->size;
        s = rb_st_writer_write(w->file, tap * ARRAYS + k, 0, data, n * rb_dtype_bytes(dtype), err);
    }
    return s;
}

enum rb_status rb_moments_writer_end(struct rb_moments_writer *w, enum rb_status status,
                                     struct rb_error *err)
{
    enum rb_status s = rb_st_writer_end(w->file, status, err);
    free(w);
    return s;
}

void rb_moments_writer_abort(struct rb_moments_writer *w)
{
    if (w != NULL)
        rb_st_writer_abort(w->file);
    free(w);
}

enum rb_status rb_moments_writer_open(const struct rb_moments *m, bool narrow, const char *path,
                                      struct rb_moments_writer **ret, struct rb_error *err)
{
    size_t count = m->tap_count * ARRAYS;
    struct rb_moments_writer *w = calloc(1, sizeof *w);
    struct rb_st_spec *specs = calloc(count + 1, sizeof *specs);
    char(*names)[KEY_BYTES] = calloc(count + m->tap_count + 1, KEY_BYTES);
    char(*values)[KEY_BYTES] = calloc(m->tap_count + 1, KEY_BYTES);
    struct rb_metadata *metadata = calloc(m->tap_count + 1, sizeof *metadata);
    enum rb_status s = RB_ENOMEM;
    if (w == NULL || specs == NULL || names == NULL || values == NULL || metadata == NULL) {
        s = rb_error_set(err, RB_ENOMEM, "no memory to save moments");
        goto err_after_alloc;
    }
    for (size_t i = 0; i < m->tap_count; i++) {
        const struct rb_tap *t = &m->taps[i];
        for (size_t k = 0; k < ARRAYS; k++) {
            char *name = names[i * ARRAYS + k];
            (void)snprintf(name, KEY_BYTES, "%s.%s", t->name, arrays[k].name);
            specs[i * ARRAYS + k] =
                (struct rb_st_spec){.name = name,
                                    .dtype = narrow && arrays[k].narrow != 0 ? RB_F32 : RB_F64,
                                    .rank = arrays[k].rank,
                                    .shape = {t->size, t->size}};
        }
        (void)snprintf(names[count + i], KEY_BYTES, "%s", t->name);
        (void)snprintf(values[i], KEY_BYTES, "%d %" PRIu32 " %" PRIu32 " %.0f", (int)t->kind,
                       t->layer, t->size, t->rows);
        metadata[i] = (struct rb_metadata){names[count + i], values[i]};
    }
    (void)snprintf(values[m->tap_count], KEY_BYTES, "%" PRIu64, m->tokens);
    metadata[m->tap_count] = (struct rb_metadata){"tokens", values[m->tap_count]};
    s = rb_st_writer_open(path, specs, count, metadata, m->tap_count + 1, &w->file, err);
    if (s != RB_OK)
        goto err_after_alloc;
    w->moments = m;
    *ret = w;
    w = NULL;
err_after_alloc:
    free(w);
    free(specs);
    free(names);
    free(values);
    free(metadata);
    return s;
}

enum rb_status rb_moments_save(const struct rb_moments *m, const char *path, struct rb_error *err)
{
    struct rb_moments_writer *w;
    bool narrow = m->tap_count > 0 && m->taps[0].cross == NULL;
    enum rb_status s = rb_moments_writer_open(m, narrow, path, &w, err);
    if (s != RB_OK)
        return s;
    for (size_t i = 0; i < m->tap_count && s == RB_OK; i++)
        s = rb_moments_writer_put(w, i, err);
    return rb_moments_writer_end(w, s, err);
}

void rb_moments_forget(const struct rb_moments *m, const struct rb_tap *t)
{
    if (m->mapped == NULL)
        return;
    for (size_t k = 0; k < ARRAYS; k++) {
        enum rb_dtype dtype;
        const void *data = get_array(t, k, &dtype);
        size_t n = arrays[k].rank == 2 ? (size_t)t->size * t->size : t->size;
        rb_safetensors_forget(m->mapped, data, n * rb_dtype_bytes(dtype));
    }
}

/* "kind layer size rows", and nothing else. */
static bool read_entry(const char *text, struct rb_tap *t)
{
    int64_t kind, layer, size;
    int end = 0;
    if (sscanf(text, "%" SCNd64 " %" SCNd64 " %" SCNd64 " %lf%n", &kind, &layer, &size, &t->rows,
               &end) != 4 ||
        text[end] != '\0')
        return false;
    t->kind = (enum rb_tap_kind)kind;
    t->layer = (uint32_t)layer;
    t->size = (uint32_t)size;
    return kind >= RB_TAP_FF && kind < RB_TAP_COUNT && layer >= 0 && layer <= INT32_MAX &&
           size >= 1 && size <= INT32_MAX && t->rows >= 1 && t->rows <= 0x1p53;
}

static enum rb_status load_tap(const struct rb_safetensors *st, const struct rb_metadata *entry,
                               struct rb_tap *ret, struct rb_error *err)
{
    struct rb_tap t = {0};
    if (strlen(entry->key) >= sizeof t.name || !read_entry(entry->value, &t))
        return rb_error_set(err, RB_ESAFETENSORS, "%s: metadata of tap '%s' cannot be read",
                            st->path, entry->key);
    memcpy(t.name, entry->key, strlen(entry->key) + 1);
    for (size_t k = 0; k < ARRAYS; k++) {
        char name[2 * KEY_BYTES];
        (void)snprintf(name, sizeof name, "%s.%s", t.name, arrays[k].name);
        const struct rb_tensor *x = rb_safetensors_find(st, name);
        uint32_t rank = arrays[k].rank;
        if (x == NULL || (x->dtype != RB_F64 && (x->dtype != RB_F32 || arrays[k].narrow == 0)) ||
            x->rank != rank || x->shape[0] != t.size || x->shape[rank - 1] != t.size ||
            (uintptr_t)x->data % rb_dtype_bytes(x->dtype) != 0)
            return rb_error_set(err, RB_ESAFETENSORS, "%s: tensor '%s' is missing or damaged",
                                st->path, name);
        set_array(&t, k, x->dtype, x->data); /* mapped read-only, never written */
    }
    *ret = t;
    return RB_OK;
}

static bool read_tokens(const struct rb_safetensors *st, uint64_t *ret)
{
    const char *text = rb_safetensors_metadata(st, "tokens");
    char *end = NULL;
    if (text == NULL || text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *ret = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

/* Every tap whole and once, and nothing else. */
static enum rb_status load_all(const struct rb_safetensors *st, struct rb_moments *m,
                               struct rb_error *err)
{
    if (!read_tokens(st, &m->tokens))
        return rb_error_set(err, RB_ESAFETENSORS, "%s: metadata 'tokens' is missing or damaged",
                            st->path);
    for (size_t i = 0; i < st->metadata_count; i++) {
        struct rb_tap t;
        if (strcmp(st->metadata[i].key, "tokens") == 0)
            continue;
        enum rb_status s = load_tap(st, &st->metadata[i], &t, err);
        if (s != RB_OK)
            return s;
        if (rb_moments_find(m, t.kind, t.layer) != NULL)
            return rb_error_set(err, RB_ESAFETENSORS, "%s: '%s' is the second tap of its kind",
                                st->path, t.name);
        m->taps[m->tap_count++] = t;
    }
    if (st->tensor_count != m->tap_count * ARRAYS)
        return rb_error_set(err, RB_ESAFETENSORS, "%s: %zu tensors for %zu taps, expected %zu",
                            st->path, st->tensor_count, m->tap_count, m->tap_count * ARRAYS);
    return RB_OK;
}

enum rb_status rb_moments_load(const char *path, struct rb_moments **ret, struct rb_error *err)
{
    struct rb_moments *m = calloc(1, sizeof *m);
    struct rb_safetensors *st = calloc(1, sizeof *st);
    if (m == NULL || st == NULL) {
        free(m);
        free(st);
        return rb_error_set(err, RB_ENOMEM, "no memory to load moments");
    }
    enum rb_status s = rb_safetensors_open(path, st, err);
    if (s != RB_OK) {
        free(m);
        free(st);
        return s;
    }
    m->mapped = st;
    m->taps = calloc(st->metadata_count + 1, sizeof *m->taps);
    if (m->taps == NULL)
        s = rb_error_set(err, RB_ENOMEM, "no memory to load moments");
    if (s == RB_OK)
        s = load_all(st, m, err);
    if (s != RB_OK) {
        rb_moments_free(m);
        return s;
    }
    *ret = m;
    return RB_OK;
}
