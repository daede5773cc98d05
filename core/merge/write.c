/* Writing a merged checkpoint.
 *
 * DESIGN. A's tensors in A's order; each that the architecture's table knows is read through the
 * blend in pieces of rows, converted and written at its place: pieces are independent items. The
 * last round has one item, the commit (which syncs). */
#include "core/merge/write.h"

#include <stdlib.h>
#include <string.h>

const char *const rb_output_dtype_names[] = {"source", "f32", "f16", "bf16", NULL};

enum { PIECE_FLOATS = 1 << 20 };

static const char DECODER[] = "cls.predictions.decoder.weight";
static const char DECODER_BIAS[] = "cls.predictions.decoder.bias";

struct output {                     /* one tensor of the file */
    const struct rb_tensor *source; /* A's; its name and shape */
    const char *name;
    bool raw; /* copied byte for byte */
    enum rb_role role;
    uint32_t layer;
    enum rb_dtype dtype;
};

struct piece {
    uint32_t output;
    size_t first, rows;
};

enum stage { STAGE_START, STAGE_PIECES, STAGE_COMMIT, STAGE_DONE };

struct write {
    struct rb_program program;
    struct rb_blend blend;
    struct output *outputs;
    size_t output_count;
    struct piece *pieces;
    size_t piece_count;
    struct rb_st_writer *writer;
    enum stage stage;
};

static enum rb_dtype dtype_of(enum rb_output_dtype dtype, enum rb_dtype source)
{
    static const enum rb_dtype fixed[] = {
        [RB_OUT_F32] = RB_F32, [RB_OUT_F16] = RB_F16, [RB_OUT_BF16] = RB_BF16};
    return dtype == RB_OUT_SOURCE ? source : fixed[dtype];
}

static bool decoder_untied(const struct rb_blend *blend)
{
    for (size_t i = 0; i < blend->count; i++)
        if (blend->terms[i].motion != NULL && blend->terms[i].motion->decoder_untied)
            return true;
    return false;
}

static bool stored_by_all(const struct rb_blend *blend, enum rb_role role, uint32_t layer)
{
    for (size_t i = 0; i < blend->count; i++)
        if (rb_model_tensor(blend->terms[i].model, role, layer) == NULL)
            return false;
    return true;
}

/* Where A's tensor stands in the table; false for a buffer. A tied decoder's stored copy follows
 * the decoder. */
static bool locate(const struct rb_model *a, const struct rb_tensor *t, struct output *ret)
{
    if (strcmp(t->name, DECODER) == 0 && a->head == RB_HEAD_MLM) {
        ret->role = RB_DECODER_WEIGHT;
        return true;
    }
    if (strcmp(t->name, DECODER_BIAS) == 0 && a->head == RB_HEAD_MLM) {
        ret->role = RB_DECODER_BIAS;
        return true;
    }
    for (enum rb_role r = 0; r < RB_ROLE_COUNT; r++)
        for (uint32_t l = 0; l < (a->arch->rows[r].per_layer ? a->config.num_hidden_layers : 1);
             l++)
            if (rb_model_tensor(a, r, l) == t && (r != RB_DECODER_WEIGHT || a->decoder_stored)) {
                ret->role = r;
                ret->layer = l;
                return true;
            }
    return false;
}

/* The tensors of the file; ret has room for all of A's and one more. A tensor that only one of the
 * two models has is left out. */
static size_t list_outputs(const struct rb_blend *blend, enum rb_output_dtype dtype,
                           struct output *ret)
{
    const struct rb_model *a = rb_blend_model(blend);
    size_t n = 0;
    bool has_decoder = false;
    for (size_t i = 0; i < a->checkpoint.tensor_count; i++) {
        const struct rb_tensor *t = a->checkpoint.tensors[i];
        struct output o = {.source = t, .name = t->name, .dtype = t->dtype};
        o.raw = !locate(a, t, &o);
        if (!o.raw && !stored_by_all(blend, o.role, o.layer))
            continue;
        if (!o.raw)
            o.dtype = dtype_of(dtype, t->dtype);
        has_decoder = has_decoder || strcmp(t->name, DECODER) == 0;
        ret[n++] = o;
    }
    if (decoder_untied(blend) && !has_decoder) {
        const struct rb_tensor *t = rb_model_tensor(a, RB_DECODER_WEIGHT, 0);
        ret[n++] = (struct output){.source = t,
                                   .name = DECODER,
                                   .role = RB_DECODER_WEIGHT,
                                   .dtype = dtype_of(dtype, t->dtype)};
    }
    return n;
}

