// LINK: core_merge core_text
/* Every option of golden/roberta-authors.json: permutations, scores, losses, standard errors,
 * metrics, barriers. */
#include "unit/golden.h"

int main(void)
{
    struct golden g = {.file = "golden/roberta-authors.json",
                       .a = "roberta-authors-a",
                       .b = "roberta-authors-b",
                       .align_length = 48,
                       .examples = 150,
                       .longest = 48,
                       .task = RB_TASK_CLASSIFICATION};
    return golden_main(&g);
}
