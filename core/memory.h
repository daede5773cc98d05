/* core/memory.h: checked arithmetic and the memory that numerics use. */
#ifndef RB_CORE_MEMORY_H
#define RB_CORE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* a*b or a+b into *ret; false on overflow, *ret then undefined. */
static inline bool rb_mul_size(size_t a, size_t b, size_t *ret)
{
    return !__builtin_mul_overflow(a, b, ret);
}

static inline bool rb_add_size(size_t a, size_t b, size_t *ret)
{
    return !__builtin_add_overflow(a, b, ret);
}

/* All numeric buffers start on a cache line: BLAS kernels then take the same path every time,
 * which bit-identical results depend on. */
enum { RB_ALIGNMENT = 64 };

/* count elements of `size` bytes, zeroed, on a cache line; NULL when out of memory or on overflow.
 * count or size 0 gives a valid pointer. The caller frees with free(). */
void *rb_calloc_aligned(size_t count, size_t size);
/* The same, not zeroed. */
void *rb_malloc_aligned(size_t count, size_t size);

/* Scratch memory of one worker: a bump allocator that grows to the largest item it has seen and
 * is emptied before each item. Not thread-safe: one per worker. */
struct rb_scratch {
    unsigned char *base;
    size_t capacity_bytes, used_bytes;
    struct rb_scratch_extra *extra; /* overflow blocks of the present item */
    size_t wanted_bytes;            /* what the present item used in all */
};

void rb_scratch_init(struct rb_scratch *s);
void rb_scratch_deinit(struct rb_scratch *s);
/* Forgets all allocations; folds overflow blocks into one larger base. */
void rb_scratch_reset(struct rb_scratch *s);
/* Uninitialised memory on a cache line, valid until reset; NULL when out of memory. */
void *rb_scratch_alloc(struct rb_scratch *s, size_t count, size_t size);

#endif
