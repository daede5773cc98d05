#include "server/store/tokens.h"

#include "server/base/clock.h"
#include "server/base/fsutil.h"
#include "server/base/layout.h"
#include "server/base/log.h"
#include "server/store/query.h"
#include "server/store/token_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOTE_EVERY_MS = 60 * 1000 };

/* By what a file is recognised as changed; replaced whole, it gets another inode. */
struct stamp {
    bool there;
    ino_t inode;
    off_t bytes;
    struct timespec mtime;
};

/* When a token's use was last written to the database. */
struct use {
    char id[RB_TOKEN_ID_TEXT];
    int64_t noted_ms;
};

struct rb_tokens {
    int root_fd;
    char *token_file; /* NULL without */
    bool opened;
    struct rb_token_list list; /* with that of token_file, first */
    struct stamp stamps[2];    /* of "tokens" and token_file when list was read */
    struct use *uses;
    size_t use_count;
};

/* ---- reading ---- */

static struct stamp take_stamp(int root_fd, const char *path)
{
    struct stat st;
    if (fstatat(root_fd, path, &st, 0) != 0)
        return (struct stamp){0};
    return (struct stamp){
        .there = true, .inode = st.st_ino, .bytes = st.st_size, .mtime = st.st_mtim};
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->there == b->there && a->inode == b->inode && a->bytes == b->bytes &&
           a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec;
}

/* Whoever empties or removes the file means that its token opens nothing any more; the token stays
 * in the list as a revoked one, so that the service does not become open to all. */
static enum rb_status read_secret(const struct rb_tokens *t, struct rb_token *ret,
                                  struct rb_error *err)
{
    struct rb_error why;
    if (rb_token_file_read(t->token_file, ret, &why) == RB_OK)
        return RB_OK;
    if (!t->opened) { /* at the start it is a mistake in the configuration */
        *err = why;
        return why.status;
    }
    rb_log_error("the token of --token-file is valid no longer", RB_ERROR_FIELDS(&why));
    *ret = (struct rb_token){
        .id = "tok_file", .name = "token file", .revoked_at_ms = rb_clock_realtime_ms()};
    return RB_OK;
}

static enum rb_status read_both(const struct rb_tokens *t, struct rb_token_list *ret,
                                struct rb_error *err)
{
    struct rb_token secret;
    struct rb_token_list l = {0};
    enum rb_status status = rb_token_list_read(t->root_fd, &l, err);
    if (status == RB_OK && t->token_file != NULL) {
        status = read_secret(t, &secret, err);
        if (status == RB_OK)
            status = rb_token_list_add(&l, &secret, err);
    }
    if (status != RB_OK)
        rb_token_list_deinit(&l);
    else
        *ret = l;
    return status;
}

/* Stamps come before the reading: what changes meanwhile is read again next time. */
static enum rb_status load(struct rb_tokens *t, struct rb_error *err)
{
    struct rb_token_list l;
    t->stamps[0] = take_stamp(t->root_fd, RB_LAYOUT_TOKENS);
    if (t->token_file != NULL)
        t->stamps[1] = take_stamp(AT_FDCWD, t->token_file);
    enum rb_status status = read_both(t, &l, err);
    if (status != RB_OK)
        return status;
    rb_token_list_deinit(&t->list);
    t->list = l;
    return RB_OK;
}

static void refresh(struct rb_tokens *t)
{
    struct stamp now = take_stamp(t->root_fd, RB_LAYOUT_TOKENS);
    struct stamp secret = t->stamps[1];
    struct rb_error err;
    if (t->token_file != NULL)
        secret = take_stamp(AT_FDCWD, t->token_file);
    if (same_stamp(&now, &t->stamps[0]) && same_stamp(&secret, &t->stamps[1]))
        return;
    if (!now.there && t->stamps[0].there) {
        /* Gone, not emptied: forgetting all tokens would open the service. */
        t->stamps[0] = now;
        rb_log_error("the file of tokens has vanished; those read before stay valid");
    } else if (load(t, &err) != RB_OK) {
        rb_log_error("tokens cannot be read; those read before stay valid", RB_ERROR_FIELDS(&err));
    }
}

void rb_tokens_reload(struct rb_tokens *t)
{
    t->stamps[0].bytes = t->stamps[1].bytes = -1;
    refresh(t);
}

