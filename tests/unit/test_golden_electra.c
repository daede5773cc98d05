// LINK: core_merge core_text
/* Every option of golden/electra.json: permutations, scores, losses, standard errors, metrics,
 * barriers. */
#include "unit/golden.h"

#include <cblas.h>

static void test_all_options(void **state)
{
    (void)state;
    struct golden g = {.file = "golden/electra.json",
                       .a = "electra-a",
                       .b = "electra-b",
                       .align_length = 48,
                       .task = RB_TASK_MLM};
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
