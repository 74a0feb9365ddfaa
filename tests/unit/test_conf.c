/* SPDX-License-Identifier: Apache-2.0
 * The configuration: defaults, every key, every refusal with its line, the derived texts.
 */
#include "ma/conf.h"
#include "ma/crypto.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char why[512];

static struct ma_conf *parse_ok(const char *text)
{
    struct ma_conf *c = NULL;
    int rc = ma_conf_parse("t.conf", ma_span_str(text), &c, why);
    ck_assert_msg(rc == MA_OK && c, "%s: %s (%s)", text, ma_err_name(rc), why);
    ck_assert_str_eq(why, "");
    return c;
}

static void assert_list(const struct ma_conf_strlist *l, const char *joined)
{
    char text[512] = "";
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i ? " " : "", l->v[i]);
    ck_assert_str_eq(text, joined);
}

/* --- defaults --- */

static void assert_default_top(const struct ma_conf *c)
{
    ck_assert_str_eq(c->base_url, "https://login.example.com");
    assert_list(&c->custom_domains, "");
    ck_assert_str_eq(c->listen, "127.0.0.1:8080");
    ck_assert_str_eq(c->database, "/var/lib/myaccountd/myaccount.db");
    ck_assert_str_eq(c->key_directory, "/var/lib/myaccountd/keys");
    ck_assert_str_eq(c->admin_socket, "/run/myaccountd/admin.sock");
    ck_assert_int_eq(c->http_threads, 0);
    assert_list(&c->trusted_proxies, "");
    ck_assert(c->token_service);
    ck_assert_str_eq(c->metrics_listen, "");
    ck_assert_uint_eq(c->n_issuers, 0);
    ck_assert_str_eq(c->delivery.email, "smtp://localhost:25");
    ck_assert_str_eq(c->delivery.email_password, "");
    ck_assert_str_eq(c->delivery.email_from, "no-reply@example.com");
    ck_assert_str_eq(c->delivery.sms, "spool:/var/lib/myaccountd/spool");
    ck_assert_str_eq(c->delivery.voice, "spool:/var/lib/myaccountd/spool");
    ck_assert_str_eq(c->delivery.push, "spool:/var/lib/myaccountd/spool");
    ck_assert_str_eq(c->delivery.sms_account, "");
    ck_assert_str_eq(c->delivery.sms_password, "");
    ck_assert_str_eq(c->delivery.sms_from, "");
    ck_assert_str_eq(c->delivery.templates, "");
    ck_assert(!c->webauthn.require_uv && !c->webauthn.attestation_verified);
    assert_list(&c->webauthn.origins, "");
    ck_assert(!c->network.allow_private && !c->network.allow_http_loopback);
    assert_list(&c->cors.headers, "");
    ck_assert_str_eq(c->log_level, "info");
    ck_assert_str_eq(c->log_format, "auto");
}

static void assert_default_numbers(const struct ma_conf *c)
{
    ck_assert(c->rate_limit.enabled);
    ck_assert_int_eq(c->rate_limit.user_reads, 120);
    ck_assert_int_eq(c->rate_limit.user_writes, 30);
    ck_assert_int_eq(c->rate_limit.tenant_reads_per_second, 0);
    ck_assert_int_eq(c->rate_limit.tenant_writes_per_second, 0);
    ck_assert_int_eq(c->rate_limit.otp_failures_per_hour, 10);
    ck_assert_int_eq(c->rate_limit.sms_per_hour, 10);
    ck_assert_int_eq(c->rate_limit.email_per_hour, 20);
    ck_assert_int_eq(c->rate_limit.push_per_minute, 5);
    ck_assert_int_eq(c->rate_limit.push_rejections_per_hour, 3);
    ck_assert_int_eq(c->rate_limit.login_failures_per_minute, 20);
    ck_assert_int_eq(c->rate_limit.address_failures, 60);
    ck_assert_int_eq(c->limits.connections, 4096);
    ck_assert_int_eq(c->limits.connections_per_address, 256);
    ck_assert_int_eq(c->limits.header_timeout, 10);
    ck_assert_int_eq(c->limits.body_timeout, 30);
    ck_assert_int_eq(c->limits.keep_alive, 60);
    ck_assert_int_eq(c->limits.body_bytes, 65536);
    ck_assert_int_eq(c->limits.write_batch, 256);
    ck_assert_int_eq(c->limits.queue, 1024);
    ck_assert_int_eq(c->limits.drain_timeout, 10);
    ck_assert_int_eq(c->enrollment.otp_ttl, 300);
    ck_assert_int_eq(c->enrollment.totp_ttl, 300);
    ck_assert_int_eq(c->enrollment.push_ttl, 300);
    ck_assert_int_eq(c->enrollment.push_wait, 20);
    ck_assert_int_eq(c->enrollment.recovery_ttl, 300);
    ck_assert_int_eq(c->enrollment.password_ttl, 600);
    ck_assert_int_eq(c->enrollment.passkey_ttl, 300);
    ck_assert_int_eq(c->enrollment.connect_ttl, 300);
    ck_assert_int_eq(c->enrollment.connect_code_ttl, 60);
    ck_assert(c->enrollment.list_unconfirmed && c->enrollment.protect_last_primary);
    ck_assert(c->enrollment.auto_email_factor && !c->enrollment.recovery_requires_factor);
    ck_assert_int_eq(c->policy.step_up_window, 900);
    ck_assert(c->policy.enforce_at_api && c->policy.passkey_satisfies_2fa);
    ck_assert_str_eq(c->policy.push_number_matching, "supported");
}

