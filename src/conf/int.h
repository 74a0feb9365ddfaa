/* SPDX-License-Identifier: Apache-2.0
 * Private to the configuration module: the key table, the scanner before the parser, the value
 * forms and the checks across keys.
 */
#ifndef MA_CONF_INT_H
#define MA_CONF_INT_H

#include "ma/conf.h"
#include "ma/arena.h"

#define MA_CONF_WHY 512
#define MA_CONF_FILE_MAX 1048576      /* bytes of a configuration file */
#define MA_CONF_VALUE_MAX 1024        /* bytes of one value */
#define MA_CONF_LIST_MAX 256          /* values of one list */
#define MA_CONF_ISSUERS_MAX 64        /* external issuers */
#define MA_CONF_RATE_MAX 1000000000   /* largest rate limit */
#define MA_CONF_RETENTION_MAX 36500   /* days */
#define MA_CONF_WEBHOOK_BATCH_MAX 500 /* rows of one call */
#define MA_CONF_ARENA_MAX (4u * 1024u * 1024u)

enum conf_kind {
    CONF_STR,         /* const char * */
    CONF_INT,         /* int64_t */
    CONF_INT32,       /* int */
    CONF_BOOL,        /* bool */
    CONF_LIST,        /* struct ma_conf_strlist */
    CONF_ALGORITHMS,  /* uint32_t, a list of enum ma_jws_alg bits */
    CONF_ATTESTATION, /* bool: "none" or "verified" */
    CONF_ACCESS,      /* bool: "read_only" or "read_write" */
};

enum conf_form {
    FORM_ANY,
    FORM_ORIGIN,
    FORM_WEBAUTHN_ORIGIN,
    FORM_LISTEN,
    FORM_LISTEN_OR_NONE,
    FORM_PATH,
    FORM_CIDR,
    FORM_LOG_LEVEL,
    FORM_LOG_FORMAT,
    FORM_SECCOMP,
    FORM_JWKS,
    FORM_MAIL,
    FORM_GATEWAY,
    FORM_WEBHOOK,
    FORM_ENDPOINT,
    FORM_APPLE_ID,
    FORM_TOPIC,
    FORM_ALERT,
    FORM_SECRET,
    FORM_ADDRESS,
    FORM_HEADER,
    FORM_CERTIFICATE,
    FORM_TLS_VERSION,
    FORM_MATCHING,
    FORM__COUNT
};

enum conf_when { WHEN_RELOAD, WHEN_RESTART };

struct conf_key {
    const char *section; /* "" at the top */
    const char *name;
    size_t offset; /* in struct ma_conf, or in struct ma_conf_issuer for section "issuer" */
    enum conf_kind kind;
    const char *def;
    int64_t min, max;
    enum conf_form form;
    enum conf_when when;
    const char *help;
};
struct conf_section {
    const char *name, *title;
};
extern const struct conf_key ma_conf_keys[];
extern const size_t ma_conf_n_keys;
extern const struct conf_section ma_conf_sections[];
extern const size_t ma_conf_n_sections;

static inline bool ma_conf_is_list(const struct conf_key *k)
{
    return k->kind == CONF_LIST || k->kind == CONF_ALGORITHMS;
}
static inline bool ma_conf_is_number(const struct conf_key *k)
{
    return k->kind == CONF_INT || k->kind == CONF_INT32;
}
const struct conf_key *ma_conf_key(const char *section, const char *name); /* NULL: no such key */

/* The first thing that is wrong, with its place. */
struct conf_fault {
    const char *file;
    char *why; /* MA_CONF_WHY bytes; empty until something is wrong */
};
/* Records "FILE:LINE: text" unless something is recorded already; line 0 leaves the line out. Returns MA_E_INVAL. */
int ma_conf_fault(struct conf_fault *f, int line, const char *fmt, ...) MA_PRINTF(3, 4);

/* Where the blocks of issuers begin, as far as the scanner can tell. */
struct conf_issuer_lines {
    int v[MA_CONF_ISSUERS_MAX];
    size_t n;
};

/* Copies the text to out (in.n bytes) with every comment blanked, lines kept. Refuses what libconfuse would
 * change or lose without a word: "${", escapes other than \\ and \", unterminated strings and comments,
 * control characters, stray characters. MA_OK or MA_E_INVAL. */
MA_MUST_USE int ma_conf_scan(struct ma_span in, char *out, struct conf_issuer_lines *issuers, struct conf_fault *f);

/* Checks one value and brings it to its canonical spelling in place (never longer). NULL, or a static
 * fragment that follows the key's name: "must be …". */
const char *ma_conf_form(enum conf_form form, char *value);
const char *ma_conf_form_issuer(const char *value);
/* As ma_conf_form, but for the whole of the key: kind and range too. */
const char *ma_conf_value(const struct conf_key *k, char *value, char text[MA_CONF_VALUE_MAX]);

/* Where each key was set; the parser writes it, the checks read it. */
struct conf_place {
    const void *id; /* the parser's option */
    const struct conf_key *key;
    int line;
};
struct conf_places {
    struct conf_place *v;
    size_t n, cap;
};
/* The line of the key (outside issuers), or 0. */
int ma_conf_line(const struct conf_places *p, const char *section, const char *name);

/* Rules that join several keys. */
MA_MUST_USE int ma_conf_check(const struct ma_conf *c, const struct conf_places *p,
                              const struct conf_issuer_lines *issuers, struct conf_fault *f);
/* The line where issuers[i] begins, or 0. */
int ma_conf_issuer_line(const struct ma_conf *c, const struct conf_issuer_lines *issuers, size_t i);

#endif
