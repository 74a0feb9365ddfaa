/* SPDX-License-Identifier: Apache-2.0
 * The configuration file as an immutable snapshot. One table (src/conf/conf.def) drives the
 * libconfuse options, --check, the README reference and the example file. Unknown keys, bad
 * types and values out of range are errors with file and line.
 */
#ifndef MA_CONF_H
#define MA_CONF_H

#include "ma/base.h"

struct ma_conf_issuer {
    const char *url;      /* exact iss value */
    const char *jwks_uri; /* "" : from <url>.well-known/openid-configuration */
    const char *audience; /* "" : origin + "/me/" */
    uint32_t algorithms;  /* bit per enum ma_jws_alg */
    bool provision;
};

struct ma_conf_strlist {
    const char *const *v;
    size_t n;
};

/* Changes that a user is told of. */
enum ma_event {
    MA_EVENT_FACTOR_ADDED,
    MA_EVENT_FACTOR_REMOVED,
    MA_EVENT_FACTOR_CHANGED,
    MA_EVENT_RECOVERY_CODE_REPLACED,
    MA_EVENT_RECOVERY_CODE_USED,
    MA_EVENT_PASSWORD_CHANGED,
    MA_EVENT_ACCOUNT_ADDED,
    MA_EVENT_ACCOUNT_REMOVED,
    MA_EVENT_ADDRESS_CHANGED,
    MA_EVENT_DATA_EXPORTED,
    MA_EVENT__COUNT
};

struct ma_conf {
    const char *path;                      /* of the file */
    const char *base_url;                  /* public origin without trailing slash */
    struct ma_conf_strlist custom_domains; /* further public origins, "https://host[:port]" */
    const char *listen;
    const char *database;
    const char *key_directory;
    const char *admin_socket;
    int http_threads;                       /* 0: online CPUs */
    struct ma_conf_strlist trusted_proxies; /* CIDRs */
    bool token_service;
    const char *metrics_listen; /* "": off */

    const struct ma_conf_issuer *issuers;
    size_t n_issuers;

    struct {
        const char *email;          /* smtp://…, smtps://…, spool:/dir */
        const char *email_password; /* secret reference for the SMTP user in the URL; "" none */
        const char *email_from;
        const char *sms, *voice, *push;
        const char *sms_account;     /* Twilio-compatible account id (HTTP Basic user); "" none */
        const char *sms_password;    /* secret reference for it; "" none */
        const char *sms_from;        /* sender number or service id; "" none */
        const char *push_token;      /* secret reference of the bearer token for a push gateway; "" none */
        const char *fcm_credentials; /* secret reference of a service account's JSON; "" no FCM */
        const char *fcm_url;
        const char *apns_key;                                /* secret reference of a token signing key; "" no APNs */
        const char *apns_key_id, *apns_team_id, *apns_topic; /* set where apns_key is */
        bool apns_sandbox;
        const char *apns_url;   /* "" Apple's, by apns_sandbox */
        const char *apns_alert; /* text of the notification */
        const char *ca_file; /* authorities trusted beside the system's: "/path", "file:/path", "cred:name"; "" none */
        const char *templates; /* directory of replacement message texts; "" built in */
    } delivery;

    struct {
        bool on[MA_EVENT__COUNT];
        int64_t undo_ttl, reset_ttl; /* seconds */
        int64_t changes_per_hour;    /* of one account */
    } notifications;

    struct {
        int64_t retention_days;     /* 0: rows are kept for ever */
        const char *webhook;        /* "" none */
        const char *webhook_secret; /* secret reference; "" none */
        int64_t webhook_batch;      /* rows of one call */
    } audit;

    struct {
        bool enabled;
        int64_t user_reads, user_writes; /* per minute */
        int64_t tenant_reads_per_second, tenant_writes_per_second;
        int64_t otp_failures_per_hour, sms_per_hour, email_per_hour, push_per_minute, login_failures_per_minute;
        int64_t push_rejections_per_hour;
        int64_t address_failures;                              /* failed authentications of one address per minute */
        int64_t user_login_failures, method_failures_per_hour; /* both per hour */
        int64_t messages_per_address, signups_per_address;     /* per hour */
        int64_t exports_per_day;
    } rate_limit;

