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

/* Where title and detail do not say it already. */
static const struct {
    enum rb_status status;
    const char *remedy;
} remedies[] = {
    {RB_EDISKFULL,
     "Make room on the disk of the daemon, then retry: the job goes on where it stopped."},
    {RB_ENOMEM, "Free memory or let the daemon run with fewer workers, then retry: the job goes on "
                "where it stopped."},
    {RB_EFILES, "Raise the daemon's limit of open files (ulimit -n), then retry."},
    {RB_ESTORE, "Retry once the data folder's disk answers again."},
    {RB_EIO, "See whether the file can be read on the daemon's machine, then retry."},
    {RB_EDIGEST, "A file has changed since it was registered: register the model or dataset anew "
                 "and submit a new job."},
    {RB_ENOTFOUND, "Something that the job names is gone: register it again under the same name, "
                   "or submit a new job."},
    {RB_ENUMERIC,
     "A weight or a loss is not a number: look at both checkpoints, or try dtype f32."},
    {RB_EMODELS, "Choose two models of one architecture, size and vocabulary."},
    {RB_EHEAD, "Choose the task that the models' head is made for."},
    {RB_EDATASET,
     "Correct the dataset where the words say, register it anew and submit a new job."},
    {RB_ECRASHLOOP, "A retry would end the daemon again: try fewer sequences or blocks; the "
                    "daemon's log has the rest."},
    {RB_EINTERNAL, "This is a fault of rebasind: please report it with the job's id and the log."},
};

const char *rb_problem_remedy(enum rb_status status)
{
    for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++)
        if (remedies[i].status == status)
            return remedies[i].remedy;
    return rb_problem_retryable(status) ? "Trying again may help."
                                        : "Correct what the words name and submit a new job.";
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
