/* core/align/preset.h: recipes of an alignment by name. What is strongest differs from family to
 * family, as measured on real pairs (docs/experiments.md): a table, a row a family. */
#ifndef RB_CORE_ALIGN_PRESET_H
#define RB_CORE_ALIGN_PRESET_H

#include "core/align/shape.h"

enum rb_preset {
    RB_PRESET_PAPER,  /* the paper's: FF and heads, permuted; the default */
    RB_PRESET_BEST,   /* the strongest one-shot recipe whose certificate is exact */
    RB_PRESET_LEARNED /* that, and its maps are learned */
};
extern const char *const rb_preset_names[]; /* "paper", "best", "learned"; NULL at the end */

/* The options of that preset for a family (config.json's model_type) and a model of it. near: the
 * strongest near-equivalent recipe instead, where norms follow the additions. */
void rb_preset_options(enum rb_preset preset, const char *family,
                       const struct rb_align_shape *shape, bool near, struct rb_align_options *ret);

#endif
