#include "core/tensor/torch_objects.h"
#include "core/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KEY = 200, SHOWN = 120 };

enum tag { TAG_NONE, TAG_ORDERED /* an OrderedDict */, TAG_STORAGE, TAG_TENSOR };

/* ---- the names that may be asked for ---- */

enum {
    ORDERED_DICT = RB_DTYPE_COUNT,
    REBUILD_TENSOR,
    REBUILD_PARAMETER,
    REBUILD_FROM_TYPE,
    TENSOR
};

/* A storage's id is its dtype. */
static const struct rb_pickle_global globals[] = {
    {"collections", "OrderedDict", ORDERED_DICT},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR},
    {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER},
    {"torch._tensor", "_rebuild_from_type_v2", REBUILD_FROM_TYPE},
    {"torch", "Tensor", TENSOR},
    {"torch._tensor", "Tensor", TENSOR},
    {"torch", "DoubleStorage", RB_F64},
    {"torch", "FloatStorage", RB_F32},
    {"torch", "HalfStorage", RB_F16},
    {"torch", "BFloat16Storage", RB_BF16},
    {"torch", "LongStorage", RB_I64},
    {"torch", "IntStorage", RB_I32},
    {"torch", "ShortStorage", RB_I16},
    {"torch", "CharStorage", RB_I8},
    {"torch", "ByteStorage", RB_U8},
    {"torch", "BoolStorage", RB_BOOL},
};
enum { GLOBALS = sizeof globals / sizeof globals[0] };

static bool is_object(const struct rb_pickle_value *v, enum tag tag)
{
    return v->kind == RB_PICKLE_OBJECT && v->tag == tag;
}

static bool is_empty_dict(const struct rb_pickle *p, const struct rb_pickle_value *v)
{
    size_t n = 1;
    if (v->kind == RB_PICKLE_DICT)
        (void)rb_pickle_items(p, v, &n);
    return n == 0;
}

static enum rb_status no_memory(struct rb_pickle *p)
{
    return rb_error_set(p->err, RB_ENOMEM, "%s: no memory for its tensors", p->label);
}

static bool make_room(void *array, size_t *capacity, size_t count, size_t size)
{
    void **at = array;
    if (count < *capacity)
        return true;
    size_t wanted = *capacity > 0 ? 2 * *capacity : 64;
    void *grown = realloc(*at, wanted * size);
    if (grown == NULL)
        return false;
    *at = grown;
    *capacity = wanted;
    return true;
}

/* ---- tensors ---- */

static enum rb_status read_axes(struct rb_pickle *p, const char *what,
                                const struct rb_pickle_value *v, uint64_t *ret, size_t *ret_count)
{
    size_t n;
    if (v->kind != RB_PICKLE_TUPLE)
        return rb_pickle_bad(p, "a tensor's %s is %s, expected a tuple", what,
                             rb_pickle_kind_name(v));
    const struct rb_pickle_value *items = rb_pickle_items(p, v, &n);
    if (n > RB_ST_MAX_RANK)
        return rb_pickle_bad(p, "a tensor's %s has %zu axes, at most %d are supported", what, n,
                             RB_ST_MAX_RANK);
    for (size_t i = 0; i < n; i++) {
        if (items[i].kind != RB_PICKLE_INT || items[i].integer < 0)
            return rb_pickle_bad(
                p, "a tensor's %s: axis %zu is not a whole number from 0 to 2^63-1", what, i);
        ret[i] = (uint64_t)items[i].integer;
    }
    *ret_count = n;
    return RB_OK;
}

/* Does every element of the view lie in its storage? */
static enum rb_status check_view(struct rb_pickle *p, const struct rb_torch_view *v,
                                 const struct rb_torch_storage *storage)
{
    size_t bytes;
    uint64_t last = v->offset, step;
    bool fits = rb_shape_bytes(storage->dtype, v->shape, v->rank, &bytes);
    if (!fits)
        return rb_pickle_bad(p, "a tensor's shape is too large");
    for (uint32_t i = 0; fits && bytes > 0 && i < v->rank; i++)
        fits = !__builtin_mul_overflow(v->shape[i] - 1, v->stride[i], &step) &&
               !__builtin_add_overflow(last, step, &last);
    if (!fits || (bytes > 0 ? last >= storage->count : last > storage->count)) {
        char shape[RB_ST_MAX_RANK * 22 + 3];
        return rb_pickle_bad(p,
                             "a tensor of shape %s from element %" PRIu64
                             " on reaches beyond its storage of %" PRIu64 " elements",
                             rb_shape_text(v->shape, v->rank, shape, sizeof shape), v->offset,
                             storage->count);
    }
    return RB_OK;
}

