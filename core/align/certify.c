/* The certificate: does the moved B compute what B computes?
 *
 * DESIGN. A walker takes two models over the same probe sequences: B as it is, and B moved, read
 * through the very blend (lambda = 1) that the curve and the writer use. The probes are token ids
 * drawn by METHOD 7's generator, so they reach all over the vocabulary and need no text. What is
 * compared is the head's output: logits at the first positions of each sequence, a classifier's
 * logits, or, without a head, the last hidden state put back into B's order. Where norms are folded
 * A is another model too: two more sides, A as it is and folded.
 *
 * Near-equivalent maps (METHOD 10) change the function a little: of those the predictions are
 * compared too, KL(B || moved B) and the first choices. A row's softmax is put together from its
 * tiles, in their order.
 *
 * Tolerance. Both sides compute the same sums in another order. A sum of n products in F32 differs
 * by about u sqrt(n) of its size, u = 2^-24; a model passes 2L + 2 such stages, each followed by a
 * norm that keeps sizes equal. So 4 u sqrt(max(d, d_ff)) (2L + 2) times the largest logit: a
 * permutation applied wrongly is off by the size of the logits themselves, 3 orders above. */
#include "core/align/certify.h"
#include "core/model/linear.h"
#include "core/model/walker.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROBES = 16, PROBE_TOKENS = 32, ROWS_READ = 4, TILE = 1024, SIDES = 4 };

static const char *const side_names[SIDES] = {"B", "moved B", "A", "folded A"};

/* The first output of a tile that is no finite number. */
struct odd {
    bool found;
    size_t side;
    size_t row, output;
    double value;
};

/* What a tile says of one row's predictions: x are B's logits, y moved B's. */
struct part {
    double top[2], sum[2]; /* of x and y: the largest, and the sum of exp(logit - it) */
    size_t choice[2];      /* which is the largest */
    double weighted;       /* sum of exp(x - top) (x - y) */
};

struct certify {
    struct rb_program program;
    const struct rb_model *model;
    struct rb_motion motion, folded; /* of B, of A */
    struct rb_blend blend[SIDES];    /* B, moved B; A, folded A */
    size_t sides;                    /* 2, or 4 with a fold */
    struct rb_walker walker;
    struct rb_sequences probes;
    enum { STAGE_START, STAGE_WALK, STAGE_HEAD, STAGE_COMPARE, STAGE_DONE } stage;
    float *rows[SIDES]; /* (row_count, width) what the head's output weight reads */
    size_t row_count;
    double *worst; /* (tiles) largest difference, then largest logit, per tile */
    double *largest;
    struct odd *odd;    /* (tiles) */
    struct part *parts; /* (tiles, row_count) where near, else NULL */
    size_t tile_count;
    struct rb_certificate result;
};

static enum rb_reads probes_read(const struct rb_model *m)
{
    return rb_head_per_sequence(m) ? rb_head_reads(m) : RB_READ_TARGETS;
}

static bool make_probes(struct certify *c)
{
    const struct rb_config *g = &c->model->config;
    size_t length = g->max_length < PROBE_TOKENS ? g->max_length : PROBE_TOKENS;
    struct rb_sequences *s = &c->probes;
    size_t tokens = PROBES * length, reads = length < ROWS_READ ? length : ROWS_READ;
    s->count = PROBES;
    s->starts = calloc(PROBES + 1, sizeof *s->starts);
    s->ids = calloc(tokens, sizeof *s->ids);
    s->types = calloc(tokens, sizeof *s->types);
    s->special = calloc(tokens, sizeof *s->special);
    s->targets = calloc(tokens, sizeof *s->targets);
    if (!s->starts || !s->ids || !s->types || !s->special || !s->targets)
        return false;
    for (size_t q = 0; q < PROBES; q++) {
        s->starts[q + 1] = (q + 1) * length;
        for (size_t t = 0; t < length; t++) {
            double u = rb_mask_uniform(0, q, t, 3);
            s->ids[q * length + t] = (int32_t)(u * g->vocab_size);
            s->types[q * length + t] = g->type_vocab_size > 1 && t >= length / 2;
            s->targets[q * length + t] = t < reads ? 0 : -1;
        }
    }
    c->row_count = PROBES * (rb_head_per_sequence(c->model) ? 1 : reads);
    return true;
}

