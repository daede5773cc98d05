/* api/names.h: what a resource may be called. */
#ifndef RB_API_NAMES_H
#define RB_API_NAMES_H

#include <stdbool.h>
#include <stddef.h>

enum {
    RB_NAME_MAX = 64,
    RB_NAME_SIZE = RB_NAME_MAX + 1,
    RB_SUBMITTER_SIZE = 65, /* a token's name, or its id where it has none; "": nobody's */
    RB_JOB_ID_LENGTH = 40,  /* "job_" and a UUID of 36 */
    RB_JOB_ID_SIZE = RB_JOB_ID_LENGTH + 1,
};

/* Models, datasets and label keys: [a-z0-9][a-z0-9._-]{0,63}. Says the rule for messages. */
#define RB_NAME_RULE "1 to 64 of a-z 0-9 . _ - starting with a letter or digit"
bool rb_name_valid(const char *name, size_t length);

/* "job_" + UUIDv7 in lower case with hyphens: version nibble 7, variant 8, 9, a or b. */
#define RB_JOB_ID_RULE "job_ and a UUIDv7, as in job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"
bool rb_job_id_valid(const char *id, size_t length);
/* The same with "grp_". */
bool rb_group_id_valid(const char *id, size_t length);

#endif
