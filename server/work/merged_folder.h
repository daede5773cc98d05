/* server/work/merged_folder.h: a merged checkpoint as a folder that people can use at once:
 * jobs/ID/merged/lambda-0.50 with weights, config, every tokenizer file, a model card, the curve
 * and the provenance; and, beside it, the digest of the folder as a tar.
 *
 * The weights are the flat artifact (merged-0.50.safetensors) under a second name: a link, or a
 * copy where the file system has no links. Above shard_bytes they are copied into shards with an
 * index, as transformers has them. Each file is whole and durable before it is described;
 * what an earlier process has left is written again. */
#ifndef RB_SERVER_WORK_MERGED_FOLDER_H
#define RB_SERVER_WORK_MERGED_FOLDER_H

#include "api/model_card.h"
#include "server/base/tar.h"
#include "server/work/jobdir.h"

enum { RB_FOLDER_SHARDS_MAX = 48, RB_FOLDER_FILES_MAX = 64 };

struct rb_folder_file { /* one that the folder has as it is */
    const char *name, *bytes;
    size_t count;
};

struct rb_merged_folder {
    const struct rb_model_card *card; /* its lambda is the folder's */
    const struct rb_folder_file *files;
    size_t file_count;    /* at most 11 */
    uint64_t shard_bytes; /* RB_SHARD_BYTES */
};

/* Writes the folder of job card->job. ret: its artifacts, room for RB_FOLDER_FILES_MAX. Pool
 * threads; blocks. RB_EIO, RB_EDISKFULL, RB_EFILES, RB_ENOMEM. */
enum rb_status rb_merged_folder_put(const struct rb_work *w, const struct rb_merged_folder *f,
                                    struct rb_artifact ret[RB_FOLDER_FILES_MAX], size_t *ret_count,
                                    struct rb_error *err) RB_MUST_CHECK;

/* The digest of the folder's tar, from the file beside it: what is there says that the folder is
 * whole. RB_ENOTFOUND, RB_EINTERNAL if damaged, RB_EIO. Any thread. */
enum rb_status rb_folder_digest_read(int data_fd, const char *job, double lambda,
                                     unsigned char ret[RB_SHA256_BYTES],
                                     struct rb_error *err) RB_MUST_CHECK;

/* The entries of the tar of one folder among a job's artifacts (count), sorted by name: names from
 * "lambda-0.50/" on, files open. Room for RB_FOLDER_FILES_MAX. 0 entries where there is no such
 * folder. Each file is held against its artifact's size. Any thread. The caller ends with
 * rb_folder_tar_close, also after a failure. */
enum rb_status rb_folder_tar_open(int data_fd, const char *job, double lambda,
                                  const struct rb_artifact *artifacts, size_t count,
                                  struct rb_tar_entry *ret, size_t *ret_count,
                                  struct rb_error *err) RB_MUST_CHECK;
void rb_folder_tar_close(struct rb_tar_entry *entries, size_t count);

#endif
