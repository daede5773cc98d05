// LINK: core_merge
/* Opening a model: what is bound, and every way in which config.json or the tensors can be wrong,
 * with the words that a person then reads. */
#include "core/tensor/safetensors_write.h"
#include "unit/odd_shapes.h"

#include <cblas.h>

/* ---- config.json ---- */

static const char BASE[] = "{\"model_type\":\"bert\",\"vocab_size\":30,\"hidden_size\":12,"
                           "\"num_hidden_layers\":2,\"num_attention_heads\":3,"
                           "\"intermediate_size\":20}";

static void parse(const char *base, const char *patch, enum rb_status expected,
                  struct rb_config *ret, struct rb_error *err)
{
    json_t *json = json_loads(base, 0, NULL), *more = json_loads(patch, 0, NULL);
    const struct rb_family *family = NULL;
    assert_non_null(json);
    assert_non_null(more);
    const char *key;
    json_t *value;
    json_object_foreach(more, key, value)
    { /* null removes */
        if (json_is_null(value))
            json_object_del(json, key);
        else
            json_object_set(json, key, value);
    }
    enum rb_status s = rb_config_parse("m/config.json", json, &family, ret, err);
    if (s != expected)
        fail_msg("%s: status %s: %s", patch, rb_status_code(s), err->detail);
    if (s == RB_OK)
        assert_string_equal(family->model_type, "bert");
    json_decref(json);
    json_decref(more);
}

static const struct {
    const char *patch, *words[2];
} bad_configs[] = {
    {"{\"model_type\":null}", {"\"model_type\"", "found nothing"}},
    {"{\"model_type\":7}", {"\"model_type\"", "an integer"}},
    {"{\"model_type\":\"gpt9\"}", {"expected \"bert\"", "\"gpt9\""}},
    {"{\"vocab_size\":null}", {"\"vocab_size\"", "found nothing"}},
    {"{\"vocab_size\":\"30\"}", {"\"vocab_size\"", "a string"}},
    {"{\"vocab_size\":30.0}", {"\"vocab_size\"", "a real number"}},
    {"{\"vocab_size\":0}", {"\"vocab_size\"", "found 0"}},
    {"{\"vocab_size\":-1}", {"\"vocab_size\"", "found -1"}},
    {"{\"vocab_size\":16777217}", {"1 to 16777216", "found 16777217"}},
    {"{\"vocab_size\":4294967326}", {"\"vocab_size\"", "found 4294967326"}}, /* 2^32 + 30 */
    {"{\"hidden_size\":9223372036854775807}", {"\"hidden_size\"", "9223372036854775807"}},
    {"{\"hidden_size\":true}", {"\"hidden_size\"", "true"}},
    {"{\"hidden_size\":[12]}", {"\"hidden_size\"", "an array"}},
    {"{\"hidden_size\":13}", {"13 is not divisible", "\"num_attention_heads\" 3"}},
    {"{\"num_hidden_layers\":0}", {"\"num_hidden_layers\"", "found 0"}},
    {"{\"num_hidden_layers\":1025}", {"1 to 1024", "found 1025"}},
    {"{\"num_attention_heads\":0}", {"\"num_attention_heads\"", "found 0"}},
    {"{\"num_attention_heads\":24}", {"not divisible", "24"}},
    {"{\"intermediate_size\":{}}", {"\"intermediate_size\"", "an object"}},
    {"{\"max_position_embeddings\":0}", {"\"max_position_embeddings\"", "found 0"}},
    {"{\"max_position_embeddings\":\"x\"}", {"\"max_position_embeddings\"", "a string"}},
    {"{\"type_vocab_size\":257}", {"\"type_vocab_size\"", "found 257"}},
    {"{\"hidden_act\":\"relu\"}", {"expected \"gelu\"", "\"relu\""}},
    {"{\"hidden_act\":\"gelu_new\"}", {"expected \"gelu\"", "\"gelu_new\""}},
    {"{\"hidden_act\":1}", {"expected \"gelu\"", "an integer"}},
    {"{\"position_embedding_type\":\"relative_key\"}", {"expected \"absolute\"", "relative_key"}},
    {"{\"is_decoder\":true}", {"\"is_decoder\"", "true"}},
    {"{\"num_labels\":0}", {"\"num_labels\"", "found 0"}},
    {"{\"num_labels\":65537}", {"\"num_labels\"", "found 65537"}},
    {"{\"id2label\":[]}", {"\"id2label\"", "an array"}},
    {"{\"layer_norm_eps\":-1e-12}", {"\"layer_norm_eps\"", "0 to 1"}},
    {"{\"layer_norm_eps\":2}", {"\"layer_norm_eps\"", "0 to 1"}},
    {"{\"layer_norm_eps\":\"1e-12\"}", {"\"layer_norm_eps\"", "a string"}},
    {"{\"tie_word_embeddings\":1}", {"\"tie_word_embeddings\"", "an integer"}},
    {"{\"model_type\":\"roberta\",\"pad_token_id\":30}", {"0 to 29", "one outside"}},
    {"{\"model_type\":\"roberta\",\"pad_token_id\":\"1\"}", {"\"pad_token_id\"", "a string"}},
    {"{\"model_type\":\"roberta\",\"max_position_embeddings\":2}", {"+ 1 = 2", "found 2"}},
    {"{\"model_type\":\"electra\",\"embedding_size\":0}", {"\"embedding_size\"", "found 0"}},
    {"{\"model_type\":\"distilbert\"}", {"\"dim\"", "found nothing"}},
    {"{\"model_type\":\"distilbert\",\"dim\":12,\"n_layers\":1,\"n_heads\":5,\"hidden_dim\":4}",
     {"\"dim\" 12 is not divisible", "\"n_heads\" 5"}},
    {"{\"model_type\":\"distilbert\",\"dim\":12,\"n_layers\":1,\"n_heads\":4,\"hidden_dim\":4,"
     "\"activation\":\"relu\"}",
     {"\"activation\"", "\"relu\""}},
};

