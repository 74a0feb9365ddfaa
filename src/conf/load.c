/* SPDX-License-Identifier: Apache-2.0
 * A configuration file through libconfuse into an immutable snapshot. Every value reaches libconfuse
 * as text and is checked where it is read, so that the message carries its line; the snapshot is then
 * filled from the table, defaults included. The only user of libconfuse.
 */
#include "int.h"
#include "ma/crypto.h"
#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PLACES_MAX 4096 /* assignments in one file */
#define MESSAGE_MAX 384

struct owned {
    struct ma_conf c; /* first: what callers hold */
    struct ma_arena *arena;
};

struct load {
    struct ma_conf *c;
    struct ma_arena *arena;
    struct conf_fault fault;
    struct conf_places places;
    struct conf_issuer_lines issuers;
};

/* libconfuse hands no user data to its callbacks. Set only while a file is parsed. */
static _Thread_local struct load *loading;

static void free_cfg(cfg_t **cfg)
{
    if (*cfg)
        cfg_free(*cfg);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static int no_memory(struct load *l)
{
    (void)ma_conf_fault(&l->fault, 0, "out of memory");
    return MA_E_NOMEM;
}

/* --- callbacks --- */

static void on_error(cfg_t *cfg, const char *fmt, va_list ap) MA_PRINTF(2, 0);
static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    char text[MESSAGE_MAX];
    (void)vsnprintf(text, sizeof text, fmt, ap);
    (void)ma_conf_fault(&loading->fault, cfg ? cfg->line : 0, "%s", text);
}

static const char *section_of(const cfg_t *cfg)
{
    return strcmp(cfg->name, "root") == 0 ? "" : cfg->name;
}

/* Remembers where the option was set. NULL, or what is wrong. */
static const char *note(struct load *l, const cfg_opt_t *opt, const struct conf_key *key, int line)
{
    struct conf_places *p = &l->places;
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i].id == opt)
            return "is set twice";
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 64;
        struct conf_place *v = cap <= PLACES_MAX ? reallocarray(p->v, cap, sizeof *v) : NULL;
        if (!v)
            return "is one assignment too many";
        p->v = v;
        p->cap = cap;
    }
    p->v[p->n++] = (struct conf_place){opt, key, line};
    return NULL;
}

static int refuse(cfg_t *cfg, const struct conf_key *key, const char *text)
{
    (void)ma_conf_fault(&loading->fault, cfg->line, "%s%s%s %s", key->section, *key->section ? "." : "", key->name,
                        text);
    return -1;
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    char copy[MA_CONF_VALUE_MAX];
    char text[MA_CONF_VALUE_MAX];
    const struct conf_key *key = ma_conf_key(section_of(cfg), opt->name);
    /* A quoted name may reach into a section ("delivery|email"); that is nothing the reference knows. */
    if (!key) {
        (void)ma_conf_fault(&loading->fault, cfg->line, "no such option '%s'", opt->name);
        return -1;
    }
    bool first = !ma_conf_is_list(key) || opt->nvalues == 1;
    const char *wrong = first ? note(loading, opt, key, cfg->line) : NULL;
    if (wrong)
        return refuse(cfg, key, wrong);
    if (opt->nvalues > MA_CONF_LIST_MAX)
        return refuse(cfg, key, "has too many values");
    size_t n = strlen(value);
    if (n >= sizeof copy)
        return refuse(cfg, key, "is too long");
    memcpy(copy, value, n + 1);
    wrong = ma_conf_value(key, copy, text);
    if (wrong)
        return refuse(cfg, key, wrong);
    *(const char **)result = value;
    return 0;
}

/* --- options --- */

static cfg_opt_t *put_keys(cfg_opt_t *at, const char *section)
{
    for (size_t i = 0; i < ma_conf_n_keys; i++) {
        const struct conf_key *k = &ma_conf_keys[i];
        if (strcmp(k->section, section) == 0)
            *at++ = (cfg_opt_t)CFG_STR_CB(k->name, NULL, CFGF_NODEFAULT | (ma_conf_is_list(k) ? CFGF_LIST : CFGF_NONE),
                                          on_value);
    }
    return at;
}

