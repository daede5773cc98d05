/* server/store/token_file.h: a token, and the file of them: read and written whole. */
#ifndef RB_SERVER_STORE_TOKEN_FILE_H
#define RB_SERVER_STORE_TOKEN_FILE_H

#include "server/base/hash.h"
#include "server/base/ids.h"

enum rb_scope { RB_SCOPE_READ = 1, RB_SCOPE_SUBMIT = 2, RB_SCOPE_ADMIN = 4, RB_SCOPE_ALL = 7 };

/* "read,submit" to bits: admin includes submit, submit includes read. RB_EUSAGE naming the word. */
enum rb_status rb_scopes_parse(const char *text, unsigned *ret, struct rb_error *err) RB_MUST_CHECK;
enum { RB_SCOPES_TEXT = 32 };
void rb_scopes_format(unsigned scopes, char ret[RB_SCOPES_TEXT]);

/* 0: no limit. */
struct rb_token_limits {
    uint64_t queued, running; /* jobs */
    uint64_t bytes;           /* of uploads and artifacts */
};

struct rb_token {
    char id[RB_TOKEN_ID_TEXT]; /* "tok_…"; "tok_file" for --token-file */
    unsigned char sha256[RB_SHA256_BYTES];
    unsigned scopes;
    char name[65];
    int64_t created_at_ms, revoked_at_ms; /* 0: valid */
    int64_t expires_at_ms;                /* 0: never */
    struct rb_token_limits limits;
};

struct rb_token_list {
    struct rb_token *items; /* oldest first */
    size_t count;
};
void rb_token_list_deinit(struct rb_token_list *l);
enum rb_status rb_token_list_add(struct rb_token_list *l, const struct rb_token *token,
                                 struct rb_error *err) RB_MUST_CHECK;

/* No file is an empty list. RB_EUSAGE naming the line that is damaged. */
enum rb_status rb_token_list_read(int root_fd, struct rb_token_list *ret,
                                  struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_token_list_write(int root_fd, const struct rb_token_list *l,
                                   struct rb_error *err) RB_MUST_CHECK;
/* The token whose secret is the first line of the file, as "tok_file" with every scope. */
enum rb_status rb_token_file_read(const char *path, struct rb_token *ret,
                                  struct rb_error *err) RB_MUST_CHECK;

#endif
