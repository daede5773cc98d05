#include "api/time.h"

#include <stdio.h>

enum { MS_PER_DAY = 86400000 };

/* Days since 1970-01-01 and back, in the proleptic Gregorian calendar; H. Hinnant, "chrono-
 * compatible low-level date algorithms": years that begin in March put the leap day last. */
static int64_t days_from_date(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, int *year, int *month, int *day)
{
    days += 719468;
    int64_t era = days / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
    *month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = (int)(year_of_era + era * 400 + (*month <= 2));
}

char *rb_time_format(int64_t unix_ms, char buffer[RB_TIME_SIZE])
{
    const int64_t last = INT64_C(253402300799999); /* 9999-12-31T23:59:59.999Z */
    unix_ms = unix_ms < 0 ? 0 : unix_ms > last ? last : unix_ms;
    int year = 0, month = 0, day = 0;
    date_from_days(unix_ms / MS_PER_DAY, &year, &month, &day);
    int ms = (int)(unix_ms % MS_PER_DAY);
    /* The masks only tell the compiler what the clamp above already says: everything fits. */
    (void)snprintf(buffer, RB_TIME_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
                   (unsigned)year % 10000U, (unsigned)month % 100U, (unsigned)day % 100U,
                   (unsigned)(ms / 3600000) % 100U, (unsigned)(ms / 60000 % 60),
                   (unsigned)(ms / 1000 % 60), (unsigned)(ms % 1000));
    return buffer;
}

/* ---- reading: a cursor over the text; any mismatch sets bad ---- */

struct cursor {
    const char *at, *end;
    bool bad;
};

static char take(struct cursor *c)
{
    if (c->at == c->end) {
        c->bad = true;
        return '\0';
    }
    return *c->at++;
}

static void expect(struct cursor *c, char one, char other)
{
    char found = take(c);
    if (found != one && found != other)
        c->bad = true;
}

static int digits(struct cursor *c, int count, int low, int high)
{
    int value = 0;
    for (int i = 0; i < count; i++) {
        char found = take(c);
        if (found < '0' || found > '9')
            c->bad = true;
        else
            value = value * 10 + (found - '0');
    }
    if (value < low || value > high)
        c->bad = true;
    return value;
}

/* ".6781" -> 678; nothing without a dot. */
static int fraction_ms(struct cursor *c)
{
    if (c->at == c->end || *c->at != '.')
        return 0;
    c->at++;
    int ms = 0, scale = 100, seen = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++, seen++) {
        ms += (*c->at - '0') * scale;
        scale /= 10;
    }
    if (seen == 0)
        c->bad = true;
    return ms;
}

static int offset_minutes(struct cursor *c)
{
    char sign = take(c);
    if (sign == 'Z' || sign == 'z')
        return 0;
    if (sign != '+' && sign != '-')
        c->bad = true;
    int hours = digits(c, 2, 0, 23);
    expect(c, ':', ':');
    int minutes = hours * 60 + digits(c, 2, 0, 59);
    return sign == '-' ? -minutes : minutes;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

bool rb_time_parse(const char *text, size_t length, int64_t *ret_unix_ms)
{
    struct cursor c = {.at = text, .end = text + length};
    int year = digits(&c, 4, 1970, 9999);
    expect(&c, '-', '-');
    int month = digits(&c, 2, 1, 12);
    expect(&c, '-', '-');
    int day = digits(&c, 2, 1, c.bad ? 31 : days_in_month(year, month));
    expect(&c, 'T', 't');
    int hour = digits(&c, 2, 0, 23);
    expect(&c, ':', ':');
    int minute = digits(&c, 2, 0, 59);
    expect(&c, ':', ':');
    int second = digits(&c, 2, 0, 60);
    int ms = fraction_ms(&c);
    int offset = offset_minutes(&c);
    if (c.bad || c.at != c.end)
        return false;
    int64_t minutes = days_from_date(year, month, day) * 1440 + hour * 60 + minute - offset;
    int64_t result = (minutes * 60 + second) * 1000 + ms;
    if (result < 0)
        return false;
    *ret_unix_ms = result;
    return true;
}
