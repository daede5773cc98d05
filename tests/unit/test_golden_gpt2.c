// LINK: core_merge core_text
/* Every option of golden/gpt2.json that permutes or flips (GPT-2): permutations, head
 * assignments, scores, losses, standard errors, barriers. */
#include "unit/golden.h"

int main(void)
{
    struct golden g = {.file = "golden/gpt2.json",
                       .a = "gpt2-a",
                       .b = "gpt2-b",
                       .align_length = 128,
                       .task = RB_TASK_CLM};
    return golden_main(&g);
}