/* Rows the head reads, gathered, through its hidden layer. */
static enum rb_status gather_item(struct certify *c, size_t side, struct rb_scratch *scratch,
                                  struct rb_error *err)
{
    const struct rb_walker *w = &c->walker;
    size_t d = c->model->config.hidden_size;
    float *x = rb_scratch_alloc(scratch, c->row_count * d, sizeof(float));
    if (x == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the probes' last layer");
    for (size_t span = 0; span < w->span_count; span++)
        for (size_t i = w->first_row[span]; i < w->first_row[span + 1]; i++)
            memcpy(x + i * d, rb_walker_row(w, side, span, i), d * sizeof(float));
    return rb_head_apply(c->model, &w->sides[side].head, x, c->row_count, c->rows[side], scratch,
                         err);
}

/* Largest difference and largest size so far. What is not finite is kept apart: a maximum would
 * swallow NaN, and an infinite logit would make the tolerance infinite. */
static void compare_one(struct certify *c, size_t tile, size_t row, size_t output, size_t side,
                        const double values[2])
{
    struct odd *odd = &c->odd[tile];
    for (size_t k = 0; k < 2; k++) {
        if (isfinite(values[k]))
            continue;
        if (!odd->found)
            *odd = (struct odd){true, side + k, row, output, values[k]};
        return;
    }
    c->worst[tile] = fmax(c->worst[tile], fabs(values[0] - values[1]));
    c->largest[tile] = fmax(c->largest[tile], fabs(values[0]));
}

/* One more logit of both sides into a row's part. */
static void add_prediction(struct part *p, size_t output, bool first, const double values[2])
{
    if (first)
        *p = (struct part){.top = {-INFINITY, -INFINITY}};
    if (values[0] > p->top[0])
        p->weighted *= exp(p->top[0] - values[0]);
    for (size_t k = 0; k < 2; k++) {
        if (values[k] > p->top[k]) {
            p->sum[k] *= exp(p->top[k] - values[k]);
            p->top[k] = values[k];
            p->choice[k] = output;
        }
        p->sum[k] += exp(values[k] - p->top[k]);
    }
    p->weighted += exp(values[0] - p->top[0]) * (values[0] - values[1]);
}

/* Without a head: unit j of moved B is unit index[j] of B, with its sign. */
static void compare_hidden(struct certify *c)
{
    const struct rb_map *map = rb_motion_map(&c->motion, RB_AXIS_RES_LAST, 0);
    size_t d = c->model->config.hidden_size;
    for (size_t r = 0; r < c->row_count; r++)
        for (size_t j = 0; j < d; j++) {
            size_t from = map->index != NULL ? map->index[j] : j;
            double sign = map->signs != NULL ? (double)map->signs[j] : 1;
            const double values[2] = {sign * (double)c->rows[0][r * d + from],
                                      (double)c->rows[1][r * d + j]};
            compare_one(c, 0, r, from, 0, values);
        }
}

/* Logits [first, first + width) of one side: ret (row_count, width), with bias. */
static enum rb_status side_logits(struct certify *c, size_t side, size_t first, size_t width,
                                  float **ret, struct rb_head_tile *ret_tile,
                                  struct rb_scratch *scratch, struct rb_error *err)
{
    *ret = rb_scratch_alloc(scratch, c->row_count * width, sizeof(float));
    if (*ret == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the probes' logits");
    enum rb_status s = rb_head_read_tile(&c->blend[side], first, width, ret_tile, scratch, err);
    if (s == RB_OK)
        rb_linear(c->rows[side], c->row_count, rb_head_width(c->model), ret_tile->weight, width,
                  *ret);
    return s;
}

/* Some outputs of both sides' heads, compared. */
static enum rb_status compare_item(struct certify *c, size_t tile, struct rb_scratch *scratch,
                                   struct rb_error *err)
{
    if (c->model->head_shape == NULL) {
        compare_hidden(c);
        return RB_OK;
    }
    size_t n = rb_head_outputs(c->model), first = tile * TILE;
    size_t width = n - first < TILE ? n - first : TILE;
    for (size_t side = 0; side < c->sides; side += 2) {
        float *logits[2];
        struct rb_head_tile tiles[2];
        for (size_t k = 0; k < 2; k++) {
            enum rb_status s =
                side_logits(c, side + k, first, width, &logits[k], &tiles[k], scratch, err);
            if (s != RB_OK)
                return s;
        }
        for (size_t i = 0; i < c->row_count * width; i++) {
            double values[2];
            for (size_t k = 0; k < 2; k++)
                values[k] = (double)logits[k][i] + (double)tiles[k].bias[i % width];
            compare_one(c, tile, i / width, first + i % width, side, values);
            if (side == 0 && c->parts != NULL)
                add_prediction(&c->parts[tile * c->row_count + i / width], first + i % width,
                               i % width == 0, values);
        }
    }
    return RB_OK;
}

static enum rb_status check_finite(const struct certify *c, struct rb_error *err)
{
    for (size_t i = 0; i < c->tile_count; i++) {
        const struct odd *o = &c->odd[i];
        if (o->found)
            return rb_error_set(err, RB_ENUMERIC,
                                "%s %zu of row %zu of the certificate's probes is %g in %s, "
                                "expected a finite number",
                                c->model->head_shape == NULL ? "hidden unit" : "logit", o->output,
                                o->row, o->value, side_names[o->side]);
    }
    return RB_OK;
}

/* One row: its KL(B || moved B), and whether both have the same first choice. */
static double row_divergence(const struct certify *c, size_t row, bool *ret_same)
{
    struct part all = c->parts[row];
    for (size_t tile = 1; tile < c->tile_count; tile++) {
        const struct part *p = &c->parts[tile * c->row_count + row];
        double top = fmax(all.top[0], p->top[0]);
        all.weighted = all.weighted * exp(all.top[0] - top) + p->weighted * exp(p->top[0] - top);
        for (size_t k = 0; k < 2; k++) {
            double high = fmax(all.top[k], p->top[k]);
            all.sum[k] = all.sum[k] * exp(all.top[k] - high) + p->sum[k] * exp(p->top[k] - high);
            all.choice[k] = p->top[k] > all.top[k] ? p->choice[k] : all.choice[k];
            all.top[k] = high;
        }
    }
    *ret_same = all.choice[0] == all.choice[1];
    return all.weighted / all.sum[0] - (all.top[0] + log(all.sum[0])) +
           (all.top[1] + log(all.sum[1]));
}

static void conclude_near(struct certify *c)
{
    size_t same = 0;
    double sum = 0;
    for (size_t row = 0; row < c->row_count; row++) {
        bool agrees;
        sum += row_divergence(c, row, &agrees);
        same += agrees;
    }
    c->result.kl = sum / (double)c->row_count;
    c->result.top1_agreement = (double)same / (double)c->row_count;
}

static void conclude(struct certify *c)
{
    const struct rb_config *g = &c->model->config;
    double largest = 0, inner = fmax(g->hidden_size, g->mlp.inner_size);
    for (size_t i = 0; i < c->tile_count; i++) {
        c->result.max_abs_logit_difference = fmax(c->result.max_abs_logit_difference, c->worst[i]);
        largest = fmax(largest, c->largest[i]);
    }
    c->result.tolerance =
        4 * 0x1p-24 * sqrt(inner) * (2.0 * g->num_hidden_layers + 2) * fmax(largest, 1);
    c->result.equivalent = c->result.max_abs_logit_difference <= c->result.tolerance;
    if (c->result.near)
        c->result.equivalent = false; /* whatever was measured: METHOD 10 */
    if (c->parts != NULL)
        conclude_near(c);
}

static enum rb_status init_walker(struct certify *c, struct rb_error *err)
{
    const struct rb_walker_options o = {
        .reads = probes_read(c->model), .with_head = true, .ahead = true};
    return rb_walker_init(&c->walker, c->blend, c->sides, &c->probes, &o, err);
}

static enum rb_status next_round(struct rb_program *p, size_t *ret_items, struct rb_error *err)
{
    struct certify *c = (struct certify *)p;
    if (c->stage == STAGE_START) {
        enum rb_status s = init_walker(c, err);
        if (s != RB_OK)
            return s;
    }
    if (c->stage <= STAGE_WALK) {
        enum rb_status s = c->stage == STAGE_START
                               ? rb_walker_begin(&c->walker, 0, c->probes.count, ret_items, err)
                               : rb_walker_next(&c->walker, ret_items, err);
        c->stage = STAGE_WALK;
        if (s != RB_OK || *ret_items > 0)
            return s;
    }
    c->stage++;
    *ret_items = c->stage == STAGE_HEAD ? c->sides : c->stage == STAGE_COMPARE ? c->tile_count : 0;
    if (c->stage != STAGE_DONE)
        return RB_OK;
    enum rb_status s = check_finite(c, err);
    if (s == RB_OK)
        conclude(c);
    return s;
}

static enum rb_status run_item(struct rb_program *p, size_t item, struct rb_worker *w,
                               struct rb_error *err)
{
    struct certify *c = (struct certify *)p;
    if (c->stage == STAGE_HEAD)
        return gather_item(c, item, &w->scratch, err);
    if (c->stage == STAGE_COMPARE)
        return compare_item(c, item, &w->scratch, err);
    return rb_walker_item(&c->walker, item, &w->scratch, err);
}

static double item_cost(const struct rb_program *p, size_t item)
{
    const struct certify *c = (const struct certify *)p;
    double rows = (double)c->row_count;
    if (c->stage == STAGE_HEAD)
        return rows * rb_head_hidden_cost(c->model);
    if (c->stage == STAGE_COMPARE)
        return (double)c->sides * rows * rb_head_logits_cost(c->model) / (double)c->tile_count;
    return rb_walker_item_cost(&c->walker, item);
}

/* Of all items. */
static double total_cost(const struct certify *c)
{
    const struct rb_model *m = c->model;
    double rows = (double)c->row_count;
    return (double)c->sides * (rb_walker_flops(&m->config, &c->probes, probes_read(m), 0, PROBES) +
                               rows * (rb_head_hidden_cost(m) + rb_head_logits_cost(m)));
}

static void certify_free(struct rb_program *p)
{
    struct certify *c = (struct certify *)p;
    rb_walker_deinit(&c->walker);
    rb_motion_deinit(&c->motion);
    rb_motion_deinit(&c->folded);
    rb_sequences_deinit(&c->probes);
    free(c);
}

static const struct rb_program_ops ops = {next_round, run_item, item_cost, certify_free};

static bool alloc_side(struct certify *c, size_t side)
{
    c->rows[side] =
        rb_program_alloc(&c->program, c->row_count * rb_head_width(c->model), sizeof(float));
    return c->rows[side] != NULL;
}

enum rb_status rb_certify_new(const struct rb_model *b, const struct rb_alignment *a,
                              struct rb_program **ret, struct rb_error *err)
{
    struct certify *c = calloc(1, sizeof *c);
    if (c == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the certificate");
    c->program.ops = &ops;
    c->model = b;
    c->result = (struct rb_certificate){
        .present = true,
        .expected = rb_alignment_preserves(&a->options),
        .near = rb_align_is_near(&a->options),
        .sequences = PROBES,
        .kl = NAN,
        .top1_agreement = NAN,
        .loss_before = NAN,
        .loss_after = NAN,
    };
    enum rb_status s = rb_alignment_motion(a, b, &c->motion, err);
    if (s != RB_OK) {
        free(c);
        return s;
    }
    c->tile_count = b->head_shape == NULL ? 1 : (rb_head_outputs(b) + TILE - 1) / TILE;
    c->worst = rb_program_alloc(&c->program, c->tile_count, sizeof *c->worst);
    c->largest = rb_program_alloc(&c->program, c->tile_count, sizeof *c->largest);
    c->odd = rb_program_alloc(&c->program, c->tile_count, sizeof *c->odd);
    bool ok = make_probes(c) && c->worst != NULL && c->largest != NULL && c->odd != NULL;
    if (c->result.near && b->head_shape != NULL && rb_head_outputs(b) > 1) {
        c->parts =
            rb_program_alloc(&c->program, c->tile_count * c->row_count + 1, sizeof *c->parts);
        ok = ok && c->parts != NULL;
    }
    c->sides = 2;
    for (size_t side = 0; side < c->sides && ok; side++)
        ok = alloc_side(c, side);
    c->blend[0] = rb_blend_single(b, NULL);
    c->blend[1] = rb_blend_single(b, &c->motion);
    if (!ok) {
        rb_program_free(&c->program);
        return rb_error_set(err, RB_ENOMEM, "no memory for the certificate");
    }
    c->program.total_cost = total_cost(c);
    *ret = &c->program;
    return RB_OK;
}

enum rb_status rb_certify_fold(struct rb_program *p, const struct rb_model *a,
                               const struct rb_fold *fold_a, const struct rb_fold *fold_b,
                               struct rb_error *err)
{
    struct certify *c = (struct certify *)p;
    enum rb_status s = rb_motion_init(&c->folded, a->config.num_hidden_layers, err);
    if (s != RB_OK)
        return s;
    c->motion.fold = fold_b;
    c->folded.fold = fold_a;
    c->blend[2] = rb_blend_single(a, NULL);
    c->blend[3] = rb_blend_single(a, &c->folded);
    c->sides = SIDES;
    c->program.total_cost = total_cost(c);
    for (size_t side = 2; side < SIDES; side++)
        if (!alloc_side(c, side))
            return rb_error_set(err, RB_ENOMEM, "no memory for the certificate");
    return RB_OK;
}

struct rb_certificate rb_certify_result(const struct rb_program *p)
{
    return ((const struct certify *)p)->result;
}

double rb_certify_cost(const struct rb_model *b, bool folds)
{
    struct certify c = {.model = b, .sides = folds ? SIDES : 2};
    double cost = make_probes(&c) ? total_cost(&c) : 0;
    rb_sequences_deinit(&c.probes);
    return cost;
}
