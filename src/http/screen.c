/* SPDX-License-Identifier: Apache-2.0
 * Request-smuggling shapes and malformed headers that libmicrohttpd 0.9.75 lets through are refused
 * here, before routing.
 */
#include "int.h"

#include <strings.h>

enum {
    H_HOST,
    H_CONTENT_LENGTH,
    H_TRANSFER_ENCODING,
    H_AUTHORIZATION,
    H_DPOP,
    H_CONTENT_TYPE,
    H_ORIGIN,
    H_USER_AGENT,
    H_IF_NONE_MATCH,
    H_ACCEPT_ENCODING,
    H_COOKIE,
    H_FORWARDED,
    H_XFF,
    H_XFP,
    H_XFH,
    H_A0FF,
    H_REQUEST_ID,
    H_TRACEPARENT,
    H__COUNT
};

static const struct {
    const char *name;
    size_t n;
    bool once; /* a second one is a fault; otherwise list values are joined */
} known[H__COUNT] = {
    [H_HOST] = {"host", 4, true},
    [H_CONTENT_LENGTH] = {"content-length", 14, true},
    [H_TRANSFER_ENCODING] = {"transfer-encoding", 17, true},
    [H_AUTHORIZATION] = {"authorization", 13, true},
    [H_DPOP] = {"dpop", 4, true}, /* RFC 9449 §4.3 check 1 */
    [H_CONTENT_TYPE] = {"content-type", 12, true},
    [H_ORIGIN] = {"origin", 6, true},
    [H_USER_AGENT] = {"user-agent", 10, true},
    [H_IF_NONE_MATCH] = {"if-none-match", 13, false},
    [H_ACCEPT_ENCODING] = {"accept-encoding", 15, false},
    [H_COOKIE] = {"cookie", 6, true}, /* RFC 6265 §5.4: a user agent sends one */
    [H_FORWARDED] = {"forwarded", 9, false},
    [H_XFF] = {"x-forwarded-for", 15, false},
    [H_XFP] = {"x-forwarded-proto", 17, false},
    [H_XFH] = {"x-forwarded-host", 16, false},
    [H_A0FF] = {"auth0-forwarded-for", 19, true},
    [H_REQUEST_ID] = {"x-request-id", 12, false}, /* two of them joined are no id, and ignored */
    [H_TRACEPARENT] = {"traceparent", 11, false}, /* likewise */
};

/* RFC 9110 §5.6.2 tchar */
static bool is_token(struct ma_span s)
{
    static const uint8_t ok[256] = {
        ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,
        ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0'] = 1,  ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1,
        ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1, ['A'] = 1,  ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1,
        ['F'] = 1, ['G'] = 1, ['H'] = 1, ['I'] = 1, ['J'] = 1, ['K'] = 1,  ['L'] = 1, ['M'] = 1, ['N'] = 1, ['O'] = 1,
        ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1,  ['V'] = 1, ['W'] = 1, ['X'] = 1, ['Y'] = 1,
        ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1,  ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1,
        ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1, ['n'] = 1, ['o'] = 1,  ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1,
        ['t'] = 1, ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1,  ['z'] = 1};
    for (size_t i = 0; i < s.n; i++)
        if (!ok[s.p[i]])
            return false;
    return s.n > 0;
}

