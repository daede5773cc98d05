// LINK: core_model
/* config.json of decoders (METHOD 9): what older and newer transformers write, what it becomes, and
 * what is refused by its member's name because no forward pass here computes it. */
#include "unit/numbers.h"

#include "core/model/config.h"

#include <stdio.h>

#define GPT2 "\"model_type\":\"gpt2\",\"vocab_size\":50,\"n_embd\":24,\"n_layer\":2,\"n_head\":3"
#define SIZES                                                                                      \
    "\"vocab_size\":50,\"hidden_size\":24,\"num_hidden_layers\":2,\"num_attention_heads\":3,"      \
    "\"intermediate_size\":30"
#define NEOX "\"model_type\":\"gpt_neox\"," SIZES
#define LLAMA "\"model_type\":\"llama\"," SIZES
#define QWEN2 "\"model_type\":\"qwen2\"," SIZES
#define OLMO2 "\"model_type\":\"olmo2\"," SIZES

static json_t *json_of(const char *members)
{
    char text[2048];
    (void)snprintf(text, sizeof text, "{%s}", members);
    json_t *json = json_loads(text, 0, NULL);
    if (json == NULL)
        fail_msg("not JSON: %s", text);
    return json;
}

static struct rb_config parsed(const char *members)
{
    const struct rb_family *family;
    struct rb_config c;
    struct rb_error err;
    json_t *json = json_of(members);
    if (rb_config_parse("config.json", json, &family, &c, &err) != RB_OK)
        fail_msg("%s: %s", members, err.detail);
    json_decref(json);
    return c;
}

static void test_padding(void **state)
{
    (void)state;
    static const char *const families[] = {GPT2, NEOX, LLAMA, QWEN2, OLMO2};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        static const struct {
            const char *member;
            bool has;
            uint32_t id;
        } rows[] = {{"\"pad_token_id\":7", true, 7},     {"\"pad_token_id\":0", true, 0},
                    {"\"pad_token_id\":null", false, 0}, {"\"pad_token_id\":-1", false, 0},
                    {"\"pad_token_id\":50", false, 0},   {"\"use_cache\":true", false, 0}};
        for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
            char members[512];
            (void)snprintf(members, sizeof members, "%s,%s", families[i], rows[k].member);
            struct rb_config c = parsed(members);
            assert_int_equal(c.has_padding_token, rows[k].has);
            assert_true(!rows[k].has || c.padding_token == rows[k].id);
        }
    }
}

static void test_end_of_text(void **state)
{
    (void)state;
    static const struct {
        const char *member;
        bool has;
        uint32_t id;
    } rows[] = {{"\"eos_token_id\":7", true, 7},      {"\"eos_token_id\":[3,9]", true, 3},
                {"\"eos_token_id\":null", false, 0},  {"\"eos_token_id\":[]", false, 0},
                {"\"eos_token_id\":50256", false, 0}, {"\"use_cache\":true", false, 0}};
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        char members[512];
        (void)snprintf(members, sizeof members, "%s,%s", LLAMA, rows[k].member);
        struct rb_config c = parsed(members);
        assert_int_equal(c.has_eos_token, rows[k].has);
        assert_true(!rows[k].has || c.eos_token == rows[k].id);
    }
}

static void test_gpt2(void **state)
{
    (void)state;
    struct rb_config c = parsed(GPT2 ",\"n_inner\":null,\"reorder_and_upcast_attn\":true");
    assert_int_equal(c.mlp.inner_size, 96);
    assert_int_equal(c.mlp.activation, RB_ACTIVATION_GELU_TANH);
    assert_int_equal(c.max_length, 1024);
    assert_int_equal(c.attention.kv_heads, 3);
    assert_int_equal(c.attention.head_dim, 8);
    assert_int_equal(c.positions, RB_POSITIONS_INDEX);
    assert_int_equal(c.norm_place, RB_NORM_BEFORE);
    assert_true(c.tie_word_embeddings && c.attention.causal && c.final_norm && !c.mlp.gated);
    assert_true(!c.attention.scale_by_layer && !c.attention.unscaled);
    assert_float_equal(c.norm_eps, 1e-5, 1e-12);
    c = parsed(GPT2 ",\"n_inner\":40,\"activation_function\":\"gelu\",\"n_positions\":77,"
                    "\"scale_attn_by_inverse_layer_idx\":true,\"scale_attn_weights\":false,"
                    "\"layer_norm_epsilon\":0.001,\"tie_word_embeddings\":false");
    assert_int_equal(c.mlp.inner_size, 40);
    assert_int_equal(c.mlp.activation, RB_ACTIVATION_GELU);
    assert_int_equal(c.max_length, 77);
    assert_true(!c.tie_word_embeddings && c.attention.scale_by_layer && c.attention.unscaled);
    assert_float_equal(c.norm_eps, 1e-3, 1e-9);
}

