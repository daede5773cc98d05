#include "api/reference.h"

static void encode_universe(struct rb_json *w, const struct rb_joint_facts *f)
{
    rb_json_array(w, "objective");
    for (uint32_t r = 0; r <= f->objective.rounds; r++)
        rb_json_number(w, NULL, f->objective.values[r]);
    rb_json_end(w);
    rb_json_uint(w, "rounds", f->objective.rounds);
    rb_json_bool(w, "settled", f->objective.rounds < RB_ASCENT_ROUNDS);
}

static void encode_cycles(struct rb_json *w, const struct rb_joint_facts *f)
{
    if (f->cycles == NULL) {
        rb_json_null(w, "cycle_consistency");
        return;
    }
    rb_json_object(w, "cycle_consistency");
    for (size_t i = 0; i < f->cycle_count; i++)
        rb_json_number(w, f->cycles[i].group, f->cycles[i].share);
    rb_json_end(w);
}

void rb_reference_encode(struct rb_json *w, const char *job, const struct rb_job_spec *spec,
                         const struct rb_joint_facts *f)
{
    static const char *const nothing[] = {"objective", "rounds", "settled"};
    rb_json_object(w, NULL);
    rb_json_string(w, "job", job);
    rb_json_string(w, "reference", rb_reference_names[f->reference]);
    rb_json_array(w, "models");
    for (size_t m = 0; m < rb_job_spec_models(spec); m++)
        rb_json_string(w, NULL, rb_job_spec_model(spec, m));
    rb_json_end(w);
    if (f->reference == RB_REFERENCE_UNIVERSE)
        encode_universe(w, f);
    for (size_t i = 0; i < 3 && f->reference != RB_REFERENCE_UNIVERSE; i++)
        rb_json_null(w, nothing[i]);
    encode_cycles(w, f);
    rb_json_end(w);
}
