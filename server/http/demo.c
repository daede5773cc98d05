#include "server/http/demo.h"

#include "api/names.h"
#include "core/json.h"
#include "server/base/file.h"
#include "server/base/fsutil.h"
#include "server/base/log.h"
#include "server/http/handlers.h"
#include "server/http/internal.h"
#include "server/http/reply.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEMO_MAX_BYTES = 1 << 16, ITEMS_MAX = 16 };
static const char FILE_NAME[] = "demo.json";

static enum rb_status no_demo(const char *root, const char *words, struct rb_error *err)
{
    return rb_error_set(err, RB_EINPUT, "%.300s/%s: expected %s", root, FILE_NAME, words);
}

/* Names what lies below the root, by its absolute path. */
static bool place(json_t *item, const char *root)
{
    const char *name = json_string_value(json_object_get(item, "name"));
    const char *path = json_string_value(json_object_get(item, "path"));
    if (name == NULL || !rb_name_valid(name, strlen(name)) || path == NULL || path[0] == '\0' ||
        path[0] == '/' || strstr(path, "..") != NULL)
        return false;
    json_t *whole = json_sprintf("%s/%s", root, path);
    return whole != NULL && json_object_set_new(item, "path", whole) == 0;
}

static bool place_all(json_t *list, const char *root)
{
    size_t count = json_array_size(list); /* 0 for what is none */
    for (size_t i = 0; i < count; i++)
        if (!place(json_array_get(list, i), root))
            return false;
    return json_is_array(list) && count > 0 && count <= ITEMS_MAX;
}

static enum rb_status read_demo(const char *root, const char *text, size_t bytes, char **ret,
                                struct rb_error *err)
{
    json_error_t why;
    bool no_memory = false;
    enum rb_status status = RB_OK;
    json_t *demo = rb_json_load(text, bytes, JSON_REJECT_DUPLICATES, &why, &no_memory);
    if (demo == NULL)
        return no_demo(root, "JSON", err);
    if (!place_all(json_object_get(demo, "models"), root) ||
        !place_all(json_object_get(demo, "datasets"), root))
        status =
            no_demo(root, "lists models and datasets of {\"name\",\"path\"}, paths below it", err);
    else if (!json_is_object(json_object_get(demo, "job")) ||
             !json_is_string(json_object_get(demo, "title")))
        status = no_demo(root, "an object job and a text title", err);
    else if ((*ret = json_dumps(demo, JSON_COMPACT)) == NULL)
        status = rb_error_set(err, RB_ENOMEM, "no memory for a demo");
    json_decref(demo);
    return status;
}

static enum rb_status look(const char *root, char **ret, struct rb_error *err)
{
    int fd;
    char *text = NULL, *absolute = realpath(root, NULL);
    size_t bytes = 0;
    enum rb_status status = rb_root_open(root, false, &fd, err);
    if (status == RB_OK) {
        status = absolute != NULL ? rb_file_get(fd, FILE_NAME, DEMO_MAX_BYTES, &text, &bytes, err)
                                  : rb_error_set(err, RB_ENOTFOUND, "%s cannot be resolved", root);
        (void)close(fd);
    }
    if (status == RB_OK)
        status = read_demo(absolute, text, bytes, ret, err);
    free(text);
    free(absolute);
    return status;
}

char *rb_demo_find(const struct rb_strings *roots)
{
    for (size_t i = 0; i < roots->count; i++) {
        char *found = NULL;
        struct rb_error err;
        enum rb_status status = look(roots->items[i], &found, &err);
        if (status == RB_OK)
            return found;
        if (status != RB_ENOTFOUND)
            rb_log_warn("no demo", RB_ERROR_FIELDS(&err));
    }
    return strdup("{\"title\":null,\"models\":[],\"datasets\":[],\"job\":null}");
}

void rb_handle_demo(struct rb_request *r)
{
    struct rb_json w;
    rb_json_init(&w);
    rb_json_raw(&w, NULL, r->http->demo);
    rb_reply_json(r, MHD_HTTP_OK, &w);
}
