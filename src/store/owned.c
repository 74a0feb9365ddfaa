/* SPDX-License-Identifier: Apache-2.0
 * The tables that hold rows of users.
 */
#include "ma/owned.h"

#include "int.h"

MA_QUERY(OWNED_USER, "SELECT user_id, email, email_verified, name, phone_number, connection, roles, permissions, "
                     "blocked, created_at, updated_at, tokens_after, given_name, family_name, nickname, picture, "
                     "user_metadata, leaving_since, leaves_at FROM users WHERE user_id = $1");
MA_QUERY(OWNED_EXPORT, "SELECT id, status, reason, attempts, size, created_at, ready_at, expires_at FROM exports WHERE "
                       "user_id = $1 ORDER BY id");
MA_QUERY(OWNED_EXPORT_PART, "SELECT id FROM export_parts WHERE user_id = $1 ORDER BY id");
MA_QUERY(OWNED_PASSWORD,
         "SELECT created_at, changed_at, must_reset, used_at, used_ip, used_agent FROM passwords WHERE user_id = $1");
MA_QUERY(OWNED_HISTORY, "SELECT seq, created_at FROM password_history WHERE user_id = $1 ORDER BY seq");
MA_QUERY(
    OWNED_METHOD,
    "SELECT id, type, confirmed, name, address, voice, created_at, last_auth_at, expires_at, used_ip, used_agent FROM "
    "methods WHERE user_id = $1 ORDER BY id");
MA_QUERY(OWNED_ENROLMENT, "SELECT method_id, type, client_id, attempts, created_at, expires_at, consumed_at FROM "
                          "enrolments WHERE user_id = $1 ORDER BY method_id");
MA_QUERY(OWNED_COUNTER, "SELECT name, micro, updated_at FROM counters WHERE user_id = $1 ORDER BY name");
MA_QUERY(OWNED_MESSAGE, "SELECT id, channel, payload, attempts, created_at, next_at, dead, last_error FROM outbox "
                        "WHERE user_id = $1 ORDER BY id");
MA_QUERY(OWNED_HANDLE, "SELECT handle, created_at FROM user_handles WHERE user_id = $1");
MA_QUERY(OWNED_CREDENTIAL,
         "SELECT method_id, credential_id, public_key, alg, sign_count, aaguid, be, bs, uv, attestation, transports, "
         "user_agent, rp_id, user_handle FROM credentials WHERE user_id = $1 ORDER BY method_id");
MA_QUERY(OWNED_CONNECT,
         "SELECT client_id, connection, provider, origin, redirect_uri, jkt, org_id, scopes, stage, started_at, "
         "code_expires_at, created_at, expires_at FROM connects WHERE user_id = $1 ORDER BY created_at");
MA_QUERY(OWNED_ACCOUNT, "SELECT id, connection, provider, subject, client_id, org_id, scopes, claims, "
                        "access_expires_at, refresh_expires_at, needs_reconnect, created_at, updated_at, used_at FROM "
                        "accounts WHERE user_id = $1 ORDER BY id");
MA_QUERY(OWNED_SESSION, "SELECT id, org_id, auth_at, mfa_at, amr, ip, user_agent, created_at, used_at, idle_at, "
                        "expires_at FROM sessions WHERE user_id = $1 ORDER BY created_at, id");
MA_QUERY(OWNED_FLOW,
         "SELECT kind, client_id, attempts, created_at, expires_at, consumed_at FROM flows WHERE user_id = $1");
MA_QUERY(OWNED_CHALLENGE,
         "SELECT method_id, type, attempts, created_at, expires_at, consumed_at FROM challenges WHERE user_id = $1");
MA_QUERY(OWNED_CODE, "SELECT client_id, session_id, redirect_uri, family_id, created_at, expires_at, used_at FROM "
                     "codes WHERE user_id = $1");
MA_QUERY(OWNED_FAMILY,
         "SELECT id, client_id, session_id, audience, scope, org_id, jkt, gty, auth_at, mfa_at, amr, generation, "
         "rotated_at, created_at, used_at, idle_at, expires_at, revoked_at, ip, user_agent FROM families WHERE user_id "
         "= $1");
MA_QUERY(OWNED_CONSENT,
         "SELECT id, client_id, audience, scope, created_at, expires_at FROM consents WHERE user_id = $1 ORDER BY id");
MA_QUERY(OWNED_KNOWN_ADDRESS, "SELECT used_at FROM known_addresses WHERE user_id = $1 ORDER BY used_at");
MA_QUERY(OWNED_REVOCATION, "SELECT token, expires_at FROM revocations WHERE user_id = $1 ORDER BY token");
MA_QUERY(OWNED_NOTICE, "SELECT id, event, subject, info, outcome, created_at, expires_at, used_at FROM notices WHERE "
                       "user_id = $1 ORDER BY event, created_at");
