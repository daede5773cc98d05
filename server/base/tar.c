#include "server/base/tar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 512, END_BYTES = 2 * BLOCK, HASH_BYTES = 1 << 20 };
#define DATE 315532800ULL /* 1980-01-01; some programs warn of 1970 */
#define OCTAL_BYTES_MAX ((1ULL << 33) - 1)

struct header { /* POSIX.1-1988, "ustar" */
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], kind;
    char link[100], magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155];
    char unused[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

static uint64_t span(const struct rb_tar_entry *e)
{
    return BLOCK + (e->bytes + BLOCK - 1) / BLOCK * BLOCK;
}

uint64_t rb_tar_bytes(const struct rb_tar_entry *entries, size_t count)
{
    uint64_t bytes = END_BYTES;
    for (size_t i = 0; i < count; i++)
        bytes += span(&entries[i]);
    return bytes;
}

static void put_size(char field[12], uint64_t bytes)
{
    if (bytes <= OCTAL_BYTES_MAX) {
        (void)snprintf(field, 12, "%011llo", (unsigned long long)bytes);
        return;
    }
    field[0] = (char)0x80;
    for (int i = 0; i < 8; i++)
        field[11 - i] = (char)(bytes >> 8 * i & 0xff);
}

static void make_header(const struct rb_tar_entry *e, struct header *h)
{
    *h = (struct header){.mode = "0000644",
                         .uid = "0000000",
                         .gid = "0000000",
                         .kind = '0',
                         .magic = "ustar",
                         .version = {'0', '0'},
                         .major = "0000000",
                         .minor = "0000000"};
    memcpy(h->name, e->name, strlen(e->name));
    put_size(h->size, e->bytes);
    (void)snprintf(h->mtime, sizeof h->mtime, "%011llo", DATE);
    memset(h->checksum, ' ', sizeof h->checksum);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof *h; i++)
        sum += ((const unsigned char *)h)[i];
    (void)snprintf(h->checksum, 7, "%06o", sum & 0777777);
}

static enum rb_status read_file(const struct rb_tar_entry *e, uint64_t from, char *buffer,
                                size_t max, size_t *ret, struct rb_error *err)
{
    size_t most = e->bytes - from < max ? (size_t)(e->bytes - from) : max;
    ssize_t n = pread(e->fd, buffer, most, (off_t)from);
    if (n < 0)
        return rb_error_errno(err, errno, e->name);
    if (n == 0)
        return rb_error_set(err, RB_EIO, "%s ends at byte %llu of %llu", e->name,
                            (unsigned long long)from, (unsigned long long)e->bytes);
    *ret = (size_t)n;
    return RB_OK;
}

/* From byte `from` of an entry's header, content and filling. */
static enum rb_status read_entry(const struct rb_tar_entry *e, uint64_t from, char *buffer,
                                 size_t max, size_t *ret, struct rb_error *err)
{
    struct header h;
    if (from >= BLOCK && from - BLOCK < e->bytes)
        return read_file(e, from - BLOCK, buffer, max, ret, err);
    uint64_t left = (from < BLOCK ? BLOCK : span(e)) - from;
    size_t n = left < max ? (size_t)left : max;
    if (from < BLOCK) {
        make_header(e, &h);
        memcpy(buffer, (const char *)&h + from, n);
    } else {
        memset(buffer, 0, n);
    }
    *ret = n;
    return RB_OK;
}

enum rb_status rb_tar_read(const struct rb_tar_entry *entries, size_t count, uint64_t position,
                           char *buffer, size_t max, size_t *ret, struct rb_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (position < span(&entries[i]))
            return read_entry(&entries[i], position, buffer, max, ret, err);
        position -= span(&entries[i]);
    }
    uint64_t left = position < END_BYTES ? END_BYTES - position : 0;
    *ret = left < max ? (size_t)left : max;
    memset(buffer, 0, *ret);
    return RB_OK;
}

enum rb_status rb_tar_sha256(const struct rb_tar_entry *entries, size_t count,
                             unsigned char ret[RB_SHA256_BYTES], struct rb_error *err)
{
    struct rb_hasher *h = rb_hasher_new();
    char *buffer = malloc(HASH_BYTES);
    enum rb_status status = RB_OK;
    size_t n = 1;
    if (h == NULL || buffer == NULL)
        status = rb_error_set(err, RB_ENOMEM, "no memory for the digest of a tar");
    for (uint64_t at = 0; status == RB_OK && n > 0; at += n) {
        status = rb_tar_read(entries, count, at, buffer, HASH_BYTES, &n, err);
        if (status == RB_OK)
            rb_hasher_add(h, buffer, n);
    }
    if (status == RB_OK)
        rb_hasher_end(h, ret);
    rb_hasher_free(h);
    free(buffer);
    return status;
}
