/* DESIGN. Each source offers every value it has to rb_option_set, which keeps a value only if no
 * stronger source has given one; so flags, variables and the file can be read in any order, and
 * flags and variables come first because they may name the file. */
#include "server/base/config.h"

#include "api/decode.h"
#include "server/base/addresses.h"
#include "server/base/fsutil.h"
#include "server/base/memory_here.h"
#include "server/base/options.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Words for an unknown flag or key. */
static enum rb_status unknown(const char *kind, const char *found, const char *dashes,
                              struct rb_error *err)
{
    const char *near = rb_enum_nearest(rb_option_flags, found);
    if (near == NULL)
        return rb_error_set(err, RB_EUSAGE, "there is no %s %s%s; see --help", kind, dashes, found);
    return rb_error_set(err, RB_EUSAGE, "there is no %s %s%s; did you mean %s%s?", kind, dashes,
                        found, dashes, near);
}

/* ---- flags ---- */

struct flags {
    int argc, next;
    char *const *argv;
    struct rb_arguments *arguments;
};

static enum rb_status add_word(struct flags *f, const char *word, struct rb_error *err)
{
    struct rb_arguments *a = f->arguments;
    if (a == NULL || a->word_count == a->words_max)
        return rb_error_set(err, RB_EUSAGE, "unexpected argument \"%s\"; see --help", word);
    a->words[a->word_count++] = word;
    return RB_OK;
}

static const struct rb_extra_flag *find_extra(const struct flags *f, const char *name)
{
    const struct rb_extra_flag *e = f->arguments != NULL ? f->arguments->flags : NULL;
    for (; e != NULL && e->flag != NULL; e++)
        if (strcmp(e->flag, name) == 0)
            return e;
    return NULL;
}

/* The value of the flag just read: after "=" or the next argument. */
static enum rb_status take_value(struct flags *f, const char *name, const char *attached,
                                 const char **ret, struct rb_error *err)
{
    if (attached != NULL)
        *ret = attached;
    else if (f->next < f->argc)
        *ret = f->argv[f->next++];
    else
        return rb_error_set(err, RB_EUSAGE, "--%s: expected a value after it", name);
    return RB_OK;
}

static enum rb_status read_extra(struct flags *f, const struct rb_extra_flag *e,
                                 const char *attached, struct rb_error *err)
{
    if (e->ret_text != NULL)
        return take_value(f, e->flag, attached, e->ret_text, err);
    if (e->ret_words != NULL) {
        if (e->ret_words->count == RB_WORDS_MAX)
            return rb_error_set(err, RB_EUSAGE, "--%s: expected at most %d of them", e->flag,
                                RB_WORDS_MAX);
        return take_value(f, e->flag, attached, &e->ret_words->items[e->ret_words->count++], err);
    }
    if (attached != NULL)
        return rb_error_set(err, RB_EUSAGE, "--%s takes no value, found \"%s\"", e->flag, attached);
    *e->ret_given = true;
    return RB_OK;
}

static enum rb_status read_flag(struct flags *f, struct rb_settings *s, const char *argument,
                                struct rb_error *err)
{
    char name[64], where[80];
    size_t length = strcspn(argument, "=");
    if (length >= sizeof name)
        return rb_error_set(err, RB_EUSAGE, "there is no flag --%.60s…; see --help", argument);
    memcpy(name, argument, length);
    name[length] = '\0';
    const char *attached = argument[length] == '=' ? argument + length + 1 : NULL;
    const struct rb_extra_flag *extra = find_extra(f, name);
    if (extra != NULL)
        return read_extra(f, extra, attached, err);
    int option = rb_enum_find(rb_option_flags, name);
    if (option < 0)
        return unknown("flag", name, "--", err);
    const char *value;
    enum rb_status status = take_value(f, name, attached, &value, err);
    if (status != RB_OK)
        return status;
    (void)snprintf(where, sizeof where, "--%s", name);
    return rb_option_set(s, (enum rb_option)option, RB_ORIGIN_FLAG, where, value, err);
}