MA_QUERY(OWNED_RESET, "SELECT created_at, expires_at, used_at FROM password_resets WHERE user_id = $1");
MA_QUERY(OWNED_PUSH_DEVICE, "SELECT id, device_id, client_id, origin, held, pair_id, name, identifier, service, "
                            "public_key, matching, created_at, "
                            "enrolled_at, updated_at FROM push_devices WHERE user_id = $1 ORDER BY id");
MA_QUERY(OWNED_PUSH_TRANSACTION, "SELECT method_id, state, reason, created_at, expires_at, answered_at FROM "
                                 "push_transactions WHERE user_id = $1");
MA_QUERY(OBJECT_NEXT, "SELECT kind, key, json FROM objects WHERE kind = $1 AND key > $2 ORDER BY key LIMIT 1");

static const struct ma_owned_column c_users[] = {
    {"user_id", MA_OWNED_TEXT},    {"email", MA_OWNED_TEXT},         {"email_verified", MA_OWNED_BOOL},
    {"name", MA_OWNED_TEXT},       {"phone_number", MA_OWNED_TEXT},  {"connection", MA_OWNED_TEXT},
    {"roles", MA_OWNED_JSON},      {"permissions", MA_OWNED_JSON},   {"blocked", MA_OWNED_BOOL},
    {"created_at", MA_OWNED_TIME}, {"updated_at", MA_OWNED_TIME},    {"tokens_after", MA_OWNED_TIME},
    {"given_name", MA_OWNED_TEXT}, {"family_name", MA_OWNED_TEXT},   {"nickname", MA_OWNED_TEXT},
    {"picture", MA_OWNED_TEXT},    {"user_metadata", MA_OWNED_JSON}, {"leaving_since", MA_OWNED_TIME},
    {"leaves_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_passwords[] = {{"created_at", MA_OWNED_TIME}, {"changed_at", MA_OWNED_TIME},
                                                     {"must_reset", MA_OWNED_BOOL}, {"used_at", MA_OWNED_TIME},
                                                     {"used_ip", MA_OWNED_TEXT},    {"used_agent", MA_OWNED_TEXT}};
static const struct ma_owned_column c_password_history[] = {{"seq", MA_OWNED_INT}, {"created_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_methods[] = {
    {"id", MA_OWNED_TEXT},         {"type", MA_OWNED_TEXT},         {"confirmed", MA_OWNED_BOOL},
    {"name", MA_OWNED_TEXT},       {"address", MA_OWNED_TEXT},      {"voice", MA_OWNED_BOOL},
    {"created_at", MA_OWNED_TIME}, {"last_auth_at", MA_OWNED_TIME}, {"expires_at", MA_OWNED_TIME},
    {"used_ip", MA_OWNED_TEXT},    {"used_agent", MA_OWNED_TEXT}};
static const struct ma_owned_column c_enrolments[] = {{"method_id", MA_OWNED_TEXT},  {"type", MA_OWNED_TEXT},
                                                      {"client_id", MA_OWNED_TEXT},  {"attempts", MA_OWNED_INT},
                                                      {"created_at", MA_OWNED_TIME}, {"expires_at", MA_OWNED_TIME},
                                                      {"consumed_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_counters[] = {
    {"name", MA_OWNED_TEXT}, {"micro", MA_OWNED_INT}, {"updated_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_outbox[] = {{"id", MA_OWNED_TEXT},         {"channel", MA_OWNED_TEXT},
                                                  {"payload", MA_OWNED_LETTER},  {"attempts", MA_OWNED_INT},
                                                  {"created_at", MA_OWNED_TIME}, {"next_at", MA_OWNED_TIME},
                                                  {"dead", MA_OWNED_BOOL},       {"last_error", MA_OWNED_TEXT}};
static const struct ma_owned_column c_user_handles[] = {{"handle", MA_OWNED_BYTES}, {"created_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_credentials[] = {
    {"method_id", MA_OWNED_TEXT},   {"credential_id", MA_OWNED_BYTES},
    {"public_key", MA_OWNED_BYTES}, {"alg", MA_OWNED_INT},
    {"sign_count", MA_OWNED_INT},   {"aaguid", MA_OWNED_BYTES},
    {"be", MA_OWNED_BOOL},          {"bs", MA_OWNED_BOOL},
    {"uv", MA_OWNED_BOOL},          {"attestation", MA_OWNED_TEXT},
    {"transports", MA_OWNED_JSON},  {"user_agent", MA_OWNED_TEXT},
    {"rp_id", MA_OWNED_TEXT},       {"user_handle", MA_OWNED_BYTES}};
static const struct ma_owned_column c_connects[] = {
    {"client_id", MA_OWNED_TEXT},  {"connection", MA_OWNED_TEXT},      {"provider", MA_OWNED_TEXT},
    {"origin", MA_OWNED_TEXT},     {"redirect_uri", MA_OWNED_TEXT},    {"jkt", MA_OWNED_TEXT},
    {"org_id", MA_OWNED_TEXT},     {"scopes", MA_OWNED_TEXT},          {"stage", MA_OWNED_INT},
    {"started_at", MA_OWNED_TIME}, {"code_expires_at", MA_OWNED_TIME}, {"created_at", MA_OWNED_TIME},
    {"expires_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_accounts[] = {{"id", MA_OWNED_TEXT},
                                                    {"connection", MA_OWNED_TEXT},
                                                    {"provider", MA_OWNED_TEXT},
                                                    {"subject", MA_OWNED_TEXT},
                                                    {"client_id", MA_OWNED_TEXT},
                                                    {"org_id", MA_OWNED_TEXT},
                                                    {"scopes", MA_OWNED_TEXT},
                                                    {"claims", MA_OWNED_SEALED},
                                                    {"access_expires_at", MA_OWNED_TIME},
                                                    {"refresh_expires_at", MA_OWNED_TIME},
                                                    {"needs_reconnect", MA_OWNED_BOOL},
                                                    {"created_at", MA_OWNED_TIME},
                                                    {"updated_at", MA_OWNED_TIME},
                                                    {"used_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_sessions[] = {
    {"id", MA_OWNED_TEXT},         {"org_id", MA_OWNED_TEXT},     {"auth_at", MA_OWNED_TIME},
    {"mfa_at", MA_OWNED_TIME},     {"amr", MA_OWNED_INT},         {"ip", MA_OWNED_TEXT},
    {"user_agent", MA_OWNED_TEXT}, {"created_at", MA_OWNED_TIME}, {"used_at", MA_OWNED_TIME},
    {"idle_at", MA_OWNED_TIME},    {"expires_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_flows[] = {{"kind", MA_OWNED_TEXT},       {"client_id", MA_OWNED_TEXT},
                                                 {"attempts", MA_OWNED_INT},    {"created_at", MA_OWNED_TIME},
                                                 {"expires_at", MA_OWNED_TIME}, {"consumed_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_challenges[] = {{"method_id", MA_OWNED_TEXT},  {"type", MA_OWNED_TEXT},
                                                      {"attempts", MA_OWNED_INT},    {"created_at", MA_OWNED_TIME},
                                                      {"expires_at", MA_OWNED_TIME}, {"consumed_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_codes[] = {{"client_id", MA_OWNED_TEXT},    {"session_id", MA_OWNED_TEXT},
                                                 {"redirect_uri", MA_OWNED_TEXT}, {"family_id", MA_OWNED_TEXT},
                                                 {"created_at", MA_OWNED_TIME},   {"expires_at", MA_OWNED_TIME},
                                                 {"used_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_families[] = {
    {"id", MA_OWNED_TEXT},         {"client_id", MA_OWNED_TEXT},  {"session_id", MA_OWNED_TEXT},
    {"audience", MA_OWNED_TEXT},   {"scope", MA_OWNED_TEXT},      {"org_id", MA_OWNED_TEXT},
    {"jkt", MA_OWNED_TEXT},        {"gty", MA_OWNED_TEXT},        {"auth_at", MA_OWNED_TIME},
    {"mfa_at", MA_OWNED_TIME},     {"amr", MA_OWNED_INT},         {"generation", MA_OWNED_INT},
    {"rotated_at", MA_OWNED_TIME}, {"created_at", MA_OWNED_TIME}, {"used_at", MA_OWNED_TIME},
    {"idle_at", MA_OWNED_TIME},    {"expires_at", MA_OWNED_TIME}, {"revoked_at", MA_OWNED_TIME},
    {"ip", MA_OWNED_TEXT},         {"user_agent", MA_OWNED_TEXT}};
static const struct ma_owned_column c_consents[] = {{"id", MA_OWNED_TEXT},         {"client_id", MA_OWNED_TEXT},
                                                    {"audience", MA_OWNED_TEXT},   {"scope", MA_OWNED_TEXT},
                                                    {"created_at", MA_OWNED_TIME}, {"expires_at", MA_OWNED_TIME}};

static const struct ma_owned_column c_known_addresses[] = {{"used_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_revocations[] = {{"token", MA_OWNED_TEXT}, {"expires_at", MA_OWNED_TIME}};

static const struct ma_owned_column c_notices[] = {{"id", MA_OWNED_TEXT},         {"event", MA_OWNED_TEXT},
                                                   {"subject", MA_OWNED_TEXT},    {"info", MA_OWNED_SEALED},
                                                   {"outcome", MA_OWNED_TEXT},    {"created_at", MA_OWNED_TIME},
                                                   {"expires_at", MA_OWNED_TIME}, {"used_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_exports[] = {
    {"id", MA_OWNED_TEXT},  {"status", MA_OWNED_TEXT},     {"reason", MA_OWNED_TEXT},   {"attempts", MA_OWNED_INT},
    {"size", MA_OWNED_INT}, {"created_at", MA_OWNED_TIME}, {"ready_at", MA_OWNED_TIME}, {"expires_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_export_parts[] = {{"id", MA_OWNED_TEXT}};
static const struct ma_owned_column c_password_resets[] = {
    {"created_at", MA_OWNED_TIME}, {"expires_at", MA_OWNED_TIME}, {"used_at", MA_OWNED_TIME}};

static const struct ma_owned_column c_push_devices[] = {
    {"id", MA_OWNED_TEXT},          {"device_id", MA_OWNED_TEXT},  {"client_id", MA_OWNED_TEXT},
    {"origin", MA_OWNED_TEXT},      {"held", MA_OWNED_BOOL},       {"pair_id", MA_OWNED_TEXT},
    {"name", MA_OWNED_TEXT},        {"identifier", MA_OWNED_TEXT}, {"service", MA_OWNED_TEXT},
    {"public_key", MA_OWNED_JSON},  {"matching", MA_OWNED_BOOL},   {"created_at", MA_OWNED_TIME},
    {"enrolled_at", MA_OWNED_TIME}, {"updated_at", MA_OWNED_TIME}};
static const struct ma_owned_column c_push_transactions[] = {
    {"method_id", MA_OWNED_TEXT},  {"state", MA_OWNED_INT},       {"reason", MA_OWNED_TEXT},
    {"created_at", MA_OWNED_TIME}, {"expires_at", MA_OWNED_TIME}, {"answered_at", MA_OWNED_TIME}};

#define TABLE(NAME, table, withheld)                                                                                   \
    {                                                                                                                  \
#table, &ma_q_OWNED_##NAME, c_##table, MA_COUNT(c_##table), withheld                                           \
    }
static const struct ma_owned_table tables[] = {
    TABLE(USER, users, "restore_mac pseudonym"),
    TABLE(PASSWORD, passwords, "user_id hash"),
    TABLE(HISTORY, password_history, "user_id hash"),
    TABLE(METHOD, methods, "user_id secret last_step"),
    TABLE(ENROLMENT, enrolments, "user_id session_mac code_mac data"),
    TABLE(COUNTER, counters, "user_id"),
    TABLE(MESSAGE, outbox, "user_id"),
    TABLE(HANDLE, user_handles, "user_id"),
    TABLE(CREDENTIAL, credentials, "user_id"),
    TABLE(CONNECT, connects,
          "user_id session_mac ticket_mac client_state code_challenge params state_mac cookie_mac code_mac secret "
          "result"),
    TABLE(ACCOUNT, accounts, "user_id access_token refresh_token version"),
    TABLE(SESSION, sessions, "user_id cookie_mac"),
    TABLE(FLOW, flows, "user_id token_mac data version"),
    TABLE(CHALLENGE, challenges, "user_id id_mac flow_mac code_mac data"),
    TABLE(CODE, codes, "user_id code_mac data"),
    TABLE(FAMILY, families, "user_id salt"),
    TABLE(REVOCATION, revocations, "user_id"),
    TABLE(KNOWN_ADDRESS, known_addresses, "user_id address_mac"),
    TABLE(CONSENT, consents, "user_id"),
    TABLE(NOTICE, notices, "user_id token_mac kept"),
    TABLE(RESET, password_resets, "user_id token_mac"),
    TABLE(PUSH_DEVICE, push_devices, "user_id ticket_mac seed push_token token_mac"),
    TABLE(PUSH_TRANSACTION, push_transactions, "user_id token_mac challenge_id answer_mac number_mac"),
    TABLE(EXPORT, exports, "user_id"),
    TABLE(EXPORT_PART, export_parts, "user_id sealed"),
};

const struct ma_owned_table *ma_owned_tables(size_t *ret_n)
{
    *ret_n = MA_COUNT(tables);
    return tables;
}

int ma_owned_each(struct ma_db *db, const struct ma_owned_table *t, struct ma_span user_id,
                  int (*fn)(void *arg, struct ma_stmt *row), void *arg)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, t->list, user_id, &st);
    while (r == MA_OK) {
        r = ma_stmt_step(st);
        if (r == MA_OK)
            r = fn(arg, st);
    }
    return ma_store_end(r);
}

int ma_object_next(struct ma_db *db, struct ma_arena *a, struct ma_span kind, struct ma_span after,
                   struct ma_object *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_id(db, &ma_q_OBJECT_NEXT, kind, ma_store_some(after), &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r == MA_OK)
        *ret = (struct ma_object){ma_store_col(st, 0, a, &r), ma_store_col(st, 1, a, &r), ma_store_col(st, 2, a, &r)};
    return r;
}
