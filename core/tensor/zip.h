/* core/tensor/zip.h: a zip file's directory, read strictly; private to core/tensor.
 *
 * The zip files that torch.save writes hold their members uncompressed, one after the other from
 * the first byte on, then the directory, then its end record, and nothing else. This reader accepts
 * that and no more, so that a file has one meaning: what is refused is named below. Whoever finds
 * another reader that takes the same file gets the same members from it.
 *
 *     local header + data (+ data descriptor) | ... | central directory | zip64 record + locator
 *     (where present) | end record
 *
 * Refused, in words: compression, encryption, several disks, comments, bytes before, between or
 * behind the parts, members that overlap, names twice, absolute names, "..", backslashes, names
 * that are not UTF-8, local and central headers that disagree, counts and sizes that do not fit the
 * file. APPNOTE.TXT 6.3.10: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT */
#ifndef RB_CORE_TENSOR_ZIP_H
#define RB_CORE_TENSOR_ZIP_H

#include "core/tensor/bytes.h"

enum {
    RB_ZIP_MAX_MEMBERS = 1000000,
    RB_ZIP_MAX_NAME = 512,
    RB_ZIP_MAX_DIRECTORY_BYTES = 1 << 26,
};

struct rb_zip_member {
    const char *name;       /* UTF-8, no NUL inside; owned by the zip */
    uint64_t offset, bytes; /* where its data lie in the file, and how many they are */
    uint32_t crc;           /* of the data, as both headers say; not yet checked */
    uint64_t header;        /* where its local header lies */
    uint16_t flags;
};

struct rb_zip {
    struct rb_zip_member *members; /* sorted by name (strcmp) */
    size_t count;
    char *names;
};

/* Does the file begin like a zip file, with a member or empty? */
bool rb_zip_begins(const unsigned char *head, size_t bytes);

/* Reads the directory and every local header. RB_ETORCH with words, RB_EIO, RB_ENOMEM. On success
 * the caller owns *ret: rb_zip_deinit. */
enum rb_status rb_zip_read(const struct rb_bytes *file, struct rb_zip *ret,
                           struct rb_error *err) RB_MUST_CHECK;
void rb_zip_deinit(struct rb_zip *zip);

/* By name, NULL if absent. */
const struct rb_zip_member *rb_zip_find(const struct rb_zip *zip, const char *name);

#endif