enum rb_status rb_tokens_open(int root_fd, const char *token_file, struct rb_tokens **ret,
                              struct rb_error *err)
{
    struct rb_tokens *t = calloc(1, sizeof *t);
    if (t == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the tokens");
    t->root_fd = root_fd;
    enum rb_status status = RB_OK;
    if (token_file != NULL && token_file[0] != '\0') {
        t->token_file = strdup(token_file);
        if (t->token_file == NULL)
            status = rb_error_set(err, RB_ENOMEM, "no memory for the tokens");
    }
    if (status == RB_OK)
        status = load(t, err);
    if (status != RB_OK) {
        rb_tokens_close(t);
        return status;
    }
    t->opened = true;
    *ret = t;
    return RB_OK;
}

void rb_tokens_close(struct rb_tokens *t)
{
    if (t == NULL)
        return;
    rb_token_list_deinit(&t->list);
    free(t->token_file);
    free(t->uses);
    free(t);
}

size_t rb_tokens_count(struct rb_tokens *t)
{
    refresh(t);
    return t->list.count;
}

const struct rb_token *rb_tokens_find(struct rb_tokens *t, const char *text, size_t length)
{
    unsigned char sha256[RB_SHA256_BYTES];
    const struct rb_token *found = NULL;
    refresh(t);
    rb_sha256_of(text, length, sha256);
    /* All are compared, whichever fits. */
    for (size_t i = 0; i < t->list.count; i++)
        if (sodium_memcmp(t->list.items[i].sha256, sha256, sizeof sha256) == 0)
            found = &t->list.items[i];
    return found != NULL && found->revoked_at_ms == 0 ? found : NULL;
}

bool rb_token_expired(const struct rb_token *token, int64_t now_ms)
{
    return token->expires_at_ms != 0 && now_ms >= token->expires_at_ms;
}

bool rb_tokens_valid(struct rb_tokens *t, const char *id)
{
    refresh(t);
    for (size_t i = 0; i < t->list.count; i++)
        if (strcmp(t->list.items[i].id, id) == 0)
            return t->list.items[i].revoked_at_ms == 0 &&
                   !rb_token_expired(&t->list.items[i], rb_clock_realtime_ms());
    return false;
}

/* ---- when they were used ---- */

static struct use *find_use(struct rb_tokens *t, const char *id)
{
    for (size_t i = 0; i < t->use_count; i++)
        if (strcmp(t->uses[i].id, id) == 0)
            return &t->uses[i];
    struct use *larger = realloc(t->uses, (t->use_count + 1) * sizeof *larger);
    if (larger == NULL)
        return NULL;
    t->uses = larger;
    struct use *added = &t->uses[t->use_count++];
    *added = (struct use){.noted_ms = INT64_MIN};
    memcpy(added->id, id, sizeof added->id);
    return added;
}

void rb_token_used(struct rb_tokens *t, struct rb_store *s, const struct rb_token *token,
                   int64_t now_ms)
{
    struct rb_error err;
    struct use *use = find_use(t, token->id);
    if (use == NULL || (use->noted_ms != INT64_MIN && now_ms - use->noted_ms < NOTE_EVERY_MS))
        return;
    use->noted_ms = now_ms; /* also if it fails: not again for each request */
    struct rb_query q;
    rb_query_start(s, "INSERT OR REPLACE INTO token_uses VALUES (?, ?)", &q);
    rb_bind_text(&q, token->id);
    rb_bind_int(&q, now_ms);
    if (rb_store_run(&q, &err) != RB_OK)
        rb_log_warn("a token's use could not be noted", RB_S("token", token->id),
                    RB_ERROR_FIELDS(&err));
}

int64_t rb_token_last_used_ms(const char *path, const char *id)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    int64_t used_ms = -1;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
        sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, "SELECT used_ms FROM token_uses WHERE token = ?", -1, &statement,
                           NULL) == SQLITE_OK &&
        sqlite3_bind_text(statement, 1, id, -1, SQLITE_STATIC) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        used_ms = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    (void)sqlite3_close(db);
    return used_ms;
}

/* ---- changing: the command's side ---- */

