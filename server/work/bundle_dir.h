/* server/work/bundle_dir.h: the folder of a bundle (api/bundle.h), which the daemon writes and a
 * node fills. Files are whole or absent (server/base/file.h); a file counts once its seal does.
 *
 *     bundle.json, alignment.safetensors, learning.state    what the unit needs
 *     point-aligned-0003.json                               what a task of "points" gives back
 *     alignment.safetensors, permutations.json, learning.json, merged-….safetensors
 *     FILE.seal                                             of each of these
 *     outcome-0.json, progress-0.json                       of a task
 *     submitted                                             the engine's id of the submission
 *
 * Any thread; blocks on disk. */
#ifndef RB_SERVER_WORK_BUNDLE_DIR_H
#define RB_SERVER_WORK_BUNDLE_DIR_H

#include "api/bundle.h"
#include "api/product.h"
#include "server/base/layout.h"

#define RB_BUNDLE_FILE "bundle.json"
#define RB_BUNDLE_SUBMITTED "submitted"
/* What align and learn give back stands in this folder, apart from what they were given. */
#define RB_BUNDLE_PRODUCTS "products"

/* Names below the bundle's folder; fill and return buffer. */
char *rb_bundle_point_file(uint32_t curve, uint32_t index, char buffer[RB_PATH_SIZE]);
char *rb_bundle_outcome_file(uint32_t task, char buffer[RB_PATH_SIZE]);
char *rb_bundle_progress_file(uint32_t task, char buffer[RB_PATH_SIZE]);
char *rb_bundle_product_file(const char *name, char buffer[RB_PATH_SIZE]);

/* Seals `file` below root_fd, which is whole and synced: seal's bytes and sha256 are set from what
 * the file holds. The failures of server/base/file.h. */
enum rb_status rb_bundle_seal(int root_fd, const char *file, struct rb_seal *seal,
                              struct rb_error *err) RB_MUST_CHECK;
/* Is `file` whole? RB_ENOTFOUND without a seal; RB_EDIGEST naming the file where size or digest are
 * not those of the seal, or the seal is damaged. *ret: the seal. */
enum rb_status rb_bundle_check(int root_fd, const char *file, struct rb_seal *ret,
                               struct rb_error *err) RB_MUST_CHECK;
/* The whole sealed file, at most max_bytes; the caller's: free(). As rb_bundle_check. */
enum rb_status rb_bundle_get(int root_fd, const char *file, size_t max_bytes, char **ret,
                             size_t *ret_bytes, struct rb_seal *ret_seal,
                             struct rb_error *err) RB_MUST_CHECK;
/* Writes and seals a small file. */
enum rb_status rb_bundle_put(int root_fd, const char *file, const void *bytes, size_t count,
                             struct rb_seal *seal, struct rb_error *err) RB_MUST_CHECK;

/* Is that point of the unit's task one of those to be computed? Without a list all are. */
bool rb_bundle_wants_point(const struct rb_bundle *b, uint32_t task, uint32_t curve,
                           uint32_t index);
bool rb_bundle_wants_merged(const struct rb_bundle *b, double lambda);

#endif
