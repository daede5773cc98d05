/* server/store/jobs_internal.h: what the files about jobs share; private to server/store. */
#ifndef RB_SERVER_STORE_JOBS_INTERNAL_H
#define RB_SERVER_STORE_JOBS_INTERNAL_H

#include "server/store/query.h"
#include "server/store/jobs.h"

#endif
