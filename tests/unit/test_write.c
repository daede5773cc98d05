// LINK: core_merge
/* Merged checkpoints, written and opened again: A at lambda 0, B's function at lambda 1, and
 * between them the very weights that were evaluated; in every dtype, with and without a decoder of
 * its own. Tolerance: weights bit for bit; FLAT for losses of the same function. */
#include "unit/odd_shapes.h"
#include "unit/pair.h"

#include "core/merge/write.h"

#include <cblas.h>

static const double FLAT = 1e-5;

struct merge {
    struct pair pair;
    struct rb_alignment *alignment;
    struct rb_motion motion;
    struct rb_blend blend;
    struct rb_model merged;
    char path[600];
};

static void merge_init(struct merge *m, const struct random_shape *shape, enum rb_decoder decoder)
{
    struct rb_align_options o;
    rb_align_options_default(&o);
    o.components = RB_COMPONENT_FF | RB_COMPONENT_MHA | RB_COMPONENT_RESIDUAL;
    o.decoder = decoder;
    pair_init(&m->pair, shape, PAIR_INDEPENDENT, 91);
    pair_open(&m->pair);
    m->alignment = pair_align(&m->pair, &o);
    MUST(rb_alignment_motion(m->alignment, &m->pair.b, &m->motion, &m->pair.err), &m->pair.err);
    m->blend = rb_blend_pair(&m->pair.a, &m->pair.b, &m->motion, 0);
}

static void merge_deinit(struct merge *m)
{
    rb_motion_deinit(&m->motion);
    rb_alignment_free(m->alignment);
    pair_deinit(&m->pair);
}

/* Writes the blend and opens what was written. */
static void write_and_open(struct merge *m, enum rb_output_dtype dtype)
{
    static const struct rb_metadata metadata[] = {{"lambda", "some"}, {"from", "a and b"}};
    struct rb_program *p;
    const char *folder = tmpdir_path(&m->pair.dir, "merged");
    char config_path[600];
    assert_true(mkdir(folder, 0700) == 0 || errno == EEXIST);
    (void)snprintf(m->path, sizeof m->path, "%s/model.safetensors", folder);
    (void)snprintf(config_path, sizeof config_path, "%s/config.json", folder);
    json_t *config = rb_write_config(&m->blend, dtype);
    assert_non_null(config);
    assert_int_equal(json_dump_file(config, config_path, 0), 0);
    json_decref(config);
    MUST(rb_write_new(&m->blend, dtype, m->path, metadata, 2, &p, &m->pair.err), &m->pair.err);
    assert_true(p->total_cost > 0);
    MUST(rb_program_run(p, &m->pair.worker, &m->pair.err), &m->pair.err);
    rb_program_free(p);
    MUST(rb_model_open(folder, &m->merged, &m->pair.err), &m->pair.err);
    const struct rb_safetensors *st = m->merged.checkpoint.shards[0].file;
    assert_string_equal(rb_safetensors_metadata(st, "format"), "pt");
    assert_string_equal(rb_safetensors_metadata(st, "lambda"), "some");
    assert_string_equal(rb_safetensors_metadata(st, "from"), "a and b");
}

static float *rows_of(struct merge *m, const struct rb_blend *blend, enum rb_slot slot, uint32_t l,
                      size_t *ret_floats)
{
    size_t rows, columns;
    rb_model_size(&m->pair.a, slot, &rows, &columns);
    *ret_floats = rows * columns;
    float *x = must_alloc(*ret_floats, sizeof *x);
    rb_scratch_reset(&m->pair.worker.scratch);
    MUST(rb_blend_rows(blend, slot, l, 0, rows, x, &m->pair.worker.scratch, &m->pair.err),
         &m->pair.err);
    return x;
}

static void set_lambda(struct merge *m, double lambda)
{
    m->blend = rb_blend_pair(&m->pair.a, &m->pair.b, &m->motion, lambda);
}

