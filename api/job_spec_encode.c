/* A decoded spec as JSON again: every default filled, so that it says all that the job will do. */
#include "api/job_spec.h"
#include "api/job_spec_encode.h"

void rb_labels_encode(struct rb_json *w, const char *key, const struct rb_labels *labels)
{
    rb_json_object(w, key);
    for (size_t i = 0; i < labels->count; i++)
        rb_json_string(w, labels->items[i].key, labels->items[i].value);
    rb_json_end(w);
}

static void encode_numbers(struct rb_json *w, const char *key, const struct rb_numbers *numbers)
{
    rb_json_array(w, key);
    for (size_t i = 0; i < numbers->count; i++)
        rb_json_number(w, NULL, numbers->values[i]);
    rb_json_end(w);
}

static void encode_dataset(struct rb_json *w, const struct rb_dataset_ref *ref)
{
    if (ref->name == NULL)
        return;
    if (!ref->is_path) {
        rb_json_string(w, "dataset", ref->name);
        return;
    }
    rb_json_object(w, "dataset");
    rb_json_string(w, "path", ref->name);
    rb_json_string(w, "format", rb_format_name(ref->format));
    if (ref->text != NULL)
        rb_json_string(w, "text", ref->text);
    if (ref->text_pair != NULL)
        rb_json_string(w, "text_pair", ref->text_pair);
    if (ref->label != NULL)
        rb_json_string(w, "label", ref->label);
    rb_json_end(w);
}

/* What came after the contract's first day stands in a spec only where it is not the default: what
 * is kept of older jobs stays as it was. */
static void encode_grown(struct rb_json *w, const struct rb_align_options *o)
{
    struct rb_align_options plain;
    rb_align_options_default(&plain);
    if (o->head_map != plain.head_map)
        rb_json_string(w, "head_map", rb_head_map_names[o->head_map]);
    if (o->residual_map != plain.residual_map)
        rb_json_string(w, "residual_map", rb_residual_map_names[o->residual_map]);
    if (o->match != plain.match)
        rb_json_string(w, "match", rb_match_names[o->match]);
    if (o->rounds != plain.rounds)
        rb_json_uint(w, "rounds", o->rounds);
    if (o->equivalence != plain.equivalence)
        rb_json_string(w, "equivalence", rb_equivalence_names[o->equivalence]);
    if (o->fold)
        rb_json_bool(w, "fold", true);
    if (o->signed_units)
        rb_json_bool(w, "signed", true);
}

static void encode_learn(struct rb_json *w, const struct rb_learn_spec *l)
{
    const struct rb_learn_options *o = &l->options;
    rb_json_object(w, "learn");
    rb_json_uint(w, "steps", o->steps);
    rb_json_uint(w, "batch_tokens", o->batch_tokens);
    rb_json_number(w, "learning_rate", o->learning_rate);
    rb_json_array(w, "lambda");
    rb_json_number(w, NULL, o->lambda[0]);
    rb_json_number(w, NULL, o->lambda[1]);
    rb_json_end(w);
    rb_json_array(w, "groups");
    for (unsigned i = 0; rb_learn_group_names[i] != NULL; i++)
        if ((l->groups & 1U << i) != 0)
            rb_json_string(w, NULL, rb_learn_group_names[i]);
    rb_json_end(w);
    rb_json_uint(w, "patience", o->patience);
    rb_json_uint(w, "seed", o->seed);
    encode_dataset(w, &l->dataset);
    rb_json_end(w);
}

static void encode_align(struct rb_json *w, const struct rb_align_spec *a)
{
    const struct rb_align_options *o = &a->options;
    rb_json_object(w, "align");
    if (a->from_job != NULL) {
        rb_json_string(w, "from_job", a->from_job);
        rb_json_end(w);
        return;
    }
    rb_json_array(w, "components");
    for (unsigned i = 0; rb_component_names[i] != NULL; i++)
        if ((o->components & 1U << i) != 0)
            rb_json_string(w, NULL, rb_component_names[i]);
    rb_json_end(w);
    rb_json_string(w, "heads", rb_heads_names[o->heads]);
    rb_json_bool(w, "separate_qk", o->separate_qk);
    rb_json_bool(w, "rotate_heads", o->rotate_heads);
    rb_json_string(w, "residual", rb_residual_names[o->residual]);
    rb_json_string(w, "decoder", rb_decoder_names[o->decoder]);
    rb_json_bool(w, "output_head", o->output_head);
    rb_json_string(w, "similarity", rb_similarity_names[o->similarity]);
    rb_json_bool(w, "absolute", o->absolute);
    rb_json_string(w, "pooling", rb_pooling_names[o->pooling]);
    rb_json_bool(w, "special_tokens", o->special_tokens);
    encode_grown(w, o);
    if (a->reference != RB_REFERENCE_ANCHOR)
        rb_json_string(w, "reference", rb_reference_names[a->reference]);
    if (a->cycles)
        rb_json_bool(w, "cycles", true);
    encode_dataset(w, &a->dataset);
    rb_json_uint(w, "max_sequences", a->max_sequences);
    rb_json_uint(w, "max_length", a->max_length);
    if (a->has_learn)
        encode_learn(w, &a->learn);
    rb_json_end(w);
}

