// LINK: core_merge core_text
/* Every option of golden/roberta.json: permutations, scores, losses, standard errors, metrics,
 * barriers. */
#include "unit/golden.h"

int main(void)
{
    struct golden g = {.file = "golden/roberta.json",
                       .a = "roberta-a",
                       .b = "roberta-b",
                       .align_length = 48,
                       .task = RB_TASK_MLM};
    return golden_main(&g);
}