static bool is_bad_byte(uint8_t c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

/* Eight bytes at a time: tokens are long and every request carries one. May err on the side of suspicion. */
static bool word_is_suspect(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t below_blank = (w - ones * 0x20) & ~w;
    uint64_t del = w ^ (ones * 0x7f);
    return ((below_blank | ((del - ones) & ~del)) & high) != 0;
}

static bool has_bad_byte(struct ma_span v)
{
    for (size_t i = 0; i < v.n;) {
        uint64_t w;
        if (v.n - i >= sizeof w) {
            memcpy(&w, v.p + i, sizeof w);
            if (!word_is_suspect(w)) {
                i += sizeof w;
                continue;
            }
        }
        if (is_bad_byte(v.p[i++]))
            return true;
    }
    return false;
}

static struct ma_span *slot(struct ma_req *req, int h)
{
    switch (h) {
    case H_HOST:
        return &req->host;
    case H_AUTHORIZATION:
        return &req->authorization;
    case H_DPOP:
        return &req->dpop;
    case H_CONTENT_TYPE:
        return &req->content_type;
    case H_ORIGIN:
        return &req->origin;
    case H_USER_AGENT:
        return &req->user_agent;
    case H_IF_NONE_MATCH:
        return &req->if_none_match;
    case H_ACCEPT_ENCODING:
        return &req->accept_encoding;
    case H_COOKIE:
        return &req->cookie;
    case H_FORWARDED:
        return &req->forwarded;
    case H_XFF:
        return &req->x_forwarded_for;
    case H_XFP:
        return &req->x_forwarded_proto;
    case H_XFH:
        return &req->x_forwarded_host;
    case H_A0FF:
        return &req->auth0_forwarded_for;
    case H_REQUEST_ID:
        return &req->x_request_id;
    case H_TRACEPARENT:
        return &req->traceparent;
    default:
        return NULL;
    }
}

static int find(struct ma_span name)
{
    for (int h = 0; h < H__COUNT; h++)
        if (known[h].n == name.n && strncasecmp(known[h].name, (const char *)name.p, name.n) == 0)
            return h;
    return -1;
}

static bool parse_length(struct ma_span v, int64_t *ret)
{
    int64_t n = 0;
    if (v.n == 0 || v.n > 15)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return false;
        n = n * 10 + (v.p[i] - '0');
    }
    *ret = n;
    return true;
}

static void framing_header(struct ma_screen *s, int h, struct ma_span value)
{
    if (h == H_CONTENT_LENGTH && !parse_length(value, &s->req->content_length))
        s->fault = "Malformed Content-Length";
    if (h == H_TRANSFER_ENCODING) {
        s->req->chunked = value.n == 7 && strncasecmp((const char *)value.p, "chunked", 7) == 0;
        if (!s->req->chunked)
            s->fault = "Unsupported Transfer-Encoding";
    }
}

static void join(struct ma_screen *s, struct ma_span *to, struct ma_span value)
{
    const char *both =
        ma_arena_printf(s->arena, "%.*s, %.*s", (int)to->n, (const char *)to->p, (int)value.n, (const char *)value.p);
    if (both)
        *to = ma_span_str(both);
    else
        s->out_of_memory = true;
}

void ma_screen_header(struct ma_screen *s, struct ma_span name, struct ma_span value)
{
    if (s->fault)
        return;
    if (!is_token(name)) {
        s->fault = "Malformed header name";
        return;
    }
    if (has_bad_byte(value)) {
        s->fault = "Malformed header value";
        return;
    }
    int h = find(name);
    if (h < 0)
        return;
    bool again = s->seen & (1u << h);
    s->seen |= 1u << h;
    if (again && known[h].once) {
        s->fault = "A header that may stand only once is repeated";
        return;
    }
    framing_header(s, h, value);
    struct ma_span *to = slot(s->req, h);
    if (to && again)
        join(s, to, value);
    else if (to)
        *to = value;
}

const char *ma_screen_finish(struct ma_screen *s, bool http_1_1)
{
    if (s->fault)
        return s->fault;
    bool length = s->seen & (1u << H_CONTENT_LENGTH);
    if (length && s->req->chunked)
        return "Content-Length and Transfer-Encoding together";
    if (http_1_1 && !(s->seen & (1u << H_HOST)))
        return "Missing Host";
    if (!http_1_1 && s->req->chunked)
        return "Transfer-Encoding in HTTP/1.0";
    s->req->has_body = s->req->chunked || s->req->content_length > 0;
    return NULL;
}

static const char *const verbs[] = {"GET", "POST", "PATCH", "DELETE", NULL, "OPTIONS", "HEAD"};

enum ma_verb ma_verb_parse(const char *method)
{
    for (unsigned i = 0; i < MA_COUNT(verbs); i++)
        if (verbs[i] && strcmp(method, verbs[i]) == 0)
            return (enum ma_verb)i;
    return MA_VERB_OTHER;
}

const char *ma_verb_name(enum ma_verb verb)
{
    return (unsigned)verb < MA_COUNT(verbs) && verbs[verb] ? verbs[verb] : "OTHER";
}
