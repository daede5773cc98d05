#include "server/http/auth.h"
#include "server/base/addresses.h"

#include "server/base/clock.h"
#include "server/http/headers.h"
#include "server/http/internal.h"
#include "server/http/reply.h"
#include "server/store/tokens.h"

#include <stdio.h>
#include <string.h>

enum { HOST_MAX_BYTES = 256 };

/* ---- proxies ---- */

static bool is_trusted(const struct rb_settings *settings, const struct rb_address *address)
{
    for (size_t i = 0; i < settings->trusted_proxies.count; i++)
        if (rb_network_holds(settings->trusted_proxies.items[i], address))
            return true;
    return false;
}

/* The last address in X-Forwarded-For that is no trusted proxy: those before it the client could
 * have written itself. */
static void forwarded_for(const struct rb_settings *settings, const char *list,
                          struct rb_address *address)
{
    size_t end = strlen(list);
    while (end > 0) {
        char text[64];
        size_t begin = end;
        while (begin > 0 && list[begin - 1] != ',')
            begin--;
        size_t from = begin, to = end;
        while (from < to && list[from] == ' ')
            from++;
        while (to > from && list[to - 1] == ' ')
            to--;
        struct rb_address found;
        (void)snprintf(text, sizeof text, "%.*s", (int)(to - from), list + from);
        if (!rb_address_parse(text, &found))
            return;
        *address = found;
        if (!is_trusted(settings, &found) || begin == 0)
            return;
        end = begin - 1;
    }
}

void rb_auth_address(struct rb_request *r)
{
    const struct rb_settings *settings = r->http->server->settings;
    if (r->client == NULL)
        return;
    struct rb_address address = r->client->address;
    const char *list = rb_request_header(r, "X-Forwarded-For");
    if (list != NULL && is_trusted(settings, &address))
        forwarded_for(settings, list, &address);
    rb_address_format(&address, r->who.address, sizeof r->who.address);
}

/* The host that the client asked for: of the request line, of a trusted proxy's X-Forwarded-Host,
 * or of Host. NULL if none was named. */
static const char *asked_host(const struct rb_request *r)
{
    const struct rb_settings *settings = r->http->server->settings;
    const char *forwarded = rb_request_header(r, "X-Forwarded-Host");
    if (forwarded != NULL && r->client != NULL && is_trusted(settings, &r->client->address))
        return forwarded;
    if (r->target.authority != NULL)
        return r->target.authority;
    return rb_request_header(r, MHD_HTTP_HEADER_HOST);
}

/* ---- Host ---- */

static bool is_loopback(const struct rb_address *a)
{
    return rb_network_holds("127.0.0.0/8", a) || rb_network_holds("::1", a);
}

static bool is_any(const struct rb_listen *listen)
{
    return strcmp(listen->host, "0.0.0.0") == 0 || strcmp(listen->host, "::") == 0;
}

bool rb_host_allowed(const struct rb_settings *settings, const char *host)
{
    struct rb_listen listen;
    struct rb_address named, own;
    if (strcmp(host, "localhost") == 0)
        return true;
    for (size_t i = 0; i < settings->allowed_hosts.count; i++)
        if (strcasecmp(settings->allowed_hosts.items[i], host) == 0)
            return true;
    if (!rb_address_parse(host, &named))
        return false;
    if (is_loopback(&named))
        return true;
    if (rb_listen_parse(settings->listen, &listen, NULL) != RB_OK)
        return false;
    return is_any(&listen) || (rb_address_parse(listen.host, &own) &&
                               memcmp(own.bytes, named.bytes, sizeof own.bytes) == 0);
}

enum rb_status rb_auth_host(struct rb_request *r, struct rb_error *err)
{
    char host[HOST_MAX_BYTES];
    int port;
    const char *asked = asked_host(r);
    if (asked == NULL)
        return RB_OK; /* HTTP/1.0: no browser sends it */
    if (!rb_host_parse(asked, host, sizeof host, &port))
        return rb_error_at(err, RB_EHEADER, "Host", "'%.80s' is not host[:port]", asked);
    if (!rb_host_allowed(r->http->server->settings, host))
        return rb_error_at(err, RB_EHOST, "Host",
                           "'%.80s' is not a name of this service (see --allowed-hosts)", host);
    return RB_OK;
}

/* ---- Origin ---- */

