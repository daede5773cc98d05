/* core/align/joint.h: the alignment of several models (METHOD 13): each to the anchor, which is the
 * first, or all to each other (the universe). */
#ifndef RB_CORE_ALIGN_JOINT_H
#define RB_CORE_ALIGN_JOINT_H

#include "core/align/alignment.h"
#include "core/align/turns.h"
#include "core/program.h"

/* Whose moments are needed: every pair's for the universe and for cycles, else the anchor's. In the
 * order of rb_pair_place. */
static inline size_t rb_joint_pairs(size_t models, enum rb_reference reference, bool cycles)
{
    return reference == RB_REFERENCE_UNIVERSE || cycles ? rb_pair_count(models) : models - 1;
}

struct rb_joint_input {
    const struct rb_config *config;
    enum rb_head head;
    enum rb_reference reference;
    bool cycles;  /* of the anchor, too: all other pairs are aligned for them alone */
    size_t count; /* models, 2 at least */
    const struct rb_moments *const *moments; /* (rb_joint_pairs); NULL: a cost is asked for */
    const struct rb_blend_term *terms;       /* (count) as collected; read with rb_align_match */
};

/* How often pairwise maps agree around a triangle: p_ac = p_bc p_ab, over all units and triples;
 * units that change sign must agree in that, too. */
struct rb_cycle {
    char group[32];
    double share; /* NaN: maps that are no permutations */
};

/* What there is to say of all maps together. */
struct rb_joint_facts {
    enum rb_reference reference;
    struct rb_objective objective; /* universe: sum over groups and pairs; rounds 0 else. Bases
                                    * inside heads climb too, but are no part of it */
    struct rb_cycle *cycles;       /* three models or more, where all pairs are aligned */
    size_t cycle_count;
};
void rb_joint_facts_deinit(struct rb_joint_facts *f);

/* A program: every alignment to the anchor (rb_solve), for the universe and for cycles those of
 * all pairs; for the universe then the ascent of each group. Borrows all until freed, but input
 * itself. RB_EMODELS, RB_ENOMEM.
 */
enum rb_status rb_joint_new(const struct rb_joint_input *input, const struct rb_align_options *o,
                            struct rb_program **ret, struct rb_error *err) RB_MUST_CHECK;
/* After it has finished: the alignment of a model (1 … count - 1); the caller owns it. */
struct rb_alignment *rb_joint_take(struct rb_program *p, size_t model);
/* Likewise, once: the caller owns what is in *ret. */
void rb_joint_take_facts(struct rb_program *p, struct rb_joint_facts *ret);
/* Its total_cost before there are moments; 0 without memory. */
double rb_joint_cost(const struct rb_joint_input *input, const struct rb_align_options *o);

#endif