/* The options of every section, each list behind the other in one block; owned (free). *ret_root is the top. */
static cfg_opt_t *build_options(cfg_opt_t **ret_root)
{
    cfg_opt_t *block = calloc(ma_conf_n_keys + 3 * ma_conf_n_sections + 1, sizeof *block);
    cfg_opt_t *sections[32];
    if (!block || ma_conf_n_sections > MA_COUNT(sections)) {
        free(block);
        return NULL;
    }
    cfg_opt_t *at = block;
    for (size_t s = 1; s < ma_conf_n_sections; s++) {
        sections[s] = at;
        at = put_keys(at, ma_conf_sections[s].name);
        *at++ = (cfg_opt_t)CFG_END();
    }
    *ret_root = at;
    at = put_keys(at, "");
    for (size_t s = 1; s < ma_conf_n_sections; s++) {
        const char *name = ma_conf_sections[s].name;
        bool titled = strcmp(name, "issuer") == 0;
        *at++ =
            (cfg_opt_t)CFG_SEC(name, sections[s], titled ? CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES : CFGF_NONE);
    }
    *at = (cfg_opt_t)CFG_END();
    return block;
}

static cfg_t *new_cfg(void)
{
    cfg_opt_t *root = NULL;
    MA_CLEANUP(ma_free_p) cfg_opt_t *block = build_options(&root);
    cfg_t *cfg = block ? cfg_init(root, CFGF_NONE) : NULL;
    if (cfg)
        (void)cfg_set_error_function(cfg, on_error);
    return cfg;
}

/* --- filling the snapshot --- */

struct values {
    char **v; /* arena */
    size_t n;
};

static bool values_init(struct load *l, struct values *ret, size_t n)
{
    *ret = (struct values){ma_arena_calloc(l->arena, n + 1, sizeof *ret->v), 0};
    return ret->v != NULL;
}

static bool values_add(struct load *l, struct values *v, struct ma_span text)
{
    v->v[v->n] = ma_arena_strdup(l->arena, text);
    return v->v[v->n++] != NULL;
}

static int default_values(struct load *l, const struct conf_key *k, struct values *ret)
{
    size_t commas = 0;
    for (const char *p = k->def; *p; p++)
        commas += *p == ',';
    if (!values_init(l, ret, commas + 1))
        return no_memory(l);
    if (!ma_conf_is_list(k))
        return values_add(l, ret, ma_span_str(k->def)) ? MA_OK : no_memory(l);
    for (const char *p = k->def; *p;) {
        size_t n = strcspn(p, ",");
        if (!values_add(l, ret, ma_span_of(p, n)))
            return no_memory(l);
        p += n + (p[n] == ',');
    }
    return MA_OK;
}

/* What the file says, or else the default. */
static int collect(struct load *l, cfg_t *section, const struct conf_key *k, struct values *ret)
{
    cfg_opt_t *opt = cfg_getopt(section, k->name);
    if (!opt || !(opt->flags & CFGF_MODIFIED))
        return default_values(l, k, ret);
    unsigned n = cfg_opt_size(opt);
    if (!values_init(l, ret, n))
        return no_memory(l);
    for (unsigned i = 0; i < n; i++)
        if (!values_add(l, ret, ma_span_str(cfg_opt_getnstr(opt, i))))
            return no_memory(l);
    return MA_OK;
}

static bool is_true(const char *value)
{
    return strcasecmp(value, "true") == 0 || strcasecmp(value, "yes") == 0 || strcasecmp(value, "on") == 0;
}

static uint32_t algorithm_mask(const struct values *v)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < v->n; i++)
        mask |= 1u << ma_jws_alg_parse(ma_span_str(v->v[i]));
    return mask;
}

static void put(const struct conf_key *k, const struct values *v, void *at)
{
    switch (k->kind) {
    case CONF_STR:
        *(const char **)at = v->v[0];
        break;
    case CONF_INT:
        *(int64_t *)at = strtoll(v->v[0], NULL, 10);
        break;
    case CONF_INT32:
        *(int *)at = (int)strtol(v->v[0], NULL, 10);
        break;
    case CONF_BOOL:
        *(bool *)at = is_true(v->v[0]);
        break;
    case CONF_LIST:
        *(struct ma_conf_strlist *)at = (struct ma_conf_strlist){(const char *const *)v->v, v->n};
        break;
    case CONF_ALGORITHMS:
        *(uint32_t *)at = algorithm_mask(v);
        break;
    case CONF_ATTESTATION:
        *(bool *)at = strcmp(v->v[0], "verified") == 0;
        break;
    case CONF_ACCESS:
        *(bool *)at = strcmp(v->v[0], "read_write") == 0;
        break;
    }
}

