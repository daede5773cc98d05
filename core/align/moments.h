/* core/align/moments.h: first and second moments of two models' features on the same tokens
 * (METHOD 2 and 3): per tap the A x B block of second moments, and each side's means and
 * variances; never the 2d x 2d matrix. */
#ifndef RB_CORE_ALIGN_MOMENTS_H
#define RB_CORE_ALIGN_MOMENTS_H

#include "core/align/options.h"
#include "core/model/blend.h"
#include "core/program.h"
#include "core/sequences.h"

enum rb_tap_kind { /* numbers are kept in files: new ones go to the end */
                   RB_TAP_FF,
                   RB_TAP_MHA,
                   RB_TAP_Q,
                   RB_TAP_K,
                   RB_TAP_RESIDUAL,
                   RB_TAP_HEAD,
                   RB_TAP_V,         /* value projections: of grouped queries */
                   RB_TAP_EMBEDDING, /* the E-wide embeddings' norm's output, where E is narrower */
                   RB_TAP_COUNT
};

/* Sums over rows of features shifted by a pivot near their mean, so that F32 products lose
 * nothing: cross[i*d + j] = sum_t (a_ti - pivot_a[i]) (b_tj - pivot_b[j]). */
struct rb_tap {
    char name[32]; /* "layer.3.ff", "layer.3.mha", "layer.3.q", "layer.3.k", "layer.3.v",
                    * "residual.5", "head", "embedding" */
    enum rb_tap_kind kind;
    uint32_t layer;              /* residual: the index 0 … 2L */
    uint32_t size;               /* d */
    double rows;                 /* n */
    double *pivot_a, *pivot_b;   /* (d) */
    double *sum_a, *sum_b;       /* (d) shifted */
    double *square_a, *square_b; /* (d) shifted */
    double *cross;               /* (d, d) shifted; rows: units of A */
    float *cross_f32;            /* instead of cross, when one F32 product made all of it */
};

struct rb_moments {
    struct rb_tap *taps;
    size_t tap_count;
    uint64_t tokens;               /* rows of features by METHOD 2: what the report calls tokens */
    struct rb_safetensors *mapped; /* where the arrays live when loaded; else NULL */
};

/* Which taps an alignment needs, as a bit set of (1 << enum rb_tap_kind). All residual taps come
 * together, so that changing only the strategy finds them in the cache. RB_TAP_V comes with heads;
 * a collection leaves it out where queries are not grouped. */
unsigned rb_taps_needed(const struct rb_align_options *o);

/* cross[i][j], whichever of the two holds it. */
static inline double rb_tap_cross(const struct rb_tap *t, size_t i, size_t j)
{
    size_t at = i * t->size + j;
    return t->cross != NULL ? t->cross[at] : (double)t->cross_f32[at];
}

void rb_moments_free(struct rb_moments *m); /* m may be NULL */
const struct rb_tap *rb_moments_find(const struct rb_moments *m, enum rb_tap_kind kind,
                                     uint32_t layer);

/* As a safetensors file (each array as it is kept, so that a cached run gives the same bits) and
 * back (mapped, not copied). */
enum rb_status rb_moments_save(const struct rb_moments *m, const char *path,
                               struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_moments_load(const char *path, struct rb_moments **ret,
                               struct rb_error *err) RB_MUST_CHECK;

/* The same file, tap by tap: where they are not all in memory at once. m's taps have kind, layer,
 * size and rows when it is opened (narrow: cross products in F32), their arrays when they are put,
 * each once, in any order. m is borrowed until the end; end frees w and leaves no file unless
 * status is RB_OK. */
struct rb_moments_writer;
enum rb_status rb_moments_writer_open(const struct rb_moments *m, bool narrow, const char *path,
                                      struct rb_moments_writer **ret,
                                      struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_moments_writer_put(struct rb_moments_writer *w, size_t tap,
                                     struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_moments_writer_end(struct rb_moments_writer *w, enum rb_status status,
                                     struct rb_error *err) RB_MUST_CHECK;
/* w may be NULL. */
void rb_moments_writer_abort(struct rb_moments_writer *w);

/* Frees a tap's arrays; what it says of itself stays. */
void rb_tap_clear(struct rb_tap *t);
/* The tap's arrays leave memory until they are read again, if they lie in a file. Any thread, also
 * while others read them. */
void rb_moments_forget(const struct rb_moments *m, const struct rb_tap *t);

#endif
