#include "core/tensor/torch_legacy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* 0x1950a86a20f9469cfc6c, as LONG1 writes it: how the file begins. */
static const unsigned char magic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
enum { PROTOCOL = 1001, FIRST_WINDOW = 1 << 16, WINDOW_GROWTH = 8 };

struct reader {
    const struct rb_bytes *file;
    struct rb_error *err;
    uint64_t at; /* where the next pickle begins */
};

#define BAD(r, format, ...)                                                                        \
    rb_error_set((r)->err, RB_ETORCH, "%s: " format, (r)->file->label, ##__VA_ARGS__)

bool rb_torch_legacy_begins(const unsigned char *head, size_t bytes)
{
    return bytes >= 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5;
}

/* ---- pickles whose length nobody says ---- */

/* What is done with a piece of the file that begins with a pickle; *ret_cut_short: it was too
 * short.
 */
typedef enum rb_status run_pickle(struct reader *r, void *data, const unsigned char *text,
                                  size_t bytes, size_t *ret_used, bool *ret_cut_short);

/* Reads more and more of the file until the pickle's end is in it. *ret_text, the piece, is the
 * caller's to free whatever is returned. */
static enum rb_status read_pickle(struct reader *r, run_pickle *run, void *data,
                                  unsigned char **ret_text)
{
    uint64_t left = r->file->count - r->at;
    for (uint64_t window = FIRST_WINDOW;; window *= WINDOW_GROWTH) {
        bool cut_short = false;
        size_t used = 0, n = (size_t)(window < left ? window : left);
        n = n < RB_PICKLE_MAX_BYTES ? n : RB_PICKLE_MAX_BYTES;
        free(*ret_text);
        *ret_text = malloc(n + 1);
        if (*ret_text == NULL)
            return rb_error_set(r->err, RB_ENOMEM, "%s: no memory for its pickle", r->file->label);
        enum rb_status s = rb_bytes_read(r->file, r->at, *ret_text, n, r->err);
        if (s == RB_OK)
            s = run(r, data, *ret_text, n, &used, &cut_short);
        if (s == RB_OK)
            r->at += used;
        if (s == RB_OK || !cut_short || n == left || n == RB_PICKLE_MAX_BYTES)
            return s;
    }
}

/* ---- pickles of plain values ---- */

typedef enum rb_status use_value(struct reader *r, const struct rb_pickle *p,
                                 const struct rb_pickle_value *v, void *data);

struct plain {
    use_value *use;
    void *data;
};

static enum rb_status run_plain(struct reader *r, void *data, const unsigned char *text,
                                size_t bytes, size_t *ret_used, bool *ret_cut_short)
{
    const struct plain *plain = data;
    struct rb_pickle p = {0};
    struct rb_pickle_value v;
    enum rb_status s = rb_pickle_run(&p, r->file->label, text, bytes, &rb_pickle_plain, &v, r->err);
    *ret_used = p.at;
    *ret_cut_short = p.cut_short;
    if (s == RB_OK)
        s = plain->use(r, &p, &v, plain->data);
    rb_pickle_deinit(&p);
    return s;
}

static enum rb_status read_plain(struct reader *r, use_value *use, void *data)
{
    struct plain plain = {use, data};
    unsigned char *text = NULL;
    enum rb_status s = read_pickle(r, run_plain, &plain, &text);
    free(text);
    return s;
}

static enum rb_status check_magic(struct reader *r, const struct rb_pickle *p,
                                  const struct rb_pickle_value *v, void *data)
{
    (void)data;
    if (v->kind != RB_PICKLE_NUMBER || v->length != sizeof magic ||
        memcmp(rb_pickle_text(p, v), magic, sizeof magic) != 0)
        return BAD(r,
                   "a pickle, but not of torch.save: it does not begin with torch's magic number");
    return RB_OK;
}

static enum rb_status check_protocol(struct reader *r, const struct rb_pickle *p,
                                     const struct rb_pickle_value *v, void *data)
{
    (void)p, (void)data;
    if (v->kind != RB_PICKLE_INT || v->integer != PROTOCOL)
        return BAD(r, "its protocol is not %d", PROTOCOL);
    return RB_OK;
}

/* What the writing machine was like; the sizes of C types there play no part in the format. */
static enum rb_status check_machine(struct reader *r, const struct rb_pickle *p,
                                    const struct rb_pickle_value *v, void *data)
{
    size_t n = 0, found = 0;
    (void)data;
    const struct rb_pickle_value *items =
        v->kind == RB_PICKLE_DICT ? rb_pickle_items(p, v, &n) : NULL;
    for (size_t i = 0; i < n; i += 2)
        if (rb_pickle_is_text(p, &items[i], "little_endian")) {
            if (items[i + 1].kind != RB_PICKLE_BOOL || items[i + 1].integer != 1)
                return BAD(r, "its byte order is not little-endian");
            found++;
        }
    return found == 1 ? RB_OK : BAD(r, "it does not say once what its byte order is");
}

/* ---- objects and storages ---- */

static enum rb_status run_objects(struct reader *r, void *data, const unsigned char *text,
                                  size_t bytes, size_t *ret_used, bool *ret_cut_short)
{
    struct rb_torch_objects *o = data;
    enum rb_status s = rb_torch_objects_run(o, r->file->label, text, bytes, r->err);
    *ret_used = o->pickle.at;
    *ret_cut_short = o->pickle.cut_short;
    return s;
}

struct keys { /* in the file's order */
    const struct rb_torch_objects *objects;
    struct rb_torch_storage **storages;
    size_t count;
};

static enum rb_status take_keys(struct reader *r, const struct rb_pickle *p,
                                const struct rb_pickle_value *v, void *data)
{
    struct keys *k = data;
    size_t n = 0;
    const struct rb_pickle_value *items =
        v->kind == RB_PICKLE_LIST ? rb_pickle_items(p, v, &n) : NULL;
    if (n != k->objects->unique_count)
        return BAD(r, "%zu storages are listed, the tensors use %zu", n, k->objects->unique_count);
    k->storages = calloc(n + 1, sizeof(struct rb_torch_storage *));
    if (k->storages == NULL)
        return rb_error_set(r->err, RB_ENOMEM, "%s: no memory for its storages", r->file->label);
    for (size_t i = 0; i < n; i++) {
        struct rb_torch_storage *storage =
            items[i].kind == RB_PICKLE_TEXT
                ? rb_torch_objects_storage(k->objects, rb_pickle_text(p, &items[i]),
                                           items[i].length)
                : NULL;
        if (storage == NULL || storage->resolved)
            return BAD(r, "its list of storages names one twice, or one that no tensor uses");
        storage->resolved = true;
        k->storages[k->count++] = storage;
    }
    return RB_OK;
}

/* Each storage's count of elements, then its bytes, to the file's end. */
static enum rb_status place_storages(struct reader *r, const struct keys *k)
{
    for (size_t i = 0; i < k->count; i++) {
        unsigned char count[8];
        uint64_t bytes = 0, left = r->file->count - r->at;
        if (left < sizeof count)
            return BAD(r, "ends before storage %zu of %zu", i + 1, k->count);
        enum rb_status s = rb_bytes_read(r->file, r->at, count, sizeof count, r->err);
        if (s != RB_OK)
            return s;
        r->at += sizeof count;
        left -= sizeof count;
        if (rb_le64(count) != k->storages[i]->count)
            return BAD(
                r, "storage %zu of %zu has %" PRIu64 " elements here, %" PRIu64 " in the pickle",
                i + 1, k->count, rb_le64(count), k->storages[i]->count);
        if (!rb_torch_storage_bytes(k->storages[i], &bytes) || bytes > left)
            return BAD(r, "ends within storage %zu of %zu, which has %" PRIu64 " elements", i + 1,
                       k->count, k->storages[i]->count);
        k->storages[i]->offset = r->at;
        r->at += bytes;
    }
    if (r->at != r->file->count)
        return BAD(r, "%" PRIu64 " bytes behind the last storage", r->file->count - r->at);
    return RB_OK;
}

enum rb_status rb_torch_legacy_read(const struct rb_bytes *file, struct rb_torch_layout *ret,
                                    struct rb_error *err)
{
    struct reader r = {.file = file, .err = err};
    struct keys k = {.objects = &ret->objects};
    ret->objects.id_items = 6;
    enum rb_status s = read_plain(&r, check_magic, NULL);
    if (s == RB_OK)
        s = read_plain(&r, check_protocol, NULL);
    if (s == RB_OK)
        s = read_plain(&r, check_machine, NULL);
    if (s == RB_OK)
        s = read_pickle(&r, run_objects, &ret->objects, &ret->text);
    if (s == RB_OK)
        s = read_plain(&r, take_keys, &k);
    if (s == RB_OK)
        s = place_storages(&r, &k);
    free(k.storages);
    return s;
}