/* Brings every value to its canonical spelling and stores them. */
static int fill_key(struct load *l, cfg_t *section, const struct conf_key *k, void *base)
{
    struct values v;
    char text[MA_CONF_VALUE_MAX];
    int rc = collect(l, section, k, &v);
    if (rc != MA_OK)
        return rc;
    for (size_t i = 0; i < v.n; i++) {
        const char *wrong = ma_conf_value(k, v.v[i], text);
        if (wrong)
            return ma_conf_fault(&l->fault, 0, "%s %s", k->name, wrong);
    }
    put(k, &v, (char *)base + k->offset);
    return MA_OK;
}

static int fill_section(struct load *l, cfg_t *section, const char *name, void *base)
{
    for (size_t i = 0; i < ma_conf_n_keys; i++) {
        const struct conf_key *k = &ma_conf_keys[i];
        int rc = strcmp(k->section, name) == 0 ? fill_key(l, section, k, base) : MA_OK;
        if (rc != MA_OK)
            return rc;
    }
    return MA_OK;
}

static int fill_issuer(struct load *l, cfg_t *section, size_t i, struct ma_conf_issuer *issuer)
{
    int line = ma_conf_issuer_line(l->c, &l->issuers, i);
    const char *wrong = ma_conf_form_issuer(cfg_title(section));
    if (wrong)
        return ma_conf_fault(&l->fault, line, "issuer %s", wrong);
    issuer->url = ma_arena_strdup(l->arena, ma_span_str(cfg_title(section)));
    if (!issuer->url)
        return no_memory(l);
    int rc = fill_section(l, section, "issuer", issuer);
    if (rc == MA_OK && issuer->algorithms == 0)
        return ma_conf_fault(&l->fault, line, "issuer.algorithms must name one at least");
    return rc;
}

static int fill_issuers(struct load *l, cfg_t *cfg)
{
    unsigned n = cfg_size(cfg, "issuer");
    if (n > MA_CONF_ISSUERS_MAX)
        return ma_conf_fault(&l->fault, 0, "more than %d issuers", MA_CONF_ISSUERS_MAX);
    struct ma_conf_issuer *v = ma_arena_calloc(l->arena, n ? n : 1, sizeof *v);
    if (!v)
        return no_memory(l);
    l->c->issuers = v;
    l->c->n_issuers = n;
    for (unsigned i = 0; i < n; i++) {
        int rc = fill_issuer(l, cfg_getnsec(cfg, "issuer", i), i, &v[i]);
        if (rc != MA_OK)
            return rc;
    }
    return MA_OK;
}

static int fill(struct load *l, cfg_t *cfg)
{
    for (size_t s = 0; s < ma_conf_n_sections; s++) {
        const char *name = ma_conf_sections[s].name;
        if (strcmp(name, "issuer") == 0)
            continue;
        int rc = fill_section(l, *name ? cfg_getsec(cfg, name) : cfg, name, l->c);
        if (rc != MA_OK)
            return rc;
    }
    return fill_issuers(l, cfg);
}

/* --- parsing --- */

static int run_parser(struct load *l, cfg_t *cfg, char *clean, size_t n)
{
    FILE *f = fmemopen(clean, n, "r");
    if (!f)
        return no_memory(l);
    loading = l;
    int rc = cfg_parse_fp(cfg, f);
    loading = NULL;
    (void)fclose(f);
    if (rc == CFG_SUCCESS)
        return MA_OK;
    (void)ma_conf_fault(&l->fault, cfg->line, "syntax error");
    return MA_E_PARSE;
}

static int parse(struct load *l, struct ma_span text)
{
    MA_CLEANUP(free_cfg) cfg_t *cfg = NULL;
    MA_CLEANUP(ma_free_p) char *clean = malloc(text.n + 1);
    if (!clean)
        return no_memory(l);
    if (ma_conf_scan(text, clean, &l->issuers, &l->fault) != MA_OK)
        return MA_E_PARSE;
    clean[text.n] = ' '; /* a stream of no bytes cannot be opened */
    cfg = new_cfg();
    if (!cfg)
        return no_memory(l);
    int rc = run_parser(l, cfg, clean, text.n + 1);
    if (rc == MA_OK)
        rc = fill(l, cfg);
    return rc == MA_OK ? ma_conf_check(l->c, &l->places, &l->issuers, &l->fault) : rc;
}

