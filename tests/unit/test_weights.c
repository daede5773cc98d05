// LINK: core_model core_tensor core_align core_merge
/* A pair's weights and its last term's, moved once for both: the bits of two sets made apart. */
#include "unit/odd_shapes.h"
#include "unit/pair.h"

#include "core/model/weights.h"

static void fill(struct pair *p, const struct rb_weights *w, const struct rb_blend *blend)
{
    for (size_t i = 0; i < w->item_count; i++)
        MUST(rb_weights_fill(w, blend, i, &p->worker.scratch, &p->err), &p->err);
}

static void same(const struct rb_model *m, const struct rb_weights *w,
                 const struct rb_weights *apart, const char *what)
{
    for (enum rb_slot slot = 0; slot < RB_SLOT_COUNT; slot++) {
        size_t rows, columns;
        assert_int_equal(w->w[slot] == NULL, apart->w[slot] == NULL);
        if (w->w[slot] == NULL)
            continue;
        rb_model_size(m, slot, &rows, &columns);
        if (memcmp(w->w[slot], apart->w[slot], rows * columns * sizeof(float)) != 0)
            fail_msg("%s: slot %d has other bits", what, (int)slot);
    }
}

/* B's stream through any matrix, its queries in another order, the rest as it lies. */
static void move(struct pair *p, struct rb_motion *m, bool stream)
{
    static const enum rb_axis axes[] = {RB_AXIS_RES_IN, RB_AXIS_RES_MID, RB_AXIS_RES_OUT};
    uint32_t d = p->b.config.hidden_size, n = p->b.config.mlp.inner_size;
    float *f = must_alloc((size_t)d * d, sizeof *f);
    uint32_t *index = must_alloc(n, sizeof *index);
    uint64_t seed = 3;
    for (size_t i = 0; i < (size_t)d * d; i++)
        f[i] = (float)random_uniform(&seed, -1, 1);
    for (uint32_t i = 0; i < n; i++)
        index[i] = (i + 1) % n;
    MUST(rb_motion_init(m, p->b.config.num_hidden_layers, &p->err), &p->err);
    for (uint32_t l = 0; l < m->layers; l++) {
        for (size_t i = 0; stream && i < COUNT(axes); i++)
            *rb_motion_map(m, axes[i], l) =
                (struct rb_map){.size = d, .blocks = 1, .forward = f, .inverse = f};
        *rb_motion_map(m, RB_AXIS_FF, l) = (struct rb_map){.size = n, .index = index};
    }
    MUST(rb_motion_keep(m, f, &p->err), &p->err);
    MUST(rb_motion_keep(m, index, &p->err), &p->err);
}

static void check(struct pair *p, bool stream, double lambda)
{
    struct rb_weights pair = {0}, last = {0}, pair_apart = {0}, last_apart = {0};
    struct rb_motion motion;
    move(p, &motion, stream);
    struct rb_blend theta = rb_blend_pair(&p->a, &p->b, &motion, lambda);
    struct rb_blend moved = rb_blend_single(&p->b, &motion);
    for (uint32_t l = 0; l < p->b.config.num_hidden_layers; l++) {
        char what[64];
        (void)snprintf(what, sizeof what, "%s, lambda %g, layer %u", p->shape.name, lambda, l);
        MUST(rb_weights_begin_layer(&pair_apart, &theta, l, &p->err), &p->err);
        MUST(rb_weights_begin_layer(&last_apart, &moved, l, &p->err), &p->err);
        fill(p, &pair_apart, &theta);
        fill(p, &last_apart, &moved);
        MUST(rb_weights_begin_both_layer(&pair, &theta, &last, l, &p->err), &p->err);
        fill(p, &pair, &theta);
        same(&p->b, &pair, &pair_apart, what);
        same(&p->b, &last, &last_apart, what);
        MUST(rb_weights_begin_layer(&pair, &theta, l, &p->err), &p->err); /* alone again */
        assert_null(pair.last);
    }
    rb_weights_deinit(&pair);
    rb_weights_deinit(&last);
    rb_weights_deinit(&pair_apart);
    rb_weights_deinit(&last_apart);
    rb_motion_deinit(&motion);
}

static void test_both(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(odd_shapes); i++) {
        struct pair p;
        pair_init(&p, &odd_shapes[i], PAIR_INDEPENDENT, 5);
        pair_open(&p);
        for (int stream = 0; stream < 2; stream++) {
            check(&p, stream,
                  0); /* theta is A as it lies: moved B's rows have items of their own */
            check(&p, stream, 0.3);
            check(&p, stream, 1);
        }
        pair_deinit(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