static enum rb_status read_flags(struct flags *f, struct rb_settings *s, struct rb_error *err)
{
    bool only_words = false;
    while (f->next < f->argc) {
        const char *argument = f->argv[f->next++];
        enum rb_status status = RB_OK;
        if (only_words || argument[0] != '-' || argument[1] == '\0')
            status = add_word(f, argument, err);
        else if (strcmp(argument, "--") == 0)
            only_words = true;
        else if (argument[1] != '-')
            status = rb_error_set(err, RB_EUSAGE, "there is no flag %s; see --help", argument);
        else
            status = read_flag(f, s, argument + 2, err);
        if (status != RB_OK)
            return status;
    }
    return RB_OK;
}

/* ---- variables ---- */

/* Kubernetes tells each container of a service called "rebasind" by such variables. */
static bool is_service_link(const char *name)
{
    return strncmp(name, "REBASIND_SERVICE_", 17) == 0 || strncmp(name, "REBASIND_PORT", 13) == 0;
}

/* "REBASIND_DATA_DIR=…" to "data-dir"; cut if too long to be one of ours. */
static void flag_of_variable(const char *entry, char ret[RB_VARIABLE_SIZE])
{
    size_t i = 0;
    for (entry += strlen("REBASIND_"); entry[i] != '=' && i < RB_VARIABLE_SIZE - 1; i++)
        ret[i] = entry[i] == '_' ? '-' : (char)tolower((unsigned char)entry[i]);
    ret[i] = '\0';
}

static enum rb_status read_variable(struct rb_settings *s, const char *entry, struct rb_error *err)
{
    char flag[RB_VARIABLE_SIZE], name[RB_VARIABLE_SIZE], meant[RB_VARIABLE_SIZE];
    const char *value = strchr(entry, '=');
    if (strncmp(entry, "REBASIND_", 9) != 0 || value == NULL || is_service_link(entry))
        return RB_OK;
    flag_of_variable(entry, flag);
    rb_option_variable(flag, name);
    int option = rb_enum_find(rb_option_flags, flag);
    if (option >= 0)
        return rb_option_set(s, (enum rb_option)option, RB_ORIGIN_ENVIRONMENT, name, value + 1,
                             err);
    const char *near = rb_enum_nearest(rb_option_flags, flag);
    if (near == NULL)
        return rb_error_set(err, RB_EUSAGE, "there is no variable %s; see --help", name);
    rb_option_variable(near, meant);
    return rb_error_set(err, RB_EUSAGE, "there is no variable %s; did you mean %s?", name, meant);
}

/* ---- the file ---- */

static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    return text;
}

static void cut_comment(char *line)
{
    bool quoted = false;
    for (char *c = line; *c != '\0'; c++) {
        quoted = quoted != (*c == '"');
        if (*c == '#' && !quoted && (c == line || isspace((unsigned char)c[-1]))) {
            *c = '\0';
            return;
        }
    }
}

static char *unquote(char *value)
{
    size_t length = strlen(value);
    if (length >= 2 && value[0] == '"' && value[length - 1] == '"') {
        value[length - 1] = '\0';
        value++;
    }
    return value;
}

static enum rb_status read_line(struct rb_settings *s, char *line, const char *where, bool given[],
                                struct rb_error *err)
{
    cut_comment(line);
    char *key = trim(line);
    if (*key == '\0')
        return RB_OK;
    char *equals = strchr(key, '=');
    if (equals == NULL)
        return rb_error_set(err, RB_EUSAGE, "%s: expected key = value, found \"%s\"", where, key);
    *equals = '\0';
    key = trim(key);
    int option = rb_enum_find(rb_option_flags, key);
    if (option < 0) {
        enum rb_status status = unknown("key", key, "", err);
        (void)rb_error_prefix(err, "%s: ", where);
        return status;
    }
    if (option == RB_OPTION_config)
        return rb_error_set(err, RB_EUSAGE, "%s: a configuration file cannot name another", where);
    if (given[option] && rb_options[option].type != RB_TYPE_LIST)
        return rb_error_set(err, RB_EUSAGE, "%s: %s stands here for the second time", where, key);
    given[option] = true;
    return rb_option_set(s, (enum rb_option)option, RB_ORIGIN_FILE, where,
                         unquote(trim(equals + 1)), err);
}

enum { CONFIG_MAX_BYTES = 1 << 20 };