START_TEST(defaults_of_an_empty_file)
{
    static const char *const empty[] = {"", "\n", "#\n", "# c\n\n// d\n/* e\n */", "limits { }\nlimits {}\n"};
    for (size_t i = 0; i < MA_COUNT(empty); i++) {
        struct ma_conf *c = parse_ok(empty[i]);
        ck_assert_str_eq(c->path, "t.conf");
        assert_default_top(c);
        assert_default_numbers(c);
        ma_conf_free(c);
    }
}
END_TEST

/* --- everything set --- */

START_TEST(a_full_file)
{
    struct ma_conf *c = parse_ok(
        "base_url = \"https://ID.Example.com:443/\"  # comment with \"quotes\" and ${VAR}\n"
        "custom_domains = {\"https://a.example\", 'https://b.example:8443'}\n"
        "listen = unix:/run/x.sock database = /tmp/d.db key_directory = keys\n"
        "admin_socket = \"/tmp/with \\\"quote\\\\.sock\" http_threads = 3\n"
        "trusted_proxies = {\"10.0.0.0/8\", \"fd00::/8\"}\r\n"
        "token_service = no metrics_listen = \"[::1]:9100\" log_level = debug log_format = text\n"
        "issuer \"https://idp.example.com/\" { jwks_uri = \"file:/etc/jwks.json\" audience = \"api\"\n"
        "  algorithms = {\"EdDSA\"} provision = false }\n"
        "/* issuer \"https://no.example/\" {} */ issuer \"http://127.0.0.1:9/\" {}\n"
        "delivery { email = \"smtps://bob@mail.example:465\" email_password = \"file:/etc/p\"\n"
        "  sms = \"https://gw.example/2010-04-01/Accounts/AC1/Messages.json\" voice = \"spool:v\" push = \"\"\n"
        "  email_from = \"a@b.example\" sms_account = AC1 sms_password = \"cred:sms\" sms_from = \"+15550100\"\n"
        "  templates = \"/etc/t\" }\n"
        "rate_limit { enabled = off user_reads = 1000000000 user_writes = 0 address_failures = 7 }\n"
        "limits { write_batch = 1 queue = 5 drain_timeout = 0 }\n"
        "webauthn { require_uv = yes attestation = \"verified\"\n origins = {\"http://localhost:3000\"} }\n"
        "webauthn { origins += {\"android:apk-key-hash:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"} }\n"
        "cors { allow_headers = {\"X-A\", \"auth0-client\"} } network { allow_http_loopback = true }\n");
    ck_assert_str_eq(c->base_url, "https://id.example.com");
    assert_list(&c->custom_domains, "https://a.example https://b.example:8443");
    ck_assert_str_eq(c->listen, "unix:/run/x.sock");
    ck_assert_str_eq(c->database, "/tmp/d.db");
    ck_assert_str_eq(c->key_directory, "keys");
    ck_assert_str_eq(c->admin_socket, "/tmp/with \"quote\\.sock");
    ck_assert_int_eq(c->http_threads, 3);
    assert_list(&c->trusted_proxies, "10.0.0.0/8 fd00::/8");
    ck_assert(!c->token_service);
    ck_assert_str_eq(c->metrics_listen, "[::1]:9100");
    ck_assert_str_eq(c->log_level, "debug");
    ck_assert_str_eq(c->log_format, "text");
    ck_assert_uint_eq(c->n_issuers, 2);
    ck_assert_str_eq(c->issuers[0].url, "https://idp.example.com/");
    ck_assert_str_eq(c->issuers[0].jwks_uri, "file:/etc/jwks.json");
    ck_assert_str_eq(c->issuers[0].audience, "api");
    ck_assert_uint_eq(c->issuers[0].algorithms, 1u << MA_JWS_EDDSA);
    ck_assert(!c->issuers[0].provision);
    ck_assert_str_eq(c->issuers[1].url, "http://127.0.0.1:9/");
    ck_assert_str_eq(c->issuers[1].jwks_uri, "");
    ck_assert_uint_eq(c->issuers[1].algorithms,
                      1u << MA_JWS_RS256 | 1u << MA_JWS_PS256 | 1u << MA_JWS_ES256 | 1u << MA_JWS_EDDSA);
    ck_assert(c->issuers[1].provision);
    ck_assert_str_eq(c->delivery.email, "smtps://bob@mail.example:465");
    ck_assert_str_eq(c->delivery.email_password, "file:/etc/p");
    ck_assert_str_eq(c->delivery.sms, "https://gw.example/2010-04-01/Accounts/AC1/Messages.json");
    ck_assert_str_eq(c->delivery.voice, "spool:v");
    ck_assert_str_eq(c->delivery.push, "");
    ck_assert_str_eq(c->delivery.sms_account, "AC1");
    ck_assert_str_eq(c->delivery.sms_password, "cred:sms");
    ck_assert_str_eq(c->delivery.sms_from, "+15550100");
    ck_assert_str_eq(c->delivery.templates, "/etc/t");
    ck_assert(!c->rate_limit.enabled);
    ck_assert_int_eq(c->rate_limit.user_reads, 1000000000);
    ck_assert_int_eq(c->rate_limit.user_writes, 0);
    ck_assert_int_eq(c->rate_limit.address_failures, 7);
    ck_assert_int_eq(c->limits.write_batch, 1);
    ck_assert_int_eq(c->limits.queue, 5);
    ck_assert_int_eq(c->limits.drain_timeout, 0);
    ck_assert(c->webauthn.require_uv && c->webauthn.attestation_verified);
    assert_list(&c->webauthn.origins,
                "http://localhost:3000 android:apk-key-hash:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_list(&c->cors.headers, "X-A auth0-client");
    ck_assert(c->network.allow_http_loopback && !c->network.allow_private);
    ma_conf_free(c);
}
END_TEST

