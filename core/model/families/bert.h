/* core/model/families/bert.h: what the families that grew out of BERT share. */
#ifndef RB_CORE_MODEL_FAMILIES_BERT_H
#define RB_CORE_MODEL_FAMILIES_BERT_H

#include "core/model/family.h"

/* BERT's config.json; also the members that RoBERTa's and ELECTRA's have in common with it. */
enum rb_status rb_bert_parse(const char *label, const json_t *json, struct rb_config *ret,
                             struct rb_error *err) RB_MUST_CHECK;

/* What no config says, because all encoders of this kind are so: a norm after each addition,
 * learnt positions, GELU, biases everywhere. */
void rb_encoder_describe(struct rb_config *c);

/* Buffers that checkpoints of BERT, RoBERTa and ELECTRA may hold beside their weights. */
extern const char *const rb_encoder_ignored[];

#endif
