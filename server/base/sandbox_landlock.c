/* Landlock (Documentation/userspace-api/landlock.rst): file and TCP rules without a privilege.
 *
 * Debian 12's headers know ABI 1 and 2 only, so what came later is spelled out here. A ruleset
 * "handles" rights; what is handled is refused but where a rule allows it. Rights that the running
 * kernel does not know must be left out, which makes the ABI's number the sum of what it can. */
#include "server/base/addresses.h"
#include "server/base/sandbox_internal.h"

#include "server/base/fsutil.h"
#include "server/base/log.h"
#include "server/base/sandbox_landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- what the headers may lack ---- */

#define FS_TRUNCATE (1ULL << 14)        /* ABI 3 */
#define FS_IOCTL_DEV (1ULL << 15)       /* ABI 5 */
#define NET_BIND_TCP (1ULL << 0)        /* ABI 4 */
#define NET_CONNECT_TCP (1ULL << 1)     /* ABI 4 */
#define SCOPE_ABSTRACT_UNIX (1ULL << 0) /* ABI 6 */
#define SCOPE_SIGNAL (1ULL << 1)        /* ABI 6 */
enum { RULE_NET_PORT = 2 };             /* ABI 4 */

struct ruleset {
    uint64_t handled_fs, handled_net, scoped;
};
struct net_rule {
    uint64_t allowed, port;
};

/* Before ABI 2 every move between folders is refused, and uploads end with one. */
enum { ABI_LEAST = 2, ABI_FULL = 6 };

#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_WRITE                                                                                   \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                               \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |  \
     LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE)
/* Handled and allowed nowhere. */
#define FS_NEVER                                                                                   \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK |   \
     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM |   \
     FS_IOCTL_DEV)
/* What a rule on a file, not a folder, may name. */
#define FS_OF_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)

