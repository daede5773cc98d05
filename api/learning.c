#include "api/learning.h"

void rb_learning_encode(struct rb_json *w, const char *job, bool complete, uint32_t steps,
                        uint32_t steps_done, uint32_t best_step, const struct rb_learn_look *looks,
                        size_t count)
{
    rb_json_object(w, NULL);
    rb_json_string(w, "job", job);
    rb_json_bool(w, "complete", complete);
    rb_json_uint(w, "steps", steps);
    rb_json_uint(w, "steps_done", steps_done);
    rb_json_uint(w, "best_step", best_step);
    rb_json_array(w, "points");
    for (size_t i = 0; i < count; i++) {
        rb_json_object(w, NULL);
        rb_json_uint(w, "step", looks[i].step);
        rb_json_number(w, "train_loss", looks[i].train_loss);
        rb_json_number(w, "held_loss", looks[i].held_loss);
        rb_json_end(w);
    }
    rb_json_end(w);
    rb_json_end(w);
}
