/* rebasind run: one job on the daemon's own engine, without HTTP.
 *
 * A store and a data folder of its own are made in a temporary folder and removed at the end. The
 * models and texts are imported into it side by side, the job is submitted, and the loop
 * runs until the hub says that it has ended. */
#include "server/cli/commands.h"
#include "server/cli/environment.h"

#include "api/barrier.h"
#include "api/job_spec_encode.h"
#include "api/problem.h"
#include "core/json.h"
#include "server/base/blas_kernel.h"
#include "server/base/clock.h"
#include "server/base/config.h"
#include "server/base/file.h"
#include "server/base/fsutil.h"
#include "server/base/ids.h"
#include "server/base/layout.h"
#include "server/base/log.h"
#include "server/base/options.h"
#include "server/cli/run_report.h"
#include "server/cli/run_spec.h"
#include "server/cli/signals.h"
#include "server/store/jobs.h"
#include "server/store/jobs_read.h"
#include "server/store/models.h"
#include "server/store/results.h"
#include "server/work/inspect.h"
#include "server/work/jobdir.h"
#include "server/work/submit.h"
#include "server/work/work.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char rb_cmd_run_help[] =
    "Usage: rebasind run SPEC.json [--set MEMBER=VALUE] [--json] [--output DIR] [--workers N]\n"
    "                [--data-dir DIR]\n"
    "\n"
    "Runs one job without a server. SPEC.json (\"-\": standard input) is the body of POST "
    "/v1/jobs,\n"
    "in which models are folders and datasets are files, relative to the spec's folder or else to\n"
    "the working directory; a dataset may also be\n"
    "{\"path\",\"format\",\"text\",\"text_pair\",\"label\"}. A model may be "
    "\"hf:org/name[@revision]\", found in a\n"
    "Hugging Face cache: that of --import-root, or $HF_HUB_CACHE, $HF_HOME, ~/.cache/huggingface.\n"
    "\"align\":{\"preset\":\"best\"} is the strongest one-shot recipe of the models' family, "
    "\"learned\"\n"
    "learns maps from there; members beside it win, and the job's spec shows what it became.\n"
    "\n"
    "  --set align.heads=monotonic\n"
    "                  a member of the spec, by its way from the root, and what it is to be: "
    "JSON,\n"
    "                  or else a text; repeatable\n"
    "  --json          print one object: the job, with its barrier (of three models or more with\n"
    "                  reference.json, too); a problem where the input is wrong\n"
    "  --output DIR    keep the artifacts here (permutations, curves, merged checkpoints; each of\n"
    "                  these also as a folder to use, merged/lambda-0.50)\n"
    "  --data-dir DIR  where the working files go meanwhile (default: --output, or $TMPDIR)\n"
    "  --memory-limit 8GiB\n"
    "                  memory to plan with: sums that do not fit are made in groups of layers and\n"
    "                  put into working files (default: 7/8 of the machine or its cgroup)\n"
    "\n"
    "Exit status: 0 done, 1 the job failed, 2 the input is wrong, 130 interrupted (Ctrl-C).\n"
    "\n"
    "Example:\n"
    "  echo '{\"models\":{\"a\":\"bert-a\",\"b\":\"bert-b\"}, "
    "\"align\":{\"dataset\":\"align.txt\"},\n"
    "         \"evaluate\":{\"task\":\"mlm\",\"dataset\":\"eval.txt\"}}' > spec.json\n"
    "  rebasind run spec.json --output merged\n";

enum { EXIT_FAILED = 1, EXIT_INPUT = 2, REFERENCE_BYTES_MOST = 1 << 20 };

