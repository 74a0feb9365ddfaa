/* SPDX-License-Identifier: Apache-2.0
 * Wall and monotonic time, injected: production reads the system, tests set it.
 */
#ifndef MA_CLOCK_H
#define MA_CLOCK_H

#include "ma/base.h"

struct ma_clock {
    int64_t (*wall_ms)(const struct ma_clock *); /* milliseconds since the Unix epoch, UTC */
    int64_t (*mono_ms)(const struct ma_clock *); /* milliseconds, never goes back */
    void *data;
};

/* The system's clocks. Static. Thread-safe. */
const struct ma_clock *ma_clock_system(void);

/* The system's monotonic clock in microseconds, for durations that are only reported. */
int64_t ma_mono_us(void);

/* A manual clock for unit tests: wall and mono move together. */
struct ma_clock_manual {
    struct ma_clock clock; /* hand out &m.clock */
    int64_t now_ms;
};
void ma_clock_manual_init(struct ma_clock_manual *m, int64_t now_ms);
void ma_clock_manual_advance(struct ma_clock_manual *m, int64_t ms);

#ifdef MA_TEST_HOOKS
/* Test builds only: wall time plus the offset (int64_t milliseconds, host order) that the
 * mmap'ed file holds; whole-daemon tests write it. Owned for the life of the process; NULL when
 * the file cannot be mapped. */
const struct ma_clock *ma_clock_file(const char *path);
#endif

/* "YYYY-MM-DDTHH:MM:SS.mmmZ" (24 bytes and NUL) into out, as every date of the API. */
#define MA_ISO_LEN 24
void ma_iso_ms(int64_t ms, char out[MA_ISO_LEN + 1]);
/* Parses an ISO-8601 UTC date or date-time ("2026-01-02", "…T10:00:00Z", with fraction) to ms. */
MA_MUST_USE int ma_iso_parse(struct ma_span s, int64_t *ret_ms);

#endif
