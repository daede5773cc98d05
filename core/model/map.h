/* core/model/map.h: how the units of one axis move (METHOD 5 and 10).
 *
 * A map acts on features, rows of `size` units: first unit index[i] becomes unit i, then it is
 * multiplied by signs[i], then the row is multiplied from the right by F, which is block-diagonal
 * (or one block: dense):
 *
 *     x' = x P S F = x M,         M = P S F
 *
 * A weight's rows make features (x = z W^T), its columns read them (y = x W^T):
 *
 *     rows:     W' = M^T W        columns:  W' = W M^-T
 *
 * so that a map on the rows of one tensor and on the columns of the next changes no function. F^-T
 * is kept beside F; where F is orthogonal they are the same array. Any part may be missing: a map
 * without index, signs and matrices is the identity, and one of all zeroes is that too.
 *
 * Each application stands beside a plain reference in F64 (rb_map_matrix and a triple loop, in
 * tests/unit/test_map.c). Stated tolerance of F32 products of b-wide blocks: 2^-22 sqrt(b) of the
 * sum of the absolute products. */
#ifndef RB_CORE_MODEL_MAP_H
#define RB_CORE_MODEL_MAP_H

#include "core/memory.h"
#include "core/status.h"

enum rb_map_kind { RB_MAP_IDENTITY, RB_MAP_INDEX, RB_MAP_BLOCKS, RB_MAP_DENSE };
extern const char *const rb_map_kind_names[]; /* "identity", "index", "blocks", "dense" */

/* Who fills a map says whether it owns its arrays: those of a group do (rb_map_deinit), those of a
 * motion borrow them. */
struct rb_map {
    uint32_t size;
    uint32_t *index; /* (size) a permutation, or NULL */
    float *signs;    /* (size) 1 or -1, or NULL */
    uint32_t blocks; /* how many blocks F has, each of size / blocks units; 0: no F */
    float *forward;  /* (blocks, b, b) F */
    float *inverse;  /* (blocks, b, b) F^-T; the same pointer as forward where F is orthogonal */
};

enum rb_map_kind rb_map_kind(const struct rb_map *m); /* m may be NULL: the identity */
static inline bool rb_map_is_identity(const struct rb_map *m)
{
    return rb_map_kind(m) == RB_MAP_IDENTITY;
}
/* Frees the arrays of a map that owns them, and clears it. */
void rb_map_deinit(struct rb_map *m);
/* Units that a row of F mixes: size / blocks, 1 without F. */
static inline size_t rb_map_block(const struct rb_map *m)
{
    return m != NULL && m->blocks > 0 ? m->size / m->blocks : 1;
}

/* Brings rows rows[0 … count) of the matrix that a map is applied to into dst (count, columns). */
typedef enum rb_status (*rb_map_reader)(const void *source, const uint32_t *rows, size_t count,
                                        float *dst, struct rb_scratch *scratch,
                                        struct rb_error *err);

/* Rows rows[0 … count) of M^T W, in that order: dst (count, columns). W has m->size rows and is
 * read through `read`; of each block that is asked for, all rows are read. RB_ENOMEM or what the
 * reader says. */
enum rb_status rb_map_rows(const struct rb_map *m, rb_map_reader read, const void *source,
                           const uint32_t *rows, size_t count, size_t columns, float *dst,
                           struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

/* One row's columns before F^-T: dst[j] = signs[j] * src[index[j]]; src is not dst. */
void rb_map_order_columns(const struct rb_map *m, const float *restrict src, float *restrict dst);
/* The rest: x (rows, size) times F^-T, in place. Nothing without F. RB_ENOMEM. */
enum rb_status rb_map_mix_columns(const struct rb_map *m, float *x, size_t rows,
                                  struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;
/* Both: W (rows, size) -> W M^-T, in place. RB_ENOMEM. */
enum rb_status rb_map_columns(const struct rb_map *m, float *w, size_t rows,
                              struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

/* The gains of a norm, a vector that the features are multiplied by: g' = (F o F)^T of the gains in
 * the new order, without signs (METHOD 10: gamma' = (O o O) gamma). Exact for permutations and
 * signs, and where all gains are equal and F is orthogonal. g: (size) in, dst: (size); no overlap.
 */
void rb_map_gains(const struct rb_map *m, const float *g, float *dst);

/* M and M^-T as plain matrices (size, size) in F64: the reference of everything here. */
void rb_map_matrix(const struct rb_map *m, double *ret);
void rb_map_inverse_transposed(const struct rb_map *m, double *ret);

/* x' = x M1 M2, as a new map that owns its arrays. Index vectors stay index vectors and blocks stay
 * blocks where both have the same ones and the second keeps their units together; else it is dense.
 * Products in F64, rounded once. RB_ENOMEM. */
enum rb_status rb_map_compose(const struct rb_map *first, const struct rb_map *second,
                              struct rb_map *ret, struct rb_error *err) RB_MUST_CHECK;
/* M^-1, likewise. RB_ENOMEM. */
enum rb_status rb_map_invert(const struct rb_map *m, struct rb_map *ret,
                             struct rb_error *err) RB_MUST_CHECK;

#endif