static enum rb_status lock_tokens(int root_fd, int *ret_fd, struct rb_error *err)
{
    int fd;
    enum rb_status status = rb_open_beneath(root_fd, RB_LAYOUT_TOKENS_LOCK,
                                            O_RDWR | O_CREAT | O_NOFOLLOW, 0600, &fd, err);
    if (status != RB_OK)
        return status;
    if (flock(fd, LOCK_EX) != 0) {
        status = rb_error_errno(err, errno, RB_LAYOUT_TOKENS_LOCK);
        (void)close(fd);
        return status;
    }
    *ret_fd = fd;
    return RB_OK;
}

static enum rb_status check_name(const char *name, struct rb_error *err)
{
    bool fits = strlen(name) < sizeof((struct rb_token *)0)->name;
    for (const char *c = name; *c != '\0'; c++)
        fits = fits && (unsigned char)*c >= ' ' && *c != 0x7f;
    return fits ? RB_OK
                : rb_error_set(err, RB_EUSAGE,
                               "name: expected at most 64 bytes without control characters");
}

static enum rb_status add_to_file(int root_fd, const struct rb_token *token, struct rb_error *err)
{
    struct rb_token_list l;
    enum rb_status status = rb_token_list_read(root_fd, &l, err);
    if (status != RB_OK)
        return status;
    status = rb_token_list_add(&l, token, err);
    if (status == RB_OK)
        status = rb_token_list_write(root_fd, &l, err);
    rb_token_list_deinit(&l);
    return status;
}

enum rb_status rb_token_create(int root_fd, const struct rb_token *asked, struct rb_token *ret,
                               char ret_secret[RB_TOKEN_TEXT], struct rb_error *err)
{
    int lock = -1;
    char secret[RB_TOKEN_TEXT];
    struct rb_token token = {.scopes = asked->scopes,
                             .created_at_ms = rb_clock_realtime_ms(),
                             .expires_at_ms = asked->expires_at_ms,
                             .limits = asked->limits};
    enum rb_status status = check_name(asked->name, err);
    if (status == RB_OK)
        status = lock_tokens(root_fd, &lock, err);
    if (status != RB_OK)
        return status;
    memcpy(token.name, asked->name, sizeof token.name);
    rb_token_id_make(token.id);
    rb_token_make(secret);
    rb_sha256_of(secret, strlen(secret), token.sha256);
    status = add_to_file(root_fd, &token, err);
    (void)close(lock);
    if (status == RB_OK) {
        *ret = token;
        memcpy(ret_secret, secret, sizeof secret);
    }
    sodium_memzero(secret, sizeof secret);
    return status;
}

static enum rb_status revoke_in_file(int root_fd, const char *id, struct rb_error *err)
{
    struct rb_token_list l;
    bool found = false;
    enum rb_status status = rb_token_list_read(root_fd, &l, err);
    if (status != RB_OK)
        return status;
    for (size_t i = 0; i < l.count; i++) {
        if (strcmp(l.items[i].id, id) != 0)
            continue;
        found = true;
        if (l.items[i].revoked_at_ms == 0)
            l.items[i].revoked_at_ms = rb_clock_realtime_ms();
    }
    if (found)
        status = rb_token_list_write(root_fd, &l, err);
    else
        status = rb_error_set(err, RB_ENOTFOUND,
                              "there is no token %.40s; see `rebasind token list`", id);
    rb_token_list_deinit(&l);
    return status;
}

enum rb_status rb_token_revoke(int root_fd, const char *id, struct rb_error *err)
{
    int lock = -1;
    if (strcmp(id, "tok_file") == 0)
        return rb_error_set(err, RB_EUSAGE,
                            "tok_file is the token of --token-file: change that file");
    enum rb_status status = lock_tokens(root_fd, &lock, err);
    if (status != RB_OK)
        return status;
    status = revoke_in_file(root_fd, id, err);
    (void)close(lock);
    return status;
}

enum rb_status rb_tokens_list(int root_fd, struct rb_token **ret, size_t *ret_count,
                              struct rb_error *err)
{
    struct rb_token_list l;
    enum rb_status status = rb_token_list_read(root_fd, &l, err);
    if (status != RB_OK)
        return status;
    *ret = l.items;
    *ret_count = l.count;
    return RB_OK;
}
