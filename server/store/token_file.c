#include "server/store/token_file.h"

#include "api/time.h"
#include "server/base/fsutil.h"
#include "server/base/layout.h"

#include <sys/stat.h>
#include <fcntl.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOKENS_MAX_BYTES = 16 << 20, SECRET_MIN = 32, SECRET_MAX = 4096 };

static const char first_line[] =
    "# Tokens of rebasind, by `rebasind token`. Remove a line and it is as if it had never been.\n";

/* ---- scopes ---- */

static const struct {
    const char *word;
    unsigned scopes; /* with what it includes */
} scope_words[] = {
    {"read", RB_SCOPE_READ},
    {"submit", RB_SCOPE_SUBMIT | RB_SCOPE_READ},
    {"admin", RB_SCOPE_ALL},
};
enum { SCOPE_COUNT = sizeof scope_words / sizeof scope_words[0] };

static unsigned scope_of(const char *word, size_t length)
{
    for (size_t i = 0; i < SCOPE_COUNT; i++)
        if (strlen(scope_words[i].word) == length &&
            strncmp(scope_words[i].word, word, length) == 0)
            return scope_words[i].scopes;
    return 0;
}

enum rb_status rb_scopes_parse(const char *text, unsigned *ret, struct rb_error *err)
{
    unsigned scopes = 0;
    do {
        size_t length = strcspn(text, ",");
        unsigned found = scope_of(text, length);
        if (found == 0)
            return rb_error_set(err, RB_EUSAGE,
                                "scopes: expected read, submit or admin, with commas between, "
                                "found \"%.*s\"",
                                (int)(length < 64 ? length : 64), text);
        scopes |= found;
        text += length;
    } while (*text++ == ',');
    *ret = scopes;
    return RB_OK;
}

void rb_scopes_format(unsigned scopes, char ret[RB_SCOPES_TEXT])
{
    size_t used = 0;
    ret[0] = '\0';
    for (unsigned i = 0; i < SCOPE_COUNT; i++)
        if ((scopes & 1U << i) != 0)
            used += (size_t)snprintf(ret + used, RB_SCOPES_TEXT - used, "%s%s", used > 0 ? "," : "",
                                     scope_words[i].word);
}

/* ---- lists ---- */

void rb_token_list_deinit(struct rb_token_list *l)
{
    free(l->items);
    *l = (struct rb_token_list){0};
}

enum rb_status rb_token_list_add(struct rb_token_list *l, const struct rb_token *token,
                                 struct rb_error *err)
{
    struct rb_token *larger = realloc(l->items, (l->count + 1) * sizeof *larger);
    if (larger == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the tokens");
    l->items = larger;
    l->items[l->count++] = *token;
    return RB_OK;
}

/* ---- one line: id, digest, scopes, created, revoked, name, and what more there is ----
 * The last, after another tab, is "expires=TIME queued=N running=N bytes=N", as far as there is
 * any; names have no tabs. Lines without it are as they always were. */

static bool parse_time(const char *text, int64_t *ret)
{
    return strcmp(text, "-") == 0 || rb_time_parse(text, strlen(text), ret);
}

static bool parse_count(const char *text, uint64_t *ret)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *ret = value;
    return *end == '\0' && errno == 0 && value <= INT64_MAX;
}

static bool parse_more(char *text, struct rb_token *t)
{
    for (char *word; (word = strsep(&text, " ")) != NULL;) {
        char *value = strchr(word, '=');
        bool fits = false;
        if (value == NULL)
            return false;
        *value++ = '\0';
        if (strcmp(word, "expires") == 0)
            fits = rb_time_parse(value, strlen(value), &t->expires_at_ms);
        else if (strcmp(word, "queued") == 0)
            fits = parse_count(value, &t->limits.queued);
        else if (strcmp(word, "running") == 0)
            fits = parse_count(value, &t->limits.running);
        else if (strcmp(word, "bytes") == 0)
            fits = parse_count(value, &t->limits.bytes);
        if (!fits)
            return false;
    }
    return true;
}

static bool parse_line(char *line, struct rb_token *ret)
{
    char *fields[6];
    struct rb_error ignored;
    struct rb_token t = {0};
    for (size_t i = 0; i < 6; i++) {
        fields[i] = i < 5 ? strsep(&line, "\t") : line;
        if (fields[i] == NULL)
            return false;
    }
    char *more = fields[5], *name = strsep(&more, "\t");
    if (more != NULL && !parse_more(more, &t))
        return false;
    fields[5] = name;
    size_t id_length = strlen(fields[0]), name_length = strlen(fields[5]);
    if (id_length == 0 || id_length >= sizeof t.id || name_length >= sizeof t.name)
        return false;
    memcpy(t.id, fields[0], id_length);
    memcpy(t.name, fields[5], name_length);
    if (!rb_sha256_from_hex(fields[1], t.sha256) ||
        rb_scopes_parse(fields[2], &t.scopes, &ignored) != RB_OK ||
        !parse_time(fields[3], &t.created_at_ms) || !parse_time(fields[4], &t.revoked_at_ms))
        return false;
    *ret = t;
    return true;
}

static void format_time(int64_t ms, char ret[RB_TIME_SIZE])
{
    if (ms != 0)
        (void)rb_time_format(ms, ret);
    else
        (void)snprintf(ret, RB_TIME_SIZE, "-");
}

