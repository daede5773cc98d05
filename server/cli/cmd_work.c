/* rebasind work: one unit of a job, on a machine that a queue gave for it.
 *
 * The daemon's own engine computes it, walking a part of its stages (server/work/executor.h). The
 * record that it keeps of the job is in memory: no database, no socket. Inputs are imported as they
 * are named, the job is put in with what earlier units found out, and whatever comes of it is
 * written into the bundle's folder as it comes. */
#include "server/cli/commands.h"
#include "server/cli/environment.h"
#include "server/cli/node_products.h"
#include "server/cli/signals.h"

#include "core/json.h"
#include "server/base/blas_kernel.h"
#include "server/base/clock.h"
#include "server/base/config.h"
#include "server/base/fsutil.h"
#include "server/base/ids.h"
#include "server/base/log.h"
#include "server/base/options.h"
#include "server/store/jobs.h"
#include "server/store/jobs_read.h"
#include "server/store/results.h"
#include "server/work/inspect.h"
#include "server/work/queue.h"
#include "server/work/work.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char rb_cmd_work_help[] =
    "Usage: rebasind work BUNDLE --unit align|learn|points|write [--task K] [--workers N]\n"
    "\n"
    "Computes one unit of a job: what a node of a cluster runs. BUNDLE is a folder that the "
    "daemon\n"
    "has written; the results go there, too. --task says which task of an array (default:\n"
    "$SLURM_ARRAY_TASK_ID, or 0); --workers how many items run at once (default: the CPUs that "
    "the\n"
    "queue gave). Opens no socket and no database.\n"
    "\n"
    "Exit status: 0 done, 1 the job failed (recorded in the bundle; trying again gives the same),\n"
    "2 wrong command line, 75 the machine failed or a signal came: try again.\n"
    "\n"
    "Example:\n"
    "  rebasind work /shared/rebasind/units/job_…/points.2 --unit points --task 3\n";

enum { EXIT_JOB = 1, EXIT_USAGE_WRONG = 2, EXIT_MACHINE = 75, HEARTBEAT_MS = 2000 };

struct node {
    uv_loop_t loop;
    struct rb_work work;
    struct rb_store *store;
    struct rb_settings settings;
    struct rb_bundle bundle;
    struct rb_node_products products;
    struct rb_listener listener;
    uv_signal_t interrupt, terminate;
    uv_timer_t heartbeat;
    const char *path; /* of the bundle */
    char data_dir[4096], scratch[64];
    int bundle_fd, data_fd;
    enum rb_unit unit;
    uint32_t task;
    size_t importing;
    char *environment;
    char warning[RB_JOB_WARNING_SIZE]; /* of the job's results */
    bool started, ended, stopped;
    enum rb_status status; /* of the machine's part */
    struct rb_error error;
};

/* ---- to the end ---- */

static void on_drained(void *data)
{
    struct node *n = data;
    rb_work_deinit(&n->work);
    uv_close((uv_handle_t *)&n->interrupt, NULL);
    uv_close((uv_handle_t *)&n->terminate, NULL);
    uv_close((uv_handle_t *)&n->heartbeat, NULL);
}

static void end(struct node *n, enum rb_status status, const struct rb_error *err)
{
    if (n->ended)
        return;
    n->ended = true;
    n->status = status;
    if (err != NULL)
        n->error = *err;
    rb_hub_unlisten(&n->work.hub, &n->listener);
    rb_work_drain(&n->work, on_drained, n);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct node *n = handle->data;
    struct rb_error err;
    (void)number;
    n->stopped = true;
    (void)rb_error_set(&err, RB_ECANCELED,
                       "a signal came before the end: time limit, or preempted");
    end(n, RB_ECANCELED, &err);
}

/* ---- while it runs ---- */

static void give_points(struct node *n)
{
    struct rb_error err;
    if (rb_node_products_points(&n->products, &err) != RB_OK) /* the next one tries again */
        rb_log_warn("points are not written yet", RB_ERROR_FIELDS(&err));
}

static void on_event(struct rb_listener *l, const struct rb_event *event)
{
    struct node *n = l->data;
    struct rb_job_row row;
    if (event->type == RB_EVENT_POINT)
        give_points(n);
    if (event->type != RB_EVENT_STATUS || rb_job_get(n->store, event->job, &row, NULL) != RB_OK)
        return;
    if (rb_job_status_terminal(row.job.status))
        end(n, RB_OK, NULL);
    rb_job_row_deinit(&row);
}

