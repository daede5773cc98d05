#include "core/tensor/torch_file.h"
#include "core/memory.h"
#include "core/tensor/foreign.h"
#include "core/tensor/map.h"
#include "core/tensor/torch_layout.h"
#include "core/tensor/torch_legacy.h"
#include "core/tensor/torch_zip.h"
#include "core/tensor/zip.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { COPY_ALLOWANCE = 1 << 20, PIECE_BYTES = 1 << 20 };

static const char PREFIX[] = "module.";
enum { PREFIX_BYTES = sizeof PREFIX - 1 };

static enum rb_status no_memory(const char *label, struct rb_error *err)
{
    return rb_error_set(err, RB_ENOMEM, "%s: no memory for its tensors", label);
}

/* ---- which layout ---- */

static enum rb_status read_layout(const struct rb_bytes *file, struct rb_torch_layout *ret,
                                  struct rb_error *err)
{
    unsigned char head[RB_FOREIGN_HEAD_BYTES];
    size_t n = file->count < sizeof head ? (size_t)file->count : sizeof head;
    enum rb_status s = rb_bytes_read(file, 0, head, n, err);
    if (s != RB_OK)
        return s;
    if (n == 0)
        return rb_error_set(err, RB_ETORCH, "%s: an empty file", file->label);
    if (rb_zip_begins(head, n))
        return rb_torch_zip_read(file, ret, err);
    if (rb_torch_legacy_begins(head, n))
        return rb_torch_legacy_read(file, ret, err);
    const char *what = n > 9 && memcmp(head + 8, "{\"", 2) == 0
                           ? "a safetensors file: name it model.safetensors"
                           : rb_foreign_name(head, n);
    if (what != NULL)
        return rb_error_set(err, RB_ETORCH, "%s: %s", file->label, what);
    return rb_error_set(err, RB_ETORCH,
                        "%s: neither a zip file nor a pickle, so nothing that torch.save "
                        "wrote (%" PRIu64 " bytes)",
                        file->label, file->count);
}

/* ---- tensors ---- */

/* What attaching needs of one tensor beside what rb_tensor says. */
struct place {
    uint64_t at; /* of its first element in the file */
    const struct rb_torch_view *view;
};

/* Does the view lie row by row, without holes? Axes of length 1 may have any stride. */
static bool is_contiguous(const struct rb_tensor *t, const struct rb_torch_view *v)
{
    uint64_t expected = 1;
    for (uint32_t i = v->rank; t->bytes > 0 && i-- > 0;) {
        if (v->shape[i] != 1 && v->stride[i] != expected)
            return false;
        expected *= v->shape[i];
    }
    return true;
}

/* The view's elements in the order of its shape, into to. */
static void copy_view(const unsigned char *from, const struct rb_torch_view *v, size_t element,
                      unsigned char *to, size_t bytes)
{
    assert(from != NULL);
    uint64_t at[RB_ST_MAX_RANK] = {0};
    uint32_t last = v->rank - 1; /* a scalar is contiguous */
    for (size_t done = 0; done < bytes;) {
        uint64_t row = 0;
        for (uint32_t i = 0; i < last; i++)
            row += at[i] * v->stride[i];
        for (uint64_t j = 0; j < v->shape[last]; j++, done += element)
            memcpy(to + done, from + (row + j * v->stride[last]) * element, element);
        for (uint32_t i = last; i-- > 0;) {
            if (++at[i] < v->shape[i])
                break;
            at[i] = 0;
        }
    }
}

static bool same_place(const struct place *a, const struct place *b)
{
    return a->at == b->at && a->view->rank == b->view->rank &&
           memcmp(a->view->shape, b->view->shape, sizeof a->view->shape) == 0 &&
           memcmp(a->view->stride, b->view->stride, sizeof a->view->stride) == 0;
}

/* The same strided view under the name before is copied once (a tied matrix, transposed). */
static size_t twin_of(const struct rb_torch_file *t, const struct place *places, size_t i)
{
    for (size_t j = i; j-- > 0 && i - j <= 64;)
        if (t->tensors[j].dtype == t->tensors[i].dtype && same_place(&places[j], &places[i]))
            return j;
    return i;
}

/* Reserves room for the copies; on success copies[i] is where tensor i's begins, or SIZE_MAX. */
static enum rb_status plan_copies(struct rb_torch_file *t, const struct place *places,
                                  uint64_t file_bytes, size_t *copies, struct rb_error *err)
{
    uint64_t most = file_bytes + COPY_ALLOWANCE, total = 0;
    for (size_t i = 0; i < t->tensor_count; i++) {
        copies[i] = SIZE_MAX;
        if (is_contiguous(&t->tensors[i], places[i].view))
            continue;
        size_t twin = twin_of(t, places, i);
        copies[i] = twin != i ? copies[twin] : (size_t)total;
        if (twin != i)
            continue;
        if (t->tensors[i].bytes > most - total)
            return rb_error_set(
                err, RB_ETORCH,
                "%s: tensor '%.120s' is a strided view: with it the views' copies would "
                "be larger than the file; save them with .contiguous()",
                t->path, t->tensors[i].name);
        total += (t->tensors[i].bytes + 7) / 8 * 8;
    }
    t->copied_bytes = (size_t)total;
    t->copies = malloc((size_t)total + 1);
    return t->copies != NULL ? RB_OK : no_memory(t->path, err);
}