static enum rb_status get_file(const char *path, char **ret, struct rb_error *err)
{
    /* The operator chose it, so it may lie anywhere. */
    int here;
    size_t bytes;
    const char *name = strrchr(path, '/');
    char folder[4096];
    (void)snprintf(folder, sizeof folder, "%.*s", name == NULL ? 1 : (int)(name - path) + 1,
                   name == NULL ? "." : path);
    enum rb_status status = rb_root_open(folder, false, &here, err);
    if (status != RB_OK)
        return status;
    status = rb_file_get(here, name == NULL ? path : name + 1, CONFIG_MAX_BYTES, ret, &bytes, err);
    (void)close(here);
    if (status == RB_OK && strlen(*ret) != bytes) {
        free(*ret);
        return rb_error_set(err, RB_EUSAGE, "%s: expected text, found a zero byte", path);
    }
    return status;
}

static enum rb_status read_file(struct rb_settings *s, const char *path, struct rb_error *err)
{
    char *text;
    bool given[RB_OPTION_COUNT] = {false};
    enum rb_status status = get_file(path, &text, err);
    if (status != RB_OK) {
        (void)rb_error_prefix(err, "configuration file: ");
        return status;
    }
    size_t number = 0;
    for (char *line, *rest = text; status == RB_OK && (line = strsep(&rest, "\n")) != NULL;) {
        char where[512];
        (void)snprintf(where, sizeof where, "%.400s:%zu", path, ++number);
        status = read_line(s, line, where, given, err);
    }
    free(text);
    return status;
}

/* ---- all together ---- */

static enum rb_status set_defaults(struct rb_settings *s, struct rb_error *err)
{
    for (enum rb_option i = 0; i < RB_OPTION_COUNT; i++) {
        enum rb_status status =
            rb_option_set(s, i, RB_ORIGIN_DEFAULT, rb_options[i].flag, rb_options[i].fallback, err);
        if (status != RB_OK)
            return status;
    }
    return RB_OK;
}

static const char *state_directory(char *const environment[])
{
    for (size_t i = 0; environment[i] != NULL; i++)
        if (strncmp(environment[i], "STATE_DIRECTORY=", 16) == 0 && environment[i][16] != '\0')
            return environment[i] + 16;
    return NULL;
}

/* Defaults that depend on where we run. */
static enum rb_status resolve(struct rb_settings *s, char *const environment[],
                              struct rb_error *err)
{
    if (s->workers == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        s->workers = cores > 0 ? (uint64_t)cores : 1;
    }
    if (s->memory_limit == 0)
        s->memory_limit = rb_memory_here();
    if (s->data_dir[0] != '\0')
        return RB_OK;
    const char *state = state_directory(environment);
    char *path = strdup(state != NULL ? state : "./rebasind-data");
    if (path == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the configuration");
    /* systemd lists several folders with colons; the first is ours. */
    if (state != NULL)
        path[strcspn(path, ":")] = '\0';
    free(s->data_dir);
    s->data_dir = path;
    return RB_OK;
}

static enum rb_status load(struct flags *f, char *const environment[], struct rb_settings *s,
                           struct rb_error *err)
{
    enum rb_status status = set_defaults(s, err);
    if (status == RB_OK)
        status = read_flags(f, s, err);
    for (size_t i = 0; status == RB_OK && environment[i] != NULL; i++)
        status = read_variable(s, environment[i], err);
    if (status == RB_OK && s->config[0] != '\0')
        status = read_file(s, s->config, err);
    if (status == RB_OK)
        status = resolve(s, environment, err);
    if (status == RB_OK)
        status = rb_settings_check_addresses(s, err);
    return status;
}

enum rb_status rb_settings_load(int argc, char *const argv[], char *const environment[],
                                struct rb_arguments *arguments, struct rb_settings *ret,
                                struct rb_error *err)
{
    struct rb_settings s = {0};
    struct flags f = {.argc = argc, .next = 1, .argv = argv, .arguments = arguments};
    enum rb_status status = load(&f, environment != NULL ? environment : environ, &s, err);
    if (status != RB_OK) {
        rb_settings_deinit(&s);
        return status;
    }
    *ret = s;
    return RB_OK;
}
