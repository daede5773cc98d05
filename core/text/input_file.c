#include "core/text/input_file.h"

#include "core/download.h"
#include "core/input.h"
#include "core/json.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JSON_MAX_BYTES = 1 << 20 };

static enum rb_status read_all(int fd, const char *path, char *buffer, size_t bytes,
                               struct rb_error *err)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = read(fd, buffer + done, bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return rb_error_errno(err, errno, path);
        if (n == 0)
            return rb_error_set(err, RB_EIO, "%s: the file shrank while it was read", path);
        done += (size_t)n;
    }
    return RB_OK;
}

enum rb_status rb_input_file_read(const char *path, size_t max_bytes, char **ret, size_t *ret_bytes,
                                  struct rb_error *err)
{
    int fd;
    struct stat st;
    enum rb_status status = rb_input_open(path, 0, &fd, err);
    if (status != RB_OK)
        return status;
    if (fstat(fd, &st) != 0) {
        status = rb_error_errno(err, errno, path);
        goto err_after_open;
    }
    if (!S_ISREG(st.st_mode)) {
        status = rb_error_set(err, RB_EVOCAB, "%s is not a regular file", path);
        goto err_after_open;
    }
    if ((uint64_t)st.st_size > max_bytes) {
        status = rb_error_set(err, RB_EVOCAB, "%s is larger than %zu MB", path, max_bytes >> 20);
        goto err_after_open;
    }
    size_t bytes = (size_t)st.st_size;
    char *buffer = malloc(bytes + 1);
    if (buffer == NULL) {
        status = rb_error_set(err, RB_ENOMEM, "%s: out of memory", path);
        goto err_after_open;
    }
    status = read_all(fd, path, buffer, bytes, err);
    if (status != RB_OK)
        goto err_after_buffer;
    close(fd);
    buffer[bytes] = '\0';
    const char *instead = rb_download_failed(buffer, bytes);
    if (instead != NULL) {
        status = rb_error_set(err, RB_EVOCAB, "%s: %s", path, instead);
        goto err_after_buffer;
    }
    *ret = buffer;
    *ret_bytes = bytes;
    return RB_OK;

err_after_buffer:
    free(buffer);
err_after_open:
    close(fd);
    return status;
}

static enum rb_status parse(const char *path, const char *text, size_t bytes, json_t **ret,
                            struct rb_error *err)
{
    static const char bom[] = "\xEF\xBB\xBF";
    json_error_t where;
    bool no_memory;
    if (bytes >= 3 && memcmp(text, bom, 3) == 0)
        return rb_error_set(err, RB_EVOCAB,
                            "%s: begins with a byte order mark: save it as UTF-8 without one",
                            path);
    json_t *object = rb_json_load(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
                                  &where, &no_memory);
    if (no_memory)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to read it", path);
    if (object == NULL)
        return rb_error_set(err, RB_EVOCAB, "%s: line %d: %s", path, where.line, where.text);
    if (!json_is_object(object)) {
        json_decref(object);
        return rb_error_set(err, RB_EVOCAB, "%s: not a JSON object", path);
    }
    *ret = object;
    return RB_OK;
}

enum rb_status rb_input_file_json(const char *path, json_t **ret, struct rb_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    enum rb_status status = rb_input_file_read(path, JSON_MAX_BYTES, &text, &bytes, err);
    if (status != RB_OK)
        return status;
    status = parse(path, text, bytes, ret, err);
    free(text);
    return status;
}