/* --- single values that are fine --- */

static const char *const good[] = {
    "base_url = \"http://localhost:8080\"",
    "base_url = \"http://127.0.0.1\"",
    "base_url = \"http://[::1]:8080/\"",
    "base_url = \"https://[2001:db8::1]\"",
    "base_url = \"https://192.0.2.1:8443\"",
    "listen = \"localhost:0\"",
    "listen = \"0.0.0.0:65535\"",
    "listen = \"[::]:80\"",
    "trusted_proxies = {}",
    "trusted_proxies = {\"127.0.0.1/32\",}",
    "issuer \"https://a.example/x\" { jwks_uri = \"http://localhost:1/j?k=v\" }",
    "issuer \"https://a.example\" { jwks_uri = \"http://127.9.9.9/j\" }",
    "issuer \"http://[::1]:1/\" { jwks_uri = \"http://[::1]/j\" }",
    "issuer \"https://a.example/\" {} issuer \"https://a.example\" {}",
    "token_service = false issuer \"https://login.example.com/\" {}",
    "issuer \"https://a.example/\" { algorithms = "
    "{\"RS256\",\"RS384\",\"RS512\",\"PS256\",\"PS384\",\"PS512\",\"ES256\",\"ES384\",\"ES512\",\"EdDSA\"} }",
    "delivery { email = \"spool:relative/dir\" }",
    "delivery { email = \"smtp://mail.example\" }",
    "delivery { email = \"smtp://[::1]:25\" }",
    "delivery { email = \"smtp://user@example.com@mail.example:587\" email_password = \"cred:a.b-c_d\" }",
    "delivery { sms = \"http://127.0.0.1:9/x\" push = \"https://p.example\" voice = \"\" email = \"\" }",
    "rate_limit { user_reads = \"5\" }",
    "listen = \"127.0.0.1:0\" metrics_listen = \"127.0.0.1:0\"",
    "delivery { email_from = \"x.y+z@mail.example\" }",
    "delivery { fcm_credentials = \"file:/etc/fcm.json\" fcm_url = \"http://127.0.0.1:1/\" push = \"\" }",
    "delivery { apns_key = \"cred:apns\" apns_key_id = \"ABC123DEFG\" apns_team_id = \"DEF123GHIJ\"\n"
    "apns_topic = \"com.example.guardian\" apns_sandbox = true apns_alert = \"Anmeldung prüfen\" }",
    "delivery { push = \"https://p.example/\" push_token = \"file:/etc/p\" ca_file = \"/etc/ca.pem\" }",
    "log_level = 'warn' # the end without a line feed",
};

START_TEST(good_values)
{
    ma_conf_free(parse_ok(good[_i]));
}
END_TEST

/* --- refusals --- */

