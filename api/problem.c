#include "api/problem.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void encode_fault(struct rb_json *w, const char *pointer, const char *detail)
{
    rb_json_object(w, NULL);
    rb_json_string(w, "pointer", pointer);
    rb_json_string(w, "detail", detail);
    rb_json_end(w);
}

const char *rb_problem_words(const struct rb_error *err)
{
    const char *colon = strstr(err->detail, ": ");
    size_t n = colon != NULL ? (size_t)(colon - err->detail) : 0, all = strlen(err->pointer);
    if (n == 0 || n > all || memcmp(err->pointer + all - n, err->detail, n) != 0)
        return err->detail;
    return n == all || err->detail[0] == '/' ? colon + 2 : err->detail;
}

static void encode_faults(struct rb_json *w, const struct rb_error *err,
                          const struct rb_problems *problems)
{
    size_t count = problems != NULL ? problems->count : 0;
    if (count == 0 && err->pointer[0] == '\0')
        return;
    rb_json_array(w, "errors");
    for (size_t i = 0; i < count; i++)
        encode_fault(w, problems->items[i].pointer, problems->items[i].detail);
    if (count == 0)
        encode_fault(w, err->pointer, rb_problem_words(err));
    rb_json_end(w);
}

void rb_problem_encode(struct rb_json *w, const struct rb_error *err,
                       const struct rb_problems *problems, const char *request_id)
{
    assert(err->status != RB_OK);
    const char *code = rb_problem_code(err->status);
    char type[96];
    (void)snprintf(type, sizeof type, "urn:rebasind:error:%s", code);
    rb_json_object(w, NULL);
    rb_json_string(w, "type", type);
    rb_json_string(w, "title", rb_problem_title(err->status));
    rb_json_int(w, "status", rb_problem_http(err->status));
    rb_json_string(w, "detail", err->detail);
    rb_json_string(w, "code", code);
    rb_json_string(w, "request_id", request_id);
    encode_faults(w, err, problems);
    rb_json_end(w);
}
