/* api/artifact.h: a file that a job has left. */
#ifndef RB_API_ARTIFACT_H
#define RB_API_ARTIFACT_H

#include "api/encode.h"

enum {
    RB_FILE_NAME_SIZE = 64,     /* one segment of a path */
    RB_ARTIFACT_NAME_SIZE = 96, /* "merged/lambda-0.50/model.safetensors" */
    RB_SHA256_HEX_SIZE = 65
};

struct rb_artifact {
    char name[RB_ARTIFACT_NAME_SIZE]; /* "alignment.safetensors"; in a folder
                                         "merged/lambda-0.50/README.md" */
    uint64_t bytes;
    char sha256[RB_SHA256_HEX_SIZE]; /* lower-case hex; "" while not yet known: null */
};

/* {"name","bytes","sha256","media_type"}. */
void rb_artifact_encode(struct rb_json *w, const char *key, const struct rb_artifact *a);
/* {"data":[…]}: the answer of GET /v1/jobs/{id}/artifacts. */
void rb_artifacts_encode(struct rb_json *w, const struct rb_artifact *items, size_t count);

/* By the name's ending: application/json, text/csv, text/plain, text/markdown,
 * image/svg+xml, else application/octet-stream. */
const char *rb_artifact_media_type(const char *name);
/* May a path segment name an artifact: 1 to 63 of a-z A-Z 0-9 . _ -, not starting with a dot. */
bool rb_artifact_name_valid(const char *name);
/* What a file of a moved model is called, 1 the second model: "alignment.safetensors", from 2 on
 * with the number in it, "alignment-2.safetensors". */
void rb_artifact_of_model(const char *file, size_t model, char ret[RB_FILE_NAME_SIZE]);
/* What stands for a lambda where a checkpoint is merged of three models or more: the i-th list of
 * weights is RB_MERGED_WEIGHTS + i, and called "weights-<i>" where a lambda has its number. */
enum { RB_MERGED_WEIGHTS = 2 };
/* "merged-0.50.safetensors": the lambda with at least two decimals, more where it needs them;
 * "merged-weights-0.safetensors". */
void rb_artifact_merged_name(double lambda, char buffer[RB_ARTIFACT_NAME_SIZE]);
/* "merged/lambda-0.50": the folder with all that belongs to a merged checkpoint. Its files are
 * artifacts called "merged/lambda-0.50/README.md" and so on. */
void rb_artifact_folder_name(double lambda, char buffer[RB_ARTIFACT_NAME_SIZE]);
/* The folder's artifact "merged/lambda-0.50.tar.sha256": the digest of the folder as a tar
 * (server/base/tar.h), in a line as sha256sum writes it. */
void rb_artifact_tar_digest_name(double lambda, char buffer[RB_ARTIFACT_NAME_SIZE]);
/* A lambda as people write it where they name such a folder: "0.5", "0.50", "1e-07", or "weights-1"
 * for what stands for one; (length) characters of text. false for anything else, or outside [0, 1].
 */
bool rb_artifact_lambda_parse(const char *text, size_t length, double *ret);
/* What stands behind an artifact's last slash: the file's own name; borrowed from name. */
const char *rb_artifact_file_name(const char *name);

#endif