static const struct {
    const char *text, *want; /* what `why` begins with, the file's name left out */
} bad[] = {
    /* what the parser sees */
    {"\n\nnope = 1", ":3: no such option 'nope'"},
    {"# a\n/* b\n\n*/\nnope = 1", ":5: no such option 'nope'"},
    {"limits {\n  nope = 1\n}", ":2: no such option 'nope'"},
    {"nope {\n}", ":1: no such option 'nope'"},
    {"\"delivery|email\" = \"spool:/x\"", ":1: no such option 'email'"},
    {"\nlimits {\nqueue = 3\n", ":2: the brace that opens here is never closed"},
    {"limits {\n}\ncustom_domains = {\"https://a.example\",\n", ":3: the brace that opens here is never closed"},
    {"\nlisten", ":2: premature end of file"},
    {"listen = ", ":1: premature end of file"},
    {"listen =\n= 1", ":2: "},
    {"}", ":1: unexpected closing brace"},
    {"listen \"x\"", ":1: missing equal sign after option 'listen'"},
    {"limits \"x\" {}", ":1: missing opening brace for section 'limits'"},
    {"issuer {}", ":1: missing title for section 'issuer'"},
    {"listen += \"x\"", ":1: attempt to append to non-list option 'listen'"},
    {"custom_domains = {\"https://a.example\" \"https://b.example\"}", ":1: unexpected token"},
    /* what the scanner sees */
    {"a = 1\n\nb = \"x", ":3: the string has no closing quote"},
    {"listen = \"a\nb\"", ":1: the string has no closing quote"},
    {"listen = 'a", ":1: the string has no closing quote"},
    {"\n/* x", ":2: the comment that begins here has no end"},
    {"\ndatabase = \"${HOME}/x\"", ":2: \"${\" is not supported"},
    {"database = ${HOME}", ":1: \"${\" is not supported"},
    {"database = '${HOME}'", ":1: \"${\" is not supported"},
    {"database = \"\\${HOME}\"", ":1: only \\\\ and \\\" are escapes"},
    {"database = \"a\\n\"", ":1: only \\\\ and \\\" are escapes"},
    {"database = \"a\\x00b\"", ":1: only \\\\ and \\\" are escapes"},
    {"database = \"a\\", ":1: only \\\\ and \\\" are escapes"},
    {"database = 'a\\\"'", ":1: only \\\\ and \\' are escapes"},
    {"base_url = https://x", ":1: put a value with // "},
    {"base_url = $x", ":1: unexpected character"},
    {"http_threads = 3 * 5", ":1: unexpected character"},
    {"http_threads = +5", ":1: unexpected character"},
    {"include(\"x\")", ":1: unexpected character"},
    {"listen = \"a\tb\"\n\x01", ":2: control character 0x01"},
    {"listen = 1\r\n\rx", ":2: control character 0x0d"},
    {"# \xff", ": not UTF-8 text"},
    /* twice */
    {"listen = \"a:1\"\nlisten = \"b:1\"", ":2: listen is set twice"},
    {"limits { queue = 1\n queue = 1 }", ":2: limits.queue is set twice"},
    {"limits { queue = 1 }\nlimits {\nqueue = 1 }", ":3: limits.queue is set twice"},
    {"custom_domains = {\"https://a.example\"}\ncustom_domains = {\"https://b.example\"}",
     ":2: custom_domains is set twice"},
    {"issuer \"https://a.example/\" { provision = true\nprovision = true }", ":2: issuer.provision is set twice"},
    {"issuer \"https://a.example/\" {}\nissuer \"https://a.example/\" {}", ":2: found duplicate title"},
    /* types and ranges */
    {"http_threads = x", ":1: http_threads must be an integer from 0 to 256"},
    {"http_threads = 257", ":1: http_threads must be an integer from 0 to 256"},
    {"http_threads = -1", ":1: http_threads must be an integer from 0 to 256"},
    {"http_threads = \"\"", ":1: http_threads must be an integer"},
    {"http_threads = \" 1\"", ":1: http_threads must be an integer"},
    {"http_threads = 1.5", ":1: http_threads must be an integer"},
    {"http_threads = 0x10", ":1: http_threads must be an integer"},
    {"http_threads = {1}", ":1: unexpected token '{'"},
    {"\nrate_limit { user_reads = 1000000001 }", ":2: rate_limit.user_reads must be an integer from 0 to 1000000000"},
    {"rate_limit { user_reads = 99999999999999999999 }", ":1: rate_limit.user_reads must be an integer"},
    {"limits { write_batch = 0 }", ":1: limits.write_batch must be an integer from 1"},
    {"token_service = maybe", ":1: token_service must be true or false"},
    {"token_service = 1", ":1: token_service must be true or false"},
    {"profile { name = writable }", ":1: profile.name must be read_write or read_only"},
    {"webauthn { attestation = direct }", ":1: webauthn.attestation must be none or verified"},
    {"log_format = JSON", ":1: log_format must be auto, json or text"},
    {"log_level = Info", ":1: log_level must be error, warn, info or debug"},
    /* push */
    {"delivery { fcm_credentials = \"/etc/fcm.json\" }", ":1: delivery.fcm_credentials must be a secret reference"},
    {"delivery { fcm_url = \"\" }", ":1: delivery.fcm_url must be https://"},
    {"delivery { fcm_url = \"http://fcm.example\" }", ":1: delivery.fcm_url must be https://"},
    {"delivery { fcm_url = \"https://fcm.example/?x\" }", ":1: delivery.fcm_url must be https://"},
    {"delivery { apns_url = \"http://10.0.0.1\" }", ":1: delivery.apns_url must be https://"},
    {"delivery {\napns_key = \"cred:k\" }", ":2: delivery.apns_key needs delivery.apns_key_id"},
    {"delivery {\napns_key = \"cred:k\" apns_key_id = \"ABC123DEFG\" apns_topic = \"a.b\" }",
     ":2: delivery.apns_key needs delivery.apns_team_id"},
    {"delivery {\napns_key = \"cred:k\" apns_key_id = \"ABC123DEFG\" apns_team_id = \"ABC123DEFG\" }",
     ":2: delivery.apns_key needs delivery.apns_topic"},
    {"delivery { apns_key_id = \"ABC123DEFG\" }", ":1: delivery.apns_key_id needs delivery.apns_key"},
    {"delivery { apns_key_id = \"ABC123DEF\" }", ":1: delivery.apns_key_id must be ten characters"},
    {"delivery { apns_team_id = \"abc123defg\" }", ":1: delivery.apns_team_id must be ten characters"},
    {"delivery { apns_topic = \"a b\" }", ":1: delivery.apns_topic must be a bundle id"},
    {"delivery { apns_alert = \"\" }", ":1: delivery.apns_alert must be UTF-8 of 1 to 500 bytes"},
    {"delivery { apns_sandbox = true apns_url = \"https://a.example\" }",
     ":1: delivery.apns_sandbox says nothing where delivery.apns_url is set"},
    {"delivery { push_token = \"cred:t\" }", ":1: delivery.push_token needs a gateway in delivery.push"},
    {"delivery { ca_file = \"ca.pem\" }", ":1: delivery.ca_file must be /path, file:/path or cred:name"},
    /* origins */
    {"base_url = \"\"", ":1: base_url must be an origin"},
    {"base_url = \"login.example.com\"", ":1: base_url must be an origin"},
    {"base_url = \"http://login.example.com\"", ":1: base_url must be an origin"},
    {"base_url = \"http://127.0.0.2\"", ":1: base_url must be an origin"},
    {"base_url = \"http://localhost.example\"", ":1: base_url must be an origin"},
    {"base_url = \"https://\"", ":1: base_url must be an origin"},
    {"base_url = \"https://a.example/path\"", ":1: base_url must be an origin"},
    {"base_url = \"https://a.example//\"", ":1: base_url must be an origin"},
    {"base_url = \"https://a.example?x\"", ":1: base_url must be an origin"},
    {"base_url = \"https://a.example:\"", ":1: base_url must be an origin"},
    {"base_url = \"https://a.example:0\"", ":1: base_url must be an origin"},
    {"base_url = \"https://a.example:65536\"", ":1: base_url must be an origin"},
    {"base_url = \"https://a.example:080\"", ":1: base_url must be an origin"},
    {"base_url = \"https://u@a.example\"", ":1: base_url must be an origin"},
    {"base_url = \"https://-a.example\"", ":1: base_url must be an origin"},
    {"base_url = \"https://a..example\"", ":1: base_url must be an origin"},
    {"base_url = \"https://a b\"", ":1: base_url must be an origin"},
    {"base_url = \"https://1.2.3.400\"", ":1: base_url must be an origin"},
    {"base_url = \"https://[::1\"", ":1: base_url must be an origin"},
    {"base_url = \"https://[127.0.0.1]\"", ":1: base_url must be an origin"},
    {"base_url = \"https://[::g]\"", ":1: base_url must be an origin"},
    {"\ncustom_domains = {\"https://a.example\", \"b.example\"}", ":2: custom_domains must be an origin"},
    {"\ncustom_domains = {\"https://a.example\", \"https://A.example/\"}", ":2: custom_domains holds an origin twice"},
    {"custom_domains = {\"https://login.example.com\"}", ":1: custom_domains must not repeat base_url"},
    {"webauthn { origins = {\"http://a.example\"} }", ":1: webauthn.origins must be an origin"},
    {"webauthn { origins = {\"android:apk-key-hash:x y\"} }", ":1: webauthn.origins must be an origin, or android"},
    /* addresses */
    {"listen = \"127.0.0.1\"", ":1: listen must be host:port"},
    {"listen = \"\"", ":1: listen must be host:port"},
    {"listen = \":80\"", ":1: listen must be host:port"},
    {"listen = \"::1:80\"", ":1: listen must be host:port"},
    {"listen = \"a:65536\"", ":1: listen must be host:port"},
    {"listen = \"unix:\"", ":1: listen must name a socket"},
    {"listen = "
     "\"unix:/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaa\"",
     ":1: listen must name a socket"},
    {"metrics_listen = 9100", ":1: metrics_listen must be host:port"},
    {"metrics_listen = \"127.0.0.1:8080\"", ":1: metrics_listen must not be the same as listen"},
    {"admin_socket = \"/s\" listen = \"unix:/s\"", ":1: admin_socket must not be the same as listen"},
    {"database = \"\"", ":1: database must not be empty"},
    {"trusted_proxies = {\"10.0.0.0/8\", \"10.0.0.0/33\"}", ":1: trusted_proxies must hold addresses or networks"},
    {"trusted_proxies = {\"proxy.example\"}", ":1: trusted_proxies must hold addresses or networks"},
    /* issuers */
    {"issuer \"\" {}", ":1: issuer must be an https:// URL"},
    {"\n\nissuer \"http://idp.example/\" {\n}\n", ":3: issuer must be an https:// URL"},
    {"issuer \"https://a.example/\" {\n}\nissuer \"https://a.example/?x\" {\n}", ":3: issuer must be an https:// URL"},
    {"issuer \"https://a.example/#x\" {}", ":1: issuer must be an https:// URL"},
    {"issuer \"https://u@a.example/\" {}", ":1: issuer must be an https:// URL"},
    {"\nissuer \"https://login.example.com/\" {\n}", ":2: issuer is this daemon's own"},
    {"custom_domains = {\"https://c.example\"} issuer \"https://c.example/\" {}", ":1: issuer is this daemon's own"},
    {"issuer \"https://a.example/\" {\n jwks_uri = \"http://a.example/j\" }", ":2: issuer.jwks_uri must be https://"},
    {"issuer \"https://a.example/\" { jwks_uri = \"file:rel\" }", ":1: issuer.jwks_uri must be https://"},
    {"issuer \"https://a.example/\" { jwks_uri = \"ftp://a/j\" }", ":1: issuer.jwks_uri must be https://"},
    {"issuer \"https://a.example/\" { jwks_uri = \"http://127.0.0.1.example/\" }", ":1: issuer.jwks_uri must be"},
    {"issuer \"https://a.example/\" {\n algorithms = {\"HS256\"} }", ":2: issuer.algorithms must be of RS256"},
    {"issuer \"https://a.example/\" { algorithms = {\"none\"} }", ":1: issuer.algorithms must be of RS256"},
    {"issuer \"https://a.example/\" { algorithms = {\"rs256\"} }", ":1: issuer.algorithms must be of RS256"},
    {"\nissuer \"https://a.example/\" { algorithms = {} }", ":2: issuer.algorithms must name one at least"},
    /* delivery */
    {"delivery { email = \"http://mail.example\" }", ":1: delivery.email must be smtp://"},
    {"delivery { email = \"smtp://\" }", ":1: delivery.email must be smtp://"},
    {"delivery { email = \"smtp://@h\" }", ":1: delivery.email must be smtp://"},
    {"delivery { email = \"smtp://h/path\" }", ":1: delivery.email must be smtp://"},
    {"delivery { email = \"spool:\" }", ":1: delivery.email must be smtp://"},
    {"delivery { email = \"smtp://bob:hunter2@h\" }", ":1: delivery.email must not hold a password"},
    {"delivery {\n email_password = \"hunter2\" }", ":2: delivery.email_password must be a secret reference"},
    {"delivery { email_password = \"file:rel\" }", ":1: delivery.email_password must be a secret reference"},
    {"delivery { email_password = \"cred:../x\" }", ":1: delivery.email_password must be a secret reference"},
    {"delivery { email_password = \"cred:\" }", ":1: delivery.email_password must be a secret reference"},
    {"delivery { email_password = \"file:/x\" }", ":1: delivery.email_password needs a user"},
    {"delivery {\n\n sms_password = \"file:/x\" }", ":3: delivery.sms_password needs delivery.sms_account"},
    {"delivery { sms = \"http://gw.example\" }", ":1: delivery.sms must be https://"},
    {"delivery { voice = \"smtp://x\" }", ":1: delivery.voice must be https://"},
    {"policy { push_number_matching = \"always\" }",
     ":1: policy.push_number_matching must be off, supported or required"},
    {"enrollment { push_wait = 51 }", ":1: enrollment.push_wait must be an integer from 0 to 50"},
    {"delivery { push = \"https://\" }", ":1: delivery.push must be https://"},
    {"delivery { sms = \"https://gw.example/a b\" }", ":1: delivery.sms must be https://"},
    {"delivery { email_from = \"nobody\" }", ":1: delivery.email_from must be an e-mail address"},
    {"delivery { email_from = \"A <a@b>\" }", ":1: delivery.email_from must be an e-mail address"},
    {"cors { allow_headers = {\"a b\"} }", ":1: cors.allow_headers must hold names"},
    {"cors { allow_headers = {\"\"} }", ":1: cors.allow_headers must hold names"},
};

