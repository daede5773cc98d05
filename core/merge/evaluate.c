/* The loss and metrics at one lambda.
 *
 * DESIGN. Slab by slab (some ten thousand tokens): the walker's rounds, then the head's.
 * MLM: the hidden layer over the predicted rows; then the output weight in tiles of the vocabulary:
 * an item brings one tile to F32 and takes all rows through it, keeping per row only the largest
 * logit, the sum of exponentials and the target's logit. The logits are never all in memory, and
 * each row of the decoder is interpolated once. Classification and regression: pooler and
 * classifier over the first token of each sequence. Losses are kept per position and added in
 * order, in F64. */
#include "core/merge/evaluate.h"
#include "core/merge/metrics.h"
#include "core/model/kernels.h"
#include "core/model/linear.h"
#include "core/model/walker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLAB_BYTES = 104 * 1000 * 1000, /* of activations: 256 blocks of 128 of a BERT-base are one */
    SLAB_MIN = 2 * RB_CHUNK_TOKENS,
    SLAB_MAX = 1 << 16,
    TILE_MIN = 64,
    TILE_MAX = 1024,
    TILES_WANTED = 8,
    ROWS = 256,       /* rows of the head's hidden layer taken at a time */
    LOGIT_ROWS = 512, /* rows per product with a tile, which is packed anew for each; their logits
                       * stay in the cache */
};

enum stage { STAGE_START, STAGE_WALK, STAGE_ROWS, STAGE_TILES };

struct tile_row { /* one row's logits in one tile of the vocabulary */
    float top, sum;
};

struct evaluate {
    struct rb_program program;
    struct rb_blend blend;
    struct rb_evaluate_options options;
    const struct rb_sequences *sequences;
    const struct rb_model *model; /* says sizes */
    struct rb_walker walker;
    enum stage stage;
    size_t slab_tokens, from, to;

    size_t width;     /* of the head */
    float *rows;      /* (row_count, width) of the slab, what the output weight reads */
    int32_t *targets; /* (row_count) MLM */
    size_t row_count, row_capacity;
    size_t tile, tile_count;
    struct tile_row *parts; /* (tile_count, row_count) */
    float *target_logits;   /* (row_count) */

    double *losses; /* (positions in all, or sequences) */
    size_t loss_count, losses_done;
    uint32_t *predicted, *truth; /* (sequences) classification */
    double *outputs;             /* (sequences) regression */
};

/* A loss per predicted token, over the whole vocabulary; else one per sequence. */
static bool predicts_tokens(const struct evaluate *e)
{
    return e->options.task == RB_TASK_MLM || e->options.task == RB_TASK_CLM;
}

/* ---- items ---- */