static void test_gpt_neox(void **state)
{
    (void)state;
    static const char *const spellings[] = {
        NEOX ",\"rotary_pct\":0.5,\"rotary_emb_base\":5000",
        NEOX ",\"partial_rotary_factor\":0.5,\"rope_theta\":5000",
        NEOX ",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":5000.0,"
             "\"partial_rotary_factor\":0.5}",
    };
    for (size_t i = 0; i < COUNT(spellings); i++) {
        struct rb_config c = parsed(spellings[i]);
        assert_int_equal(c.attention.rope.dims, 4);
        assert_float_equal(c.attention.rope.theta, 5000, 0);
        assert_true(c.parallel_residual && c.attention_bias && c.attention_output_bias);
        assert_true(!c.tie_word_embeddings);
        assert_int_equal(c.max_length, 2048);
    }
    struct rb_config c = parsed(NEOX ",\"use_parallel_residual\":false,\"attention_bias\":false,"
                                     "\"rotary_pct\":1.0,\"hidden_act\":\"gelu_new\"");
    assert_true(!c.parallel_residual && !c.attention_bias && !c.attention_output_bias);
    assert_int_equal(c.attention.rope.dims, 8);
    assert_float_equal(c.attention.rope.theta, 1e4, 0);
    assert_int_equal(c.mlp.activation, RB_ACTIVATION_GELU_TANH);
}

static void test_llama(void **state)
{
    (void)state;
    struct rb_config c = parsed(LLAMA ",\"num_key_value_heads\":null,\"head_dim\":null,"
                                      "\"rope_scaling\":null,\"quantization_config\":null");
    assert_int_equal(c.attention.kv_heads, 3);
    assert_int_equal(c.attention.head_dim, 8);
    assert_int_equal(c.attention.rope.dims, 8);
    assert_int_equal(c.norm_kind, RB_NORM_RMS);
    assert_true(c.mlp.gated && !c.attention_bias && !c.mlp_bias && !c.tie_word_embeddings);
    assert_float_equal(c.norm_eps, 1e-6, 1e-12);
    c = parsed(LLAMA ",\"num_key_value_heads\":1,\"head_dim\":10,\"rope_theta\":500000.0,"
                     "\"attention_bias\":true,\"mlp_bias\":true,\"tie_word_embeddings\":true,"
                     "\"rms_norm_eps\":1e-5,\"rope_scaling\":{\"rope_type\":\"llama3\","
                     "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
                     "\"original_max_position_embeddings\":8192}");
    assert_int_equal(c.attention.kv_heads, 1);
    assert_int_equal(c.attention.head_dim, 10);
    assert_true(c.attention_bias && c.attention_output_bias && c.mlp_bias);
    assert_true(c.tie_word_embeddings);
    assert_int_equal(c.attention.rope.scaling, RB_ROPE_LLAMA3);
    assert_int_equal(c.attention.rope.original_positions, 8192);
    assert_float_equal(c.attention.rope.factor, 8, 0);
    assert_float_equal(c.attention.rope.low_frequency_factor, 1, 0);
    assert_float_equal(c.attention.rope.high_frequency_factor, 4, 0);
    /* both spellings say the same */
    struct rb_config newer =
        parsed(LLAMA ",\"num_key_value_heads\":1,\"head_dim\":10,\"attention_bias\":true,"
                     "\"mlp_bias\":true,\"tie_word_embeddings\":true,\"rms_norm_eps\":1e-5,"
                     "\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":500000.0,"
                     "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
                     "\"original_max_position_embeddings\":8192}");
    struct rb_error err;
    const struct rb_family *f = rb_family_find("llama");
    assert_int_equal(rb_configs_equal(f, &c, &newer, true, &err), RB_OK);
}

