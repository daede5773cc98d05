#include "api/model_card.h"

#include "api/hf_name.h"
#include "api/permutations.h"
#include "core/json.h"
#include "core/merge/barrier.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the license of a parent ---- */

/* One line, without its end; false where there is none any more. */
static bool next_line(const char **at, const char *end, const char **ret, size_t *ret_bytes)
{
    if (*at == end)
        return false;
    const char *stop = memchr(*at, '\n', (size_t)(end - *at));
    size_t n = (size_t)((stop != NULL ? stop : end) - *at);
    *ret = *at;
    *at += n + (stop != NULL);
    *ret_bytes = n > 0 && (*ret)[n - 1] == '\r' ? n - 1 : n;
    return true;
}

static bool is_license(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '-' || c == '+';
}

static void read_value(const char *value, size_t bytes, char ret[RB_LICENSE_SIZE])
{
    while (bytes > 0 && value[0] == ' ')
        value++, bytes--;
    while (bytes > 0 && value[bytes - 1] == ' ')
        bytes--;
    if (bytes >= 2 && (value[0] == '"' || value[0] == '\'') && value[bytes - 1] == value[0])
        value++, bytes -= 2;
    for (size_t i = 0; i < bytes; i++)
        if (!is_license(value[i]))
            return;
    if (bytes < RB_LICENSE_SIZE)
        (void)snprintf(ret, RB_LICENSE_SIZE, "%.*s", (int)bytes, value);
}

void rb_card_license(const char *card, size_t bytes, char ret[RB_LICENSE_SIZE])
{
    static const char key[] = "license:";
    const char *at = card, *end = card + bytes, *line;
    char found[RB_LICENSE_SIZE] = "";
    bool closed = false;
    size_t n;
    ret[0] = '\0';
    if (!next_line(&at, end, &line, &n) || n != 3 || memcmp(line, "---", 3) != 0)
        return;
    while (!closed && next_line(&at, end, &line, &n)) {
        closed = n == 3 && memcmp(line, "---", 3) == 0;
        if (n >= sizeof key - 1 && memcmp(line, key, sizeof key - 1) == 0)
            read_value(line + sizeof key - 1, n - (sizeof key - 1), found);
    }
    if (closed)
        memcpy(ret, found, sizeof found);
}

/* ---- texts ---- */

struct text {
    FILE *out;
    char *bytes;
    size_t count;
};

static enum rb_status text_open(struct text *t, struct rb_error *err)
{
    *t = (struct text){0};
    t->out = open_memstream(&t->bytes, &t->count);
    return t->out != NULL ? RB_OK : rb_error_set(err, RB_ENOMEM, "no memory for a model card");
}

static enum rb_status text_close(struct text *t, char **ret, size_t *ret_bytes,
                                 struct rb_error *err)
{
    bool failed = ferror(t->out) != 0;
    if (fclose(t->out) != 0 || failed) {
        free(t->bytes);
        return rb_error_set(err, RB_ENOMEM, "no memory for a model card");
    }
    *ret = t->bytes;
    *ret_bytes = t->count;
    return RB_OK;
}

static const struct rb_point *point_at(const struct rb_curve_points *curve, double lambda)
{
    for (size_t i = 0; i < curve->count; i++)
        if (curve->points[i].lambda == lambda)
            return &curve->points[i];
    return NULL;
}

/* ---- the curve ---- */

enum { WIDTH = 640, HEIGHT = 360, LEFT = 64, RIGHT = 16, TOP = 32, BOTTOM = 40, TICKS = 4 };

struct scale {
    double low, high;
};

static double place_x(double lambda)
{
    return LEFT + lambda * (WIDTH - LEFT - RIGHT);
}

static double place_y(const struct scale *s, double loss)
{
    return TOP + (s->high - loss) / (s->high - s->low) * (HEIGHT - TOP - BOTTOM);
}

static void widen(struct scale *s, const struct rb_curve_points *curve)
{
    for (size_t i = 0; i < curve->count; i++) {
        s->low = fmin(s->low, curve->points[i].loss);
        s->high = fmax(s->high, curve->points[i].loss);
    }
}

