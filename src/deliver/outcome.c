/* SPDX-License-Identifier: Apache-2.0
 * Outcomes: what becomes of a message, by what its sender returned, and how long its line is left alone.
 */
#include "ma/outbox.h"

#include "courier_int.h"
#include "ma/log.h"
#include "ma/metrics.h"

#include <stdio.h>

enum verdict { SENT, REFUSED, NOT_ACCEPTED, UNKNOWN };

static int64_t now_ms(const struct ma_outcomes *o)
{
    return o->clock->wall_ms(o->clock);
}

/* Up to a quarter more, fixed by the row (FNV-1a of its id), so that rows that failed together part. */
static int64_t spread(int64_t delay, struct ma_span id)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < id.n; i++)
        h = (h ^ id.p[i]) * 16777619u;
    return delay + (int64_t)(h % 1024u) * delay / 4096;
}

static int64_t doubled(int64_t first, int times, int64_t most)
{
    int64_t delay = first;
    for (int i = 0; i < times && delay < most; i++)
        delay *= 2;
    return delay < most ? delay : most;
}

/* --- recording results --- */

static int write_result(struct ma_db *db, const struct ma_outcome *res)
{
    struct ma_span id = ma_span_str(res->id);
    int r = MA_OK;
    switch (res->action) {
    case MA_OUTCOME_DONE:
        r = ma_outbox_done(db, id);
        break;
    case MA_OUTCOME_RETRY:
        r = ma_outbox_retry(db, id, res->next_at, res->dead, ma_span_str(res->reason));
        break;
    case MA_OUTCOME_DEFER:
        r = ma_outbox_defer(db, id, res->next_at);
        break;
    }
    /* the row went away with its user */
    return r == MA_E_NOTFOUND || r == MA_E_CONFLICT ? MA_OK : r;
}

int ma_outcomes_write(struct ma_db *db, void *arg)
{
    const struct ma_outcomes *o = arg;
    for (size_t i = 0; i < o->n; i++) {
        int r = write_result(db, &o->v[i]);
        if (r < 0)
            return r;
    }
    return MA_OK;
}

static struct ma_outcome *add_result(struct ma_outcomes *o, const struct ma_outbox_row *row)
{
    struct ma_outcome *res = &o->v[o->n++];
    *res = (struct ma_outcome){.action = MA_OUTCOME_DONE};
    snprintf(res->id, sizeof res->id, "%.*s", (int)(row->id.n > 64 ? 64 : row->id.n), (const char *)row->id.p);
    return res;
}

static void count(const struct ma_outcomes *o, const struct ma_outbox_row *row, enum ma_m_delivery outcome)
{
    ma_metrics_add(o->metrics, MA_M_DELIVERIES, ma_channel_parse(row->channel), outcome, 1);
}

void ma_outcome_bury(struct ma_outcomes *o, const struct ma_outbox_row *row, const char *reason)
{
    count(o, row, MA_M_DEAD);
    struct ma_outcome *res = add_result(o, row);
    res->action = MA_OUTCOME_RETRY;
    res->dead = true;
    res->next_at = now_ms(o);
    snprintf(res->reason, sizeof res->reason, "%.*s", MA_OUTCOME_REASON_MAX - 1, reason);
    ma_log(o->log, MA_LOG_ERROR, "delivery.dead", MA_KV_SPAN("id", row->id), MA_KV_SPAN("channel", row->channel),
           MA_KV_SPAN("user_id", row->user_id), MA_KV_S("reason", res->reason));
}

void ma_outcome_put_off(struct ma_outcomes *o, const struct ma_outbox_row *row, int64_t next_at)
{
    struct ma_outcome *res = add_result(o, row);
    res->action = MA_OUTCOME_DEFER;
    res->next_at = next_at;
}

/* --- judging --- */

static enum verdict judge(int r)
{
    switch (r) {
    case MA_OK:
        return SENT;
    case MA_E_INVAL:
    case MA_E_UNSUPPORTED:
        return REFUSED;
    case MA_E_UPSTREAM:
    case MA_E_BUSY:
    case MA_E_IO:
    case MA_E_FULL:
    case MA_E_NOMEM:
        return NOT_ACCEPTED;
    default:
        return UNKNOWN;
    }
}

static bool holds(const char *text, struct ma_span part)
{
    return part.n > 0 && memmem(text, strlen(text), part.p, part.n) != NULL;
}

