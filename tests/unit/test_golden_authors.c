// LINK: core_merge core_text
/* Every option of golden/authors.json: permutations, scores, losses, standard errors, metrics,
 * barriers. */
#include "unit/golden.h"

int main(void)
{
    struct golden g = {.file = "golden/authors.json",
                       .a = "authors-a",
                       .b = "authors-b",
                       .align_length = 128,
                       .task = RB_TASK_CLASSIFICATION};
    return golden_main(&g);
}
