/* DESIGN. One share is under way at most, work->share, so that memory is what one takes. Its steps
 * by thread: which pairs, which models (loop); the other models' files listed (pool); their digests
 * recalled (loop); hashed where not known, compared with the jobs' inputs, opened (pool, in
 * pieces); collected (a program); saved, a pair at a time (pool); noted (loop). Nothing that is
 * wrong with a model which is not the run's own fails the run. */
#include "server/work/share.h"
#include "api/matrix.h"
#include "core/align/collect.h"
#include "server/base/fsutil.h"
#include "server/base/log.h"
#include "server/store/groups.h"
#include "server/store/models.h"
#include "server/work/digests.h"
#include "server/work/moments_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct one { /* a model; the first two are the run's own */
    char name[RB_NAME_SIZE], sha256[RB_SHA256_HEX_SIZE];
    char *path;
    struct rb_digests digests;
    const struct rb_model *model; /* NULL: not opened, or it cannot be used */
    struct rb_model opened;
    struct rb_fold fold;
    struct rb_motion folded;
    size_t place; /* in the program */
    bool is_open, lost, used;
};

struct member { /* a pair */
    char key[RB_SHA256_HEX];
    size_t a, b; /* models */
    struct rb_moments *moments;
    uint64_t bytes; /* of its file; 0: none */
};

struct rb_share {
    struct rb_run *run;
    rb_share_ended *ended;
    void *data;
    struct rb_async async;
    struct rb_pool_task task;
    struct rb_program *program;
    struct one *models; /* (model_count), room for RB_MODELS_MAX */
    size_t model_count;
    struct member *members; /* (count) the run's own first */
    size_t count;
    size_t at; /* the model that is opened, the member that is saved */
    struct rb_error error;
};

static void one_deinit(struct one *m)
{
    free(m->path);
    rb_digests_deinit(&m->digests);
    rb_motion_deinit(&m->folded);
    rb_fold_deinit(&m->fold);
    if (m->is_open)
        rb_model_deinit(&m->opened);
}

void rb_share_free(struct rb_share *s)
{
    if (s == NULL)
        return;
    if (s->run->work->share == s)
        s->run->work->share = NULL;
    rb_program_free(s->program);
    for (size_t i = 0; i < s->model_count; i++)
        one_deinit(&s->models[i]);
    for (size_t i = 0; i < s->count; i++)
        rb_moments_free(s->members[i].moments);
    free(s->models);
    free(s->members);
    free(s);
}

static void end(struct rb_share *s, enum rb_status status, const struct rb_error *err)
{
    struct rb_moments *own = NULL;
    if (status == RB_OK) {
        own = s->members[0].moments;
        s->members[0].moments = NULL;
    }
    s->ended(s->data, status, err, own);
}

/* ---- which pairs ---- */

size_t rb_share_pairs(const struct rb_plan *plan, const struct rb_work_options *o)
{
    uint64_t each = plan->moments_bytes + plan->moments_bytes / 16; /* a file has a header, too */
    uint64_t memory = o->memory_limit / 4, cache = o->moments_cache_bytes;
    uint64_t room = cache < memory ? cache : memory;
    uint64_t pairs = each > 0 ? room / each : 0;
    return pairs > 1 ? (size_t)pairs : 1;
}

static bool has_member(const struct rb_share *s, const char *key)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->members[i].key, key) == 0)
            return true;
    return false;
}

/* The seq of the run's group, 0 where it is no matrix. */
static int64_t matrix_of(const struct rb_run *run)
{
    struct rb_group_row group;
    struct rb_error ignored;
    if (run->row.job.group[0] == '\0' ||
        rb_group_get(run->work->store, run->row.job.group, &group, &ignored) != RB_OK)
        return 0;
    int64_t seq = rb_matrix_is(group.kind) ? group.seq : 0;
    rb_group_row_deinit(&group);
    return seq;
}

bool rb_share_waits(const struct rb_run *run, const char *key)
{
    const struct rb_share *s = run->work->share;
    return s != NULL && s->run != run && (has_member(s, key) || matrix_of(run) != 0);
}