static enum rb_status read_view(struct rb_torch_objects *o, const struct rb_pickle_value *args,
                                struct rb_torch_view *ret)
{
    struct rb_pickle *p = &o->pickle;
    size_t rank, strides;
    if (!is_object(&args[0], TAG_STORAGE))
        return rb_pickle_bad(p, "a tensor of %s, expected a storage",
                             rb_pickle_kind_name(&args[0]));
    if (args[1].kind != RB_PICKLE_INT || args[1].integer < 0)
        return rb_pickle_bad(p, "a tensor's offset is not a whole number from 0 to 2^63-1");
    *ret = (struct rb_torch_view){.storage = args[0].index, .offset = (uint64_t)args[1].integer};
    enum rb_status s = read_axes(p, "shape", &args[2], ret->shape, &rank);
    if (s == RB_OK)
        s = read_axes(p, "strides", &args[3], ret->stride, &strides);
    if (s != RB_OK)
        return s;
    if (rank != strides)
        return rb_pickle_bad(p, "a tensor of %zu axes with %zu strides", rank, strides);
    ret->rank = (uint32_t)rank;
    return check_view(p, ret, &o->storages[ret->storage]);
}

/* _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks[, metadata]) */
static enum rb_status rebuild_tensor(struct rb_torch_objects *o, const struct rb_pickle_value *args,
                                     size_t count, struct rb_pickle_value *ret)
{
    struct rb_pickle *p = &o->pickle;
    if (count < 6 || count > 7)
        return rb_pickle_bad(p, "_rebuild_tensor_v2 with %zu arguments, expected 6 or 7", count);
    if (args[4].kind != RB_PICKLE_BOOL || !is_empty_dict(p, &args[5]))
        return rb_pickle_bad(p, "a tensor with requires_grad or hooks that are not plain");
    /* Metadata would say that the numbers mean something else: negated, conjugated. */
    if (count == 7 && args[6].kind != RB_PICKLE_NONE && !is_empty_dict(p, &args[6]))
        return rb_pickle_bad(p,
                             "a tensor with metadata: it may mean other numbers than are stored");
    if (!make_room(&o->views, &o->view_capacity, o->view_count, sizeof *o->views))
        return no_memory(p);
    enum rb_status s = read_view(o, args, &o->views[o->view_count]);
    if (s == RB_OK)
        *ret = (struct rb_pickle_value){
            .kind = RB_PICKLE_OBJECT, .tag = TAG_TENSOR, .index = o->view_count++};
    return s;
}

/* _rebuild_parameter(tensor, requires_grad, hooks): the tensor itself. */
static enum rb_status rebuild_parameter(struct rb_torch_objects *o,
                                        const struct rb_pickle_value *args, size_t count,
                                        struct rb_pickle_value *ret)
{
    struct rb_pickle *p = &o->pickle;
    if (count != 3 || !is_object(&args[0], TAG_TENSOR) || args[1].kind != RB_PICKLE_BOOL ||
        !is_empty_dict(p, &args[2]))
        return rb_pickle_bad(p, "_rebuild_parameter with other arguments than a tensor, "
                                "requires_grad and no hooks");
    *ret = args[0];
    return RB_OK;
}

/* _rebuild_from_type_v2(_rebuild_tensor_v2, torch.Tensor, its arguments, attributes): a tensor to
 * which a program has given attributes; they do not change its numbers. */
static enum rb_status rebuild_from_type(struct rb_torch_objects *o,
                                        const struct rb_pickle_value *args, size_t count,
                                        struct rb_pickle_value *ret)
{
    struct rb_pickle *p = &o->pickle;
    size_t inner;
    if (count != 4 || args[0].kind != RB_PICKLE_GLOBAL ||
        globals[args[0].index].id != REBUILD_TENSOR || args[1].kind != RB_PICKLE_GLOBAL ||
        globals[args[1].index].id != TENSOR || args[2].kind != RB_PICKLE_TUPLE ||
        (args[3].kind != RB_PICKLE_NONE && args[3].kind != RB_PICKLE_DICT))
        return rb_pickle_bad(p,
                             "_rebuild_from_type_v2 of something else than a plain torch.Tensor");
    const struct rb_pickle_value *items = rb_pickle_items(p, &args[2], &inner);
    return rebuild_tensor(o, items, inner, ret);
}

