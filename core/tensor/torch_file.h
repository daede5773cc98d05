/* core/tensor/torch_file.h: one pytorch_model.bin, as torch.save writes it, read in C by mmap.
 *
 * Both layouts (torch_layout.h) are read strictly; the pickle inside is data and never run
 * (pickle.h). A tensor that lies in its storage row by row is used in place. One that does not
 * (transposed, strided, expanded) is copied once when the file is opened, in the order its shape
 * says; all such copies together may be as large as the file, so that no file can ask for more than
 * it is. Names that all begin with "module." (saved from DataParallel) are given without it. */
#ifndef RB_CORE_TENSOR_TORCH_FILE_H
#define RB_CORE_TENSOR_TORCH_FILE_H

#include "core/tensor/safetensors.h"

struct rb_torch_file {
    char *path;                /* for messages; owned */
    struct rb_tensor *tensors; /* sorted by name (strcmp) */
    size_t tensor_count;
    size_t copied_bytes; /* of tensors that do not lie row by row */
    struct rb_map *map;  /* private to core/tensor from here on; NULL if only parsed */
    char *names;
    unsigned char *copies;
};

/* The whole file in memory, which must outlive *ret. The target of fuzzing.
 * RB_ETORCH with words, RB_ENOMEM. On success the caller owns *ret: rb_torch_file_deinit. */
enum rb_status rb_torch_file_parse(const char *label, const void *data, size_t bytes,
                                   struct rb_torch_file *ret, struct rb_error *err) RB_MUST_CHECK;
/* The same of an open descriptor (borrowed: may be closed afterwards), mapped. Also RB_EIO and
 * RB_ENOTFOUND (not a regular file). */
enum rb_status rb_torch_file_open_fd(int fd, const char *label, struct rb_torch_file *ret,
                                     struct rb_error *err) RB_MUST_CHECK;
void rb_torch_file_deinit(struct rb_torch_file *t);

/* Reads all members of a zip file and compares them with their CRCs; the older layout has none.
 * `stop` is asked between pieces, may be NULL. RB_ETORCH naming the member, RB_ECANCELED, or as
 * opening. */
enum rb_status rb_torch_file_check(int fd, const char *label, bool (*stop)(void *data), void *data,
                                   struct rb_error *err) RB_MUST_CHECK;

#endif
