#include "server/work/subject.h"
#include "core/learn/learn.h"
#include "core/merge/evaluate.h"
#include "core/model/spans.h"
#include "core/input.h"
#include "core/model/finite.h"
#include "core/tensor/map.h"
#include "core/text/tokenizer_open.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SAMPLE_ROWS = 256 };

/* Puts the place in the spec, and what it names, before what core said. */
static enum rb_status blame(struct rb_error *err, const char *pointer, const char *what,
                            const char *name)
{
    assert(err != NULL);
    (void)snprintf(err->pointer, sizeof err->pointer, "%s", pointer);
    return rb_error_prefix(err, "%s '%s': ", what, name);
}

static enum rb_status blame_model(struct rb_error *err, const struct rb_places *p, size_t i)
{
    char room[32];
    return blame(err, rb_job_spec_model_pointer(p->anchored, i, room), "model", p->name[i]);
}

void rb_subject_deinit(struct rb_subject *s)
{
    for (size_t i = 0; i < RB_MODELS_MAX; i++)
        if (s->opened[i])
            rb_model_deinit(&s->model[i]);
    rb_tokenizer_free(s->tokenizer);
    rb_sequences_deinit(&s->align);
    rb_sequences_deinit(&s->evaluate);
    rb_sequences_deinit(&s->learn);
    rb_sequences_deinit(&s->merge);
    rb_sequences_deinit(&s->tune);
    memset(s, 0, sizeof *s);
}

/* The same of a text: what core said begins with the text's name already. */
static enum rb_status blame_text(struct rb_error *err, const char *pointer, const char *name)
{
    size_t bytes = strlen(name);
    assert(err != NULL);
    if (strncmp(err->detail, name, bytes) == 0 && strncmp(err->detail + bytes, ": ", 2) == 0)
        memmove(err->detail, err->detail + bytes + 2, strlen(err->detail + bytes + 2) + 1);
    return blame(err, pointer, "dataset", name);
}

/* ---- models ---- */

static enum rb_status check_vocabulary(const struct rb_subject *s, const struct rb_places *p,
                                       struct rb_error *err)
{
    size_t tokens = rb_tokenizer_vocab_size(s->tokenizer);
    uint32_t rows = s->model[0].config.vocab_size;
    if (tokens <= rows)
        return RB_OK;
    (void)rb_error_set(err, RB_EVOCAB,
                       "the tokenizer has %zu tokens, config.json's vocab_size is %u", tokens,
                       rows);
    return blame_model(err, p, 0);
}

struct rb_learn_text rb_subject_learn_text(const struct rb_subject *s,
                                           const struct rb_sequences *blocks)
{
    bool masked = s->model[0].head == RB_HEAD_MLM;
    return (struct rb_learn_text){
        .blocks = blocks,
        .mask_id = masked ? rb_tokenizer_special(s->tokenizer, RB_SPECIAL_MASK) : -1,
        .mask_vocabulary = (uint32_t)rb_tokenizer_vocab_size(s->tokenizer),
        .mask_probability = RB_LEARN_MASKED,
    };
}

static enum rb_status compare_tokenizer(const struct rb_subject *s, const struct rb_places *p,
                                        size_t i, struct rb_error *err)
{
    struct rb_tokenizer *other = NULL;
    enum rb_status status = rb_tokenizer_open(p->path[i], &other, err);
    if (status != RB_OK)
        return blame_model(err, p, i);
    status = rb_tokenizer_equal(s->tokenizer, other, err);
    rb_tokenizer_free(other);
    if (status == RB_OK)
        return RB_OK;
    (void)snprintf(err->pointer, sizeof err->pointer, "/models");
    return p->models == 2 ? status
                          : rb_error_prefix(err, "models '%s' and '%s': ", p->name[0], p->name[i]);
}

