#include "core/tensor/torch_zip.h"
#include "core/tensor/zip.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NOTE_BYTES = 64 };

struct reader {
    const struct rb_bytes *file;
    struct rb_zip zip;
    size_t root_bytes; /* of every member's name, with the '/' */
    struct rb_error *err;
};

#define BAD(r, format, ...)                                                                        \
    rb_error_set((r)->err, RB_ETORCH, "%s: " format, (r)->file->label, ##__VA_ARGS__)

static enum rb_status check_version(struct reader *r, const char *note)
{
    size_t digits = strspn(note, "0123456789");
    if (digits == 0 || digits > 2 || strspn(note + digits, "\r\n") != strlen(note + digits))
        return BAD(r, "its version is '%s', expected a small number", note);
    return RB_OK;
}

static enum rb_status check_byteorder(struct reader *r, const char *note)
{
    return strcmp(note, "little") == 0
               ? RB_OK
               : BAD(r, "its byte order is '%s', only 'little' is supported", note);
}

static enum rb_status refuse_script(struct reader *r, const char *note)
{
    (void)note;
    return BAD(r, "a TorchScript archive, which holds code: save the model's state_dict() instead");
}

/* What may lie in the top folder, beside names that begin with a dot: torch's own notes. */
static const struct {
    const char *name; /* with a '/' at its end: whatever lies in that folder */
    enum rb_status (*check)(struct reader *r, const char *note);
} parts[] = {
    {"data.pkl", NULL},
    {"data/", NULL},
    {"version", check_version},
    {"byteorder", check_byteorder},
    {"code/", refuse_script},
    {"constants.pkl", refuse_script},
    {"constants/", refuse_script},
};
enum { PARTS = sizeof parts / sizeof parts[0] };

static bool is_part(const char *name, const char *part)
{
    size_t n = strlen(part);
    return part[n - 1] == '/' ? strncmp(name, part, n) == 0 : strcmp(name, part) == 0;
}

static enum rb_status check_note(struct reader *r, const struct rb_zip_member *m,
                                 enum rb_status (*check)(struct reader *, const char *))
{
    char note[MAX_NOTE_BYTES + 1] = "";
    size_t n = m->bytes < MAX_NOTE_BYTES ? (size_t)m->bytes : MAX_NOTE_BYTES;
    enum rb_status s = rb_bytes_read(r->file, m->offset, note, n, r->err);
    return s == RB_OK ? check(r, note) : s;
}

static enum rb_status check_member(struct reader *r, const struct rb_zip_member *m)
{
    const char *root = r->zip.members[0].name, *name = m->name + r->root_bytes;
    if (strncmp(m->name, root, r->root_bytes) != 0)
        return BAD(r, "member '%.120s' lies outside of the top folder '%.*s'", m->name,
                   (int)(r->root_bytes < 120 ? r->root_bytes : 120), root);
    if (name[0] == '.')
        return RB_OK;
    for (size_t i = 0; i < PARTS; i++)
        if (is_part(name, parts[i].name))
            return parts[i].check != NULL ? check_note(r, m, parts[i].check) : RB_OK;
    return BAD(r, "member '%.120s' is none that torch.save writes", m->name);
}

static enum rb_status check_members(struct reader *r)
{
    const char *first = r->zip.members[0].name, *slash = strchr(first, '/');
    enum rb_status s = RB_OK;
    if (slash == NULL)
        return BAD(r, "member '%.120s' lies in no folder, torch.save puts all into one", first);
    r->root_bytes = (size_t)(slash + 1 - first);
    for (size_t i = 0; s == RB_OK && i < r->zip.count; i++)
        s = check_member(r, &r->zip.members[i]);
    return s;
}

static const struct rb_zip_member *find_member(const struct reader *r, const char *folder,
                                               const unsigned char *name, size_t name_bytes)
{
    char path[2 * RB_ZIP_MAX_NAME];
    int n = snprintf(path, sizeof path, "%.*s%s%.*s", (int)r->root_bytes, r->zip.members[0].name,
                     folder, (int)name_bytes, (const char *)name);
    return n > 0 && (size_t)n < sizeof path ? rb_zip_find(&r->zip, path) : NULL;
}

static enum rb_status read_pickle(struct reader *r, struct rb_torch_layout *l)
{
    const struct rb_zip_member *m =
        find_member(r, "", (const unsigned char *)"data.pkl", strlen("data.pkl"));
    if (m == NULL)
        return BAD(r, "a zip file without data.pkl in its top folder: none that torch.save wrote");
    if (m->bytes > RB_PICKLE_MAX_BYTES)
        return BAD(r, "data.pkl has %" PRIu64 " bytes, at most %d are allowed", m->bytes,
                   RB_PICKLE_MAX_BYTES);
    size_t bytes = (size_t)m->bytes;
    l->text = malloc(bytes + 1);
    if (l->text == NULL)
        return rb_error_set(r->err, RB_ENOMEM, "%s: no memory for its pickle", r->file->label);
    enum rb_status s = rb_bytes_read(r->file, m->offset, l->text, bytes, r->err);
    l->objects.id_items = 5;
    if (s == RB_OK)
        s = rb_torch_objects_run(&l->objects, r->file->label, l->text, bytes, r->err);
    if (s == RB_OK && l->objects.pickle.at != bytes)
        return BAD(r, "%zu bytes behind the pickle's end", bytes - l->objects.pickle.at);
    return s;
}

static enum rb_status resolve(struct reader *r, struct rb_torch_layout *l)
{
    for (size_t i = 0; i < l->objects.unique_count; i++) {
        struct rb_torch_storage *storage = l->objects.unique[i];
        const unsigned char *key = l->text + storage->key_at;
        const struct rb_zip_member *m = find_member(r, "data/", key, storage->key_bytes);
        uint64_t bytes = 0;
        if (m == NULL)
            return BAD(r, "storage '%.*s' is not in the file", (int)storage->key_bytes,
                       (const char *)key);
        if (!rb_torch_storage_bytes(storage, &bytes) || bytes != m->bytes)
            return BAD(r,
                       "storage '%.*s' of %" PRIu64
                       " elements of %s does not fit its member of %" PRIu64 " bytes",
                       (int)storage->key_bytes, (const char *)key, storage->count,
                       rb_dtype_name(storage->dtype), m->bytes);
        storage->offset = m->offset;
    }
    return RB_OK;
}

enum rb_status rb_torch_zip_read(const struct rb_bytes *file, struct rb_torch_layout *ret,
                                 struct rb_error *err)
{
    struct reader r = {.file = file, .err = err};
    enum rb_status s = rb_zip_read(file, &r.zip, err);
    if (s != RB_OK)
        return s;
    s = check_members(&r);
    if (s == RB_OK)
        s = read_pickle(&r, ret);
    if (s == RB_OK)
        s = resolve(&r, ret);
    rb_zip_deinit(&r.zip);
    return s;
}