static void beat(uv_timer_t *timer)
{
    struct node *n = timer->data;
    struct rb_job_row row;
    struct rb_error err;
    if (rb_job_get(n->store, n->bundle.job, &row, NULL) != RB_OK)
        return;
    rb_work_overlay(&n->work, &row.job);
    const struct rb_progress *p = &row.job.progress;
    const struct rb_node_products *out = &n->products;
    struct rb_unit_progress progress = {
        .phase = row.job.phase,
        .at_ms = rb_clock_realtime_ms(),
        .fraction = p->total > 0 ? p->done / p->total : 0,
    };
    if (out->points_asked > 0)
        progress.fraction = (double)out->points_given / (double)out->points_asked;
    rb_job_row_deinit(&row);
    if (rb_node_products_progress(&n->products, &progress, &err) != RB_OK)
        rb_log_warn("no heartbeat", RB_ERROR_FIELDS(&err));
}

/* ---- the job, as far as it is done ---- */

static enum rb_status add_stages(struct node *n, struct rb_error *err)
{
    const struct {
        bool over;
        enum rb_phase phase;
    } stages[] = {{n->bundle.solved, RB_PHASE_SOLVING},
                  {n->bundle.learned, RB_PHASE_LEARNING},
                  {n->bundle.certified, RB_PHASE_CERTIFYING}};
    enum rb_status status = RB_OK;
    for (size_t i = 0; i < sizeof stages / sizeof stages[0] && status == RB_OK; i++) {
        char name[32], product[] = "{}";
        (void)snprintf(name, sizeof name, "%s", rb_phase_names[stages[i].phase]);
        const struct rb_stage_row row = {.stage = name, .product = product};
        if (stages[i].over)
            status = rb_stage_add(n->store, n->products.seq, &row, err);
    }
    if (status != RB_OK || !n->bundle.certified)
        return status;
    struct rb_artifact permutations = {.bytes = 0};
    (void)snprintf(permutations.name, sizeof permutations.name, "%s", RB_FILE_PERMUTATIONS);
    memset(permutations.sha256, '0', sizeof permutations.sha256 - 1);
    return rb_artifact_put(n->store, n->products.seq, &permutations, err);
}

static enum rb_status copy_given(struct node *n, const char *file, bool needed,
                                 struct rb_error *err)
{
    char below[RB_PATH_SIZE], *bytes = NULL;
    size_t count;
    enum rb_status status =
        rb_bundle_get(n->bundle_fd, file, SIZE_MAX / 2, &bytes, &count, NULL, err);
    if (status == RB_ENOTFOUND && !needed)
        return RB_OK;
    if (status == RB_OK)
        status =
            rb_file_put(n->data_fd, rb_layout_job(n->bundle.job, file, below), bytes, count, err);
    free(bytes);
    return status;
}

static enum rb_status put_files(struct node *n, struct rb_error *err)
{
    char below[RB_PATH_SIZE];
    enum rb_status status =
        rb_mkdirs_beneath(n->data_fd, rb_layout_job(n->bundle.job, NULL, below), err);
    if (status == RB_OK)
        status = copy_given(n, RB_FILE_ALIGNMENT, n->bundle.solved, err);
    return status == RB_OK ? copy_given(n, RB_FILE_LEARNING_STATE, false, err) : status;
}

static enum rb_status add_job(struct node *n, struct rb_error *err)
{
    struct rb_job job;
    rb_job_init(&job);
    memcpy(job.id, n->bundle.job, sizeof job.id);
    job.spec_json = n->bundle.spec_json;
    job.created_ms = rb_clock_realtime_ms();
    job.input_count = n->bundle.input_count;
    for (size_t i = 0; i < job.input_count; i++) {
        const struct rb_bundle_input *in = &n->bundle.inputs[i];
        (void)snprintf(job.inputs[i].role, sizeof job.inputs[i].role, "%s", in->role);
        (void)snprintf(job.inputs[i].name, sizeof job.inputs[i].name, "%s", in->name);
        (void)snprintf(job.inputs[i].sha256, sizeof job.inputs[i].sha256, "%s", in->sha256);
    }
    enum rb_status status = rb_store_begin(n->store, err);
    if (status != RB_OK)
        return status;
    status = rb_job_add(n->store, &job, &n->products.seq, NULL, err);
    if (status == RB_OK)
        status = add_stages(n, err);
    return rb_store_end(n->store, status, err);
}

static void start_job(struct node *n)
{
    struct rb_error err;
    enum rb_status status = put_files(n, &err);
    if (status == RB_OK)
        status = add_job(n, &err);
    if (status != RB_OK) {
        end(n, status, &err);
        return;
    }
    n->started = true;
    rb_hub_listen(&n->work.hub, &n->listener);
    (void)uv_timer_start(&n->heartbeat, beat, HEARTBEAT_MS, HEARTBEAT_MS);
    rb_queue_wake(&n->work);
}

