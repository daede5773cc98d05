/* What addresses, hosts, origins, networks and prefixes in the configuration must look like. */
#include "server/base/addresses.h"
#include "server/base/options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- listen ---- */

static enum rb_status listen_error(const char *text, struct rb_error *err)
{
    return rb_error_set(err, RB_EUSAGE,
                        "listen: expected a numeric address and a port such as 127.0.0.1:8686 or "
                        "[::1]:8686, found \"%s\"",
                        text);
}

static bool parse_port(const char *text, uint16_t *ret)
{
    size_t length = strlen(text);
    if (length < 1 || length > 5 || strspn(text, "0123456789") != length)
        return false;
    long port = strtol(text, NULL, 10);
    if (port > UINT16_MAX)
        return false;
    *ret = (uint16_t)port;
    return true;
}

/* Fills ipv6 and loopback from host. */
static bool classify(struct rb_listen *l)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, l->host, &v4) == 1) {
        l->loopback = ntohl(v4.s_addr) >> 24 == 127;
        return !l->ipv6;
    }
    if (inet_pton(AF_INET6, l->host, &v6) != 1)
        return false;
    l->loopback = IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
    return l->ipv6;
}

enum rb_status rb_listen_parse(const char *text, struct rb_listen *ret, struct rb_error *err)
{
    struct rb_listen l = {0};
    const char *colon = strrchr(text, ':');
    if (colon == NULL || !parse_port(colon + 1, &l.port))
        return listen_error(text, err);
    const char *host = text;
    size_t length = (size_t)(colon - text);
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        l.ipv6 = true;
        host++;
        length -= 2;
    }
    if (length >= sizeof l.host)
        return listen_error(text, err);
    memcpy(l.host, host, length);
    if (strcmp(l.host, "localhost") == 0)
        strcpy(l.host, "127.0.0.1");
    if (length == 0 && !l.ipv6) {
        l.ipv6 = true; /* one socket that takes both */
        strcpy(l.host, "::");
    }
    if (!classify(&l))
        return listen_error(text, err);
    *ret = l;
    return RB_OK;
}

enum rb_status rb_settings_check_exposure(const struct rb_settings *s, size_t token_count,
                                          struct rb_error *err)
{
    struct rb_listen l;
    enum rb_status status = rb_listen_parse(s->listen, &l, err);
    if (status != RB_OK || l.loopback || token_count > 0)
        return status;
    return rb_error_set(err, RB_EUSAGE,
                        "listen: %s can be reached from other machines and no token is configured: "
                        "make one with `rebasind token create`, or listen on 127.0.0.1",
                        s->listen);
}

/* ---- the others ---- */

static bool is_host_character(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '-' || c == '_';
}

/* A name or address, "[…]" around IPv6, and a port if allowed. Length of what fits. */
static bool is_host(const char *text)
{
    if (text[0] == '[') {
        char address[64];
        size_t length = strcspn(text + 1, "]");
        struct in6_addr v6;
        if (length >= sizeof address || text[1 + length] != ']')
            return false;
        memcpy(address, text + 1, length);
        address[length] = '\0';
        text += length + 2;
        if (inet_pton(AF_INET6, address, &v6) != 1)
            return false;
    } else {
        const char *start = text;
        while (is_host_character(*text))
            text++;
        if (text == start)
            return false;
    }
    uint16_t port;
    return *text == '\0' || (*text == ':' && parse_port(text + 1, &port));
}

static bool is_origin(const char *text)
{
    return (strncmp(text, "http://", 7) == 0 && is_host(text + 7)) ||
           (strncmp(text, "https://", 8) == 0 && is_host(text + 8));
}

static bool is_network(const char *text)
{
    char address[64];
    size_t length = strcspn(text, "/");
    if (length >= sizeof address)
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    struct in6_addr any;
    long most = inet_pton(AF_INET, address, &any) == 1    ? 32
                : inet_pton(AF_INET6, address, &any) == 1 ? 128
                                                          : -1;
    if (most < 0 || text[length] == '\0')
        return most >= 0;
    const char *bits = text + length + 1;
    size_t digits = strlen(bits);
    return digits >= 1 && digits <= 3 && strspn(bits, "0123456789") == digits &&
           strtol(bits, NULL, 10) <= most;
}

static enum rb_status check_list(const struct rb_strings *list, const char *flag,
                                 bool (*fits)(const char *), const char *expected,
                                 struct rb_error *err)
{
    for (size_t i = 0; i < list->count; i++)
        if (!fits(list->items[i]))
            return rb_error_set(err, RB_EUSAGE, "%s: expected %s, found \"%s\"", flag, expected,
                                list->items[i]);
    return RB_OK;
}

static enum rb_status check_prefix(char *prefix, struct rb_error *err)
{
    size_t length = strlen(prefix);
    while (length > 0 && prefix[length - 1] == '/')
        prefix[--length] = '\0';
    bool fits = length == 0 || prefix[0] == '/';
    for (size_t i = 0; i < length; i++) {
        bool empty_segment = prefix[i] == '/' && prefix[i + 1] == '/';
        fits = fits && !empty_segment &&
               (isalnum((unsigned char)prefix[i]) || strchr("/._~-", prefix[i]) != NULL);
    }
    if (!fits)
        return rb_error_set(err, RB_EUSAGE,
                            "route-prefix: expected a path such as /merge, found \"%s\"", prefix);
    return RB_OK;
}

enum rb_status rb_settings_check_addresses(struct rb_settings *s, struct rb_error *err)
{
    struct rb_listen l;
    enum rb_status status = rb_listen_parse(s->listen, &l, err);
    if (status == RB_OK)
        status = check_prefix(s->route_prefix, err);
    if (status == RB_OK)
        status = check_list(&s->allowed_hosts, "allowed-hosts", is_host,
                            "a host name or address, with a port or without", err);
    if (status == RB_OK)
        status = check_list(&s->allowed_origins, "allowed-origins", is_origin,
                            "an origin such as https://lab.example", err);
    if (status == RB_OK)
        status = check_list(&s->trusted_proxies, "trusted-proxies", is_network,
                            "an address or network such as 10.0.0.0/8", err);
    return status;
}