START_TEST(bad_values)
{
    struct ma_conf *c = NULL;
    char want[256];
    (void)snprintf(want, sizeof want, "t.conf%s", bad[_i].want);
    int rc = ma_conf_parse("t.conf", ma_span_str(bad[_i].text), &c, why);
    ck_assert_msg(rc == MA_E_PARSE || rc == MA_E_INVAL, "%s: %s", bad[_i].text, ma_err_name(rc));
    ck_assert_ptr_null(c);
    ck_assert_msg(strncmp(why, want, strlen(want)) == 0, "%s:\n got %s\nwant %s", bad[_i].text, why, want);
    ck_assert_ptr_null(strstr(why, "hunter2"));
}
END_TEST

/* Each configuration after a failed one starts from a clean parser. */
START_TEST(nothing_leaks_between_loads)
{
    for (size_t i = 0; i < MA_COUNT(bad); i++) {
        struct ma_conf *c = NULL;
        ck_assert_int_ne(ma_conf_parse("t.conf", ma_span_str(bad[i].text), &c, why), MA_OK);
        c = parse_ok("\nhttp_threads = 7");
        ck_assert_int_eq(c->http_threads, 7);
        ma_conf_free(c);
    }
}
END_TEST

/* --- sizes --- */

/* n times `piece`, its % replaced by a number, between head and tail; owned. */
static char *repeat(const char *head, const char *piece, size_t n, const char *tail)
{
    size_t before = strcspn(piece, "%");
    size_t len = strlen(head) + n * (strlen(piece) + 8) + strlen(tail) + 1;
    char *text = malloc(len);
    ck_assert_ptr_nonnull(text);
    size_t at = (size_t)snprintf(text, len, "%s", head);
    for (size_t i = 0; i < n; i++)
        at += (size_t)(piece[before]
                           ? snprintf(text + at, len - at, "%.*s%zu%s", (int)before, piece, i, piece + before + 1)
                           : snprintf(text + at, len - at, "%s", piece));
    (void)snprintf(text + at, len - at, "%s", tail);
    return text;
}

