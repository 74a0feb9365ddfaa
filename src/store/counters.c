/* SPDX-License-Identifier: Apache-2.0
 * Durable token buckets, in millionths of a token: integers only, so nothing is lost to rounding.
 */
#include "ma/store.h"

#include "int.h"

#define MICRO 1000000 /* parts of a token */

_Static_assert(MA_COUNTER_PERIOD_MAX_MS <= INT64_MAX / MA_COUNTER_PERIOD_MAX_MS, "the refill must not overflow");
_Static_assert(MA_COUNTER_LIMIT_MAX <= INT64_MAX / MICRO, "a full bucket must not overflow");

MA_QUERY(COUNTER_GET, "SELECT micro, updated_at FROM counters WHERE user_id = $1 AND name = $2");
/* Compare-and-set: $5 and $6 are what was read, no row counts as -1. */
MA_QUERY(COUNTER_PUT, "INSERT INTO counters (user_id, name, micro, updated_at) VALUES ($1, $2, $3, $4) "
                      "ON CONFLICT (user_id, name) DO UPDATE SET micro = excluded.micro, "
                      "updated_at = excluded.updated_at WHERE counters.micro = $5 AND counters.updated_at = $6");

MA_QUERY(SHARED_COUNTER_GET, "SELECT micro, updated_at FROM shared_counters WHERE key_mac = $1");
MA_QUERY(SHARED_COUNTER_PUT,
         "INSERT INTO shared_counters (key_mac, full_at, micro, updated_at) VALUES ($1, $2, $3, $4) "
         "ON CONFLICT (key_mac) DO UPDATE SET micro = excluded.micro, "
         "updated_at = excluded.updated_at, full_at = excluded.full_at "
         "WHERE shared_counters.micro = $5 AND shared_counters.updated_at = $6");
MA_QUERY(SHARED_COUNTER_EXPIRE, "DELETE FROM shared_counters WHERE key_mac IN (SELECT key_mac FROM shared_counters "
                                "WHERE full_at < $1 ORDER BY full_at LIMIT $2)");

/* Whose bucket: a user's, named by its rule, or one that a MAC names. */
struct owner {
    struct ma_span id;
    bool shared;
};
struct bucket {
    int64_t stored_micro, stored_at; /* as in the row; -1: no row */
    int64_t micro;                   /* what is there now */
};

static bool rule_ok(const struct ma_counter_rule *rule)
{
    return rule->limit >= 0 && rule->limit <= MA_COUNTER_LIMIT_MAX && rule->period_ms > 0 &&
           rule->period_ms <= MA_COUNTER_PERIOD_MAX_MS;
}

/* full * elapsed / period with elapsed < period, without overflow: split by full / period. */
static int64_t refill(int64_t full, int64_t elapsed, int64_t period)
{
    return elapsed * (full / period) + elapsed * (full % period) / period;
}

/* A clock that went back gives no time, and takes none. A limit that was lowered caps the bucket. */
static int64_t level_at(const struct bucket *b, const struct ma_counter_rule *rule, int64_t now)
{
    int64_t full = rule->limit * MICRO;
    int64_t elapsed = 0;
    if (b->stored_at < 0 || b->stored_micro >= full)
        return full;
    if (now > b->stored_at && !ma_add_ok(now, -b->stored_at, &elapsed))
        elapsed = rule->period_ms;
    if (elapsed >= rule->period_ms)
        return full;
    int64_t gained = refill(full, elapsed, rule->period_ms);
    return gained > full - b->stored_micro ? full : b->stored_micro + gained;
}

static int load(struct ma_db *db, struct owner of, const struct ma_counter_rule *rule, int64_t now, struct bucket *ret)
{
    *ret = (struct bucket){-1, -1, 0};
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = of.shared ? ma_store_stmt_bytes(db, &ma_q_SHARED_COUNTER_GET, of.id, &st)
                      : ma_store_stmt_id(db, &ma_q_COUNTER_GET, of.id, ma_span_str(rule->name), &st);
    if (r != MA_OK)
        return r;
    r = ma_stmt_step(st);
    if (r == MA_OK) {
        ret->stored_micro = ma_col_int(st, 0);
        ret->stored_at = ma_col_int(st, 1);
    }
    ret->micro = level_at(ret, rule, now);
    return ma_store_end(r);
}

