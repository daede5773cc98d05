/* libFuzzer target: any bytes as a pytorch_model.bin, in either layout. What is accepted must keep
 * its promises: names in order, sizes as the shapes say, every byte of every tensor readable. */
#include "core/tensor/torch_file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void require(bool promise)
{
    if (!promise)
        abort();
}

static void touch_tensor(const struct rb_tensor *t)
{
    size_t bytes;
    volatile uint8_t sum = 0;
    const uint8_t *at = t->data;
    require(t->rank <= RB_ST_MAX_RANK && strlen(t->name) <= RB_ST_MAX_NAME);
    require(rb_shape_bytes(t->dtype, t->shape, t->rank, &bytes) && bytes == t->bytes);
    for (size_t i = 0; i < t->bytes; i++)
        sum = (uint8_t)(sum + at[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    struct rb_torch_file t;
    struct rb_error err = {0};
    size_t touched = 0;
    if (rb_torch_file_parse("fuzz", input, size, &t, &err) != RB_OK) {
        require((err.status == RB_ETORCH || err.status == RB_ENOMEM) && err.detail[0] != '\0');
        return 0;
    }
    require(t.tensor_count > 0 && t.copied_bytes <= size + (1 << 20));
    for (size_t i = 0; i < t.tensor_count; i++) {
        require(i == 0 || strcmp(t.tensors[i - 1].name, t.tensors[i].name) < 0);
        if ((touched += t.tensors[i].bytes) <
            64 * size + 4096) /* many names may share one storage */
            touch_tensor(&t.tensors[i]);
    }
    rb_torch_file_deinit(&t);
    return 0;
}