START_TEST(limits_of_size)
{
    static const struct {
        const char *name, *head, *piece;
        size_t n;
        const char *tail, *want; /* NULL: fine */
    } rows[] = {
        {"value", "database = \"", "x", 1023, "\"", NULL},
        {"value over", "database = \"", "x", 1024, "\"", "t.conf:1: a value may have 1023 bytes at most"},
        {"word over", "database = ", "x", 1024, "", "t.conf:1: a value may have 1023 bytes at most"},
        {"list", "custom_domains = {", "\"https://d%.example\",", 256, "}", NULL},
        {"list over", "custom_domains = {", "\"https://d%.example\",", 257, "}",
         "t.conf:1: custom_domains has too many values"},
        {"issuers", "", "issuer \"https://i%.example/\" { provision = false }\n", 64, "", NULL},
        {"issuers over", "", "issuer \"https://i%.example/\" { provision = false }\n", 65, "",
         "t.conf: more than 64 issuers"},
        {"file over", "", "# 0123456789012345678901234567890123456789\n", 27000, "",
         "t.conf: larger than 1048576 bytes"},
    };
    char *text = repeat(rows[_i].head, rows[_i].piece, rows[_i].n, rows[_i].tail);
    struct ma_conf *c = NULL;
    int rc = ma_conf_parse("t.conf", ma_span_str(text), &c, why);
    ck_assert_msg((rc == MA_OK) == !rows[_i].want, "%s: %s", rows[_i].name, why);
    ck_assert_str_eq(why, rows[_i].want ? rows[_i].want : "");
    ma_conf_free(c);
    free(text);
}
END_TEST

