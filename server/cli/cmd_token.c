#include "server/cli/commands.h"

#include "api/time.h"
#include "server/base/clock.h"
#include "server/base/config.h"
#include "server/base/fsutil.h"
#include "server/base/layout.h"
#include "server/base/options.h"
#include "server/store/tokens.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char rb_cmd_token_help[] =
    "Usage: rebasind token create [--name NAME] [--scopes SCOPES] [--expires WHEN]\n"
    "                [--queued N] [--running N] [--bytes N] [OPTIONS]\n"
    "       rebasind token list [OPTIONS]\n"
    "       rebasind token revoke ID [OPTIONS]\n"
    "\n"
    "Makes, lists and revokes the tokens of the daemon on --data-dir, which may be running: a\n"
    "change counts from its next request on. SCOPES: read, submit (includes read) or admin\n"
    "(includes both); submit if not given. The token is printed once, alone on standard output,\n"
    "and stored nowhere. Once a token was made, every request needs one.\n"
    "\n"
    "NAME is whose everything is that comes with the token: a person's, say. Scope submit changes\n"
    "what is its own (and what is nobody's), admin everything. WHEN: a number of days (90d) or a\n"
    "time (2027-01-31T00:00:00Z). --queued and --running limit the person's jobs that wait and\n"
    "run, --bytes what they may store (uploads and artifacts; 10GiB); 0, or not given: no limit.\n"
    "\n"
    "Example:\n"
    "  rebasind token create --name ada --expires 90d --data-dir /var/lib/rebasind\n";

struct token_command {
    const char *words[2];
    const char *name, *scopes, *expires;
    const char *queued, *running, *bytes;
    struct rb_settings settings;
    struct rb_arguments arguments;
    FILE *out;
};

static int complain(const struct rb_error *err)
{
    fprintf(stderr, "rebasind: %s\n", err->detail);
    return err->status == RB_EUSAGE ? 2 : 1;
}

/* "90d", or RFC 3339; "": never. */
static enum rb_status read_expiry(const char *text, int64_t *ret, struct rb_error *err)
{
    char *end;
    int64_t time_ms;
    *ret = 0;
    if (text[0] == '\0')
        return RB_OK;
    long days = strtol(text, &end, 10);
    if (end != text && strcmp(end, "d") == 0 && days >= 1 && days <= 36500) {
        *ret = rb_clock_realtime_ms() + days * (int64_t)86400000;
        return RB_OK;
    }
    if (!rb_time_parse(text, strlen(text), &time_ms) || time_ms <= rb_clock_realtime_ms())
        return rb_error_set(err, RB_EUSAGE,
                            "expires: expected days (90d) or a time to come "
                            "(2027-01-31T00:00:00Z), found \"%.40s\"",
                            text);
    *ret = time_ms;
    return RB_OK;
}

static enum rb_status read_asked(const struct token_command *c, struct rb_token *ret,
                                 struct rb_error *err)
{
    struct rb_token t = {.scopes = 0};
    if (strlen(c->name) >= sizeof t.name)
        return rb_error_set(err, RB_EUSAGE, "name: expected at most 64 bytes, found %zu",
                            strlen(c->name));
    (void)snprintf(t.name, sizeof t.name, "%s", c->name);
    enum rb_status status = rb_scopes_parse(c->scopes, &t.scopes, err);
    if (status == RB_OK)
        status = read_expiry(c->expires, &t.expires_at_ms, err);
    if (status == RB_OK)
        status = rb_amount_parse("queued", c->queued, false, &t.limits.queued, err);
    if (status == RB_OK)
        status = rb_amount_parse("running", c->running, false, &t.limits.running, err);
    if (status == RB_OK)
        status = rb_amount_parse("bytes", c->bytes, true, &t.limits.bytes, err);
    if (status == RB_OK)
        *ret = t;
    return status;
}