/* What is in the file is what was evaluated, rounded to its dtype. */
static void assert_weights(struct merge *m, enum rb_dtype dtype)
{
    const struct rb_blend merged = rb_blend_single(&m->merged, NULL);
    for (enum rb_slot r = 0; r < RB_SLOT_COUNT; r++)
        for (uint32_t l = 0; l < m->pair.shape.layers; l++) {
            size_t n;
            if (rb_model_tensor(&m->pair.a, r, l) == NULL)
                continue;
            float *found = rows_of(m, &merged, r, l, &n),
                  *expected = rows_of(m, &m->blend, r, l, &n);
            for (size_t i = 0; i < n; i++)
                expected[i] = (float)random_rounded(dtype, (double)expected[i]);
            if (memcmp(found, expected, n * sizeof *found) != 0)
                fail_msg("%s, lambda %g: %s of layer %u", m->pair.shape.name, m->blend.lambda,
                         m->pair.a.family->rows[r].name, l);
            assert_int_equal(rb_model_tensor(&m->merged, r, l)->dtype, dtype);
            free(found);
            free(expected);
        }
}

/* The same names as A's, and bytes if the dtype is the same; buffers always. */
static void assert_tensors_of_a(const struct merge *m, bool bytes, bool own_decoder)
{
    const struct rb_checkpoint *a = &m->pair.a.checkpoint, *c = &m->merged.checkpoint;
    assert_int_equal(c->tensor_count, a->tensor_count + own_decoder);
    for (size_t i = 0; i < a->tensor_count; i++) {
        const struct rb_tensor *x = a->tensors[i], *y = rb_checkpoint_find(c, x->name);
        if (y == NULL)
            fail_msg("%s: tensor '%s' is not there", m->pair.shape.name, x->name);
        assert_int_equal(y->rank, x->rank);
        assert_memory_equal(y->shape, x->shape, sizeof x->shape);
        if (bytes || !rb_dtype_is_float(x->dtype)) {
            assert_int_equal(y->dtype, x->dtype);
            assert_memory_equal(y->data, x->data, x->bytes);
        }
    }
}

static void assert_estimate(const struct merge *m, enum rb_output_dtype dtype)
{
    struct stat st;
    assert_int_equal(stat(m->path, &st), 0);
    uint64_t bytes = (uint64_t)st.st_size, estimate = rb_write_bytes(&m->blend, dtype);
    if (estimate < bytes || estimate > bytes + 4096 + 128 * (m->merged.checkpoint.tensor_count + 1))
        fail_msg("%s: %llu bytes, estimated %llu", m->pair.shape.name, (unsigned long long)bytes,
                 (unsigned long long)estimate);
}

static void assert_config(const struct merge *m, const char *torch_dtype, bool untied)
{
    const json_t *c = m->merged.checkpoint.config;
    assert_string_equal(json_string_value(json_object_get(c, "torch_dtype")), torch_dtype);
    if (untied)
        assert_true(json_is_false(json_object_get(c, "tie_word_embeddings")));
    assert_int_equal(m->merged.unembedding_stored, untied);
    assert_string_equal(m->merged.config.class_name, m->pair.a.config.class_name);
}

/* The loss of what was written. */
static double merged_loss(struct merge *m)
{
    const struct rb_blend blend = rb_blend_single(&m->merged, NULL);
    return pair_loss(&m->pair, &blend);
}

static void assert_losses(struct merge *m, enum rb_dtype dtype)
{
    const struct rb_blend b = rb_blend_single(&m->pair.b, NULL);
    if (m->pair.shape.head == RB_HEAD_NONE)
        return;
    if (dtype == RB_F32 || dtype == RB_F64)
        assert_near("the loss that was evaluated", merged_loss(m), pair_loss(&m->pair, &m->blend),
                    FLAT);
    if (m->blend.lambda >= 1)
        assert_near("the loss of B", merged_loss(m), pair_loss(&m->pair, &b), FLAT);
}

static const struct {
    enum rb_output_dtype output;
    enum rb_dtype dtype;
    const char *name;
} dtypes[] = {
    {RB_OUT_F32, RB_F32, "float32"},
    {RB_OUT_F16, RB_F16, "float16"},
    {RB_OUT_BF16, RB_BF16, "bfloat16"},
};

static const double lambdas[] = {0, 0.5, 1};

static const char *torch_name(enum rb_dtype t)
{
    for (size_t i = 0; i < COUNT(dtypes); i++)
        if (dtypes[i].dtype == t)
            return dtypes[i].name;
    return "float64";
}

