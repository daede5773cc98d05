/* api/problem.h: application/problem+json, RFC 9457. */
#ifndef RB_API_PROBLEM_H
#define RB_API_PROBLEM_H

#include "api/decode.h"
#include "api/encode.h"

#define RB_PROBLEM_MEDIA_TYPE "application/problem+json"

/* {"type":"urn:rebasind:error:<code>","title","status","detail","code","request_id","errors"}.
 * errors: the items of problems where there are any; else, when err has a pointer, that one; else
 * absent. problems and request_id may be NULL. err->status must not be RB_OK. */
void rb_problem_encode(struct rb_json *w, const struct rb_error *err,
                       const struct rb_problems *problems, const char *request_id);

/* err's own words without the pointer, or the end of it, that they may begin with: in `detail`,
 * which stands alone, it is wanted; beside `pointer` it is said twice. Lives as long as err. */
const char *rb_problem_words(const struct rb_error *err);

#endif
