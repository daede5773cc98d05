/* tests/unit/part.h: a long test is run in parts, side by side: RB_TEST_PART=2/3 runs the second of
 * three, unset all of it. tests/CMakeLists.txt has who is split. */
#ifndef RB_TESTS_PART_H
#define RB_TESTS_PART_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Is item i, counted from 0, one of this part's? */
static inline bool part_has(size_t i)
{
    const char *text = getenv("RB_TEST_PART");
    size_t part = 1, parts = 1;
    if (text != NULL && (sscanf(text, "%zu/%zu", &part, &parts) != 2 || part < 1 || part > parts)) {
        fprintf(stderr, "RB_TEST_PART: expected something like 2/3, found \"%s\"\n", text);
        exit(1);
    }
    return i % parts == part - 1;
}

#endif
