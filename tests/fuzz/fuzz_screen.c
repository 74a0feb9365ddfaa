/* SPDX-License-Identifier: Apache-2.0
 * Fuzz target: header screening. The input is "Name: value" lines; what passes has exactly the framing that a second
 * look at the same lines finds, and nothing that could split a header.
 */
#include "../../src/http/int.h"

#include <stdlib.h>
#include <strings.h>

enum { FIELDS_MAX = 64 };

struct field {
    struct ma_span name, value;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
    if (!ok)
        abort();
}

/* The first byte chooses the version; a line without a colon is a name without a value. */
static size_t split(const uint8_t *p, size_t n, struct field *f)
{
    size_t count = 0;
    while (n > 0 && count < FIELDS_MAX) {
        const uint8_t *end = memchr(p, '\n', n);
        size_t len = end ? (size_t)(end - p) : n;
        const uint8_t *colon = memchr(p, ':', len);
        size_t name = colon ? (size_t)(colon - p) : len;
        size_t at = name + (colon ? 1 : 0);
        at += at < len && p[at] == ' ';
        f[count++] = (struct field){ma_span_of(p, name), ma_span_of(p + at, len - at)};
        p += end ? len + 1 : len;
        n -= end ? len + 1 : len;
    }
    return count;
}

static bool named(const struct field *f, const char *name)
{
    return f->name.n == strlen(name) && strncasecmp((const char *)f->name.p, name, f->name.n) == 0;
}

static size_t count(const struct field *f, size_t n, const char *name, struct ma_span *ret_last)
{
    size_t found = 0;
    *ret_last = MA_SPAN_NULL;
    for (size_t i = 0; i < n; i++) {
        if (named(&f[i], name)) {
            *ret_last = f[i].value;
            found++;
        }
    }
    return found;
}

static bool clean(struct ma_span s, bool name)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (c == 0x7f || (c < 0x20 && (name || c != '\t')))
            return false;
        if (name && (c == ' ' || c == ':' || c >= 0x80 || strchr("()<>@,;\\\"/[]?={}", c)))
            return false;
    }
    return !name || s.n > 0;
}

static void check_framing(const struct field *f, size_t n, const struct ma_req *req, bool http_1_1)
{
    struct ma_span length, coding, host;
    size_t lengths = count(f, n, "content-length", &length);
    size_t codings = count(f, n, "transfer-encoding", &coding);
    size_t hosts = count(f, n, "host", &host);
    demand(lengths + codings <= 1 && hosts <= 1 && (hosts == 1 || !http_1_1));
    demand(req->chunked == (codings == 1) && (!req->chunked || http_1_1));
    demand(!req->chunked || (coding.n == 7 && strncasecmp((const char *)coding.p, "chunked", 7) == 0));
    demand(lengths == 1 ? req->content_length >= 0 : req->content_length == -1);
    demand(req->has_body == (req->chunked || req->content_length > 0));
    int64_t v = 0;
    for (size_t i = 0; i < length.n; i++) {
        demand(length.p[i] >= '0' && length.p[i] <= '9');
        v = v * 10 + (length.p[i] - '0');
    }
    demand(lengths == 0 || (length.n > 0 && v == req->content_length));
}

/* Single ones are what was sent; lists are all of them in order. */
static void check_values(const struct field *f, size_t n, const struct ma_req *req)
{
    const struct {
        const char *name;
        struct ma_span got;
        bool list;
    } known[] = {{"host", req->host, false},
                 {"authorization", req->authorization, false},
                 {"content-type", req->content_type, false},
                 {"origin", req->origin, false},
                 {"user-agent", req->user_agent, false},
                 {"if-none-match", req->if_none_match, true},
                 {"forwarded", req->forwarded, true},
                 {"x-forwarded-for", req->x_forwarded_for, true},
                 {"x-forwarded-proto", req->x_forwarded_proto, true},
                 {"x-forwarded-host", req->x_forwarded_host, true}};
    for (size_t k = 0; k < MA_COUNT(known); k++) {
        struct ma_span last;
        size_t found = count(f, n, known[k].name, &last), total = 0;
        demand((found > 0) == (known[k].got.p != NULL) && (found <= 1 || known[k].list));
        for (size_t i = 0; i < n; i++)
            total += named(&f[i], known[k].name) ? f[i].value.n : 0;
        demand(found == 0 || known[k].got.n == total + 2 * (found - 1));
        demand(found != 1 || ma_span_eq(known[k].got, last));
        demand(last.n == 0 || memcmp(known[k].got.p + known[k].got.n - last.n, last.p, last.n) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct field f[FIELDS_MAX];
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, 64 * MA_ARENA_MAX);
    if (!a || size < 2)
        return 0;
    bool http_1_1 = data[0] != '0';
    size_t n = split(data + 1, size - 1, f);
    struct ma_req req = {.content_length = -1};
    struct ma_screen s = {.req = &req, .arena = a};
    for (size_t i = 0; i < n; i++)
        ma_screen_header(&s, f[i].name, f[i].value);
    const char *fault = ma_screen_finish(&s, http_1_1);
    bool all_clean = true;
    for (size_t i = 0; i < n; i++)
        all_clean = all_clean && clean(f[i].name, true) && clean(f[i].value, false);
    demand(all_clean || fault);
    if (fault || s.out_of_memory)
        return 0;
    check_framing(f, n, &req, http_1_1);
    check_values(f, n, &req);
    return 0;
}