static void test_relatives(void **state)
{
    (void)state;
    struct rb_config c = parsed(QWEN2 ",\"use_sliding_window\":false,\"sliding_window\":4096");
    assert_true(c.attention_bias && !c.attention_output_bias && !c.mlp_bias);
    c = parsed(QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":2048"); /* hides nothing */
    c = parsed(QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":16,\"max_window_layers\":2");
    c = parsed(QWEN2 ",\"layer_types\":[\"full_attention\",\"full_attention\"]");
    c = parsed(OLMO2);
    assert_int_equal(c.norm_place, RB_NORM_AFTER_SUBLAYER);
    assert_true(c.attention.query_key_norm && !c.attention_bias);
    assert_float_equal(c.norm_eps, 1e-5, 1e-12);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *members, *pointer, *words;
    } rows[] = {
        {GPT2 ",\"add_cross_attention\":true", "add_cross_attention", "cross attention"},
        {GPT2 ",\"activation_function\":\"mish\"", "activation_function", "found mish"},
        {GPT2 ",\"activation_function\":7", "activation_function", "found no string"},
        {GPT2 ",\"n_inner\":0", "n_inner", "from 1"},
        {GPT2 ",\"n_inner\":-4", "n_inner", "n_inner"},
        {GPT2 ",\"scale_attn_weights\":1", "scale_attn_weights", "true or false"},
        {GPT2 ",\"quantization_config\":{\"bits\":4}", "quantization_config", "quantized"},
        {"\"model_type\":\"gpt2\",\"vocab_size\":50,\"n_embd\":25,\"n_layer\":2,\"n_head\":3",
         "n_head", "not divisible"},
        {NEOX ",\"rotary_pct\":0.4", "rotary_pct", "3 of 8 entries"},
        {NEOX ",\"rotary_pct\":0.01", "rotary_pct", "0 of 8 entries"},
        {NEOX ",\"rotary_pct\":1.5", "rotary_pct", "above 0 up to 1"},
        {NEOX ",\"rotary_emb_base\":\"x\"", "rotary_emb_base", "something else"},
        {NEOX ",\"use_parallel_residual\":\"yes\"", "use_parallel_residual", "true or false"},
        {NEOX ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}", "rope_scaling",
         "found linear"},
        {LLAMA ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2}", "rope_scaling",
         "default or llama3, found yarn"},
        {LLAMA ",\"rope_scaling\":{\"type\":\"dynamic\"}", "rope_scaling", "found dynamic"},
        {LLAMA ",\"rope_scaling\":3", "rope_scaling", "an object or null"},
        {LLAMA ",\"rope_parameters\":{\"rope_type\":\"longrope\"}", "rope_parameters",
         "found longrope"},
        {LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8}", "low_freq_factor",
         "found none"},
        {LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
               "\"high_freq_factor\":4,\"original_max_position_embeddings\":64}",
         "high_freq_factor", "above 4"},
        {LLAMA ",\"rope_theta\":0", "rope_theta", "above 0"},
        {LLAMA ",\"num_key_value_heads\":2", "num_key_value_heads", "not divisible"},
        {LLAMA ",\"num_key_value_heads\":0", "num_key_value_heads", "from 1"},
        {LLAMA ",\"head_dim\":7", "head_dim", "7 of 7 entries"},
        {LLAMA ",\"head_dim\":16777216", "head_dim", "wider than"},
        {LLAMA ",\"hidden_act\":\"gelu_10\"", "hidden_act", "found gelu_10"},
        {LLAMA ",\"num_local_experts\":8", "num_local_experts", "mixture of experts"},
        {LLAMA ",\"num_experts\":8", "num_experts", "mixture of experts"},
        {LLAMA ",\"alibi\":true", "alibi", "ALiBi"},
        {LLAMA ",\"partial_rotary_factor\":0.3", "partial_rotary_factor", "turn whole"},
        {LLAMA ",\"rms_norm_eps\":2", "rms_norm_eps", "from 0 to 1"},
        {QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":64", "use_sliding_window",
         "sliding windows"},
        {QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":64,\"max_window_layers\":1",
         "use_sliding_window", "sliding windows"},
        {QWEN2 ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]", "layer_types",
         "full_attention"},
        {OLMO2 ",\"layer_types\":[\"sliding_attention\",\"full_attention\"]", "layer_types",
         "full_attention"},
        {"\"model_type\":\"mixtral\"", "model_type", "found \"mixtral\""},
        {"\"model_type\":\"llama\",\"hidden_size\":24", "vocab_size", "found nothing"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct rb_family *family = NULL;
        struct rb_config c = {0};
        struct rb_error err = {0};
        json_t *json = json_of(rows[i].members);
        if (rb_config_parse("config.json", json, &family, &c, &err) != RB_ECONFIG)
            fail_msg("%s: taken", rows[i].members);
        if (strcmp(err.pointer, rows[i].pointer) != 0)
            fail_msg("%s: blames '%s': %s", rows[i].members, err.pointer, err.detail);
        assert_text_has(err.detail, rows[i].words);
        assert_text_has(err.detail, "config.json");
        assert_null(family);
        json_decref(json);
    }
}

