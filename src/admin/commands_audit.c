/* SPDX-License-Identifier: Apache-2.0
 * Commands on the audit trail: listing and export in pages, verifying, erasing a user.
 */
#include "ma/admin.h"

#include <errno.h>
#include <stdlib.h>

#include "ma/audit.h"
#include "ma/codec.h"
#include "int.h"

#define EXPORT_PAGE_BYTES (4u * 1024 * 1024) /* of one page's output */
#define EXPORT_PAGE_ROWS 20000               /* looked at for one page */
#define SHOWN_ID_MAX 21

/* --- listing and export --- */

struct export_job {
    struct ma_cmd *c;
    int64_t since, until; /* until 0: no end */
    int64_t after;
    bool vendor;
    const char *tenant;
};

static int time_option(struct ma_cmd *c, uint32_t opt, struct ma_span text, const char *name, int64_t *ret)
{
    if (!(c->args->given & opt) || ma_iso_parse(text, ret) == MA_OK)
        return MA_EXIT_OK;
    (void)ma_cmd_fail(c, "%s: --%s must be a date like 2026-01-31 or 2026-01-31T10:00:00Z",
                      (const char *)c->args->command.p, name);
    return MA_EXIT_USAGE;
}

/* A row's id, also with the leading zeros of a log_id. */
static bool parse_id(struct ma_span text, int64_t *ret)
{
    char digits[SHOWN_ID_MAX + 1];
    char *end = NULL;
    if (text.n == 0 || text.n > SHOWN_ID_MAX || text.p[0] < '0' || text.p[0] > '9')
        return false;
    memcpy(digits, text.p, text.n);
    digits[text.n] = '\0';
    errno = 0;
    *ret = strtoll(digits, &end, 10);
    return errno == 0 && *end == '\0';
}

static int from_option(struct ma_cmd *c, int64_t *ret_after)
{
    int64_t from = 1;
    if ((c->args->given & MA_OPT_FROM) && !parse_id(c->args->from, &from)) {
        (void)ma_cmd_fail(c, "%s: --from must be the id of a row", (const char *)c->args->command.p);
        return MA_EXIT_USAGE;
    }
    *ret_after = from - 1;
    return MA_EXIT_OK;
}

static void put_row(struct export_job *job, const struct ma_audit_row *row)
{
    struct ma_jw w;
    ma_jw_init(&w, job->c->out);
    if (job->vendor)
        ma_audit_vendor_json(&w, row, job->tenant);
    else
        ma_audit_native_json(&w, row);
    ma_buf_byte(job->c->out, '\n');
}

/* Whether the page is full; nobody asks for another one where `next` is NULL. */
static bool is_full(const struct ma_cmd *c, size_t seen)
{
    return c->env->next && (c->out->n >= EXPORT_PAGE_BYTES || seen >= EXPORT_PAGE_ROWS);
}

static int export_fn(struct ma_db *db, void *arg)
{
    struct export_job *job = arg;
    struct ma_cmd *c = job->c;
    struct ma_arena *rows MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, MA_ADMIN_ARENA_MAX);
    struct ma_audit_row *page = ma_arena_calloc(c->a, MA_ADMIN_PAGE, sizeof *page);
    size_t n = MA_ADMIN_PAGE, seen = 0;
    if (!rows || !page)
        return MA_E_NOMEM;
    while (n == MA_ADMIN_PAGE && ma_buf_err(c->out) == MA_OK && !is_full(c, seen)) {
        ma_arena_reset(rows);
        int rc = ma_audit_list(db, rows, c->args->user, job->since, job->after, page, MA_ADMIN_PAGE, &n);
        if (rc != MA_OK)
            return rc;
        for (size_t i = 0; i < n; i++) {
            if (job->until == 0 || page[i].at < job->until)
                put_row(job, &page[i]);
        }
        job->after = n > 0 ? page[n - 1].id : job->after;
        seen += n;
    }
    if (c->env->next)
        *c->env->next = n == MA_ADMIN_PAGE ? job->after + 1 : 0;
    return MA_OK;
}

/* "login.example.com" of "https://login.example.com". */
static const char *host_of(const char *origin)
{
    const char *sep = strstr(origin, "://");
    return sep ? sep + 3 : origin;
}

static int run_export(struct ma_cmd *c, bool vendor)
{
    struct export_job job = {.c = c, .vendor = vendor, .tenant = host_of(c->env->conf->base_url)};
    int code = time_option(c, MA_OPT_SINCE, c->args->since, "since", &job.since);
    if (code == MA_EXIT_OK)
        code = time_option(c, MA_OPT_UNTIL, c->args->until, "until", &job.until);
    if (code == MA_EXIT_OK)
        code = from_option(c, &job.after);
    if (code != MA_EXIT_OK)
        return code;
    int rc = c->env->read(c->env->arg, export_fn, &job);
    if (rc == MA_OK)
        return MA_EXIT_OK;
    ma_buf_clear(c->out);
    return ma_cmd_fail_rc(c, (const char *)c->args->command.p, rc);
}

