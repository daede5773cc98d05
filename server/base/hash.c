#include "server/base/hash.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void rb_sha256_init(struct rb_sha256 *h)
{
    (void)crypto_hash_sha256_init(&h->state);
}

void rb_sha256_add(struct rb_sha256 *h, const void *bytes, size_t count)
{
    (void)crypto_hash_sha256_update(&h->state, bytes, count);
}

void rb_sha256_end(struct rb_sha256 *h, unsigned char ret[RB_SHA256_BYTES])
{
    (void)crypto_hash_sha256_final(&h->state, ret);
}

void rb_sha256_of(const void *bytes, size_t count, unsigned char ret[RB_SHA256_BYTES])
{
    (void)crypto_hash_sha256(ret, bytes, count);
}

static enum rb_status hash_blocks(int fd, const char *label, const atomic_bool *stop,
                                  unsigned char *block, size_t block_bytes, struct rb_sha256 *h,
                                  struct rb_error *err)
{
    for (off_t offset = 0;;) {
        if (stop != NULL && atomic_load_explicit(stop, memory_order_relaxed))
            return rb_error_set(err, RB_ECANCELED, "%s: hashing was stopped", label);
        ssize_t n = pread(fd, block, block_bytes, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return rb_error_errno(err, errno, label);
        if (n == 0)
            return RB_OK;
        rb_sha256_add(h, block, (size_t)n);
        offset += n;
    }
}

enum rb_status rb_sha256_fd(int fd, const char *label, const atomic_bool *stop,
                            unsigned char ret[RB_SHA256_BYTES], struct rb_error *err)
{
    enum { BLOCK_BYTES = 1 << 20 };
    unsigned char *block = malloc(BLOCK_BYTES);
    if (block == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to hash it", label);
    struct rb_sha256 h;
    rb_sha256_init(&h);
    enum rb_status status = hash_blocks(fd, label, stop, block, BLOCK_BYTES, &h, err);
    if (status == RB_OK)
        rb_sha256_end(&h, ret);
    free(block);
    return status;
}

void rb_sha256_hex(const unsigned char digest[RB_SHA256_BYTES], char ret[RB_SHA256_HEX])
{
    (void)sodium_bin2hex(ret, RB_SHA256_HEX, digest, RB_SHA256_BYTES);
}

void rb_sha256_base64(const unsigned char digest[RB_SHA256_BYTES], char ret[RB_SHA256_BASE64])
{
    (void)sodium_bin2base64(ret, RB_SHA256_BASE64, digest, RB_SHA256_BYTES,
                            sodium_base64_VARIANT_ORIGINAL);
}

bool rb_sha256_from_hex(const char *text, unsigned char ret[RB_SHA256_BYTES])
{
    unsigned char digest[RB_SHA256_BYTES];
    size_t count;
    const char *end;
    size_t length = strnlen(text, RB_SHA256_HEX);
    if (sodium_hex2bin(digest, sizeof digest, text, length, NULL, &count, &end) != 0 ||
        count != sizeof digest || *end != '\0')
        return false;
    memcpy(ret, digest, sizeof digest);
    return true;
}

bool rb_sha256_from_base64(const char *text, size_t length, unsigned char ret[RB_SHA256_BYTES])
{
    unsigned char digest[RB_SHA256_BYTES];
    size_t count;
    const char *end;
    if (length != RB_SHA256_BASE64 - 1 ||
        sodium_base642bin(digest, sizeof digest, text, length, NULL, &count, &end,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        count != sizeof digest || end != text + length)
        return false;
    memcpy(ret, digest, sizeof digest);
    return true;
}
