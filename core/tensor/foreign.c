#include "core/tensor/foreign.h"

#include "core/download.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* Longer beginnings before those that they begin with. */
static const struct {
    size_t offset;
    const char *bytes;
    size_t count;
    const char *sentence;
} rows[] = {
#define BEGINS(text, sentence)                                                                     \
    {                                                                                              \
        0, (text), sizeof(text) - 1, (sentence)                                                    \
    }
    BEGINS("version https://git-lfs", rb_download_pointer),
    BEGINS("GGUF", "a GGUF file (llama.cpp), whose weights are quantised: fetch the original "
                   "model.safetensors"),
    BEGINS("\x89HDF\r\n\x1a\n",
           "an HDF5 file (TensorFlow's tf_model.h5): convert it, e.g. with "
           "transformers' from_pretrained(..., from_tf=True), then save_pretrained"),
    BEGINS("\x7f"
           "ELF",
           "a program (ELF), not weights"),
    BEGINS("MZ", "a program (Windows), not weights"),
    BEGINS("PK\x03\x04", "a zip file: if torch.save wrote it, name it pytorch_model.bin"),
    BEGINS("\x1f\x8b", "a gzip file: unpack it first"),
    BEGINS("\x28\xb5\x2f\xfd", "a zstd file: unpack it first"),
    BEGINS("BZh", "a bzip2 file: unpack it first"),
    BEGINS("\xfd"
           "7zXZ",
           "an xz file: unpack it first"),
    BEGINS("\x93NUMPY", "a NumPy array, not a file of named tensors"),
    {257, "ustar", 5,
     "a tar archive: unpack it first (torch 0.1 wrote tars too: save it again with a "
     "newer torch)"},
#undef BEGINS
};

/* A sentence or so; weights are longer, and full of bytes that no text has. */
static bool is_short_text(const unsigned char *head, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (head[i] < 0x20 && !isspace(head[i]))
            return false;
    return bytes >= 4 && bytes < RB_FOREIGN_HEAD_BYTES;
}

const char *rb_foreign_name(const unsigned char *head, size_t bytes)
{
    size_t text = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].offset + rows[i].count <= bytes &&
            memcmp(head + rows[i].offset, rows[i].bytes, rows[i].count) == 0)
            return rows[i].sentence;
    while (text < bytes && isspace(head[text]))
        text++;
    if (text < bytes && head[text] == '<')
        return rb_download_page;
    if (text < bytes && head[text] == '{')
        return "JSON text, not weights: perhaps the answer of a server that refused the download";
    if (is_short_text(head, bytes))
        return "a few bytes of text, not weights: perhaps the answer of a server that refused the "
               "download";
    return NULL;
}