struct runner {
    uv_loop_t loop;
    struct rb_work work;
    struct rb_store *store;
    struct rb_settings settings;
    struct rb_run_spec spec;
    struct rb_listener listener;
    struct rb_submission *submission;
    uv_signal_t interrupt, terminate;
    struct import {
        struct runner *r;
        enum rb_status status;
        struct rb_error error;
    } imports[RB_RUN_INPUTS];  /* of spec.inputs; side by side */
    size_t importing;          /* that have not ended */
    uint64_t begun_ns;         /* the imports */
    double before_job_seconds; /* from there until the job was submitted: loading too */
    char data_dir[4096];
    int data_fd;
    FILE *out;
    const char *output;      /* a folder; NULL: nothing is kept */
    char id[RB_JOB_ID_SIZE]; /* "": not submitted */
    char *environment;       /* of the job */
    char *reference;         /* reference.json; NULL: there is none */
    char *build;             /* of merged folders */
    struct rb_words sets;    /* --set */
    int signal;              /* that asked it to end; 0: none */
    bool json, bar, ended;
    enum rb_status status; /* of what came before the job */
    struct rb_error error;
};

/* ---- to the end ---- */

static void on_drained(void *data)
{
    struct runner *r = data;
    rb_submission_free(r->submission);
    rb_work_deinit(&r->work);
    uv_close((uv_handle_t *)&r->interrupt, NULL);
    uv_close((uv_handle_t *)&r->terminate, NULL);
}

static void end(struct runner *r, enum rb_status status, const struct rb_error *err)
{
    if (r->ended)
        return;
    r->ended = true;
    r->status = status;
    if (err != NULL)
        r->error = *err;
    rb_hub_unlisten(&r->work.hub, &r->listener);
    rb_work_drain(&r->work, on_drained, r);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct runner *r = handle->data;
    enum rb_job_status status;
    struct rb_error err;
    r->signal = number;
    if (r->id[0] == '\0') {
        (void)rb_error_set(&err, RB_ECANCELED, "interrupted");
        end(r, RB_ECANCELED, &err);
    } else if (rb_work_cancel(&r->work, r->id, &status, &err) != RB_OK) {
        end(r, err.status, &err);
    }
}

/* ---- the job ---- */

static void on_event(struct rb_listener *l, const struct rb_event *event)
{
    struct runner *r = l->data;
    struct rb_job_row row;
    if (rb_job_get(r->store, event->job, &row, NULL) != RB_OK)
        return; /* the next event tells */
    rb_work_overlay(&r->work, &row.job);
    if (rb_job_status_terminal(row.job.status))
        end(r, RB_OK, NULL);
    else if (r->bar)
        rb_report_progress(stderr, row.job.phase, &row.job.progress);
    rb_job_row_deinit(&row);
}

static enum rb_status submit(struct runner *r, struct rb_error *err)
{
    enum rb_status status = rb_store_begin(r->store, err);
    if (status != RB_OK)
        return status;
    status = rb_submission_add(r->submission, rb_clock_realtime_ms(), err);
    return rb_store_end(r->store, status, err);
}

static void checked(void *data, struct rb_submission *s, enum rb_status status,
                    const struct rb_error *err)
{
    struct runner *r = data;
    struct rb_error error;
    if (r->ended)
        return;
    if (err != NULL)
        error = *err;
    if (status == RB_OK)
        status = submit(r, &error);
    if (status != RB_OK) {
        end(r, status, &error);
        return;
    }
    memcpy(r->id, rb_submission_item(s, 0)->id, sizeof r->id);
    rb_hub_listen(&r->work.hub, &r->listener);
    r->before_job_seconds = (double)(rb_clock_monotonic_ns() - r->begun_ns) * 1e-9;
    rb_submission_committed(s);
}