START_TEST(embedded_nul)
{
    struct ma_conf *c = NULL;
    ck_assert_int_ne(ma_conf_parse("t.conf", MA_LIT("listen = \"a:1\"\n\0x = 1"), &c, why), MA_OK);
    ck_assert_str_eq(why, "t.conf:2: control character 0x00");
}
END_TEST

/* A long file name must not hide that something is wrong, nor overrun. */
START_TEST(long_file_name)
{
    char name[1024];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    struct ma_conf *c = NULL;
    ck_assert_int_ne(ma_conf_parse(name, MA_LIT("x = 1"), &c, why), MA_OK);
    ck_assert_uint_eq(strlen(why), 511);
}
END_TEST

/* --- files and derived texts --- */

START_TEST(files)
{
    struct ma_conf *c = NULL;
    ck_assert_int_eq(ma_conf_load("/nonexistent/x.conf", &c, why), MA_E_IO);
    ck_assert_str_eq(why, "/nonexistent/x.conf: cannot be read: No such file or directory");
    ck_assert_int_eq(ma_conf_load("/", &c, why), MA_E_IO);

    char path[] = "/tmp/test_conf_XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "\nlisten = \"x:1\"\n", 16), 16);
    close(fd);
    ck_assert_int_eq(ma_conf_load(path, &c, why), MA_OK);
    ck_assert_str_eq(c->path, path);
    ck_assert_str_eq(c->listen, "x:1");
    ma_conf_free_p(&c);
    ck_assert_ptr_null(c);
    unlink(path);
}
END_TEST

START_TEST(example_is_the_defaults)
{
    char *text = ma_conf_example();
    ck_assert_ptr_nonnull(text);
    struct ma_conf *c = parse_ok(text);
    assert_default_top(c);
    assert_default_numbers(c);
    ma_conf_free(c);
    free(text);
}
END_TEST

/* The file in the repository is this text; run from the top directory. */
START_TEST(example_file_is_current)
{
    char *text = ma_conf_example();
    size_t n = strlen(text);
    char *file = malloc(n + 2);
    FILE *f = fopen("conf/myaccountd.conf", "re");
    ck_assert_ptr_nonnull(f);
    size_t got = fread(file, 1, n + 1, f);
    fclose(f);
    file[got] = '\0';
    ck_assert_str_eq(file, text);
    free(file);
    free(text);
}
END_TEST