static void write_count(FILE *out, const char *word, uint64_t value, const char **mark)
{
    if (value == 0)
        return;
    fprintf(out, "%s%s=%llu", *mark, word, (unsigned long long)value);
    *mark = " ";
}

static void write_more(const struct rb_token *t, FILE *out)
{
    const char *mark = "\t";
    char time[RB_TIME_SIZE];
    if (t->expires_at_ms != 0) {
        (void)rb_time_format(t->expires_at_ms, time);
        fprintf(out, "%sexpires=%s", mark, time);
        mark = " ";
    }
    write_count(out, "queued", t->limits.queued, &mark);
    write_count(out, "running", t->limits.running, &mark);
    write_count(out, "bytes", t->limits.bytes, &mark);
}

static void write_line(const struct rb_token *t, FILE *out)
{
    char hex[RB_SHA256_HEX], scopes[RB_SCOPES_TEXT], created[RB_TIME_SIZE], revoked[RB_TIME_SIZE];
    rb_sha256_hex(t->sha256, hex);
    rb_scopes_format(t->scopes, scopes);
    format_time(t->created_at_ms, created);
    format_time(t->revoked_at_ms, revoked);
    fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s", t->id, hex, scopes, created, revoked, t->name);
    write_more(t, out);
    fputc('\n', out);
}

/* ---- the file ---- */

static enum rb_status parse(char *text, struct rb_token_list *l, struct rb_error *err)
{
    size_t number = 0;
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        struct rb_token token;
        number++;
        if (line[0] == '#' || line[0] == '\0')
            continue;
        if (!parse_line(line, &token))
            return rb_error_set(err, RB_EUSAGE,
                                "tokens:%zu: expected id, SHA-256, scopes, created, revoked and "
                                "name, with tabs between",
                                number);
        enum rb_status status = rb_token_list_add(l, &token, err);
        if (status != RB_OK)
            return status;
    }
    return RB_OK;
}

enum rb_status rb_token_list_read(int root_fd, struct rb_token_list *ret, struct rb_error *err)
{
    char *text;
    size_t bytes;
    struct rb_token_list l = {0};
    enum rb_status status =
        rb_file_get(root_fd, RB_LAYOUT_TOKENS, TOKENS_MAX_BYTES, &text, &bytes, err);
    if (status == RB_ENOTFOUND) {
        *ret = l;
        return RB_OK;
    }
    if (status != RB_OK)
        return status;
    status = parse(text, &l, err);
    free(text);
    if (status != RB_OK) {
        rb_token_list_deinit(&l);
        return status;
    }
    *ret = l;
    return RB_OK;
}

enum rb_status rb_token_list_write(int root_fd, const struct rb_token_list *l, struct rb_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the tokens");
    fputs(first_line, out);
    for (size_t i = 0; i < l->count; i++)
        write_line(&l->items[i], out);
    enum rb_status status = RB_OK;
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed)
        status = rb_error_set(err, RB_ENOMEM, "no memory for the tokens");
    else
        status = rb_file_put(root_fd, RB_LAYOUT_TOKENS, text, bytes, err);
    free(text);
    return status;
}

/* ---- --token-file ---- */

static enum rb_status read_secret(FILE *f, const char *path, struct rb_token *t,
                                  struct rb_error *err)
{
    char line[SECRET_MAX + 2];
    if (fgets(line, sizeof line, f) == NULL)
        line[0] = '\0';
    size_t length = strcspn(line, "\r\n");
    line[length] = '\0';
    bool fits = length >= SECRET_MIN && length <= SECRET_MAX;
    for (size_t i = 0; i < length; i++)
        fits = fits && line[i] > ' ' && line[i] < 0x7f;
    if (fits)
        rb_sha256_of(line, length, t->sha256);
    sodium_memzero(line, sizeof line);
    if (!fits)
        return rb_error_set(err, RB_EUSAGE,
                            "token-file: expected a token of at least %d characters without blanks "
                            "in the first line of %s",
                            SECRET_MIN, path);
    return RB_OK;
}

/* A FIFO or a terminal would hold up whoever waits for its first line. */
static enum rb_status open_regular(const char *path, FILE **ret, struct rb_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return rb_error_errno(err, errno, path);
    enum rb_status status = fstat(fd, &st) != 0 ? rb_error_errno(err, errno, path)
                            : S_ISREG(st.st_mode)
                                ? RB_OK
                                : rb_error_set(err, RB_EUSAGE, "%s is no regular file", path);
    *ret = status == RB_OK ? fdopen(fd, "r") : NULL;
    if (status == RB_OK && *ret == NULL)
        status = rb_error_errno(err, errno, path);
    if (status != RB_OK)
        (void)close(fd);
    return status;
}

enum rb_status rb_token_file_read(const char *path, struct rb_token *ret, struct rb_error *err)
{
    struct rb_token t = {.id = "tok_file", .scopes = RB_SCOPE_ALL, .name = "token file"};
    FILE *f = NULL;
    enum rb_status status = open_regular(path, &f, err);
    if (status != RB_OK) {
        (void)rb_error_prefix(err, "token-file: ");
        return status;
    }
    status = read_secret(f, path, &t, err);
    (void)fclose(f);
    if (status == RB_OK)
        *ret = t;
    return status;
}
