#include "core/tensor/zip.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOCAL_BYTES = 30,
    CENTRAL_BYTES = 46,
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    DESCRIPTOR_BYTES = 16,   /* with its signature */
    DESCRIPTOR64_BYTES = 24, /* the same with sizes of eight bytes */
    EXTRA_ZIP64 = 0x0001,
    FLAG_DESCRIPTOR = 0x0008,
    FLAG_UTF8 = 0x0800,
    FLAGS_ENCRYPTED = 0x0001 | 0x0040 | 0x2000,
    SHOWN = 120, /* of a name, in messages */
};

static const uint32_t LOCAL_SIGNATURE = 0x04034b50, CENTRAL_SIGNATURE = 0x02014b50,
                      END_SIGNATURE = 0x06054b50, END64_SIGNATURE = 0x06064b50,
                      LOCATOR_SIGNATURE = 0x07064b50, DESCRIPTOR_SIGNATURE = 0x08074b50;

#define BAD(r, format, ...)                                                                        \
    rb_error_set((r)->err, RB_ETORCH, "%s: " format, (r)->file->label, ##__VA_ARGS__)
#define BAD_MEMBER(r, name, format, ...)                                                           \
    BAD(r, "member '%.*s': " format, SHOWN, name, ##__VA_ARGS__)

struct directory { /* where the end record says it is */
    uint64_t offset, bytes, count;
};

struct reader {
    const struct rb_bytes *file;
    struct rb_error *err;
    struct directory directory;
    unsigned char *text; /* the central directory, copied */
    struct rb_zip zip;
    size_t names_used;
};

static enum rb_status no_memory(struct reader *r)
{
    return rb_error_set(r->err, RB_ENOMEM, "%s: no memory for its directory", r->file->label);
}

bool rb_zip_begins(const unsigned char *head, size_t bytes)
{
    return bytes >= 4 && (rb_le32(head) == LOCAL_SIGNATURE || rb_le32(head) == END_SIGNATURE);
}

/* ---- the end record ---- */

/* The zip64 record before the end record, which must repeat what that says where that says it. */
static enum rb_status read_end64(struct reader *r, const unsigned char *locator, uint64_t at,
                                 struct directory *plain)
{
    unsigned char record[END64_BYTES];
    uint64_t where = rb_le64(locator + 8);
    if (rb_le32(locator + 4) != 0 || rb_le32(locator + 16) != 1)
        return BAD(r,
                   "the zip64 record lies on another disk: only zip files of one piece are read");
    if (at < END64_BYTES || where != at - END64_BYTES)
        return BAD(r,
                   "the zip64 record is said to be at %" PRIu64 ", it must lie just before its "
                   "locator at %" PRIu64,
                   where, at);
    enum rb_status s = rb_bytes_read(r->file, where, record, sizeof record, r->err);
    if (s != RB_OK)
        return s;
    if (rb_le32(record) != END64_SIGNATURE || rb_le64(record + 4) != END64_BYTES - 12)
        return BAD(r, "no zip64 record of %d bytes at %" PRIu64, END64_BYTES, where);
    struct directory large = {.count = rb_le64(record + 32),
                              .bytes = rb_le64(record + 40),
                              .offset = rb_le64(record + 48)};
    if (rb_le32(record + 16) != 0 || rb_le32(record + 20) != 0 ||
        rb_le64(record + 24) != large.count)
        return BAD(r, "the zip64 record speaks of several disks: only zip files of one are read");
    if ((plain->count != UINT16_MAX && plain->count != large.count) ||
        (plain->bytes != UINT32_MAX && plain->bytes != large.bytes) ||
        (plain->offset != UINT32_MAX && plain->offset != large.offset))
        return BAD(r, "the end record and the zip64 record disagree");
    *plain = large;
    return RB_OK;
}

/* Directory and records must lie end to end: what `end` is to the directory. */
static enum rb_status check_directory(struct reader *r, uint64_t end)
{
    const struct directory *d = &r->directory;
    if (d->offset > end || d->bytes != end - d->offset)
        return BAD(r,
                   "the directory is said to be %" PRIu64 " bytes from %" PRIu64
                   " on, it must end at %" PRIu64,
                   d->bytes, d->offset, end);
    if (d->count == 0)
        return BAD(r, "an empty zip file");
    if (d->count > RB_ZIP_MAX_MEMBERS || d->bytes > RB_ZIP_MAX_DIRECTORY_BYTES)
        return BAD(r,
                   "%" PRIu64 " members in a directory of %" PRIu64 " bytes, at most %d and %d are "
                   "allowed",
                   d->count, d->bytes, RB_ZIP_MAX_MEMBERS, RB_ZIP_MAX_DIRECTORY_BYTES);
    if (d->count > d->bytes / CENTRAL_BYTES)
        return BAD(r, "%" PRIu64 " members do not fit into a directory of %" PRIu64 " bytes",
                   d->count, d->bytes);
    return RB_OK;
}

static enum rb_status read_end(struct reader *r)
{
    unsigned char end[END_BYTES], locator[LOCATOR_BYTES];
    uint64_t size = r->file->count;
    if (size < END_BYTES)
        return BAD(r, "%" PRIu64 " bytes are too few for a zip file", size);
    uint64_t at = size - END_BYTES;
    enum rb_status s = rb_bytes_read(r->file, at, end, sizeof end, r->err);
    if (s != RB_OK)
        return s;
    if (rb_le32(end) != END_SIGNATURE || rb_le16(end + 20) != 0)
        return BAD(r, "the zip file does not end with its end record: it is cut short, or has a "
                      "comment or other bytes behind it");
    if (rb_le16(end + 4) != 0 || rb_le16(end + 6) != 0 || rb_le16(end + 8) != rb_le16(end + 10))
        return BAD(r, "the end record speaks of several disks: only zip files of one are read");
    struct directory d = {
        .count = rb_le16(end + 10), .bytes = rb_le32(end + 12), .offset = rb_le32(end + 16)};
    if (at >= LOCATOR_BYTES) {
        s = rb_bytes_read(r->file, at - LOCATOR_BYTES, locator, sizeof locator, r->err);
        if (s != RB_OK)
            return s;
        if (rb_le32(locator) == LOCATOR_SIGNATURE) {
            at -= LOCATOR_BYTES;
            s = read_end64(r, locator, at, &d);
            if (s != RB_OK)
                return s;
            at -= END64_BYTES;
        }
    }
    r->directory = d;
    return check_directory(r, at);
}

/* ---- names ---- */

static bool is_dots(const char *part, size_t n)
{
    return (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.');
}

/* A relative path of plain parts. */
static bool is_plain_path(const char *name, size_t n)
{
    if (n == 0 || memchr(name, '\\', n) != NULL || memchr(name, '\0', n) != NULL)
        return false;
    if (n > 1 && name[1] == ':') /* C:/ */
        return false;
    for (size_t from = 0; from <= n;) {
        const char *slash = from < n ? memchr(name + from, '/', n - from) : NULL;
        size_t part = slash != NULL ? (size_t)(slash - name) - from : n - from;
        if (part == 0 || is_dots(name + from, part))
            return false;
        from += part + 1;
    }
    return true;
}

/* A copy that lives as long as the zip; the arena is as large as the directory. */
static enum rb_status keep_name(struct reader *r, const unsigned char *name, size_t n,
                                const char **ret)
{
    char *copy = r->zip.names + r->names_used;
    memcpy(copy, name, n);
    copy[n] = '\0';
    if (n > RB_ZIP_MAX_NAME)
        return BAD(r, "a member's name has %zu bytes, at most %d are allowed", n, RB_ZIP_MAX_NAME);
    if (!rb_utf8_is_valid(name, n))
        return BAD_MEMBER(r, copy, "its name is not UTF-8");
    if (!is_plain_path(copy, n))
        return BAD_MEMBER(
            r, copy,
            "its name is not a plain relative path (absolute, empty, \"..\", '\\' or NUL)");
    r->names_used += n + 1;
    *ret = copy;
    return RB_OK;
}

/* ---- headers ---- */

/* Finds the extra field with that id; *ret_bytes is 0 if there is none. false: the fields do not
 * fit their space, or this one is there twice. */
static bool find_extra(const unsigned char *extra, size_t n, uint16_t id, const unsigned char **ret,
                       size_t *ret_bytes)
{
    *ret = NULL;
    *ret_bytes = 0;
    while (n > 0) {
        if (n < 4 || rb_le16(extra + 2) > n - 4)
            return false;
        size_t bytes = rb_le16(extra + 2);
        if (rb_le16(extra) == id) {
            if (*ret != NULL)
                return false;
            *ret = extra + 4;
            *ret_bytes = bytes;
        }
        extra += 4 + bytes;
        n -= 4 + bytes;
    }
    return true;
}

/* Fields that say 0xffffffff stand in the zip64 extra field, in this order. */
static bool widen(uint64_t **fields, size_t count, const unsigned char *extra, size_t n)
{
    unsigned char wide[32] = {0};
    size_t bytes = 0;
    if (!find_extra(extra, n, EXTRA_ZIP64, &extra, &bytes) || bytes > sizeof wide)
        return false;
    if (bytes > 0)
        memcpy(wide, extra, bytes);
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        if (*fields[i] == UINT32_MAX) {
            if (bytes - at < 8)
                return false;
            *fields[i] = rb_le64(wide + at);
            at += 8;
        }
    return at == bytes;
}

static enum rb_status check_stored(struct reader *r, const char *name, uint16_t flags,
                                   uint16_t method)
{
    if ((flags & FLAGS_ENCRYPTED) != 0)
        return BAD_MEMBER(r, name, "it is encrypted");
    if (method != 0)
        return BAD_MEMBER(
            r, name, "it is compressed (method %u), torch.save stores everything as it is", method);
    if ((flags & ~(FLAG_DESCRIPTOR | FLAG_UTF8)) != 0)
        return BAD_MEMBER(r, name, "flags 0x%x, at most 0x%x are known", flags,
                          FLAG_DESCRIPTOR | FLAG_UTF8);
    return RB_OK;
}

/* One entry of the central directory at *at, which is moved behind it. */
static enum rb_status read_central(struct reader *r, size_t *at)
{
    const unsigned char *c = r->text + *at;
    size_t left = (size_t)r->directory.bytes - *at;
    if (left < CENTRAL_BYTES || rb_le32(c) != CENTRAL_SIGNATURE)
        return BAD(r,
                   "no directory entry at byte %" PRIu64 ", where entry %zu of %" PRIu64 " must be",
                   r->directory.offset + *at, r->zip.count + 1, r->directory.count);
    size_t name_bytes = rb_le16(c + 28), extra_bytes = rb_le16(c + 30), comment = rb_le16(c + 32);
    if (name_bytes + extra_bytes + comment > left - CENTRAL_BYTES)
        return BAD(r, "the directory entry at byte %" PRIu64 " is longer than the directory",
                   r->directory.offset + *at);
    struct rb_zip_member m = {.flags = rb_le16(c + 8), .crc = rb_le32(c + 16)};
    enum rb_status s = keep_name(r, c + CENTRAL_BYTES, name_bytes, &m.name);
    if (s == RB_OK)
        s = check_stored(r, m.name, m.flags, rb_le16(c + 10));
    if (s != RB_OK)
        return s;
    uint64_t stored = rb_le32(c + 20), disk = rb_le16(c + 34);
    m.bytes = rb_le32(c + 24);
    m.header = rb_le32(c + 42);
    if (comment != 0 || disk != 0)
        return BAD_MEMBER(r, m.name, "it has a comment or lies on another disk");
    uint64_t *fields[] = {&m.bytes, &stored, &m.header};
    if (!widen(fields, 3, c + CENTRAL_BYTES + name_bytes, extra_bytes))
        return BAD_MEMBER(r, m.name, "its extra fields in the directory are malformed");
    if (stored != m.bytes)
        return BAD_MEMBER(
            r, m.name, "stored as it is, yet of %" PRIu64 " bytes within and %" PRIu64 " without",
            m.bytes, stored);
    r->zip.members[r->zip.count++] = m;
    *at += CENTRAL_BYTES + name_bytes + extra_bytes + comment;
    return RB_OK;
}

/* torch writes a header before it knows sum and sizes: they are 0 there, and follow the data. */
static bool local_agrees(const struct rb_zip_member *m, const unsigned char *local, uint64_t stored,
                         uint64_t bytes)
{
    uint32_t crc = rb_le32(local + 14);
    bool later = (m->flags & FLAG_DESCRIPTOR) != 0;
    return rb_le16(local + 6) == m->flags && rb_le16(local + 8) == 0 &&
           (crc == m->crc || (later && crc == 0)) &&
           (stored == m->bytes || (later && stored == 0)) &&
           (bytes == m->bytes || (later && bytes == 0));
}

/* Where m's data begin, by its local header; directory_at: where nothing of a member may lie. */
static enum rb_status read_local(struct reader *r, struct rb_zip_member *m)
{
    unsigned char local[LOCAL_BYTES], rest[RB_ZIP_MAX_NAME + UINT16_MAX];
    uint64_t end = r->directory.offset;
    if (m->header > end || end - m->header < LOCAL_BYTES)
        return BAD_MEMBER(r, m->name, "its header at %" PRIu64 " lies outside of the members' part",
                          m->header);
    enum rb_status s = rb_bytes_read(r->file, m->header, local, sizeof local, r->err);
    if (s != RB_OK)
        return s;
    if (rb_le32(local) != LOCAL_SIGNATURE)
        return BAD_MEMBER(r, m->name, "no header at byte %" PRIu64, m->header);
    size_t name_bytes = rb_le16(local + 26), extra_bytes = rb_le16(local + 28);
    uint64_t at = m->header + LOCAL_BYTES;
    if (name_bytes != strlen(m->name))
        return BAD_MEMBER(r, m->name, "its header and the directory give it different names");
    if (end - at < name_bytes + extra_bytes)
        return BAD_MEMBER(r, m->name, "its header is longer than the members' part");
    s = rb_bytes_read(r->file, at, rest, name_bytes + extra_bytes, r->err);
    if (s != RB_OK)
        return s;
    if (memcmp(rest, m->name, name_bytes) != 0)
        return BAD_MEMBER(r, m->name, "its header and the directory give it different names");
    uint64_t stored = rb_le32(local + 18), bytes = rb_le32(local + 22);
    uint64_t *fields[] = {&bytes, &stored};
    const unsigned char *wide;
    size_t wide_bytes;
    /* A zip64 field may stand there beside sizes of 0 that come later. */
    bool later = (m->flags & FLAG_DESCRIPTOR) != 0 && stored == 0 && bytes == 0;
    if (!find_extra(rest + name_bytes, extra_bytes, EXTRA_ZIP64, &wide, &wide_bytes) ||
        (!later && !widen(fields, 2, rest + name_bytes, extra_bytes)))
        return BAD_MEMBER(r, m->name, "the extra fields of its header are malformed");
    if (!local_agrees(m, local, stored, bytes))
        return BAD_MEMBER(r, m->name,
                          "its header and the directory disagree (method, flags, sizes or "
                          "CRC)");
    m->offset = at + name_bytes + extra_bytes;
    if (m->bytes > end - m->offset)
        return BAD_MEMBER(r, m->name,
                          "its %" PRIu64 " bytes from %" PRIu64 " on reach beyond byte %" PRIu64,
                          m->bytes, m->offset, end);
    return RB_OK;
}

/* What stands between the end of m's data and `next`: nothing, or the descriptor its flag speaks
 * of. */
static enum rb_status check_between(struct reader *r, const struct rb_zip_member *m, uint64_t next)
{
    unsigned char d[DESCRIPTOR64_BYTES];
    uint64_t end = m->offset + m->bytes;
    if (next < end)
        return BAD_MEMBER(
            r, m->name, "overlap: it ends at %" PRIu64 ", the next begins at %" PRIu64, end, next);
    uint64_t gap = next - end;
    if ((m->flags & FLAG_DESCRIPTOR) == 0)
        return gap == 0
                   ? RB_OK
                   : BAD_MEMBER(r, m->name, "%" PRIu64 " bytes behind it belong to nothing", gap);
    if (gap != DESCRIPTOR_BYTES && gap != DESCRIPTOR64_BYTES)
        return BAD_MEMBER(r, m->name,
                          "%" PRIu64 " bytes behind it, expected its data descriptor of %d or %d",
                          gap, DESCRIPTOR_BYTES, DESCRIPTOR64_BYTES);
    enum rb_status s = rb_bytes_read(r->file, end, d, (size_t)gap, r->err);
    if (s != RB_OK)
        return s;
    bool wide = gap == DESCRIPTOR64_BYTES;
    uint64_t stored = wide ? rb_le64(d + 8) : rb_le32(d + 8);
    uint64_t bytes = wide ? rb_le64(d + 16) : rb_le32(d + 12);
    if (rb_le32(d) != DESCRIPTOR_SIGNATURE || rb_le32(d + 4) != m->crc || stored != m->bytes ||
        bytes != m->bytes)
        return BAD_MEMBER(r, m->name, "its data descriptor and the directory disagree");
    return RB_OK;
}

/* ---- the whole ---- */

static int by_place(const void *a, const void *b)
{
    const struct rb_zip_member *x = a, *y = b;
    return (x->header > y->header) - (x->header < y->header);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct rb_zip_member *)a)->name, ((const struct rb_zip_member *)b)->name);
}