static enum rb_status open_tokenizers(struct rb_subject *s, const struct rb_places *p,
                                      struct rb_error *err)
{
    enum rb_status status = rb_tokenizer_open(p->path[0], &s->tokenizer, err);
    if (status != RB_OK)
        return blame_model(err, p, 0);
    for (size_t i = 1; i < p->models && status == RB_OK; i++)
        status = compare_tokenizer(s, p, i, err);
    const struct rb_config *c = &s->model[0].config;
    if (status == RB_OK && c->has_eos_token)
        rb_tokenizer_default_special(s->tokenizer, RB_SPECIAL_EOS, c->eos_token);
    return status != RB_OK ? status : check_vocabulary(s, p, err);
}

/* Is the i-th model of the first one's shape? */
static enum rb_status compare_models(const struct rb_subject *s, const struct rb_places *p,
                                     size_t i, struct rb_error *err)
{
    enum rb_status status = rb_models_equal(&s->model[0], &s->model[i], err);
    if (status == RB_OK)
        return RB_OK;
    (void)snprintf(err->pointer, sizeof err->pointer, "/models");
    if (p->models == 2)
        return rb_error_prefix(err, "models '%s' (a) and '%s' (b): ", p->name[0], p->name[1]);
    return rb_error_prefix(err, "models '%s' (the anchor, first) and '%s': ", p->name[0],
                           p->name[i]);
}

enum rb_status rb_subject_open_models(struct rb_subject *s, const struct rb_places *p,
                                      struct rb_error *err)
{
    for (size_t i = 0; i < p->models; i++) {
        enum rb_status status = rb_model_open(p->path[i], &s->model[i], err);
        if (status != RB_OK)
            return blame_model(err, p, i);
        s->opened[i] = true;
        s->models = i + 1;
    }
    for (size_t i = 1; i < p->models; i++) {
        enum rb_status status = compare_models(s, p, i, err);
        if (status != RB_OK)
            return status;
    }
    return open_tokenizers(s, p, err);
}

enum rb_status rb_subject_check_finite(const struct rb_subject *s, const struct rb_places *p,
                                       const atomic_bool *stop, struct rb_error *err)
{
    for (size_t i = 0; i < s->models; i++) {
        enum rb_status status = rb_model_check_finite(&s->model[i], stop, err);
        if (status == RB_ENUMERIC)
            return blame_model(err, p, i);
        if (status != RB_OK)
            return status;
    }
    return RB_OK;
}

/* ---- texts ---- */

/* A text mapped for as long as it is read. */
struct text_map {
    struct rb_map *map;
    struct rb_dataset_view view;
};

static enum rb_status text_open(const struct rb_text_place *t, bool labels, struct text_map *ret,
                                struct rb_error *err)
{
    struct stat st;
    int fd;
    enum rb_status status = rb_input_open(t->path, 0, &fd, err);
    if (status != RB_OK)
        return status;
    if (fstat(fd, &st) != 0)
        status = rb_error_errno(err, errno, t->path);
    else if (!S_ISREG(st.st_mode) || st.st_size == 0) /* it was one with a line when it came */
        status = rb_error_set(err, RB_EDATASET, "%s: %s", t->path,
                              S_ISREG(st.st_mode) ? "the file is empty by now"
                                                  : "not a regular file any more");
    else
        status = rb_map_open(fd, &st, t->path, &ret->map, err);
    close(fd);
    if (status != RB_OK)
        return status;
    ret->view = (struct rb_dataset_view){
        .label = t->name,
        .format = t->format,
        .fields = {.text = t->text, .text_pair = t->text_pair, .label = labels ? t->label : NULL},
        .data = (const char *)rb_map_data(ret->map),
        .bytes = (size_t)rb_map_bytes(ret->map),
    };
    return RB_OK;
}

static enum rb_status text_close(struct text_map *m, const struct rb_text_place *t,
                                 enum rb_status status, struct rb_error *err)
{
    bool damaged = rb_map_damaged(m->map);
    rb_map_close(m->map);
    if (damaged)
        return rb_error_set(err, RB_EIO, "%s: was shortened while it was read", t->path);
    return status;
}

