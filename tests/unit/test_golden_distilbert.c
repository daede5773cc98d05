// LINK: core_merge core_text
/* Every option of golden/distilbert.json: permutations, scores, losses, standard errors, metrics,
 * barriers. */
#include "unit/golden.h"

int main(void)
{
    struct golden g = {.file = "golden/distilbert.json",
                       .a = "distilbert-a",
                       .b = "distilbert-b",
                       .align_length = 48,
                       .task = RB_TASK_MLM};
    return golden_main(&g);
}
