// LINK: core_merge core_text
/* Every option of golden/llama.json that permutes or flips (Llama, queries grouped): permutations,
 * head assignments, scores, losses, standard errors, barriers. */
#include "unit/golden.h"

#include <cblas.h>

static void test_all_options(void **state)
{
    (void)state;
    struct golden g = {.file = "golden/llama.json",
                       .a = "llama-a",
                       .b = "llama-b",
                       .align_length = 128,
                       .task = RB_TASK_CLM};
    golden_open(&g);
    golden_run_all(&g);
    golden_close(&g);
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_options)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