/* What the daemon looks at outside its folders. */
static const struct {
    const char *path;
    uint64_t rights;
} system_files[] = {
    {"/proc/self", FS_READ},                                  /* its own size and files */
    {"/proc/self/clear_refs", LANDLOCK_ACCESS_FS_WRITE_FILE}, /* a job's peak starts anew */
    {"/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE},           /* SQLite's seed */
};

static struct ruleset ruleset_for(int abi, const char *notify_socket)
{
    struct ruleset r = {.handled_fs = FS_READ | FS_WRITE | FS_NEVER};
    if (abi < 3)
        r.handled_fs &= ~FS_TRUNCATE;
    if (abi < 5)
        r.handled_fs &= ~FS_IOCTL_DEV;
    if (abi >= 4)
        r.handled_net = NET_BIND_TCP | NET_CONNECT_TCP;
    if (abi >= 6) {
        bool abstract = notify_socket != NULL && notify_socket[0] == '@';
        r.scoped = SCOPE_SIGNAL | (abstract ? 0 : SCOPE_ABSTRACT_UNIX);
    }
    return r;
}

/* ---- rules; each returns false with errno set ---- */

static bool allow_path(int rules_fd, const struct ruleset *r, const char *path, uint64_t rights)
{
    struct stat status;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool fine = fstat(fd, &status) == 0;
    if (fine && !S_ISDIR(status.st_mode))
        rights &= FS_OF_FILES;
    const struct landlock_path_beneath_attr rule = {
        .allowed_access = rights & r->handled_fs,
        .parent_fd = fd,
    };
    fine =
        fine && syscall(SYS_landlock_add_rule, rules_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    int error = errno;
    (void)close(fd);
    errno = error;
    return fine;
}

static bool allow_port(int rules_fd, uint16_t port)
{
    const struct net_rule rule = {.allowed = NET_BIND_TCP, .port = port};
    return syscall(SYS_landlock_add_rule, rules_fd, RULE_NET_PORT, &rule, 0) == 0;
}

/* Secrets are exchanged by renaming or by turning a link in their folder, so the folder it is. */
static bool allow_folder_of(int rules_fd, const struct ruleset *r, const char *file)
{
    char *real = realpath(file, NULL), *named = strdup(file);
    bool fine = real != NULL && named != NULL;
    char *paths[] = {real, named};
    for (size_t i = 0; fine && i < 2; i++) {
        char *slash = strrchr(paths[i], '/');
        if (slash != NULL)
            slash[slash == paths[i] ? 1 : 0] = '\0';
        fine = allow_path(rules_fd, r, slash != NULL ? paths[i] : ".", FS_READ);
    }
    free(named);
    free(real);
    return fine;
}

static void allow_optional(int rules_fd, const struct ruleset *r, const char *path, uint64_t rights)
{
    if (!allow_path(rules_fd, r, path, rights))
        rb_log_warn("out of reach until the next start", RB_S("path", path),
                    RB_S("detail", strerror(errno)));
}

static enum rb_status add_rules(int rules_fd, const struct ruleset *r,
                                const struct rb_settings *settings, const char *data_dir,
                                struct rb_error *err)
{
    struct rb_listen listen;
    enum rb_status s = rb_listen_parse(settings->listen, &listen, err);
    if (s != RB_OK)
        return s;
    if (!allow_path(rules_fd, r, data_dir, FS_READ | FS_WRITE))
        return rb_error_errno(err, errno, data_dir);
    if (settings->shared_dir[0] != '\0' &&
        !allow_path(rules_fd, r, settings->shared_dir, FS_READ | FS_WRITE))
        return rb_error_errno(err, errno, settings->shared_dir);
    if (settings->token_file[0] != '\0' && !allow_folder_of(rules_fd, r, settings->token_file))
        return rb_error_errno(err, errno, settings->token_file);
    if (settings->config[0] != '\0' && !allow_folder_of(rules_fd, r, settings->config))
        return rb_error_errno(err, errno, settings->config); /* SIGHUP reads it again */
    for (size_t i = 0; i < settings->import_root.count; i++)
        allow_optional(rules_fd, r, settings->import_root.items[i], FS_READ);
    for (size_t i = 0; i < sizeof system_files / sizeof system_files[0]; i++)
        allow_optional(rules_fd, r, system_files[i].path, system_files[i].rights);
    if (r->handled_net != 0 && !allow_port(rules_fd, listen.port))
        return rb_error_errno(err, errno, settings->listen);
    return RB_OK;
}

/* ---- all of it ---- */

static void describe(int abi, struct rb_sandbox_outcome *ret)
{
    if (abi >= ABI_FULL)
        rb_sandbox_outcome_set(ret, RB_SANDBOX_ON, "ABI %d: files, TCP, signals", abi);
    else
        rb_sandbox_outcome_set(ret, RB_SANDBOX_PARTIAL, "ABI %d: files%s; free: %ssignals", abi,
                               abi >= 4 ? ", TCP" : "", abi >= 4 ? "" : "TCP, ");
}

enum rb_status rb_sandbox_landlock(const struct rb_settings *settings, const char *data_dir,
                                   struct rb_sandbox_outcome *ret, struct rb_error *err)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < ABI_LEAST) {
        rb_sandbox_outcome_set(ret, RB_SANDBOX_OFF, "the kernel %s (expected 5.19 or newer)",
                               abi == 1              ? "has ABI 1 only"
                               : errno == EOPNOTSUPP ? "has it disabled"
                                                     : "lacks it, or a container hides it");
        return RB_OK;
    }
    const struct ruleset r = ruleset_for((int)abi, getenv("NOTIFY_SOCKET"));
    /* The kernel takes a longer struct as long as what it does not know is zero. */
    long rules_fd = syscall(SYS_landlock_create_ruleset, &r, sizeof r, 0);
    if (rules_fd < 0) {
        rb_sandbox_outcome_set(ret, RB_SANDBOX_OFF, "no ruleset: %s", strerror(errno));
        return RB_OK;
    }
    enum rb_status s = add_rules((int)rules_fd, &r, settings, data_dir, err);
    if (s == RB_OK && syscall(SYS_landlock_restrict_self, (int)rules_fd, 0) != 0)
        rb_sandbox_outcome_set(ret, RB_SANDBOX_OFF, "not applied: %s", strerror(errno));
    else if (s == RB_OK)
        describe((int)abi, ret);
    (void)close((int)rules_fd);
    return s;
}