static void test_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(odd_shapes); i++)
        for (enum rb_decoder d = RB_DECODER_TIED; d <= RB_DECODER_UNTIED; d++) {
            const struct random_shape *s = &odd_shapes[i];
            bool tied = s->head == RB_HEAD_MLM && s->decoder != DECODER_UNTIED;
            bool untied = s->head == RB_HEAD_MLM && (!tied || d == RB_DECODER_UNTIED);
            bool own = tied && untied && s->decoder != DECODER_COPIED;
            struct merge m;
            merge_init(&m, s, d);
            for (size_t k = 0; k < COUNT(lambdas); k++) {
                set_lambda(&m, lambdas[k]);
                write_and_open(&m, RB_OUT_SOURCE);
                assert_weights(&m, s->dtype);
                assert_tensors_of_a(&m, k == 0 && s->dtype != RB_F64, own);
                assert_config(&m, torch_name(s->dtype), untied);
                assert_estimate(&m, RB_OUT_SOURCE);
                assert_losses(&m, s->dtype);
                rb_model_deinit(&m.merged);
            }
            merge_deinit(&m);
        }
}

static void test_dtypes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(odd_shapes); i++)
        for (size_t t = 0; t < COUNT(dtypes); t++) {
            struct merge m;
            merge_init(&m, &odd_shapes[i], RB_DECODER_TIED);
            set_lambda(&m, 0.5);
            write_and_open(&m, dtypes[t].output);
            assert_weights(&m, dtypes[t].dtype);
            assert_tensors_of_a(&m, false, false);
            assert_config(&m, dtypes[t].name, odd_shapes[i].decoder == DECODER_UNTIED);
            assert_estimate(&m, dtypes[t].output);
            rb_model_deinit(&m.merged);
            merge_deinit(&m);
        }
}

/* A tied decoder's stored copy stays a copy of the word embeddings. */
static void test_copy_stays_a_copy(void **state)
{
    (void)state;
    struct merge m;
    merge_init(&m, &odd_shapes[11], RB_DECODER_TIED);
    assert_int_equal(m.pair.shape.decoder, DECODER_COPIED);
    set_lambda(&m, 0.5);
    write_and_open(&m, RB_OUT_SOURCE);
    const struct rb_checkpoint *c = &m.merged.checkpoint;
    const struct rb_tensor *words = rb_checkpoint_find(c, "bert.embeddings.word_embeddings.weight");
    const struct rb_tensor *copy = rb_checkpoint_find(c, "cls.predictions.decoder.weight");
    assert_int_equal(words->bytes, copy->bytes);
    assert_memory_equal(words->data, copy->data, words->bytes);
    rb_model_deinit(&m.merged);
    merge_deinit(&m);
}

/* What only one of the two has cannot be merged, and is left out. */
static void test_only_in_a(void **state)
{
    (void)state;
    struct random_shape with = odd_shapes[0];
    struct pair p;
    with.pretraining = with.buffers = true;
    pair_init(&p, &odd_shapes[0], PAIR_INDEPENDENT, 92);
    random_model_deinit(&p.random_a);
    random_model_init(&p.random_a, &with, 93);
    pair_open(&p);
    struct merge m = {.pair = p};
    m.blend = rb_blend_pair(&m.pair.a, &m.pair.b, NULL, 0.5);
    write_and_open(&m, RB_OUT_SOURCE);
    assert_null(rb_model_tensor(&m.merged, RB_POOLER_WEIGHT, 0));
    assert_null(rb_model_tensor(&m.merged, RB_NEXT_SENTENCE_BIAS, 0));
    assert_non_null(rb_checkpoint_find(&m.merged.checkpoint, "bert.embeddings.position_ids"));
    assert_int_equal(m.merged.checkpoint.tensor_count, m.pair.b.checkpoint.tensor_count + 1);
    rb_model_deinit(&m.merged);
    pair_deinit(&m.pair);
}

/* Newer transformers read "dtype". */
static void test_both_dtype_members(void **state)
{
    (void)state;
    struct merge m;
    merge_init(&m, &odd_shapes[0], RB_DECODER_TIED);
    json_t *plain = rb_write_config(&m.blend, RB_OUT_F16);
    assert_null(json_object_get(plain, "dtype"));
    json_object_set_new(m.pair.a.checkpoint.config, "dtype", json_string("float32"));
    json_t *both = rb_write_config(&m.blend, RB_OUT_F16);
    assert_string_equal(json_string_value(json_object_get(both, "dtype")), "float16");
    assert_string_equal(json_string_value(json_object_get(both, "torch_dtype")), "float16");
    json_decref(plain);
    json_decref(both);
    merge_deinit(&m);
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_copy_stays_a_copy),
        cmocka_unit_test(test_only_in_a),
        cmocka_unit_test(test_both_dtype_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
