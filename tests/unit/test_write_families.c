// LINK: core_merge core_text
/* Merged checkpoints of every family, written and opened again: at lambda 0 A's own bytes under A's
 * own names, at lambda 1/2 the very weights that were evaluated, whatever view the file has them in
 * (plain, transposed, thirds, interleaved by head). Bit for bit. */
#include "unit/numbers.h"
#include "unit/tmpdir.h"

#include "core/align/alignment.h"
#include "core/merge/write.h"
#include "core/model/head.h"

#include <cblas.h>
#include <stdio.h>
#include <sys/stat.h>

struct merge {
    const char *family;
    struct tmpdir dir;
    struct rb_model a, b, merged;
    struct rb_motion motion;
    uint32_t *ff, *stream;
    struct rb_worker worker;
    struct rb_error err;
};

static void open_model(struct merge *m, char which, struct rb_model *ret)
{
    char path[512];
    bool head = strncmp(m->family, "heads/", 6) == 0; /* one model, which is A and B */
    (void)snprintf(path, sizeof path, head ? "%s/%s" : "%s/models/%s-%c", RB_FIXTURES, m->family,
                   which);
    MUST(rb_model_open(path, ret, &m->err), &m->err);
}

/* FF units and the stream in random orders; tied heads, and embeddings in the stream's basis, go
 * along. */
static void make_motion(struct merge *m)
{
    static const enum rb_axis all[] = {RB_AXIS_RES_FIRST, RB_AXIS_RES_IN,   RB_AXIS_RES_MID,
                                       RB_AXIS_RES_OUT,   RB_AXIS_RES_LAST, RB_AXIS_TRANSFORM,
                                       RB_AXIS_EMBEDDING};
    const struct rb_config *c = &m->a.config;
    bool narrow = c->embedding_size != c->hidden_size;
    uint64_t seed = 3;
    m->ff = must_alloc(c->mlp.inner_size, sizeof *m->ff);
    m->stream = must_alloc(c->hidden_size, sizeof *m->stream);
    random_permutation(&seed, m->ff, c->mlp.inner_size);
    random_permutation(&seed, m->stream, c->hidden_size);
    MUST(rb_motion_init(&m->motion, c->num_hidden_layers, &m->err), &m->err);
    for (uint32_t l = 0; l < c->num_hidden_layers; l++) {
        const struct rb_map ff = {.size = c->mlp.inner_size, .index = m->ff};
        *rb_motion_map(&m->motion, RB_AXIS_FF, l) = ff;
        *rb_motion_map(&m->motion, RB_AXIS_FF_GATE, l) = ff;
        for (size_t i = 0; i < sizeof all / sizeof all[0] - (narrow ? 2 : 0); i++)
            *rb_motion_map(&m->motion, all[i], l) =
                (struct rb_map){.size = c->hidden_size, .index = m->stream};
    }
}

static void write_and_open(struct merge *m, double lambda, struct rb_blend *ret)
{
    struct rb_program *p;
    char path[600], config_path[600];
    const char *folder = tmpdir_path(&m->dir, "merged");
    *ret = rb_blend_pair(&m->a, &m->b, &m->motion, lambda);
    (void)mkdir(folder, 0700);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    (void)snprintf(config_path, sizeof config_path, "%s/config.json", folder);
    json_t *config = rb_write_config(ret, RB_OUT_SOURCE);
    assert_non_null(config);
    assert_int_equal(json_dump_file(config, config_path, 0), 0);
    json_decref(config);
    MUST(rb_write_new(ret, RB_OUT_SOURCE, path, NULL, 0, &p, &m->err), &m->err);
    MUST(rb_program_run(p, &m->worker, &m->err), &m->err);
    rb_program_free(p);
    MUST(rb_model_open(folder, &m->merged, &m->err), &m->err);
}

static void assert_bytes_of_a(const struct merge *m)
{
    const struct rb_checkpoint *a = &m->a.checkpoint, *c = &m->merged.checkpoint;
    assert_int_equal(c->tensor_count, a->tensor_count);
    for (size_t i = 0; i < a->tensor_count; i++) {
        const struct rb_tensor *x = a->tensors[i], *y = rb_checkpoint_find(c, x->name);
        if (y == NULL || y->bytes != x->bytes || y->dtype != x->dtype ||
            memcmp(x->data, y->data, x->bytes) != 0)
            fail_msg("%s: tensor '%s' is not A's", m->family, x->name);
    }
}

static float *rows_of(struct merge *m, const struct rb_blend *blend, enum rb_slot slot, uint32_t l,
                      size_t *ret_floats)
{
    size_t rows, columns;
    rb_model_size(&m->a, slot, &rows, &columns);
    *ret_floats = rows * columns;
    float *x = must_alloc(*ret_floats, sizeof *x);
    rb_scratch_reset(&m->worker.scratch);
    MUST(rb_blend_rows(blend, slot, l, 0, rows, x, &m->worker.scratch, &m->err), &m->err);
    return x;
}

static void assert_weights(struct merge *m, const struct rb_blend *blend)
{
    const struct rb_blend merged = rb_blend_single(&m->merged, NULL);
    for (enum rb_slot s = 0; s < RB_SLOT_COUNT; s++)
        for (uint32_t l = 0; l < m->a.config.num_hidden_layers; l++) {
            const struct rb_tensor *t = rb_model_tensor(&m->merged, s, l);
            size_t n;
            if (t == NULL)
                continue;
            float *found = rows_of(m, &merged, s, l, &n), *expected = rows_of(m, blend, s, l, &n);
            for (size_t i = 0; i < n; i++) { /* rounded to the file's dtype */
                double room;
                rb_dtype_from_f32(t->dtype, expected + i, &room, 1);
                rb_dtype_to_f32(t->dtype, &room, expected + i, 1);
            }
            if (memcmp(found, expected, n * sizeof *found) != 0)
                fail_msg("%s: %s of layer %u", m->family, rb_family_row(m->a.family, s)->name, l);
            free(found);
            free(expected);
        }
}

static void test_every_family(void **state)
{
    (void)state;
    static const char *const families[] = {"heads/RobertaForMaskedLM",
                                           "heads/RobertaForSequenceClassification",
                                           "heads/DistilBertForMaskedLM",
                                           "heads/ElectraForMaskedLM",
                                           "heads/ElectraForMaskedLM-proj",
                                           "gpt2",
                                           "neox",
                                           "llama"};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        struct merge m = {.family = families[i]};
        struct rb_blend blend;
        tmpdir_init(&m.dir);
        rb_worker_init(&m.worker, NULL);
        open_model(&m, 'a', &m.a);
        open_model(&m, 'b', &m.b);
        make_motion(&m);
        write_and_open(&m, 0, &blend);
        assert_bytes_of_a(&m);
        rb_model_deinit(&m.merged);
        write_and_open(&m, 0.5, &blend);
        assert_weights(&m, &blend);
        assert_int_equal(m.merged.head, m.a.head);
        rb_model_deinit(&m.merged);
        rb_motion_deinit(&m.motion);
        free(m.ff);
        free(m.stream);
        rb_model_deinit(&m.a);
        rb_model_deinit(&m.b);
        rb_worker_deinit(&m.worker);
        tmpdir_deinit(&m.dir);
    }
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_family)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