static void draw_curve(FILE *out, const struct scale *s, const struct rb_curve_points *curve,
                       const char *color, const char *dashes)
{
    fprintf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\"%s points=\"", color,
            dashes);
    for (size_t i = 0; i < curve->count; i++)
        fprintf(out, "%s%.1f,%.1f", i > 0 ? " " : "", place_x(curve->points[i].lambda),
                place_y(s, curve->points[i].loss));
    fputs("\"/>\n", out);
}

static void draw_axes(FILE *out, const struct scale *s)
{
    for (int i = 0; i <= TICKS; i++) {
        double part = (double)i / TICKS, loss = s->low + part * (s->high - s->low);
        double x = place_x(part), y = place_y(s, loss);
        fprintf(out, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", LEFT,
                y, WIDTH - RIGHT, y);
        fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3f</text>\n", LEFT - 6, y + 4,
                loss);
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.2f</text>\n", x,
                HEIGHT - BOTTOM + 18, part);
    }
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">lambda</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6);
}

static void draw(FILE *out, const struct rb_model_card *c)
{
    const struct rb_barrier_view *v = c->curve;
    struct scale s = {INFINITY, -INFINITY};
    widen(&s, &v->aligned);
    if (v->has_control)
        widen(&s, &v->control);
    if (!(s.high > s.low)) /* all the same, or none */
        s = isfinite(s.low) ? (struct scale){s.low - 0.5, s.low + 0.5} : (struct scale){0, 1};
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n"
            "<title>Loss from A (lambda 0) to B (lambda 1)</title>\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
    draw_axes(out, &s);
    double x = place_x(c->lambda);
    fprintf(out,
            "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#999\" "
            "stroke-dasharray=\"2 3\"/>\n",
            x, TOP, x, HEIGHT - BOTTOM);
    if (v->has_control)
        draw_curve(out, &s, &v->control, "#b0413e", " stroke-dasharray=\"6 4\"");
    draw_curve(out, &s, &v->aligned, "#1f5fa8", "");
    fprintf(out, "<text x=\"%d\" y=\"20\" fill=\"#1f5fa8\">aligned</text>\n", LEFT);
    if (v->has_control)
        fprintf(out, "<text x=\"%d\" y=\"20\" fill=\"#b0413e\">control: not aligned</text>\n",
                LEFT + 64);
    fputs("</svg>\n", out);
}

enum rb_status rb_model_card_svg(const struct rb_model_card *c, char **ret, size_t *ret_bytes,
                                 struct rb_error *err)
{
    struct text t;
    enum rb_status status = text_open(&t, err);
    if (status != RB_OK)
        return status;
    draw(t.out, c);
    return text_close(&t, ret, ret_bytes, err);
}

/* ---- the card ---- */

/* How the Hub calls a parent, if it comes from there; else its name here. */
static void print_parent(FILE *out, const struct rb_card_parent *p)
{
    struct rb_hf_name hub;
    bool known = strncmp(p->source, "hf:", 3) == 0 && rb_hf_name_parse(p->source + 3, &hub);
    fputs(known ? hub.repository : p->name, out);
}

static void print_head(FILE *out, const struct rb_model_card *c)
{
    const char *license = c->parents[0].license;
    fputs("---\nbase_model:\n", out);
    for (size_t i = 0; i < c->parent_count; i++) { /* quoted: "1e5" would be a number */
        fputs("- \"", out);
        print_parent(out, &c->parents[i]);
        fputs("\"\n", out);
    }
    fputs("tags:\n- merge\n- rebasind\n", out);
    bool same = license[0] != '\0';
    for (size_t i = 1; i < c->parent_count; i++)
        same = same && strcmp(license, c->parents[i].license) == 0;
    if (same)
        fprintf(out, "license: %s\n", license);
    fputs("---\n\n", out);
}

/* Of three models or more. */
static void print_several(FILE *out, const struct rb_model_card *c)
{
    fprintf(out, "# %zu models, merged\n\nEvery weight is a sum of theirs:\n\n", c->parent_count);
    fputs("| model | weight |\n|---|---:|\n", out);
    for (size_t m = 0; m < c->parent_count; m++) {
        fputs("| ", out);
        print_parent(out, &c->parents[m]);
        fprintf(out, " | %.6g |\n", c->weights[m]);
    }
    fputs(c->moved
              ? "\nBefore that, every model but the first was moved: its units were matched with "
                "those that do the same work, and its weights put into their order.\n"
              : "\nThey were taken as they are: nothing was aligned.\n",
          out);
    fprintf(out, "Config and tokenizer are the first one's. Made by rebasind %s, job `%s`.\n\n",
            c->version, c->job);
}

