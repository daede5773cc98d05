// LINK: core_merge
/* The certificate tells a motion that is a little wrong: whichever of the moved B's tensors is off
 * by a thousandth, in every kind of head and dtype, and whatever turns inside heads by something
 * that is no rotation. A right one it accepts with room to spare, so neither holds by chance. */
#include "core/align/certify.c"

#include "unit/odd_shapes.h"
#include "unit/pair.h"

#include <cblas.h>

static const double WRONG = 2e-3; /* relative; F16 and BF16 are given their own steps */

static const struct rb_align_options every = {.components = RB_COMPONENT_FF | RB_COMPONENT_MHA |
                                                            RB_COMPONENT_RESIDUAL,
                                              .residual = RB_RESIDUAL_LAST};

/* The certificate of a B that is moved by a, where what is moved is `other`. */
static struct rb_certificate certify_another(struct pair *p, const struct rb_alignment *a,
                                             const struct rb_model *other)
{
    struct rb_program *program;
    MUST(rb_certify_new(&p->b, a, &program, &p->err), &p->err);
    struct certify *c = (struct certify *)program;
    c->blend[1] = rb_blend_single(other, &c->motion);
    MUST(rb_program_run(program, &p->worker, &p->err), &p->err);
    struct rb_certificate result = rb_certify_result(program);
    rb_program_free(program);
    return result;
}

/* Added to all keys alike, it leaves every softmax as it is. */
static bool is_without_effect(const char *name)
{
    return strstr(name, "key.bias") != NULL || strstr(name, "seq_relationship") != NULL ||
           strstr(name, "pooler") != NULL;
}

static void check_tensors(const struct random_shape *shape)
{
    struct pair p;
    pair_init(&p, shape, PAIR_INDEPENDENT, 11);
    pair_open(&p);
    struct rb_alignment *a = pair_align(&p, &every);
    struct rb_certificate right = certify_another(&p, a, &p.b);
    if (!right.equivalent || right.max_abs_logit_difference > right.tolerance / 2)
        fail_msg("%s: right, but %g of %g", shape->name, right.max_abs_logit_difference,
                 right.tolerance);
    double wrong = shape->dtype == RB_BF16 ? 0x1p-7 : WRONG;
    for (size_t t = 0; t < p.random_b.count; t++) {
        struct random_tensor *tensor = &p.random_b.tensors[t];
        size_t n = tensor->rows * tensor->columns;
        char name[128], folder[32];
        random_name(shape, tensor, name, sizeof name);
        if (is_without_effect(tensor->row->name) && shape->head != RB_HEAD_CLASSIFIER)
            continue;
        if (strstr(tensor->row->name, "key.bias") != NULL || tensor->layer > 0)
            continue;
        double *kept = must_alloc(n, sizeof *kept);
        memcpy(kept, tensor->values, n * sizeof *kept);
        for (size_t i = 0; i < n; i++)
            tensor->values[i] = kept[i] * (1 + (i % 2 ? wrong : -wrong));
        struct rb_model other;
        (void)snprintf(folder, sizeof folder, "w%zu", t);
        random_model_open(&p.random_b, &p.dir, folder, &other);
        struct rb_certificate c = certify_another(&p, a, &other);
        if (c.equivalent)
            fail_msg("%s: %s is wrong by %g, and the certificate says %g <= %g", shape->name, name,
                     wrong, c.max_abs_logit_difference, c.tolerance);
        rb_model_deinit(&other);
        memcpy(tensor->values, kept, n * sizeof *kept);
        free(kept);
    }
    rb_alignment_free(a);
    pair_deinit(&p);
}

static void test_every_tensor(void **state)
{
    (void)state;
    /* plain, no head, an untied decoder, F16, BF16, F64, a classifier, a regression in F16 */
    static const size_t some[] = {0, 8, 10, 13, 14, 15, 16, 17};
    for (size_t i = 0; i < COUNT(some); i++)
        check_tensors(&odd_shapes[some[i]]);
}

static void test_turns_that_are_none(void **state)
{
    (void)state;
    const struct rb_align_options o = {.components = RB_COMPONENT_MHA, .rotate_heads = true};
    struct pair p;
    pair_init(&p, &odd_shapes[0], PAIR_INDEPENDENT, 12);
    pair_open(&p);
    struct rb_alignment *a = pair_align(&p, &o);
    assert_true(a->certificate.equivalent);
    size_t turned = 0;
    for (size_t g = 0; g < a->group_count; g++) {
        float *matrices[] = {a->groups[g].rotation, a->groups[g].value_rotation};
        for (size_t m = 0; m < COUNT(matrices); m++) {
            if (matrices[m] == NULL)
                continue;
            float right = matrices[m][0];
            matrices[m][0] += (float)WRONG;
            assert_false(pair_certify(&p, a).equivalent);
            matrices[m][0] = right;
            turned++;
        }
    }
    assert_true(turned >= 2);
    assert_true(pair_certify(&p, a).equivalent);
    rb_alignment_free(a);
    pair_deinit(&p);
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_tensor),
                                       cmocka_unit_test(test_turns_that_are_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
