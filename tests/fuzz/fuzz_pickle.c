/* libFuzzer target: any bytes as the pickle of a pytorch_model.bin: byte 0 chooses whose (zip's or
 * the older layout's), the rest is the pickle. Every view that comes out must lie in its storage.
 */
#include "core/tensor/torch_objects.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void require(bool promise)
{
    if (!promise)
        abort();
}

static void check_view(const struct rb_torch_objects *o, const struct rb_torch_view *v)
{
    require(v->storage < o->storage_count && v->rank <= RB_ST_MAX_RANK);
    const struct rb_torch_storage *storage = &o->storages[v->storage];
    require(o->unique_of[v->storage] < o->unique_count);
    uint64_t last = v->offset;
    for (uint32_t i = 0; i < v->rank; i++) {
        if (v->shape[i] == 0)
            return;
        last += (v->shape[i] - 1) * v->stride[i];
    }
    require(last < storage->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    struct rb_torch_objects o = {.id_items = 5};
    struct rb_error err = {0};
    if (size == 0)
        return 0;
    o.id_items += input[0] & 1;
    /* Memory of exactly its size, for the sanitizer's eyes. */
    uint8_t *text = malloc(size > 1 ? size - 1 : 1);
    if (text == NULL)
        abort();
    memcpy(text, input + 1, size - 1);
    if (rb_torch_objects_run(&o, "fuzz", text, size - 1, &err) == RB_OK) {
        require(o.pickle.at <= size - 1 && o.named_count > 0);
        for (size_t i = 0; i < o.view_count; i++)
            check_view(&o, &o.views[i]);
        for (size_t i = 0; i < o.named_count; i++) {
            require(o.named[i].view < o.view_count);
            require(o.named[i].name_at + o.named[i].name_bytes <= size - 1);
        }
        for (size_t i = 0; i < o.unique_count; i++)
            require(rb_torch_objects_storage(&o, text + o.unique[i]->key_at,
                                             o.unique[i]->key_bytes) == o.unique[i]);
    } else {
        require((err.status == RB_ETORCH || err.status == RB_ENOMEM) && err.detail[0] != '\0');
    }
    rb_torch_objects_deinit(&o);
    free(text);
    return 0;
}
