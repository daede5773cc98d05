/* core/merge/write.h: a merged checkpoint at one lambda, written tensor by tensor. */
#ifndef RB_CORE_MERGE_WRITE_H
#define RB_CORE_MERGE_WRITE_H

#include "core/model/blend.h"
#include "core/program.h"

enum rb_output_dtype { RB_OUT_SOURCE, RB_OUT_F32, RB_OUT_F16, RB_OUT_BF16 };
extern const char *const rb_output_dtype_names[]; /* "source", "f32", "f16", "bf16" */

/* A program that writes theta(lambda) to `path` (a .safetensors file; whole or absent). Names are
 * A's; buffers that are not weights are copied from A; a decoder that is no longer tied is written
 * under the name that A's family has for it. metadata goes to __metadata__ beside "format": "pt".
 */
enum rb_status rb_write_new(const struct rb_blend *blend, enum rb_output_dtype dtype,
                            const char *path, const struct rb_metadata *metadata,
                            size_t metadata_count, struct rb_program **ret,
                            struct rb_error *err) RB_MUST_CHECK;

/* The config.json that goes with it: A's, with torch_dtype (and dtype, if A's has one) and, where
 * the decoder was untied, tie_word_embeddings false. New reference. */
json_t *rb_write_config(const struct rb_blend *blend, enum rb_output_dtype dtype);

/* Its total_cost; 0 without memory. */
double rb_write_cost(const struct rb_blend *blend, enum rb_output_dtype dtype);
/* Size of the file it will write. */
uint64_t rb_write_bytes(const struct rb_blend *blend, enum rb_output_dtype dtype);

#endif
