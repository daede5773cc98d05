/* Arbitrary bytes as what a client writes into a request: the first byte says whether the rest is a
 * target or a header's value. What parses must keep its promises. */
#include "server/http/headers.h"
#include "server/http/route.h"
#include "server/http/router.h"
#include "server/http/text.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct rb_prefix prefix = {.segments = {"lab", "merge"}, .count = 2};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void try_target(const char *text)
{
    const struct rb_route *route;
    const char *params[RB_ROUTE_PARAMS_MAX] = {NULL};
    char allow[RB_ALLOW_BYTES];
    struct rb_target t;
    struct rb_error err;
    if (rb_target_parse(text, &t, &err) != RB_OK)
        return;
    for (size_t i = 0; i < t.segment_count; i++) {
        require(t.segments[i][0] != '\0' && strchr(t.segments[i], '/') == NULL);
        require(strcmp(t.segments[i], "..") != 0 && strcmp(t.segments[i], ".") != 0);
        require(rb_text_printable(t.segments[i], strlen(t.segments[i])));
    }
    for (size_t i = 0; i < t.pair_count; i++)
        require(t.pairs[i].name[0] != '\0' &&
                rb_text_printable(t.pairs[i].value, strlen(t.pairs[i].value)));
    static const unsigned methods[] = {RB_GET, RB_HEAD, RB_POST, RB_PUT, RB_PATCH, RB_DELETE, 0};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (rb_route_find(&prefix, methods[i], &t, &route, params, allow, &err) == RB_OK)
            (void)!rb_query_check(route->query, &t, &err);
    rb_target_deinit(&t);
}

static void try_range(const char *text, uint64_t size)
{
    struct rb_range r = rb_range_parse(text, size);
    require(r.kind != RB_RANGE_PART || (r.first <= r.last && r.last < size));
}

static void try_header(const char *text)
{
    static const char *const offers[] = {"application/json", "text/csv"};
    struct rb_error err;
    unsigned char digest[32];
    char host[64];
    bool present;
    int number;
    try_range(text, 0);
    try_range(text, 1);
    try_range(text, UINT64_MAX);
    (void)rb_etag_listed(text, "\"a\"", true);
    (void)rb_etag_listed(text, "\"a\"", false);
    number = rb_accept_choose(text, offers, 2);
    require(number >= -1 && number < 2);
    (void)rb_gzip_accepted(text);
    (void)rb_content_type_is(text, "application/json");
    if (rb_prefer_wait(text, 60, &number, &err) == RB_OK)
        require(number >= -1 && number <= 60);
    (void)!rb_digest_parse(text, digest, &present, &err);
    if (rb_host_parse(text, host, sizeof host, &number))
        require(strlen(host) < sizeof host && number >= -1 && number <= 65535);
    (void)rb_origin_parse(text, host, sizeof host, &number);
    (void)rb_bearer(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = malloc(size);
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] % 2 == 0)
        try_target(text);
    else
        try_header(text);
    free(text);
    return 0;
}
