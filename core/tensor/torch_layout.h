/* core/tensor/torch_layout.h: the two ways in which torch.save lays a file out; private to
 * core/tensor.
 *
 * zip (torch 1.6 and newer): a top folder of any name with data.pkl, one member data/KEY per
 * storage, and a few small notes (version, byteorder). older: five pickles one after the other
 * (magic number, protocol, machine, objects, keys), then for each key the storage's count and its
 * bytes. */
#ifndef RB_CORE_TENSOR_TORCH_LAYOUT_H
#define RB_CORE_TENSOR_TORCH_LAYOUT_H

#include "core/tensor/bytes.h"
#include "core/tensor/torch_objects.h"

/* A file's objects, with each unique storage's place in the file, and the pickle they point into.
 */
struct rb_torch_layout {
    struct rb_torch_objects objects;
    unsigned char *text;
};

void rb_torch_layout_deinit(struct rb_torch_layout *l);

/* A storage's size in bytes; false if it cannot be. */
bool rb_torch_storage_bytes(const struct rb_torch_storage *storage, uint64_t *ret);

#endif
