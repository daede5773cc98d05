/* server/cli/run_spec.h: SPEC.json of `rebasind run`: a job whose models and datasets are paths.
 *
 * The engine knows models and datasets by name. So each path gets a name made from its last part,
 * is imported under it into a store of its own, and the job is submitted with the names; what is
 * printed at the end has the paths again. A relative path is looked for from the spec's folder,
 * then from the working directory. A model may be "hf:org/name[@revision]", as when one is
 * registered: it is looked for in a Hugging Face cache. */
#ifndef RB_SERVER_CLI_RUN_SPEC_H
#define RB_SERVER_CLI_RUN_SPEC_H

#include "api/job_spec.h"
#include "api/names.h"
#include "server/base/config.h"

/* One thing to import. Strings owned by struct rb_run_spec. */
struct rb_run_input {
    bool is_model;
    const char *pointer; /* of the spec's member, for errors */
    char name[RB_NAME_SIZE];
    char *path;                    /* where it was found */
    struct rb_dataset_ref dataset; /* how it is read; borrowed from as_given */
};

enum { RB_RUN_INPUTS = RB_MODELS_MAX + 3 }; /* models, texts */

struct rb_run_spec {
    struct rb_job_spec as_given; /* with paths, for the report */
    struct rb_job_spec job;      /* with names, for the engine */
    struct rb_run_input inputs[RB_RUN_INPUTS];
    size_t input_count;
};

/* Reads and checks the file ("-": standard input); sets: (NULL: none) "align.heads=monotonic",
 * members set in what was read, their values JSON, or else a text. roots: the caches of "hf:"
 * models; none: the user's own, by $HF_HUB_CACHE, $HF_HOME, $XDG_CACHE_HOME or $HOME. RB_EINPUT
 * (also a model that no cache has), RB_EJSON, RB_ENOTFOUND (also when a path leads nowhere, naming
 * both places), RB_EIO, RB_ENOMEM. */
enum rb_status rb_run_spec_read(const char *file, const struct rb_words *sets,
                                const struct rb_strings *roots, struct rb_run_spec *ret,
                                struct rb_error *err) RB_MUST_CHECK;
void rb_run_spec_deinit(struct rb_run_spec *s);

#endif
