/* server/base/log.h: one line per call, to standard error; text for people, JSON for machines.
 *
 *     rb_log_info("job", RB_S("job", id), RB_S("status", "running"), RB_I("attempt", 2));
 *
 *     2026-11-23T10:48:45.123Z INFO  job job=job_0193… status=running attempt=2
 *     {"time":"2026-11-23T10:48:45.123Z","level":"info","message":"job","job":"job_0193…",…}
 *
 * Any thread: a line is built on the caller's stack and written with one write(2), so lines never
 * mix. Strings may come from strangers: control characters and invalid UTF-8 are escaped in both
 * forms, and a line is cut at RB_LOG_LINE_MAX. Before rb_log_init: text, level info.
 */
#ifndef RB_SERVER_BASE_LOG_H
#define RB_SERVER_BASE_LOG_H

#include "api/status.h"
#include "server/base/config.h"

enum { RB_LOG_LINE_MAX = 4096 };

struct rb_log_field {
    const char *key; /* NULL ends the fields; lower case, snake_case */
    enum {
        RB_LOG_FIELD_STRING,
        RB_LOG_FIELD_INT,
        RB_LOG_FIELD_UINT,
        RB_LOG_FIELD_DOUBLE,
        RB_LOG_FIELD_BOOL
    } type;
    union {
        const char *string; /* NULL leaves the field out */
        int64_t integer;
        uint64_t natural;
        double number;
        bool boolean;
    };
};

#define RB_S(k, v) ((struct rb_log_field){.key = (k), .type = RB_LOG_FIELD_STRING, .string = (v)})
#define RB_I(k, v)                                                                                 \
    ((struct rb_log_field){.key = (k), .type = RB_LOG_FIELD_INT, .integer = (int64_t)(v)})
#define RB_U(k, v)                                                                                 \
    ((struct rb_log_field){.key = (k), .type = RB_LOG_FIELD_UINT, .natural = (uint64_t)(v)})
#define RB_D(k, v)                                                                                 \
    ((struct rb_log_field){.key = (k), .type = RB_LOG_FIELD_DOUBLE, .number = (double)(v)})
#define RB_B(k, v) ((struct rb_log_field){.key = (k), .type = RB_LOG_FIELD_BOOL, .boolean = (v)})

/* Sets form and least level for the process; fd is 2 but in tests. */
void rb_log_init(enum rb_log_format format, enum rb_log_level least, int fd);
/* Would a line of that level be written? For fields that cost something to make. */
bool rb_log_enabled(enum rb_log_level level);
/* fields end with one whose key is NULL. errno is left as it was. */
void rb_log_write(enum rb_log_level level, const char *message, const struct rb_log_field *fields);

#define RB_LOG(level, message, ...)                                                                \
    rb_log_write(level, message,                                                                   \
                 (const struct rb_log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}})
#define rb_log_debug(...) RB_LOG(RB_LOG_DEBUG, __VA_ARGS__)
#define rb_log_info(...) RB_LOG(RB_LOG_INFO, __VA_ARGS__)
#define rb_log_warn(...) RB_LOG(RB_LOG_WARN, __VA_ARGS__)
#define rb_log_error(...) RB_LOG(RB_LOG_ERROR, __VA_ARGS__)

/* The fields of an error: code, detail, and pointer if there is one. */
#define RB_ERROR_FIELDS(err)                                                                       \
    RB_S("code", rb_problem_code((err)->status)), RB_S("detail", (err)->detail),                   \
        RB_S("pointer", (err)->pointer[0] != '\0' ? (err)->pointer : NULL)

#endif
