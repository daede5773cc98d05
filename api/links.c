#include "api/links.h"

#include <stdarg.h>
#include <stdio.h>

static const char *front = "";

void rb_links_begin_with(const char *prefix)
{
    front = prefix;
}

void rb_links_encode(struct rb_json *w, const char *key, const char *format, ...)
{
    char path[160], link[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path, sizeof path, format, args);
    va_end(args);
    (void)snprintf(link, sizeof link, "%.350s%s", front, path);
    rb_json_string(w, key, link);
}