/* The issuer block of the example, comment signs removed, is a valid issuer with the defaults. */
START_TEST(example_issuer)
{
    char *text = ma_conf_example();
    char *p = strstr(text, "# issuer ");
    ck_assert_ptr_nonnull(p);
    char *end = strstr(p, "# }\n");
    ck_assert_ptr_nonnull(end);
    end[4] = '\0';
    for (char *line = p; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (*line == '#')
            *line = ' ';
    struct ma_conf *c = parse_ok(p);
    ck_assert_uint_eq(c->n_issuers, 1);
    ck_assert_str_eq(c->issuers[0].url, "https://idp.example.com/");
    ck_assert(c->issuers[0].provision);
    ma_conf_free(c);
    free(text);
}
END_TEST

/* Every key of the example has a row in the reference, under its section. */
START_TEST(reference_has_every_key)
{
    char *reference = ma_conf_reference();
    char *example = ma_conf_example();
    ck_assert_ptr_nonnull(reference);
    size_t keys = 0;
    char *rest = example;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        char *name = line + strspn(line, "# ");
        char *sign = strstr(name, " = ");
        if (!sign || sign != name + strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789"))
            continue;
        char row[96];
        (void)snprintf(row, sizeof row, "\n| `%.*s` | `", (int)(sign - name), name);
        ck_assert_msg(strstr(reference, row) != NULL, "no row for %s", name);
        keys++;
    }
    ck_assert_uint_eq(keys, 125);
    ck_assert_ptr_nonnull(strstr(reference, "**`issuer \"URL\" { }`**"));
    ck_assert_ptr_nonnull(strstr(reference, "**`rate_limit { }`**"));
    free(example);
    free(reference);
}
END_TEST

static const struct {
    const char *text, *names;
} restarts[] = {
    {"", ""},
    {"listen = \"127.0.0.1:8080\"", ""},
    {"listen = \"127.0.0.1:8081\"", "listen"},
    {"log_level = debug log_format = json rate_limit { user_reads = 5 } issuer \"https://a.example/\" {}", ""},
    {"http_threads = 2 database = x limits { queue = 3 header_timeout = 3 }", "database, http_threads, limits.queue"},
    {"custom_domains = {\"https://a.example\"} token_service = false", "custom_domains, token_service"},
    {"base_url = \"https://b.example\" custom_domains = {\"https://a.example\"} listen = \"b:1\" database = b "
     "key_directory = b admin_socket = b http_threads = 9 token_service = no metrics_listen = \"b:2\" limits { "
     "connections = 9 connections_per_address = 9 keep_alive = 9 write_batch = 9 queue = 9 }",
     "base_url, custom_domains, listen, database, key_directory, admin_socket, http_threads, token_service, "
     "metrics_listen, limits.connections, limits.connections_per_address, limits.keep_alive, limits.write_batch, "
     "limits.queue"},
};

START_TEST(needs_restart)
{
    char out[256];
    struct ma_conf *old = parse_ok("");
    struct ma_conf *now = parse_ok(restarts[_i].text);
    ma_conf_needs_restart(old, now, out);
    ck_assert_str_eq(out, restarts[_i].names);
    ma_conf_needs_restart(now, old, out);
    ck_assert_str_eq(out, restarts[_i].names);
    ma_conf_free(old);
    ma_conf_free(now);
}
END_TEST

/* Kept values belong to the new snapshot, which outlives the old one. */
START_TEST(keeps_what_needs_a_restart)
{
    char out[256];
    struct ma_conf *old = parse_ok("");
    struct ma_conf *now = parse_ok(restarts[_i].text);
    ck_assert_int_eq(ma_conf_keep(now, old), MA_OK);
    ma_conf_needs_restart(old, now, out);
    ck_assert_str_eq(out, "");
    ma_conf_free(old);
    ck_assert_str_eq(now->base_url, "https://login.example.com");
    ck_assert_str_eq(now->database, "/var/lib/myaccountd/myaccount.db");
    ck_assert_uint_eq(now->custom_domains.n, 0);
    ck_assert_int_eq(now->http_threads, 0);
    ma_conf_free(now);
}
END_TEST

START_TEST(keeps_lists_and_takes_the_rest)
{
    struct ma_conf *old = parse_ok("custom_domains = {\"https://a.example\", \"https://b.example\"} log_level = debug");
    struct ma_conf *now = parse_ok("log_level = warn policy { step_up_window = 7 }");
    ck_assert_int_eq(ma_conf_keep(now, old), MA_OK);
    ma_conf_free(old);
    ck_assert_uint_eq(now->custom_domains.n, 2);
    ck_assert_str_eq(now->custom_domains.v[1], "https://b.example");
    ck_assert_str_eq(now->log_level, "warn");
    ck_assert_int_eq(now->policy.step_up_window, 7);
    ma_conf_free(now);
}
END_TEST

START_TEST(restart_compares_list_items)
{
    char out[256];
    struct ma_conf *old = parse_ok("custom_domains = {\"https://a.example\"}");
    struct ma_conf *now = parse_ok("custom_domains = {\"https://b.example\"}");
    ma_conf_needs_restart(old, now, out);
    ck_assert_str_eq(out, "custom_domains");
    ma_conf_needs_restart(old, old, out);
    ck_assert_str_eq(out, "");
    ma_conf_free(old);
    ma_conf_free(now);
    ma_conf_free(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("conf");
    TCase *t = tcase_create("conf");
    suite_add_tcase(s, t);
    tcase_add_test(t, defaults_of_an_empty_file);
    tcase_add_test(t, a_full_file);
    tcase_add_loop_test(t, good_values, 0, (int)MA_COUNT(good));
    tcase_add_loop_test(t, bad_values, 0, (int)MA_COUNT(bad));
    tcase_add_test(t, nothing_leaks_between_loads);
    tcase_add_loop_test(t, limits_of_size, 0, 8);
    tcase_add_test(t, embedded_nul);
    tcase_add_test(t, long_file_name);
    tcase_add_test(t, files);
    tcase_add_test(t, example_is_the_defaults);
    tcase_add_test(t, example_file_is_current);
    tcase_add_test(t, example_issuer);
    tcase_add_test(t, reference_has_every_key);
    tcase_add_loop_test(t, needs_restart, 0, (int)MA_COUNT(restarts));
    tcase_add_loop_test(t, keeps_what_needs_a_restart, 0, (int)MA_COUNT(restarts));
    tcase_add_test(t, keeps_lists_and_takes_the_rest);
    tcase_add_test(t, restart_compares_list_items);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
