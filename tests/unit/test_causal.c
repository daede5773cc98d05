// LINK: core_model
/* Rotary tables and causal attention against the formulas in F64, over odd shapes: one
 * key-value head, three queries a group, rotary of half a head, every length up to beyond a tile.
 */
#include "unit/naive_attention.h"

#include "core/memory.h"

static const struct shape {
    size_t heads, kv_heads, head_dim;
    uint32_t rotary;
} shapes[] = {
    {1, 1, 1, 0}, {2, 2, 8, 0}, {3, 1, 5, 4},    {6, 2, 10, 10}, {4, 4, 16, 4},
    {8, 1, 7, 6}, {5, 5, 3, 2}, {12, 4, 64, 64}, {80, 1, 2, 2},
};

static float *draw_floats(size_t n, double size, uint64_t *seed)
{
    float *x =
        must_alloc(n, sizeof *x); /* exactly as long as promised: the sanitizer sees the end */
    for (size_t i = 0; i < n; i++)
        x[i] = (float)random_uniform(seed, -size, size);
    return x;
}

/* Some tokens, ascending, at least one. */
static size_t draw_rows(size_t length, uint32_t *rows, uint64_t *seed)
{
    size_t n = 0;
    for (size_t t = 0; t < length; t++)
        if (random_index(seed, 3) == 0)
            rows[n++] = (uint32_t)t;
    if (n == 0)
        rows[n++] = (uint32_t)random_index(seed, length);
    return n;
}

struct pass {
    struct rb_causal causal;
    struct rb_rope rope;
    size_t length, row_count;
    const uint32_t *rows;
};

static double check_pass(const struct pass *p, double size, uint64_t *seed)
{
    const struct rb_causal *c = &p->causal;
    size_t wide = c->heads * c->head_dim, narrow = c->kv_heads * c->head_dim;
    float *q = draw_floats(p->row_count * wide, size, seed);
    float *k = draw_floats(p->length * narrow, size, seed);
    float *v = draw_floats(p->length * narrow, 1, seed);
    float *out = must_alloc(p->row_count * wide, sizeof *out);
    size_t floats = rb_causal_floats(c, p->length);
    float *scratch = rb_malloc_aligned(floats, sizeof *scratch);
    double *expected = must_alloc(p->row_count * wide, sizeof *expected), worst = 0;
    assert_non_null(scratch);
    naive_causal_attend(c, p->rope.dims > 0 ? &p->rope : NULL, q, k, v, p->rows, p->row_count,
                        expected);
    rb_causal_attend(c, q, k, v, p->length, p->rows, p->row_count, out, scratch);
    for (size_t i = 0; i < p->row_count * wide; i++) {
        double error = fabs((double)out[i] - expected[i]);
        if (!(error <= 1e-5))
            fail_msg("%zu/%zu heads of %zu, rotary %u, %zu of %zu tokens: entry %zu is %.9g, "
                     "expected %.9g",
                     c->heads, c->kv_heads, c->head_dim, p->rope.dims, p->row_count, p->length, i,
                     (double)out[i], expected[i]);
        worst = fmax(worst, error);
    }
    rb_causal_attend(c, q, k, v, p->length, p->rows, p->row_count, q, scratch); /* in place */
    assert_memory_equal(q, out, p->row_count * wide * sizeof *q);
    free(q);
    free(k);
    free(v);
    free(out);
    free(scratch);
    free(expected);
    return worst;
}

static double check_shape(const struct shape *s, size_t length, uint64_t *seed)
{
    struct rb_rotary rotary = {0};
    struct rb_error err;
    uint32_t *rows = must_alloc(length, sizeof *rows);
    struct pass p = {
        .causal = {s->heads, s->kv_heads, s->head_dim, 1 / sqrtf((float)s->head_dim), &rotary},
        .rope = {.dims = s->rotary, .theta = 1e4},
        .length = length,
        .row_count = length,
    };
    assert_int_equal(rb_rotary_init(&p.rope, length, &rotary, &err), RB_OK);
    double worst = check_pass(&p, 3, seed);
    p.row_count = draw_rows(length, rows, seed);
    p.rows = rows;
    worst = fmax(worst, check_pass(&p, 3, seed));
    rb_rotary_deinit(&rotary);
    free(rows);
    return worst;
}

static void test_shapes(void **state)
{
    (void)state;
    static const size_t longer[] = {63, 64, 65, 130, 301};
    uint64_t seed = 7;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        double worst = 0;
        for (size_t length = 1; length <= 20; length++)
            worst = fmax(worst, check_shape(&shapes[i], length, &seed));
        for (size_t l = 0; l < COUNT(longer); l++)
            worst = fmax(worst, check_shape(&shapes[i], longer[l], &seed));
        print_message("  %zu/%zu heads of %zu, rotary %u: worst error %.2g\n", shapes[i].heads,
                      shapes[i].kv_heads, shapes[i].head_dim, shapes[i].rotary, worst);
    }
}

