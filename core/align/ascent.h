/* core/align/ascent.h: matching several models with each other (METHOD 13, the universe): maps that
 * maximise the similarity of all pairs, found from maps to the anchor by coordinate ascent.
 *
 * A group's sum over all pairs depends on no other group but, for queries and keys, on their heads:
 * so each group climbs on its own, and METHOD's rounds over all groups are the same ones. */
#ifndef RB_CORE_ALIGN_ASCENT_H
#define RB_CORE_ALIGN_ASCENT_H

#include "core/align/alignment.h"
#include "core/align/shape.h"
#include "core/align/similarity.h"
#include "core/align/turns.h"

/* What an ascent reads and improves. Borrowed. */
struct rb_ascent {
    size_t count;                            /* models; the first is the anchor */
    const struct rb_moments *const *moments; /* of all pairs, by rb_pair_place */
    struct rb_alignment *const *alignments;  /* (count - 1) of models 1, 2 …, equal in layout */
    const struct rb_align_options *options;
    const struct rb_align_shape *shape;
};

/* The taps that a group's similarity is made of, in one pair's moments: taps has room for
 * rb_ascent_taps(shape). */
size_t rb_ascent_taps(const struct rb_align_shape *shape);
struct rb_similarity_source rb_ascent_source(const struct rb_ascent *a, const struct rb_group *g,
                                             const struct rb_moments *m,
                                             const struct rb_tap **taps);

/* Is this group matched on its own? Queries and keys are matched with their heads; a stream that
 * turns is not matched. */
bool rb_ascent_matches(const struct rb_ascent *a, const struct rb_group *g);

/* Climbs with one group (heads: with their queries and keys), in all models. A new map is taken
 * only where it raises the sum. Its score and report are left as they were. RB_ENOMEM,
 * RB_ECANCELED, or as rb_assignment_solve. */
enum rb_status rb_ascent_match(const struct rb_ascent *a, size_t group, struct rb_objective *ret,
                               struct rb_worker *w, struct rb_error *err) RB_MUST_CHECK;
/* In floating-point operations, if it takes four rounds. */
double rb_ascent_cost(size_t count, const struct rb_group *g);

/* The bases inside the heads of one layer (group: its mha), in all models. As rb_turns_ascend. */
enum rb_status rb_ascent_rotate(const struct rb_ascent *a, size_t group, struct rb_worker *w,
                                struct rb_error *err) RB_MUST_CHECK;

#endif
