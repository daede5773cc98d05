/* server/http/common.h: what several handlers do alike. Loop thread only. */
#ifndef RB_SERVER_HTTP_COMMON_H
#define RB_SERVER_HTTP_COMMON_H

#include "api/encode.h"
#include "api/page.h"
#include "server/base/layout.h"
#include "server/http/request.h"
#include "server/store/jobs.h"

/* ---- pages ---- */

enum { RB_PAGE_SCOPE_SIZE = 768 };

struct rb_page_request {
    uint32_t limit;
    bool has_after;
    struct rb_page_position after;
    char scope[RB_PAGE_SCOPE_SIZE];
};

/* Reads limit and page_token of the list `list` ("models"); its scope is that and every other
 * query parameter. False: an error has been replied. */
bool rb_page_request_read(struct rb_request *r, const char *list, struct rb_page_request *ret);
/* Ends the page in w and replies it; next NULL: it is the last one. */
void rb_page_reply(struct rb_request *r, struct rb_json *w, const struct rb_page_request *page,
                   const struct rb_page_position *next);

/* How a list gives a page: of rows that are read, with one more than is shown, which says whether
 * there is a next page. context: what the caller gave rb_page_reply_list. */
struct rb_page_list {
    const char *name;
    enum rb_status (*read)(struct rb_request *r, const void *context,
                           const struct rb_page_request *page, uint32_t limit, void **ret_rows,
                           size_t *ret_count, struct rb_error *err);
    /* The position of row i: the next page begins behind it. */
    void (*position)(const void *context, const void *rows, size_t i, struct rb_page_position *ret);
    /* Appends row i; may take it. */
    enum rb_status (*encode)(struct rb_request *r, const void *context, struct rb_json *w,
                             void *rows, size_t i, struct rb_error *err);
    void (*rows_free)(const void *context, void *rows, size_t count);
};

/* Replies the page that the request asks for. */
void rb_page_reply_list(struct rb_request *r, const struct rb_page_list *list, const void *context);

/* ---- jobs ---- */

/* The job that {id} names, as the store has it and with what only memory knows. False: 404 or an
 * error has been replied. The caller owns *ret: rb_job_row_deinit. */
bool rb_job_row_read(struct rb_request *r, struct rb_job_row *ret);
/* Replies the job with ETag, and Retry-After while it is not finished. */
void rb_job_reply(struct rb_request *r, int status, const struct rb_job *job);
/* Its entity tag: "7" for version 7; while it runs "7-120", with what it has done. With quotes;
 * returns tag. */
enum { RB_JOB_TAG_SIZE = 64 };
char *rb_job_tag(const struct rb_job *job, char tag[RB_JOB_TAG_SIZE]);
/* Does If-Match's value name that version, whatever the progress was? */
bool rb_job_tag_matches(const char *if_match, uint64_t version);

/* Which moved model ?model= asks about: its number in the job, 1 where none is named. RB_ENOTFOUND
 * for one that the job does not move. */
enum rb_status rb_request_model(const struct rb_request *r, const struct rb_job *job, size_t *ret,
                                struct rb_error *err) RB_MUST_CHECK;

/* ---- whose ---- */

/* May the request change what is `owner`'s ("": nobody's, then anybody may)? Its own submitter may,
 * and admin. RB_ESCOPE naming the noun ("model 'x'"). */
enum rb_status rb_owner_check(const struct rb_request *r, const char *noun, const char *name,
                              const char *owner, struct rb_error *err) RB_MUST_CHECK;
/* May the request store so many bytes more? RB_ETOOLARGE. */
enum rb_status rb_bytes_check(const struct rb_request *r, uint64_t bytes,
                              struct rb_error *err) RB_MUST_CHECK;
/* ?mine=true: the submitter that a list is filtered by, else NULL. */
const char *rb_request_mine(const struct rb_request *r);

/* If-Match and If-None-Match of a request that changes or deletes something; tag: of what is there,
 * NULL if nothing is. RB_EPRECOND. */
enum rb_status rb_preconditions_check(const struct rb_request *r, const char *tag,
                                      struct rb_error *err) RB_MUST_CHECK;

#endif
