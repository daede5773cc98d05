/* server/http/router.h: which row of the table a request means, and whether its query fits it.
 * Pure. */
#ifndef RB_SERVER_HTTP_ROUTER_H
#define RB_SERVER_HTTP_ROUTER_H

#include "server/http/route.h"

enum { RB_ROUTE_PARAMS_MAX = 3, RB_ALLOW_BYTES = 64 };

/* The row for method and path; params: the segments that stand for {…}, in order. prefix: the
 * segments of --route-prefix, which may or may not stand in front. RB_ENOTFOUND; RB_EMETHOD, and
 * then allow holds the value of the Allow header. Pure. */
struct rb_prefix {
    const char *segments[RB_TARGET_MAX_SEGMENTS];
    size_t count;
};
enum rb_status rb_route_find(const struct rb_prefix *prefix, unsigned method,
                             const struct rb_target *target, const struct rb_route **ret,
                             const char *params[RB_ROUTE_PARAMS_MAX], char allow[RB_ALLOW_BYTES],
                             struct rb_error *err) RB_MUST_CHECK;

/* Is the target the prefix itself without its slash ("/merge")? Then relative links of the page
 * there would miss, and it has to be redirected to "/merge/". */
bool rb_route_is_bare_prefix(const struct rb_prefix *prefix, const struct rb_target *target);

/* Holds the query against the row. RB_EQUERY naming the parameter, what was found and expected. */
enum rb_status rb_query_check(const struct rb_query_rule *rules, const struct rb_target *target,
                              struct rb_error *err) RB_MUST_CHECK;

/* "true", "" -> true; absent, "false" -> false. For parameters that were checked. */
bool rb_query_flag(const struct rb_target *target, const char *name);

/* 0 if the text is no method that some row knows. */
unsigned rb_method_parse(const char *text);

#endif