/* Where a model is that a job names; false: it is not what the job was asked for with. */
static bool add_path(struct rb_share *s, struct one *m)
{
    const struct rb_work *w = s->run->work;
    struct rb_model_row row;
    struct rb_error ignored;
    if (rb_model_get(w->store, m->name, &row, &ignored) != RB_OK)
        return false;
    if (row.resource.status == RB_MODEL_READY && strcmp(row.resource.sha256, m->sha256) == 0)
        m->path =
            row.imported ? strdup(row.path) : rb_layout_absolute(w->options.data_dir, row.path);
    rb_model_row_deinit(&row);
    return m->path != NULL;
}

/* A model of a job by its role; added if it is new. false: there is none, or no room. */
static bool find_model(struct rb_share *s, const struct rb_job *job, size_t side, size_t *ret)
{
    char role[24];
    const struct rb_job_input *in = NULL;
    rb_job_model_role(side, role);
    for (size_t i = 0; i < job->input_count; i++)
        if (strcmp(job->inputs[i].role, role) == 0)
            in = &job->inputs[i];
    for (size_t i = 0; in != NULL && i < s->model_count; i++)
        if (strcmp(s->models[i].name, in->name) == 0 &&
            strcmp(s->models[i].sha256, in->sha256) == 0) {
            *ret = i;
            return true;
        }
    if (in == NULL || s->model_count == RB_MODELS_MAX)
        return false;
    struct one *m = &s->models[s->model_count];
    memcpy(m->name, in->name, sizeof m->name);
    memcpy(m->sha256, in->sha256, sizeof m->sha256);
    if (s->model_count >= 2 && !add_path(s, m)) {
        one_deinit(m);
        *m = (struct one){0};
        return false;
    }
    *ret = s->model_count++;
    return true;
}

static bool waits_for_moments(const struct rb_job *job)
{
    return job->status == RB_JOB_QUEUED ||
           (job->status == RB_JOB_RUNNING && job->phase <= RB_PHASE_ALIGNING);
}

static void add_member(struct rb_share *s, const struct rb_job *job, const char *key)
{
    struct member *m = &s->members[s->count];
    memcpy(m->key, key, sizeof m->key);
    if (find_model(s, job, 0, &m->a) && find_model(s, job, 1, &m->b))
        s->count++;
}

/* The group's other jobs, in their order. */
static void add_others(struct rb_share *s, const struct rb_job_row *rows, size_t count, size_t most)
{
    for (size_t i = 0; i < count && s->count < most; i++) {
        char key[RB_SHA256_HEX];
        rb_moments_key_for(s->run, &rows[i].job, key);
        if (rows[i].seq != s->run->row.seq && waits_for_moments(&rows[i].job) &&
            !has_member(s, key) && !rb_moments_there(s->run->work, key))
            add_member(s, &rows[i].job, key);
    }
}

static enum rb_status choose(struct rb_share *s, int64_t group, const char *key, size_t most,
                             struct rb_error *err)
{
    struct rb_job_row *rows;
    size_t count;
    enum rb_status status = rb_group_jobs(s->run->work->store, group, &rows, &count, err);
    if (status != RB_OK)
        return status;
    most = most < count ? most : count;
    s->members = calloc(most + 1, sizeof *s->members);
    s->models = calloc(RB_MODELS_MAX, sizeof *s->models);
    if (s->members == NULL || s->models == NULL) {
        status = rb_error_set(err, RB_ENOMEM, "no memory to share the moments of %zu pairs", most);
    } else {
        add_member(s, &s->run->row.job, key);
        if (s->count == 1)
            add_others(s, rows, count, most);
    }
    rb_group_jobs_free(rows, count);
    return status;
}

/* ---- the other models ---- */

static void lose(struct one *m, const struct rb_error *err)
{
    m->lost = true;
    rb_log_warn("a model of the matrix cannot be shared", RB_S("model", m->name),
                RB_ERROR_FIELDS(err));
}

static void scan(struct rb_async *a)
{
    struct rb_share *s = a->data;
    const struct rb_work_options *o = &s->run->work->options;
    for (size_t i = 2; i < s->model_count; i++) {
        struct one *m = &s->models[i];
        struct rb_error err;
        char *real = NULL;
        const struct rb_strings *roots = rb_import_roots_for(o->import_roots, o->data_dir, m->path);
        enum rb_status status = rb_import_resolve(roots, m->path, &real, &err);
        free(real);
        if (status == RB_OK)
            status = rb_digests_scan_folder(m->path, false, roots, &m->digests, &err);
        if (status != RB_OK)
            lose(m, &err);
    }
}

