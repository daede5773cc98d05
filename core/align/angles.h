/* core/align/angles.h: by what angles a map turns (for people: how far from the identity it is). */
#ifndef RB_CORE_ALIGN_ANGLES_H
#define RB_CORE_ALIGN_ANGLES_H

#include "core/status.h"

#include <stdint.h>

enum {
    RB_ANGLE_BINS = 36,    /* of 5 degrees */
    RB_ANGLES_MOST = 2048, /* units: a larger one would take minutes of a request */
};

/* What one or more matrices do. */
struct rb_turns {
    uint64_t count;                    /* angles, one per dimension */
    double mean, most;                 /* degrees, 0 … 180; NaN without any */
    uint64_t histogram[RB_ANGLE_BINS]; /* the last bin closed */
    double condition;                  /* the largest condition number; 1 for orthogonal ones */
};
struct rb_turns rb_turns_none(void);

/* Adds those of matrix m (n, n), row-major: the angles of its nearest orthogonal matrix Q, i.e. the
 * arc cosines of the eigenvalues of (Q + Q^T) / 2, each plane's twice. About 26 n^3 operations.
 * RB_ENOMEM, RB_ENUMERIC; ret is then as it was. */
enum rb_status rb_turns_add(struct rb_turns *ret, const float *m, size_t n,
                            struct rb_error *err) RB_MUST_CHECK;

#endif