static int create_token(const struct token_command *c, int root_fd)
{
    struct rb_error err;
    struct rb_token asked, token;
    char secret[RB_TOKEN_TEXT], scopes_text[RB_SCOPES_TEXT];
    if (read_asked(c, &asked, &err) != RB_OK ||
        rb_token_create(root_fd, &asked, &token, secret, &err) != RB_OK)
        return complain(&err);
    fprintf(c->out, "%s\n", secret);
    sodium_memzero(secret, sizeof secret);
    rb_scopes_format(token.scopes, scopes_text);
    fprintf(stderr, "%s: made, scopes %s; this is the only time it is shown\n", token.id,
            scopes_text);
    return fflush(c->out) == 0 ? 0 : 1;
}

static void print_token(const struct token_command *c, const struct rb_token *t)
{
    char database[RB_DATABASE_PATH_SIZE], scopes[RB_SCOPES_TEXT], created[RB_TIME_SIZE],
        used[RB_TIME_SIZE] = "never";
    int64_t used_ms =
        rb_token_last_used_ms(rb_layout_database(c->settings.data_dir, database), t->id);
    rb_scopes_format(t->scopes, scopes);
    (void)rb_time_format(t->created_at_ms, created);
    if (used_ms >= 0)
        (void)rb_time_format(used_ms, used);
    fprintf(c->out, "%-17s %-18s %-24s %-24s %-7s %s\n", t->id, scopes, created, used,
            t->revoked_at_ms != 0                         ? "revoked"
            : rb_token_expired(t, rb_clock_realtime_ms()) ? "expired"
                                                          : "valid",
            t->name);
}

static int list_tokens(const struct token_command *c, int root_fd)
{
    struct rb_error err;
    struct rb_token *tokens;
    size_t count;
    if (rb_tokens_list(root_fd, &tokens, &count, &err) != RB_OK)
        return complain(&err);
    fprintf(c->out, "%-17s %-18s %-24s %-24s %-7s %s\n", "ID", "SCOPES", "CREATED", "LAST USED",
            "STATE", "NAME");
    for (size_t i = 0; i < count; i++)
        print_token(c, &tokens[i]);
    free(tokens);
    return fflush(c->out) == 0 ? 0 : 1;
}

static int revoke_token(const struct token_command *c, int root_fd)
{
    struct rb_error err;
    if (rb_token_revoke(root_fd, c->words[1], &err) != RB_OK)
        return complain(&err);
    fprintf(stderr, "%s: revoked\n", c->words[1]);
    return 0;
}

static const struct {
    const char *word;
    size_t words;
    bool makes_folder;
    int (*run)(const struct token_command *c, int root_fd);
} actions[] = {
    {"create", 1, true, create_token},
    {"list", 1, false, list_tokens},
    {"revoke", 2, false, revoke_token},
};

static int run(const struct token_command *c)
{
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        struct rb_error err;
        int root_fd;
        if (c->arguments.word_count == 0 || strcmp(c->words[0], actions[i].word) != 0 ||
            c->arguments.word_count != actions[i].words)
            continue;
        if (rb_root_open(c->settings.data_dir, actions[i].makes_folder, &root_fd, &err) != RB_OK)
            return complain(&err);
        int code = actions[i].run(c, root_fd);
        (void)close(root_fd);
        return code;
    }
    fputs(rb_cmd_token_help, stderr);
    return 2;
}

int rb_cmd_token(int argc, char *const argv[], FILE *out)
{
    struct rb_error err;
    struct token_command c = {.name = "",
                              .scopes = "submit",
                              .expires = "",
                              .queued = "0",
                              .running = "0",
                              .bytes = "0",
                              .out = out};
    const struct rb_extra_flag flags[] = {
        {.flag = "name", .ret_text = &c.name},
        {.flag = "scopes", .ret_text = &c.scopes},
        {.flag = "expires", .ret_text = &c.expires},
        {.flag = "queued", .ret_text = &c.queued},
        {.flag = "running", .ret_text = &c.running},
        {.flag = "bytes", .ret_text = &c.bytes},
        {.flag = NULL},
    };
    c.arguments = (struct rb_arguments){.flags = flags, .words = c.words, .words_max = 2};
    if (rb_ids_init(&err) != RB_OK ||
        rb_settings_load(argc, argv, NULL, &c.arguments, &c.settings, &err) != RB_OK)
        return complain(&err);
    int code = run(&c);
    rb_settings_deinit(&c.settings);
    return code;
}
