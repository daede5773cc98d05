#include "server/base/options.h"

#include "api/decode.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const struct rb_option_row rb_options[RB_OPTION_COUNT] = {
#define RB_OPTION_ROW(field, type, flag, def, low, high, example, help)                            \
    [RB_OPTION_##field] = {flag,           def, example, help,                                     \
                           RB_TYPE_##type, low, high,    offsetof(struct rb_settings, field)},
    RB_OPTION_MAP(RB_OPTION_ROW)
#undef RB_OPTION_ROW
};

const char *const rb_executor_kind_names[] = {"local", "slurm", NULL};

const char *const rb_option_flags[] = {
#define RB_OPTION_FLAG(field, type, flag, def, low, high, example, help) flag,
    RB_OPTION_MAP(RB_OPTION_FLAG)
#undef RB_OPTION_FLAG
        NULL};

void rb_option_variable(const char *flag, char ret[RB_VARIABLE_SIZE])
{
    (void)snprintf(ret, RB_VARIABLE_SIZE, "REBASIND_%s", flag);
    for (size_t i = 0; ret[i] != '\0'; i++)
        ret[i] = ret[i] == '-' ? '_' : (char)toupper((unsigned char)ret[i]);
}

/* ---- numbers and their units ---- */

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: a value is written in the largest unit that divides it. */
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};
static const struct unit byte_units[] = {{"TiB", 1024 * RB_GIB}, {"GiB", RB_GIB}, {"MiB", RB_MIB},
                                         {"KiB", 1024},          {"", 1},         {NULL, 0}};
static const struct unit time_units[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000},
                                         {"s", 1000},     {"ms", 1},      {NULL, 0}};

static const struct unit *units_of(enum rb_option_type type)
{
    return type == RB_TYPE_BYTES ? byte_units : type == RB_TYPE_DURATION ? time_units : no_units;
}

static bool parse_number(const char *text, const struct unit *units, uint64_t *ret)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0)
        return false;
    end += strspn(end, " ");
    for (; units->name != NULL; units++)
        if (strcmp(end, units->name) == 0)
            return !__builtin_mul_overflow(number, units->factor, ret);
    return false;
}

static void format_number(uint64_t value, const struct unit *units, char *ret, size_t size)
{
    while (units[1].name != NULL && (value == 0 || value % units->factor != 0))
        units++;
    (void)snprintf(ret, size, "%" PRIu64 "%s", value / units->factor, units->name);
}

static enum rb_status set_number(uint64_t *target, const struct rb_option_row *o, const char *where,
                                 const char *text, struct rb_error *err)
{
    static const char *const hints[] = {[RB_TYPE_COUNT] = "a whole number",
                                        [RB_TYPE_BYTES] = "a size such as 512MiB",
                                        [RB_TYPE_DURATION] = "a time such as 500ms, 10s or 5min"};
    uint64_t value;
    if (!parse_number(text, units_of(o->type), &value))
        return rb_error_set(err, RB_EUSAGE, "%s: expected %s, found \"%s\"", where, hints[o->type],
                            text);
    if (value < o->low || value > o->high) {
        char low[40], high[40];
        format_number(o->low, units_of(o->type), low, sizeof low);
        format_number(o->high, units_of(o->type), high, sizeof high);
        return rb_error_set(err, RB_EUSAGE, "%s: expected %s to %s, found \"%s\"", where, low, high,
                            text);
    }
    *target = value;
    return RB_OK;
}

enum rb_status rb_duration_parse(const char *name, const char *text, uint64_t *ret,
                                 struct rb_error *err)
{
    const struct rb_option_row row = {.type = RB_TYPE_DURATION,
                                      .high = rb_options[RB_OPTION_keep_jobs_ms].high};
    return set_number(ret, &row, name, text, err);
}

enum rb_status rb_amount_parse(const char *name, const char *text, bool bytes, uint64_t *ret,
                               struct rb_error *err)
{
    const struct rb_option_row row = {.type = bytes ? RB_TYPE_BYTES : RB_TYPE_COUNT,
                                      .high = INT64_MAX};
    return set_number(ret, &row, name, text, err);
}

/* ---- words ---- */

static enum rb_status set_word(int *target, const char *const *names, const char *where,
                               const char *text, struct rb_error *err)
{
    int found = rb_enum_find(names, text);
    if (found < 0) {
        char words[256];
        rb_enum_describe(names, text, words, sizeof words);
        return rb_error_set(err, RB_EUSAGE, "%s: %s", where, words);
    }
    *target = found;
    return RB_OK;
}

static enum rb_status no_memory(struct rb_error *err)
{
    return rb_error_set(err, RB_ENOMEM, "no memory for the configuration");
}

