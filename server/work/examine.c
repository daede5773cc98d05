#include "server/work/examine.h"
#include "api/body.h"
#include "core/model/model.h"
#include "core/text/tokenizer.h"
#include "core/text/tokenizer_open.h"
#include "server/base/fsutil.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONFIG_BYTES = 4 << 20 };

struct look {
    const char *folder;
    struct rb_model_resource *model;
    struct rb_model_facts facts;
};

static enum rb_status add_problem(struct rb_model_resource *m, const struct rb_error *problem,
                                  struct rb_error *err)
{
    struct rb_model_problem *grown =
        realloc(m->problems, (m->problem_count + 1) * sizeof *m->problems);
    if (grown == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to describe the model");
    m->problems = grown;
    struct rb_model_problem *p = &grown[m->problem_count++];
    p->status = problem->status;
    (void)snprintf(p->detail, sizeof p->detail, "%s", problem->detail);
    return RB_OK;
}

/* Messages name files by their path; whoever uploaded them knows only their names. */
static void strip_folder(struct rb_error *err, const char *folder)
{
    size_t n = strlen(folder);
    for (char *at = err->detail; (at = strstr(at, folder)) != NULL;) {
        size_t cut = at[n] == '/' ? n + 1 : at == err->detail && at[n] == ':' ? n + 2 : n;
        memmove(at, at + cut, strlen(at + cut) + 1);
    }
}

static void take_config(struct rb_model_resource *m, const struct rb_family *family,
                        const struct rb_config *c)
{
    (void)snprintf(m->architecture, sizeof m->architecture, "%s",
                   c->class_name[0] != '\0' ? c->class_name : family->model_type);
    (void)snprintf(m->family, sizeof m->family, "%s", family->model_type);
    m->hidden_size = c->hidden_size;
    m->num_layers = c->num_hidden_layers;
    m->num_heads = c->attention.heads;
    m->intermediate_size = c->mlp.inner_size;
    m->vocab_size = c->vocab_size;
    m->max_position_embeddings = c->max_position_embeddings;
}

/* What a folder without usable weights still says of itself. */
static void read_config_alone(struct look *k)
{
    const struct rb_family *family;
    struct rb_config config;
    char *text = NULL;
    size_t bytes = 0;
    int fd = -1;
    if (rb_root_open(k->folder, false, &fd, NULL) != RB_OK)
        return;
    if (rb_file_get(fd, "config.json", CONFIG_BYTES, &text, &bytes, NULL) == RB_OK) {
        json_t *json = NULL;
        if (rb_body_parse(text, bytes, CONFIG_BYTES, &json, NULL) == RB_OK &&
            rb_config_parse("config.json", json, &family, &config, NULL) == RB_OK)
            take_config(k->model, family, &config);
        json_decref(json);
    }
    free(text);
    close(fd);
}

static void take_facts(struct look *k, const struct rb_model *m)
{
    static const char *const heads[RB_HEAD_COUNT] = {
        [RB_HEAD_NONE] = "none",
        [RB_HEAD_MLM] = "masked language model",
        [RB_HEAD_CLASSIFIER] = "classifier",
        [RB_HEAD_CAUSAL] = "causal language model",
        [RB_HEAD_DISCRIMINATOR] = "discriminator",
    };
    k->facts.model_type = m->family->model_type;
    k->facts.head = heads[m->head];
    k->facts.has_decoder = m->head_shape != NULL && m->head_shape->output == RB_UNEMBEDDING_WEIGHT;
    k->facts.tied = k->facts.has_decoder && !m->unembedding_stored;
    k->facts.tensors = m->checkpoint.tensor_count;
    k->facts.files = m->checkpoint.shard_count;
}

static enum rb_status examine_weights(struct look *k, struct rb_error *err)
{
    struct rb_model model;
    struct rb_model_resource *m = k->model;
    enum rb_status status = rb_model_open(k->folder, &model, err);
    if (status != RB_OK)
        return status;
    const struct rb_checkpoint *c = &model.checkpoint;
    take_config(m, model.family, &model.config);
    take_facts(k, &model);
    m->parameters = model.parameters;
    (void)snprintf(m->dtype, sizeof m->dtype, "%s", rb_dtype_name(rb_model_dtype(&model)));
    if (c->other != NULL)
        (void)snprintf(m->note, sizeof m->note,
                       "the folder holds %s too: the weights are read from the %s format",
                       c->other->single, c->format->suffix + 1);
    status = rb_checkpoint_verify(c, err);
    rb_model_deinit(&model);
    return status;
}

static enum rb_status examine_vocabulary(struct look *k, struct rb_error *err)
{
    struct rb_tokenizer *t = NULL;
    enum rb_status status = rb_tokenizer_open(k->folder, &t, err);
    if (status != RB_OK)
        return status;
    struct rb_model_resource *m = k->model;
    m->tokenizer_size = (uint32_t)rb_tokenizer_vocab_size(t);
    (void)snprintf(m->tokenizer_kind, sizeof m->tokenizer_kind, "%s", rb_tokenizer_kind(t));
    rb_tokenizer_free(t);
    if (m->vocab_size > 0 && m->tokenizer_size > m->vocab_size)
        return rb_error_set(err, RB_EVOCAB,
                            "the tokenizer has %u tokens, but config.json's vocab_size is %u",
                            m->tokenizer_size, m->vocab_size);
    return RB_OK;
}

enum rb_status rb_model_examine(const char *folder, struct rb_model_resource *m,
                                struct rb_model_facts *ret_facts, struct rb_error *err)
{
    enum rb_status (*const examinations[])(struct look *, struct rb_error *) = {examine_weights,
                                                                                examine_vocabulary};
    struct look k = {.folder = folder, .model = m};
    bool missing = false, wrong = false;
    for (size_t i = 0; i < sizeof examinations / sizeof examinations[0]; i++) {
        struct rb_error problem = {.status = RB_OK};
        enum rb_status status = examinations[i](&k, &problem);
        if (status == RB_OK)
            continue;
        strip_folder(&problem, folder);
        missing = missing || status == RB_ENOTFOUND;
        wrong = wrong || status != RB_ENOTFOUND;
        status = add_problem(m, &problem, err);
        if (status != RB_OK)
            return status;
    }
    m->status = wrong ? RB_MODEL_INVALID : missing ? RB_MODEL_INCOMPLETE : RB_MODEL_READY;
    if (m->hidden_size == 0)
        read_config_alone(&k);
    if (ret_facts != NULL)
        *ret_facts = k.facts;
    return RB_OK;
}
