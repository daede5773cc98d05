/* server/base/settings.h: what an operator can set, from one table.
 *
 * The table below makes the flags (`--data-dir PATH`), the environment variables
 * (REBASIND_DATA_DIR), the keys of the configuration file (`data-dir = PATH`), --help, the
 * reference in docs/ and the output of `rebasind check-config`. A value comes from the first of
 * flag, environment, file, default that gives one, and remembers which.
 *
 * Configuration file: one `key = value` a line, `#` starts a comment at the beginning of a line or
 * after a blank, values may stand in double quotes. Lists (types marked LIST) grow by repeating
 * the flag or key, and everywhere by commas; a list from a stronger source replaces the weaker
 * one's, it does not add to it. An unknown flag, variable or key is an error naming the nearest.
 *
 * A byte count takes KiB, MiB, GiB or TiB, a duration in ms takes ms, s, min, h or d, after the
 * number.
 *
 *    field, type, flag, default, lowest, highest, example, help
 */
#ifndef RB_SERVER_BASE_SETTINGS_H
#define RB_SERVER_BASE_SETTINGS_H

#include "api/status.h"

#include <stdint.h>

#define RB_MIB (1024ULL * 1024)
#define RB_GIB (1024ULL * RB_MIB)

/* clang-format off */
#define RB_OPTION_MAP(X)                                                                           \
    X(config, STRING, "config", "", 0, 0, "/etc/rebasind.conf",                                    \
      "configuration file; its keys are the names of these flags")                                 \
    X(listen, STRING, "listen", "127.0.0.1:8686", 0, 0, "[::1]:8686",                              \
      "address and port to serve on; beyond loopback only with a token configured")                \
    X(data_dir, STRING, "data-dir", "", 0, 0, "/var/lib/rebasind",                                 \
      "folder of database, uploads and artifacts (default $STATE_DIRECTORY or ./rebasind-data)")   \
    X(import_root, LIST, "import-root", "", 0, 0, "/srv/checkpoints",                              \
      "folder below which checkpoints and texts may be registered in place; repeatable")           \
    X(workers, COUNT, "workers", "0", 0, 1024, "8",                                                \
      "work items that run at once; 0 means one per core")                                         \
    X(memory_limit, BYTES, "memory-limit", "0", 0, INT64_MAX, "8GiB",                              \
      "memory that a job plans with: sums that do not fit are made in groups of layers; 0: all here")  \
    X(queue_limit, COUNT, "queue-limit", "1000", 1, 1000000, "100",                                \
      "jobs that may wait; further submissions are answered 429")                                  \
    X(max_upload_bytes, BYTES, "max-upload-bytes", "16GiB", 1, INT64_MAX, "40GiB",                 \
      "largest file that may be uploaded")                                                         \
    X(max_body_bytes, BYTES, "max-body-bytes", "1MiB", 1024, RB_GIB, "4MiB",                       \
      "largest JSON body")                                                                         \
    X(allowed_hosts, LIST, "allowed-hosts", "", 0, 0, "merge.lab.example",                         \
      "names accepted in the Host header besides the listen address and localhost; repeatable")    \
    X(allowed_origins, LIST, "allowed-origins", "", 0, 0, "https://lab.example",                   \
      "browser origins whose pages may call the service besides its own; repeatable")              \
    X(trusted_proxies, LIST, "trusted-proxies", "", 0, 0, "10.0.0.0/8",                            \
      "addresses or networks whose X-Forwarded-For is believed; repeatable")                       \
    X(route_prefix, STRING, "route-prefix", "", 0, 0, "/merge",                                    \
      "path below which a proxy shows the service")                                                \
    X(token_file, STRING, "token-file", "", 0, 0, "/run/secrets/rebasind-token",                   \
      "file whose first line is a token with every scope")                                         \
    X(log_format, LOG_FORMAT, "log-format", "text", 0, 0, "json",                                      \
      "text for people or json for machines")                                                      \
    X(log_level, LOG_LEVEL, "log-level", "info", 0, 0, "debug",                                       \
      "least severe lines to log: debug, info, warn or error")                                     \
    X(max_connections, COUNT, "max-connections", "1000", 1, 1000000, "10000",                      \
      "open connections in all")                                                                   \
    X(max_connections_per_address, COUNT, "max-connections-per-address", "256", 0, 1000000, "64",  \
      "open connections of one address; 0 means no limit of its own")                              \
    X(header_timeout_ms, DURATION, "header-timeout", "10s", 100, 3600000, "5s",                    \
      "time for a request's headers to arrive, and for an idle connection")                        \
    X(body_timeout_ms, DURATION, "body-timeout", "60s", 100, 86400000, "10min",                    \
      "longest pause in an arriving body or a departing reply")                                    \
    X(drain_timeout_ms, DURATION, "drain-timeout", "10s", 100, 3600000, "30s",                     \
      "time for running items and replies to end after SIGTERM")                                   \
    X(moments_cache_bytes, BYTES, "moments-cache-bytes", "4GiB", 0, INT64_MAX, "20GiB",            \
      "disk that kept moments may fill; the least recently used are removed")                      \
    X(keep_jobs_ms, DURATION, "keep-jobs", "0s", 0, 3153600000000, "90d",                          \
      "how long a finished job is kept, with all that is its own; 0s means for ever")              \
    X(keep_artifacts_ms, DURATION, "keep-artifacts", "0s", 0, 3153600000000, "14d",                \
      "how long a finished job's merged checkpoints are kept; 0s means as long as the job")        \
    X(executor, EXECUTOR, "executor", "local", 0, 0, "slurm",                                      \
      "who computes jobs whose spec does not say: local (this machine) or slurm (docs/slurm.md)")  \
    X(shared_dir, STRING, "shared-dir", "", 0, 0, "/lustre/rebasind",                              \
      "folder that every node of the cluster sees at the same path; makes executor slurm possible") \
    X(slurm_options, STRING, "slurm-options", "", 0, 0, "--partition=cpu --mem=16G --time=4:00:00", \
      "flags of sbatch for every unit, divided by blanks")                                         \
    X(slurm_points_per_task, COUNT, "slurm-points-per-task", "4", 1, 2002, "8",                    \
      "points of a curve that one task of a job array evaluates")                                  \
    X(sandbox, SANDBOX_MODE, "sandbox", "auto", 0, 0, "require",                                   \
      "locks the daemon puts on itself: auto those the kernel has, require all or no start, off")