static enum rb_status check(struct runner *r, struct rb_error *err)
{
    struct rb_job_spec *spec = malloc(sizeof *spec);
    if (spec == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to submit the job");
    *spec = r->spec.job;
    r->spec.job = (struct rb_job_spec){0};
    return rb_submit_check(&r->work, spec, 1, false, checked, r, &r->submission, err);
}

/* ---- its inputs ---- */

/* All have ended: the first that failed is told. */
static void all_imported(struct runner *r)
{
    struct rb_error err;
    enum rb_status status = RB_OK;
    size_t i = 0;
    while (i < r->spec.input_count && r->imports[i].status == RB_OK)
        i++;
    if (i == r->spec.input_count) {
        status = check(r, &err);
    } else {
        status = r->imports[i].status;
        err = r->imports[i].error;
        (void)snprintf(err.pointer, sizeof err.pointer, "%s", r->spec.inputs[i].pointer);
    }
    if (status != RB_OK)
        end(r, status, &err);
}

static void imported(void *data, enum rb_status status, const struct rb_error *err)
{
    struct import *import = data;
    struct runner *r = import->r;
    import->status = status;
    if (status != RB_OK)
        import->error = *err;
    if (--r->importing == 0 && !r->ended)
        all_imported(r);
}

static void import_all(struct runner *r)
{
    struct rb_error err;
    r->begun_ns = rb_clock_monotonic_ns();
    r->importing = r->spec.input_count;
    for (size_t k = 0; k < r->spec.input_count; k++) {
        const struct rb_run_input *in = &r->spec.inputs[k];
        const struct rb_fields fields = {in->dataset.text, in->dataset.text_pair,
                                         in->dataset.label};
        r->imports[k].r = r;
        const struct rb_inspection *i =
            in->is_model
                ? rb_model_import(&r->work, in->name, in->path, NULL, imported, &r->imports[k])
                : rb_dataset_import(&r->work, in->name, in->path, in->dataset.format, true, &fields,
                                    imported, &r->imports[k]);
        if (i == NULL) {
            (void)rb_error_set(&err, RB_ENOMEM, "no memory to read %s", in->path);
            end(r, RB_ENOMEM, &err);
            return;
        }
    }
}

/* ---- what it shows ---- */

static void show(const struct runner *r, const struct rb_job *job, const struct rb_barrier_view *v)
{
    if (r->spec.as_given.has_evaluate)
        rb_report_barrier(r->out, v);
    if (r->reference != NULL)
        rb_report_cycles(r->out, r->reference);
    rb_report_certificate(r->out, &job->summary);
    rb_report_verdict(r->out, &job->summary.verdict,
                      r->spec.as_given.has_evaluate ? v->spec : NULL);
    if (r->output != NULL)
        fprintf(r->out, "artifacts are in %s\n", r->output);
}

/* The spec with its paths again, and the lengths that the job had: those not given were fitted to
 * the models when it was submitted. */
static void restore_paths(struct runner *r, struct rb_job *job)
{
    struct rb_job_spec had, *given = &r->spec.as_given;
    struct rb_json w;
    char *text = NULL;
    if (rb_job_spec_restore(job->spec_json, &had, NULL) != RB_OK)
        return;
    given->align.max_length = had.align.max_length;
    given->evaluate.options.block_size = had.evaluate.options.block_size;
    given->evaluate.options.max_length = had.evaluate.options.max_length;
    rb_job_spec_deinit(&had);
    rb_json_init(&w);
    rb_job_spec_encode(&w, NULL, given);
    if (rb_json_finish(&w, &text, NULL, NULL) == RB_OK) {
        free(job->spec_json);
        job->spec_json = text;
    }
    rb_json_deinit(&w);
}

static enum rb_status print_json(const struct runner *r, const struct rb_job *job,
                                 const struct rb_barrier_view *v, struct rb_error *err)
{
    struct rb_json w;
    char *text = NULL;
    rb_json_init(&w);
    rb_job_encode_open(&w, NULL, job);
    if (r->spec.as_given.has_evaluate)
        rb_barrier_encode(&w, "barrier", v);
    else
        rb_json_null(&w, "barrier");
    if (rb_job_spec_several(&r->spec.as_given))
        rb_json_raw(&w, "reference", r->reference);
    rb_json_end(&w);
    enum rb_status status = rb_json_finish(&w, &text, NULL, err);
    if (status == RB_OK)
        fprintf(r->out, "%s\n", text);
    free(text);
    return status;
}

/* What a preset became is known only once the models are: from the spec that the job has. */
static void take_recipe(struct runner *r, const struct rb_job *job)
{
    struct rb_job_spec done;
    struct rb_align_spec *a = &r->spec.as_given.align;
    if (a->preset == RB_PRESET_PAPER || rb_job_spec_restore(job->spec_json, &done, NULL) != RB_OK)
        return;
    a->options = done.align.options;
    a->preset = RB_PRESET_PAPER;
    rb_job_spec_deinit(&done);
}

static enum rb_status report(struct runner *r, struct rb_job *job, int64_t seq,
                             struct rb_error *err)
{
    struct rb_curves c;
    enum rb_status status = rb_curves_read(r->store, seq, &c, err);
    if (status != RB_OK)
        return status;
    take_recipe(r, job);
    bool near = rb_align_is_near(&r->spec.as_given.align.options);
    struct rb_barrier_view v =
        rb_barrier_view_make(job->id, &r->spec.as_given, near, c.points, c.counts);
    struct rb_barrier_errors errors;
    status = rb_barrier_errors_read(r->store, seq, &v, &errors, err);
    v.errors = &errors;
    v.verdict = &job->summary.verdict;
    if (status != RB_OK) {
        /* told by whoever called */
    } else if (r->json) {
        restore_paths(r, job);
        status = print_json(r, job, &v, err);
    } else if (job->status == RB_JOB_SUCCEEDED) {
        show(r, job, &v);
    }
    free(c.points);
    return status;
}

static void complain(const struct rb_error *err)
{
    const char *at = err->pointer;
    fprintf(stderr, "rebasind: %s%s%s\n", at, at[0] != '\0' ? ": " : "", rb_problem_words(err));
}

/* Whoever reads standard output finds an object there whatever happened: RFC 9457, as from a
 * daemon.
 */
static void print_problem(const struct runner *r, const struct rb_error *err)
{
    struct rb_json w;
    struct rb_error ignored;
    char *text = NULL;
    rb_json_init(&w);
    rb_problem_encode(&w, err, NULL, NULL);
    if (rb_json_finish(&w, &text, NULL, &ignored) == RB_OK)
        fprintf(r->out, "%s\n", text);
    free(text);
}

/* ---- artifacts ---- */

static enum rb_status keep_artifacts(const struct runner *r, const struct rb_job *job,
                                     struct rb_error *err)
{
    int to_fd = -1;
    enum rb_status status = rb_root_open(r->output, true, &to_fd, err);
    if (status != RB_OK)
        return status;
    for (size_t i = 0; i < job->artifact_count && status == RB_OK; i++) {
        const char *name = job->artifacts[i].name;
        char below[RB_PATH_SIZE];
        const char *slash = strrchr(name, '/');
        if (slash != NULL) {
            (void)snprintf(below, sizeof below, "%.*s", (int)(slash - name), name);
            status = rb_mkdirs_beneath(to_fd, below, err);
        }
        if (status == RB_OK &&
            renameat(r->data_fd, rb_layout_job(job->id, name, below), to_fd, name) != 0)
            status = rb_error_errno(err, errno, name);
    }
    (void)close(to_fd);
    return status;
}

/* ---- from the command line ---- */

/* Beside the artifacts, so that they need only be renamed; else wherever there is room. */
static enum rb_status make_data_dir(struct runner *r, struct rb_error *err)
{
    const char *base = getenv("TMPDIR");
    if (r->settings.origin[RB_OPTION_data_dir] == RB_ORIGIN_FLAG)
        base = r->settings.data_dir;
    if (r->output != NULL)
        base = r->output;
    if (base == NULL || base[0] == '\0')
        base = "/tmp";
    int fd = -1;
    enum rb_status status = rb_root_open(base, true, &fd, err);
    if (status != RB_OK)
        return status;
    (void)close(fd);
    char *real = realpath(base, NULL);
    if (real == NULL ||
        snprintf(r->data_dir, sizeof r->data_dir, "%s/.rebasind-XXXXXX", real) >=
            (int)sizeof r->data_dir ||
        mkdtemp(r->data_dir) == NULL) {
        status = rb_error_errno(err, errno, base);
        r->data_dir[0] = '\0';
    }
    free(real);
    return status == RB_OK ? rb_root_open(r->data_dir, false, &r->data_fd, err) : status;
}

static void remove_data_dir(struct runner *r)
{
    for (size_t i = 0; r->data_fd >= 0 && rb_layout_all[i] != NULL; i++)
        rb_data_remove(r->data_fd, rb_layout_all[i]);
    if (r->data_fd >= 0)
        (void)close(r->data_fd);
    if (r->data_dir[0] != '\0')
        (void)rmdir(r->data_dir);
}

static enum rb_status open_engine(struct runner *r, struct rb_error *err)
{
    char path[RB_DATABASE_PATH_SIZE];
    enum rb_status status =
        rb_store_open(rb_layout_database(r->data_dir, path), NULL, NULL, &r->store, err);
    if (status != RB_OK)
        return status;
    const struct rb_work_options options = {
        .data_dir = r->data_dir,
        .data_fd = r->data_fd,
        .workers = (unsigned)r->settings.workers,
        .memory_limit = r->settings.memory_limit,
        .parallel_jobs = 1,
        .queue_limit = 1,
        .environment = r->environment,
        .build = r->build,
        .one_shot = true,
    };
    return rb_work_init(&r->work, &r->loop, r->store, NULL, &options, err);
}

static void start_signals(struct runner *r)
{
    (void)uv_signal_init(&r->loop, &r->interrupt);
    (void)uv_signal_init(&r->loop, &r->terminate);
    r->interrupt.data = r->terminate.data = r;
    (void)uv_signal_start(&r->interrupt, on_signal, SIGINT);
    (void)uv_signal_start(&r->terminate, on_signal, SIGTERM);
}

static enum rb_status run(struct runner *r, struct rb_error *err)
{
    enum rb_status status = open_engine(r, err);
    if (status != RB_OK)
        return status;
    start_signals(r);
    r->listener = (struct rb_listener){.heard = on_event, .data = r};
    status = rb_work_start(&r->work, err);
    if (status != RB_OK)
        end(r, status, err);
    else
        import_all(r);
    (void)uv_run(&r->loop, UV_RUN_DEFAULT);
    if (r->bar)
        rb_report_progress_end(stderr);
    if (r->status != RB_OK)
        *err = r->error;
    return r->status;
}

/* Before the artifacts are moved; a job that aligns nothing, or has failed, has none. */
static void read_reference(struct runner *r, const struct rb_job *job)
{
    char below[RB_PATH_SIZE];
    size_t bytes;
    struct rb_error ignored;
    if (rb_job_spec_several(&r->spec.as_given) &&
        rb_file_get(r->data_fd, rb_layout_job(job->id, RB_FILE_REFERENCE, below),
                    REFERENCE_BYTES_MOST, &r->reference, &bytes, &ignored) != RB_OK)
        r->reference = NULL;
}

/* The exit status of a job that has ended. What the loading phase refuses is the input's fault. */
static int conclude(struct runner *r, struct rb_error *err)
{
    struct rb_job_row row;
    if (rb_job_get(r->store, r->id, &row, err) != RB_OK) {
        complain(err);
        return EXIT_FAILED;
    }
    enum rb_status status = RB_OK;
    row.job.timings[RB_PHASE_LOADING] += r->before_job_seconds;
    read_reference(r, &row.job);
    if (r->output != NULL)
        status = keep_artifacts(r, &row.job, err);
    if (status == RB_OK)
        status = report(r, &row.job, row.seq, err);
    int exit_status = status != RB_OK || row.job.status != RB_JOB_SUCCEEDED ? EXIT_FAILED : 0;
    if (status != RB_OK)
        complain(err);
    else if (row.job.status == RB_JOB_FAILED)
        fprintf(stderr, "rebasind: %s\n", row.job.error.detail);
    else if (row.job.status != RB_JOB_SUCCEEDED)
        fprintf(stderr, "rebasind: the job was canceled\n");
    if (row.job.status == RB_JOB_FAILED && rb_problem_http(row.job.error.status) < 500 &&
        row.job.error.status != RB_ENUMERIC)
        exit_status = EXIT_INPUT;
    rb_job_row_deinit(&row);
    return exit_status;
}

static enum rb_status load(struct runner *r, int argc, char *const argv[], struct rb_error *err)
{
    const char *word = NULL;
    const struct rb_extra_flag flags[] = {
        {.flag = "json", .ret_given = &r->json},
        {.flag = "output", .ret_text = &r->output},
        {.flag = "set", .ret_words = &r->sets},
        {.flag = NULL},
    };
    struct rb_arguments arguments = {.flags = flags, .words = &word, .words_max = 1};
    enum rb_status status = rb_settings_load(argc, argv, NULL, &arguments, &r->settings, err);
    if (status != RB_OK)
        return status;
    if (word == NULL)
        return rb_error_set(err, RB_EUSAGE, "run needs a SPEC.json; see `rebasind run --help`");
    status = rb_run_spec_read(word, &r->sets, &r->settings.import_root, &r->spec, err);
    if (status == RB_OK && r->spec.as_given.merged.count > 0 && r->output == NULL)
        status = rb_error_at(err, RB_EINPUT, "/outputs/merged",
                             "merged checkpoints need a place: --output DIR");
    return status;
}

int rb_cmd_run(int argc, char *const argv[], FILE *out)
{
    static struct runner r; /* the loop's handles live in it */
    struct rb_error err = {.status = RB_OK};
    int exit_status;
    r.data_fd = -1;
    r.out = out;
    rb_json_prepare();
    rb_log_init(RB_LOG_TEXT, RB_LOG_ERROR, STDERR_FILENO);
    rb_signals_set();
    (void)uv_loop_init(&r.loop);
    enum rb_status status = rb_ids_init(&err);
    if (status == RB_OK)
        status = load(&r, argc, argv, &err);
    r.bar = !r.json && isatty(STDERR_FILENO);
    if (status == RB_OK)
        status = rb_kernel_settle_cached(&err);
    if (status == RB_OK)
        rb_kernel_log(rb_kernel_info());
    if (status == RB_OK)
        status = rb_environment_here((unsigned)r.settings.workers, &r.environment, &err);
    if (status == RB_OK)
        status = rb_build_here(&r.build, &err);
    if (status == RB_OK)
        status = make_data_dir(&r, &err);
    if (status == RB_OK)
        status = run(&r, &err);
    if (status == RB_OK) {
        exit_status = conclude(&r, &err);
    } else {
        complain(&err);
        if (r.json)
            print_problem(&r, &err);
        exit_status =
            rb_problem_http(status) < 500 && status != RB_ECANCELED ? EXIT_INPUT : EXIT_FAILED;
    }
    if (r.signal != 0 && exit_status != 0)
        exit_status = 128 + r.signal; /* as a shell says it */
    rb_store_close(r.store);
    remove_data_dir(&r);
    rb_run_spec_deinit(&r.spec);
    free(r.environment);
    free(r.reference);
    free(r.build);
    rb_settings_deinit(&r.settings);
    (void)uv_loop_close(&r.loop);
    return exit_status;
}
