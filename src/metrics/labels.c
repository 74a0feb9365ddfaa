/* SPDX-License-Identifier: Apache-2.0
 * The definitions: metrics, the values of their labels, and the bounds of histograms.
 */
#include "ma/metrics.h"

#include "int.h"

/* The order of values is that of the enums they are counted by; a test compares the names. */
#define VALUES(label, ...) static const char *const label##_values[] = {__VA_ARGS__};
VALUES(status, "200", "201", "202", "204", "302", "303", "304", "400", "401", "403", "404", "405", "406", "409", "410",
       "413", "414", "415", "422", "429", "500", "503", "other")
VALUES(lane, NULL /* read: inline */, "write", "cpu", "net")
VALUES(cache, "token", "list")
VALUES(lookup, "hit", "miss")
VALUES(algorithm, NULL /* none: is never checked */, "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
       "ES384", "ES512", "EdDSA")
VALUES(signature, "good", "bad_signature", "unknown_key", "wrong_algorithm")
VALUES(bucket, "user_reads", "user_writes", "tenant_reads", "tenant_writes", "address_failures", "login_failures",
       NULL /* notices refuse nobody */, "flows", "token_service_failures", "client_failures", "userinfo",
       "name_failures", "credential_failures", "messages", "signups", "flow_forms", "address_forms", "security_links",
       "qr_codes", "device_requests", "device_failures", "polls", "code_failures", "email", "sms", "password_reuse",
       "push", "push_rejections", "exports")
VALUES(factor, "password", "passkey", "webauthn-platform", "webauthn-roaming", "totp", "phone", "email",
       "push-notification", "recovery-code")
VALUES(outcome, "succeeded", "failed", "limited")
VALUES(push, "sent", "approved", "rejected", "expired")
VALUES(result, "succeeded", "failed")
VALUES(enrolment, "started", "confirmed", "refused")
VALUES(account, "connect", "disconnect")
VALUES(leaving, "asked_for", "taken_back", "erased")
VALUES(grant, "authorization_code", "refresh_token", "token_exchange")
VALUES(channel, "email", "sms", "voice", "push")
VALUES(outbox, "waiting", "dead")
VALUES(delivery, "sent", "retried", "dead")
#undef VALUES

const struct label ma_metric_labels[LABEL__COUNT] = {
    [LABEL_NONE] = {"", NULL, 1, NULL},
    [LABEL_OPERATION] = {"operation", NULL, 0, "of the route table, or none"},
    [LABEL_STATUS] = {"status", status_values, MA_COUNT(status_values), "HTTP status"},
    [LABEL_LANE] = {"lane", lane_values, MA_COUNT(lane_values), NULL},
    [LABEL_CACHE] = {"cache", cache_values, MA_COUNT(cache_values), NULL},
    [LABEL_LOOKUP] = {"result", lookup_values, MA_COUNT(lookup_values), NULL},
    [LABEL_ALGORITHM] = {"algorithm", algorithm_values, MA_COUNT(algorithm_values), NULL},
    [LABEL_SIGNATURE] = {"outcome", signature_values, MA_COUNT(signature_values), NULL},
    [LABEL_BUCKET] = {"bucket", bucket_values, MA_COUNT(bucket_values), NULL},
    [LABEL_FACTOR] = {"kind", factor_values, MA_COUNT(factor_values), NULL},
    [LABEL_OUTCOME] = {"outcome", outcome_values, MA_COUNT(outcome_values), NULL},
    [LABEL_PUSH] = {"outcome", push_values, MA_COUNT(push_values), NULL},
    [LABEL_RESULT] = {"outcome", result_values, MA_COUNT(result_values), NULL},
    [LABEL_ENROLMENT] = {"outcome", enrolment_values, MA_COUNT(enrolment_values), NULL},
    [LABEL_ACCOUNT] = {"operation", account_values, MA_COUNT(account_values), NULL},
    [LABEL_LEAVING] = {"step", leaving_values, MA_COUNT(leaving_values), NULL},
    [LABEL_GRANT] = {"grant", grant_values, MA_COUNT(grant_values), NULL},
    [LABEL_CHANNEL] = {"channel", channel_values, MA_COUNT(channel_values), NULL},
    [LABEL_OUTBOX] = {"state", outbox_values, MA_COUNT(outbox_values), NULL},
    [LABEL_DELIVERY] = {"outcome", delivery_values, MA_COUNT(delivery_values), NULL},
    [LABEL_ISSUER] = {"issuer", NULL, 0, "of the configuration"},
    [LABEL_VERSION] = {"version", NULL, 0, "of the program"},
};

#define US(n) INT64_C(n)
static const int64_t latency[] = {US(50),     US(100),     US(250),     US(500),     US(1000),    US(2500),
                                  US(5000),   US(10000),   US(25000),   US(50000),   US(100000),  US(250000),
                                  US(500000), US(1000000), US(2500000), US(5000000), US(10000000)};
static const char *const latency_text[] = {"0.00005", "0.0001", "0.00025", "0.0005", "0.001", "0.0025",
                                           "0.005",   "0.01",   "0.025",   "0.05",   "0.1",   "0.25",
                                           "0.5",     "1",      "2.5",     "5",      "10"};
static const int64_t batch[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
static const char *const batch_text[] = {"1", "2", "4", "8", "16", "32", "64", "128", "256", "512"};
_Static_assert(MA_COUNT(latency) == MA_COUNT(latency_text), "each bound has its text");
_Static_assert(MA_COUNT(batch) == MA_COUNT(batch_text), "each bound has its text");

const struct bounds ma_metric_bounds[BOUNDS__COUNT] = {
    [BOUNDS_NONE] = {0, NULL, NULL},
    [BOUNDS_LATENCY] = {MA_COUNT(latency), latency, latency_text},
    [BOUNDS_BATCH] = {MA_COUNT(batch), batch, batch_text},
};

const struct metric ma_metric_defs[MA_M__COUNT] = {
#define METRIC(id, kind, name, a, b, bounds, help)                                                                     \
    [MA_M_##id] = {KIND_##kind, name, help, LABEL_##a, LABEL_##b, BOUNDS_##bounds},
#include "ma/metrics.def"
#undef METRIC
};

const char *ma_metrics_label_value(enum ma_metric id, int position, unsigned value)
{
    const struct metric *d = &ma_metric_defs[id];
    const struct label *l = &ma_metric_labels[position ? d->b : d->a];
    return l->values && value < l->n ? l->values[value] : NULL;
}

unsigned ma_metrics_status(int status)
{
    enum { LAST = MA_COUNT(status_values) - 1 };
    if (status < 100 || status > 599)
        return LAST;
    const char want[] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10), (char)('0' + status % 10), '\0'};
    for (unsigned i = 0; i < LAST; i++)
        if (memcmp(status_values[i], want, sizeof want) == 0)
            return i;
    return LAST;
}