static struct owned *new_owned(const char *name)
{
    struct owned *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->arena = ma_arena_new(MA_ARENA_FIRST, MA_CONF_ARENA_MAX);
    o->c.path = o->arena ? ma_arena_strdup(o->arena, ma_span_str(name)) : NULL;
    if (!o->c.path) {
        ma_conf_free(&o->c);
        return NULL;
    }
    return o;
}

int ma_conf_parse(const char *name, struct ma_span text, struct ma_conf **ret, char why[512])
{
    *ret = NULL;
    why[0] = '\0';
    struct load l = {.fault = {name, why}};
    if (text.n > MA_CONF_FILE_MAX) {
        (void)ma_conf_fault(&l.fault, 0, "larger than %d bytes", MA_CONF_FILE_MAX);
        return MA_E_INVAL;
    }
    struct owned *o = new_owned(name);
    if (!o)
        return no_memory(&l);
    l.c = &o->c;
    l.arena = o->arena;
    int rc = parse(&l, text);
    free(l.places.v);
    if (rc != MA_OK) {
        ma_conf_free(&o->c);
        return rc;
    }
    *ret = &o->c;
    return MA_OK;
}

/* --- files --- */

static int read_failed(const char *path, int error, char why[512])
{
    char text[128];
    struct conf_fault fault = {path, why};
    (void)ma_conf_fault(&fault, 0, "cannot be read: %s", strerror_r(error, text, sizeof text));
    return MA_E_IO;
}

int ma_conf_load(const char *path, struct ma_conf **ret, char why[512])
{
    *ret = NULL;
    why[0] = '\0';
    MA_CLEANUP(ma_free_p) uint8_t *text = malloc(MA_CONF_FILE_MAX + 1);
    MA_CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (!text || fd < 0)
        return read_failed(path, text ? errno : ENOMEM, why);
    size_t n = 0;
    while (n <= MA_CONF_FILE_MAX) {
        ssize_t got = read(fd, text + n, MA_CONF_FILE_MAX + 1 - n);
        if (got < 0 && errno != EINTR)
            return read_failed(path, errno, why);
        if (got == 0)
            break;
        n += got > 0 ? (size_t)got : 0;
    }
    return ma_conf_parse(path, ma_span_of(text, n), ret, why);
}

static int keep_list(struct ma_arena *a, struct ma_conf_strlist *to, const struct ma_conf_strlist *from)
{
    const char **v = ma_arena_calloc(a, from->n + 1, sizeof *v);
    for (size_t i = 0; v && i < from->n; i++)
        if (!(v[i] = ma_arena_strdup(a, ma_span_str(from->v[i]))))
            return MA_E_NOMEM;
    *to = (struct ma_conf_strlist){v, v ? from->n : 0};
    return v ? MA_OK : MA_E_NOMEM;
}

static int keep_value(struct ma_arena *a, const struct conf_key *k, void *to, const void *from)
{
    const char *text;
    switch (k->kind) {
    case CONF_STR:
        text = ma_arena_strdup(a, ma_span_str(*(const char *const *)from));
        *(const char **)to = text ? text : "";
        return text ? MA_OK : MA_E_NOMEM;
    case CONF_LIST:
        return keep_list(a, to, from);
    case CONF_INT:
        *(int64_t *)to = *(const int64_t *)from;
        break;
    case CONF_INT32:
        *(int *)to = *(const int *)from;
        break;
    case CONF_ALGORITHMS:
        *(uint32_t *)to = *(const uint32_t *)from;
        break;
    case CONF_BOOL:
    case CONF_ATTESTATION:
    case CONF_ACCESS:
        *(bool *)to = *(const bool *)from;
        break;
    }
    return MA_OK;
}

int ma_conf_keep(struct ma_conf *fresh, const struct ma_conf *running)
{
    struct owned *o = (struct owned *)fresh;
    for (size_t i = 0; i < ma_conf_n_keys; i++) {
        const struct conf_key *k = &ma_conf_keys[i];
        if (k->when != WHEN_RESTART || strcmp(k->section, "issuer") == 0)
            continue;
        int r = keep_value(o->arena, k, (char *)fresh + k->offset, (const char *)running + k->offset);
        if (r < 0)
            return r;
    }
    return MA_OK;
}

void ma_conf_free(struct ma_conf *c)
{
    if (!c)
        return;
    struct owned *o = (struct owned *)c;
    ma_arena_free(o->arena);
    free(o);
}

void ma_conf_free_p(struct ma_conf **c)
{
    ma_conf_free(*c);
    *c = NULL;
}