int ma_cmd_audit(struct ma_cmd *c)
{
    return run_export(c, false);
}

int ma_cmd_audit_export(struct ma_cmd *c)
{
    bool native = ma_span_eq_str(c->args->format, "native");
    if ((c->args->given & MA_OPT_FORMAT) && !native && !ma_span_eq_str(c->args->format, "vendor")) {
        (void)ma_cmd_fail(c, "audit export: --format must be vendor or native");
        return MA_EXIT_USAGE;
    }
    return run_export(c, !native);
}

/* --- verifying --- */

struct verify_job {
    struct ma_cmd *c;
    const struct ma_audit_mark *noted;
    struct ma_audit_report report;
};

static int verify_fn(struct ma_db *db, void *arg)
{
    struct verify_job *job = arg;
    return ma_audit_verify(db, job->c->env->vault, job->noted, &job->report);
}

/* "ID:HASH", as a report prints it. */
static bool parse_head(struct ma_span text, struct ma_audit_mark *ret)
{
    const uint8_t *colon = text.n > 0 ? memchr(text.p, ':', text.n) : NULL;
    size_t n = 0;
    if (!colon || !parse_id(ma_span_of(text.p, (size_t)(colon - text.p)), &ret->id))
        return false;
    struct ma_span hex = ma_span_of(colon + 1, text.n - (size_t)(colon - text.p) - 1);
    return ma_hex_decode(hex, ret->hash, sizeof ret->hash, &n) == MA_OK && n == sizeof ret->hash;
}

static void put_report(struct ma_cmd *c, const struct ma_audit_report *r)
{
    char head[2 * MA_AUDIT_HASH_LEN + 1], chain[2 * MA_AUDIT_CHAIN_ID_LEN + 1];
    ma_hex_encode(ma_span_of(r->head.hash, sizeof r->head.hash), head);
    ma_hex_encode(ma_span_of(r->chain_id, sizeof r->chain_id), chain);
    ma_buf_printf(c->out, "rows verified: %lld, of which erased: %lld\n", (long long)r->rows, (long long)r->erased);
    if (r->removed_to > 0)
        ma_buf_printf(c->out, "removed by retention: up to row %lld\n", (long long)r->removed_to);
    if (r->adopted_to > r->removed_to)
        ma_buf_printf(c->out, "older than the chain: up to row %lld\n", (long long)r->adopted_to);
    ma_buf_printf(c->out, "chain: %s\nhead: %lld:%s\n", chain, (long long)r->head.id, head);
}

int ma_cmd_audit_verify(struct ma_cmd *c)
{
    struct ma_audit_mark noted;
    struct verify_job job = {.c = c};
    if (c->args->given & MA_OPT_HEAD) {
        if (!parse_head(c->args->head, &noted)) {
            (void)ma_cmd_fail(c, "audit verify: --head must be ID:HASH as an earlier run printed it");
            return MA_EXIT_USAGE;
        }
        job.noted = &noted;
    }
    int rc = c->env->read(c->env->arg, verify_fn, &job);
    if (rc != MA_OK)
        return ma_cmd_fail_rc(c, "audit verify", rc);
    put_report(c, &job.report);
    char text[MA_AUDIT_TEXT_MAX];
    ma_audit_report_text(&job.report, text);
    if (!job.report.ok)
        return ma_cmd_fail(c, "audit verify: %s", text);
    ma_buf_str(c->out, "ok\n");
    return MA_EXIT_OK;
}

/* --- beginning anew --- */

struct discard_job {
    struct ma_cmd *c;
    const char *finding;
    int64_t rows;
    size_t latest;
};

static int discard_batch(struct ma_db *db, void *arg)
{
    struct discard_job *job = arg;
    return ma_audit_discard(db, &job->latest);
}

/* Rows that joined since the last batch; and the first row of what follows says what was here. */
static int discard_last(struct ma_db *db, void *arg)
{
    struct discard_job *job = arg;
    int r = MA_OK;
    size_t n = 0;
    job->latest = 0;
    do {
        r = ma_audit_discard(db, &n);
        job->latest += n;
    } while (r == MA_OK && n == MA_AUDIT_BATCH);
    if (r != MA_OK)
        return r;
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, job->c->a, 512, 4096);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "actor", "operator");
    ma_jw_kint(&w, "removed_rows", job->rows + (int64_t)job->latest);
    ma_jw_kcstr(&w, "finding", job->finding);
    ma_jw_obj_end(&w);
    struct ma_audit_row row = {
        .at = ma_cmd_now(job->c), .type = MA_LIT("sapi"), .operation = MA_LIT("discard"), .detail = ma_buf_view(&b)};
    return ma_buf_err(&b) == MA_OK ? ma_audit_insert(db, &row) : ma_buf_err(&b);
}