/* Sets every tensor's data: in the file, or in a copy. */
static enum rb_status attach(struct rb_torch_file *t, const struct place *places,
                             const unsigned char *data, uint64_t file_bytes, struct rb_error *err)
{
    size_t *copies = calloc(t->tensor_count + 1, sizeof *copies);
    if (copies == NULL)
        return no_memory(t->path, err);
    enum rb_status s = plan_copies(t, places, file_bytes, copies, err);
    for (size_t i = 0; s == RB_OK && i < t->tensor_count; i++) {
        struct rb_tensor *tensor = &t->tensors[i];
        const unsigned char *from = data + places[i].at;
        tensor->data = from;
        if (copies[i] == SIZE_MAX)
            continue;
        unsigned char *to = t->copies + copies[i];
        tensor->data = to;
        if (twin_of(t, places, i) == i)
            copy_view(from, places[i].view, rb_dtype_bytes(tensor->dtype), to, tensor->bytes);
    }
    free(copies);
    /* What was copied from need not count beside the copies. */
    if (t->map != NULL && t->copied_bytes > 0)
        rb_map_forget(t->map, data, (size_t)file_bytes);
    return s;
}

/* ---- names ---- */

static bool all_prefixed(const struct rb_torch_layout *l)
{
    const struct rb_torch_objects *o = &l->objects;
    for (size_t i = 0; i < o->named_count; i++)
        if (o->named[i].name_bytes <= PREFIX_BYTES ||
            memcmp(l->text + o->named[i].name_at, PREFIX, PREFIX_BYTES) != 0)
            return false;
    return true;
}

struct entry { /* sorted together */
    struct rb_tensor tensor;
    struct place place;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->tensor.name, ((const struct entry *)b)->tensor.name);
}

static void describe(const struct rb_torch_layout *l, const struct rb_torch_named *named,
                     const char *name, struct entry *ret)
{
    const struct rb_torch_objects *o = &l->objects;
    const struct rb_torch_view *v = &o->views[named->view];
    const struct rb_torch_storage *storage = o->unique[o->unique_of[v->storage]];
    struct rb_tensor t = {.name = name, .dtype = storage->dtype, .rank = v->rank};
    memcpy(t.shape, v->shape, sizeof t.shape);
    bool fits = rb_shape_bytes(t.dtype, t.shape, t.rank, &t.bytes);
    (void)fits; /* checked with the view */
    *ret = (struct entry){
        .tensor = t,
        .place = {.at = storage->offset + v->offset * rb_dtype_bytes(t.dtype), .view = v}};
}

static void list_entries(const struct rb_torch_layout *l, char *names, struct entry *ret)
{
    size_t skipped = all_prefixed(l) ? PREFIX_BYTES : 0;
    for (size_t i = 0; i < l->objects.named_count; i++) {
        const struct rb_torch_named *named = &l->objects.named[i];
        size_t n = named->name_bytes - skipped;
        memcpy(names, l->text + named->name_at + skipped, n);
        names[n] = '\0';
        describe(l, named, names, &ret[i]);
        names += n + 1;
    }
}

static size_t name_bytes(const struct rb_torch_layout *l)
{
    size_t bytes = 0;
    for (size_t i = 0; i < l->objects.named_count; i++)
        bytes += l->objects.named[i].name_bytes + 1;
    return bytes;
}

static enum rb_status take_entries(struct rb_torch_file *t, struct place *places,
                                   struct entry *entries, size_t count, struct rb_error *err)
{
    qsort(entries, count, sizeof *entries, by_name);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(entries[i - 1].tensor.name, entries[i].tensor.name) == 0)
            return rb_error_set(err, RB_ETORCH, "%s: tensor '%.120s': duplicate name", t->path,
                                entries[i].tensor.name);
        t->tensors[i] = entries[i].tensor;
        places[i] = entries[i].place;
    }
    t->tensor_count = count;
    return RB_OK;
}

/* Fills *t, whose map (or memory at `data`) is there already. */
static enum rb_status fill(struct rb_torch_file *t, const struct rb_torch_layout *l,
                           const unsigned char *data, uint64_t file_bytes, struct rb_error *err)
{
    size_t count = l->objects.named_count;
    struct entry *entries = calloc(count, sizeof *entries);
    struct place *places = calloc(count, sizeof *places);
    t->tensors = calloc(count, sizeof *t->tensors);
    t->names = malloc(name_bytes(l));
    enum rb_status s = no_memory(t->path, err);
    if (entries != NULL && places != NULL && t->tensors != NULL && t->names != NULL) {
        list_entries(l, t->names, entries);
        s = take_entries(t, places, entries, count, err);
        if (s == RB_OK)
            s = attach(t, places, data, file_bytes, err);
    }
    free(places);
    free(entries);
    return s;
}

