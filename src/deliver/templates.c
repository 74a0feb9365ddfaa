/* SPDX-License-Identifier: Apache-2.0
 * Message texts: built in from conf/templates, replaced file by file from a directory, rendered
 * with values that cannot break out of their place.
 */
#include "ma/outbox.h"

#include "ma/codec.h"
#include "ma/embed.h"
#include "int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define EMBED(symbol, file) MA_EMBED(symbol, "conf/templates/" file)

EMBED(ma_tpl_enroll_code_email_subject, "enroll-code.email.subject");
EMBED(ma_tpl_enroll_code_email_text, "enroll-code.email.text");
EMBED(ma_tpl_enroll_code_sms_text, "enroll-code.sms.text");
EMBED(ma_tpl_enroll_code_voice_text, "enroll-code.voice.text");
EMBED(ma_tpl_login_code_email_subject, "login-code.email.subject");
EMBED(ma_tpl_login_code_email_text, "login-code.email.text");
EMBED(ma_tpl_login_code_sms_text, "login-code.sms.text");
EMBED(ma_tpl_login_code_voice_text, "login-code.voice.text");

/* Notices are read in peace: no calls. */
#define EMBED_NOTICE(symbol, name)                                                                                     \
    EMBED(symbol##_email_subject, name ".email.subject");                                                              \
    EMBED(symbol##_email_text, name ".email.text");                                                                    \
    EMBED(symbol##_sms_text, name ".sms.text")

EMBED_NOTICE(ma_tpl_factor_added, "factor-added");
EMBED_NOTICE(ma_tpl_factor_removed, "factor-removed");
EMBED_NOTICE(ma_tpl_factor_changed, "factor-changed");
EMBED_NOTICE(ma_tpl_recovery_code_replaced, "recovery-code-replaced");
EMBED_NOTICE(ma_tpl_recovery_code_used, "recovery-code-used");
EMBED_NOTICE(ma_tpl_password_changed, "password-changed");
EMBED_NOTICE(ma_tpl_account_added, "account-added");
EMBED_NOTICE(ma_tpl_account_removed, "account-removed");
EMBED_NOTICE(ma_tpl_address_changed, "address-changed");
EMBED_NOTICE(ma_tpl_data_exported, "data-exported");
EMBED_NOTICE(ma_tpl_account_leaving, "account-leaving");
EMBED_NOTICE(ma_tpl_account_restored, "account-restored");
EMBED_NOTICE(ma_tpl_change_undone, "change-undone");
EMBED_NOTICE(ma_tpl_password_reset, "password-reset");

static const char *const part_names[MA_TEMPLATE__COUNT] = {"email.subject", "email.text", "sms.text", "voice.text"};

#define NOTICE(name, symbol)                                                                                           \
    {                                                                                                                  \
        name,                                                                                                          \
        {                                                                                                              \
            {symbol##_email_subject_start, symbol##_email_subject_end},                                                \
                {symbol##_email_text_start, symbol##_email_text_end},                                                  \
                {symbol##_sms_text_start, symbol##_sms_text_end},                                                      \
            {                                                                                                          \
                NULL, NULL                                                                                             \
            }                                                                                                          \
        }                                                                                                              \
    }

static const struct builtin {
    const char *name;
    struct {
        const uint8_t *begin, *end;
    } part[MA_TEMPLATE__COUNT];
} builtins[] = {
    {"enroll-code",
     {{ma_tpl_enroll_code_email_subject_start, ma_tpl_enroll_code_email_subject_end},
      {ma_tpl_enroll_code_email_text_start, ma_tpl_enroll_code_email_text_end},
      {ma_tpl_enroll_code_sms_text_start, ma_tpl_enroll_code_sms_text_end},
      {ma_tpl_enroll_code_voice_text_start, ma_tpl_enroll_code_voice_text_end}}},
    {"login-code",
     {{ma_tpl_login_code_email_subject_start, ma_tpl_login_code_email_subject_end},
      {ma_tpl_login_code_email_text_start, ma_tpl_login_code_email_text_end},
      {ma_tpl_login_code_sms_text_start, ma_tpl_login_code_sms_text_end},
      {ma_tpl_login_code_voice_text_start, ma_tpl_login_code_voice_text_end}}},
    NOTICE("factor-added", ma_tpl_factor_added),
    NOTICE("factor-removed", ma_tpl_factor_removed),
    NOTICE("factor-changed", ma_tpl_factor_changed),
    NOTICE("recovery-code-replaced", ma_tpl_recovery_code_replaced),
    NOTICE("recovery-code-used", ma_tpl_recovery_code_used),
    NOTICE("password-changed", ma_tpl_password_changed),
    NOTICE("account-added", ma_tpl_account_added),
    NOTICE("account-removed", ma_tpl_account_removed),
    NOTICE("address-changed", ma_tpl_address_changed),
    NOTICE("data-exported", ma_tpl_data_exported),
    NOTICE("account-leaving", ma_tpl_account_leaving),
    NOTICE("account-restored", ma_tpl_account_restored),
    NOTICE("change-undone", ma_tpl_change_undone),
    NOTICE("password-reset", ma_tpl_password_reset),
};

enum placeholder {
    PH_CODE,
    PH_TENANT,
    PH_MINUTES,
    PH_NAME,
    PH_WHAT,
    PH_WHEN,
    PH_BROWSER,
    PH_ADDRESS,
    PH_LINK,
    PH_HOURS,
    PH_UNTIL,
    PH__COUNT
};
static const char *const placeholder_names[PH__COUNT] = {"code",    "tenant",  "minutes", "name",  "what", "when",
                                                         "browser", "address", "link",    "hours", "until"};

struct ma_templates {
    struct ma_arena *a;
    struct ma_span text[MA_COUNT(builtins)][MA_TEMPLATE__COUNT];
};

#define ARENA_MAX (MA_COUNT(builtins) * MA_TEMPLATE__COUNT * (2u * MA_TEMPLATE_FILE_MAX + 1024u))

static void close_p(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static enum placeholder placeholder_parse(struct ma_span name)
{
    int i = 0;
    while (i < PH__COUNT && !ma_span_eq_str(name, placeholder_names[i]))
        i++;
    return (enum placeholder)i;
}

/* A step of a template: literal text up to the next placeholder, then that placeholder. */
struct piece {
    struct ma_span literal;
    bool has_name;
    struct ma_span name; /* as written, blanks trimmed */
};

/* Cuts the next piece off *rest; MA_E_PARSE when "{{" is not closed. */
static int piece_next(struct ma_span *rest, struct piece *ret)
{
    *ret = (struct piece){.literal = *rest};
    const uint8_t *open = rest->n ? memmem(rest->p, rest->n, "{{", 2) : NULL;
    if (!open) {
        *rest = MA_SPAN_NULL;
        return MA_OK;
    }
    const uint8_t *end = rest->p + rest->n;
    const uint8_t *shut = memmem(open, (size_t)(end - open), "}}", 2);
    if (!shut)
        return MA_E_PARSE;
    ret->literal.n = (size_t)(open - rest->p);
    ret->has_name = true;
    ret->name = ma_trim(ma_span_of(open + 2, (size_t)(shut - open - 2)));
    *rest = ma_span_of(shut + 2, (size_t)(end - shut - 2));
    return MA_OK;
}

static int check_placeholders(struct ma_span text, const char *file, char why[256])
{
    while (text.n > 0) {
        struct piece piece;
        if (piece_next(&text, &piece) < 0) {
            snprintf(why, 256, "%.120s: a placeholder is not closed with }}", file);
            return MA_E_PARSE;
        }
        if (piece.has_name && placeholder_parse(piece.name) == PH__COUNT) {
            snprintf(why, 256, "%.120s: unknown placeholder {{%.*s}}", file,
                     (int)(piece.name.n > 40 ? 40 : piece.name.n), (const char *)piece.name.p);
            return MA_E_INVAL;
        }
    }
    return MA_OK;
}

/* Windows line ends become LF, a byte order mark and blank space at the end go. arena */
static struct ma_span normalise(struct ma_arena *a, struct ma_span raw)
{
    if (raw.n >= 3 && memcmp(raw.p, "\xEF\xBB\xBF", 3) == 0)
        raw = ma_span_of(raw.p + 3, raw.n - 3);
    uint8_t *out = ma_arena_alloc(a, raw.n + 1);
    if (!out)
        return MA_SPAN_NULL;
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        if (raw.p[i] == '\r' && i + 1 < raw.n && raw.p[i + 1] == '\n')
            continue;
        out[n++] = raw.p[i];
    }
    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == ' ' || out[n - 1] == '\t'))
        n--;
    out[n] = 0;
    return ma_span_of(out, n);
}

static bool has_odd_control(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] < 0x20 && s.p[i] != '\n' && s.p[i] != '\t') || s.p[i] == 0x7F)
            return true;
    return false;
}

static const char *text_fault(struct ma_span text, enum ma_template_part part)
{
    if (text.n == 0)
        return "is empty";
    if (!ma_utf8_valid(text))
        return "is not UTF-8";
    if (has_odd_control(text))
        return "holds control characters";
    if (part == MA_TEMPLATE_EMAIL_SUBJECT && memchr(text.p, '\n', text.n))
        return "must be a single line";
    return NULL;
}

static int accept(struct ma_templates *t, size_t set, enum ma_template_part part, struct ma_span raw, const char *file,
                  char why[256])
{
    struct ma_span text = normalise(t->a, raw);
    if (!text.p)
        return MA_E_NOMEM;
    const char *fault = text_fault(text, part);
    if (fault) {
        snprintf(why, 256, "%.120s %s", file, fault);
        return MA_E_INVAL;
    }
    int r = check_placeholders(text, file, why);
    if (r == MA_OK)
        t->text[set][part] = text;
    return r;
}

/* Reads at most MA_TEMPLATE_FILE_MAX bytes into buf. MA_E_NOTFOUND when the file is not there. */
static int read_file(int dirfd, const char *file, uint8_t buf[MA_TEMPLATE_FILE_MAX + 1], size_t *ret_n)
{
    /* O_NONBLOCK: a FIFO put there must not hold up the start */
    int fd MA_CLEANUP(close_p) = openat(dirfd, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT ? MA_E_NOTFOUND : errno == EACCES ? MA_E_PERM : MA_E_IO;
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return MA_E_INVAL;
    for (*ret_n = 0; *ret_n <= MA_TEMPLATE_FILE_MAX;) {
        ssize_t got = read(fd, buf + *ret_n, MA_TEMPLATE_FILE_MAX + 1 - *ret_n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return MA_E_IO;
        if (got == 0)
            return MA_OK;
        *ret_n += (size_t)got;
    }
    return MA_E_RANGE;
}

static int load_override(struct ma_templates *t, int dirfd, size_t set, enum ma_template_part part, const char *file,
                         char why[256])
{
    uint8_t buf[MA_TEMPLATE_FILE_MAX + 1];
    size_t n = 0;
    int r = read_file(dirfd, file, buf, &n);
    if (r == MA_OK)
        return accept(t, set, part, ma_span_of(buf, n), file, why);
    if (r == MA_E_RANGE)
        snprintf(why, 256, "%.120s is longer than %d bytes", file, MA_TEMPLATE_FILE_MAX);
    else if (r == MA_E_INVAL)
        snprintf(why, 256, "%.120s is not a regular file", file);
    else if (r != MA_E_NOTFOUND)
        snprintf(why, 256, "%.120s cannot be read", file);
    return r;
}

static int load_part(struct ma_templates *t, int dirfd, size_t set, enum ma_template_part part, char why[256])
{
    const struct builtin *b = &builtins[set];
    char file[128];
    if (!b->part[part].begin)
        return MA_OK;
    snprintf(file, sizeof file, "%s.%s", b->name, part_names[part]);
    int r = dirfd < 0 ? MA_E_NOTFOUND : load_override(t, dirfd, set, part, file, why);
    if (r != MA_E_NOTFOUND)
        return r;
    size_t n = (size_t)(b->part[part].end - b->part[part].begin);
    return accept(t, set, part, ma_span_of(b->part[part].begin, n), file, why);
}

static int load_all(struct ma_templates *t, const char *directory, char why[256])
{
    int dirfd MA_CLEANUP(close_p) = -1;
    if (directory && directory[0]) {
        dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dirfd < 0) {
            snprintf(why, 256, "delivery.templates: the directory %.160s cannot be opened", directory);
            return MA_E_IO;
        }
    }
    for (size_t set = 0; set < MA_COUNT(builtins); set++)
        for (int part = 0; part < MA_TEMPLATE__COUNT; part++) {
            int r = load_part(t, dirfd, set, (enum ma_template_part)part, why);
            if (r < 0)
                return r;
        }
    return MA_OK;
}

int ma_templates_load(const char *directory, struct ma_templates **ret, char why[256])
{
    snprintf(why, 256, "out of memory");
    struct ma_templates *t = calloc(1, sizeof *t);
    if (!t)
        return MA_E_NOMEM;
    t->a = ma_arena_new(MA_ARENA_FIRST, ARENA_MAX);
    int r = t->a ? load_all(t, directory, why) : MA_E_NOMEM;
    if (r < 0) {
        ma_templates_free(t);
        return r;
    }
    why[0] = 0;
    *ret = t;
    return MA_OK;
}

void ma_templates_free(struct ma_templates *t)
{
    if (!t)
        return;
    ma_arena_free(t->a);
    free(t);
}

/* Bytes of the UTF-8 sequence a first byte starts. */
static size_t utf8_length(uint8_t first)
{
    return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* C0, DEL, C1 (U+0080…9F), line and paragraph separators and bidirectional controls (U+2028…202E,
 * U+2066…2069): none of them may reach a header or turn a text around. */
static bool is_control(const uint8_t *p, size_t n)
{
    if (n == 1)
        return p[0] < 0x20 || p[0] == 0x7F;
    if (n == 2)
        return p[0] == 0xC2 && p[1] < 0xA0;
    if (n == 3 && p[0] == 0xE2)
        return (p[1] == 0x80 && p[2] >= 0xA8 && p[2] <= 0xAE) || (p[1] == 0x81 && p[2] >= 0xA6 && p[2] <= 0xA9);
    return false;
}

static void put_value(struct ma_buf *out, struct ma_span value)
{
    if (!ma_utf8_valid(value))
        return;
    size_t written = 0;
    for (size_t i = 0; i < value.n;) {
        size_t n = utf8_length(value.p[i]);
        if (written + n > MA_TEMPLATE_VALUE_MAX)
            return;
        if (!is_control(value.p + i, n)) {
            ma_buf_put(out, value.p + i, n);
            written += n;
        }
        i += n;
    }
}

static void put_spelled(struct ma_buf *out, struct ma_span code)
{
    for (size_t i = 0; i < code.n; i++) {
        if (i > 0)
            ma_buf_str(out, ", ");
        put_value(out, ma_span_of(code.p + i, 1));
    }
}

static void put_placeholder(struct ma_buf *out, enum ma_template_part part, enum placeholder ph,
                            const struct ma_message *m)
{
    switch (ph) {
    case PH_CODE:
        if (part == MA_TEMPLATE_VOICE_TEXT)
            put_spelled(out, m->code);
        else
            put_value(out, m->code);
        break;
    case PH_TENANT:
        put_value(out, m->tenant);
        break;
    case PH_MINUTES:
        ma_buf_printf(out, "%d", m->minutes);
        break;
    case PH_NAME:
        put_value(out, m->name);
        break;
    case PH_WHAT:
        put_value(out, m->what);
        break;
    case PH_WHEN:
        put_value(out, m->when);
        break;
    case PH_BROWSER:
        put_value(out, m->browser);
        break;
    case PH_ADDRESS:
        put_value(out, m->address);
        break;
    case PH_LINK:
        ma_buf_str(out, m->link ? m->link : "");
        break;
    case PH_HOURS:
        ma_buf_printf(out, "%d", m->hours);
        break;
    case PH_UNTIL:
        put_value(out, m->until);
        break;
    case PH__COUNT:
        break;
    }
}

static int find_set(const char *name, size_t *ret)
{
    for (size_t i = 0; i < MA_COUNT(builtins); i++)
        if (strcmp(builtins[i].name, name) == 0) {
            *ret = i;
            return MA_OK;
        }
    return MA_E_NOTFOUND;
}

int ma_template_render(const struct ma_templates *t, enum ma_template_part part, const struct ma_message *m,
                       struct ma_arena *a, struct ma_span *ret)
{
    size_t set = 0;
    int r = find_set(m->template_name, &set);
    if (r < 0)
        return r;
    struct ma_span rest = t->text[set][part];
    struct ma_buf out;
    ma_buf_init_arena(&out, a, rest.n + 256, MA_TEMPLATE_RENDERED_MAX);
    while (rest.n > 0) {
        struct piece piece;
        r = piece_next(&rest, &piece);
        if (r < 0)
            return r;
        ma_buf_span(&out, piece.literal);
        if (piece.has_name)
            put_placeholder(&out, part, placeholder_parse(piece.name), m);
    }
    *ret = ma_buf_view(&out);
    return ma_buf_err(&out);
}
