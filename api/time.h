/* api/time.h: RFC 3339 in UTC with milliseconds <-> milliseconds since 1970. */
#ifndef RB_API_TIME_H
#define RB_API_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RB_TIME_SIZE = 25 }; /* "2026-01-02T03:04:05.678Z" and NUL */

/* unix_ms from 0 to the end of the year 9999; returns buffer. */
char *rb_time_format(int64_t unix_ms, char buffer[RB_TIME_SIZE]);

/* Any RFC 3339 date-time of 1970 to 9999: an offset is taken off, digits beyond milliseconds are
 * dropped, "t", "z" and a leap second (read as the next second) are taken. false if it is not
 * one; *ret_unix_ms is then untouched. */
bool rb_time_parse(const char *text, size_t length, int64_t *ret_unix_ms);

#endif
