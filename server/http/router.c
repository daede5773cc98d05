
#include "api/decode.h"
#include "api/names.h"
#include "api/time.h"
#include "server/http/router.h"

#include <stdio.h>
#include <string.h>

const char *const rb_access_names[] = {"", "read", "submit", "admin"};

static const struct {
    enum rb_method method;
    const char *name;
} methods[] = {
    {RB_GET, "GET"}, {RB_HEAD, "HEAD"},   {RB_POST, "POST"},
    {RB_PUT, "PUT"}, {RB_PATCH, "PATCH"}, {RB_DELETE, "DELETE"},
};
enum { METHOD_COUNT = sizeof methods / sizeof methods[0] };

unsigned rb_method_parse(const char *text)
{
    for (size_t i = 0; i < METHOD_COUNT; i++)
        if (strcmp(methods[i].name, text) == 0)
            return methods[i].method;
    return 0;
}

static bool match(const char *template, const char *const *segments, size_t count,
                  const char *params[RB_ROUTE_PARAMS_MAX])
{
    size_t at = 0, param = 0;
    const char *p = template + 1; /* after the leading slash */
    while (*p != '\0') {
        size_t n = strcspn(p, "/");
        if (at == count)
            return false;
        if (*p == '{')
            params[param++] = segments[at];
        else if (strlen(segments[at]) != n || memcmp(p, segments[at], n) != 0)
            return false;
        at++;
        p += n;
        p += *p == '/';
    }
    return at == count;
}

static bool has_prefix(const struct rb_prefix *prefix, const struct rb_target *t)
{
    if (prefix->count == 0 || t->segment_count < prefix->count)
        return false;
    for (size_t i = 0; i < prefix->count; i++)
        if (strcmp(prefix->segments[i], t->segments[i]) != 0)
            return false;
    return true;
}

/* Looks below `skip` segments; collects the methods of all rows whose path fits. */
static const struct rb_route *find_below(size_t skip, unsigned method, const struct rb_target *t,
                                         const char *params[RB_ROUTE_PARAMS_MAX],
                                         unsigned *methods_found)
{
    if (t->segment_count > skip && t->trailing_slash)
        return NULL;
    unsigned wanted = method == RB_HEAD ? RB_GET : method;
    for (size_t i = 0; i < rb_route_count; i++) {
        const struct rb_route *route = &rb_routes[i];
        if (!match(route->path, t->segments + skip, t->segment_count - skip, params))
            continue;
        if (route->method == wanted)
            return route;
        *methods_found |= route->method;
    }
    return NULL;
}

static void write_allow(unsigned found, char allow[RB_ALLOW_BYTES])
{
    size_t used = 0;
    if ((found & RB_GET) != 0)
        found |= RB_HEAD;
    allow[0] = '\0';
    for (size_t i = 0; i < METHOD_COUNT; i++)
        if ((found & methods[i].method) != 0)
            used += (size_t)snprintf(allow + used, RB_ALLOW_BYTES - used, "%s%s",
                                     used > 0 ? ", " : "", methods[i].name);
}

enum rb_status rb_route_find(const struct rb_prefix *prefix, unsigned method,
                             const struct rb_target *target, const struct rb_route **ret,
                             const char *params[RB_ROUTE_PARAMS_MAX], char allow[RB_ALLOW_BYTES],
                             struct rb_error *err)
{
    unsigned found = 0;
    const struct rb_route *route = find_below(0, method, target, params, &found);
    if (route == NULL && found == 0 && has_prefix(prefix, target))
        route = find_below(prefix->count, method, target, params, &found);
    if (route != NULL) {
        *ret = route;
        return RB_OK;
    }
    if (found == 0)
        return rb_error_set(err, RB_ENOTFOUND, "no resource has this path; see /openapi.yaml");
    write_allow(found, allow);
    return rb_error_set(err, RB_EMETHOD, "this resource knows only %s", allow);
}

bool rb_route_is_bare_prefix(const struct rb_prefix *prefix, const struct rb_target *target)
{
    return has_prefix(prefix, target) && target->segment_count == prefix->count &&
           !target->trailing_slash;
}

/* ---- the query ---- */