/* Two models that differ in what their function depends on are no pair. */
static void test_pairs(void **state)
{
    (void)state;
    static const struct {
        const char *type, *a, *b, *pointer;
    } rows[] = {
        {"llama", LLAMA ",\"rope_theta\":10000", LLAMA ",\"rope_theta\":500000", "rope_theta"},
        {"llama", LLAMA ",\"rms_norm_eps\":1e-5", LLAMA ",\"rms_norm_eps\":1e-6", "rms_norm_eps"},
        {"llama", LLAMA ",\"num_key_value_heads\":3", LLAMA ",\"num_key_value_heads\":1",
         "num_key_value_heads"},
        {"llama", LLAMA ",\"hidden_act\":\"silu\"", LLAMA ",\"hidden_act\":\"gelu\"", "hidden_act"},
        {"llama", LLAMA,
         LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,"
               "\"high_freq_factor\":4,\"original_max_position_embeddings\":64}",
         "rope_scaling"},
        {"llama", LLAMA ",\"attention_bias\":true", LLAMA, "attention_bias"},
        {"gpt_neox", NEOX ",\"rotary_emb_base\":1000", NEOX, "rotary_emb_base"},
        {"gpt_neox", NEOX ",\"rotary_pct\":0.5", NEOX, "rotary_pct"},
        {"gpt_neox", NEOX ",\"use_parallel_residual\":false", NEOX, "use_parallel_residual"},
        {"gpt2", GPT2 ",\"layer_norm_epsilon\":1e-6", GPT2, "layer_norm_epsilon"},
        {"gpt2", GPT2 ",\"scale_attn_by_inverse_layer_idx\":true", GPT2,
         "scale_attn_by_inverse_layer_idx"},
        {"gpt2", GPT2 ",\"scale_attn_weights\":false", GPT2, "scale_attn_weights"},
        {"gpt2", GPT2 ",\"activation_function\":\"gelu\"", GPT2, "activation_function"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rb_config a = parsed(rows[i].a), b = parsed(rows[i].b);
        struct rb_error err = {0};
        const struct rb_family *f = rb_family_find(rows[i].type);
        assert_int_equal(rb_configs_equal(f, &a, &a, true, &err), RB_OK);
        if (rb_configs_equal(f, &a, &b, true, &err) != RB_EMODELS)
            fail_msg("a pair: %s", rows[i].a);
        assert_string_equal(err.pointer, rows[i].pointer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_padding),  cmocka_unit_test(test_end_of_text),
        cmocka_unit_test(test_gpt2),     cmocka_unit_test(test_gpt_neox),
        cmocka_unit_test(test_llama),    cmocka_unit_test(test_relatives),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