static enum rb_status reduce(void *data, struct rb_pickle *p, size_t global,
                             const struct rb_pickle_value *args, size_t count,
                             struct rb_pickle_value *ret)
{
    struct rb_torch_objects *o = data;
    switch (globals[global].id) {
    case ORDERED_DICT:
        if (count != 0)
            return rb_pickle_bad(p, "OrderedDict with %zu arguments, expected none", count);
        return rb_pickle_dict_new(p, TAG_ORDERED, ret);
    case REBUILD_TENSOR:
        return rebuild_tensor(o, args, count, ret);
    case REBUILD_PARAMETER:
        return rebuild_parameter(o, args, count, ret);
    case REBUILD_FROM_TYPE:
        return rebuild_from_type(o, args, count, ret);
    default:
        return rb_pickle_bad(p, "calls '%s.%s', which is only a name here", globals[global].module,
                             globals[global].name);
    }
}

/* A module's state_dict() carries the versions of its parts in an attribute. */
static enum rb_status build(void *data, struct rb_pickle *p, const struct rb_pickle_value *object,
                            const struct rb_pickle_value *state)
{
    size_t n = 0;
    const struct rb_pickle_value *items = NULL;
    (void)data;
    if (object->kind != RB_PICKLE_DICT || object->tag != TAG_ORDERED)
        return rb_pickle_bad(p, "BUILD sets the state of %s, expected an OrderedDict",
                             rb_pickle_kind_name(object));
    if (state->kind == RB_PICKLE_DICT)
        items = rb_pickle_items(p, state, &n);
    if (n != 2 || !rb_pickle_is_text(p, &items[0], "_metadata") || items[1].kind != RB_PICKLE_DICT)
        return rb_pickle_bad(p, "BUILD sets something else than an OrderedDict's _metadata");
    return RB_OK;
}

/* ---- storages ---- */

static bool is_key(const unsigned char *key, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (key[i] == '/' || key[i] == '\\' || key[i] < 0x20)
            return false;
    return n > 0 && n <= MAX_KEY;
}

static enum rb_status read_id(struct rb_torch_objects *o, const struct rb_pickle_value *items,
                              struct rb_torch_storage *ret)
{
    struct rb_pickle *p = &o->pickle;
    if (!rb_pickle_is_text(p, &items[0], "storage"))
        return rb_pickle_bad(p, "a persistent id that is not of a storage");
    if (items[1].kind != RB_PICKLE_GLOBAL || globals[items[1].index].id >= RB_DTYPE_COUNT)
        return rb_pickle_bad(p,
                             "a storage whose class is %s, expected torch.FloatStorage or the like",
                             rb_pickle_kind_name(&items[1]));
    if (items[2].kind != RB_PICKLE_TEXT || items[3].kind != RB_PICKLE_TEXT)
        return rb_pickle_bad(p, "a storage whose key is %s and whose location %s, expected texts",
                             rb_pickle_kind_name(&items[2]), rb_pickle_kind_name(&items[3]));
    if (!is_key(rb_pickle_text(p, &items[2]), items[2].length))
        return rb_pickle_bad(p, "a storage key of %u bytes that is no plain name: '%.*s'",
                             items[2].length, (int)(items[2].length < 60 ? items[2].length : 60),
                             (const char *)rb_pickle_text(p, &items[2]));
    if (items[4].kind != RB_PICKLE_INT || items[4].integer < 0)
        return rb_pickle_bad(p, "a storage whose count is not a whole number from 0 to 2^63-1");
    if (o->id_items == 6 && items[5].kind != RB_PICKLE_NONE)
        return rb_pickle_bad(
            p, "a storage that is a view of another (torch 0.x): save it again with a "
               "newer torch");
    *ret = (struct rb_torch_storage){.key_at = items[2].at,
                                     .key_bytes = items[2].length,
                                     .dtype = (enum rb_dtype)globals[items[1].index].id,
                                     .count = (uint64_t)items[4].integer};
    return RB_OK;
}

