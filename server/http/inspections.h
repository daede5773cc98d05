/* server/http/inspections.h: a request that waits until a model or dataset has been looked at, and
 * then replies what it is now. Loop thread only. */
#ifndef RB_SERVER_HTTP_INSPECTIONS_H
#define RB_SERVER_HTTP_INSPECTIONS_H

#include "api/names.h"
#include "server/http/request.h"
#include "server/work/inspect.h"

struct rb_inspection_wait {
    struct rb_inspection *inspection; /* the caller sets it to what it started */
    int status;                       /* of the reply when all went well */
    char name[RB_NAME_SIZE];
    const char *collection; /* "models": for the Location of a 201 */
    void (*reply)(struct rb_request *r, int status, const char *name);
};

/* Takes r->data. NULL: out of memory, which has been replied. Start the inspection with
 * rb_inspection_waited and r. */
struct rb_inspection_wait *
rb_inspection_wait_begin(struct rb_request *r, const char *collection, const char *name, int status,
                         void (*reply)(struct rb_request *r, int status, const char *name));
rb_inspect_done rb_inspection_waited;

#endif
