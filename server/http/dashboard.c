/* The web page, from the binary. */
#include "server/http/embedded.h"
#include "server/http/handlers.h"
#include "server/http/reply.h"
#include "server/http/request.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *ending, *media_type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".ico", "image/x-icon"},
    {".woff2", "font/woff2"},
    {".json", "application/json"},
    {".txt", "text/plain; charset=utf-8"},
};

static const char *media_type(const char *name)
{
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].ending, dot) == 0)
            return types[i].media_type;
    return "application/octet-stream";
}

/* pack.mjs puts a hash of what is in a file into its name, "app-1a2b3c4d.js": such a name never
 * means anything else, so browsers need not ask again. */
static bool has_hash(const char *file)
{
    const char *dash = strrchr(file, '-');
    return dash != NULL && strspn(dash + 1, "0123456789abcdef") == 8 && dash[9] == '.';
}

static void reply_file(struct rb_request *r, const char *file)
{
    char name[128];
    (void)snprintf(name, sizeof name, "dashboard/%s", file);
    const struct rb_embedded *embedded = rb_embedded_find(name);
    if (embedded != NULL) {
        rb_reply_header(r, "Content-Security-Policy",
                        "default-src 'self'; base-uri 'none'; form-action 'none'; "
                        "frame-ancestors 'none'");
        rb_reply_header(r, MHD_HTTP_HEADER_CACHE_CONTROL,
                        has_hash(file) ? "public, max-age=31536000, immutable" : "no-cache");
    }
    rb_reply_embedded(r, embedded, media_type(file));
}

void rb_handle_dashboard(struct rb_request *r)
{
    reply_file(r, "index.html");
}

void rb_handle_dashboard_file(struct rb_request *r)
{
    reply_file(r, r->params[0]);
}