/* Chunk `item` of the slab's rows: gathered, through the head's hidden layer. */
static enum rb_status rows_item(struct evaluate *e, size_t item, struct rb_scratch *scratch,
                                struct rb_error *err)
{
    const struct rb_walker *w = &e->walker;
    size_t d = e->model->config.hidden_size, first = item * ROWS, span = 0;
    size_t n = e->row_count - first < ROWS ? e->row_count - first : ROWS;
    float *x = rb_scratch_alloc(scratch, n * d, sizeof(float));
    if (x == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the head's rows");
    for (size_t i = first; i < first + n; i++) {
        while (i >= w->first_row[span + 1])
            span++;
        memcpy(x + (i - first) * d, rb_walker_row(w, 0, span, i), d * sizeof(float));
    }
    return rb_head_apply(e->model, &w->sides[0].head, x, n, e->rows + first * e->width, scratch,
                         err);
}

static enum rb_status tile_item(struct evaluate *e, size_t item, struct rb_scratch *scratch,
                                struct rb_error *err)
{
    const struct rb_kernels *k = rb_kernels();
    size_t d = e->width, first = item * e->tile, vocabulary = rb_head_outputs(e->model);
    size_t width = vocabulary - first < e->tile ? vocabulary - first : e->tile;
    struct rb_head_tile tile;
    float *logits = rb_scratch_alloc(scratch, LOGIT_ROWS * width, sizeof(float));
    if (logits == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a tile of the decoder");
    enum rb_status s = rb_head_read_tile(&e->blend, first, width, &tile, scratch, err);
    if (s != RB_OK)
        return s;
    for (size_t r = 0; r < e->row_count; r += LOGIT_ROWS) {
        size_t n = e->row_count - r < LOGIT_ROWS ? e->row_count - r : LOGIT_ROWS;
        rb_linear(e->rows + r * d, n, d, tile.weight, width, logits);
        for (size_t i = 0; i < n; i++) {
            struct tile_row *part = &e->parts[item * e->row_count + r + i];
            k->max_sum_exp(logits + i * width, tile.bias, width, &part->top, &part->sum);
            size_t target = (size_t)e->targets[r + i] - first;
            if (target < width)
                e->target_logits[r + i] = logits[i * width + target] + tile.bias[target];
        }
    }
    return RB_OK;
}

static void classify(struct evaluate *e, size_t sequence, const float *logits, size_t labels)
{
    double label = e->sequences->labels[sequence];
    if (e->options.task == RB_TASK_REGRESSION) {
        double off = (double)logits[0] - label;
        e->outputs[sequence] = (double)logits[0];
        e->losses[sequence] = off * off;
        return;
    }
    size_t best = 0;
    double sum = 0;
    for (size_t c = 1; c < labels; c++)
        best = logits[c] > logits[best] ? c : best;
    for (size_t c = 0; c < labels; c++)
        sum += exp((double)logits[c] - (double)logits[best]);
    e->truth[sequence] = (uint32_t)label;
    e->predicted[sequence] = (uint32_t)best;
    e->losses[sequence] = log(sum) + (double)logits[best] - (double)logits[(uint32_t)label];
}

/* The classifier over one chunk of sequences of the slab, in the item that made its rows. */
static enum rb_status classify_item(struct evaluate *e, size_t item, struct rb_scratch *scratch,
                                    struct rb_error *err)
{
    size_t d = e->width, labels = rb_head_outputs(e->model), first = item * ROWS;
    size_t n = e->row_count - first < ROWS ? e->row_count - first : ROWS;
    struct rb_head_tile tile;
    float *logits = rb_scratch_alloc(scratch, n * labels, sizeof(float));
    if (logits == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the classifier");
    enum rb_status s = rb_head_read_tile(&e->blend, 0, labels, &tile, scratch, err);
    if (s != RB_OK)
        return s;
    rb_linear(e->rows + first * d, n, d, tile.weight, labels, logits);
    rb_kernels()->add_bias(logits, tile.bias, n, labels);
    for (size_t i = 0; i < n; i++)
        classify(e, e->from + first + i, logits + i * labels, labels);
    return RB_OK;
}

static enum rb_status run_item(struct rb_program *p, size_t item, struct rb_worker *w,
                               struct rb_error *err)
{
    struct evaluate *e = (struct evaluate *)p;
    if (e->stage == STAGE_WALK)
        return rb_walker_item(&e->walker, item, &w->scratch, err);
    if (e->stage == STAGE_TILES)
        return tile_item(e, item, &w->scratch, err);
    enum rb_status s = rows_item(e, item, &w->scratch, err);
    return s == RB_OK && !predicts_tokens(e) ? classify_item(e, item, &w->scratch, err) : s;
}

/* ---- rounds ---- */

/* Joins each row's tiles into its loss: log sum exp minus the target's logit. */
static void finish_rows(struct evaluate *e)
{
    for (size_t r = 0; r < e->row_count; r++) {
        double top = -INFINITY, sum = 0;
        for (size_t t = 0; t < e->tile_count; t++)
            top = fmax(top, (double)e->parts[t * e->row_count + r].top);
        for (size_t t = 0; t < e->tile_count; t++) {
            const struct tile_row *part = &e->parts[t * e->row_count + r];
            sum += (double)part->sum * exp((double)part->top - top);
        }
        e->losses[e->losses_done++] = top + log(sum) - (double)e->target_logits[r];
    }
}

static void free_rows(struct evaluate *e)
{
    free(e->rows);
    free(e->targets);
    free(e->parts);
    free(e->target_logits);
}

static enum rb_status reserve_rows(struct evaluate *e, struct rb_error *err)
{
    e->row_count = rb_walker_rows(&e->walker);
    if (e->row_count > e->row_capacity) {
        free_rows(e);
        size_t n = e->row_capacity = e->row_count;
        e->rows = rb_malloc_aligned(n * e->width, sizeof(float));
        e->targets = calloc(n, sizeof *e->targets);
        e->parts = calloc(n * e->tile_count, sizeof *e->parts);
        e->target_logits = calloc(n, sizeof *e->target_logits);
        if (!e->rows || !e->targets || !e->parts || !e->target_logits) {
            e->row_capacity = 0;
            return rb_error_set(err, RB_ENOMEM, "no memory for %zu predicted rows", n);
        }
    }
    const struct rb_sequences *s = e->sequences;
    for (size_t t = s->starts[e->from], n = 0; predicts_tokens(e) && t < s->starts[e->to]; t++)
        if (s->targets[t] >= 0)
            e->targets[n++] = s->targets[t];
    return RB_OK;
}

static enum rb_status next_round(struct rb_program *p, size_t *ret_items, struct rb_error *err)
{
    struct evaluate *e = (struct evaluate *)p;
    enum rb_status s;
    switch (e->stage) {
    case STAGE_WALK:
        s = rb_walker_next(&e->walker, ret_items, err);
        if (s != RB_OK || *ret_items > 0)
            return s;
        s = reserve_rows(e, err);
        if (s != RB_OK)
            return s;
        e->stage = STAGE_ROWS;
        *ret_items = (e->row_count + ROWS - 1) / ROWS;
        if (*ret_items > 0)
            return RB_OK;
        break; /* a slab in which nothing is predicted */
    case STAGE_ROWS:
        if (predicts_tokens(e)) {
            e->stage = STAGE_TILES;
            *ret_items = e->tile_count;
            return RB_OK;
        }
        break;
    case STAGE_TILES:
        finish_rows(e);
        break;
    case STAGE_START:
        break;
    }
    e->from = e->to;
    if (e->from == e->sequences->count) {
        *ret_items = 0;
        return RB_OK;
    }
    e->to = rb_slab_end(e->sequences, e->from, e->slab_tokens);
    e->stage = STAGE_WALK;
    return rb_walker_begin(&e->walker, e->from, e->to, ret_items, err);
}

static double item_cost(const struct rb_program *p, size_t item)
{
    const struct evaluate *e = (const struct evaluate *)p;
    double rows = (double)e->row_count;
    if (e->stage == STAGE_WALK)
        return rb_walker_item_cost(&e->walker, item);
    if (e->stage == STAGE_TILES)
        return rows * rb_head_logits_cost(e->model) / (double)e->tile_count;
    double one = rb_head_hidden_cost(e->model);
    if (!predicts_tokens(e)) /* the few outputs are made with the row */
        one += rb_head_logits_cost(e->model);
    size_t chunks = (e->row_count + ROWS - 1) / ROWS;
    return rows * one / (double)chunks;
}

static void evaluate_free(struct rb_program *p)
{
    struct evaluate *e = (struct evaluate *)p;
    rb_walker_deinit(&e->walker);
    free_rows(e);
    free(e);
}

static const struct rb_program_ops ops = {next_round, run_item, item_cost, evaluate_free};

/* ---- setting up ---- */

static size_t slab_size(const struct rb_config *c)
{
    size_t n = SLAB_BYTES / sizeof(float) / c->hidden_size;
    return n < SLAB_MIN ? SLAB_MIN : n > SLAB_MAX ? SLAB_MAX : n;
}

static size_t tile_size(const struct rb_config *c)
{
    size_t n = (c->vocab_size + TILES_WANTED - 1) / TILES_WANTED;
    return n < TILE_MIN ? TILE_MIN : n > TILE_MAX ? TILE_MAX : n;
}

void rb_evaluate_estimate(const struct rb_model *m, const struct rb_evaluate_options *o,
                          uint64_t tokens, uint64_t predicted, uint64_t *ret_buffer_bytes,
                          double *ret_cost)
{
    const struct rb_config *c = &m->config;
    double n = (double)tokens, rows = (double)predicted;
    uint64_t slab = tokens < slab_size(c) ? tokens : slab_size(c);
    uint64_t slab_rows = tokens > 0 ? predicted * slab / tokens + 1 : 1;
    uint64_t tiles = (c->vocab_size + tile_size(c) - 1) / tile_size(c);
    double length = rb_task_has_labels(o->task) ? o->max_length : o->block_size;
    double seen = rb_layer_keys(c, length);
    double layer = rb_layer_cost(c, n, n, n * seen);
    double last = rb_layer_cost(c, n, rows, rows * (o->task == RB_TASK_CLM ? seen : length));
    *ret_cost = layer * (c->num_hidden_layers - 1) + last +
                rows * (rb_head_hidden_cost(m) + rb_head_logits_cost(m));
    *ret_buffer_bytes =
        slab * c->hidden_size * sizeof(float) + 2 * rb_weights_layer_floats(c) * sizeof(float) +
        slab_rows * (c->hidden_size * sizeof(float) + tiles * sizeof(struct tile_row));
}

enum rb_status rb_evaluate_new(const struct rb_blend *blend, const struct rb_evaluate_options *o,
                               const struct rb_sequences *s, struct rb_program **ret,
                               struct rb_error *err)
{
    struct evaluate *e = calloc(1, sizeof *e);
    if (e == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to evaluate");
    e->program.ops = &ops;
    e->blend = *blend;
    e->options = *o;
    e->sequences = s;
    e->model = rb_blend_model(blend);
    const struct rb_config *c = &e->model->config;
    e->width = rb_head_width(e->model);
    e->slab_tokens = slab_size(c);
    e->tile = tile_size(c);
    e->tile_count = predicts_tokens(e) ? (c->vocab_size + e->tile - 1) / e->tile : 0;
    e->loss_count = predicts_tokens(e) ? s->target_count : s->count;
    e->losses = rb_program_alloc(&e->program, e->loss_count + 1, sizeof *e->losses);
    e->predicted = rb_program_alloc(&e->program, s->count + 1, sizeof *e->predicted);
    e->truth = rb_program_alloc(&e->program, s->count + 1, sizeof *e->truth);
    e->outputs = rb_program_alloc(&e->program, s->count + 1, sizeof *e->outputs);
    const struct rb_walker_options walk = {
        .reads = rb_head_reads(e->model), .with_head = true, .ahead = true};
    enum rb_status status = RB_OK;
    if (!e->losses || !e->predicted || !e->truth || !e->outputs)
        status = rb_error_set(err, RB_ENOMEM, "no memory for %zu losses", e->loss_count);
    if (status == RB_OK)
        status = rb_walker_init(&e->walker, &e->blend, 1, s, &walk, err);
    if (status != RB_OK) {
        rb_program_free(&e->program);
        return status;
    }
    e->program.total_cost =
        rb_walker_flops(c, s, walk.reads, 0, s->count) +
        (double)e->loss_count * (rb_head_hidden_cost(e->model) + rb_head_logits_cost(e->model));
    *ret = &e->program;
    return RB_OK;
}

/* ---- results ---- */

unsigned rb_task_metrics(enum rb_task task, uint32_t num_labels)
{
    (void)num_labels;
    if (task == RB_TASK_MLM)
        return 1U << RB_PSEUDO_PERPLEXITY;
    if (task == RB_TASK_CLM)
        return 1U << RB_PERPLEXITY;
    if (task == RB_TASK_CLASSIFICATION)
        return 1U << RB_ACCURACY | 1U << RB_F1 | 1U << RB_MATTHEWS;
    return 1U << RB_PEARSON | 1U << RB_SPEARMAN;
}

static void fill_metrics(const struct evaluate *e, struct rb_point *p)
{
    size_t n = e->sequences->count;
    uint32_t labels = e->model->config.num_labels;
    for (size_t m = 0; m < RB_METRIC_COUNT; m++)
        p->metrics[m] = (double)NAN;
    switch (e->options.task) {
    case RB_TASK_MLM:
        p->metrics[RB_PSEUDO_PERPLEXITY] = exp(p->loss);
        break;
    case RB_TASK_CLM:
        p->metrics[RB_PERPLEXITY] = exp(p->loss);
        break;
    case RB_TASK_CLASSIFICATION:
        p->metrics[RB_ACCURACY] = rb_accuracy(e->predicted, e->truth, n);
        p->metrics[RB_F1] = rb_f1(e->predicted, e->truth, n, labels);
        p->metrics[RB_MATTHEWS] = rb_matthews(e->predicted, e->truth, n, labels);
        break;
    case RB_TASK_REGRESSION:
        p->metrics[RB_PEARSON] = rb_pearson(e->outputs, e->sequences->labels, n);
        p->metrics[RB_SPEARMAN] = rb_spearman(e->outputs, e->sequences->labels, n);
        break;
    }
}

enum rb_status rb_evaluate_result(const struct rb_program *p, struct rb_point *ret,
                                  struct rb_error *err)
{
    const struct evaluate *e = (const struct evaluate *)p;
    double n = (double)e->loss_count, sum = 0, square = 0;
    for (size_t i = 0; i < e->loss_count; i++)
        sum += e->losses[i];
    struct rb_point point = {.lambda = e->blend.lambda, .loss = sum / n};
    for (size_t i = 0; i < e->loss_count; i++)
        square += (e->losses[i] - point.loss) * (e->losses[i] - point.loss);
    point.standard_error = n > 1 ? sqrt(square / (n - 1) / n) : 0;
    if (!isfinite(point.loss))
        return rb_error_set(err, RB_ENUMERIC,
                            "the loss at lambda = %g is %g: a weight is not "
                            "finite, or activations overflow",
                            point.lambda, point.loss);
    fill_metrics(e, &point);
    *ret = point;
    return RB_OK;
}

void rb_evaluate_blocks(const struct rb_program *p, struct rb_block *ret)
{
    const struct evaluate *e = (const struct evaluate *)p;
    const struct rb_sequences *s = e->sequences;
    size_t next = 0;
    for (size_t i = 0; i < s->count; i++) {
        size_t end = next + 1;
        if (predicts_tokens(e)) {
            end = next;
            for (size_t t = s->starts[i]; t < s->starts[i + 1]; t++)
                end += s->targets[t] >= 0;
        }
        struct rb_block b = {.count = (double)(end - next)};
        for (; next < end; next++) {
            b.sum += e->losses[next];
            b.square += e->losses[next] * e->losses[next];
        }
        ret[i] = b;
    }
}

static const char *const head_words[RB_HEAD_COUNT] = {"no head", "an MLM head", "a classifier",
                                                      "a causal head", "a discriminator"};

/* " (classifier.weight)": what a checkpoint of this family with that head holds. */
static void name_head(const struct rb_family *f, enum rb_head kind, char *buffer, size_t size)
{
    buffer[0] = '\0';
    for (const struct rb_head_shape *h = f->heads; h->kind != RB_HEAD_NONE; h++)
        if (h->kind == kind)
            (void)snprintf(buffer, size, " (%s)", h->stored_as);
}

static enum rb_status check_head(const struct rb_model *m, enum rb_task task, struct rb_error *err)
{
    uint32_t labels = m->config.num_labels;
    static const struct {
        enum rb_head head;
        const char *words;
    } wanted[] = {
        [RB_TASK_MLM] = {RB_HEAD_MLM, "an MLM head"},
        [RB_TASK_CLM] = {RB_HEAD_CAUSAL, "a model that reads from left to right"},
        [RB_TASK_CLASSIFICATION] = {RB_HEAD_CLASSIFIER, "a classification head"},
        [RB_TASK_REGRESSION] = {RB_HEAD_CLASSIFIER, "a classification head"},
    };
    char stored_as[96];
    name_head(m->family, wanted[task].head, stored_as, sizeof stored_as);
    if (m->head != wanted[task].head)
        return rb_error_at(err, RB_EHEAD, "task", "task '%s' needs %s%s, the model has %s",
                           rb_task_names[task], wanted[task].words, stored_as, head_words[m->head]);
    if (task == RB_TASK_REGRESSION && labels != 1)
        return rb_error_at(err, RB_EHEAD, "task",
                           "task 'regression' needs a head with 1 label, the model's has %u",
                           labels);
    if (task == RB_TASK_CLASSIFICATION && labels < 2)
        return rb_error_at(err, RB_EHEAD, "task",
                           "task 'classification' needs a head with 2 labels or more, the "
                           "model's has %u",
                           labels);
    return RB_OK;
}

static enum rb_status check_label(const struct rb_sequences *s, size_t i, enum rb_task task,
                                  uint32_t labels, struct rb_error *err)
{
    double label = s->labels != NULL ? s->labels[i] : (double)NAN;
    unsigned long long line = s->rows != NULL ? s->rows[i] : 0;
    if (task == RB_TASK_REGRESSION && !isfinite(label))
        return rb_error_at(err, RB_EDATASET, "label",
                           "line %llu: label %g: expected a finite number", line, label);
    if (task == RB_TASK_CLASSIFICATION && !(label >= 0 && label < labels && floor(label) >= label))
        return rb_error_at(err, RB_EDATASET, "label",
                           "line %llu: label %g: expected an integer from 0 to %u", line, label,
                           labels - 1);
    return RB_OK;
}

enum rb_status rb_evaluate_check(const struct rb_model *m, const struct rb_evaluate_options *o,
                                 const struct rb_sequences *s, struct rb_error *err)
{
    enum rb_status status = check_head(m, o->task, err);
    if (status == RB_OK && s != NULL)
        status = rb_sequences_check(&m->config, s, err);
    for (size_t i = 0; status == RB_OK && s != NULL && i < s->count; i++)
        status = check_label(s, i, o->task, m->config.num_labels, err);
    return status;
}
