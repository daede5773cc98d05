/* server/base/options.h: the options table at run time, and values from text; private to
 * server/base. */
#ifndef RB_SERVER_BASE_OPTIONS_H
#define RB_SERVER_BASE_OPTIONS_H

#include "server/base/settings.h"

#include <stdio.h>

enum rb_option_type {
    RB_TYPE_STRING,
    RB_TYPE_LIST,
    RB_TYPE_COUNT,
    RB_TYPE_BYTES,
    RB_TYPE_DURATION,
    RB_TYPE_LOG_FORMAT,
    RB_TYPE_LOG_LEVEL,
    RB_TYPE_SANDBOX_MODE,
    RB_TYPE_EXECUTOR
};

struct rb_option_row {
    const char *flag; /* also the key in the file */
    const char *fallback, *example, *help;
    enum rb_option_type type;
    uint64_t low, high;
    size_t offset; /* of the field in struct rb_settings */
};
extern const struct rb_option_row rb_options[RB_OPTION_COUNT];
/* All flags in enum order, NULL-terminated. */
extern const char *const rb_option_flags[];

enum { RB_VARIABLE_SIZE = 64 };
/* "data-dir" to "REBASIND_DATA_DIR". */
void rb_option_variable(const char *flag, char ret[RB_VARIABLE_SIZE]);

/* Sets the option from text, unless a stronger source has set it. A list grows when `origin` has
 * set it already. where names the source in errors. RB_EUSAGE, RB_ENOMEM. */
enum rb_status rb_option_set(struct rb_settings *s, enum rb_option option, enum rb_origin origin,
                             const char *where, const char *text,
                             struct rb_error *err) RB_MUST_CHECK;

/* A count, or (bytes) a size such as 10GiB, for flags that are no settings. RB_EUSAGE naming
 * `name`. */
enum rb_status rb_amount_parse(const char *name, const char *text, bool bytes, uint64_t *ret,
                               struct rb_error *err) RB_MUST_CHECK;

/* A time such as 90d, in ms; as --keep-jobs takes it. RB_EUSAGE naming `name`. */
enum rb_status rb_duration_parse(const char *name, const char *text, uint64_t *ret,
                                 struct rb_error *err) RB_MUST_CHECK;

/* The value as it would be written in the file; lists with commas. */
void rb_option_write(const struct rb_settings *s, enum rb_option option, FILE *out);

void rb_settings_deinit(struct rb_settings *s);

#endif