static void encode_evaluate(struct rb_json *w, const struct rb_evaluate_spec *e)
{
    const struct rb_evaluate_options *o = &e->options;
    rb_json_object(w, "evaluate");
    rb_json_string(w, "task", rb_task_names[o->task]);
    encode_dataset(w, &e->dataset);
    if (!rb_task_has_labels(o->task)) {
        rb_json_uint(w, "block_size", o->block_size);
        rb_json_uint(w, "max_blocks", o->max_blocks);
        if (o->precision > 0)
            rb_json_number(w, "precision", o->precision);
        if (o->task == RB_TASK_MLM) {
            rb_json_number(w, "mask_probability", o->mask_probability);
            rb_json_uint(w, "seed", o->seed);
        }
    } else {
        rb_json_uint(w, "max_length", o->max_length);
        rb_json_uint(w, "max_examples", o->max_examples);
        rb_json_string(w, "metric", rb_metric_names[o->metric]);
    }
    rb_json_bool(w, "control", o->control);
    rb_json_end(w);
}

static void encode_models(struct rb_json *w, const struct rb_job_spec *s)
{
    rb_json_string(w, s->anchored ? "anchor" : "a", s->model_a);
    if (!s->anchored) {
        rb_json_string(w, "b", s->model_b);
        return;
    }
    rb_json_array(w, "others");
    for (size_t i = 1; i < rb_job_spec_models(s); i++)
        rb_json_string(w, NULL, rb_job_spec_model(s, i));
    rb_json_end(w);
}

static void encode_lists(struct rb_json *w, const char *key, const struct rb_numbers *n,
                         size_t columns)
{
    rb_json_array(w, key);
    for (size_t i = 0; i < n->count; i++) {
        if (i % columns == 0)
            rb_json_array(w, NULL);
        rb_json_number(w, NULL, n->values[i]);
        if ((i + 1) % columns == 0)
            rb_json_end(w);
    }
    rb_json_end(w);
}

static void encode_weights(struct rb_json *w, const struct rb_job_spec *s)
{
    if (s->grid == RB_SIMPLEX_LISTED)
        encode_lists(w, "weights", &s->weights, rb_job_spec_models(s));
    else
        rb_json_string(w, "weights", rb_simplex_names[s->grid]);
    if (s->points > 0)
        rb_json_uint(w, "points", s->points);
}

static void encode_merge(struct rb_json *w, const struct rb_merge_spec *m)
{
    rb_json_object(w, "merge");
    rb_json_string(w, "method", rb_merge_method_names[m->method]);
    if ((m->given & RB_MERGE_GIVEN_FINETUNE) != 0) {
        rb_json_object(w, "finetune");
        rb_json_uint(w, "steps", m->finetune.steps);
        rb_json_number(w, "learning_rate", m->finetune.learning_rate);
        rb_json_uint(w, "tokens", m->finetune.tokens);
        rb_json_end(w);
    }
    encode_dataset(w, &m->dataset);
    rb_json_end(w);
}

void rb_job_spec_encode(struct rb_json *w, const char *key, const struct rb_job_spec *s)
{
    rb_json_object(w, key);
    if (s->name != NULL)
        rb_json_string(w, "name", s->name);
    rb_labels_encode(w, "labels", &s->labels);
    rb_json_int(w, "priority", s->priority);
    rb_json_object(w, "models");
    encode_models(w, s);
    rb_json_end(w);
    encode_align(w, &s->align);
    rb_json_object(w, "interpolate");
    if (rb_job_spec_several(s))
        encode_weights(w, s);
    else if (s->points == RB_POINTS_AUTO)
        rb_json_string(w, "points", "auto");
    else if (s->points > 0)
        rb_json_uint(w, "points", s->points);
    else
        encode_numbers(w, "lambdas", &s->lambdas);
    rb_json_end(w);
    if (s->has_evaluate)
        encode_evaluate(w, &s->evaluate);
    rb_json_object(w, "outputs");
    if (rb_job_spec_several(s))
        encode_lists(w, "merged", &s->merged_weights, rb_job_spec_models(s));
    else
        encode_numbers(w, "merged", &s->merged);
    rb_json_string(w, "dtype", rb_output_dtype_names[s->dtype]);
    rb_json_end(w);
    if ((s->given & RB_SPEC_MERGE) != 0)
        encode_merge(w, &s->merge);
    if (s->executor != RB_SPEC_EXECUTOR_DEFAULT)
        rb_json_string(w, "executor", rb_spec_executor_names[s->executor]);
    rb_json_end(w);
}
