#include "server/base/addresses.h"
#include "server/cli/check_cluster.h"
#include "server/cli/commands.h"

#include "server/base/config.h"
#include "server/base/config_print.h"
#include "server/base/fsutil.h"
#include "server/base/ids.h"
#include "server/base/layout.h"
#include "server/base/options.h"
#include "server/store/migrate.h"
#include "server/store/store.h"
#include "server/store/token_file.h"
#include "server/store/tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

const char rb_cmd_check_config_help[] =
    "Usage: rebasind check-config [OPTIONS]\n"
    "\n"
    "Prints every option with its value and where that comes from, in the form of a configuration\n"
    "file, then what would keep `rebasind serve` from working with them. Changes nothing;\n"
    "with --shared-dir a probe is sent to the cluster, and waited for. Exit\n"
    "status 0 if all is well, 1 if something is wrong, 2 if the options cannot be read.\n"
    "\n"
    "Example:\n"
    "  rebasind check-config --config /etc/rebasind.conf\n";

struct check {
    const struct rb_settings *settings;
    size_t problems;
};

static void complain(struct check *c, const struct rb_error *err)
{
    c->problems++;
    fprintf(stderr, "rebasind: %s\n", err->detail);
}

static void check_import_roots(struct check *c)
{
    const struct rb_strings *roots = &c->settings->import_root;
    for (size_t i = 0; i < roots->count; i++) {
        struct rb_error err;
        int fd;
        if (rb_root_open(roots->items[i], false, &fd, &err) == RB_OK) {
            (void)close(fd);
            continue;
        }
        (void)rb_error_prefix(&err, "import-root: ");
        complain(c, &err);
    }
}

/* The data folder need not be there yet, but then its nearest ancestor must be writable. */
static void check_future_folder(struct check *c)
{
    char path[4096];
    struct rb_error err;
    (void)snprintf(path, sizeof path, "%s", c->settings->data_dir);
    while (access(path, F_OK) != 0 && errno == ENOENT) {
        char *slash = strrchr(path, '/');
        if (slash == NULL || slash == path) {
            (void)snprintf(path, sizeof path, "%s", slash == NULL ? "." : "/");
            break;
        }
        *slash = '\0';
    }
    if (access(path, W_OK | X_OK) != 0) {
        (void)rb_error_errno(&err, errno, path);
        (void)rb_error_prefix(&err, "data-dir: %.200s cannot be made: ", c->settings->data_dir);
        complain(c, &err);
    }
}

static size_t check_tokens(struct check *c, int root_fd)
{
    struct rb_error err;
    struct rb_tokens *tokens;
    if (rb_tokens_open(root_fd, c->settings->token_file, &tokens, &err) != RB_OK) {
        complain(c, &err);
        return 1; /* there are some, so exposure is not the problem */
    }
    size_t count = rb_tokens_count(tokens);
    rb_tokens_close(tokens);
    return count;
}

static void check_database(struct check *c)
{
    char path[RB_DATABASE_PATH_SIZE];
    struct rb_error err;
    int version;
    if (rb_store_peek(rb_layout_database(c->settings->data_dir, path), &version, &err) != RB_OK)
        complain(c, &err);
}

/* Without the folder there are no tokens but the one in --token-file. */
static size_t check_token_file(struct check *c)
{
    struct rb_error err;
    struct rb_token token;
    if (c->settings->token_file[0] == '\0')
        return 0;
    if (rb_token_file_read(c->settings->token_file, &token, &err) != RB_OK)
        complain(c, &err);
    return 1;
}

static void check_data_dir(struct check *c, size_t *ret_tokens)
{
    struct rb_error err;
    int fd;
    enum rb_status status = rb_root_open(c->settings->data_dir, false, &fd, &err);
    if (status == RB_OK) {
        if (faccessat(fd, ".", W_OK | X_OK, 0) != 0) {
            (void)rb_error_errno(&err, errno, c->settings->data_dir);
            (void)rb_error_prefix(&err, "data-dir: ");
            complain(c, &err);
        }
        *ret_tokens = check_tokens(c, fd);
        (void)close(fd);
        check_database(c);
        return;
    }
    if (status == RB_ENOTFOUND) {
        check_future_folder(c);
    } else {
        (void)rb_error_prefix(&err, "data-dir: ");
        complain(c, &err);
    }
    *ret_tokens = check_token_file(c);
}

/* What can never come to be is a slip. */
static void check_retention(struct check *c)
{
    const struct rb_settings *s = c->settings;
    struct rb_error err;
    if (s->keep_jobs_ms == 0 || s->keep_artifacts_ms < s->keep_jobs_ms)
        return;
    (void)rb_error_set(&err, RB_EUSAGE,
                       "keep-artifacts: expected less than keep-jobs: merged checkpoints go with "
                       "their job");
    complain(c, &err);
}

int rb_cmd_check_config(int argc, char *const argv[], FILE *out)
{
    struct rb_error err;
    struct rb_settings settings;
    if (rb_settings_load(argc, argv, NULL, NULL, &settings, &err) != RB_OK) {
        fprintf(stderr, "rebasind: %s\n", err.detail);
        return 2;
    }
    struct check c = {.settings = &settings};
    size_t tokens = 0;
    rb_settings_print(&settings, out);
    (void)fflush(out);
    check_import_roots(&c);
    check_retention(&c);
    check_data_dir(&c, &tokens);
    enum rb_status status = rb_ids_init(&err);
    if (status == RB_OK)
        status = rb_cluster_check(&settings, &err);
    if (status != RB_OK)
        complain(&c, &err);
    if (rb_settings_check_exposure(&settings, tokens, &err) != RB_OK)
        complain(&c, &err);
    rb_settings_deinit(&settings);
    return c.problems == 0 ? 0 : 1;
}