/* ---- its inputs ---- */

static void imported(void *data, enum rb_status status, const struct rb_error *err)
{
    struct node *n = data;
    struct rb_error here;
    n->importing--;
    if (status != RB_OK) { /* whoever submitted could read it: it lies with this machine */
        (void)rb_error_set(&here, RB_EIO, "on this node: %.400s", err->detail);
        end(n, RB_EIO, &here);
    } else if (n->importing == 0 && !n->ended)
        start_job(n);
}

/* The same text may serve twice. */
static bool seen(const struct node *n, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (n->bundle.inputs[k].path != NULL &&
            n->bundle.inputs[k].is_model == n->bundle.inputs[i].is_model &&
            strcmp(n->bundle.inputs[k].name, n->bundle.inputs[i].name) == 0)
            return true;
    return false;
}

static void import_all(struct node *n)
{
    struct rb_error err;
    for (size_t i = 0; i < n->bundle.input_count; i++) {
        const struct rb_bundle_input *in = &n->bundle.inputs[i];
        const struct rb_fields fields = {in->text, in->text_pair, in->label};
        if (in->path == NULL || seen(n, i))
            continue;
        n->importing++;
        const struct rb_inspection *inspection =
            in->is_model ? rb_model_import(&n->work, in->name, in->path, NULL, imported, n)
                         : rb_dataset_import(&n->work, in->name, in->path, in->format, true,
                                             &fields, imported, n);
        if (inspection == NULL) {
            (void)rb_error_set(&err, RB_ENOMEM, "no memory to read %s", in->path);
            end(n, RB_ENOMEM, &err);
            return;
        }
    }
}

/* ---- the engine ---- */

static enum rb_status open_engine(struct node *n, struct rb_error *err)
{
    enum rb_status status = rb_store_open(":memory:", NULL, NULL, &n->store, err);
    if (status != RB_OK)
        return status;
    n->products.store = n->store;
    const struct rb_work_options options = {
        .data_dir = n->data_dir,
        .data_fd = n->data_fd,
        .workers = (unsigned)n->settings.workers,
        .memory_limit = n->settings.memory_limit,
        .parallel_jobs = 1,
        .queue_limit = 1,
        .environment = n->environment,
        .one_shot = true,
        .bundle = &n->bundle,
        .task = n->task,
    };
    return rb_work_init(&n->work, &n->loop, n->store, NULL, &options, err);
}

static enum rb_status run(struct node *n, struct rb_error *err)
{
    enum rb_status status = open_engine(n, err);
    if (status != RB_OK)
        return status;
    (void)uv_signal_init(&n->loop, &n->interrupt);
    (void)uv_signal_init(&n->loop, &n->terminate);
    (void)uv_timer_init(&n->loop, &n->heartbeat);
    n->interrupt.data = n->terminate.data = n->heartbeat.data = n;
    (void)uv_signal_start(&n->interrupt, on_signal, SIGINT);
    (void)uv_signal_start(&n->terminate, on_signal, SIGTERM);
    n->listener = (struct rb_listener){.heard = on_event, .data = n};
    status = rb_work_start(&n->work, err);
    if (status != RB_OK)
        end(n, status, err);
    else
        import_all(n);
    (void)uv_run(&n->loop, UV_RUN_DEFAULT);
    if (n->status != RB_OK)
        *err = n->error;
    return n->status;
}

/* ---- the bundle ---- */

static enum rb_status read_bundle(struct node *n, struct rb_error *err)
{
    char *text;
    size_t bytes;
    enum rb_status status =
        rb_bundle_get(n->bundle_fd, RB_BUNDLE_FILE, RB_BUNDLE_BYTES_MAX, &text, &bytes, NULL, err);
    if (status == RB_ENOTFOUND)
        return rb_error_set(err, RB_EDIGEST, "%s holds no whole bundle: %s is not there", n->path,
                            RB_BUNDLE_FILE);
    if (status != RB_OK)
        return status;
    status = rb_bundle_decode(text, bytes, &n->bundle, err);
    free(text);
    if (status != RB_OK)
        return status;
    if (strcmp(n->bundle.version, RB_VERSION) != 0)
        return rb_error_set(err, RB_EDIGEST,
                            "the bundle is of rebasind %s, this is %s: install the same on every "
                            "node",
                            n->bundle.version, RB_VERSION);
    if (n->bundle.unit != n->unit || n->task >= n->bundle.tasks)
        return rb_error_set(
            err, RB_EDIGEST, "the bundle is of unit %s with %u tasks, asked for was task %u of %s",
            rb_unit_names[n->bundle.unit], n->bundle.tasks, n->task, rb_unit_names[n->unit]);
    return RB_OK;
}

