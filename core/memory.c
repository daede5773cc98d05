#include "core/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20, LARGE = 8 << 20 };

struct rb_scratch_extra {
    struct rb_scratch_extra *next;
    void *memory;
};

void *rb_malloc_aligned(size_t count, size_t size)
{
    size_t bytes;
    void *p;
    if (!rb_mul_size(count, size, &bytes) || bytes > SIZE_MAX - RB_ALIGNMENT)
        return NULL;
    /* whole multiples of RB_ALIGNMENT: a vector read at the end stays inside. Not aligned_alloc:
       C11 wants the size a multiple of the alignment, which costs a huge page. */
    bytes = (bytes + RB_ALIGNMENT - 1) / RB_ALIGNMENT * RB_ALIGNMENT;
    if (posix_memalign(&p, bytes >= LARGE ? HUGE_PAGE : RB_ALIGNMENT,
                       bytes > 0 ? bytes : RB_ALIGNMENT) != 0)
        return NULL;
    if (bytes >= LARGE)
        (void)madvise(p, bytes, MADV_HUGEPAGE); /* fewer page faults; a wish, nothing more */
    return p;
}

void *rb_calloc_aligned(size_t count, size_t size)
{
    void *p = rb_malloc_aligned(count, size);
    if (p != NULL)
        memset(p, 0, count * size);
    return p;
}

void rb_scratch_init(struct rb_scratch *s)
{
    *s = (struct rb_scratch){0};
}

static void free_extra(struct rb_scratch *s)
{
    while (s->extra != NULL) {
        struct rb_scratch_extra *next = s->extra->next;
        free(s->extra->memory);
        free(s->extra);
        s->extra = next;
    }
}

void rb_scratch_deinit(struct rb_scratch *s)
{
    free_extra(s);
    free(s->base);
    *s = (struct rb_scratch){0};
}

void rb_scratch_reset(struct rb_scratch *s)
{
    if (s->extra != NULL) {
        free_extra(s);
        free(s->base);
        s->base = rb_malloc_aligned(s->wanted_bytes, 1);
        s->capacity_bytes = s->base != NULL ? s->wanted_bytes : 0;
    }
    s->used_bytes = 0;
    s->wanted_bytes = 0;
}

void *rb_scratch_alloc(struct rb_scratch *s, size_t count, size_t size)
{
    size_t bytes;
    if (!rb_mul_size(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + RB_ALIGNMENT - 1) / RB_ALIGNMENT * RB_ALIGNMENT;
    s->wanted_bytes += bytes;
    if (bytes <= s->capacity_bytes - s->used_bytes && s->base != NULL) {
        void *p = s->base + s->used_bytes;
        s->used_bytes += bytes;
        return p;
    }
    struct rb_scratch_extra *extra = malloc(sizeof *extra);
    if (extra == NULL)
        return NULL;
    extra->memory = rb_malloc_aligned(bytes, 1);
    if (extra->memory == NULL) {
        free(extra);
        return NULL;
    }
    extra->next = s->extra;
    s->extra = extra;
    return extra->memory;
}
