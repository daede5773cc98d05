/* server/base/config.h: the settings (settings.h) from command line, environment and file. */
#ifndef RB_SERVER_BASE_CONFIG_H
#define RB_SERVER_BASE_CONFIG_H

#include "server/base/settings.h"

enum { RB_WORDS_MAX = 32 };
struct rb_words {
    const char *items[RB_WORDS_MAX]; /* borrowed from argv */
    size_t count;
};

/* What a subcommand takes besides the options: flags of its own, and words without dashes. */
struct rb_extra_flag {
    const char *flag;           /* without dashes */
    const char **ret_text;      /* takes a value, borrowed from argv; or */
    bool *ret_given;            /* is a switch; or */
    struct rb_words *ret_words; /* takes a value and may stand several times */
};
struct rb_arguments {
    const struct rb_extra_flag *flags; /* ends with a NULL flag; may be NULL */
    const char **words;                /* (words_max) borrowed from argv */
    size_t words_max, word_count;      /* more words are an error */
};

/* Reads flags (argv[0] is skipped; `--flag value` and `--flag=value`; after `--` all are words),
 * the environment (environ if NULL) and the file. arguments may be NULL: no words, no other flags.
 * Checks every bound, the listen address, prefix, hosts, origins and networks; touches no disk but
 * the configuration file. Variables that Kubernetes makes for a service called rebasind
 * (REBASIND_SERVICE_…, REBASIND_PORT…) are passed over.
 * RB_EUSAGE naming the flag, variable or file:line, what was found and what was expected;
 * RB_ENOTFOUND or RB_EIO for the file; RB_ENOMEM. The caller owns *ret: rb_settings_deinit. */
enum rb_status rb_settings_load(int argc, char *const argv[], char *const environment[],
                                struct rb_arguments *arguments, struct rb_settings *ret,
                                struct rb_error *err) RB_MUST_CHECK;

#endif