/* A later token changes nothing, to the last bit: neither itself nor a value of no number. */
static void test_mask(void **state)
{
    (void)state;
    enum { LENGTH = 150, HEADS = 4, DH = 8, WIDE = HEADS * DH, SEEN = 97 };
    uint64_t seed = 8;
    const struct rb_causal c = {HEADS, HEADS, DH, 0.35F, NULL};
    float *q = draw_floats(LENGTH * WIDE, 2, &seed), *k = draw_floats(LENGTH * WIDE, 2, &seed);
    float *v = draw_floats(LENGTH * WIDE, 2, &seed), *a = draw_floats(LENGTH * WIDE, 0, &seed);
    float *b = draw_floats(LENGTH * WIDE, 0, &seed);
    float *scratch = rb_malloc_aligned(rb_causal_floats(&c, LENGTH), sizeof *scratch);
    rb_causal_attend(&c, q, k, v, LENGTH, NULL, LENGTH, a, scratch);
    for (size_t i = SEEN * WIDE; i < LENGTH * WIDE; i++)
        k[i] = v[i] = 5;
    rb_causal_attend(&c, q, k, v, LENGTH, NULL, LENGTH, b, scratch);
    assert_memory_equal(a, b, SEEN * WIDE * sizeof *a);
    assert_memory_not_equal(a + SEEN * WIDE, b + SEEN * WIDE, (LENGTH - SEEN) * WIDE * sizeof *a);
    free(q);
    free(k);
    free(v);
    free(a);
    free(b);
    free(scratch);
}

/* Long contexts: memory that grows with the length, not with its square. */
static void test_memory(void **state)
{
    (void)state;
    const struct rb_causal c = {32, 8, 128, 1, NULL};
    size_t at_4096 = rb_causal_floats(&c, 4096);
    assert_in_range(at_4096, 1, 4096 * (64 + 128) + 64 * 130 * 2);
    assert_in_range(rb_causal_floats(&c, 8192), at_4096, 2 * at_4096);
}

/* ---- rotary ---- */

static void check_rotary(const struct rb_rope *rope, size_t positions, size_t head_dim)
{
    struct rb_rotary r;
    struct rb_error err;
    uint64_t seed = 9;
    float *x = draw_floats(head_dim, 4, &seed), *y = draw_floats(head_dim, 4, &seed);
    double *wide = must_alloc(head_dim, sizeof *wide),
           *expected = must_alloc(head_dim, sizeof *wide);
    assert_int_equal(rb_rotary_init(rope, positions, &r, &err), RB_OK);
    for (size_t i = 0; i < head_dim; i++)
        wide[i] = (double)x[i];
    for (size_t t = 0; t < positions; t++) {
        rb_rotary_turn(&r, t, x, head_dim, y);
        rb_ref_rotary(rope, t, wide, head_dim, expected);
        for (size_t i = 0; i < head_dim; i++)
            assert_float_equal(y[i], expected[i], 2e-6);
    }
    rb_rotary_turn(&r, positions - 1, x, head_dim, x);
    assert_memory_equal(x, y, head_dim * sizeof *x);
    rb_rotary_deinit(&r);
    free(x);
    free(y);
    free(wide);
    free(expected);
}

static void test_rotary(void **state)
{
    (void)state;
    const struct rb_rope plain = {.dims = 16, .theta = 1e4};
    const struct rb_rope part = {.dims = 6, .theta = 5e5};
    const struct rb_rope none = {.dims = 0, .theta = 1e4};
    check_rotary(&plain, 4096, 16);
    check_rotary(&part, 50, 13);
    check_rotary(&none, 3, 4);
    assert_float_equal(rb_rope_frequency(&plain, 0), 1, 0);
    assert_float_equal(rb_rope_frequency(&plain, 4), 0.01, 1e-12);
}

/* Llama 3.1's figures: short waves as they are, long ones eight times longer, between them between.
 */
static void test_llama3(void **state)
{
    (void)state;
    const struct rb_rope plain = {.dims = 128, .theta = 5e5};
    struct rb_rope r = plain;
    r.scaling = RB_ROPE_LLAMA3;
    r.factor = 8;
    r.low_frequency_factor = 1;
    r.high_frequency_factor = 4;
    r.original_positions = 8192;
    size_t kept = 0, stretched = 0, between = 0;
    for (size_t i = 0; i < 64; i++) {
        double f = rb_rope_frequency(&plain, i), g = rb_rope_frequency(&r, i);
        double wave = 2 * M_PI / f;
        if (wave < 8192.0 / 4)
            kept += fabs(g - f) < 1e-15 * f;
        else if (wave > 8192.0)
            stretched += fabs(g - f / 8) < 1e-15;
        else
            between += g < f && g > f / 8;
    }
    assert_int_equal(kept, 29); /* planes whose wave is shorter than 2,048 positions */
    assert_int_equal(between, 6);
    assert_int_equal(stretched, 29);
    check_rotary(&r, 300, 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rotary), cmocka_unit_test(test_llama3), cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_mask),   cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
