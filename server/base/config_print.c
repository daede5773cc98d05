/* The options table as people read it. */
#include "server/base/config_print.h"
#include "server/base/options.h"

#include <stdlib.h>
#include <string.h>

static const char *const origin_words[] = {"default", "file", "environment", "flag"};
static const char *const value_words[] = {
    [RB_TYPE_STRING] = "TEXT",     [RB_TYPE_LIST] = "TEXT,…",       [RB_TYPE_COUNT] = "N",
    [RB_TYPE_BYTES] = "SIZE",      [RB_TYPE_DURATION] = "TIME",     [RB_TYPE_LOG_FORMAT] = "FORMAT",
    [RB_TYPE_LOG_LEVEL] = "LEVEL", [RB_TYPE_SANDBOX_MODE] = "MODE", [RB_TYPE_EXECUTOR] = "WHERE",
};

static void print_one(const char *flag, const char *value, const char *origin, FILE *out)
{
    const char *quote = strchr(value, '#') != NULL ? "\"" : ""; /* not a comment */
    int width = fprintf(out, "%s = %s%s%s", flag, quote, value, quote);
    fprintf(out, "%*s# %s\n", width < 47 ? 48 - width : 1, "", origin);
}

void rb_settings_print(const struct rb_settings *s, FILE *out)
{
    for (enum rb_option i = 0; i < RB_OPTION_COUNT; i++) {
        char *text = NULL;
        size_t bytes;
        FILE *line = open_memstream(&text, &bytes);
        if (line == NULL)
            return;
        rb_option_write(s, i, line);
        if (fclose(line) == 0)
            print_one(rb_options[i].flag, text, origin_words[s->origin[i]], out);
        free(text);
    }
}

static bool is_among(const char *const *flags, const char *flag)
{
    for (; flags != NULL && *flags != NULL; flags++)
        if (strcmp(*flags, flag) == 0)
            return true;
    return flags == NULL;
}

void rb_options_help(FILE *out, const char *const *only)
{
    for (enum rb_option i = 0; i < RB_OPTION_COUNT; i++) {
        const struct rb_option_row *o = &rb_options[i];
        if (!is_among(only, o->flag))
            continue;
        fprintf(out, "  --%s %s\n      %s", o->flag, value_words[o->type], o->help);
        if (o->fallback[0] != '\0')
            fprintf(out, " (default %s)", o->fallback);
        fprintf(out, ", e.g. %s\n", o->example);
    }
    fputs("Each can also be set by a variable (REBASIND_DATA_DIR for --data-dir) or in the file\n"
          "named by --config (data-dir = PATH). A flag wins over a variable, that over the file.\n",
          out);
}

void rb_options_markdown(FILE *out)
{
    fputs("| flag and key | variable | default | example | meaning |\n|---|---|---|---|---|\n",
          out);
    for (enum rb_option i = 0; i < RB_OPTION_COUNT; i++) {
        const struct rb_option_row *o = &rb_options[i];
        char variable[RB_VARIABLE_SIZE];
        rb_option_variable(o->flag, variable);
        fprintf(out, "| `%s` | `%s` | %s%s%s | `%s` | %s |\n", o->flag, variable,
                o->fallback[0] != '\0' ? "`" : "", o->fallback, o->fallback[0] != '\0' ? "`" : "",
                o->example, o->help);
    }
}
