#include "api/status.h"

#include <string.h>

_Static_assert((int)RB_PROBLEM_COUNT <= RB_STATUS_LIMIT, "core leaves room for fewer statuses");

/* Two tables beside each other: what a status is called, and how HTTP reports it. */
static const struct {
    const char *code, *title;
} names[RB_PROBLEM_COUNT] = {[RB_OK] = {"ok", "OK"},
#define CORE_NAMES(sym, code, title) [sym] = {code, title},
                             RB_STATUS_MAP(CORE_NAMES)
#undef CORE_NAMES
#define SERVER_NAMES(name, code, http, retryable, title) [RB_SERVER_STATUS_##name] = {code, title},
                                 RB_SERVER_STATUS_MAP(SERVER_NAMES)
#undef SERVER_NAMES
};

static const struct {
    int http;
    bool retryable;
} reports[RB_PROBLEM_COUNT] = {[RB_OK] = {200, false},
#define CORE_REPORTS(sym, http, retryable) [sym] = {http, retryable},
                               RB_CORE_HTTP_MAP(CORE_REPORTS)
#undef CORE_REPORTS
#define SERVER_REPORTS(name, code, http, retryable, title)                                         \
    [RB_SERVER_STATUS_##name] = {http, retryable},
                                   RB_SERVER_STATUS_MAP(SERVER_REPORTS)
#undef SERVER_REPORTS
};

const char *rb_problem_code(enum rb_status status)
{
    return names[status].code;
}

const char *rb_problem_title(enum rb_status status)
{
    return names[status].title;
}

int rb_problem_http(enum rb_status status)
{
    return reports[status].http;
}

bool rb_problem_retryable(enum rb_status status)
{
    return reports[status].retryable;
}

enum rb_status rb_problem_status(const char *code)
{
    for (int i = 1; i < (int)RB_PROBLEM_COUNT; i++)
        if (strcmp(names[i].code, code) == 0)
            return (enum rb_status)i;
    return RB_OK;
}
