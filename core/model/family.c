#include "core/model/family.h"

#include <string.h>

/* By name; one a line. */
static const struct rb_family *const families[] = {
    &rb_family_bert,  &rb_family_camembert, &rb_family_distilbert,  &rb_family_electra,
    &rb_family_gpt2,  &rb_family_gpt_neox,  &rb_family_llama,       &rb_family_olmo2,
    &rb_family_qwen2, &rb_family_roberta,   &rb_family_xlm_roberta, NULL,
};

const struct rb_family *const *rb_families(void)
{
    return families;
}

const struct rb_family *rb_family_find(const char *model_type)
{
    for (size_t i = 0; families[i] != NULL; i++)
        if (strcmp(families[i]->model_type, model_type) == 0)
            return families[i];
    return NULL;
}

const struct rb_tensor_row *rb_family_row(const struct rb_family *f, enum rb_slot slot)
{
    return slot < RB_SLOT_COUNT && f->rows[slot].name != NULL ? &f->rows[slot] : NULL;
}