static enum rb_status persistent(void *data, struct rb_pickle *p, const struct rb_pickle_value *id,
                                 struct rb_pickle_value *ret)
{
    struct rb_torch_objects *o = data;
    size_t n;
    if (id->kind != RB_PICKLE_TUPLE)
        return rb_pickle_bad(p, "a persistent id that is %s, expected a tuple",
                             rb_pickle_kind_name(id));
    const struct rb_pickle_value *items = rb_pickle_items(p, id, &n);
    if (n != o->id_items)
        return rb_pickle_bad(p, "a persistent id of %zu items, expected %zu", n, o->id_items);
    if (!make_room(&o->storages, &o->storage_capacity, o->storage_count, sizeof *o->storages))
        return no_memory(p);
    enum rb_status s = read_id(o, items, &o->storages[o->storage_count]);
    if (s == RB_OK)
        *ret = (struct rb_pickle_value){
            .kind = RB_PICKLE_OBJECT, .tag = TAG_STORAGE, .index = o->storage_count++};
    return s;
}

struct keyed {
    const unsigned char *key;
    size_t bytes, storage;
};

static int compare_keys(const unsigned char *a, size_t a_bytes, const unsigned char *b,
                        size_t b_bytes)
{
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    return order != 0 ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static int by_key(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    return compare_keys(x->key, x->bytes, y->key, y->bytes);
}

static enum rb_status check_same(struct rb_torch_objects *o, const struct rb_torch_storage *a,
                                 const struct rb_torch_storage *b)
{
    if (a->dtype == b->dtype && a->count == b->count)
        return RB_OK;
    return rb_error_set(o->pickle.err, RB_ETORCH,
                        "%s: storage '%.*s' is %" PRIu64 " elements of %s in one place and %" PRIu64
                        " of %s in another",
                        o->pickle.label, (int)a->key_bytes,
                        (const char *)o->pickle.text + a->key_at, a->count, rb_dtype_name(a->dtype),
                        b->count, rb_dtype_name(b->dtype));
}

/* The same key is the same storage wherever the pickle speaks of it. */
static enum rb_status unify(struct rb_torch_objects *o)
{
    enum rb_status s = RB_OK;
    size_t n = o->storage_count;
    struct keyed *sorted = calloc(n + 1, sizeof *sorted);
    o->unique = calloc(n + 1, sizeof(struct rb_torch_storage *));
    o->unique_of = calloc(n + 1, sizeof *o->unique_of);
    if (sorted == NULL || o->unique == NULL || o->unique_of == NULL) {
        free(sorted);
        return no_memory(&o->pickle);
    }
    for (size_t i = 0; i < n; i++)
        sorted[i] =
            (struct keyed){o->pickle.text + o->storages[i].key_at, o->storages[i].key_bytes, i};
    if (n > 1)
        qsort(sorted, n, sizeof *sorted, by_key);
    for (size_t i = 0; s == RB_OK && i < n; i++) {
        if (i == 0 || by_key(&sorted[i - 1], &sorted[i]) != 0)
            o->unique[o->unique_count++] = &o->storages[sorted[i].storage];
        o->unique_of[sorted[i].storage] = o->unique_count - 1;
        s = check_same(o, o->unique[o->unique_count - 1], &o->storages[sorted[i].storage]);
    }
    free(sorted);
    return s;
}

struct rb_torch_storage *rb_torch_objects_storage(const struct rb_torch_objects *o,
                                                  const unsigned char *key, size_t key_bytes)
{
    size_t low = 0, high = o->unique_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct rb_torch_storage *u = o->unique[middle];
        int order = compare_keys(key, key_bytes, o->pickle.text + u->key_at, u->key_bytes);
        if (order == 0)
            return u;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* ---- the dictionary ---- */

/* Under these names training scripts keep the weights beside an epoch's number and the like. */
static const char *const wrappers[] = {"model", "state_dict", "model_state_dict"};

static bool is_wrapper(const struct rb_pickle *p, const struct rb_pickle_value *key)
{
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++)
        if (rb_pickle_is_text(p, key, wrappers[i]))
            return true;
    return false;
}

static enum rb_status find_dict(struct rb_torch_objects *o, const struct rb_pickle_value *top,
                                struct rb_pickle_value *ret)
{
    struct rb_pickle *p = &o->pickle;
    size_t n, found = 0;
    if (top->kind != RB_PICKLE_DICT)
        return rb_pickle_bad(p, "holds %s, expected a dictionary of tensors (a state_dict)",
                             is_object(top, TAG_TENSOR) ? "one tensor" : rb_pickle_kind_name(top));
    const struct rb_pickle_value *items = rb_pickle_items(p, top, &n);
    *ret = *top;
    for (size_t i = 0; i < n; i += 2)
        if (is_wrapper(p, &items[i]) && items[i + 1].kind == RB_PICKLE_DICT) {
            *ret = items[i + 1];
            found++;
        }
    return found <= 1 ? RB_OK
                      : rb_pickle_bad(p, "holds weights under several of 'model', 'state_dict' and "
                                         "'model_state_dict': save the ones that are meant");
}

static enum rb_status check_named(struct rb_pickle *p, const struct rb_pickle_value *key,
                                  const struct rb_pickle_value *value)
{
    if (key->kind != RB_PICKLE_TEXT)
        return rb_pickle_bad(p, "a tensor is named by %s, expected text", rb_pickle_kind_name(key));
    const unsigned char *name = rb_pickle_text(p, key);
    if (key->length == 0 || key->length > RB_ST_MAX_NAME || memchr(name, '\0', key->length) != NULL)
        return rb_pickle_bad(p, "a tensor's name of %u bytes, expected 1 to %d without NUL",
                             key->length, RB_ST_MAX_NAME);
    if (!is_object(value, TAG_TENSOR))
        return rb_pickle_bad(p, "'%.*s' is %s, expected a tensor",
                             (int)(key->length < SHOWN ? key->length : SHOWN), (const char *)name,
                             rb_pickle_kind_name(value));
    return RB_OK;
}

static enum rb_status list_named(struct rb_torch_objects *o, const struct rb_pickle_value *dict)
{
    struct rb_pickle *p = &o->pickle;
    size_t n;
    enum rb_status s = RB_OK;
    const struct rb_pickle_value *items = rb_pickle_items(p, dict, &n);
    if (n == 0)
        return rb_pickle_bad(p, "holds an empty dictionary, expected tensors");
    o->named = calloc(n / 2, sizeof *o->named);
    if (o->named == NULL)
        return no_memory(p);
    for (size_t i = 0; s == RB_OK && i < n; i += 2) {
        s = check_named(p, &items[i], &items[i + 1]);
        if (s == RB_OK)
            o->named[o->named_count++] =
                (struct rb_torch_named){items[i].at, items[i].length, items[i + 1].index};
    }
    return s;
}

enum rb_status rb_torch_objects_run(struct rb_torch_objects *o, const char *label,
                                    const unsigned char *text, size_t bytes, struct rb_error *err)
{
    size_t id_items = o->id_items;
    struct rb_pickle_value top, dict;
    rb_torch_objects_deinit(o);
    o->id_items = id_items;
    const struct rb_pickle_host host = {
        .data = o,
        .globals = globals,
        .global_count = GLOBALS,
        .reduce = reduce,
        .build = build,
        .persistent = persistent,
    };
    enum rb_status s = rb_pickle_run(&o->pickle, label, text, bytes, &host, &top, err);
    o->pickle.host = NULL; /* it ends with this function */
    if (s == RB_OK)
        s = find_dict(o, &top, &dict);
    if (s == RB_OK)
        s = list_named(o, &dict);
    if (s == RB_OK)
        s = unify(o);
    return s;
}

void rb_torch_objects_deinit(struct rb_torch_objects *o)
{
    rb_pickle_deinit(&o->pickle);
    free(o->storages);
    free(o->unique);
    free(o->unique_of);
    free(o->views);
    free(o->named);
    *o = (struct rb_torch_objects){0};
}

/* ---- no names at all ---- */

static enum rb_status refuse_reduce(void *data, struct rb_pickle *p, size_t global,
                                    const struct rb_pickle_value *args, size_t count,
                                    struct rb_pickle_value *ret)
{
    (void)data, (void)global, (void)args, (void)count, (void)ret;
    return rb_pickle_bad(p, "calls something where plain values are expected");
}

static enum rb_status refuse_build(void *data, struct rb_pickle *p,
                                   const struct rb_pickle_value *object,
                                   const struct rb_pickle_value *state)
{
    (void)data, (void)object, (void)state;
    return rb_pickle_bad(p, "builds something where plain values are expected");
}

static enum rb_status refuse_persistent(void *data, struct rb_pickle *p,
                                        const struct rb_pickle_value *id,
                                        struct rb_pickle_value *ret)
{
    (void)data, (void)id, (void)ret;
    return rb_pickle_bad(p, "a storage where plain values are expected");
}

const struct rb_pickle_host rb_pickle_plain = {
    .reduce = refuse_reduce, .build = refuse_build, .persistent = refuse_persistent};
