/* server/http/admit.h: what a request's headers must be before its handler sees it. Loop thread
 * only. */
#ifndef RB_SERVER_HTTP_ADMIT_H
#define RB_SERVER_HTTP_ADMIT_H

#include "server/http/request.h"

/* Holds the headers against the route's row; replies if the request is refused. */
void rb_request_admit(struct rb_request *r);

#endif