static enum rb_status open_model(struct rb_share *s, struct one *m, struct rb_error *err)
{
    const struct rb_model *first = &s->run->subject.model[0];
    char hex[RB_SHA256_HEX];
    rb_digests_model_hex(&m->digests, hex);
    if (strcmp(hex, m->sha256) != 0)
        return rb_error_set(err, RB_ECONFLICT,
                            "it has changed since it was registered: its SHA-256 is %s, expected "
                            "%s",
                            hex, m->sha256);
    enum rb_status status = rb_model_open(m->path, &m->opened, err);
    if (status != RB_OK)
        return status;
    m->is_open = true;
    m->model = &m->opened;
    status = rb_models_equal(first, m->model, err);
    if (status != RB_OK || !s->run->folds)
        return status;
    status = rb_fold_init(&m->fold, m->model, err);
    if (status == RB_OK)
        status = rb_motion_init(&m->folded, m->model->config.num_hidden_layers, err);
    if (status == RB_OK)
        rb_motion_fold(&m->folded, &m->fold);
    return status;
}

/* A piece of a file, or a model, at a time. */
static void open_some(struct rb_async *a)
{
    struct rb_share *s = a->data;
    struct rb_error err;
    a->again = false;
    if (s->at == s->model_count || atomic_load(&s->run->stop))
        return;
    struct one *m = &s->models[s->at];
    bool more = false;
    enum rb_status status = RB_OK;
    if (!m->lost)
        status = rb_digests_step(&m->digests, &s->run->stop, &more, &err);
    a->again = true;
    if (more && status == RB_OK)
        return;
    if (status == RB_OK && !m->lost)
        status = open_model(s, m, &err);
    if (status != RB_OK)
        lose(m, &err);
    s->at++;
}

/* ---- collecting ---- */

static bool is_whole(const struct rb_share *s, const struct member *m)
{
    return !s->models[m->a].lost && !s->models[m->b].lost;
}

/* Members whose models can be used, in their order; the run's own always can. */
static void drop_lost(struct rb_share *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (is_whole(s, &s->members[i])) {
            s->members[kept++] = s->members[i];
        } else {
            rb_moments_free(s->members[i].moments);
            s->members[i].moments = NULL;
        }
    }
    s->count = kept;
}

static void saved(struct rb_async *a)
{
    struct rb_share *s = a->data;
    struct rb_run *run = s->run;
    for (size_t i = 0; i < s->count; i++)
        if (s->members[i].bytes > 0)
            rb_moments_keep(run->work, s->members[i].key, s->members[i].bytes);
    end(s, RB_OK, NULL);
}

/* A pair at a time; what cannot be kept is collected again by whoever needs it. */
static void save_some(struct rb_async *a)
{
    struct rb_share *s = a->data;
    struct member *m = &s->members[s->at];
    struct rb_error err;
    if (rb_moments_write(s->run->work, m->key, m->moments, &m->bytes, &err) != RB_OK)
        rb_log_warn("moments are not kept", RB_S("job", s->run->row.job.id), RB_ERROR_FIELDS(&err));
    if (s->at > 0) {
        rb_moments_free(m->moments);
        m->moments = NULL;
    }
    a->again = ++s->at < s->count && !atomic_load(&s->run->stop);
}

static void collected(struct rb_pool_task *task, enum rb_status status, const struct rb_error *err)
{
    struct rb_share *s = task->data;
    struct rb_run *run = s->run;
    status = rb_run_models_used(run, task, status, err, &s->error);
    if (status != RB_OK) {
        end(s, status, &s->error);
        return;
    }
    size_t used = 0;
    for (size_t i = 0; i < s->model_count; i++)
        used += s->models[i].used;
    rb_metrics_add(run->work->metrics, RB_METER_TOKENS,
                   (double)used * (double)rb_sequences_tokens(&run->subject.align), "aligning",
                   NULL);
    for (size_t i = 0; i < s->count; i++)
        s->members[i].moments = rb_collect_take_pair(s->program, i);
    rb_program_free(s->program);
    s->program = NULL;
    for (size_t i = 2; i < s->model_count; i++)
        if (s->models[i].used &&
            rb_checkpoint_verify(&s->models[i].opened.checkpoint, &s->error) != RB_OK)
            lose(&s->models[i], &s->error);
    drop_lost(s);
    s->at = 0;
    s->async = (struct rb_async){.work = save_some, .done = saved, .data = s, .lane = RB_LANE_READ};
    rb_async_start(run->work->pool, &s->async);
}

