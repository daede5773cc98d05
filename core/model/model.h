/* core/model/model.h: a checkpoint bound to an architecture's table. */
#ifndef RB_CORE_MODEL_MODEL_H
#define RB_CORE_MODEL_MODEL_H

#include "core/model/arch.h"
#include "core/tensor/checkpoint.h"

struct rb_model {
    const struct rb_architecture *arch;
    struct rb_config config;
    enum rb_head head;
    bool bare;                        /* names without the family prefix */
    bool decoder_stored;              /* the decoder has a tensor of its own and is not tied */
    struct rb_checkpoint checkpoint;  /* owned */
    const struct rb_tensor **tensors; /* [role * num_hidden_layers + layer]; NULL where absent */
    uint64_t parameters; /* elements of all bound tensors; a tied decoder counts once */
};

/* Opens the folder, reads its config, binds every tensor of the table and checks its shape and
 * dtype. The head is found from what is stored. RB_DECODER_WEIGHT of a tied model is the word
 * embeddings. Errors name the tensor and both shapes: RB_ETENSOR, RB_ESHAPE, RB_ECONFIG, or as
 * rb_checkpoint_open; a float tensor that the table does not know is RB_ETENSOR too (it could
 * not be moved). The caller owns *ret: rb_model_deinit. */
enum rb_status rb_model_open(const char *folder, struct rb_model *ret,
                             struct rb_error *err) RB_MUST_CHECK;
void rb_model_deinit(struct rb_model *m);

/* The bound tensor, NULL if absent. layer is 0 for tensors that are not per layer. */
const struct rb_tensor *rb_model_tensor(const struct rb_model *m, enum rb_role role,
                                        uint32_t layer);

/* Can A and B be merged: same family, every size equal, same head, same stored decoder.
 * RB_EMODELS naming the member of config.json and both values. Vocabularies are compared by
 * rb_tokenizer_equal. */
enum rb_status rb_models_equal(const struct rb_model *a, const struct rb_model *b,
                               struct rb_error *err) RB_MUST_CHECK;

/* The most common dtype among the weights, by bytes ("F32"); what "source" means for outputs. */
enum rb_dtype rb_model_dtype(const struct rb_model *m);

#endif