static void test_bad_configs(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_configs); i++) {
        struct rb_config c;
        struct rb_error err;
        parse(BASE, bad_configs[i].patch, RB_ECONFIG, &c, &err);
        assert_text_has(err.detail, "m/config.json");
        for (size_t k = 0; k < COUNT(bad_configs[i].words); k++)
            assert_text_has(err.detail, bad_configs[i].words[k]);
        assert_text_has(err.detail, err.pointer); /* the member at fault */
        assert_true(err.pointer[0] != '\0');
    }
}

static void test_good_configs(void **state)
{
    (void)state;
    struct rb_config c;
    struct rb_error err;
    parse(BASE, "{}", RB_OK, &c, &err);
    assert_int_equal(c.vocab_size, 30);
    assert_int_equal(c.hidden_size, 12);
    assert_int_equal(c.num_hidden_layers, 2);
    assert_int_equal(c.attention.heads, 3);
    assert_int_equal(c.mlp.inner_size, 20);
    assert_int_equal(c.max_position_embeddings, 512);
    assert_int_equal(c.type_vocab_size, 2);
    assert_int_equal(c.num_labels, 2);
    assert_true(c.tie_word_embeddings);
    assert_float_equal(c.norm_eps, 1e-12F, 0);
    assert_string_equal(c.class_name, "");
    parse(BASE, "{\"id2label\":{\"0\":\"a\",\"1\":\"b\",\"2\":\"c\"}}", RB_OK, &c, &err);
    assert_int_equal(c.num_labels, 3);
    parse(BASE, "{\"id2label\":{\"0\":\"a\"},\"num_labels\":5}", RB_OK, &c, &err);
    assert_int_equal(c.num_labels, 5);
    parse(BASE,
          "{\"hidden_act\":\"gelu\",\"position_embedding_type\":\"absolute\","
          "\"is_decoder\":false,\"tie_word_embeddings\":false,\"layer_norm_eps\":1e-5,"
          "\"type_vocab_size\":1,\"max_position_embeddings\":7,"
          "\"architectures\":[\"BertForMaskedLM\",\"x\"]}",
          RB_OK, &c, &err);
    assert_false(c.tie_word_embeddings);
    assert_float_equal(c.norm_eps, 1e-5F, 0);
    assert_string_equal(c.class_name, "BertForMaskedLM");
    assert_int_equal(rb_config_dim(&c, RB_DIM_TYPES), 1);
    assert_int_equal(rb_config_dim(&c, RB_DIM_POSITIONS), 7);
}

/* ---- tensors ---- */

enum edit { DROP, ADD, RESHAPE, RETYPE };

