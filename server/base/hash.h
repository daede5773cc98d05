/* server/base/hash.h: SHA-256 and its text form. Any thread.
 *
 * Short texts go through libsodium, which cannot fail; the bytes of files through OpenSSL, which
 * uses the processor's instructions for it: four times as fast and more. Both say the same. */
#ifndef RB_SERVER_BASE_HASH_H
#define RB_SERVER_BASE_HASH_H

#include "api/status.h"

#include <sodium/crypto_hash_sha256.h>
#include <stdatomic.h>
#include <stdint.h>

enum {
    RB_SHA256_BYTES = 32,
    RB_SHA256_HEX = 65 /* lower case, with NUL */
};

struct rb_sha256 {
    crypto_hash_sha256_state state;
};

void rb_sha256_init(struct rb_sha256 *h);
void rb_sha256_add(struct rb_sha256 *h, const void *bytes, size_t count);
void rb_sha256_end(struct rb_sha256 *h, unsigned char ret[RB_SHA256_BYTES]);
void rb_sha256_of(const void *bytes, size_t count, unsigned char ret[RB_SHA256_BYTES]);

/* For the bytes of files. NULL when out of memory. */
struct rb_hasher;
struct rb_hasher *rb_hasher_new(void);
void rb_hasher_add(struct rb_hasher *h, const void *bytes, size_t count);
/* Once. */
void rb_hasher_end(struct rb_hasher *h, unsigned char ret[RB_SHA256_BYTES]);
void rb_hasher_free(struct rb_hasher *h); /* h may be NULL */

/* The whole file behind fd (borrowed) from offset 0 by pread, in blocks of 1 MiB. Blocks: never on
 * the loop thread. stop may be NULL. RB_EIO naming label, RB_ECANCELED when stopped, RB_ENOMEM. */
enum rb_status rb_sha256_fd(int fd, const char *label, const atomic_bool *stop,
                            unsigned char ret[RB_SHA256_BYTES], struct rb_error *err) RB_MUST_CHECK;

/* The same for one piece: adds what lies at offset, at most `most` bytes; *ret_bytes is less only
 * at the file's end. */
enum rb_status rb_hasher_add_fd(struct rb_hasher *h, int fd, const char *label, uint64_t offset,
                                uint64_t most, const atomic_bool *stop, uint64_t *ret_bytes,
                                struct rb_error *err) RB_MUST_CHECK;

void rb_sha256_hex(const unsigned char digest[RB_SHA256_BYTES], char ret[RB_SHA256_HEX]);
/* 64 hex digits in either case; false otherwise. */
bool rb_sha256_from_hex(const char *text, unsigned char ret[RB_SHA256_BYTES]);

#endif
