/* server/base/config_print.h: the settings and the options as people read them. */
#ifndef RB_SERVER_BASE_CONFIG_PRINT_H
#define RB_SERVER_BASE_CONFIG_PRINT_H

#include "server/base/settings.h"
#include <stdio.h>

/* Every option with value and origin, one a line, in the table's order; the form of a
 * configuration file. */
void rb_settings_print(const struct rb_settings *s, FILE *out);

/* The flags part of --help. */
/* only: the flags to tell of, NULL-terminated; NULL: all. */
void rb_options_help(FILE *out, const char *const *only);

/* The same as a Markdown table for docs/. */
void rb_options_markdown(FILE *out);

#endif
