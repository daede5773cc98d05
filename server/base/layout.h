/* server/base/layout.h: every path in the data folder. Nothing else in server/ spells one
 * (tests/house.py holds it).
 *
 *     rebasind.db                        the database, with its -wal and -shm
 *     lock                               held by the process that serves the folder
 *     reserve                            room for the day when the disk is full (room.h)
 *     tokens, tokens.lock                who may do what, and the lock for changing it
 *     tmp/                               files being written, and what waits to be removed;
 *                                        emptied at every start
 *     models/NAME/FILE                   uploaded checkpoints
 *     datasets/NAME/DIGEST               an uploaded text; DIGEST: 16 hex digits of its SHA-256
 *     jobs/ID/FILE                       a job's artifacts
 *     jobs/ID/merged/lambda-0.50/FILE    those of one merged checkpoint, as a folder to use
 *     jobs/ID/merged/lambda-0.50.tar.sha256
 *     cache/moments/KEY.safetensors
 *     cache/kernels/KEY                  which kernel of OpenBLAS is right here (blas_kernel.h)
 *
 * Paths are relative to the data folder, for server/base/fsutil.h; what needs the whole path asks
 * rb_layout_absolute. Functions that fill `buffer` return it; names are checked by whoever takes
 * them from outside (rb_name_valid, rb_job_id_valid, rb_artifact_name_valid). Any thread.
 */
#ifndef RB_SERVER_BASE_LAYOUT_H
#define RB_SERVER_BASE_LAYOUT_H

enum {
    RB_PATH_SIZE = 160,               /* holds every path below the data folder */
    RB_DATABASE_PATH_SIZE = 4096 + 16 /* a data folder's longest path, and the database's name */
};

#define RB_LAYOUT_LOCK "lock"
#define RB_LAYOUT_RESERVE "reserve"
#define RB_LAYOUT_TOKENS "tokens"
#define RB_LAYOUT_TOKENS_LOCK "tokens.lock"
#define RB_LAYOUT_TEMPORARY "tmp"
#define RB_LAYOUT_PROBE "tmp/probe" /* written and synced by readyz */
#define RB_LAYOUT_JOBS "jobs"
#define RB_LAYOUT_MOMENTS "cache/moments"
#define RB_LAYOUT_KERNELS "cache/kernels"

/* A job's artifacts; merged checkpoints are named by rb_artifact_merged_name (api/artifact.h). */
#define RB_FILE_ALIGNMENT "alignment.safetensors"
#define RB_FILE_PERMUTATIONS "permutations.json"
#define RB_FILE_REFERENCE "reference.json"
#define RB_FILE_LEARNING "learning.json"
#define RB_FILE_LEARNING_STATE "learning.state" /* no artifact: what a killed job goes on from */
#define RB_FILE_MERGE "merge.json"
#define RB_FILE_MERGE_STATE "merge.state" /* no artifact: what a killed job goes on from */
#define RB_FILE_MERGE_TUNING "merge.tuning" /* likewise */
#define RB_FILE_BARRIER_JSON "barrier.json"
#define RB_FILE_BARRIER_CSV "barrier.csv"
#define RB_FOLDER_MERGED "merged" /* the folders of all of them */

/* What lies in the folder of a merged checkpoint (rb_artifact_folder_name) beside its config and
 * tokenizer. */
#define RB_FOLDER_WEIGHTS "model.safetensors"
#define RB_FOLDER_CARD "README.md"
#define RB_FOLDER_CURVE "curve.svg"
#define RB_FOLDER_PROVENANCE "rebasind.json"

/* All that a data folder may hold, for whoever made it for a while; ends with NULL. */
extern const char *const rb_layout_all[];

/* The database of the data folder data_dir, by its whole path. */
char *rb_layout_database(const char *data_dir, char buffer[RB_DATABASE_PATH_SIZE]);

/* file NULL: the folder. */
char *rb_layout_job(const char *id, const char *file, char buffer[RB_PATH_SIZE]);
char *rb_layout_model(const char *name, const char *file, char buffer[RB_PATH_SIZE]);
char *rb_layout_dataset(const char *name, const char *file, char buffer[RB_PATH_SIZE]);
/* key: the digest in moments_cache.h. */
char *rb_layout_moments(const char *key, char buffer[RB_PATH_SIZE]);
/* A new name in tmp/. After rb_ids_init. */
char *rb_layout_temporary(char buffer[RB_PATH_SIZE]);

/* The whole path of `below`: new, free(); NULL when out of memory. */
char *rb_layout_absolute(const char *data_dir, const char *below);

#endif