static enum rb_status check_value(const struct rb_query_rule *rule, const char *value,
                                  struct rb_error *err)
{
    char words[240];
    int64_t time;
    switch (rule->type) {
    case RB_QUERY_TEXT:
        if (strlen(value) > rule->max)
            return rb_error_at(err, RB_EQUERY, rule->name, "%s takes at most %zu bytes, found %zu",
                               rule->name, rule->max, strlen(value));
        return RB_OK;
    case RB_QUERY_FLAG:
        if (value[0] != '\0' && strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
            return rb_error_at(err, RB_EQUERY, rule->name, "%s takes true or false, found '%.60s'",
                               rule->name, value);
        return RB_OK;
    case RB_QUERY_ENUM:
        if (rb_enum_find(rule->names, value) >= 0)
            return RB_OK;
        rb_enum_describe(rule->names, value, words, sizeof words);
        return rb_error_at(err, RB_EQUERY, rule->name, "%s: %s", rule->name, words);
    case RB_QUERY_NAME:
        if (rb_name_valid(value, strlen(value)))
            return RB_OK;
        return rb_error_at(err, RB_EQUERY, rule->name, "%s takes " RB_NAME_RULE ", found '%.80s'",
                           rule->name, value);
    case RB_QUERY_JOB:
        if (rb_job_id_valid(value, strlen(value)))
            return RB_OK;
        return rb_error_at(err, RB_EQUERY, rule->name, "%s takes " RB_JOB_ID_RULE ", found '%.60s'",
                           rule->name, value);
    case RB_QUERY_GROUP:
        if (rb_group_id_valid(value, strlen(value)))
            return RB_OK;
        return rb_error_at(err, RB_EQUERY, rule->name,
                           "%s takes grp_ and a UUIDv7, as a sweep's id, found '%.60s'", rule->name,
                           value);
    case RB_QUERY_TIME:
        if (rb_time_parse(value, strlen(value), &time))
            return RB_OK;
        return rb_error_at(err, RB_EQUERY, rule->name,
                           "%s takes a time as in 2026-01-02T03:04:05Z, found '%.60s'", rule->name,
                           value);
    }
    return rb_error_set(err, RB_EINTERNAL, "query parameter %s has no type", rule->name);
}

static const struct rb_query_rule *find_rule(const struct rb_query_rule *rules, const char *name)
{
    for (; rules != NULL && rules->name != NULL; rules++)
        if (strcmp(rules->name, name) == 0)
            return rules;
    return NULL;
}

/* "limit, page_token" for messages. */
static const char *rule_names(const struct rb_query_rule *rules, char *buffer, size_t size)
{
    size_t used = 0;
    (void)snprintf(buffer, size, "none");
    for (; rules != NULL && rules->name != NULL && used < size; rules++)
        used +=
            (size_t)snprintf(buffer + used, size - used, "%s%s", used > 0 ? ", " : "", rules->name);
    return buffer;
}

static size_t times_given(const struct rb_target *t, const char *name, size_t up_to)
{
    size_t times = 0;
    for (size_t i = 0; i < up_to; i++)
        times += strcmp(t->pairs[i].name, name) == 0;
    return times;
}

enum rb_status rb_query_check(const struct rb_query_rule *rules, const struct rb_target *target,
                              struct rb_error *err)
{
    char names[200];
    for (size_t i = 0; i < target->pair_count; i++) {
        const struct rb_pair *pair = &target->pairs[i];
        const struct rb_query_rule *rule = find_rule(rules, pair->name);
        if (rule == NULL)
            return rb_error_at(err, RB_EQUERY, pair->name,
                               "query parameter '%.60s' is not known here (known: %s)", pair->name,
                               rule_names(rules, names, sizeof names));
        size_t most = rule->times > 0 ? rule->times : 1;
        if (times_given(target, rule->name, i) >= most)
            return rb_error_at(err, RB_EQUERY, rule->name, "%s may stand %zu time%s at most",
                               rule->name, most, most == 1 ? "" : "s");
        enum rb_status s = check_value(rule, pair->value, err);
        if (s != RB_OK)
            return s;
    }
    for (; rules != NULL && rules->name != NULL; rules++)
        if (rules->required && rb_target_query(target, rules->name) == NULL)
            return rb_error_at(err, RB_EQUERY, rules->name, "query parameter %s is missing",
                               rules->name);
    return RB_OK;
}

bool rb_query_flag(const struct rb_target *target, const char *name)
{
    const char *value = rb_target_query(target, name);
    return value != NULL && strcmp(value, "false") != 0;
}
