/* server/work/plan.h: what a job will cost, before it runs: operations per phase, memory, disk. */
#ifndef RB_SERVER_WORK_PLAN_H
#define RB_SERVER_WORK_PLAN_H

#include "api/service.h"
#include "core/align/collect_plan.h"
#include "server/work/rates.h"
#include "server/work/subject.h"

struct rb_plan {
    double cost[RB_PHASE_COUNT]; /* core's unit */
    uint32_t evaluations;        /* programs that the evaluating phase runs */
    double saved;                /* cost of those that interpolate.points "auto" spares */
    double optional; /* cost of the blocks behind the first round of evaluate.precision */
    uint32_t width;  /* hidden_size */
    uint64_t peak_bytes, disk_bytes;
    struct rb_collect_split split; /* of the aligning phase, of two models */
    /* Of what jobs of a matrix collect together (share.h): a pair's moments, and what one more
     * model takes meanwhile. */
    uint64_t moments_bytes, model_bytes;
    double features_cost, products_cost; /* of one model; of one pair */
};

/* What pairs and models in one collection take, the process too. */
uint64_t rb_plan_share_bytes(const struct rb_plan *p, size_t models, size_t pairs);

struct rb_plan_sizes {
    uint64_t align_tokens, evaluate_tokens, predicted, merge_tokens;
};
/* Of texts read whole. */
struct rb_plan_sizes rb_plan_sizes_of(const struct rb_subject *s);
/* Guessed from a sample and the rows counted at registration. */
struct rb_plan_sizes rb_plan_sizes_guess(const struct rb_subject *s, const struct rb_places *p,
                                         const struct rb_job_spec *spec);

struct rb_plan_machine {
    unsigned workers;      /* items that run at once, each with scratch of its own */
    uint64_t memory_limit; /* that the job is to stay below, where groups of layers can do that */
};
/* s: models opened. Any thread. */
void rb_plan_make(const struct rb_subject *s, const struct rb_job_spec *spec,
                  const struct rb_plan_sizes *sizes, const struct rb_plan_machine *machine,
                  struct rb_plan *ret);
/* At the rates known, with every worker busy. Loop thread. */
double rb_plan_seconds(const struct rb_plan *plan, const struct rb_rates *rates, unsigned workers);
/* Of one collection of so many models and pairs, which stands for the pairs' own. */
double rb_plan_share_seconds(const struct rb_plan *plan, size_t models, size_t pairs,
                             const struct rb_rates *rates, unsigned workers);
/* If the first round of evaluate.precision suffices; the same without it. */
double rb_plan_least_seconds(const struct rb_plan *plan, const struct rb_rates *rates,
                             unsigned workers);
/* Of what is spared, likewise. */
double rb_plan_saved_seconds(const struct rb_plan *plan, const struct rb_rates *rates,
                             unsigned workers);

#endif
