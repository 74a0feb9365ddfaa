/* SPDX-License-Identifier: Apache-2.0
 * Clocks, and dates as ISO-8601 text.
 */
#include "ma/clock.h"

#include <time.h>
#ifdef MA_TEST_HOOKS
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#define MS_PER_S 1000
#define MS_PER_DAY 86400000
#define ISO_MIN_MS (-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define ISO_MAX_MS 253402300799999   /* 9999-12-31T23:59:59.999Z */
#define ISO_FRACTION_MAX 9           /* digits accepted after the point; those past the third are dropped */

static int64_t read_ms(clockid_t id)
{
    struct timespec ts = {0, 0};
    (void)clock_gettime(id, &ts); /* cannot fail for these two clocks */
    return (int64_t)ts.tv_sec * MS_PER_S + ts.tv_nsec / 1000000;
}

static int64_t system_wall(const struct ma_clock *c)
{
    (void)c;
    return read_ms(CLOCK_REALTIME);
}

static int64_t system_mono(const struct ma_clock *c)
{
    (void)c;
    return read_ms(CLOCK_MONOTONIC);
}

int64_t ma_mono_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

const struct ma_clock *ma_clock_system(void)
{
    static const struct ma_clock sys = {system_wall, system_mono, NULL};
    return &sys;
}

static int64_t manual_now(const struct ma_clock *c)
{
    const struct ma_clock_manual *m = c->data;
    return m->now_ms;
}

void ma_clock_manual_init(struct ma_clock_manual *m, int64_t now_ms)
{
    *m = (struct ma_clock_manual){{manual_now, manual_now, m}, now_ms};
}

void ma_clock_manual_advance(struct ma_clock_manual *m, int64_t ms)
{
    m->now_ms += ms;
}

#ifdef MA_TEST_HOOKS
static int64_t file_wall(const struct ma_clock *c)
{
    const int64_t *offset = c->data;
    return read_ms(CLOCK_REALTIME) + __atomic_load_n(offset, __ATOMIC_RELAXED);
}

/* NULL when the file is missing or too short to hold the offset. */
static void *map_offset(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct stat st;
    void *p = MAP_FAILED;
    if (fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(int64_t))
        p = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd);
    return p == MAP_FAILED ? NULL : p;
}

const struct ma_clock *ma_clock_file(const char *path)
{
    static struct ma_clock file_clock; /* one per process, set before threads start */
    void *offset = map_offset(path);
    if (!offset)
        return NULL;
    file_clock = (struct ma_clock){file_wall, system_mono, offset};
    return &file_clock;
}
#endif

struct civil {
    int64_t year;
    int64_t month; /* 1–12 */
    int64_t day;   /* 1–31 */
};

/* Proleptic Gregorian calendar in years that begin in March, so that the leap day comes last;
 * an era is 400 years, 146097 days. Day 0 is 1970-01-01, which is day 719468 of that count. */
static struct civil civil_of_days(int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int64_t month = mp < 10 ? mp + 3 : mp - 9;
    return (struct civil){yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) / 5 + 1};
}

static int64_t days_of_civil(struct civil c)
{
    int64_t y = c.year - (c.month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (c.month > 2 ? c.month - 3 : c.month + 9) + 2) / 5 + c.day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void put_digits(char *out, int64_t v, size_t n)
{
    for (size_t i = n; i-- > 0; v /= 10)
        out[i] = (char)('0' + v % 10);
}

void ma_iso_ms(int64_t ms, char out[MA_ISO_LEN + 1])
{
    if (ms < ISO_MIN_MS)
        ms = ISO_MIN_MS;
    if (ms > ISO_MAX_MS)
        ms = ISO_MAX_MS;
    int64_t days = (ms >= 0 ? ms : ms - (MS_PER_DAY - 1)) / MS_PER_DAY;
    int64_t rest = ms - days * MS_PER_DAY;
    struct civil c = civil_of_days(days);
    memcpy(out, "0000-00-00T00:00:00.000Z", MA_ISO_LEN + 1);
    put_digits(out, c.year, 4);
    put_digits(out + 5, c.month, 2);
    put_digits(out + 8, c.day, 2);
    put_digits(out + 11, rest / 3600000, 2);
    put_digits(out + 14, rest / 60000 % 60, 2);
    put_digits(out + 17, rest / MS_PER_S % 60, 2);
    put_digits(out + 20, rest % MS_PER_S, 3);
}

/* Takes n digits and, unless 0, the byte that must follow them. */
static bool take_num(struct ma_span *s, size_t n, char after, int64_t *ret)
{
    *ret = 0;
    if (s->n < n + (after ? 1 : 0))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return false;
        *ret = *ret * 10 + (s->p[i] - '0');
    }
    if (after && s->p[n] != (uint8_t)after)
        return false;
    s->p += n + (after ? 1 : 0);
    s->n -= n + (after ? 1 : 0);
    return true;
}

static bool take_date(struct ma_span *s, int64_t *ret_days)
{
    struct civil c;
    if (!take_num(s, 4, '-', &c.year) || !take_num(s, 2, '-', &c.month) || !take_num(s, 2, 0, &c.day))
        return false;
    if (c.month < 1 || c.month > 12 || c.day < 1)
        return false;
    *ret_days = days_of_civil(c);
    struct civil back = civil_of_days(*ret_days); /* a day the month does not have comes back as another date */
    return back.month == c.month && back.day == c.day;
}

/* ".digits" if there; *ret is milliseconds. */
static bool take_fraction(struct ma_span *s, int64_t *ret)
{
    *ret = 0;
    if (!s->n || s->p[0] != '.')
        return true;
    size_t n = 0;
    int64_t unit = 100;
    for (s->p++, s->n--; s->n && s->p[0] >= '0' && s->p[0] <= '9'; s->p++, s->n--, n++, unit /= 10)
        *ret += (s->p[0] - '0') * unit;
    return n >= 1 && n <= ISO_FRACTION_MAX;
}

/* "Thh:mm:ss[.fff]Z". A leap second (60) is refused: the epoch has no number for it. */
static bool take_time(struct ma_span *s, int64_t *ret_ms)
{
    int64_t h, m, sec, frac;
    if (s->p[0] != 'T')
        return false;
    s->p++;
    s->n--;
    if (!take_num(s, 2, ':', &h) || !take_num(s, 2, ':', &m) || !take_num(s, 2, 0, &sec) || !take_fraction(s, &frac))
        return false;
    if (h > 23 || m > 59 || sec > 59 || s->n != 1 || s->p[0] != 'Z')
        return false;
    *ret_ms = ((h * 60 + m) * 60 + sec) * MS_PER_S + frac;
    return true;
}

int ma_iso_parse(struct ma_span s, int64_t *ret_ms)
{
    int64_t days, ms = 0;
    *ret_ms = 0;
    if (!take_date(&s, &days) || (s.n && !take_time(&s, &ms)))
        return MA_E_PARSE;
    *ret_ms = days * MS_PER_DAY + ms;
    return MA_OK;
}
