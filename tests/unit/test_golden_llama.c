// LINK: core_merge core_text
/* Every option of golden/llama.json that permutes or flips (Llama, queries grouped): permutations,
 * head assignments, scores, losses, standard errors, barriers. */
#include "unit/golden.h"

int main(void)
{
    struct golden g = {.file = "golden/llama.json",
                       .a = "llama-a",
                       .b = "llama-b",
                       .align_length = 128,
                       .task = RB_TASK_CLM};
    return golden_main(&g);
}