static int save(struct ma_db *db, struct owner of, const struct ma_counter_rule *rule, int64_t now,
                const struct bucket *b)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = of.shared ? ma_store_stmt_bytes(db, &ma_q_SHARED_COUNTER_PUT, of.id, &st)
                      : ma_store_stmt_id(db, &ma_q_COUNTER_PUT, of.id, ma_span_str(rule->name), &st);
    if (r != MA_OK)
        return r;
    if (of.shared)
        ma_bind_int(st, 2, now + rule->period_ms);
    ma_bind_int(st, 3, b->micro);
    ma_bind_int(st, 4, now);
    ma_bind_int(st, 5, b->stored_micro);
    ma_bind_int(st, 6, b->stored_at);
    return ma_store_change(db, st, MA_E_CONFLICT);
}

static void describe(const struct bucket *b, const struct ma_counter_rule *rule, bool allowed,
                     struct ma_counter_state *ret)
{
    int64_t full = rule->limit * MICRO;
    int64_t missing = MICRO - b->micro;
    *ret = (struct ma_counter_state){.allowed = allowed, .remaining = b->micro / MICRO};
    if (!allowed && missing > 0) /* rounded up: waiting that long must be enough */
        ret->retry_after_ms = (missing * rule->period_ms + full - 1) / full;
}

static int look(struct ma_db *db, struct owner of, const struct ma_counter_rule *rule, int64_t now,
                struct ma_counter_state *ret)
{
    *ret = (struct ma_counter_state){.allowed = true, .remaining = MA_COUNTER_LIMIT_MAX};
    if (rule->limit == 0)
        return MA_OK;
    if (!rule_ok(rule) || now < 0)
        return MA_E_INVAL;
    struct bucket b;
    int r = load(db, of, rule, now, &b);
    if (r == MA_OK)
        describe(&b, rule, b.micro >= MICRO, ret);
    return r;
}

static int take(struct ma_db *db, struct owner of, const struct ma_counter_rule *rule, int64_t now,
                struct ma_counter_state *ret)
{
    *ret = (struct ma_counter_state){.allowed = true, .remaining = MA_COUNTER_LIMIT_MAX};
    if (rule->limit == 0)
        return MA_OK;
    if (!rule_ok(rule) || now < 0)
        return MA_E_INVAL;
    struct bucket b;
    int r = load(db, of, rule, now, &b);
    if (r != MA_OK)
        return r;
    bool allowed = b.micro >= MICRO;
    if (allowed)
        b.micro -= MICRO;
    /* A refusal is written only after the clock went back: else an empty bucket would wait for the
     * clock to reach its old time again. */
    if (allowed || now < b.stored_at)
        r = save(db, of, rule, now, &b);
    if (r == MA_OK)
        describe(&b, rule, allowed, ret);
    return r;
}

int ma_counter_get(struct ma_db *db, struct ma_span user_id, const struct ma_counter_rule *rule, int64_t now,
                   struct ma_counter_state *ret)
{
    return look(db, (struct owner){user_id, false}, rule, now, ret);
}

int ma_counter_take(struct ma_db *db, struct ma_span user_id, const struct ma_counter_rule *rule, int64_t now,
                    struct ma_counter_state *ret)
{
    return take(db, (struct owner){user_id, false}, rule, now, ret);
}

int ma_shared_counter_get(struct ma_db *db, struct ma_span key_mac, const struct ma_counter_rule *rule, int64_t now,
                          struct ma_counter_state *ret)
{
    return look(db, (struct owner){key_mac, true}, rule, now, ret);
}

int ma_shared_counter_take(struct ma_db *db, struct ma_span key_mac, const struct ma_counter_rule *rule, int64_t now,
                           struct ma_counter_state *ret)
{
    return take(db, (struct owner){key_mac, true}, rule, now, ret);
}

int ma_shared_counters_expire(struct ma_db *db, int64_t before, int limit)
{
    return ma_store_sweep(db, &ma_q_SHARED_COUNTER_EXPIRE, before, limit);
}
