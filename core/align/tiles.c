#include "core/align/tiles.h"
#include "core/model/kernels.h"

#include <cblas.h>
#include <string.h>

enum { TILE_STEP = 16 };

/* Some 0.15 s on one core with AVX-512; each tile lays out all units of B anew, so few are better.
 */
static const double TILE_FLOPS = 3e10;

size_t rb_tile_units(size_t d, size_t rows)
{
    size_t by_cost = (size_t)(TILE_FLOPS / (2.0 * (double)d * (double)(rows > 0 ? rows : 1)));
    size_t quarter = (d + 3) / 4; /* so that a small model keeps more than one core busy */
    size_t n = by_cost < quarter ? by_cost : quarter;
    size_t tiles = n > 0 ? (d + n - 1) / n : d; /* equal ones: no small rest at the end */
    tiles += tiles % 2;                         /* nor an odd one that half the workers wait for */
    n = (d + tiles - 1) / tiles;
    return (n + TILE_STEP - 1) / TILE_STEP * TILE_STEP;
}

enum rb_status rb_tile_add(const struct rb_tile_input *in, const struct rb_tile *tile,
                           struct rb_scratch *scratch, struct rb_error *err)
{
    struct rb_tap *tap = in->tap;
    size_t d = tap->size, at = tile->first * d, n = tile->units * d;
    float *block =
        tap->cross == NULL ? tap->cross_f32 + at : rb_scratch_alloc(scratch, n, sizeof(float));
    if (block == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a block of moments");
    /* here and not at the start: by all threads, and while it is in cache */
    if (in->first_slab && tap->cross != NULL)
        memset(tap->cross + at, 0, n * sizeof *tap->cross);
    if (in->rows == 0 && tap->cross == NULL)
        memset(block, 0, n * sizeof *block);
    if (in->rows == 0)
        return RB_OK;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)tile->units, (int)d, (int)in->rows,
                1.0f, in->features[0] + tile->first, (int)d, in->features[1], (int)d, 0.0f, block,
                (int)d);
    const struct rb_kernels *k = rb_kernels();
    if (tap->cross != NULL)
        k->fold(tap->cross + at, block, n);
    k->add_sums(in->features[0] + tile->first, in->rows, tile->units, d, tap->sum_a + tile->first,
                tap->square_a + tile->first);
    k->add_sums(in->features[1] + tile->first, in->rows, tile->units, d, tap->sum_b + tile->first,
                tap->square_b + tile->first);
    return RB_OK;
}

double rb_tile_cost(const struct rb_tile *tile, size_t d, size_t rows)
{
    return 2.0 * tile->units * (double)d * (double)rows;
}
