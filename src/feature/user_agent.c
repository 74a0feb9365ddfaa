/* SPDX-License-Identifier: Apache-2.0
 * A User-Agent header as a short label, "Chrome 131.0.0 / Mac OS X 10.15.7".
 */
#include "ma/user_agent.h"

#include "ma/codec.h"

enum { VERSION_MAX = 24 };

/* More specific products first: Edge and Opera also say Chrome, everybody says Safari. */
static const struct {
    const char *token, *name, *version; /* version: where its number stands; NULL: at the token */
} browsers[] = {
    {"Edg/", "Edge", NULL},      {"EdgA/", "Edge", NULL},
    {"OPR/", "Opera", NULL},     {"SamsungBrowser/", "Samsung Internet", NULL},
    {"FxiOS/", "Firefox", NULL}, {"Firefox/", "Firefox", NULL},
    {"CriOS/", "Chrome", NULL},  {"HeadlessChrome/", "Chrome", NULL},
    {"Chrome/", "Chrome", NULL}, {"Safari/", "Safari", "Version/"},
};

static const struct {
    const char *token, *name, *version; /* version: the text before its number */
} systems[] = {
    {"iPhone", "iOS", "OS "},           {"iPad", "iPadOS", "OS "},
    {"Android", "Android", "Android "}, {"Windows NT", "Windows", "Windows NT "},
    {"CrOS", "Chrome OS", NULL},        {"Mac OS X", "Mac OS X", "Mac OS X "},
    {"Linux", "Linux", NULL},
};

static const uint8_t *find(struct ma_span s, const char *word)
{
    return s.n ? memmem(s.p, s.n, word, strlen(word)) : NULL;
}

/* Up to three numbers behind `before`, "_" read as "."; missing ones of a browser become 0. */
static const char *version(struct ma_arena *a, struct ma_span ua, const char *before, bool three)
{
    char out[VERSION_MAX + 8];
    size_t n = 0, parts = 1;
    const uint8_t *p = before ? find(ua, before) : NULL;
    if (!p)
        return "";
    for (p += strlen(before); p < ua.p + ua.n && n < VERSION_MAX; p++) {
        bool dot = *p == '.' || *p == '_';
        if (!dot && (*p < '0' || *p > '9'))
            break;
        if (dot && (parts == 3 || n == 0 || out[n - 1] == '.'))
            break;
        parts += dot;
        out[n++] = dot ? '.' : (char)*p;
    }
    if (n == 0)
        return "";
    if (out[n - 1] == '.') {
        n--;
        parts--;
    }
    const char *fill = !three || parts >= 3 ? "" : parts == 2 ? ".0" : ".0.0";
    return ma_arena_printf(a, " %.*s%s", (int)n, out, fill);
}

static struct ma_span raw_label(struct ma_arena *a, struct ma_span ua)
{
    if (ua.n > MA_USER_AGENT_MAX)
        ua.n = MA_USER_AGENT_MAX;
    while (ua.n > 0 && !ma_utf8_valid(ua))
        ua.n--;
    return ua.n ? ma_arena_dup(a, ua) : MA_SPAN_NULL;
}

struct ma_span ma_user_agent_known(struct ma_arena *a, struct ma_span ua)
{
    size_t b = 0, s = 0;
    while (b < MA_COUNT(browsers) && !find(ua, browsers[b].token))
        b++;
    while (s < MA_COUNT(systems) && !find(ua, systems[s].token))
        s++;
    if (b == MA_COUNT(browsers) || s == MA_COUNT(systems))
        return MA_SPAN_NULL;
    const char *bv = version(a, ua, browsers[b].version ? browsers[b].version : browsers[b].token, true);
    const char *sv = version(a, ua, systems[s].version, false);
    if (!bv || !sv)
        return MA_SPAN_NULL;
    return ma_span_str(ma_arena_printf(a, "%s%s / %s%s", browsers[b].name, bv, systems[s].name, sv));
}

struct ma_span ma_user_agent_label(struct ma_arena *a, struct ma_span ua)
{
    struct ma_span known = ma_user_agent_known(a, ua);
    return known.p ? known : raw_label(a, ua);
}
