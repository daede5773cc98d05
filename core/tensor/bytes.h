/* core/tensor/bytes.h: a file's bytes as a parser of a format reads them: by pread of a file, or
 * from memory (tests, fuzzing); private to core/tensor.
 *
 * A parser copies what it judges. A mapped page could change between the check and the use, or be
 * gone. */
#ifndef RB_CORE_TENSOR_BYTES_H
#define RB_CORE_TENSOR_BYTES_H

#include "core/file.h"

struct rb_bytes {
    const struct rb_file *file;  /* NULL: in memory */
    const unsigned char *memory; /* NULL: in a file */
    uint64_t count;
    const char *label; /* for messages */
};

/* Exactly n bytes from `offset` on, which must lie inside: the caller has checked that. RB_EIO,
 * also if the file has become shorter. */
enum rb_status rb_bytes_read(const struct rb_bytes *b, uint64_t offset, void *to, size_t n,
                             struct rb_error *err) RB_MUST_CHECK;

/* Little-endian numbers, of any alignment. */
static inline uint16_t rb_le16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t rb_le32(const unsigned char *p)
{
    return (uint32_t)rb_le16(p) | (uint32_t)rb_le16(p + 2) << 16;
}

static inline uint64_t rb_le64(const unsigned char *p)
{
    return (uint64_t)rb_le32(p) | (uint64_t)rb_le32(p + 4) << 32;
}

/* Are these n bytes well-formed UTF-8: no surrogates, nothing overlong, nothing beyond U+10FFFF? */
bool rb_utf8_is_valid(const unsigned char *text, size_t n);

#endif