static enum rb_status collect(struct rb_share *s, struct rb_error *err)
{
    struct rb_run *run = s->run;
    const struct rb_align_options *o = &run->spec.align.options;
    const struct rb_model *models[RB_MODELS_MAX];
    const struct rb_motion *folded[RB_MODELS_MAX];
    size_t count = 0;
    assert(s->count > 0); /* the run's own pair */
    struct rb_pair *pairs = calloc(s->count, sizeof *pairs);
    if (pairs == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to align %zu pairs", s->count);
    for (size_t i = 0; i < s->count; i++)
        s->models[s->members[i].a].used = s->models[s->members[i].b].used = true;
    for (size_t i = 0; i < s->model_count; i++) {
        struct one *m = &s->models[i];
        if (!m->used)
            continue;
        folded[count] = i < 2 ? &run->folded[i] : &m->folded;
        models[count] = m->model;
        m->place = count++;
    }
    for (size_t i = 0; i < s->count; i++)
        pairs[i] = (struct rb_pair){(uint32_t)s->models[s->members[i].a].place,
                                    (uint32_t)s->models[s->members[i].b].place};
    enum rb_status status =
        rb_collect_pairs_new(models, count, pairs, s->count, &run->subject.align, rb_taps_needed(o),
                             o, &s->program, err);
    free(pairs);
    for (size_t i = 0; i < count && run->folds && status == RB_OK; i++)
        rb_collect_move(s->program, i, folded[i]);
    return status;
}

static void opened(struct rb_async *a)
{
    struct rb_share *s = a->data;
    struct rb_run *run = s->run;
    struct rb_error err;
    for (size_t i = 2; i < s->model_count; i++)
        rb_digests_remember(&s->models[i].digests, run->work->store);
    if (run->why != RB_RUN_GOES_ON) {
        (void)rb_error_set(&err, RB_ECANCELED, "canceled");
        end(s, RB_ECANCELED, &err);
        return;
    }
    drop_lost(s);
    enum rb_status status = collect(s, &err);
    if (status != RB_OK) {
        end(s, status, &err);
        return;
    }
    rb_log_info("moments of a matrix", RB_S("job", run->row.job.id), RB_U("pairs", s->count));
    rb_run_phase_program(run, RB_PHASE_ALIGNING, &s->task, s->program, collected, s);
}

static void scanned(struct rb_async *a)
{
    struct rb_share *s = a->data;
    for (size_t i = 2; i < s->model_count; i++)
        rb_digests_recall(&s->models[i].digests, s->run->work->store);
    s->at = 2;
    s->async =
        (struct rb_async){.work = open_some, .done = opened, .data = s, .lane = RB_LANE_READ};
    rb_async_start(s->run->work->pool, &s->async);
}

/* ---- beginning ---- */

enum rb_status rb_share_begin(struct rb_run *run, const char *key, rb_share_ended *ended,
                              void *data, struct rb_share **ret, struct rb_error *err)
{
    size_t most = rb_share_pairs(&run->plan, &run->work->options);
    int64_t group = most > 1 ? matrix_of(run) : 0;
    *ret = NULL;
    if (group == 0)
        return RB_OK;
    struct rb_share *s = calloc(1, sizeof *s);
    if (s == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to share moments");
    s->run = run;
    s->ended = ended;
    s->data = data;
    enum rb_status status = choose(s, group, key, most, err);
    if (status != RB_OK || s->count < 2) {
        rb_share_free(s);
        return status;
    }
    s->models[0].model = &run->subject.model[0];
    s->models[1].model = &run->subject.model[1];
    run->work->share = s;
    s->async = (struct rb_async){.work = scan, .done = scanned, .data = s};
    rb_async_start(run->work->pool, &s->async);
    *ret = s;
    return RB_OK;
}
