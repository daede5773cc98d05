/* core/model/model.h: a checkpoint bound to its family's table. */
#ifndef RB_CORE_MODEL_MODEL_H
#define RB_CORE_MODEL_MODEL_H

#include "core/model/config.h"
#include "core/tensor/checkpoint.h"

struct rb_model {
    const struct rb_family *family;
    struct rb_config config;
    enum rb_head head;
    const struct rb_head_shape *head_shape; /* NULL without a head */
    bool bare;                              /* names without the family's prefix */
    bool unembedding_stored;          /* the unembedding has a tensor of its own and is not tied */
    struct rb_checkpoint checkpoint;  /* owned */
    const struct rb_tensor **tensors; /* [slot * num_hidden_layers + layer]; NULL where absent */
    uint64_t parameters; /* elements of all bound tensors; a tied unembedding counts once */
};

/* Opens the folder, reads its config, binds every tensor of the table and checks its shape and
 * dtype. The head is found from what is stored. RB_UNEMBEDDING_WEIGHT of a tied model is the word
 * embeddings. Errors name the tensor and both shapes: RB_ETENSOR, RB_ESHAPE, RB_ECONFIG, or as
 * rb_checkpoint_open; a float tensor that the table does not know is RB_ETENSOR too (it could
 * not be moved). The caller owns *ret: rb_model_deinit. */
enum rb_status rb_model_open(const char *folder, struct rb_model *ret,
                             struct rb_error *err) RB_MUST_CHECK;
void rb_model_deinit(struct rb_model *m);

/* The stored tensor that holds the slot, NULL if absent; it may hold other slots too (tensors.h
 * reads through the slot's view). layer is 0 for tensors that are not per layer. */
const struct rb_tensor *rb_model_tensor(const struct rb_model *m, enum rb_slot slot,
                                        uint32_t layer);
/* The row that says how the slot lies in that tensor: the word embeddings' for a tied unembedding.
 * NULL if the family has no such tensor. */
const struct rb_tensor_row *rb_model_row(const struct rb_model *m, enum rb_slot slot);
/* Sizes of a slot as its readers see it; a vector has one column. */
void rb_model_size(const struct rb_model *m, enum rb_slot slot, size_t *ret_rows,
                   size_t *ret_columns);

/* What a stored tensor holds. */
enum { RB_PARTS_MAX = 3 };
struct rb_held {
    enum rb_slot slots[RB_PARTS_MAX]; /* in the order of their parts */
    size_t count;                     /* 0: a buffer */
    uint32_t layer;
};
struct rb_held rb_model_held(const struct rb_model *m, const struct rb_tensor *t);

/* The name of a slot's tensor as this checkpoint would spell it. buffer: RB_TENSOR_NAME_MAX. */
enum { RB_TENSOR_NAME_MAX = 160 };
const char *rb_model_name(const struct rb_model *m, enum rb_slot slot, uint32_t layer,
                          char *buffer);

/* Gives back the pages of the tensors of one layer, or of those that belong to none (per_layer
 * false): what was read of them counts as this process's memory until then. */
void rb_model_forget(const struct rb_model *m, bool per_layer, uint32_t layer);

/* Can A and B be merged: same family, same head, every size and choice of the description equal,
 * same stored unembedding. RB_EMODELS naming the member of config.json and both values.
 * Vocabularies are compared by rb_tokenizer_equal. */
enum rb_status rb_models_equal(const struct rb_model *a, const struct rb_model *b,
                               struct rb_error *err) RB_MUST_CHECK;

/* The most common dtype among the weights, by bytes ("F32"); what "source" means for outputs. */
enum rb_dtype rb_model_dtype(const struct rb_model *m);

#endif