static const struct bad_tensor {
    enum edit edit;
    const char *name;
    uint32_t rank;
    uint64_t shape[3];
    enum rb_dtype dtype;
    enum random_unembedding decoder;
    enum rb_status status;
    const char *words[3];
} bad_tensors[] = {
    {DROP, "bert.embeddings.word_embeddings.weight", .status = RB_ETENSOR,
     .words = {"'bert.embeddings.word_embeddings.weight' is missing"}},
    {DROP, "bert.encoder.layer.1.attention.self.key.bias", .status = RB_ETENSOR,
     .words = {"'bert.encoder.layer.1.attention.self.key.bias' is missing"}},
    {DROP, "bert.encoder.layer.0.output.LayerNorm.weight", .status = RB_ETENSOR,
     .words = {"'bert.encoder.layer.0.output.LayerNorm.weight' is missing"}},
    {DROP, "cls.predictions.transform.LayerNorm.bias", .status = RB_ETENSOR,
     .words = {"'cls.predictions.transform.LayerNorm.bias' is missing"}},
    {DROP, "cls.predictions.bias", .status = RB_ETENSOR,
     .words = {"'cls.predictions.bias' is missing"}},
    {DROP, "cls.predictions.decoder.weight", .decoder = DECODER_UNTIED, .status = RB_ETENSOR,
     .words = {"'cls.predictions.decoder.weight' is missing"}},
    {RESHAPE,
     "bert.encoder.layer.1.intermediate.dense.weight",
     2,
     {32, 64},
     RB_F32,
     .status = RB_ESHAPE,
     .words = {"'bert.encoder.layer.1.intermediate.dense.weight'", "[64, 32]", "[32, 64]"}},
    {RESHAPE,
     "bert.encoder.layer.1.intermediate.dense.bias",
     2,
     {64, 1},
     RB_F32,
     .status = RB_ESHAPE,
     .words = {"intermediate.dense.bias'", "[64]", "[64, 1]"}},
    {RESHAPE,
     "bert.encoder.layer.0.output.dense.weight",
     1,
     {32 * 64},
     RB_F32,
     .status = RB_ESHAPE,
     .words = {"output.dense.weight'", "[32, 64]", "[2048]"}},
    {RESHAPE,
     "bert.embeddings.word_embeddings.weight",
     2,
     {84, 32},
     RB_F32,
     .status = RB_ESHAPE,
     .words = {"word_embeddings.weight'", "[83, 32]", "[84, 32]"}},
    {RESHAPE,
     "bert.embeddings.position_embeddings.weight",
     3,
     {24, 32, 1},
     RB_F32,
     .status = RB_ESHAPE,
     .words = {"position_embeddings.weight'", "[24, 32]", "[24, 32, 1]"}},
    {RESHAPE,
     "cls.predictions.bias",
     1,
     {82},
     RB_F32,
     .status = RB_ESHAPE,
     .words = {"'cls.predictions.bias'", "[83]", "[82]"}},
    {RESHAPE,
     "cls.predictions.decoder.weight",
     2,
     {83, 31},
     RB_F32,
     .decoder = DECODER_UNTIED,
     .status = RB_ESHAPE,
     .words = {"decoder.weight'", "[83, 32]", "[83, 31]"}},
    /* a tied decoder's copy is not read, but would be written */
    {RESHAPE,
     "cls.predictions.decoder.weight",
     2,
     {83, 1},
     RB_F32,
     .decoder = DECODER_COPIED,
     .status = RB_ESHAPE,
     .words = {"decoder.weight'", "[83, 32]", "[83, 1]"}},
    {RETYPE,
     "cls.predictions.decoder.weight",
     2,
     {83, 32},
     RB_I8,
     .decoder = DECODER_COPIED,
     .status = RB_ETENSOR,
     .words = {"decoder.weight'", "found I8"}},
    {ADD,
     "cls.predictions.decoder.bias",
     2,
     {83, 2},
     RB_F32,
     .status = RB_ESHAPE,
     .words = {"decoder.bias'", "[83]", "[83, 2]"}},
    {RETYPE,
     "bert.encoder.layer.0.attention.self.query.weight",
     2,
     {32, 32},
     RB_I32,
     .status = RB_ETENSOR,
     .words = {"query.weight'", "expected F64, F32, F16 or BF16", "I32"}},
    {ADD,
     "bert.encoder.layer.2.output.dense.bias",
     1,
     {32},
     RB_F32,
     .status = RB_ETENSOR,
     .words = {"'bert.encoder.layer.2.output.dense.bias'", "2 layers"}},
    {ADD,
     "bert.encoder.layer.0.crossattention.self.query.weight",
     2,
     {32, 32},
     RB_F32,
     .status = RB_ETENSOR,
     .words = {"crossattention", "could not be moved"}},
    {ADD, "stranger", 1, {1}, RB_F32, .status = RB_ETENSOR, .words = {"'stranger'", "bert"}},
    {ADD,
     "bert.pooler.dense.weight",
     2,
     {32, 31},
     RB_F32,
     .status = RB_ESHAPE,
     .words = {"pooler.dense.weight'", "[32, 32]", "[32, 31]"}},
};