/* clang-format on */

enum rb_option {
#define RB_OPTION_ENUM(field, type, flag, def, low, high, example, help) RB_OPTION_##field,
    RB_OPTION_MAP(RB_OPTION_ENUM)
#undef RB_OPTION_ENUM
        RB_OPTION_COUNT
};

enum rb_origin { RB_ORIGIN_DEFAULT, RB_ORIGIN_FILE, RB_ORIGIN_ENVIRONMENT, RB_ORIGIN_FLAG };

struct rb_strings {
    char **items;
    size_t count;
};

enum rb_log_format { RB_LOG_TEXT, RB_LOG_JSON };
enum rb_log_level { RB_LOG_DEBUG, RB_LOG_INFO, RB_LOG_WARN, RB_LOG_ERROR };
/* In enum order, NULL-terminated. */
extern const char *const rb_log_format_names[];
extern const char *const rb_log_level_names[];

enum rb_executor_kind { RB_EXECUTOR_LOCAL, RB_EXECUTOR_SLURM };
extern const char *const rb_executor_kind_names[]; /* as above: "local", "slurm" */

enum rb_sandbox_mode { RB_SANDBOX_MODE_AUTO, RB_SANDBOX_MODE_REQUIRE, RB_SANDBOX_MODE_OFF };
extern const char *const rb_sandbox_mode_names[]; /* as above; server/base/sandbox.h */

/* The field types of the table. */
#define RB_OPTION_TYPE_STRING char *
#define RB_OPTION_TYPE_LIST struct rb_strings
#define RB_OPTION_TYPE_COUNT uint64_t
#define RB_OPTION_TYPE_BYTES uint64_t
#define RB_OPTION_TYPE_DURATION uint64_t
#define RB_OPTION_TYPE_LOG_FORMAT enum rb_log_format
#define RB_OPTION_TYPE_LOG_LEVEL enum rb_log_level
#define RB_OPTION_TYPE_SANDBOX_MODE enum rb_sandbox_mode
#define RB_OPTION_TYPE_EXECUTOR enum rb_executor_kind

/* Read-only once loaded; any thread. `workers`, `memory_limit` and `data_dir` are resolved: never 0
 * or "". */
struct rb_settings {
#define RB_OPTION_FIELD(field, type, flag, def, low, high, example, help)                          \
    RB_OPTION_TYPE_##type field;
    RB_OPTION_MAP(RB_OPTION_FIELD)
#undef RB_OPTION_FIELD
    enum rb_origin origin[RB_OPTION_COUNT];
};

#endif
