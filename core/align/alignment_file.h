/* core/align/alignment_file.h: an alignment on disk. */
#ifndef RB_CORE_ALIGN_ALIGNMENT_FILE_H
#define RB_CORE_ALIGN_ALIGNMENT_FILE_H

#include "core/align/alignment.h"

/* alignment.safetensors: index vectors and head assignments as I32, rotations and heat maps as F32,
 * all else as JSON in __metadata__. Loading checks everything: each index a permutation, sizes,
 * names. RB_ESAFETENSORS, RB_EIO, RB_ENOMEM, RB_EDISKFULL. */
enum rb_status rb_alignment_save(const struct rb_alignment *a, const char *path,
                                 struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_alignment_load(const char *path, struct rb_alignment **ret,
                                 struct rb_error *err) RB_MUST_CHECK;

#endif
