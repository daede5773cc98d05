#include "core/json.h"

#include <stdlib.h>

static _Thread_local bool starved;

static void *allocate(size_t bytes)
{
    void *p = malloc(bytes);
    starved = starved || p == NULL;
    return p;
}

void rb_json_prepare(void)
{
    json_set_alloc_funcs(allocate, free);
    json_object_seed(0);
}

json_t *rb_json_load(const char *text, size_t bytes, size_t flags, json_error_t *ret_why,
                     bool *ret_no_memory)
{
    starved = false;
    json_t *json = json_loadb(text, bytes, flags, ret_why);
    *ret_no_memory = starved;
    if (!starved)
        return json;
    json_decref(json);
    return NULL;
}