struct specs {
    struct rb_st_spec rows[64];
    char names[64][128];
    size_t count;
};

static void list_specs(const struct random_model *m, struct specs *s)
{
    s->count = m->count;
    assert_true(m->count + 1 < COUNT(s->rows));
    for (size_t i = 0; i < m->count; i++) {
        const struct random_tensor *t = &m->tensors[i];
        random_name(&m->shape, t, s->names[i], sizeof s->names[i]);
        s->rows[i] = (struct rb_st_spec){.name = s->names[i],
                                         .dtype = m->shape.dtype,
                                         .rank = t->row->sizes[1] != '\0' ? 2 : 1,
                                         .shape = {t->rows, t->columns}};
    }
}

static void edit_specs(struct specs *s, const struct bad_tensor *edit)
{
    size_t i = 0;
    while (i < s->count && strcmp(s->rows[i].name, edit->name) != 0)
        i++;
    assert_int_equal(i == s->count, edit->edit == ADD);
    if (edit->edit == DROP) {
        s->rows[i] = s->rows[--s->count];
        return;
    }
    s->count += edit->edit == ADD;
    s->rows[i] = (struct rb_st_spec){.name = edit->name, .dtype = edit->dtype, .rank = edit->rank};
    memcpy(s->rows[i].shape, edit->shape, sizeof edit->shape);
}

/* The file with those tensors, all 0. */
static void write_specs(const struct specs *s, const char *path)
{
    struct rb_st_writer *w;
    struct rb_error err;
    MUST(rb_st_writer_open(path, s->rows, s->count, NULL, 0, &w, &err), &err);
    for (size_t i = 0; i < s->count; i++) {
        size_t bytes;
        assert_true(rb_shape_bytes(s->rows[i].dtype, s->rows[i].shape, s->rows[i].rank, &bytes));
        void *zero = must_alloc(bytes, 1);
        MUST(rb_st_writer_write(w, i, 0, zero, bytes, &err), &err);
        free(zero);
    }
    MUST(rb_st_writer_commit(w, &err), &err);
}

static void test_bad_tensors(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_tensors); i++) {
        struct tmpdir dir;
        struct random_shape shape = odd_shapes[0];
        struct random_model m;
        struct specs specs;
        struct rb_error err;
        char path[600];
        struct rb_model opened = {.parameters = 42};
        shape.decoder = bad_tensors[i].decoder;
        tmpdir_init(&dir);
        random_model_init(&m, &shape, 51);
        const char *folder = random_model_write(&m, &dir, "m");
        list_specs(&m, &specs);
        edit_specs(&specs, &bad_tensors[i]);
        (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
        write_specs(&specs, path);
        enum rb_status s = rb_model_open(folder, &opened, &err);
        if (s != bad_tensors[i].status)
            fail_msg("row %zu, %s: status %s: %s", i, bad_tensors[i].name, rb_status_code(s),
                     s == RB_OK ? "" : err.detail);
        assert_text_has(err.detail, folder);
        for (size_t k = 0; k < 3 && bad_tensors[i].words[k] != NULL; k++)
            assert_text_has(err.detail, bad_tensors[i].words[k]);
        assert_int_equal(opened.parameters, 42); /* untouched */
        random_model_deinit(&m);
        tmpdir_deinit(&dir);
    }
}

/* ---- what is bound ---- */

static uint64_t parameters_of(const struct random_model *m)
{
    uint64_t n = 0;
    for (size_t i = 0; i < m->count; i++)
        if (m->shape.decoder != DECODER_COPIED ||
            strcmp(m->tensors[i].row->name, "cls.predictions.decoder.weight") != 0)
            n += m->tensors[i].rows * m->tensors[i].columns;
    return n;
}

