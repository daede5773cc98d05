/* server/store/token_file.h: the file "tokens": reading and writing it whole; private to
 * server/store. */
#ifndef RB_SERVER_STORE_TOKEN_FILE_H
#define RB_SERVER_STORE_TOKEN_FILE_H

#include "server/store/tokens.h"

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