static void print_what(FILE *out, const struct rb_model_card *c)
{
    char lambda[RB_NUMBER_SIZE];
    if (c->weights != NULL) {
        print_several(out, c);
        return;
    }
    (void)rb_number_format(c->lambda, lambda);
    fputs("# ", out);
    print_parent(out, &c->parents[0]);
    fputs(" and ", out);
    print_parent(out, &c->parents[1]);
    fprintf(out, ", merged at lambda %s\n\n", lambda);
    fprintf(out, "Every weight is (1 - %s) A + %s %s, where A is **", lambda, lambda,
            c->moved ? "moved B" : "B");
    print_parent(out, &c->parents[0]);
    fputs("** and B is **", out);
    print_parent(out, &c->parents[1]);
    fputs("**. ", out);
    fputs(c->moved ? "Before that, B was moved: its units were matched with those of A that do the "
                     "same work, and its weights put into their order.\n"
                   : "B was taken as it is: nothing was aligned.\n",
          out);
    fprintf(out, "Config and tokenizer are A's. Made by rebasind %s, job `%s`.\n\n", c->version,
            c->job);
}

static double figure(const json_t *json, const char *object, const char *member)
{
    const json_t *v = json_object_get(json_object_get(json, object), member);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

static void print_values(FILE *out, const char *what, double of_sum, double solved, double tuned)
{
    const double values[] = {of_sum, solved, tuned};
    if (isnan(of_sum) && isnan(solved) && isnan(tuned))
        return;
    fprintf(out, "| %s |", what);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        if (isnan(values[i]))
            fputs(" |", out);
        else
            fprintf(out, " %.4f |", values[i]);
    fputc('\n', out);
}

/* Told as what it is: METHOD 12. */
static void print_merge(FILE *out, const struct rb_model_card *c)
{
    json_error_t why;
    bool no_memory;
    json_t *json = rb_json_load(c->merge, strlen(c->merge), 0, &why, &no_memory);
    double solved = figure(json, "fit", "solved"), steps = figure(json, "finetune", "steps");
    double nan = (double)NAN;
    fputs("## How it was merged\n\nNot by that sum alone: ", out);
    if (!isnan(solved))
        fputs("every linear map was **solved for by least squares**, so that its outputs are close "
              "to those that the parents' own maps have on a text; embeddings and norms are the "
              "sum. ",
              out);
    if (!isnan(steps))
        fprintf(out,
                "Its layers were then **trained in %.0f steps** towards the mean of the parents' "
                "logits on a text. ",
                steps);
    fputs("This model is not the same function as any parent, and no point of the straight path "
          "between them: what is said below of that path is not said of it.\n\n"
          "| | the sum | solved | trained |\n|---|---:|---:|---:|\n",
          out);
    print_values(out, "squared error of the maps' outputs, in parts of them",
                 figure(json, "fit", "mean"), solved, nan);
    print_values(out, "loss", figure(json, "loss", "linear"), figure(json, "loss", "least_squares"),
                 figure(json, "loss", "finetune"));
    bool both = !isnan(solved);
    double before = figure(json, "finetune", "held_distance_before");
    print_values(out, "KL from the parents' mean on text held out", both ? nan : before,
                 both ? before : nan, figure(json, "finetune", "held_distance_after"));
    fputc('\n', out);
    json_decref(json);
}

/* Never called the same function: METHOD 10. */
static void print_near(FILE *out, const struct rb_certificate *found)
{
    fprintf(out,
            "Moved B is **near** B, not the same function: its stream was turned by a map that its "
            "norms pass only nearly. On %u sequences",
            found->sequences);
    if (!isnan(found->kl))
        fprintf(out, " KL(B || moved B) is %.3g nats, and %.1f %% of first choices are the same;",
                found->kl, 100 * found->top1_agreement);
    fprintf(out, " logits differ by at most %.3g.", found->max_abs_logit_difference);
    if (!isnan(found->loss_before))
        fprintf(out, " B's loss is %.4f as it was and %.4f moved; barriers are over the original.",
                found->loss_before, found->loss_after);
    fputs("\n\n", out);
}

static void print_certificate(FILE *out, const struct rb_model_card *c)
{
    const struct rb_certificate *found = c->certificate;
    fputs("## Certificate\n\n", out);
    if (!c->moved)
        fputs("B was not moved, so there is nothing to certify.\n\n", out);
    else if (found == NULL)
        fputs("Whether moved B is still B was not measured.\n\n", out);
    else if (found->near)
        print_near(out, found);
    else
        fprintf(out,
                "Moved B %s: on %u sequences their logits differ by at most %.3g (tolerance "
                "%.3g).\n\n",
                found->equivalent ? "computes the same function as B"
                                  : "is another function than B",
                found->sequences, found->max_abs_logit_difference, found->tolerance);
}

static void print_loss(FILE *out, const struct rb_barrier_view *v, const char *what, double lambda)
{
    const struct rb_point *points[2] = {point_at(&v->aligned, lambda), NULL};
    if (v->has_control)
        points[1] = point_at(&v->control, lambda);
    if (points[0] == NULL)
        return;
    fprintf(out, "| loss %s |", what);
    for (int i = 0; i < (v->has_control ? 2 : 1); i++)
        if (points[i] != NULL)
            fprintf(out, " %.4f ± %.4f |", points[i]->loss, points[i]->standard_error);
        else
            fputs(" |", out);
    fputc('\n', out);
}

static void print_figure(FILE *out, double value, double error, double lambda)
{
    fprintf(out, " %.4f", value);
    if (!isnan(error))
        fprintf(out, " ± %.4f", error);
    fprintf(out, " at %.2f |", lambda);
}

static void print_barrier(FILE *out, const struct rb_barrier_view *v, bool chord,
                          const struct rb_barrier b[2])
{
    fprintf(out, "| barrier over the %s |", chord ? "chord" : "mean");
    for (int i = 0; i < (v->has_control ? 2 : 1); i++) {
        double error = v->errors == NULL ? NAN : chord ? v->errors->chord[i] : v->errors->mean[i];
        print_figure(out, chord ? b[i].chord : b[i].mean, error,
                     chord ? b[i].chord_lambda : b[i].mean_lambda);
    }
    fputc('\n', out);
}

static void print_curve(FILE *out, const struct rb_model_card *c, const char *svg)
{
    const struct rb_barrier_view *v = c->curve;
    struct rb_barrier b[2];
    char sentence[RB_MERGE_SENTENCE_SIZE];
    fprintf(out, "## Loss from A to B\n\n![Loss over lambda](%s)\n\n", svg);
    if (v->verdict != NULL && v->verdict->kind != RB_MERGE_NONE)
        fprintf(out, "**%s**\n\n", rb_merge_verdict_sentence(v->verdict, v->spec, sentence));
    fprintf(out, "| | aligned |%s\n|---|---:|%s\n", v->has_control ? " control |" : "",
            v->has_control ? "---:|" : "");
    print_loss(out, v, "of A", 0);
    if (c->lambda > 0 && c->lambda < 1)
        print_loss(out, v, c->merge == NULL ? "of this model" : "of the plain sum", c->lambda);
    print_loss(out, v, "of B", 1);
    if (rb_curve_barrier(v, &v->aligned, &b[0]) &&
        (!v->has_control || rb_curve_barrier(v, &v->control, &b[1]))) {
        print_barrier(out, v, true, b);
        print_barrier(out, v, false, b);
    }
    const struct rb_folded_control folded = rb_barrier_folded(v);
    if (rb_folded_control_known(&folded))
        fprintf(
            out,
            "\nBoth models with their norms folded, averaged and not aligned: loss %.4f ± %.4f, "
            "%.4f over the chord, at %.2f. What aligning is worth beyond folding is the rest.\n",
            folded.loss, folded.standard_error, folded.barrier, folded.lambda);
    fputc('\n', out);
}

/* The spec with indents; jansson keeps the order of members. */
static enum rb_status print_spec(FILE *out, const char *spec, struct rb_error *err)
{
    json_error_t why;
    bool no_memory;
    json_t *json = rb_json_load(spec, strlen(spec), 0, &why, &no_memory);
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(json);
    if (text == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the spec in a model card");
    fprintf(out, "## Spec\n\n```json\n%s\n```\n\n", text);
    free(text);
    return RB_OK;
}

static void print_inputs(FILE *out, const struct rb_model_card *c)
{
    fputs("## Inputs\n\n| role | name | SHA-256 |\n|---|---|---|\n", out);
    for (size_t i = 0; i < c->input_count; i++)
        fprintf(out, "| %s | %s | `%s` |\n", c->inputs[i].role, c->inputs[i].name,
                c->inputs[i].sha256);
    fputs("\nThe same for machines, with every figure: `rebasind.json`.\n", out);
}

enum rb_status rb_model_card_write(const struct rb_model_card *c, const char *svg, char **ret,
                                   size_t *ret_bytes, struct rb_error *err)
{
    struct text t;
    enum rb_status status = text_open(&t, err);
    if (status != RB_OK)
        return status;
    print_head(t.out, c);
    print_what(t.out, c);
    if (c->merge != NULL)
        print_merge(t.out, c);
    if (c->curve != NULL && c->weights == NULL)
        print_curve(t.out, c, svg);
    print_certificate(t.out, c);
    status = print_spec(t.out, c->spec, err);
    print_inputs(t.out, c);
    if (status == RB_OK)
        return text_close(&t, ret, ret_bytes, err);
    (void)fclose(t.out);
    free(t.bytes);
    return status;
}

/* ---- the provenance ---- */

static void encode_input(struct rb_json *w, const struct rb_model_card *c,
                         const struct rb_job_input *in)
{
    int side = -1;
    for (size_t m = 0; m < c->parent_count; m++) {
        char role[24];
        rb_job_model_role(m, role);
        if (strcmp(in->role, role) == 0)
            side = (int)m;
    }
    rb_json_object(w, NULL);
    rb_json_string(w, "role", in->role);
    rb_json_string(w, "name", in->name);
    rb_json_text_or_null(w, "sha256", in->sha256);
    if (side >= 0) {
        rb_json_text_or_null(w, "source", c->parents[side].source);
        rb_json_text_or_null(w, "license", c->parents[side].license);
    }
    rb_json_end(w);
}

static void encode_certificate(struct rb_json *w, const struct rb_certificate *c)
{
    if (c == NULL) {
        rb_json_null(w, "certificate");
        return;
    }
    rb_json_object(w, "certificate");
    rb_json_bool(w, "equivalent", c->equivalent);
    rb_json_number(w, "max_abs_logit_difference", c->max_abs_logit_difference);
    rb_json_number(w, "tolerance", c->tolerance);
    rb_json_uint(w, "sequences", c->sequences);
    rb_certificate_encode_kind(w, c);
    rb_json_end(w);
}

enum rb_status rb_model_card_provenance(const struct rb_model_card *c, char **ret,
                                        size_t *ret_bytes, struct rb_error *err)
{
    struct rb_json w;
    rb_json_init(&w);
    rb_json_object(&w, NULL);
    rb_json_string(&w, "job", c->job);
    rb_json_string(&w, "version", c->version);
    if (c->weights == NULL)
        rb_json_number(&w, "lambda", c->lambda);
    if (c->weights != NULL)
        rb_json_array(&w, "weights");
    for (size_t m = 0; m < c->parent_count && c->weights != NULL; m++)
        rb_json_number(&w, NULL, c->weights[m]);
    if (c->weights != NULL)
        rb_json_end(&w);
    rb_json_string(&w, "dtype", c->dtype);
    rb_json_array(&w, "inputs");
    for (size_t i = 0; i < c->input_count; i++)
        encode_input(&w, c, &c->inputs[i]);
    rb_json_end(&w);
    rb_json_raw(&w, "spec", c->spec);
    if (c->curve != NULL)
        rb_barrier_encode(&w, "barrier", c->curve);
    else
        rb_json_null(&w, "barrier");
    encode_certificate(&w, c->certificate);
    if (c->merge != NULL)
        rb_json_raw(&w, "merge", c->merge);
    rb_json_raw(&w, "environment", c->environment);
    rb_json_raw(&w, "build", c->build);
    rb_json_end(&w);
    return rb_json_finish(&w, ret, ret_bytes, err);
}
