/* core/align/tiles.h: the A x B block of a tap's second moments, some of A's units at a time. */
#ifndef RB_CORE_ALIGN_TILES_H
#define RB_CORE_ALIGN_TILES_H

#include "core/align/moments.h"

struct rb_tile { /* units [first, first + units) of A of the stream-th tap at work */
    uint32_t stream, first, units;
};

/* Units of A that one tile takes of a tap d wide, over so many rows of features. */
size_t rb_tile_units(size_t d, size_t rows);

/* What the tiles of one tap read in one slab: features of both sides, shifted by their pivots. */
struct rb_tile_input {
    struct rb_tap *tap;
    const float *features[2]; /* (rows, size) */
    size_t rows;
    bool first_slab; /* sums begin at 0 */
};

/* Adds a slab's rows to the tile's part of cross, sums and squares of the tap. RB_ENOMEM. */
enum rb_status rb_tile_add(const struct rb_tile_input *in, const struct rb_tile *tile,
                           struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;
/* In floating-point operations. */
double rb_tile_cost(const struct rb_tile *tile, size_t d, size_t rows);

#endif