static int discard_all(struct discard_job *job)
{
    const struct ma_admin_env *env = job->c->env;
    int r = MA_OK;
    do {
        job->latest = 0;
        r = env->write(env->arg, discard_batch, job);
        if (r == MA_OK)
            job->rows += (int64_t)job->latest;
    } while (r == MA_OK && job->latest == MA_AUDIT_BATCH);
    if (r == MA_OK)
        r = env->write(env->arg, discard_last, job);
    if (r == MA_OK)
        job->rows += (int64_t)job->latest;
    return r;
}

/* Only where something is wrong: what verifies is for retention to remove. */
int ma_cmd_audit_discard(struct ma_cmd *c)
{
    struct verify_job check = {.c = c};
    char text[MA_AUDIT_TEXT_MAX];
    struct discard_job job = {.c = c, .finding = text};
    int rc = c->env->read(c->env->arg, verify_fn, &check);
    if (rc == MA_OK && check.report.ok)
        return ma_cmd_fail(c, "audit discard: the trail verifies and stays");
    ma_audit_report_text(&check.report, text);
    if (rc == MA_OK)
        rc = discard_all(&job);
    if (rc != MA_OK)
        return ma_cmd_fail_rc(c, "audit discard", rc);
    ma_buf_printf(c->out, "%lld rows removed (%s); the trail begins anew\n", (long long)job.rows, text);
    return MA_EXIT_OK;
}

/* --- erasing --- */

static int erase_batch(struct ma_db *db, void *arg)
{
    struct ma_erase *e = arg;
    return ma_audit_pseudonymise(db, e->user_id, ma_span_str(e->pseudonym), &e->latest);
}

/* The row that tells of it names the user by the pseudonym, too. */
static int tell(struct ma_db *db, const struct ma_erase *e, int64_t rows)
{
    const char *detail = ma_arena_printf(e->c->a, "{\"actor\":\"operator\",\"uid\":%lld,\"erased_rows\":%lld}",
                                         (long long)e->c->env->peer_uid, (long long)rows);
    struct ma_audit_row row = {.at = ma_cmd_now(e->c),
                               .type = ma_span_str(e->type),
                               .operation = ma_span_str(e->operation),
                               .user_id = ma_span_str(e->pseudonym),
                               .detail = ma_span_str(detail)};
    return detail ? ma_audit_insert(db, &row) : MA_E_NOMEM;
}

/* Rows that joined since the last batch, and whatever else belongs to it. */
static int erase_last(struct ma_db *db, void *arg)
{
    struct ma_erase *e = arg;
    size_t more = 0;
    e->latest = 0;
    int r = MA_OK;
    do {
        r = ma_audit_pseudonymise(db, e->user_id, ma_span_str(e->pseudonym), &more);
        e->latest += more;
    } while (r == MA_OK && more == MA_AUDIT_BATCH);
    if (r == MA_OK && e->last)
        r = e->last(db, e);
    return r == MA_OK ? tell(db, e, e->rows + (int64_t)e->latest) : r;
}

int ma_cmd_erase(struct ma_erase *e)
{
    const struct ma_admin_env *env = e->c->env;
    int r = ma_audit_pseudonym(env->rand, e->pseudonym);
    do {
        e->latest = 0;
        if (r == MA_OK)
            r = env->write(env->arg, erase_batch, e);
        if (r == MA_OK)
            e->rows += (int64_t)e->latest;
    } while (r == MA_OK && e->latest == MA_AUDIT_BATCH);
    if (r == MA_OK)
        r = env->write(env->arg, erase_last, e);
    if (r == MA_OK)
        e->rows += (int64_t)e->latest;
    return r;
}

static int user_is_there(struct ma_db *db, void *arg)
{
    struct ma_cmd *c = arg;
    struct ma_user u;
    return ma_user_get(db, c->a, c->args->positional[0], &u);
}

/* For users whose row went before the trail could be erased; of others the trail is evidence. */
int ma_cmd_audit_erase(struct ma_cmd *c)
{
    struct ma_erase e = {.c = c, .user_id = c->args->positional[0], .type = "sapi", .operation = "erase"};
    int rc = c->env->read(c->env->arg, user_is_there, c);
    if (rc == MA_OK)
        return ma_cmd_fail(c, "audit erase: the user is there: user delete erases both");
    if (rc == MA_E_NOTFOUND)
        rc = ma_cmd_erase(&e);
    if (rc != MA_OK)
        return ma_cmd_fail_rc(c, "audit erase", rc);
    ma_buf_printf(c->out, "%lld row%s of the audit trail name %s now\n", (long long)e.rows, e.rows == 1 ? "" : "s",
                  e.pseudonym);
    return MA_EXIT_OK;
}
