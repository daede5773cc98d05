/* core/text/bpe_files.h: a byte-level BPE from a checkpoint folder. */
#ifndef RB_CORE_TEXT_BPE_FILES_H
#define RB_CORE_TEXT_BPE_FILES_H

#include "core/status.h"

struct rb_tokenizer;
struct rb_tokenizer_settings;

/* From vocab.json and merges.txt of a checkpoint folder; which rules go with them is the class's
 * matter (tokenizer_settings.h). RB_ENOTFOUND where one is missing, RB_EIO, RB_ENOMEM, RB_EVOCAB
 * naming file and place. */
enum rb_status rb_bpe_open(const char *folder, const struct rb_tokenizer_settings *settings,
                           struct rb_tokenizer **ret, struct rb_error *err) RB_MUST_CHECK;

#endif