static enum rb_status set_string(char **target, const char *text, struct rb_error *err)
{
    char *copy = strdup(text);
    if (copy == NULL)
        return no_memory(err);
    free(*target);
    *target = copy;
    return RB_OK;
}

static enum rb_status append(struct rb_strings *list, const char *text, size_t length,
                             struct rb_error *err)
{
    char **larger = realloc(list->items, (list->count + 1) * sizeof *larger);
    if (larger == NULL)
        return no_memory(err);
    list->items = larger;
    list->items[list->count] = strndup(text, length);
    if (list->items[list->count] == NULL)
        return no_memory(err);
    list->count++;
    return RB_OK;
}

static void clear(struct rb_strings *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct rb_strings){0};
}

static enum rb_status add_to_list(struct rb_strings *list, const char *text, struct rb_error *err)
{
    while (*text != '\0') {
        text += strspn(text, " ,");
        size_t length = strcspn(text, ",");
        size_t trimmed = length;
        while (trimmed > 0 && text[trimmed - 1] == ' ')
            trimmed--;
        enum rb_status status = trimmed > 0 ? append(list, text, trimmed, err) : RB_OK;
        if (status != RB_OK)
            return status;
        text += length;
    }
    return RB_OK;
}

/* ---- all of them ---- */

static void *field_of(const struct rb_settings *s, enum rb_option option)
{
    return (char *)s + rb_options[option].offset;
}

enum rb_status rb_option_set(struct rb_settings *s, enum rb_option option, enum rb_origin origin,
                             const char *where, const char *text, struct rb_error *err)
{
    const struct rb_option_row *o = &rb_options[option];
    void *field = field_of(s, option);
    enum rb_status status = RB_OK;
    if (s->origin[option] > origin)
        return RB_OK;
    switch (o->type) {
    case RB_TYPE_STRING:
        status = set_string(field, text, err);
        break;
    case RB_TYPE_LIST:
        if (s->origin[option] < origin)
            clear(field);
        status = add_to_list(field, text, err);
        break;
    case RB_TYPE_COUNT:
    case RB_TYPE_BYTES:
    case RB_TYPE_DURATION:
        status = set_number(field, o, where, text, err);
        break;
    case RB_TYPE_LOG_FORMAT:
        status = set_word(field, rb_log_format_names, where, text, err);
        break;
    case RB_TYPE_LOG_LEVEL:
        status = set_word(field, rb_log_level_names, where, text, err);
        break;
    case RB_TYPE_SANDBOX_MODE:
        status = set_word(field, rb_sandbox_mode_names, where, text, err);
        break;
    case RB_TYPE_EXECUTOR:
        status = set_word(field, rb_executor_kind_names, where, text, err);
        break;
    }
    if (status == RB_OK)
        s->origin[option] = origin;
    return status;
}

void rb_option_write(const struct rb_settings *s, enum rb_option option, FILE *out)
{
    const void *field = field_of(s, option);
    const struct rb_strings *list = field;
    char number[40];
    switch (rb_options[option].type) {
    case RB_TYPE_STRING:
        fputs(*(char *const *)field, out);
        break;
    case RB_TYPE_LIST:
        for (size_t i = 0; i < list->count; i++)
            fprintf(out, "%s%s", i > 0 ? "," : "", list->items[i]);
        break;
    case RB_TYPE_COUNT:
    case RB_TYPE_BYTES:
    case RB_TYPE_DURATION:
        format_number(*(const uint64_t *)field, units_of(rb_options[option].type), number,
                      sizeof number);
        fputs(number, out);
        break;
    case RB_TYPE_LOG_FORMAT:
        fputs(rb_log_format_names[*(const enum rb_log_format *)field], out);
        break;
    case RB_TYPE_LOG_LEVEL:
        fputs(rb_log_level_names[*(const enum rb_log_level *)field], out);
        break;
    case RB_TYPE_SANDBOX_MODE:
        fputs(rb_sandbox_mode_names[*(const enum rb_sandbox_mode *)field], out);
        break;
    case RB_TYPE_EXECUTOR:
        fputs(rb_executor_kind_names[*(const enum rb_executor_kind *)field], out);
        break;
    }
}

void rb_settings_deinit(struct rb_settings *s)
{
    for (enum rb_option i = 0; i < RB_OPTION_COUNT; i++) {
        if (rb_options[i].type == RB_TYPE_STRING)
            free(*(char **)field_of(s, i));
        else if (rb_options[i].type == RB_TYPE_LIST)
            clear(field_of(s, i));
    }
    *s = (struct rb_settings){0};
}
