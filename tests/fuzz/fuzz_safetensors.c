/* libFuzzer target: any bytes as a safetensors file. What is accepted must keep its promises:
 * every field is read, every data range lies in the input, together they cover it. */
#include "core/tensor/safetensors.h"
#include "core/tensor/safetensors_parse.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void require(bool promise)
{
    if (!promise)
        abort();
}

static size_t touch_tensor(const struct rb_tensor *t, const uint8_t *data, const uint8_t *end)
{
    char shape[256];
    size_t bytes;
    const uint8_t *at = t->data;
    require(strlen(t->name) <= RB_ST_MAX_NAME);
    require(t->rank <= RB_ST_MAX_RANK);
    require(strlen(rb_shape_text(t->shape, t->rank, shape, sizeof shape)) > 1);
    require(rb_shape_bytes(t->dtype, t->shape, t->rank, &bytes) && bytes == t->bytes);
    require(at >= data && at <= end && t->bytes <= (size_t)(end - at));
    if (rb_dtype_is_float(t->dtype) && t->bytes > 0) {
        float first;
        rb_dtype_to_f32(t->dtype, at, &first, 1);
    }
    return t->bytes;
}

static void touch(const struct rb_safetensors *st, const uint8_t *data, const uint8_t *end)
{
    size_t covered = 0;
    for (size_t i = 0; i < st->tensor_count; i++) {
        require(rb_safetensors_find(st, st->tensors[i].name) == &st->tensors[i]);
        covered += touch_tensor(&st->tensors[i], data, end);
    }
    require(covered == (size_t)(end - data));
    for (size_t i = 0; i < st->metadata_count; i++)
        require(rb_safetensors_metadata(st, st->metadata[i].key) == st->metadata[i].value);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    struct rb_safetensors st;
    struct rb_error err = {0};
    uint64_t header = 0;
    for (size_t i = 0; i < 8 && i < size; i++)
        header |= (uint64_t)input[i] << 8 * i;
    const uint8_t *end = input + size;
    const uint8_t *data = size >= 8 && header <= size - 8 ? input + 8 + header : end;
    if (rb_safetensors_parse("fuzz", input, size, size, data, &st, &err) == RB_OK) {
        touch(&st, data, end);
        rb_safetensors_deinit(&st);
    } else {
        require(err.status == RB_ESAFETENSORS && err.detail[0] != '\0');
    }
    return 0;
}
