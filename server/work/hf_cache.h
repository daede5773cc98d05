/* server/work/hf_cache.h: finds a model in a Hugging Face cache below the import roots.
 *
 * An import root is such a cache if it holds models--org--name folders, or a folder hub with them
 * (what HF_HOME names). The daemon itself never fetches anything. */
#ifndef RB_SERVER_WORK_HF_CACHE_H
#define RB_SERVER_WORK_HF_CACHE_H

#include "api/hf_name.h"
#include "server/base/config.h"

/* The folder of the snapshot that the name means: of its revision (a commit, or a branch or tag
 * that the cache has a reference for), by default of refs/main. New, free(). What is read on the
 * way is opened below the roots, as imports.h does; the folder is only named, for
 * rb_import_resolve. RB_EINPUT at "/hf" saying what to do, RB_EIO, RB_EFILES, RB_ENOMEM. Any
 * thread; blocks. */
enum rb_status rb_hf_cache_find(const struct rb_strings *roots, const struct rb_hf_name *name,
                                char **ret, struct rb_error *err) RB_MUST_CHECK;

#endif
