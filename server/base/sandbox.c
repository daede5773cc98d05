#include "server/base/sandbox_internal.h"

#include "server/base/log.h"
#include "server/base/sandbox_landlock.h"
#include "server/base/sandbox_seccomp.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

const char *const rb_sandbox_part_names[RB_SANDBOX_PART_COUNT] = {
    [RB_SANDBOX_NO_NEW_PRIVS] = "no_new_privs",
    [RB_SANDBOX_RLIMITS] = "rlimits",
    [RB_SANDBOX_LANDLOCK] = "landlock",
    [RB_SANDBOX_SECCOMP] = "seccomp",
};
const char *const rb_sandbox_mode_names[] = {"auto", "require", "off", NULL};
const char *const rb_sandbox_state_names[] = {"off", "partial", "on", NULL};

/* Sanitizers trace their own process and gcov writes beside the object files: both are what the
 * sandbox is there to stop. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(RB_COVERAGE)
static const bool instrumented = true;
#else
static const bool instrumented = false;
#endif

void rb_sandbox_outcome_set(struct rb_sandbox_outcome *o, enum rb_sandbox_state state,
                            const char *format, ...)
{
    va_list arguments;
    o->state = state;
    va_start(arguments, format);
    (void)vsnprintf(o->detail, sizeof o->detail, format, arguments);
    va_end(arguments);
}

/* ---- the small parts ---- */

static void set_no_new_privs(struct rb_sandbox_outcome *ret)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0)
        rb_sandbox_outcome_set(ret, RB_SANDBOX_ON, "no program gives privileges back");
    else
        rb_sandbox_outcome_set(ret, RB_SANDBOX_OFF, "prctl: %s", strerror(errno));
}

static const struct {
    __rlimit_resource_t resource;
    const char *name;
} limits_to_zero[] = {
    {RLIMIT_CORE, "core"},
    {RLIMIT_MEMLOCK, "memlock"},
    {RLIMIT_MSGQUEUE, "msgqueue"},
    {RLIMIT_RTPRIO, "rtprio"},
};

/* The descriptors were raised to what the system allows (server/cli/cmd_serve.c); that stays the
 * most. */
static void set_limits(struct rb_sandbox_outcome *ret)
{
    const struct rlimit none = {0, 0};
    struct rlimit files;
    for (size_t i = 0; i < sizeof limits_to_zero / sizeof limits_to_zero[0]; i++)
        if (setrlimit(limits_to_zero[i].resource, &none) != 0) {
            rb_sandbox_outcome_set(ret, RB_SANDBOX_OFF, "%s: %s", limits_to_zero[i].name,
                                   strerror(errno));
            return;
        }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_max = files.rlim_cur;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    rb_sandbox_outcome_set(ret, RB_SANDBOX_ON, "no core dumps, %llu descriptors",
                           (unsigned long long)files.rlim_cur);
}

/* ---- threads that are there already ---- */

/* OpenBLAS starts its threads when it is loaded, outside the sandbox to come. This is what its own
 * fork handler calls; should it ever want threads again, it starts them anew. Weak: a build of
 * OpenBLAS without threads lacks it. */
extern int blas_thread_shutdown_(void) __attribute__((weak));

static size_t count_threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    size_t count = 0;
    if (folder == NULL)
        return 0;
    for (struct dirent *e; (e = readdir(folder)) != NULL;)
        count += e->d_name[0] != '.';
    (void)closedir(folder);
    return count;
}

static void tell_other_threads(struct rb_sandbox_outcome *landlock)
{
    size_t threads = count_threads();
    if (threads <= 1 || landlock->state == RB_SANDBOX_OFF)
        return;
    size_t used = strlen(landlock->detail);
    landlock->state = RB_SANDBOX_PARTIAL;
    (void)snprintf(landlock->detail + used, sizeof landlock->detail - used,
                   "; %zu threads of libraries are outside", threads - 1);
}

/* ---- all of it ---- */

static enum rb_status apply(const struct rb_settings *settings, const char *data_dir,
                            struct rb_sandbox_outcome outcomes[], struct rb_error *err)
{
    if (settings->sandbox == RB_SANDBOX_MODE_OFF || instrumented) {
        const char *why = instrumented ? "instrumented build" : "--sandbox off";
        for (size_t i = 0; i < RB_SANDBOX_PART_COUNT; i++)
            rb_sandbox_outcome_set(&outcomes[i], RB_SANDBOX_OFF, "%s", why);
        return RB_OK;
    }
    if (blas_thread_shutdown_ != NULL)
        (void)blas_thread_shutdown_();
    set_no_new_privs(&outcomes[RB_SANDBOX_NO_NEW_PRIVS]);
    set_limits(&outcomes[RB_SANDBOX_RLIMITS]);
    enum rb_status s = rb_sandbox_landlock(settings, data_dir, &outcomes[RB_SANDBOX_LANDLOCK], err);
    if (s != RB_OK)
        return s;
    tell_other_threads(&outcomes[RB_SANDBOX_LANDLOCK]);
    rb_sandbox_seccomp(&outcomes[RB_SANDBOX_SECCOMP]); /* last: the others need calls it refuses */
    return RB_OK;
}

static void write_report(const struct rb_sandbox_outcome outcomes[], struct rb_sandbox_report *ret)
{
    size_t used = 0;
    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; i < RB_SANDBOX_PART_COUNT; i++) {
        ret->parts[i].state = outcomes[i].state;
        (void)snprintf(ret->parts[i].detail, sizeof ret->parts[i].detail, "%s", outcomes[i].detail);
        int n = snprintf(ret->text + used, sizeof ret->text - used, "%s%s %s (%s)",
                         i > 0 ? ", " : "", rb_sandbox_part_names[i],
                         rb_sandbox_state_names[outcomes[i].state], outcomes[i].detail);
        used += (size_t)n; /* the buffer holds the longest of all of them */
    }
}

enum rb_status rb_sandbox_apply(const struct rb_settings *settings, const char *data_dir,
                                struct rb_sandbox_report *ret, struct rb_error *err)
{
    struct rb_sandbox_outcome outcomes[RB_SANDBOX_PART_COUNT] = {{.state = RB_SANDBOX_OFF}};
    enum rb_status s = apply(settings, data_dir, outcomes, err);
    if (s != RB_OK)
        return s;
    for (size_t i = 0; i < RB_SANDBOX_PART_COUNT; i++)
        if (settings->sandbox == RB_SANDBOX_MODE_REQUIRE && outcomes[i].state == RB_SANDBOX_OFF)
            return rb_error_set(err, RB_EUSAGE, "--sandbox require: %s cannot be had: %s",
                                rb_sandbox_part_names[i], outcomes[i].detail);
    write_report(outcomes, ret);
    return RB_OK;
}

void rb_sandbox_log(const struct rb_sandbox_report *report)
{
    for (size_t i = 0; i < RB_SANDBOX_PART_COUNT; i++)
        rb_log_write(report->parts[i].state == RB_SANDBOX_OFF ? RB_LOG_WARN : RB_LOG_INFO,
                     "sandbox",
                     (const struct rb_log_field[]){
                         RB_S("part", rb_sandbox_part_names[i]),
                         RB_S("state", rb_sandbox_state_names[report->parts[i].state]),
                         RB_S("detail", report->parts[i].detail),
                         {.key = NULL},
                     });
}