/* The engine's own folder: on the same disk, so that results need only be renamed. */
static enum rb_status make_scratch(struct node *n, struct rb_error *err)
{
    char *real = realpath(n->path, NULL);
    if (real == NULL)
        return rb_error_errno(err, errno, n->path);
    (void)snprintf(n->scratch, sizeof n->scratch, "scratch-%u-XXXXXX", n->task);
    int length = snprintf(n->data_dir, sizeof n->data_dir, "%s/%s", real, n->scratch);
    free(real);
    if (length >= (int)sizeof n->data_dir)
        return rb_error_set(err, RB_EINPUT, "%s: the path is too long", n->path);
    if (mkdtemp(n->data_dir) == NULL) {
        n->scratch[0] = '\0';
        return rb_error_errno(err, errno, n->path);
    }
    (void)snprintf(n->scratch, sizeof n->scratch, "%s", strrchr(n->data_dir, '/') + 1);
    return rb_root_open(n->data_dir, false, &n->data_fd, err);
}

/* ---- the end ---- */

/* What passes by itself or lies with this machine; all else is the job's. */
static bool is_machines(enum rb_status status)
{
    static const enum rb_status table[] = {RB_EDISKFULL, RB_ESTORE,  RB_EFILES,    RB_ENOMEM,
                                           RB_EIO,       RB_EDIGEST, RB_ECANCELED, RB_ENOTFOUND};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (status == table[i])
            return true;
    return false;
}

/* The engine has ended: everything to its place. */
static enum rb_status give_all(struct node *n, struct rb_error *err)
{
    struct rb_job_row row;
    enum rb_status status = rb_node_products_points(&n->products, err);
    if (status == RB_OK)
        status = rb_job_get(n->store, n->bundle.job, &row, err);
    if (status != RB_OK)
        return status;
    enum rb_job_status is = row.job.status;
    memcpy(n->warning, row.job.kept_warning, sizeof n->warning);
    if (is == RB_JOB_FAILED)
        status = rb_error_set(err, row.job.error.status, "%s", row.job.error.detail);
    rb_job_row_deinit(&row);
    if (status == RB_OK && is == RB_JOB_SUCCEEDED)
        return rb_node_products_files(&n->products, err);
    if (status == RB_OK) { /* a signal came in the middle */
        status = rb_node_products_partial(&n->products, err);
        if (status == RB_OK)
            status = rb_error_set(err, RB_ECANCELED,
                                  "a signal came before the end (time limit, or preempted); %zu "
                                  "points were done",
                                  n->products.points_given);
    }
    return status;
}

/* On a full disk what it was computed with takes the room that the words need. */
static enum rb_status give_outcome(struct node *n, const struct rb_outcome *outcome,
                                   struct rb_error *err)
{
    struct rb_error ignored;
    enum rb_status status = rb_node_products_outcome(&n->products, outcome, err);
    if (status != RB_EDISKFULL || n->scratch[0] == '\0')
        return status;
    (void)!rb_remove_beneath(n->bundle_fd, n->scratch, &ignored);
    n->scratch[0] = '\0';
    return rb_node_products_outcome(&n->products, outcome, err);
}

static int conclude(struct node *n, enum rb_status status, const struct rb_error *err)
{
    struct rb_outcome outcome = {.job_failed = status != RB_OK && !is_machines(status),
                                 .status = status};
    struct rb_error ignored; /* whoever waits sees the exit status */
    if (status != RB_OK) {
        fprintf(stderr, "rebasind: %s\n", err->detail);
        (void)snprintf(outcome.detail, sizeof outcome.detail, "%.500s", err->detail);
    }
    memcpy(outcome.warning, n->warning, sizeof outcome.warning);
    if (n->bundle_fd >= 0 && give_outcome(n, &outcome, &ignored) != RB_OK) {
        fprintf(stderr, "rebasind: the outcome cannot be written: %s\n", ignored.detail);
        return EXIT_MACHINE;
    }
    if (status == RB_OK)
        return 0;
    return outcome.job_failed ? EXIT_JOB : EXIT_MACHINE;
}