static enum rb_status read_directory(struct reader *r)
{
    size_t bytes = (size_t)r->directory.bytes, at = 0;
    r->text = malloc(bytes);
    r->zip.names = malloc(bytes + 1); /* an entry is longer than its name and a terminator */
    r->zip.members = calloc((size_t)r->directory.count, sizeof *r->zip.members);
    if (r->text == NULL || r->zip.names == NULL || r->zip.members == NULL)
        return no_memory(r);
    enum rb_status s = rb_bytes_read(r->file, r->directory.offset, r->text, bytes, r->err);
    for (uint64_t i = 0; s == RB_OK && i < r->directory.count; i++)
        s = read_central(r, &at);
    if (s == RB_OK && at != bytes)
        return BAD(r, "%zu bytes behind the last of %zu directory entries", bytes - at,
                   r->zip.count);
    return s;
}

/* Members, in the order of their places, must fill everything before the directory. */
static enum rb_status check_places(struct reader *r)
{
    enum rb_status s = RB_OK;
    struct rb_zip_member *m = r->zip.members;
    qsort(m, r->zip.count, sizeof *m, by_place);
    if (m[0].header != 0)
        return BAD(r, "%" PRIu64 " bytes before the first member belong to nothing", m[0].header);
    for (size_t i = 0; s == RB_OK && i < r->zip.count; i++)
        s = read_local(r, &m[i]);
    for (size_t i = 0; s == RB_OK && i < r->zip.count; i++)
        s = check_between(r, &m[i], i + 1 < r->zip.count ? m[i + 1].header : r->directory.offset);
    return s;
}

