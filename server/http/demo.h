/* server/http/demo.h: a pair of models that an import root offers to whoever opens an empty daemon,
 * by a file demo.json (tests/fixtures has one):
 *
 *     {"title": "…", "models": [{"name","path"}], "datasets": [{"name","path","format",…}],
 *      "job": {…}}
 *
 * models and datasets as POST /v1/models and /v1/datasets take them, with paths relative to the
 * file; job as POST /v1/jobs takes it. The daemon makes nothing of it by itself: whoever wants the
 * demo sends the three. */
#ifndef RB_SERVER_HTTP_DEMO_H
#define RB_SERVER_HTTP_DEMO_H

#include "server/base/settings.h"

/* The answer of GET /v1/demo: the first of the roots' files, paths made absolute; with empty lists
 * and a null job where there is none. A file that is no demo is logged and passed over. New,
 * free(); NULL: out of memory. Blocks: before the loop. */
char *rb_demo_find(const struct rb_strings *roots);

#endif
