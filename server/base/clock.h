/* server/base/clock.h: the clocks. Any thread. How times are written: api/time.h. */
#ifndef RB_SERVER_BASE_CLOCK_H
#define RB_SERVER_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since 1970, UTC; what is stored and shown. Can step. */
int64_t rb_clock_realtime_ms(void);
/* Nanoseconds of a clock that never steps; for durations and deadlines. */
uint64_t rb_clock_monotonic_ns(void);
/* Time the calling thread has spent on a core: rates by it do not depend on what else the machine
 * does. */
uint64_t rb_clock_thread_ns(void);

#endif