static void test_bound(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(odd_shapes); i++) {
        const struct random_shape *s = &odd_shapes[i];
        struct tmpdir dir;
        struct random_model m;
        struct rb_model opened;
        tmpdir_init(&dir);
        random_model_init(&m, s, 52);
        random_model_open(&m, &dir, "m", &opened);
        assert_int_equal(opened.head, s->head);
        assert_int_equal(opened.bare, s->bare);
        assert_int_equal(opened.unembedding_stored,
                         s->head == RB_HEAD_MLM && s->decoder == DECODER_UNTIED);
        assert_int_equal(opened.parameters, parameters_of(&m));
        assert_int_equal(rb_model_dtype(&opened), s->dtype);
        assert_int_equal(opened.config.num_labels, s->labels);
        const struct rb_tensor *words = rb_model_tensor(&opened, RB_WORD_EMBEDDINGS, 0);
        const struct rb_tensor *decoder = rb_model_tensor(&opened, RB_UNEMBEDDING_WEIGHT, 0);
        if (s->head == RB_HEAD_MLM)
            assert_int_equal(decoder == words, s->decoder != DECODER_UNTIED);
        assert_int_equal(rb_model_tensor(&opened, RB_POOLER_WEIGHT, 0) != NULL,
                         s->pretraining || s->head == RB_HEAD_CLASSIFIER);
        assert_int_equal(rb_model_tensor(&opened, RB_NEXT_SENTENCE_WEIGHT, 0) != NULL,
                         s->pretraining);
        rb_model_deinit(&opened);
        random_model_deinit(&m);
        tmpdir_deinit(&dir);
    }
}

/* ---- two models ---- */

static void change_vocab(struct random_shape *s)
{
    s->vocab = 84;
}
static void change_hidden(struct random_shape *s)
{
    s->hidden = 36;
}
static void change_layers(struct random_shape *s)
{
    s->layers = 3;
}
static void change_heads(struct random_shape *s)
{
    s->heads = 8;
}
static void change_inner(struct random_shape *s)
{
    s->intermediate = 65;
}
static void change_positions(struct random_shape *s)
{
    s->positions = 25;
}
static void change_types(struct random_shape *s)
{
    s->types = 3;
}
static void change_decoder(struct random_shape *s)
{
    s->decoder = DECODER_UNTIED;
}
static void change_head(struct random_shape *s)
{
    s->head = RB_HEAD_CLASSIFIER;
}
static void no_head(struct random_shape *s)
{
    s->head = RB_HEAD_NONE;
}
static void to_classifier(struct random_shape *s)
{
    s->head = RB_HEAD_CLASSIFIER;
    s->labels = 4;
}
static void nothing(struct random_shape *s)
{
    (void)s;
}
static void other_storage(struct random_shape *s)
{
    s->dtype = RB_BF16;
    s->bare = s->gamma_beta = s->pretraining = true;
    s->decoder = DECODER_COPIED;
}

static const struct {
    void (*change_a)(struct random_shape *s);
    void (*change_b)(struct random_shape *s);
    enum rb_status status;
    const char *pointer, *words[2];
} pairs[] = {
    {nothing, nothing, RB_OK, "", {NULL}},
    {nothing, other_storage, RB_OK, "", {NULL}},
    {nothing, change_vocab, RB_EMODELS, "vocab_size", {"83 in a", "84 in b"}},
    {nothing, change_hidden, RB_EMODELS, "hidden_size", {"32 in a", "36 in b"}},
    {nothing, change_layers, RB_EMODELS, "num_hidden_layers", {"2 in a", "3 in b"}},
    {change_heads, nothing, RB_EMODELS, "num_attention_heads", {"8 in a", "4 in b"}},
    {nothing, change_inner, RB_EMODELS, "intermediate_size", {"64 in a", "65 in b"}},
    {nothing, change_positions, RB_EMODELS, "max_position_embeddings", {"24 in a", "25 in b"}},
    {nothing, change_types, RB_EMODELS, "type_vocab_size", {"2 in a", "3 in b"}},
    {nothing, change_decoder, RB_EMODELS, "tie_word_embeddings", {"true in a", "false in b"}},
    {change_head, nothing, RB_EMODELS, "", {"a has a classification head", "b has an MLM head"}},
    {nothing, no_head, RB_EMODELS, "", {"a has an MLM head", "b has no head"}},
    {change_head, to_classifier, RB_EMODELS, "num_labels", {"2 in a", "4 in b"}},
};

