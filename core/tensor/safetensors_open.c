#include "core/tensor/safetensors_open.h"
#include "core/file.h"
#include "core/tensor/foreign.h"
#include "core/tensor/map.h"
#include "core/tensor/safetensors_format.h"
#include "core/tensor/safetensors_parse.h"

#include <stdlib.h>
#include <string.h>

/* The header is parsed from a copy: mapped bytes could change between a check and its use, or
 * fault. If its length cannot be right only that is read, and the parser says what is wrong. */
static enum rb_status read_head(const struct rb_file *file, const char *label, void **ret,
                                size_t *ret_bytes, struct rb_error *err)
{
    unsigned char length[RB_ST_LENGTH_BYTES] = {0};
    size_t bytes = file->bytes < RB_ST_LENGTH_BYTES ? (size_t)file->bytes : RB_ST_LENGTH_BYTES;
    enum rb_status s = rb_file_read(file, 0, length, bytes, label, err);
    if (s != RB_OK)
        return s;
    uint64_t n = rb_st_length_get(length);
    if (bytes == RB_ST_LENGTH_BYTES && n <= RB_ST_MAX_HEADER_BYTES &&
        n <= file->bytes - RB_ST_LENGTH_BYTES)
        bytes += (size_t)n;
    void *head = malloc(bytes + 1);
    if (head == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory for its header", label);
    s = rb_file_read(file, 0, head, bytes, label, err);
    if (s != RB_OK) {
        free(head);
        return s;
    }
    *ret = head;
    *ret_bytes = bytes;
    return RB_OK;
}

/* If it is a file of another kind, saying so helps more than what is wrong with its header. */
static void name_foreign(const struct rb_file *file, const char *label, struct rb_error *err)
{
    unsigned char head[RB_FOREIGN_HEAD_BYTES];
    size_t n = file->bytes < sizeof head ? (size_t)file->bytes : sizeof head;
    const char *what = NULL;
    if (rb_file_read(file, 0, head, n, label, NULL) == RB_OK)
        what = rb_foreign_name(head, n);
    if (what == NULL || err == NULL)
        return;
    char parser[sizeof err->detail];
    memcpy(parser, err->detail, sizeof parser);
    size_t skipped = strncmp(parser, label, strlen(label)) == 0 ? strlen(label) : 0;
    (void)rb_error_set(err, RB_ESAFETENSORS, "%s: %s (the header%s)", label, what,
                       parser + skipped);
}

static enum rb_status open_file(const struct rb_file *file, const char *label,
                                struct rb_safetensors *ret, struct rb_error *err)
{
    void *head = NULL;
    size_t head_bytes = 0;
    enum rb_status s = read_head(file, label, &head, &head_bytes, err);
    if (s != RB_OK)
        return s;
    struct rb_safetensors st;
    struct rb_map *map = NULL;
    /* Nothing to map in an empty file, and nothing the parser would accept. */
    if (file->bytes > 0)
        s = rb_map_open(file->fd, &file->st, label, &map, err);
    if (s != RB_OK)
        goto err_after_head;
    const unsigned char *data = map != NULL ? rb_map_data(map) + head_bytes : NULL;
    s = rb_safetensors_parse(label, head, head_bytes, file->bytes, data, &st, err);
    if (s == RB_ESAFETENSORS)
        name_foreign(file, label, err);
    if (s != RB_OK)
        goto err_after_map;
    free(head);
    st.map = map;
    *ret = st;
    return RB_OK;

err_after_map:
    rb_map_close(map);
err_after_head:
    free(head);
    return s;
}

enum rb_status rb_safetensors_open_fd(int fd, const char *label, struct rb_safetensors *ret,
                                      struct rb_error *err)
{
    struct rb_file file;
    enum rb_status s = rb_file_of_fd(fd, label, &file, err);
    return s == RB_OK ? open_file(&file, label, ret, err) : s;
}

enum rb_status rb_safetensors_open(const char *path, struct rb_safetensors *ret,
                                   struct rb_error *err)
{
    struct rb_file file;
    enum rb_status s = rb_file_open(path, &file, err);
    if (s != RB_OK)
        return s;
    s = open_file(&file, path, ret, err);
    rb_file_close(&file);
    return s;
}