/* Providers quote addresses and texts in their replies; a reason is kept in clear, so such a reply is not. */
static void reason_of(const struct ma_send *s, int err, char out[MA_OUTCOME_REASON_MAX])
{
    struct ma_span address;
    (void)ma_push_service(s->letter->to, &address); /* without the name of its service, if it has one */
    bool quotes = holds(s->why, address) || holds(s->why, s->letter->code);
    const char *text = s->why[0] && !quotes ? s->why : ma_err_text(err);
    snprintf(out, MA_OUTCOME_REASON_MAX, "%.*s%s", MA_OUTCOME_REASON_MAX - 40, text,
             quotes ? " (the reply is withheld)" : "");
}

static void sent(struct ma_outcomes *o, const struct ma_outbox_row *row, struct ma_line_state *line, const char *to)
{
    add_result(o, row);
    count(o, row, MA_M_SENT);
    if (line->failures > 0)
        ma_log(o->log, MA_LOG_INFO, "delivery.recovered", MA_KV_SPAN("channel", row->channel));
    *line = (struct ma_line_state){0};
    ma_log(o->log, MA_LOG_INFO, "delivery.sent", MA_KV_SPAN("id", row->id), MA_KV_SPAN("channel", row->channel),
           MA_KV_SPAN("user_id", row->user_id), MA_KV_S("to", to));
}

struct failure {
    enum verdict verdict;
    int64_t wait_ms; /* the provider's wish; 0: none */
    const char *reason;
};

/* The row waits; so does its line, for a while, lest every row tries a transport that is down. */
static void failed(struct ma_outcomes *o, const struct ma_outbox_row *row, struct ma_line_state *line,
                   const struct failure *f)
{
    const enum verdict verdict = f->verdict;
    const char *reason = f->reason;
    int64_t now = now_ms(o);
    int64_t hold = doubled(MA_OUTBOX_BACKOFF_MS, line->failures, MA_OUTBOX_PROBE_MS);
    line->held_for = f->wait_ms > hold ? f->wait_ms : hold;
    line->held_until = now + line->held_for;
    if (line->failures < 64)
        line->failures++;
    int64_t age = now - row->created_at;
    if (verdict == UNKNOWN ? row->attempts + 1 >= MA_OUTBOX_TRIES : age >= MA_OUTBOX_KEEP_MS) {
        ma_outcome_bury(o, row, reason);
        return;
    }
    count(o, row, MA_M_RETRIED);
    if (verdict == UNKNOWN) {
        struct ma_outcome *res = add_result(o, row);
        res->action = MA_OUTCOME_RETRY;
        res->next_at = now + spread(doubled(MA_OUTBOX_BACKOFF_MS, row->attempts, MA_OUTBOX_BACKOFF_MAX_MS), row->id);
        snprintf(res->reason, sizeof res->reason, "%s", reason);
    } else {
        /* waiting as long as it has waited doubles the delay each time */
        int64_t delay = ma_clamp(age, MA_OUTBOX_BACKOFF_MS, MA_OUTBOX_PROBE_MS);
        ma_outcome_put_off(o, row, now + spread(delay > f->wait_ms ? delay : f->wait_ms, row->id));
    }
    ma_log(o->log, MA_LOG_WARN, "delivery.failed", MA_KV_SPAN("id", row->id), MA_KV_SPAN("channel", row->channel),
           MA_KV_SPAN("user_id", row->user_id), MA_KV_S("reason", reason), MA_KV_I("attempts", row->attempts + 1));
}

/* What became of a letter that was sent with this result. */
void ma_outcome_settle(struct ma_outcomes *o, const struct ma_outbox_row *row, const struct ma_send *s, int r)
{
    char reason[MA_OUTCOME_REASON_MAX];
    char to[MA_MASKED_MAX];
    struct ma_line_state *line = &o->lines[ma_letter_line(s->transports, s->letter)];
    enum verdict verdict = judge(r);
    if (verdict == SENT) {
        ma_address_mask(s->letter->to, to);
        sent(o, row, line, to);
        return;
    }
    reason_of(s, r, reason);
    if (verdict == REFUSED) {
        ma_outcome_bury(o, row, reason);
        return;
    }
    const struct failure f = {verdict, s->wait_ms, reason};
    failed(o, row, line, &f);
}

bool ma_outcome_held(struct ma_outcomes *o, const struct ma_outbox_row *row, int line_of)
{
    struct ma_line_state *line = &o->lines[line_of];
    int64_t now = now_ms(o);
    if (now >= line->held_until)
        return false;
    /* a clock that was set back does not hold a line for longer than was meant */
    line->held_until = ma_clamp(line->held_until, now, now + line->held_for);
    ma_outcome_put_off(o, row, line->held_until);
    return true;
}
