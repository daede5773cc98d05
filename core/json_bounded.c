#include "core/json_bounded.h"

#include "core/download.h"
#include "core/json.h"
#include "core/file.h"

#include <stdlib.h>
#include <string.h>

size_t rb_json_string_span(const char *text, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (text[i] == '"')
            return i + 1;
        if (text[i] == '\\')
            i++;
    }
    return 0;
}

struct rb_json_span rb_json_span(const char *text, size_t n)
{
    struct rb_json_span span = {0};
    size_t open = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '"') {
            size_t string = rb_json_string_span(text + i, n - i);
            if (string == 0)
                return span;
            i += string - 1;
        } else if (c == '{' || c == '[') {
            open++;
            span.values++;
            span.depth = open > span.depth ? open : span.depth;
        } else if (c == ',') {
            span.values++;
        } else if ((c == '}' || c == ']') && --open == 0) {
            span.bytes = i + 1;
            return span;
        }
    }
    return span;
}

static size_t space_span(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && strchr(" \t\r\n", text[i]) != NULL && text[i] != '\0')
        i++;
    return i;
}

static enum rb_status parse(const char *text, size_t n, const char *label,
                            struct rb_json_limits limits, enum rb_status status, json_t **ret,
                            struct rb_error *err)
{
    static const char bom[] = "\xEF\xBB\xBF";
    if (n >= 3 && memcmp(text, bom, 3) == 0)
        return rb_error_set(
            err, status, "%s: begins with a byte order mark: save it as UTF-8 without one", label);
    size_t start = space_span(text, n);
    const char *instead = rb_download_failed(text, n);
    if (instead != NULL)
        return rb_error_set(err, status, "%s: %s", label, instead);
    if (start == n || text[start] != '{')
        return rb_error_set(err, status, "%s: not a JSON object", label);
    struct rb_json_span span = rb_json_span(text + start, n - start);
    if (span.depth > limits.depth)
        return rb_error_set(err, status, "%s: nested %zu deep, at most %zu is allowed", label,
                            span.depth, limits.depth);
    if (span.values > limits.values)
        return rb_error_set(err, status, "%s: holds over %zu values, at most %zu are allowed",
                            label, span.values, limits.values);
    json_error_t why;
    bool no_memory;
    json_t *json = rb_json_load(text, n, JSON_REJECT_DUPLICATES, &why, &no_memory);
    if (no_memory)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to read it", label);
    if (json == NULL)
        return rb_error_set(err, status, "%s: line %d: %s", label, why.line, why.text);
    *ret = json;
    return RB_OK;
}

enum rb_status rb_json_file(const char *path, struct rb_json_limits limits, enum rb_status status,
                            json_t **ret, struct rb_error *err)
{
    struct rb_file file;
    enum rb_status s = rb_file_open(path, &file, err);
    if (s != RB_OK)
        return s;
    char *text = NULL;
    if (file.bytes > limits.bytes) {
        s = rb_error_set(err, status, "%s: %llu bytes, at most %zu are allowed", path,
                         (unsigned long long)file.bytes, limits.bytes);
        goto err_after_open;
    }
    text = malloc((size_t)file.bytes + 1);
    if (text == NULL) {
        s = rb_error_set(err, RB_ENOMEM, "%s: no memory to read it", path);
        goto err_after_open;
    }
    s = rb_file_read(&file, 0, text, (size_t)file.bytes, path, err);
    if (s == RB_OK)
        s = parse(text, (size_t)file.bytes, path, limits, status, ret, err);
    free(text);
err_after_open:
    rb_file_close(&file);
    return s;
}