static uint32_t at_most(uint32_t asked, enum rb_subject_extent extent)
{
    if (extent == RB_SUBJECT_WHOLE)
        return asked;
    return asked == 0 || asked > SAMPLE_ROWS ? SAMPLE_ROWS : asked;
}

/* Lines as they are aligned on. */
static enum rb_status read_lines(const struct rb_subject *s, const struct rb_text_place *t,
                                 const struct rb_align_spec *o, enum rb_subject_extent extent,
                                 struct rb_sequences *ret, struct rb_error *err)
{
    struct text_map m;
    enum rb_status status = text_open(t, false, &m, err);
    if (status != RB_OK)
        return status;
    status = rb_sequences_from_rows(s->tokenizer, &m.view, at_most(o->max_sequences, extent),
                                    o->max_length, ret, err);
    return text_close(&m, t, status, err);
}

static enum rb_status read_evaluate(struct rb_subject *s, const struct rb_text_place *t,
                                    const struct rb_evaluate_options *o,
                                    enum rb_subject_extent extent, struct rb_error *err)
{
    struct text_map m;
    bool labels = o->task == RB_TASK_CLASSIFICATION || o->task == RB_TASK_REGRESSION;
    enum rb_status status = text_open(t, labels, &m, err);
    if (status != RB_OK)
        return status;
    /* A sample of one block is masked throughout, or it might happen to predict nothing. */
    bool whole = extent == RB_SUBJECT_WHOLE;
    if (o->task == RB_TASK_MLM)
        status = rb_sequences_mlm(s->tokenizer, &m.view, o->block_size, whole ? o->max_blocks : 1,
                                  whole ? o->mask_probability : 1, o->seed, &s->evaluate, err);
    else if (o->task == RB_TASK_CLM)
        status = rb_sequences_clm(s->tokenizer, &m.view, o->block_size, whole ? o->max_blocks : 1,
                                  &s->evaluate, err);
    else
        status = rb_sequences_from_rows(s->tokenizer, &m.view, at_most(o->max_examples, extent),
                                        o->max_length, &s->evaluate, err);
    return text_close(&m, t, status, err);
}

/* Blocks as long as the task's own: 1,024 tokens of causal text, 128 of masked, if the model takes
 * them and a step is that long. */
static size_t learn_block(const struct rb_model *m, size_t step_tokens)
{
    enum { CAUSAL_BLOCK = 1024, MASKED_BLOCK = 128 };
    size_t block = m->head == RB_HEAD_CAUSAL ? CAUSAL_BLOCK : MASKED_BLOCK;
    block = m->config.max_length < block ? m->config.max_length : block;
    return step_tokens < block ? step_tokens : block;
}

/* Unmasked blocks for steps of so many tokens. */
static enum rb_status read_blocks(const struct rb_subject *s, const struct rb_text_place *t,
                                  size_t step_tokens, enum rb_subject_extent extent,
                                  struct rb_sequences *ret, struct rb_error *err)
{
    struct text_map m;
    enum rb_status status = text_open(t, false, &m, err);
    if (status != RB_OK)
        return status;
    bool masked = s->model[0].head == RB_HEAD_MLM;
    status =
        rb_sequences_blocks(s->tokenizer, &m.view, masked, learn_block(&s->model[0], step_tokens),
                            extent == RB_SUBJECT_WHOLE ? 0 : 2, ret, err);
    status = text_close(&m, t, status, err);
    if (status == RB_OK && ret->count < 2)
        return rb_error_set(err, RB_EDATASET,
                            "learning needs text for two blocks of %zu tokens at least, found one",
                            ret->starts[1]);
    return status == RB_OK ? rb_sequences_check(&s->model[0].config, ret, err) : status;
}

