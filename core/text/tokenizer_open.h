/* core/text/tokenizer_open.h: the tokenizer of a checkpoint folder. */
#ifndef RB_CORE_TEXT_TOKENIZER_OPEN_H
#define RB_CORE_TEXT_TOKENIZER_OPEN_H

#include "core/text/tokenizer.h"

/* From a checkpoint folder. Which files are read is the kind's matter (its header says so).
 * RB_ENOTFOUND, RB_EIO, RB_ENOMEM, RB_EVOCAB naming the file and the member. */
enum rb_status rb_tokenizer_open(const char *folder, struct rb_tokenizer **ret,
                                 struct rb_error *err) RB_MUST_CHECK;

#endif
