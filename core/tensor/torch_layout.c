#include "core/tensor/torch_layout.h"

#include <stdlib.h>

bool rb_torch_storage_bytes(const struct rb_torch_storage *storage, uint64_t *ret)
{
    return !__builtin_mul_overflow(storage->count, (uint64_t)rb_dtype_bytes(storage->dtype), ret);
}

void rb_torch_layout_deinit(struct rb_torch_layout *l)
{
    rb_torch_objects_deinit(&l->objects);
    free(l->text);
    *l = (struct rb_torch_layout){0};
}