/* ---- opening ---- */

static enum rb_status open_bytes(const struct rb_bytes *bytes, struct rb_torch_file *ret,
                                 struct rb_error *err)
{
    struct rb_torch_layout layout = {0};
    struct rb_torch_file t = {.path = strdup(bytes->label)};
    const unsigned char *data = bytes->memory;
    enum rb_status s =
        t.path != NULL ? read_layout(bytes, &layout, err) : no_memory(bytes->label, err);
    if (s == RB_OK && bytes->file != NULL) {
        s = rb_map_open(bytes->file->fd, &bytes->file->st, bytes->label, &t.map, err);
        data = s == RB_OK ? rb_map_data(t.map) : NULL;
    }
    if (s == RB_OK)
        s = fill(&t, &layout, data, bytes->count, err);
    rb_torch_layout_deinit(&layout);
    if (s == RB_OK)
        *ret = t;
    else
        rb_torch_file_deinit(&t);
    return s;
}

enum rb_status rb_torch_file_parse(const char *label, const void *data, size_t bytes,
                                   struct rb_torch_file *ret, struct rb_error *err)
{
    const struct rb_bytes memory = {.memory = data, .count = bytes, .label = label};
    return open_bytes(&memory, ret, err);
}

enum rb_status rb_torch_file_open_fd(int fd, const char *label, struct rb_torch_file *ret,
                                     struct rb_error *err)
{
    struct rb_file file;
    enum rb_status s = rb_file_of_fd(fd, label, &file, err);
    if (s != RB_OK)
        return s;
    const struct rb_bytes bytes = {.file = &file, .count = file.bytes, .label = label};
    return open_bytes(&bytes, ret, err);
}

void rb_torch_file_deinit(struct rb_torch_file *t)
{
    rb_map_close(t->map);
    free(t->tensors);
    free(t->names);
    free(t->copies);
    free(t->path);
    *t = (struct rb_torch_file){0};
}

/* ---- checksums ---- */

struct check {
    const struct rb_bytes *file;
    unsigned char *piece; /* PIECE_BYTES */
    bool (*stop)(void *data);
    void *data;
    struct rb_error *err;
};

static enum rb_status check_member(const struct check *c, const struct rb_zip_member *m)
{
    uLong crc = crc32(0, NULL, 0);
    for (uint64_t done = 0; done < m->bytes;) {
        size_t n = m->bytes - done < PIECE_BYTES ? (size_t)(m->bytes - done) : PIECE_BYTES;
        if (c->stop != NULL && c->stop(c->data))
            return rb_error_set(c->err, RB_ECANCELED, "canceled");
        enum rb_status s = rb_bytes_read(c->file, m->offset + done, c->piece, n, c->err);
        if (s != RB_OK)
            return s;
        crc = crc32(crc, c->piece, (uInt)n);
        done += n;
    }
    if (crc != m->crc)
        return rb_error_set(c->err, RB_ETORCH,
                            "%s: member '%.120s' has the CRC %08lx, the file says %08" PRIx32
                            ": it is damaged, fetch it again",
                            c->file->label, m->name, crc, m->crc);
    return RB_OK;
}

static enum rb_status check_members(struct check *c, const struct rb_bytes *file)
{
    struct rb_zip zip;
    enum rb_status s = rb_zip_read(file, &zip, c->err);
    if (s != RB_OK)
        return s;
    c->piece = malloc(PIECE_BYTES);
    if (c->piece == NULL)
        s = no_memory(file->label, c->err);
    for (size_t i = 0; s == RB_OK && i < zip.count; i++)
        s = check_member(c, &zip.members[i]);
    free(c->piece);
    rb_zip_deinit(&zip);
    return s;
}

enum rb_status rb_torch_file_check(int fd, const char *label, bool (*stop)(void *data), void *data,
                                   struct rb_error *err)
{
    struct rb_file file;
    unsigned char head[4] = {0};
    enum rb_status s = rb_file_of_fd(fd, label, &file, err);
    if (s != RB_OK)
        return s;
    const struct rb_bytes bytes = {.file = &file, .count = file.bytes, .label = label};
    struct check check = {.file = &bytes, .stop = stop, .data = data, .err = err};
    if (file.bytes >= sizeof head)
        s = rb_bytes_read(&bytes, 0, head, sizeof head, err);
    if (s == RB_OK && rb_zip_begins(head, sizeof head))
        s = check_members(&check, &bytes);
    return s;
}
