/* tests/unit/rewrite.h: a safetensors file read, changed in one place, and written again, still
 * well formed as a safetensors file; and files cut short or with bits turned. */
#ifndef RB_TESTS_REWRITE_H
#define RB_TESTS_REWRITE_H

#include "unit/numbers.h"
#include "unit/tmpdir.h"

#include "core/tensor/safetensors.h"
#include "core/tensor/safetensors_open.h"
#include "core/tensor/safetensors_write.h"

enum { REWRITE_TENSORS = 256, REWRITE_METADATA = 64 };

struct rewrite {
    struct rb_safetensors file;
    struct rb_st_spec specs[REWRITE_TENSORS];
    void *data[REWRITE_TENSORS];
    size_t count;
    struct rb_metadata metadata[REWRITE_METADATA];
    char *values[REWRITE_METADATA];
    size_t metadata_count;
};

static inline void rewrite_open(struct rewrite *r, const char *path)
{
    struct rb_error err;
    memset(r, 0, sizeof *r);
    MUST(rb_safetensors_open(path, &r->file, &err), &err);
    assert_in_range(r->file.tensor_count, 0, REWRITE_TENSORS - 1);
    assert_in_range(r->file.metadata_count, 0, REWRITE_METADATA - 1);
    for (size_t i = 0; i < r->file.tensor_count; i++) {
        const struct rb_tensor *t = &r->file.tensors[i];
        struct rb_st_spec *s = &r->specs[r->count];
        *s = (struct rb_st_spec){.name = t->name, .dtype = t->dtype, .rank = t->rank};
        memcpy(s->shape, t->shape, sizeof s->shape);
        r->data[r->count] = must_alloc(t->bytes, 1);
        memcpy(r->data[r->count++], t->data, t->bytes);
    }
    for (size_t i = 0; i < r->file.metadata_count; i++) {
        r->values[i] = strdup(r->file.metadata[i].value);
        r->metadata[i] = (struct rb_metadata){r->file.metadata[i].key, r->values[i]};
    }
    r->metadata_count = r->file.metadata_count;
}

static inline size_t rewrite_find(const struct rewrite *r, const char *name)
{
    size_t i = 0;
    while (i < r->count && strcmp(r->specs[i].name, name) != 0)
        i++;
    assert_true(i < r->count);
    return i;
}

static inline void rewrite_drop(struct rewrite *r, const char *name)
{
    size_t i = rewrite_find(r, name);
    free(r->data[i]);
    r->count--;
    r->specs[i] = r->specs[r->count];
    r->data[i] = r->data[r->count];
}

/* Another shape and dtype, all 0; a new tensor if there is none of that name. */
static inline void rewrite_shape(struct rewrite *r, const char *name, enum rb_dtype dtype,
                                 uint32_t rank, const uint64_t *shape)
{
    size_t i = 0, bytes;
    while (i < r->count && strcmp(r->specs[i].name, name) != 0)
        i++;
    r->count += i == r->count;
    r->specs[i] = (struct rb_st_spec){.name = name, .dtype = dtype, .rank = rank};
    memcpy(r->specs[i].shape, shape, rank * sizeof *shape);
    assert_true(rb_shape_bytes(dtype, shape, rank, &bytes));
    free(r->data[i]);
    r->data[i] = must_alloc(bytes, 1);
}

/* value NULL: the entry goes; a new one if there is none of that key. */
static inline void rewrite_metadata(struct rewrite *r, const char *key, const char *value)
{
    size_t i = 0;
    while (i < r->metadata_count && strcmp(r->metadata[i].key, key) != 0)
        i++;
    free(r->values[i]);
    r->values[i] = value != NULL ? strdup(value) : NULL;
    r->metadata[i] = (struct rb_metadata){key, r->values[i]};
    if (value != NULL) {
        r->metadata_count += i == r->metadata_count;
        return;
    }
    r->metadata_count--;
    r->values[i] = r->values[r->metadata_count];
    r->metadata[i] = r->metadata[r->metadata_count];
    r->values[r->metadata_count] = NULL;
}

/* Writes it and forgets it. */
static inline void rewrite_close(struct rewrite *r, const char *path)
{
    struct rb_st_writer *w;
    struct rb_error err;
    MUST(rb_st_writer_open(path, r->specs, r->count, r->metadata, r->metadata_count, &w, &err),
         &err);
    for (size_t i = 0; i < r->count; i++) {
        size_t bytes;
        assert_true(rb_shape_bytes(r->specs[i].dtype, r->specs[i].shape, r->specs[i].rank, &bytes));
        MUST(rb_st_writer_write(w, i, 0, r->data[i], bytes, &err), &err);
        free(r->data[i]);
    }
    MUST(rb_st_writer_commit(w, &err), &err);
    for (size_t i = 0; i < r->metadata_count; i++)
        free(r->values[i]);
    rb_safetensors_deinit(&r->file);
}

/* The file at `path`, cut at every byte of its start and then in steps, becomes dir's `name`. */
static inline void rewrite_cuts(struct tmpdir *dir, const char *path, const char *name,
                                void (*assert_refused)(const char *what, const char *path))
{
    size_t bytes;
    unsigned char *data = tmpdir_read(path, &bytes);
    for (size_t n = 0; n < bytes; n += n < 64 ? (size_t)1 : bytes / 97) {
        tmpdir_write(dir, name, data, n);
        assert_refused("cut", tmpdir_path(dir, name));
    }
    free(data);
}

/* The file at `path`, with one bit turned at random, 1500 times over, becomes dir's `name`; `try`
 * opens it. in_header: only bits of a safetensors header and of its length. */
static inline void rewrite_turned_bits(struct tmpdir *dir, const char *path, const char *name,
                                       bool in_header, uint64_t seed, void (*try)(void *fixture),
                                       void *fixture)
{
    size_t bytes;
    uint64_t header;
    unsigned char *data = tmpdir_read(path, &bytes);
    memcpy(&header, data, sizeof header);
    for (int round = 0; round < 1500; round++) {
        size_t at = random_index(&seed, in_header ? sizeof header + (size_t)header : bytes);
        unsigned char bit = (unsigned char)(1U << random_index(&seed, 8));
        data[at] ^= bit;
        tmpdir_write(dir, name, data, bytes);
        try(fixture);
        data[at] ^= bit;
    }
    free(data);
}

#endif