static size_t columns_of(const struct output *o)
{
    return o->source->rank == 2 ? (size_t)o->source->shape[1] : 1;
}

static size_t rows_of(const struct output *o)
{
    return o->source->rank > 0 ? (size_t)o->source->shape[0] : 1;
}

static enum rb_status list_pieces(struct write *w, struct rb_error *err)
{
    for (int pass = 0; pass < 2; pass++) {
        size_t n = 0;
        for (uint32_t i = 0; i < w->output_count; i++) {
            const struct output *o = &w->outputs[i];
            size_t rows = o->raw ? 1 : rows_of(o);
            size_t step = o->raw ? 1 : PIECE_FLOATS / columns_of(o) + 1;
            for (size_t first = 0; first < rows; first += step, n++)
                if (pass == 1)
                    w->pieces[n] =
                        (struct piece){i, first, rows - first < step ? rows - first : step};
        }
        w->piece_count = n;
        if (pass == 0 && (w->pieces = calloc(n + 1, sizeof *w->pieces)) == NULL)
            return rb_error_set(err, RB_ENOMEM, "no memory to write a checkpoint");
    }
    return RB_OK;
}

static enum rb_status write_piece(struct write *w, const struct piece *p,
                                  struct rb_scratch *scratch, struct rb_error *err)
{
    const struct output *o = &w->outputs[p->output];
    if (o->raw)
        return rb_st_writer_write(w->writer, p->output, 0, o->source->data, o->source->bytes, err);
    size_t columns = columns_of(o), n = p->rows * columns, size = rb_dtype_bytes(o->dtype);
    float *values = rb_scratch_alloc(scratch, n, sizeof(float));
    void *encoded = rb_scratch_alloc(scratch, n, size);
    if (values == NULL || encoded == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to write tensor '%s'", o->name);
    enum rb_status s =
        rb_blend_rows(&w->blend, o->role, o->layer, p->first, p->rows, values, scratch, err);
    if (s != RB_OK)
        return s;
    rb_dtype_from_f32(o->dtype, values, encoded, n);
    return rb_st_writer_write(w->writer, p->output, p->first * columns * size, encoded, n * size,
                              err);
}

static enum rb_status run_item(struct rb_program *p, size_t item, struct rb_worker *worker,
                               struct rb_error *err)
{
    struct write *w = (struct write *)p;
    if (rb_worker_stopped(worker))
        return rb_error_set(err, RB_ECANCELED, "canceled");
    if (w->stage == STAGE_PIECES)
        return write_piece(w, &w->pieces[item], &worker->scratch, err);
    struct rb_st_writer *writer = w->writer;
    w->writer = NULL; /* commit frees it whatever happens */
    return rb_st_writer_commit(writer, err);
}

static enum rb_status next_round(struct rb_program *p, size_t *ret_items, struct rb_error *err)
{
    struct write *w = (struct write *)p;
    (void)err;
    w->stage++;
    *ret_items = w->stage == STAGE_PIECES ? w->piece_count : w->stage == STAGE_COMMIT;
    return RB_OK;
}

/* Reading, blending and writing a number costs about what fifty operations of a product do. */
static double item_cost(const struct rb_program *p, size_t item)
{
    const struct write *w = (const struct write *)p;
    if (w->stage != STAGE_PIECES)
        return 0;
    return 50.0 * (double)(w->pieces[item].rows * columns_of(&w->outputs[w->pieces[item].output]));
}

static void write_free(struct rb_program *p)
{
    struct write *w = (struct write *)p;
    rb_st_writer_abort(w->writer);
    free(w->outputs);
    free(w->pieces);
    free(w);
}

static const struct rb_program_ops ops = {next_round, run_item, item_cost, write_free};

static enum rb_status open_writer(struct write *w, const char *path,
                                  const struct rb_metadata *metadata, size_t metadata_count,
                                  struct rb_error *err)
{
    struct rb_st_spec *specs = calloc(w->output_count + 1, sizeof *specs);
    struct rb_metadata *all = calloc(metadata_count + 1, sizeof *all);
    enum rb_status s = RB_ENOMEM;
    if (specs == NULL || all == NULL) {
        s = rb_error_set(err, RB_ENOMEM, "no memory to write a checkpoint");
        goto err_after_alloc;
    }
    for (size_t i = 0; i < w->output_count; i++) {
        const struct output *o = &w->outputs[i];
        specs[i] = (struct rb_st_spec){o->name, o->dtype, o->source->rank, {0}};
        memcpy(specs[i].shape, o->source->shape, sizeof specs[i].shape);
    }
    all[0] = (struct rb_metadata){"format", "pt"};
    for (size_t i = 0; i < metadata_count; i++)
        all[i + 1] = metadata[i];
    s = rb_st_writer_open(path, specs, w->output_count, all, metadata_count + 1, &w->writer, err);
err_after_alloc:
    free(specs);
    free(all);
    return s;
}

enum rb_status rb_write_new(const struct rb_blend *blend, enum rb_output_dtype dtype,
                            const char *path, const struct rb_metadata *metadata,
                            size_t metadata_count, struct rb_program **ret, struct rb_error *err)
{
    struct write *w = calloc(1, sizeof *w);
    if (w == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to write a checkpoint");
    w->program.ops = &ops;
    w->blend = *blend;
    w->outputs = calloc(rb_blend_model(blend)->checkpoint.tensor_count + 1, sizeof *w->outputs);
    enum rb_status s = RB_OK;
    if (w->outputs == NULL)
        s = rb_error_set(err, RB_ENOMEM, "no memory to write a checkpoint");
    if (s == RB_OK) {
        w->output_count = list_outputs(blend, dtype, w->outputs);
        s = list_pieces(w, err);
    }
    if (s == RB_OK)
        s = open_writer(w, path, metadata, metadata_count, err);
    if (s != RB_OK) {
        write_free(&w->program);
        return s;
    }
    w->program.total_cost = 50.0 * (double)rb_blend_model(blend)->parameters;
    *ret = &w->program;
    return RB_OK;
}

json_t *rb_write_config(const struct rb_blend *blend, enum rb_output_dtype dtype)
{
    static const char *const names[] = {
        [RB_F64] = "float64", [RB_F32] = "float32", [RB_F16] = "float16", [RB_BF16] = "bfloat16"};
    json_t *config = json_deep_copy(rb_blend_model(blend)->checkpoint.config);
    if (config == NULL)
        return NULL;
    enum rb_dtype t = dtype_of(dtype, rb_model_dtype(rb_blend_model(blend)));
    int failed = json_object_set_new(config, "torch_dtype", json_string(names[t]));
    if (json_object_get(config, "dtype") != NULL) /* what transformers 4.56 and later call it */
        failed |= json_object_set_new(config, "dtype", json_string(names[t]));
    if (decoder_untied(blend))
        failed |= json_object_set_new(config, "tie_word_embeddings", json_false());
    if (failed == 0)
        return config;
    json_decref(config);
    return NULL;
}

uint64_t rb_write_bytes(const struct rb_blend *blend, enum rb_output_dtype dtype)
{
    const struct rb_model *a = rb_blend_model(blend);
    struct output *outputs = calloc(a->checkpoint.tensor_count + 1, sizeof *outputs);
    uint64_t bytes = 4096; /* header, about */
    size_t n = outputs != NULL ? list_outputs(blend, dtype, outputs) : 0;
    for (size_t i = 0; i < n; i++) {
        const struct rb_tensor *t = outputs[i].source;
        bytes += 128 + t->bytes / rb_dtype_bytes(t->dtype) * rb_dtype_bytes(outputs[i].dtype);
    }
    free(outputs);
    return bytes;
}
