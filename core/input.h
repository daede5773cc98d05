/* core/input.h: opening what people named: models, vocabularies, texts. A program that may not read
 * everywhere says here how it opens. */
#ifndef RB_CORE_INPUT_H
#define RB_CORE_INPUT_H

#include "core/status.h"

/* Opens path for reading, with open(2)'s flags (0 or O_DIRECTORY) besides O_RDONLY, O_CLOEXEC and
 * O_NONBLOCK: the open of a FIFO would wait for its writer. Links are followed: a Hugging Face
 * cache consists of them. RB_ENOTFOUND, RB_EFILES, RB_EIO, or what the program's own way gives. The
 * caller owns *ret_fd: close(). Any thread. */
enum rb_status rb_input_open(const char *path, int flags, int *ret_fd,
                             struct rb_error *err) RB_MUST_CHECK;

/* Another way than open(2): as rb_input_open, `flags` being all of them. */
typedef enum rb_status rb_input_opener(void *data, const char *path, int flags, int *ret_fd,
                                       struct rb_error *err);
/* Every input of the process is opened so from now on; NULL: by open(2). Not while threads open. */
void rb_input_open_by(rb_input_opener *opener, void *data);

#endif
