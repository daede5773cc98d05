/* core/tensor/map.h: read-only file mappings that survive their file; private to core/tensor.
 *
 * DESIGN. A SIGBUS handler may look only at what is always whole: mappings are nodes of one list
 * that grows at its head, is never cut, and is walked without a lock. A closed mapping's node
 * stays in the list with an empty range and is used again, so the list is as long as the largest
 * number of mappings that were ever open at once. */
#ifndef RB_CORE_TENSOR_MAP_H
#define RB_CORE_TENSOR_MAP_H

#include "core/status.h"

#include <stdint.h>
#include <sys/stat.h>

struct rb_map;

/* Maps the whole regular file fd (borrowed); *st is its fstat. An empty file is refused.
 * RB_EIO, RB_ENOMEM. Any thread. The caller owns *ret: rb_map_close. */
enum rb_status rb_map_open(int fd, const struct stat *st, const char *label, struct rb_map **ret,
                           struct rb_error *err) RB_MUST_CHECK;
/* map may be NULL. Nothing may read the mapping any more. */
void rb_map_close(struct rb_map *map);
const unsigned char *rb_map_data(const struct rb_map *map);
uint64_t rb_map_bytes(const struct rb_map *map);
/* Drops the whole pages of [data, data + bytes) from the process, if that is part of this mapping;
 * map may be NULL. */
void rb_map_forget(const struct rb_map *map, const void *data, size_t bytes);
/* Has rb_map_sigbus put zeros where the file was? */
bool rb_map_damaged(const struct rb_map *map);
/* Is *st the file that was mapped, with the size and modification time it had then? */
bool rb_map_same_file(const struct rb_map *map, const struct stat *st);

/* ---- a mapping whose file shrinks under us ----
 * Reading a mapped page beyond the end of a truncated file raises SIGBUS. The process's owner
 * installs rb_map_sigbus as the handler: if the address lies in a mapping made by
 * rb_safetensors_open, a zero page is put there, the mapping is marked damaged, and it returns
 * true; otherwise false (not ours: re-raise). Async-signal-safe. */
bool rb_map_sigbus(void *address);

#endif
