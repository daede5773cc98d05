#include "server/work/rates_kept.h"
#include "server/base/blas_kernel.h"
#include "server/base/log.h"
#include "server/store/caches.h"

#include <math.h>

/* The machine's own rate stands beside those of the phases. */
static const char MACHINE[] = "machine";

static struct rb_rate_key key_of(const char *what)
{
    const struct rb_kernel_info *k = rb_kernel_info();
    return (struct rb_rate_key){k->cpu, k->kernel, what};
}

static enum rb_status recall(struct rb_store *store, const char *what, double *ret_rate,
                             double *ret_seconds, struct rb_error *err)
{
    const struct rb_rate_key key = key_of(what);
    struct rb_rate rate = {0};
    bool found;
    enum rb_status status = rb_rate_get(store, &key, &found, &rate, err);
    if (status != RB_OK || !found || !(rate.rate > 0) || !(rate.seconds >= 0) ||
        !isfinite(rate.rate) || !isfinite(rate.seconds))
        return status;
    *ret_rate = rate.rate;
    *ret_seconds = rate.seconds;
    return RB_OK;
}

void rb_rates_recall(struct rb_store *store, struct rb_rates *ret)
{
    struct rb_error err;
    struct rb_rates r = {0};
    double ignored;
    enum rb_status status = recall(store, MACHINE, &r.machine, &ignored, &err);
    for (enum rb_phase p = RB_PHASE_LOADING; p < RB_PHASE_COUNT && status == RB_OK && r.machine > 0;
         p++)
        status = recall(store, rb_phase_names[p], &r.factor[p], &r.seconds[p], &err);
    if (status != RB_OK) {
        rb_log_warn("what was learnt of this machine's speed cannot be read",
                    RB_ERROR_FIELDS(&err));
        r = (struct rb_rates){0};
    }
    if (r.machine <= 0) /* until it is timed: what its kernel's proof measured, now or once */
        r.machine = rb_kernel_info()->rate;
    *ret = r;
}

static enum rb_status keep(struct rb_store *store, const char *what, double rate, double seconds,
                           struct rb_error *err)
{
    const struct rb_rate_key key = key_of(what);
    const struct rb_rate row = {rate, seconds};
    return rate > 0 ? rb_rate_put(store, &key, &row, err) : RB_OK;
}

void rb_rates_keep(struct rb_store *store, const struct rb_rates *r)
{
    struct rb_error err;
    enum rb_status status = rb_store_begin(store, &err);
    if (status == RB_OK) {
        status = keep(store, MACHINE, r->machine, 0, &err);
        for (enum rb_phase p = RB_PHASE_LOADING; p < RB_PHASE_COUNT && status == RB_OK; p++)
            status = keep(store, rb_phase_names[p], r->factor[p], r->seconds[p], &err);
        status = rb_store_end(store, status, &err);
    }
    if (status != RB_OK)
        rb_log_warn("what was learnt of this machine's speed is not kept", RB_ERROR_FIELDS(&err));
}
