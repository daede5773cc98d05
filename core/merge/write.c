/* Writing a merged checkpoint.
 *
 * DESIGN. A's tensors in A's order; each that the architecture's table knows is read through the
 * blend in pieces of rows, converted and written at its place: pieces are independent items. The
 * last round has one item, the commit (which syncs). */
#include "core/merge/write.h"
#include "core/tensor/safetensors_write.h"

#include <stdlib.h>
#include <string.h>

const char *const rb_output_dtype_names[] = {"source", "f32", "f16", "bf16", NULL};

enum { PIECE_FLOATS = 1 << 20 };

struct output {                     /* one tensor of the file */
    const struct rb_tensor *source; /* A's; its name and shape */
    const char *name;
    struct rb_held held; /* count 0: a buffer, copied byte for byte */
    enum rb_dtype dtype;
};

struct piece { /* rows of one of the slots that a tensor holds */
    uint32_t output, part;
    size_t first, rows;
};

enum stage { STAGE_START, STAGE_PIECES, STAGE_COMMIT, STAGE_DONE };

struct write {
    struct rb_program program;
    struct rb_blend blend;
    char decoder[RB_TENSOR_NAME_MAX]; /* how A would call an unembedding of its own */
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

/* Do all models have all that A's tensor holds? */
static bool stored_by_all(const struct rb_blend *blend, const struct rb_held *held)
{
    for (size_t i = 0; i < blend->count; i++)
        for (size_t k = 0; k < held->count; k++)
            if (rb_model_tensor(blend->terms[i].model, held->slots[k], held->layer) == NULL)
                return false;
    return true;
}

/* The tensors of the file; ret has room for all of A's and one more. A tensor that only one of the
 * two models has is left out. decoder: room for a name, which the last one may borrow. */
static size_t list_outputs(const struct rb_blend *blend, enum rb_output_dtype dtype,
                           struct output *ret, char *decoder)
{
    const struct rb_model *a = rb_blend_model(blend);
    size_t n = 0;
    bool has_decoder = false, wants_decoder = decoder_untied(blend);
    if (wants_decoder)
        (void)rb_model_name(a, RB_UNEMBEDDING_WEIGHT, 0, decoder);
    for (size_t i = 0; i < a->checkpoint.tensor_count; i++) {
        const struct rb_tensor *t = a->checkpoint.tensors[i];
        struct output o = {
            .source = t, .name = t->name, .held = rb_model_held(a, t), .dtype = t->dtype};
        if (!stored_by_all(blend, &o.held))
            continue;
        if (o.held.count > 0)
            o.dtype = dtype_of(dtype, t->dtype);
        has_decoder = has_decoder || (wants_decoder && strcmp(t->name, decoder) == 0);
        ret[n++] = o;
    }
    if (wants_decoder && !has_decoder) {
        const struct rb_tensor *t = rb_model_tensor(a, RB_UNEMBEDDING_WEIGHT, 0);
        ret[n++] = (struct output){.source = t,
                                   .name = decoder,
                                   .held = {.slots = {RB_UNEMBEDDING_WEIGHT}, .count = 1},
                                   .dtype = dtype_of(dtype, t->dtype)};
    }
    return n;
}

static bool is_transposed(const struct rb_model *m, enum rb_slot slot)
{
    const struct rb_tensor_row *row = rb_model_row(m, slot);
    return row->view.layout == RB_LAYOUT_TRANSPOSED && row->columns != RB_DIM_NONE;
}

/* Rows of a slot that make one piece: some million numbers; a transposed one in few pieces, since
 * each of its rows is a column of the file. */
static size_t piece_rows(const struct rb_model *m, enum rb_slot slot, size_t columns)
{
    return (is_transposed(m, slot) ? 4 : 1) * ((size_t)PIECE_FLOATS / columns + 1);
}

/* Pieces of one output, counted; written down where ret is not NULL. */
static size_t cut_output(const struct write *w, uint32_t output, struct piece *ret)
{
    const struct output *o = &w->outputs[output];
    size_t n = 0;
    if (o->held.count == 0) {
        if (ret != NULL)
            ret[0] = (struct piece){.output = output};
        return 1;
    }
    for (uint32_t part = 0; part < o->held.count; part++) {
        size_t rows, columns;
        rb_model_size(rb_blend_model(&w->blend), o->held.slots[part], &rows, &columns);
        size_t step = piece_rows(rb_blend_model(&w->blend), o->held.slots[part], columns);
        for (size_t first = 0; first < rows; first += step, n++)
            if (ret != NULL)
                ret[n] =
                    (struct piece){output, part, first, rows - first < step ? rows - first : step};
    }
    return n;
}

static enum rb_status list_pieces(struct write *w, struct rb_error *err)
{
    for (uint32_t i = 0; i < w->output_count; i++)
        w->piece_count += cut_output(w, i, NULL);
    w->pieces = calloc(w->piece_count + 1, sizeof *w->pieces);
    if (w->pieces == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to write a checkpoint");
    size_t n = 0;
    for (uint32_t i = 0; i < w->output_count; i++)
        n += cut_output(w, i, w->pieces + n);
    return RB_OK;
}

struct placed { /* rows of a slot in F32, and where they go */
    const struct output *output;
    const struct piece *piece;
    const struct rb_tensor_row *row;
    size_t columns;
    const float *values; /* (piece rows, columns) */
    void *encoded;       /* room for as many in the output's dtype */
};

/* Runs of rows that lie side by side in the stored tensor, too. */
static enum rb_status write_rows(const struct write *w, const struct placed *p,
                                 struct rb_error *err)
{
    const struct rb_config *c = &rb_blend_model(&w->blend)->config;
    size_t bytes = p->columns * rb_dtype_bytes(p->output->dtype), first = p->piece->first;
    rb_dtype_from_f32(p->output->dtype, p->values, p->encoded, p->piece->rows * p->columns);
    for (size_t done = 0; done < p->piece->rows;) {
        size_t at = rb_tensor_stored_row(c, p->row, first + done), n = 1;
        while (done + n < p->piece->rows &&
               rb_tensor_stored_row(c, p->row, first + done + n) == at + n)
            n++;
        enum rb_status s =
            rb_st_writer_write(w->writer, p->piece->output, at * bytes,
                               (const char *)p->encoded + done * bytes, n * bytes, err);
        if (s != RB_OK)
            return s;
        done += n;
    }
    return RB_OK;
}

/* The slot's rows are columns of the stored tensor. */
static enum rb_status write_columns(const struct write *w, const struct placed *p,
                                    struct rb_scratch *scratch, struct rb_error *err)
{
    size_t size = rb_dtype_bytes(p->output->dtype), n = p->piece->rows;
    size_t width = (size_t)p->output->source->shape[1];
    size_t at = rb_tensor_stored_row(&rb_blend_model(&w->blend)->config, p->row, p->piece->first);
    float *line = rb_scratch_alloc(scratch, n, sizeof(float));
    if (line == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to write tensor '%s'", p->output->name);
    for (size_t j = 0; j < p->columns; j++) {
        for (size_t i = 0; i < n; i++)
            line[i] = p->values[i * p->columns + j];
        rb_dtype_from_f32(p->output->dtype, line, p->encoded, n);
        enum rb_status s = rb_st_writer_write(w->writer, p->piece->output, (j * width + at) * size,
                                              p->encoded, n * size, err);
        if (s != RB_OK)
            return s;
    }
    return RB_OK;
}

static enum rb_status write_piece(struct write *w, const struct piece *piece,
                                  struct rb_scratch *scratch, struct rb_error *err)
{
    const struct output *o = &w->outputs[piece->output];
    if (o->held.count == 0)
        return rb_st_writer_write(w->writer, piece->output, 0, o->source->data, o->source->bytes,
                                  err);
    const struct rb_model *a = rb_blend_model(&w->blend);
    enum rb_slot slot = o->held.slots[piece->part];
    size_t rows, columns;
    rb_model_size(a, slot, &rows, &columns);
    size_t n = piece->rows * columns;
    float *values = rb_scratch_alloc(scratch, n, sizeof(float));
    void *encoded = rb_scratch_alloc(scratch, n, rb_dtype_bytes(o->dtype));
    if (values == NULL || encoded == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to write tensor '%s'", o->name);
    enum rb_status s = rb_blend_rows(&w->blend, slot, o->held.layer, piece->first, piece->rows,
                                     values, scratch, err);
    if (s != RB_OK)
        return s;
    const struct placed p = {o, piece, rb_model_row(a, slot), columns, values, encoded};
    return is_transposed(a, slot) ? write_columns(w, &p, scratch, err) : write_rows(w, &p, err);
}

static enum rb_status run_item(struct rb_program *p, size_t item, struct rb_worker *worker,
                               struct rb_error *err)
{
    struct write *w = (struct write *)p;
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
    const struct output *o = &w->outputs[w->pieces[item].output];
    size_t rows, columns;
    if (o->held.count == 0)
        return 0;
    rb_model_size(rb_blend_model(&w->blend), o->held.slots[w->pieces[item].part], &rows, &columns);
    return 50.0 * (double)(w->pieces[item].rows * columns);
}

static double total_cost(struct write *w)
{
    double cost = 0;
    w->stage = STAGE_PIECES;
    for (size_t i = 0; i < w->piece_count; i++)
        cost += item_cost(&w->program, i);
    w->stage = STAGE_START;
    return cost;
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
        w->output_count = list_outputs(blend, dtype, w->outputs, w->decoder);
        s = list_pieces(w, err);
    }
    if (s == RB_OK)
        s = open_writer(w, path, metadata, metadata_count, err);
    if (s != RB_OK) {
        write_free(&w->program);
        return s;
    }
    w->program.total_cost = total_cost(w);
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

double rb_write_cost(const struct rb_blend *blend, enum rb_output_dtype dtype)
{
    struct write w = {.blend = *blend};
    struct rb_error err;
    double cost = 0;
    w.outputs = calloc(rb_blend_model(blend)->checkpoint.tensor_count + 1, sizeof *w.outputs);
    if (w.outputs != NULL) {
        w.output_count = list_outputs(blend, dtype, w.outputs, w.decoder);
        if (list_pieces(&w, &err) == RB_OK)
            cost = total_cost(&w);
    }
    free(w.outputs);
    free(w.pieces);
    return cost;
}

uint64_t rb_write_bytes(const struct rb_blend *blend, enum rb_output_dtype dtype)
{
    const struct rb_model *a = rb_blend_model(blend);
    struct output *outputs = calloc(a->checkpoint.tensor_count + 1, sizeof *outputs);
    uint64_t bytes = 4096; /* header, about */
    char decoder[RB_TENSOR_NAME_MAX];
    size_t n = outputs != NULL ? list_outputs(blend, dtype, outputs, decoder) : 0;
    for (size_t i = 0; i < n; i++) {
        const struct rb_tensor *t = outputs[i].source;
        bytes += 128 + t->bytes / rb_dtype_bytes(t->dtype) * rb_dtype_bytes(outputs[i].dtype);
    }
    free(outputs);
    return bytes;
}
