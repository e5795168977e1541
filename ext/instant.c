/* instant.c -- see instant.h.
**
** Days are counted in the proleptic Gregorian calendar, as SQLite does, in eras of 400 years that
** begin on 1 March, so that the leap day is a year's last day (Howard Hinnant's arithmetic).
*/
#include "instant.h"

#include <stdio.h>
#include <string.h>

#define DAYS_PER_ERA 146097
#define DAYS_BEFORE_EPOCH 719468 /* from 0000-03-01 to 1970-01-01 */
#define SECONDS_PER_DAY 86400
#define FRACTION_DIGITS_MAX 9

static int64_t days_since_epoch(int year, int month, int day) {
    int64_t march_year = month > 2 ? year : year - 1;
    int64_t era = (march_year >= 0 ? march_year : march_year - 399) / 400;
    int64_t year_of_era = march_year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * DAYS_PER_ERA + day_of_era - DAYS_BEFORE_EPOCH;
}

static void date_of_day(int64_t day, int *year, int *month, int *day_of_month) {
    int64_t shifted = day + DAYS_BEFORE_EPOCH;
    int64_t era = (shifted >= 0 ? shifted : shifted - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
    int64_t day_of_era = shifted - era * DAYS_PER_ERA;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;

    *day_of_month = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    *month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    *year = (int)(year_of_era + era * 400 + (*month <= 2 ? 1 : 0));
}

/* Exactly `count` digits within the bounds; *text moves on behind them. */
static bool take_number(const char **text, int count, int minimum, int maximum, int *number) {
    int value = 0;

    for (int i = 0; i < count; i++) {
        char digit = (*text)[i];

        if (digit < '0' || digit > '9') {
            return false;
        }
        value = value * 10 + (digit - '0');
    }
    if (value < minimum || value > maximum) {
        return false;
    }
    *text += count;
    *number = value;
    return true;
}

static bool take_char(const char **text, char wanted) {
    if (**text != wanted) {
        return false;
    }
    (*text)++;
    return true;
}

static int64_t take_fraction(const char **text) {
    int64_t worth = 0;
    int digits = 0;

    for (; **text >= '0' && **text <= '9'; (*text)++, digits++) {
        if (digits < FRACTION_DIGITS_MAX) {
            worth = worth * 10 + (**text - '0');
        }
    }
    for (; digits < FRACTION_DIGITS_MAX; digits++) {
        worth *= 10;
    }
    return worth;
}

/* Seconds of the day, and the fraction; nothing at all is midnight. */
static bool take_time(const char **text, int64_t *seconds, int64_t *fraction) {
    int hour;
    int minute;
    int second = 0;

    *seconds = 0;
    *fraction = 0;
    if (!take_char(text, ' ') && !take_char(text, 'T')) {
        return **text == '\0';
    }
    if (!take_number(text, 2, 0, 23, &hour) || !take_char(text, ':') ||
        !take_number(text, 2, 0, 59, &minute)) {
        return false;
    }
    if (take_char(text, ':')) {
        if (!take_number(text, 2, 0, 59, &second)) {
            return false;
        }
        if ((*text)[0] == '.' && (*text)[1] >= '0' && (*text)[1] <= '9') {
            (*text)++;
            *fraction = take_fraction(text);
        }
    }
    *seconds = hour * 3600 + minute * 60 + second;
    return true;
}

/* Seconds east of Greenwich. */
static bool take_zone(const char **text, int64_t *east) {
    bool is_east = **text == '+';
    int hour;
    int minute;

    *east = 0;
    if (take_char(text, 'Z') || **text == '\0') {
        return true;
    }
    if ((!take_char(text, '+') && !take_char(text, '-')) || !take_number(text, 2, 0, 14, &hour) ||
        !take_char(text, ':') || !take_number(text, 2, 0, 59, &minute)) {
        return false;
    }
    *east = (is_east ? 1 : -1) * (hour * 3600 + minute * 60);
    return true;
}

static bool combine(int64_t seconds, int64_t fraction, int64_t *nanoseconds) {
    if (seconds > INT64_MAX / NANOSECONDS_PER_SECOND - 1 ||
        seconds < INT64_MIN / NANOSECONDS_PER_SECOND + 1) {
        return false;
    }
    *nanoseconds = seconds * NANOSECONDS_PER_SECOND + fraction;
    return true;
}

bool instant_parse(const char *text, int64_t *nanoseconds) {
    int year;
    int month;
    int day;
    int64_t seconds;
    int64_t fraction;
    int64_t east;

    if (!take_number(&text, 4, 0, 9999, &year) || !take_char(&text, '-') ||
        !take_number(&text, 2, 1, 12, &month) || !take_char(&text, '-') ||
        !take_number(&text, 2, 1, 31, &day) || !take_time(&text, &seconds, &fraction) ||
        !take_zone(&text, &east) || *text != '\0') {
        return false;
    }
    seconds += days_since_epoch(year, month, day) * SECONDS_PER_DAY - east;
    return combine(seconds, fraction, nanoseconds);
}

bool instant_fraction(const char *text, size_t *position, size_t *length, int64_t *nanoseconds) {
    const char *point = strchr(text, '.');
    const char *end;

    /* Only behind a time of day: 2460000.5 is a Julian day. */
    if (point == NULL || memchr(text, ':', (size_t)(point - text)) == NULL) {
        return false;
    }
    end = point + 1;
    *nanoseconds = take_fraction(&end);
    *position = (size_t)(point - text);
    *length = (size_t)(end - point);
    return *length > 1;
}

void instant_format(int64_t nanoseconds, char text[INSTANT_BYTES]) {
    int64_t seconds = nanoseconds / NANOSECONDS_PER_SECOND;
    int64_t fraction = nanoseconds % NANOSECONDS_PER_SECOND;
    int64_t day;
    int year;
    int month;
    int day_of_month;
    int clock;

    if (fraction < 0) {
        fraction += NANOSECONDS_PER_SECOND;
        seconds--;
    }
    day = seconds / SECONDS_PER_DAY - (seconds % SECONDS_PER_DAY < 0 ? 1 : 0);
    clock = (int)(seconds - day * SECONDS_PER_DAY);
    date_of_day(day, &year, &month, &day_of_month);
    snprintf(text, INSTANT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%09uZ", (unsigned)year % 10000u,
             (unsigned)month % 100u, (unsigned)day_of_month % 100u, (unsigned)clock / 3600u % 100u,
             (unsigned)clock / 60u % 60u, (unsigned)clock % 60u, (unsigned)fraction % 1000000000u);
}
