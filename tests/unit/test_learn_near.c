// LINK: core_learn core_merge core_text
/* The gradient of near-equivalent learning against F64: the loss of theta(lambda) by the plain
 * forward pass, B moved by the formulas of METHOD 10 and 11 (readers W O, writers O^T W, gains
 * (O o O)^T g), along directions in the stream's W, by differences that are good to nine digits. */
#include "unit/odd_shapes.h"
#include "unit/pair.h"

#include "unit/naive_bert.h"

#include "core/learn/learn.h"
#include "core/learn/learn_internal.h"

enum { BLOCKS = 12, BLOCK = 11, STEP_BLOCKS = 5 };
static const double LAMBDA = 0.7;

/* o (d, d) = (I - K)^-1 (I + K), K = P W P - its transpose, P taking out what is along 1. */
static void turn_of(const double *w, size_t d, double *o)
{
    double *c = must_alloc(d * d, sizeof *c), *left = must_alloc(d * d, sizeof *left);
    double *rows = must_alloc(d, sizeof *rows), *columns = must_alloc(d, sizeof *columns), all = 0;
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) {
            rows[i] += w[i * d + j] / (double)d;
            columns[j] += w[i * d + j] / (double)d;
            all += w[i * d + j] / (double)(d * d);
        }
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++)
            c[i * d + j] = w[i * d + j] - rows[i] - columns[j] + all;
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) {
            double k = c[i * d + j] - c[j * d + i];
            left[i * d + j] = (i == j) - k;
            o[i * d + j] = (i == j) + k;
        }
    for (size_t k = 0; k < d; k++) { /* Gauss and Jordan: I - K has a positive symmetric part */
        double pivot = left[k * d + k];
        for (size_t j = 0; j < d; j++) {
            left[k * d + j] /= pivot;
            o[k * d + j] /= pivot;
        }
        for (size_t i = 0; i < d; i++) {
            double f = i == k ? 0 : left[i * d + k];
            for (size_t j = 0; j < d && i != k; j++) {
                left[i * d + j] -= f * left[k * d + j];
                o[i * d + j] -= f * o[k * d + j];
            }
        }
    }
    free(c);
    free(left);
    free(rows);
    free(columns);
}

/* One tensor of B, moved: new. */
static double *moved(const struct random_tensor *t, const double *o, size_t d)
{
    size_t rows = t->rows, columns = t->columns;
    bool gain = strstr(t->row->name, "LayerNorm.weight") != NULL;
    double *x = must_alloc(rows * columns, sizeof *x);
    memcpy(x, t->values, rows * columns * sizeof *x);
    if (t->row->axes[0] == 'e')
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < columns; j++) {
                double sum = 0;
                for (size_t k = 0; k < d; k++)
                    sum += o[k * d + i] * (gain ? o[k * d + i] : 1) * t->values[k * columns + j];
                x[i * columns + j] = sum;
            }
    if (t->row->axes[0] != '\0' && t->row->axes[1] == 'e')
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < columns; j++) {
                double sum = 0;
                for (size_t k = 0; k < d; k++)
                    sum += t->values[i * columns + k] * o[k * d + j];
                x[i * columns + j] = sum;
            }
    return x;
}

static double loss_at(const struct pair *p, const struct rb_sequences *s, const double *w)
{
    struct random_model theta;
    size_t d = p->shape.hidden;
    double *o = must_alloc(d * d, sizeof *o);
    turn_of(w, d, o);
    random_model_init(&theta, &p->shape, 5);
    for (size_t i = 0; i < theta.count; i++) {
        const struct random_tensor *a = &p->random_a.tensors[i], *b = &p->random_b.tensors[i];
        double *x = moved(b, o, d);
        for (size_t k = 0; k < a->rows * a->columns; k++)
            theta.tensors[i].values[k] = (1 - LAMBDA) * a->values[k] + LAMBDA * x[k];
        free(x);
    }
    double loss = naive_loss(&theta, s);
    random_model_deinit(&theta);
    free(o);
    return loss;
}

/* The program's gradient at w. */
static void gradient_at(struct pair *p, const struct rb_learn_text *text,
                        const struct rb_learn_options *o, const double *w, double *dx,
                        double *ret_loss)
{
    struct rb_motion motion;
    struct rb_program *program;
    MUST(rb_motion_init(&motion, p->b.config.num_hidden_layers, &p->err), &p->err);
    MUST(rb_learn_new(&p->a, NULL, &p->b, &motion, text, o, &program, &p->err), &p->err);
    struct rb_learn *c = (struct rb_learn *)program;
    assert_int_equal(c->maps.parameters, p->shape.hidden * p->shape.hidden);
    memcpy(c->maps.x, w, c->maps.parameters * sizeof *w);
    MUST(rb_program_run(program, &p->worker, &p->err), &p->err);
    memcpy(dx, c->maps.dx, c->maps.parameters * sizeof *dx);
    *ret_loss = rb_learn_last_loss(program);
    rb_program_free(program);
    rb_motion_deinit(&motion);
}

