/* core/tensor/torch_objects.h: what a pickle of torch.save stands for: storages, tensors as views
 * of them, and the dictionary that names the tensors; private to core/tensor.
 *
 * The pickle may name collections.OrderedDict, torch._utils._rebuild_tensor_v2 and
 * _rebuild_parameter, torch._tensor._rebuild_from_type_v2 of a torch.Tensor, and the storage
 * classes of the dtypes that dtype.h lists; anything else is an error that says the name. */
#ifndef RB_CORE_TENSOR_TORCH_OBJECTS_H
#define RB_CORE_TENSOR_TORCH_OBJECTS_H

#include "core/tensor/pickle.h"
#include "core/tensor/safetensors.h"

/* A piece of memory that tensors are views of, by the key that names its bytes in the file. */
struct rb_torch_storage {
    size_t key_at; /* in the pickle */
    uint32_t key_bytes;
    enum rb_dtype dtype;
    uint64_t count;  /* elements */
    uint64_t offset; /* of its bytes in the file; the caller's to fill, through `unique` */
    bool resolved;   /* the caller's */
};

struct rb_torch_view {
    size_t storage;
    uint64_t offset; /* elements from the storage's begin on */
    uint32_t rank;
    uint64_t shape[RB_ST_MAX_RANK],
        stride[RB_ST_MAX_RANK]; /* in elements; all inside the storage */
};

struct rb_torch_named {
    size_t name_at; /* in the pickle */
    uint32_t name_bytes;
    size_t view;
};

struct rb_torch_objects {
    size_t id_items; /* of a storage's persistent id: 5 in zip files, 6 in the older format */
    struct rb_pickle pickle;
    struct rb_torch_storage *storages; /* as often as the pickle speaks of them */
    size_t storage_count, storage_capacity;
    struct rb_torch_storage **unique; /* one of each key, sorted by key */
    size_t unique_count;
    size_t *unique_of; /* storage -> its place in unique */
    struct rb_torch_view *views;
    size_t view_count, view_capacity;
    struct rb_torch_named *named; /* in the dictionary's order */
    size_t named_count;
};

/* Runs the pickle that begins at text, finds the dictionary of tensors in what it gives (the top
 * level itself, or what it holds under "model", "state_dict" or "model_state_dict") and checks
 * every view against its storage's count. pickle.at is how many bytes it took. RB_ETORCH,
 * RB_ENOMEM. rb_torch_objects_deinit whatever it returns; text must live until then. id_items is
 * set by the caller, the rest zero. */
enum rb_status rb_torch_objects_run(struct rb_torch_objects *o, const char *label,
                                    const unsigned char *text, size_t bytes,
                                    struct rb_error *err) RB_MUST_CHECK;
void rb_torch_objects_deinit(struct rb_torch_objects *o);

/* The unique storage of that key, NULL if there is none. */
struct rb_torch_storage *rb_torch_objects_storage(const struct rb_torch_objects *o,
                                                  const unsigned char *key, size_t key_bytes);

/* A host that knows no name at all: for pickles of plain values. */
extern const struct rb_pickle_host rb_pickle_plain;

#endif