/* What a merge is trained on. */
static enum rb_status open_tune(struct rb_subject *s, const struct rb_places *p,
                                const struct rb_finetune_options *o, enum rb_subject_extent extent,
                                struct rb_error *err)
{
    const struct rb_text_place *t = p->merge.path != NULL ? &p->merge : &p->align;
    if (s->model[0].head != RB_HEAD_MLM && s->model[0].head != RB_HEAD_CAUSAL)
        return rb_error_at(err, RB_EHEAD, "/merge/finetune",
                           "training a merge needs models that predict tokens (a masked or causal "
                           "language model's head)");
    enum rb_status status = read_blocks(s, t, o->tokens, extent, &s->tune, err);
    return status == RB_OK
               ? RB_OK
               : blame_text(err, t == &p->merge ? "/merge/dataset" : "/align/dataset", t->name);
}

/* What may be learned, then the text to learn from. */
static enum rb_status open_learn(struct rb_subject *s, const struct rb_places *p,
                                 const struct rb_align_spec *a, enum rb_subject_extent extent,
                                 struct rb_error *err)
{
    struct rb_learn_options o = a->learn.options;
    enum rb_status status = rb_learn_admit(&s->model[1], &a->options, a->learn.groups, &o, err);
    if (status != RB_OK) {
        bool groups = err->pointer[0] != '\0';
        (void)snprintf(err->pointer, sizeof err->pointer, "/align/learn%s",
                       groups ? "/groups" : "");
        return status;
    }
    const struct rb_text_place *t = p->learn.path != NULL ? &p->learn : &p->align;
    status = read_blocks(s, t, a->learn.options.batch_tokens, extent, &s->learn, err);
    return status == RB_OK
               ? RB_OK
               : blame_text(err, p->learn.path != NULL ? "/align/learn/dataset" : "/align/dataset",
                            t->name);
}

enum rb_status rb_subject_read_texts(struct rb_subject *s, const struct rb_places *p,
                                     const struct rb_job_spec *spec, enum rb_subject_extent extent,
                                     struct rb_error *err)
{
    enum rb_status status;
    if (p->align.path != NULL) {
        status = read_lines(s, &p->align, &spec->align, extent, &s->align, err);
        if (status != RB_OK)
            return blame_text(err, "/align/dataset", p->align.name);
    }
    if (p->merge.path != NULL) {
        struct rb_align_spec lines = spec->align; /* without alignment nobody fitted its length */
        uint32_t longest = s->model[0].config.max_length;
        lines.max_length = lines.max_length < longest ? lines.max_length : longest;
        status = read_lines(s, &p->merge, &lines, extent, &s->merge, err);
        if (status == RB_OK)
            status = rb_sequences_check(&s->model[0].config, &s->merge, err);
        if (status != RB_OK)
            return blame_text(err, "/merge/dataset", p->merge.name);
    }
    if (rb_job_spec_tunes(spec)) {
        status = open_tune(s, p, &spec->merge.finetune, extent, err);
        if (status != RB_OK)
            return status;
    }
    if (spec->align.has_learn && p->align.path != NULL) {
        status = open_learn(s, p, &spec->align, extent, err);
        if (status != RB_OK)
            return status;
    }
    if (p->evaluate.path != NULL) {
        const struct rb_evaluate_options *o = &spec->evaluate.options;
        status = rb_evaluate_check(&s->model[0], o, NULL, err); /* the head: before its text */
        if (status == RB_OK)
            status = read_evaluate(s, &p->evaluate, o, extent, err);
        if (status == RB_OK)
            status = rb_evaluate_check(&s->model[0], o, &s->evaluate, err);
        if (status == RB_OK && extent == RB_SUBJECT_WHOLE)
            status = rb_chance_compute(o->task, &s->evaluate, &s->chance, err);
        if (status == RB_EHEAD)
            (void)snprintf(err->pointer, sizeof err->pointer, "/evaluate/task");
        else if (status != RB_OK)
            return blame_text(err, "/evaluate/dataset", p->evaluate.name);
        return status;
    }
    return RB_OK;
}

enum rb_status rb_subject_verify(const struct rb_subject *s, const struct rb_places *p,
                                 struct rb_error *err)
{
    for (size_t i = 0; i < s->models; i++)
        if (s->opened[i] && rb_checkpoint_verify(&s->model[i].checkpoint, err) != RB_OK)
            return blame_model(err, p, i);
    return RB_OK;
}
