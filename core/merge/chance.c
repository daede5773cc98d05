#include "core/merge/chance.h"

#include <math.h>
#include <stdlib.h>

struct rb_chance rb_chance_unknown(void)
{
    return (struct rb_chance){.loss = (double)NAN, .accuracy = (double)NAN};
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* log n - sum of c log c over n, c being how often each answer comes; sorts the answers. */
static void of_answers(int32_t *answers, size_t n, double *ret_entropy, double *ret_share)
{
    double sum = 0;
    size_t commonest = 0;
    qsort(answers, n, sizeof *answers, ascending);
    for (size_t i = 0, run; i < n; i += run) {
        for (run = 1; i + run < n && answers[i + run] == answers[i];)
            run++;
        sum += (double)run * log((double)run);
        commonest = run > commonest ? run : commonest;
    }
    *ret_entropy = log((double)n) - sum / (double)n;
    *ret_share = (double)commonest / (double)n;
}

static double variance(const double *x, size_t n)
{
    double mean = 0, sum = 0;
    for (size_t i = 0; i < n; i++)
        mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        sum += (x[i] - mean) * (x[i] - mean);
    return sum / (double)n;
}

enum rb_status rb_chance_compute(enum rb_task task, const struct rb_sequences *s,
                                 struct rb_chance *ret, struct rb_error *err)
{
    struct rb_chance chance = rb_chance_unknown();
    bool labels = rb_task_has_labels(task);
    size_t n = 0, most = labels ? s->count : s->target_count;
    if (task == RB_TASK_REGRESSION && s->count > 0)
        chance.loss = variance(s->labels, s->count);
    if (task == RB_TASK_REGRESSION || most == 0) {
        *ret = chance;
        return RB_OK;
    }
    int32_t *answers = calloc(most, sizeof *answers);
    if (answers == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to count %zu answers", most);
    for (size_t i = 0; labels && i < s->count; i++)
        answers[n++] = (int32_t)s->labels[i];
    for (size_t t = 0; !labels && t < rb_sequences_tokens(s) && n < most; t++)
        if (s->targets[t] >= 0)
            answers[n++] = s->targets[t];
    double share;
    of_answers(answers, n, &chance.loss, &share);
    if (labels)
        chance.accuracy = share;
    free(answers);
    *ret = chance;
    return RB_OK;
}