static void open_changed(struct tmpdir *dir, const char *name,
                         void (*change)(struct random_shape *s), struct rb_model *ret)
{
    struct random_shape shape = odd_shapes[0];
    struct random_model m;
    change(&shape);
    random_model_init(&m, &shape, 53);
    random_model_open(&m, dir, name, ret);
    random_model_deinit(&m);
}

static void test_models_equal(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct tmpdir dir;
        struct rb_model a, b;
        struct rb_error err = {0};
        tmpdir_init(&dir);
        open_changed(&dir, "a", pairs[i].change_a, &a);
        open_changed(&dir, "b", pairs[i].change_b, &b);
        enum rb_status s = rb_models_equal(&a, &b, &err);
        if (s != pairs[i].status)
            fail_msg("row %zu: status %s: %s", i, rb_status_code(s), err.detail);
        for (size_t k = 0; k < 2 && pairs[i].words[k] != NULL; k++)
            assert_text_has(err.detail, pairs[i].words[k]);
        assert_string_equal(err.pointer, pairs[i].pointer);
        a.config.norm_eps = 1e-5F;
        if (s == RB_OK) {
            assert_int_equal(rb_models_equal(&a, &b, &err), RB_EMODELS);
            assert_text_has(err.detail, "layer_norm_eps");
        }
        rb_model_deinit(&a);
        rb_model_deinit(&b);
        tmpdir_deinit(&dir);
    }
}

/* ---- two configs of one family ---- */

static const struct {
    const char *type, *a, *b, *words;
} unequal[] = {
    {"distilbert", "'dim':8", "'dim':12", "dim: 8 in a, 12 in b"},
    {"distilbert", "'n_heads':4", "'n_heads':2", "n_heads: 4 in a, 2 in b"},
    {"distilbert", "'hidden_dim':4", "'hidden_dim':5", "hidden_dim: 4 in a, 5 in b"},
    {"roberta", "'pad_token_id':1", "'pad_token_id':2", "pad_token_id: 1 in a, 2 in b"},
    {"roberta", "'layer_norm_eps':1e-5", "'layer_norm_eps':1e-6",
     "layer_norm_eps: 1e-05 in a, 1e-06 in b"},
    {"electra", "'embedding_size':3", "'embedding_size':4", "embedding_size: 3 in a, 4 in b"},
    {"electra", "'type_vocab_size':1", "'type_vocab_size':2", "type_vocab_size: 1 in a, 2 in b"},
};

static void parse_of(const char *type, const char *members, const struct rb_family **ret_family,
                     struct rb_config *ret)
{
    static const char common[] =
        "'vocab_size':30,'hidden_size':12,'num_hidden_layers':2,'num_attention_heads':2,"
        "'intermediate_size':20,'max_position_embeddings':9,'dim':8,'n_layers':2,'n_heads':2,"
        "'hidden_dim':4";
    char text[600];
    struct rb_error err;
    (void)snprintf(text, sizeof text, "{'model_type':'%s',%s,%s}", type, common, members);
    for (char *p = text; *p != '\0'; p++)
        *p = *p == '\'' ? '"' : *p;
    json_t *json = json_loads(text, 0, NULL); /* the later of two equal members counts */
    assert_non_null(json);
    MUST(rb_config_parse("m/config.json", json, ret_family, ret, &err), &err);
    json_decref(json);
}

static void test_configs_equal(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(unequal); i++) {
        const struct rb_family *f, *g;
        struct rb_config a, b;
        struct rb_error err = {0};
        parse_of(unequal[i].type, unequal[i].a, &f, &a);
        parse_of(unequal[i].type, unequal[i].b, &g, &b);
        assert_ptr_equal(f, g);
        MUST(rb_configs_equal(f, &a, &a, true, &err), &err);
        assert_int_equal(rb_configs_equal(f, &a, &b, true, &err), RB_EMODELS);
        assert_string_equal(err.detail, unequal[i].words);
    }
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_configs),  cmocka_unit_test(test_good_configs),
        cmocka_unit_test(test_bad_tensors),  cmocka_unit_test(test_bound),
        cmocka_unit_test(test_models_equal), cmocka_unit_test(test_configs_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
