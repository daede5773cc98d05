/* DESIGN. jansson 2.14's lexer ignores that its buffer could not grow: a character is missing then,
 * and where that was a closing quote it copies on past the end. So the one allocation that fails
 * first is served after all, from a reserve as large as that buffer can become, and from there on
 * the text has come to its end: the parser finds that by itself, with nothing left to grow. */
#include "core/json.h"

#include <stdlib.h>

enum { RESERVE_LEAST = 64 };

static _Thread_local struct {
    void *bytes; /* NULL outside of a load, or once used */
    size_t count;
    bool no_memory;
} reserve;

static void *allocate(size_t bytes)
{
    void *p = malloc(bytes);
    if (p != NULL)
        return p;
    reserve.no_memory = true;
    if (reserve.bytes == NULL || bytes > reserve.count)
        return NULL;
    p = reserve.bytes;
    reserve.bytes = NULL;
    return p;
}

void rb_json_prepare(void)
{
    json_set_alloc_funcs(allocate, free);
    json_object_seed(0);
}

struct text {
    const char *next, *end;
};

/* Byte by byte, so that nothing is in hand when memory runs out; json_loadb does the same. */
static size_t give(void *buffer, size_t room, void *data)
{
    struct text *t = data;
    if (room == 0 || t->next == t->end || reserve.no_memory)
        return 0;
    *(char *)buffer = *t->next++;
    return 1;
}

json_t *rb_json_load(const char *text, size_t bytes, size_t flags, json_error_t *ret_why,
                     bool *ret_no_memory)
{
    struct text t = {text, text + bytes};
    reserve.count = 2 * bytes + RESERVE_LEAST;
    reserve.bytes = malloc(reserve.count);
    reserve.no_memory = reserve.bytes == NULL;
    json_t *json = reserve.no_memory ? NULL : json_load_callback(give, &t, flags, ret_why);
    free(reserve.bytes);
    reserve.bytes = NULL;
    *ret_no_memory = reserve.no_memory;
    if (!reserve.no_memory)
        return json;
    json_decref(json);
    return NULL;
}
