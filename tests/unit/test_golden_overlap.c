// LINK: core_merge core_text
/* Every option of golden/overlap.json: permutations, scores, losses, standard errors, metrics,
 * barriers. */
#include "unit/golden.h"

int main(void)
{
    struct golden g = {.file = "golden/overlap.json",
                       .a = "overlap-a",
                       .b = "overlap-b",
                       .align_length = 128,
                       .task = RB_TASK_REGRESSION};
    return golden_main(&g);
}
