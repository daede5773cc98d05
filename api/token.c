#include "api/token.h"

static void encode_limit(struct rb_json *w, const char *key, uint64_t limit)
{
    if (limit > 0)
        rb_json_uint(w, key, limit);
    else
        rb_json_null(w, key);
}

void rb_token_encode(struct rb_json *w, const struct rb_token_view *t)
{
    static const char *const names[] = {"read", "submit", "admin"};
    const bool scopes[] = {t->read, t->submit, t->admin};
    rb_json_object(w, NULL);
    rb_json_text_or_null(w, "id", t->id);
    rb_json_text_or_null(w, "name", t->name);
    rb_json_array(w, "scopes");
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++)
        if (scopes[i])
            rb_json_string(w, NULL, names[i]);
    rb_json_end(w);
    rb_json_time(w, "created_at", t->created_ms);
    rb_json_time(w, "expires_at", t->expires_ms);
    rb_json_object(w, "limits");
    encode_limit(w, "queued", t->queued);
    encode_limit(w, "running", t->running);
    encode_limit(w, "bytes", t->bytes);
    rb_json_end(w);
    rb_json_object(w, "usage");
    rb_json_uint(w, "queued", t->queued_now);
    rb_json_uint(w, "running", t->running_now);
    rb_json_uint(w, "bytes", t->bytes_now);
    rb_json_end(w);
    rb_json_end(w);
}
