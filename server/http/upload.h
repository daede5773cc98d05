/* server/http/upload.h: a body that becomes a file, in constant memory.
 *
 * DESIGN. Bytes gather in one buffer on the loop thread while a pool thread writes and hashes the
 * other; when both are full the request is held, so a fast client is slowed to the disk's pace and
 * an upload of any size costs two buffers. The file has a temporary name until it was synced, its
 * digest agreed, and `check` (on a pool thread) liked it; then `done` decides on the loop thread
 * what becomes of it. A client that leaves takes the temporary file with it.
 *
 * Loop thread, except where said. */
#ifndef RB_SERVER_HTTP_UPLOAD_H
#define RB_SERVER_HTTP_UPLOAD_H

#include "api/artifact.h"
#include "api/names.h"
#include "server/base/fsutil.h"
#include "server/base/hash.h"
#include "server/http/request.h"
#include "server/store/caches.h"
#include "server/work/pool.h"

enum { RB_UPLOAD_BUFFER_BYTES = 256 * 1024 };

struct rb_upload;

struct rb_upload_ops {
    /* On a pool thread, with the whole file written and synced; NULL: everything is fine. */
    enum rb_status (*check)(struct rb_upload *u, struct rb_error *err);
    /* Everything so far has succeeded. Ends with rb_upload_commit or rb_upload_hand_over. */
    void (*received)(struct rb_upload *u);
    /* After rb_upload_commit succeeded: replies. */
    void (*committed)(struct rb_upload *u);
};

struct rb_upload {
    struct rb_request *r; /* NULL: the client is gone */
    const struct rb_upload_ops *ops;
    char name[RB_NAME_SIZE], file[RB_ARTIFACT_NAME_SIZE]; /* for the ops */

    struct rb_async async;
    struct rb_file_writer writer;
    bool writer_open;
    struct rb_hasher *hash;
    unsigned char digest[RB_SHA256_BYTES]; /* of what arrived, once it all has */
    unsigned char expected[RB_SHA256_BYTES];
    bool has_expected;
    uint64_t bytes;
    unsigned char *buffers[2];   /* with room for one more read of the socket */
    size_t filled;               /* bytes in buffers[0], which gathers */
    size_t flushing;             /* bytes in buffers[1], which is being written */
    bool busy;                   /* the async runs */
    bool ended;                  /* the body is complete */
    bool replaces;               /* after the commit: a file was there before */
    struct rb_file_id committed; /* what the file is now; bytes 0 if that is not known */
    enum rb_status status;       /* of the async */
    struct rb_error error;
};

/* Is there room for the body, as far as its length was announced, below its submitter's limit?
 * RB_ETOOLARGE. */
enum rb_status rb_upload_admit(const struct rb_request *r, struct rb_error *err) RB_MUST_CHECK;
/* For rb_body_stream.begin: opens the temporary file that may become `path` below the data folder.
 * Takes r->data. Replies when that fails, or when Repr-Digest is malformed, and returns NULL. */
struct rb_upload *rb_upload_begin(struct rb_request *r, const char *path,
                                  const struct rb_upload_ops *ops);
/* rb_body_stream.data. */
void rb_upload_data(struct rb_request *r, const void *data, size_t bytes);
/* The route's handler: the body is complete. */
void rb_upload_end(struct rb_request *r);

/* From `received`: makes the folder of the path and moves the file there, then `committed`. */
void rb_upload_commit(struct rb_upload *u);
/* From `received`: gives the temporary file away. path: below the data folder. The upload is freed;
 * r is the caller's to reply to. */
struct rb_request *rb_upload_hand_over(struct rb_upload *u, char path[RB_PATH_SIZE]);
/* From `received` or `committed`: frees the upload, and the temporary file if there is one still.
 * Returns the request, NULL if the client is gone. */
struct rb_request *rb_upload_release(struct rb_upload *u);

#endif
