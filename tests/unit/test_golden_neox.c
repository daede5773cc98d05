// LINK: core_merge core_text
/* Every option of golden/neox.json that permutes or flips (GPT-NeoX): permutations, head
 * assignments, scores, losses, standard errors, barriers. */
#include "unit/golden.h"

int main(void)
{
    struct golden g = {.file = "golden/neox.json",
                       .a = "neox-a",
                       .b = "neox-b",
                       .align_length = 128,
                       .task = RB_TASK_CLM};
    return golden_main(&g);
}
