/* server/work/examine.h: what a model folder holds, and what keeps it from being used: the one look
 * that registering, uploading and `rebasind inspect` share. Blocks; any thread. */
#ifndef RB_SERVER_WORK_EXAMINE_H
#define RB_SERVER_WORK_EXAMINE_H

#include "api/model.h"

/* Beside what a client is told. Strings are static or within. */
struct rb_model_facts {
    const char *model_type; /* NULL: the weights could not be opened, and so on to tied */
    const char *head;       /* "masked language model", "classifier", "none" */
    bool has_decoder, tied; /* is the decoder's matrix the word embeddings? */
    size_t tensors, files;  /* of the weights */
};

/* Fills m's sizes, dtype, parameters, note, problems (in words that name files without the folder)
 * and status; name, files, digests, source and times stay. ret_facts may be NULL. RB_OK whatever is
 * wrong with the model; RB_ENOMEM. */
enum rb_status rb_model_examine(const char *folder, struct rb_model_resource *m,
                                struct rb_model_facts *ret_facts,
                                struct rb_error *err) RB_MUST_CHECK;

#endif
