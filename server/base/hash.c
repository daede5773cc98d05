#include "server/base/hash.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
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

struct rb_hasher {
    EVP_MD_CTX *context;
};

static EVP_MD *sha256;

/* No configuration file, which the sandbox would hide, and nothing taken apart at exit, while pool
 * threads may still hash. */
static void fetch(void)
{
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

struct rb_hasher *rb_hasher_new(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, fetch);
    struct rb_hasher *h = sha256 != NULL ? calloc(1, sizeof *h) : NULL;
    if (h != NULL)
        h->context = EVP_MD_CTX_new();
    if (h != NULL && h->context != NULL && EVP_DigestInit_ex2(h->context, sha256, NULL) == 1)
        return h;
    rb_hasher_free(h);
    return NULL;
}

/* Adding and ending fail only on a context that was never begun, or has ended. */
void rb_hasher_add(struct rb_hasher *h, const void *bytes, size_t count)
{
    int done = EVP_DigestUpdate(h->context, bytes, count);
    assert(done == 1);
    (void)done;
}

void rb_hasher_end(struct rb_hasher *h, unsigned char ret[RB_SHA256_BYTES])
{
    int done = EVP_DigestFinal_ex(h->context, ret, NULL);
    assert(done == 1);
    (void)done;
}

void rb_hasher_free(struct rb_hasher *h)
{
    if (h == NULL)
        return;
    EVP_MD_CTX_free(h->context);
    free(h);
}

enum { BLOCK_BYTES = 1 << 20 };

static enum rb_status hash_blocks(struct rb_hasher *h, int fd, const char *label, uint64_t offset,
                                  uint64_t most, const atomic_bool *stop, unsigned char *block,
                                  uint64_t *ret_bytes, struct rb_error *err)
{
    uint64_t bytes = 0;
    while (bytes < most) {
        if (stop != NULL && atomic_load_explicit(stop, memory_order_relaxed))
            return rb_error_set(err, RB_ECANCELED, "%s: hashing was stopped", label);
        size_t wanted = most - bytes < BLOCK_BYTES ? (size_t)(most - bytes) : BLOCK_BYTES;
        ssize_t n = pread(fd, block, wanted, (off_t)(offset + bytes));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return rb_error_errno(err, errno, label);
        if (n == 0)
            break;
        rb_hasher_add(h, block, (size_t)n);
        bytes += (uint64_t)n;
    }
    *ret_bytes = bytes;
    return RB_OK;
}

enum rb_status rb_hasher_add_fd(struct rb_hasher *h, int fd, const char *label, uint64_t offset,
                                uint64_t most, const atomic_bool *stop, uint64_t *ret_bytes,
                                struct rb_error *err)
{
    unsigned char *block = malloc(BLOCK_BYTES);
    if (block == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to hash it", label);
    enum rb_status status = hash_blocks(h, fd, label, offset, most, stop, block, ret_bytes, err);
    free(block);
    return status;
}

enum rb_status rb_sha256_fd(int fd, const char *label, const atomic_bool *stop,
                            unsigned char ret[RB_SHA256_BYTES], struct rb_error *err)
{
    struct rb_hasher *h = rb_hasher_new();
    uint64_t bytes;
    if (h == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to hash it", label);
    enum rb_status status = rb_hasher_add_fd(h, fd, label, 0, INT64_MAX, stop, &bytes, err);
    if (status == RB_OK)
        rb_hasher_end(h, ret);
    rb_hasher_free(h);
    return status;
}

void rb_sha256_hex(const unsigned char digest[RB_SHA256_BYTES], char ret[RB_SHA256_HEX])
{
    (void)sodium_bin2hex(ret, RB_SHA256_HEX, digest, RB_SHA256_BYTES);
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