static double along(const struct pair *p, const struct rb_sequences *s, const double *w,
                    const double *way, double h)
{
    size_t n = (size_t)p->shape.hidden * p->shape.hidden;
    double *x = must_alloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = w[i] + h * way[i];
    double loss = loss_at(p, s, x);
    free(x);
    return loss;
}

static struct rb_sequences blocks_of(const struct pair *p)
{
    uint64_t seed = 99;
    struct rb_sequences s = random_lengths(BLOCKS, BLOCK, BLOCK, &seed);
    for (size_t i = 0; i < s.starts[BLOCKS]; i++)
        s.ids[i] = (int32_t)random_index(&seed, p->shape.vocab);
    return s;
}

static void check_shape(const struct random_shape *shape)
{
    struct pair p;
    pair_init(&p, shape, PAIR_INDEPENDENT, 5);
    pair_open(&p);
    struct rb_sequences blocks = blocks_of(&p);
    const struct rb_learn_text text = {
        .blocks = &blocks, .mask_id = 1, .mask_vocabulary = shape->vocab, .mask_probability = 0.4};
    struct rb_learn_options o;
    rb_learn_options_default(&o);
    o.steps = 1;
    o.learning_rate = 0;
    o.batch_tokens = STEP_BLOCKS * BLOCK;
    o.lambda[0] = o.lambda[1] = LAMBDA;
    o.query_keys = o.values = false;
    struct rb_learn_batch batch;
    MUST(rb_learn_batch_init(&batch, &text, STEP_BLOCKS, &p.err), &p.err);
    rb_learn_batch_draw(&batch, &text, STEP_BLOCKS, o.seed, 0);
    size_t n = (size_t)shape->hidden * shape->hidden;
    double *w = must_alloc(n, sizeof *w), *dx = must_alloc(n, sizeof *dx);
    double *way = must_alloc(n, sizeof *way), norm = 0, loss, h = 1e-3;
    uint64_t seed = 7;
    for (size_t i = 0; i < n; i++)
        w[i] = random_uniform(&seed, -0.1, 0.1);
    gradient_at(&p, &text, &o, w, dx, &loss);
    double plain = loss_at(&p, &batch.s, w);
    if (!(fabs(loss - plain) <= 1e-5 * plain))
        fail_msg("%s: the loss is %.8g, plainly %.8g", shape->name, loss, plain);
    for (size_t i = 0; i < n; i++)
        norm += dx[i] * dx[i];
    for (int k = 0; k < 4; k++) { /* mostly the gradient, then anywhere */
        double slope = 0, size = 0, share = k == 0 ? 1 : 0.3;
        for (size_t i = 0; i < n; i++) {
            way[i] = share * dx[i] / sqrt(norm) +
                     (k > 0) * random_uniform(&seed, -1, 1) / sqrt((double)n);
            slope += way[i] * dx[i];
            size += fabs(way[i] * dx[i]);
        }
        double found =
            (8 * (along(&p, &batch.s, w, way, h) - along(&p, &batch.s, w, way, -h)) -
             (along(&p, &batch.s, w, way, 2 * h) - along(&p, &batch.s, w, way, -2 * h))) /
            (12 * h);
        if (!(fabs(found - slope) <= 1e-3 * fabs(found) + 1e-6 * size))
            fail_msg("%s, direction %d: derivative %.9g, in F64 %.9g", shape->name, k, slope,
                     found);
    }
    free(w);
    free(dx);
    free(way);
    rb_learn_batch_deinit(&batch);
    rb_sequences_deinit(&blocks);
    pair_deinit(&p);
}

static void test_near_gradients_against_f64(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(odd_shapes); i++)
        if (odd_shapes[i].decoder == DECODER_UNTIED && odd_shapes[i].head == RB_HEAD_MLM) {
            struct random_shape s = odd_shapes[i];
            check_shape(&s);
            s.hidden = 21; /* odd in every way */
            s.heads = 3;
            s.layers = 3;
            s.intermediate = 17;
            s.name = "untied decoder, 21 wide";
            check_shape(&s);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_near_gradients_against_f64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