static enum rb_status compute(struct node *n, struct rb_error *err)
{
    enum rb_status status = rb_root_open(n->path, false, &n->bundle_fd, err);
    if (status != RB_OK)
        return status;
    n->products =
        (struct rb_node_products){.bundle_fd = n->bundle_fd, .bundle = &n->bundle, .task = n->task};
    status = read_bundle(n, err);
    if (status == RB_OK)
        status = rb_kernel_settle_cached(err);
    if (status == RB_OK)
        status = rb_environment_here((unsigned)n->settings.workers, &n->environment, err);
    if (status == RB_OK)
        status = make_scratch(n, err);
    if (status != RB_OK)
        return status;
    n->products.data_fd = n->data_fd;
    n->products.scratch = n->scratch;
    status = rb_node_products_init(&n->products, (unsigned)n->settings.workers, err);
    if (status == RB_OK)
        status = run(n, err);
    if (status == RB_OK || (n->started && n->stopped))
        status = give_all(n, err);
    return status;
}

static void tidy(struct node *n)
{
    struct rb_error ignored; /* whoever made the bundle removes it whole */
    rb_store_close(n->store);
    if (n->data_fd >= 0)
        (void)close(n->data_fd);
    if (n->scratch[0] != '\0')
        (void)!rb_remove_beneath(n->bundle_fd, n->scratch, &ignored);
    if (n->bundle_fd >= 0)
        (void)close(n->bundle_fd);
    rb_node_products_deinit(&n->products);
    rb_bundle_deinit(&n->bundle);
    free(n->environment);
    rb_settings_deinit(&n->settings);
    (void)uv_loop_close(&n->loop);
}

/* ---- the command line ---- */

static bool parse_count(const char *text, uint32_t most, uint32_t *ret)
{
    char *after;
    errno = 0;
    unsigned long value = strtoul(text, &after, 10);
    if (text[0] < '0' || text[0] > '9' || *after != '\0' || errno != 0 || value > most)
        return false;
    *ret = (uint32_t)value;
    return true;
}

/* The CPUs that the queue gave us, and that we may run on. */
static uint32_t cpus_here(void)
{
    cpu_set_t set;
    uint32_t bound = 1, given;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        bound = (uint32_t)CPU_COUNT(&set);
    const char *text = getenv("SLURM_CPUS_ON_NODE");
    if (text == NULL || !parse_count(text, 4096, &given) || given == 0)
        return bound;
    return given < bound ? given : bound;
}

static enum rb_status load(struct node *n, int argc, char *const argv[], struct rb_error *err)
{
    const char *word = NULL, *unit = NULL, *task = NULL;
    const struct rb_extra_flag flags[] = {
        {.flag = "unit", .ret_text = &unit},
        {.flag = "task", .ret_text = &task},
        {.flag = NULL},
    };
    struct rb_arguments arguments = {.flags = flags, .words = &word, .words_max = 1};
    enum rb_status status = rb_settings_load(argc, argv, NULL, &arguments, &n->settings, err);
    if (status != RB_OK)
        return status;
    int found = unit != NULL ? rb_enum_find(rb_unit_names, unit) : -1;
    if (word == NULL || found < 0)
        return rb_error_set(err, RB_EUSAGE,
                            "work needs a BUNDLE and --unit align, learn, points or write; see "
                            "`rebasind work --help`");
    if (task == NULL)
        task = getenv("SLURM_ARRAY_TASK_ID");
    if (task != NULL && !parse_count(task, RB_BUNDLE_POINTS_MAX, &n->task))
        return rb_error_set(err, RB_EUSAGE, "--task: expected a number, found \"%s\"", task);
    n->path = word;
    n->unit = (enum rb_unit)found;
    if (n->settings.origin[RB_OPTION_workers] == RB_ORIGIN_DEFAULT)
        n->settings.workers = cpus_here();
    return RB_OK;
}

int rb_cmd_work(int argc, char *const argv[], FILE *out)
{
    static struct node n; /* the loop's handles live in it */
    struct rb_error err = {.status = RB_OK};
    (void)out;
    n.bundle_fd = n.data_fd = -1;
    rb_json_prepare();
    rb_log_init(RB_LOG_TEXT, RB_LOG_WARN, STDERR_FILENO);
    (void)umask(077);
    rb_signals_set();
    (void)uv_loop_init(&n.loop);
    enum rb_status status = rb_ids_init(&err);
    if (status == RB_OK)
        status = load(&n, argc, argv, &err);
    int exit_status = EXIT_USAGE_WRONG;
    if (status == RB_EUSAGE)
        fprintf(stderr, "rebasind: %s\n", err.detail);
    else
        exit_status = conclude(&n, status == RB_OK ? compute(&n, &err) : status, &err);
    tidy(&n);
    return exit_status;
}
