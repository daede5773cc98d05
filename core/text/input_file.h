/* core/text/input_file.h: small files of a checkpoint folder, read whole; private to core/text. */
#ifndef RB_CORE_TEXT_INPUT_FILE_H
#define RB_CORE_TEXT_INPUT_FILE_H

#include "core/status.h"

#include <jansson.h>

/* A regular file of at most max_bytes, with a NUL behind its bytes; the caller frees *ret.
 * RB_ENOTFOUND, RB_EVOCAB (no regular file, too large, what a failed download left), RB_EIO,
 * RB_ENOMEM. */
enum rb_status rb_input_file_read(const char *path, size_t max_bytes, char **ret, size_t *ret_bytes,
                                  struct rb_error *err) RB_MUST_CHECK;

/* A JSON object from a file of at most 1 MB; integers are reals in it, since transformers writes
 * 10^30 for "no limit". A new reference. RB_EVOCAB for what is no such object. */
enum rb_status rb_input_file_json(const char *path, json_t **ret,
                                  struct rb_error *err) RB_MUST_CHECK;

#endif
