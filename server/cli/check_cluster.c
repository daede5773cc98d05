#include "server/cli/check_cluster.h"
#include "server/base/broker.h"
#include "server/base/clock.h"
#include "server/base/fsutil.h"
#include "server/base/ids.h"
#include "server/work/bundle_dir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct probe {
    struct rb_broker_options options;
    int shared_fd;
    char shared[4096], script[64];
    char folder[RB_PATH_SIZE], name[128];
};

/* One command, as the broker would run it. */
static enum rb_status run(const struct probe *p, enum rb_broker_kind kind,
                          const char *const fields[], struct rb_error *err)
{
    static struct rb_broker_command command;
    unsigned char request[RB_BROKER_REQUEST_MAX];
    struct rb_broker_result result;
    const size_t head = sizeof(struct rb_broker_request_head);
    size_t bytes = rb_broker_encode(kind, 0, fields, request);
    if (bytes < head)
        return rb_error_set(err, RB_EUSAGE, "--shared-dir: the path is too long");
    enum rb_status status = rb_broker_command_make(&p->options, kind, (char *)request + head,
                                                   bytes - head, p->script, &command, err);
    if (status != RB_OK)
        return status;
    rb_broker_run(&command, -1, &result);
    if (result.status != 0)
        status = rb_error_set(err, RB_EUSAGE, "%s failed: %.300s", command.path,
                              result.words[0] != '\0' ? result.words : "it said nothing");
    free(result.output);
    rb_broker_command_deinit(&command);
    return status;
}

/* A folder without a bundle: the node that gets it says so, and that is what we want to hear. */
static enum rb_status wait_for_word(const struct probe *p, struct rb_error *err)
{
    char file[RB_PATH_SIZE], path[2 * RB_PATH_SIZE], *text;
    size_t bytes;
    struct rb_seal seal;
    (void)snprintf(path, sizeof path, "%s/%s", p->folder, rb_bundle_outcome_file(0, file));
    for (int i = 0; i < RB_PROBE_S * 5; i++) {
        if (rb_bundle_get(p->shared_fd, path, RB_PRODUCT_JSON_MAX, &text, &bytes, &seal, err) ==
            RB_OK) {
            free(text);
            return RB_OK;
        }
        (void)usleep(200000);
    }
    return rb_error_set(
        err, RB_EUSAGE,
        "a probe was submitted, but no node has answered in %d s: is a node free "
        "(sinfo), is %s on every node, and do they see --shared-dir at the same path?",
        RB_PROBE_S, p->options.program);
}

static enum rb_status probe_node(struct probe *p, struct rb_error *err)
{
    char id[RB_JOB_ID_SIZE], absolute[4096 + RB_PATH_SIZE];
    struct rb_error ignored;
    rb_job_id_make(rb_clock_realtime_ms(), id);
    (void)snprintf(p->folder, sizeof p->folder, "units/%s", id);
    (void)snprintf(p->name, sizeof p->name, "rebasind-%s-align.1", id);
    (void)snprintf(absolute, sizeof absolute, "%s/%s", p->shared, p->folder);
    enum rb_status status = rb_mkdirs_beneath(p->shared_fd, p->folder, err);
    if (status != RB_OK)
        return status;
    status = run(p, RB_BROKER_SUBMIT, (const char *const[]){p->name, absolute, "align", "1"}, err);
    if (status == RB_OK)
        status = wait_for_word(p, err);
    (void)!run(p, RB_BROKER_CANCEL, (const char *const[]){p->name}, &ignored);
    (void)!rb_remove_beneath(p->shared_fd, p->folder, &ignored);
    return status;
}

static enum rb_status check(struct probe *p, const struct rb_settings *settings,
                            struct rb_error *err)
{
    int script_fd;
    enum rb_status status = rb_root_open(settings->shared_dir, false, &p->shared_fd, err);
    if (status != RB_OK || realpath(settings->shared_dir, p->shared) == NULL)
        return status != RB_OK ? status : rb_error_errno(err, errno, settings->shared_dir);
    if (faccessat(p->shared_fd, ".", W_OK | X_OK, 0) != 0)
        return rb_error_errno(err, errno, settings->shared_dir);
    status = rb_broker_options_find(p->shared, settings->slurm_options, &p->options, err);
    if (status != RB_OK)
        return status;
    script_fd = rb_broker_script();
    if (script_fd < 0)
        return rb_error_errno(err, errno, "memfd_create");
    (void)snprintf(p->script, sizeof p->script, "/proc/self/fd/%d", script_fd);
    status = run(p, RB_BROKER_QUEUE, NULL, err);
    if (status == RB_OK)
        status = probe_node(p, err);
    (void)close(script_fd);
    return status;
}

enum rb_status rb_cluster_check(const struct rb_settings *settings, struct rb_error *err)
{
    static struct probe p;
    if (settings->shared_dir[0] == '\0' && settings->executor == RB_EXECUTOR_SLURM)
        return rb_error_set(err, RB_EUSAGE,
                            "--executor slurm needs --shared-dir, a folder that every "
                            "node sees at the same path");
    if (settings->shared_dir[0] == '\0')
        return RB_OK;
    p.shared_fd = -1;
    enum rb_status status = check(&p, settings, err);
    if (p.shared_fd >= 0)
        (void)close(p.shared_fd);
    rb_broker_options_deinit(&p.options);
    return status == RB_OK ? RB_OK : rb_error_prefix(err, "shared-dir: ");
}
