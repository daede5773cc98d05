/* server/work/digests.h: SHA-256 of the files that a model or dataset is made of.
 *
 * Hashing 1 GB takes seconds, so digests of files that have not changed are remembered in the
 * store (caches.h). The work is cut by thread:
 *
 *     rb_digests_scan_…   pool thread   which files, their sizes and times
 *     rb_digests_recall   loop thread   what the store remembers of them
 *     rb_digests_step     pool thread   hashes a piece of the others, time and again, so that
 *                                       another's turn comes in between
 *     rb_digests_remember loop thread   for next time
 */
#ifndef RB_SERVER_WORK_DIGESTS_H
#define RB_SERVER_WORK_DIGESTS_H

#include "server/base/config.h"
#include "server/base/hash.h"
#include "server/store/caches.h"

struct rb_digest_file {
    char *name; /* below the folder; of a single file its path */
    char *path;
    struct rb_file_id id; /* with that path, as it was listed */
    bool member;          /* a part of the checkpoint, not just a file that lies beside it */
    bool weights;         /* such a part, and so perhaps a file of tensors */
    bool known, remembered;
    unsigned char sha256[RB_SHA256_BYTES];
};

/* Zero-initialise. */
struct rb_digests {
    struct rb_digest_file *files; /* sorted by name */
    size_t count;
    struct {                      /* of the file that is being hashed */
        struct rb_hasher *hasher; /* NULL: none is */
        int fd;
        uint64_t offset;
    } present;
};

enum { RB_DIGESTS_PIECE_BYTES = 32 << 20 }; /* a tenth of a second */

/* The files of a checkpoint (rb_checkpoint_files, and its errors). With `everything` all plain
 * files of the folder, whether or not they make a checkpoint. roots: each file must lie below one,
 * links followed (imports.h); NULL: anywhere. */
enum rb_status rb_digests_scan_folder(const char *folder, bool everything,
                                      const struct rb_strings *roots, struct rb_digests *ret,
                                      struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_digests_scan_file(const char *path, struct rb_digests *ret,
                                    struct rb_error *err) RB_MUST_CHECK;
/* A store that fails remembers nothing. */
void rb_digests_recall(struct rb_digests *d, struct rb_store *store);
/* Hashes up to RB_DIGESTS_PIECE_BYTES; *ret_more: there is more to do. Weights are
 * also held against the checksums that their format has (core/tensor/container.h). stop may be
 * NULL. RB_ECANCELED, RB_EIO (also when a file changed meanwhile), RB_ENOMEM, RB_ETORCH. */
enum rb_status rb_digests_step(struct rb_digests *d, const atomic_bool *stop, bool *ret_more,
                               struct rb_error *err) RB_MUST_CHECK;
void rb_digests_remember(struct rb_digests *d, struct rb_store *store);
void rb_digests_deinit(struct rb_digests *d);

/* Of all members. */
uint64_t rb_digests_bytes(const struct rb_digests *d);
/* A file's own digest, or a checkpoint's: that of the text which `sha256sum <members>` prints, so
 * `sha256sum config.json model.safetensors … | sha256sum` says the same (names in byte order). */
void rb_digests_file_hex(const struct rb_digests *d, char ret[RB_SHA256_HEX]);
void rb_digests_model_hex(const struct rb_digests *d, char ret[RB_SHA256_HEX]);

#endif
