/* server/base/clock.h: the two clocks, and the one way times are written. Any thread. */
#ifndef RB_SERVER_BASE_CLOCK_H
#define RB_SERVER_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Milliseconds since 1970, UTC; what is stored and shown. Can step. */
int64_t rb_clock_realtime_ms(void);
/* Nanoseconds of a clock that never steps; for durations and deadlines. */
uint64_t rb_clock_monotonic_ns(void);

enum { RB_TIME_TEXT = 25 }; /* "2026-11-23T10:48:45.123Z" with its NUL */

/* RFC 3339, UTC, milliseconds. Years 0000 to 9999; times beyond are shown as the nearest. */
void rb_time_format(int64_t realtime_ms, char ret[RB_TIME_TEXT]);
/* RFC 3339 with any offset and 0 to 9 digits of a second; 'T' and 'Z' in either case. Rounds down
 * to milliseconds. false if text is anything else. */
bool rb_time_parse(const char *text, int64_t *ret_realtime_ms);

#endif
