// LINK: core_merge core_text
/* Every option of golden/electra.json: permutations, scores, losses, standard errors, metrics,
 * barriers. */
#include "unit/golden.h"

int main(void)
{
    struct golden g = {.file = "golden/electra.json",
                       .a = "electra-a",
                       .b = "electra-b",
                       .align_length = 48,
                       .task = RB_TASK_MLM};
    return golden_main(&g);
}