static bool is_own_origin(const struct rb_request *r, const char *origin)
{
    char origin_host[HOST_MAX_BYTES], host[HOST_MAX_BYTES];
    int origin_port, port;
    const char *asked = asked_host(r);
    if (asked == NULL || !rb_origin_parse(origin, origin_host, sizeof origin_host, &origin_port) ||
        !rb_host_parse(asked, host, sizeof host, &port) || strcmp(origin_host, host) != 0)
        return false;
    /* A Host without port is that of the scheme, which a proxy may have ended for us. */
    return port >= 0 ? origin_port == port : origin_port == 80 || origin_port == 443;
}

static bool is_allowed_origin(const struct rb_settings *settings, const char *origin)
{
    for (size_t i = 0; i < settings->allowed_origins.count; i++)
        if (strcasecmp(settings->allowed_origins.items[i], origin) == 0)
            return true;
    return false;
}

enum rb_status rb_auth_origin(struct rb_request *r, struct rb_error *err)
{
    const char *origin = rb_request_header(r, MHD_HTTP_HEADER_ORIGIN);
    const char *site = rb_request_header(r, "Sec-Fetch-Site");
    if ((r->method & (RB_GET | RB_HEAD)) != 0)
        return RB_OK;
    if (origin == NULL) {
        bool foreign =
            site != NULL && (strcmp(site, "cross-site") == 0 || strcmp(site, "same-site") == 0);
        return foreign ? rb_error_at(err, RB_EORIGIN, "Sec-Fetch-Site",
                                     "a page of another site may not send %s here", r->method_text)
                       : RB_OK;
    }
    if (is_own_origin(r, origin) || is_allowed_origin(r->http->server->settings, origin))
        return RB_OK;
    return rb_error_at(err, RB_EORIGIN, "Origin",
                       "pages of '%.80s' may not send %s here (see --allowed-origins)", origin,
                       r->method_text);
}

/* ---- tokens ---- */

static enum rb_status refuse(struct rb_request *r, const char *error, const char *detail,
                             struct rb_error *err)
{
    rb_reply_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"rebasind\"%s", error);
    return rb_error_at(err, RB_EAUTH, "Authorization", "%s", detail);
}

static unsigned needed_scope(enum rb_access access)
{
    switch (access) {
    case RB_ACCESS_READ:
        return RB_SCOPE_READ;
    case RB_ACCESS_SUBMIT:
        return RB_SCOPE_SUBMIT;
    case RB_ACCESS_ADMIN:
        return RB_SCOPE_ADMIN;
    case RB_ACCESS_OPEN:
        break;
    }
    return 0;
}

enum rb_status rb_auth_token(struct rb_request *r, struct rb_error *err)
{
    struct rb_server *server = r->http->server;
    unsigned needed = needed_scope(r->route->access);
    if (needed == 0 || rb_tokens_count(server->tokens) == 0) {
        r->who.scopes = RB_SCOPE_ALL;
        r->who.created_ms = r->who.expires_ms = -1;
        return RB_OK;
    }
    const char *value = rb_request_header(r, MHD_HTTP_HEADER_AUTHORIZATION);
    if (value == NULL)
        return refuse(r, "", "send the header Authorization: Bearer <token>", err);
    const char *text = rb_bearer(value);
    const struct rb_token *token =
        text != NULL ? rb_tokens_find(server->tokens, text, strlen(text)) : NULL;
    if (token == NULL)
        return refuse(r, ", error=\"invalid_token\"", "the token is unknown or was revoked", err);
    if (rb_token_expired(token, rb_clock_realtime_ms()))
        return refuse(r, ", error=\"invalid_token\"",
                      "the token has expired; an operator makes another with `rebasind token "
                      "create`",
                      err);
    (void)snprintf(r->who.token, sizeof r->who.token, "%s", token->id);
    (void)snprintf(r->who.name, sizeof r->who.name, "%s",
                   token->name[0] != '\0' ? token->name : token->id);
    r->who.limits = token->limits;
    r->who.created_ms = token->created_at_ms != 0 ? token->created_at_ms : -1;
    r->who.expires_ms = token->expires_at_ms != 0 ? token->expires_at_ms : -1;
    r->who.scopes = token->scopes;
    rb_token_used(server->tokens, server->store, token, rb_clock_realtime_ms());
    if ((token->scopes & needed) == 0)
        return rb_error_at(err, RB_ESCOPE, "Authorization",
                           "this needs a token with scope %s, and %s has not",
                           rb_access_names[r->route->access], token->id);
    return RB_OK;
}
