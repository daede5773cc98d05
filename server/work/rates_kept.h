/* server/work/rates_kept.h: what was learnt of this machine's speed (rates.h), from start to start:
 * in the store, by processor and kernel of OpenBLAS. Another kernel has other rates and none of
 * this one's. Losing them costs a worse forecast, nothing else. Loop thread only. */
#ifndef RB_SERVER_WORK_RATES_KEPT_H
#define RB_SERVER_WORK_RATES_KEPT_H

#include "server/store/store.h"
#include "server/work/rates.h"

/* What the store knows; 0 what it does not. Failures are logged. */
void rb_rates_recall(struct rb_store *store, struct rb_rates *ret);
void rb_rates_keep(struct rb_store *store, const struct rb_rates *r);

#endif
