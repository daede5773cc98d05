/* api/matrix.h: all pairs of some models (METHOD 13), as a sweep (api/sweep.h) over the one member
 * `models`: its values are {"a","b"} in the order of core/align/pairs.h. Pure functions. */
#ifndef RB_API_MATRIX_H
#define RB_API_MATRIX_H

#include "api/encode.h"
#include "api/sweep.h"

enum { RB_MATRIX_MODELS_MAX = 32 };

/* A group's kind. */
#define RB_MATRIX_KIND "matrix"
bool rb_matrix_is(const char *kind);

/* {"models","spec","name","labels"}: models are 2 to RB_MATRIX_MODELS_MAX names, each once; spec
 * has none of its own. The jobs are rb_sweep_specs's to make. RB_EINPUT, RB_ENOMEM. The caller owns
 * *ret: rb_sweep_deinit. */
enum rb_status rb_matrix_decode(const json_t *json, struct rb_sweep *ret,
                                struct rb_problems *problems, struct rb_error *err) RB_MUST_CHECK;

/* Turns a pointer as rb_sweep_place left it ("/grid/models/3/b") into one into a matrix's body
 * ("/models/2"). */
void rb_matrix_place(const json_t *grid, char *pointer, size_t size);

/* How many models a grid is of. */
size_t rb_matrix_models(const json_t *grid);
/* How many of so many models are in the pairs [first, end). */
size_t rb_matrix_among(size_t models, size_t first, size_t end);

/* The name of one of the two models of a pair: side 0 is A, 1 B. Borrowed from grid. */
const char *rb_matrix_model(const json_t *grid, size_t pair, size_t side);
/* {"a","b"} */
void rb_matrix_pair_encode(struct rb_json *w, const char *key, const json_t *grid, size_t pair);

/* {"models":[name, …],"order":[index, …],"barriers":[[…], …]}: barriers (of each pair, NaN: none)
 * by both models, null on the diagonal; order: rb_matrix_order. */
void rb_matrix_encode(struct rb_json *w, const char *key, const json_t *grid,
                      const double *barriers);

/* The models so that close ones stand together: average linkage on the barriers (n, n), symmetric,
 * NaN where unknown, which is farther than all that is known; of two that are as near the first
 * ones; clusters joined by those of their ends that are nearest. n: up to RB_MATRIX_MODELS_MAX. */
void rb_matrix_order(const double *barriers, size_t n, size_t *ret);

#endif
