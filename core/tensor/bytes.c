#include "core/tensor/bytes.h"

#include <assert.h>
#include <string.h>

enum rb_status rb_bytes_read(const struct rb_bytes *b, uint64_t offset, void *to, size_t n,
                             struct rb_error *err)
{
    assert(offset <= b->count && n <= b->count - offset);
    if (b->file != NULL)
        return rb_file_read(b->file, offset, to, n, b->label, err);
    if (n > 0)
        memcpy(to, b->memory + offset, n);
    return RB_OK;
}

/* The bytes of the character at text, 0 if none is there. */
static size_t character_bytes(const unsigned char *text, size_t left)
{
    unsigned char c = text[0];
    if (c < 0x80)
        return 1;
    size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (c == 0xe0 && text[1] < 0xa0) || (c == 0xf0 && text[1] < 0x90);
    bool surrogate = c == 0xed && text[1] >= 0xa0, beyond = c == 0xf4 && text[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : n;
}

bool rb_utf8_is_valid(const unsigned char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t step = character_bytes(text + i, n - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}