static enum rb_status check_names(struct reader *r)
{
    struct rb_zip_member *m = r->zip.members;
    qsort(m, r->zip.count, sizeof *m, by_name);
    for (size_t i = 1; i < r->zip.count; i++)
        if (strcmp(m[i - 1].name, m[i].name) == 0)
            return BAD_MEMBER(r, m[i].name, "it is there twice");
    return RB_OK;
}

enum rb_status rb_zip_read(const struct rb_bytes *file, struct rb_zip *ret, struct rb_error *err)
{
    struct reader r = {.file = file, .err = err};
    enum rb_status s = read_end(&r);
    if (s == RB_OK)
        s = read_directory(&r);
    if (s == RB_OK)
        s = check_places(&r);
    if (s == RB_OK)
        s = check_names(&r);
    free(r.text);
    if (s == RB_OK)
        *ret = r.zip;
    else
        rb_zip_deinit(&r.zip);
    return s;
}

void rb_zip_deinit(struct rb_zip *zip)
{
    free(zip->members);
    free(zip->names);
    *zip = (struct rb_zip){0};
}

static int name_of(const void *name, const void *member)
{
    return strcmp(name, ((const struct rb_zip_member *)member)->name);
}

const struct rb_zip_member *rb_zip_find(const struct rb_zip *zip, const char *name)
{
    return bsearch(name, zip->members, zip->count, sizeof *zip->members, name_of);
}
