/* server/store/tokens.h: who may do what.
 *
 * DESIGN. Tokens live in the text file "tokens" of the data folder, not in the database: `rebasind
 * token create` must work beside a running daemon, and a second process must not write the
 * database (store.h). The file is replaced whole, under flock on "tokens.lock", and the daemon
 * reads it anew when a request finds it changed, so a revocation counts from the next request on.
 * One token a line, tab between: id, SHA-256 of the token in hex, scopes, created, revoked or "-",
 * name, and, where there are any, when it expires and its limits (token_file.h). The secret itself
 * is printed once and stored nowhere. When a token was last used is noted in the database, at most
 * once a minute.
 *
 * 256 random bits need no salt and no slow hash; they are compared in constant time.
 *
 * A service that ever had a token stays closed: when the last one was revoked, or a file vanishes
 * under a running daemon, nobody gets in, rather than everybody.
 */
#ifndef RB_SERVER_STORE_TOKENS_H
#define RB_SERVER_STORE_TOKENS_H

#include "server/store/store.h"
#include "server/store/token_file.h"

struct rb_tokens;

/* The tokens of the data folder root_fd (borrowed), and the one in token_file (NULL or "" none).
 * RB_EUSAGE for a token file whose first line is no token (32 characters at least, no blanks), and
 * for a damaged tokens file, naming the line; RB_EIO, RB_ENOTFOUND. The caller owns *ret. */
enum rb_status rb_tokens_open(int root_fd, const char *token_file, struct rb_tokens **ret,
                              struct rb_error *err) RB_MUST_CHECK;
void rb_tokens_close(struct rb_tokens *t); /* t may be NULL */

/* Tokens there are, revoked ones too: 0 means that the service is open to whoever reaches it.
 * Re-reads the files if they changed. */
size_t rb_tokens_count(struct rb_tokens *t);
/* Reads them again, changed or not (SIGHUP). */
void rb_tokens_reload(struct rb_tokens *t);
/* The valid token whose secret is text (length bytes), or NULL; one that has expired is found, and
 * the caller's to refuse (rb_token_expired). Re-reads the files if they changed;
 * if "tokens" cannot be read, that is logged and what was read last holds; without a readable
 * token_file its token is no longer valid. What is returned lives until
 * the next call of this or rb_tokens_count. Loop thread. */
const struct rb_token *rb_tokens_find(struct rb_tokens *t, const char *text, size_t length);
bool rb_token_expired(const struct rb_token *token, int64_t now_ms);
/* Is the token of that id still valid, and not expired? Re-reads the files if they changed. */
bool rb_tokens_valid(struct rb_tokens *t, const char *id);
/* Notes in the database that it was used now, if the last note is older than a minute. */
void rb_token_used(struct rb_tokens *t, struct rb_store *s, const struct rb_token *token,
                   int64_t now_ms);

/* When the token was last used, -1 if never or not known: read from the database at `path` by a
 * connection of its own that writes nothing. Any process. */
int64_t rb_token_last_used_ms(const char *path, const char *id);

/* For the token command. Of asked: scopes, name, expires_at_ms and limits. The secret goes to
 * ret_secret and nowhere else. */
enum rb_status rb_token_create(int root_fd, const struct rb_token *asked, struct rb_token *ret,
                               char ret_secret[RB_TOKEN_TEXT], struct rb_error *err) RB_MUST_CHECK;
/* By id; revoking twice is fine. RB_ENOTFOUND, RB_EUSAGE for the one of --token-file. */
enum rb_status rb_token_revoke(int root_fd, const char *id, struct rb_error *err) RB_MUST_CHECK;
/* All, revoked too, oldest first. The caller frees *ret with free(). */
enum rb_status rb_tokens_list(int root_fd, struct rb_token **ret, size_t *ret_count,
                              struct rb_error *err) RB_MUST_CHECK;

#endif
