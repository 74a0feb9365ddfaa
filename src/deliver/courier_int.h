/* SPDX-License-Identifier: Apache-2.0
 * Private to the courier: the outcomes of a round, until they are written.
 */
#ifndef MA_DELIVER_COURIER_INT_H
#define MA_DELIVER_COURIER_INT_H

#include "push_int.h"

#define MA_ROUND_MAX 32                             /* rows sent between two writes */
#define MA_SENDERS 3                                /* push gateway, FCM, APNs */
#define MA_IN_SENDERS (MA_SENDERS * MA_SENDER_JOBS) /* rows that are with them at most */
#define MA_OUTCOMES_MAX (MA_ROUND_MAX + MA_IN_SENDERS)
#define MA_OUTCOME_REASON_MAX 160 /* bytes of last_error */

struct ma_log;
struct ma_metrics;

struct ma_outcome {
    char id[65];
    enum { MA_OUTCOME_DONE, MA_OUTCOME_RETRY, MA_OUTCOME_DEFER } action;
    bool dead;
    int64_t next_at;
    char reason[MA_OUTCOME_REASON_MAX];
};

/* What is known about one line's transport; while it is held its rows are put off unsent. */
struct ma_line_state {
    int failures; /* in a row */
    int64_t held_until, held_for;
};

struct ma_outcomes {
    const struct ma_clock *clock;
    struct ma_log *log;
    struct ma_metrics *metrics; /* NULL: nothing is counted */
    struct ma_line_state lines[MA_LINE__COUNT];
    struct ma_outcome v[MA_OUTCOMES_MAX]; /* not yet written */
    size_t n;
};
/* Each of these adds one outcome; there must be room. */
/* The row waits until then; nothing was tried. */
void ma_outcome_put_off(struct ma_outcomes *o, const struct ma_outbox_row *row, int64_t next_at);
/* The row is dead. */
void ma_outcome_bury(struct ma_outcomes *o, const struct ma_outbox_row *row, const char *reason);
/* The letter was sent with this result. */
void ma_outcome_settle(struct ma_outcomes *o, const struct ma_outbox_row *row, const struct ma_send *s, int result);
/* True, and the row is put off, while its line is held. */
bool ma_outcome_held(struct ma_outcomes *o, const struct ma_outbox_row *row, int line);
/* Writes them all; arg is a struct ma_outcomes, which the caller empties after the commit. */
MA_MUST_USE int ma_outcomes_write(struct ma_db *db, void *arg);

static inline int64_t ma_clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

#endif