    struct {
        int64_t connections, connections_per_address;
        int64_t header_timeout, body_timeout, keep_alive; /* seconds */
        int64_t body_bytes;
        int64_t write_batch;   /* requests per group commit at most; 1 commits each on its own */
        int64_t queue;         /* entries of each lane's queue */
        int64_t drain_timeout; /* seconds SIGTERM waits for requests in flight */
    } limits;

    struct {
        int64_t otp_ttl, totp_ttl, push_ttl, push_wait, recovery_ttl, password_ttl, passkey_ttl, connect_ttl,
            connect_code_ttl; /* s */
        bool list_unconfirmed, protect_last_primary, auto_email_factor, recovery_requires_factor;
    } enrollment;

    struct {
        const char *certificate; /* where the chain is: "/path", "file:/path", "cred:name"; "": plain HTTP */
        const char *key;         /* secret reference */
        const char *min_version; /* "1.2", "1.3" */
        int64_t hsts_max_age;    /* seconds; 0: no Strict-Transport-Security */
    } tls;

    struct {
        bool require_uv;
        struct ma_conf_strlist origins;
        bool attestation_verified;  /* attestation = "verified" */
        const char *authenticators; /* file of provider names; "": the built-in list */
    } webauthn;

    struct {
        int64_t step_up_window; /* seconds */
        bool enforce_at_api, passkey_satisfies_2fa;
        const char *push_number_matching; /* "off", "supported", "required" */
    } policy;

    struct {
        int64_t grace_period; /* seconds */
        bool delete_step_up;
        int64_t export_ttl; /* seconds */
    } account;

    struct { /* whether users may change it themselves */
        bool name, given_name, family_name, nickname, picture, user_metadata;
    } profile;

    struct {
        const char *breached_file; /* "": none */
        bool breached_at_login;
    } password_policy;

    struct {
        bool allow_private, allow_http_loopback;
    } network;

    struct {
        const char *database; /* "": none */
    } geo;

    struct {
        struct ma_conf_strlist headers; /* cors.allow_headers: extra request headers preflights allow */
    } cors;

    const char *log_level;    /* "error", "warn", "info", "debug" */
    const char *seccomp;      /* "auto", "require", "off" */
    const char *ui_directory; /* "" none */
    struct {
        const char *client_id, *issuer; /* issuer "": our own */
    } account_page;
    const char *log_format; /* "auto", "json", "text" */
    const char *log_file;   /* "": standard error */
};

/* Parses and validates (cross-field checks included). On failure prints nothing; `why` receives
 * "FILE:LINE: what is wrong" (the line is absent where none is known); values are never part of it.
 * A key that is set twice is an error, and so are "${VAR}" (values never come from the environment) and escapes
 * other than \\ and \" in a string. Relative paths are relative to the working directory. MA_E_IO, MA_E_PARSE,
 * MA_E_INVAL, MA_E_NOMEM. Owned (ma_conf_free). Only one thread at a time may load. */
MA_MUST_USE int ma_conf_load(const char *path, struct ma_conf **ret, char why[512]);
/* The same for text that is already in memory; `name` stands for the file in messages and as path. */
MA_MUST_USE int ma_conf_parse(const char *name, struct ma_span text, struct ma_conf **ret, char why[512]);
void ma_conf_free(struct ma_conf *c);
void ma_conf_free_p(struct ma_conf **c);
/* The reference table in Markdown (for README) or the commented example file, into malloc'ed text
 * (owned, free). */
char *ma_conf_reference(void);
char *ma_conf_example(void);
/* Gives `fresh` the values of `running` for every key that needs a restart: parts of them are in use for good.
 * MA_E_NOMEM leaves a mixture. */
MA_MUST_USE int ma_conf_keep(struct ma_conf *fresh, const struct ma_conf *running);
/* Names of keys whose value differs between two snapshots but need a restart to change, comma-separated in out;
 * names that no longer fit are left out. */
void ma_conf_needs_restart(const struct ma_conf *old, const struct ma_conf *now, char out[256]);

#endif
