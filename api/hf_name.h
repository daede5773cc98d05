/* api/hf_name.h: how the Hugging Face Hub names a model, "org/name[@revision]", and how its cache
 * (huggingface_hub's layout) spells that: models--org--name/snapshots/COMMIT. */
#ifndef RB_API_HF_NAME_H
#define RB_API_HF_NAME_H

#include <stdbool.h>

enum { RB_HF_REPOSITORY_SIZE = 200, RB_HF_REVISION_SIZE = 200, RB_HF_NAME_SIZE = 400 };

struct rb_hf_name {
    char repository[RB_HF_REPOSITORY_SIZE]; /* "org/name", or "name" (the Hub's oldest models) */
    char revision[RB_HF_REVISION_SIZE];     /* a commit, branch or tag; "": the default branch */
};

/* What a name consists of, for messages. */
#define RB_HF_NAME_RULE                                                                            \
    "org/name or org/name@revision, each of a-z A-Z 0-9 . _ - without \"--\" or \"..\""
/* false if text is no such name; *ret is then undefined. No part of a name leads anywhere as a
 * path. */
bool rb_hf_name_parse(const char *text, struct rb_hf_name *ret);
/* Is text what a reference of the cache holds, or a snapshot is called: 40 hexadecimal digits? */
bool rb_hf_commit_valid(const char *text);
/* "models--org--name". */
void rb_hf_name_folder(const struct rb_hf_name *name, char ret[RB_HF_NAME_SIZE]);
/* The name of a model that lies at path: ".../models--org--name/snapshots/COMMIT"; false if it does
 * not lie in such a cache. */
bool rb_hf_name_of_path(const char *path, struct rb_hf_name *ret);

#endif
