/* SPDX-License-Identifier: Apache-2.0
 * The CBOR reader: one recursive walk, at most MA_CBOR_DEPTH_MAX deep, that checks and measures.
 */
#include "ma/cbor.h"

#include "ma/codec.h"

/* RFC 8949 §3.1: major types. */
enum { MAJOR_UINT, MAJOR_NINT, MAJOR_BYTES, MAJOR_TEXT, MAJOR_ARRAY, MAJOR_MAP, MAJOR_TAG, MAJOR_SIMPLE };

/* RFC 8949 §3: additional information. */
#define INFO_ONE_BYTE 24u
#define INFO_EIGHT_BYTES 27u

/* RFC 8949 §3.3 */
#define SIMPLE_FALSE 20u
#define SIMPLE_TRUE 21u
#define SIMPLE_NULL 22u

struct head {
    unsigned major;
    unsigned info;
    uint64_t arg;
};

static void advance(struct ma_span *in, size_t n)
{
    in->p += n;
    in->n -= n;
}

/* RFC 8949 §4.2.1: an argument takes the fewest bytes it can. */
static bool is_shortest(size_t extra, uint64_t arg)
{
    switch (extra) {
    case 1:
        return arg >= INFO_ONE_BYTE;
    case 2:
        return arg > UINT8_MAX;
    case 4:
        return arg > UINT16_MAX;
    case 8:
        return arg > UINT32_MAX;
    default:
        return true;
    }
}

static bool take_head(struct ma_span *in, struct head *ret)
{
    size_t extra = 0;

    if (in->n == 0)
        return false;
    ret->major = in->p[0] >> 5;
    ret->info = in->p[0] & 0x1fu;
    ret->arg = ret->info;
    if (ret->info > INFO_EIGHT_BYTES) /* 28–30 are reserved, 31 is an indefinite length */
        return false;
    if (ret->info >= INFO_ONE_BYTE)
        extra = (size_t)1 << (ret->info - INFO_ONE_BYTE);
    if (extra > in->n - 1)
        return false;
    for (size_t i = 0; i < extra; i++)
        ret->arg = (i == 0 ? 0 : ret->arg << 8) | in->p[1 + i];
    advance(in, 1 + extra);
    return is_shortest(extra, ret->arg);
}

static int take(struct ma_span *in, unsigned depth, struct ma_cbor *ret);

static int take_string(struct ma_span *in, const struct head *h, struct ma_cbor *ret)
{
    if (h->arg > in->n)
        return MA_E_PARSE;
    ret->body = ma_span_of(in->p, (size_t)h->arg);
    advance(in, ret->body.n);
    return h->major == MAJOR_TEXT && !ma_utf8_valid(ret->body) ? MA_E_PARSE : MA_OK;
}

static int take_array(struct ma_span *in, const struct head *h, unsigned depth)
{
    struct ma_cbor item;
    int rc = MA_OK;

    if (h->arg > in->n) /* an item takes a byte at least */
        return MA_E_PARSE;
    for (uint64_t i = 0; i < h->arg && rc == MA_OK; i++)
        rc = take(in, depth, &item);
    return rc;
}

static bool is_key(const struct ma_cbor *c)
{
    return c->type == MA_CBOR_UINT || c->type == MA_CBOR_NINT || c->type == MA_CBOR_TEXT;
}

/* Encodings are unique, so that equal keys are equal bytes. */
static bool occurs(const struct ma_span *keys, size_t n, struct ma_span key)
{
    for (size_t i = 0; i < n; i++) {
        if (ma_span_eq(keys[i], key))
            return true;
    }
    return false;
}

static int take_map(struct ma_span *in, const struct head *h, unsigned depth)
{
    struct ma_span keys[MA_CBOR_PAIRS_MAX];
    struct ma_cbor item;

    if (h->arg > in->n / 2)
        return MA_E_PARSE;
    if (h->arg > MA_CBOR_PAIRS_MAX)
        return MA_E_RANGE;
    for (size_t i = 0; i < (size_t)h->arg; i++) {
        int rc = take(in, depth, &item);
        if (rc != MA_OK)
            return rc;
        if (!is_key(&item) || occurs(keys, i, item.raw))
            return MA_E_PARSE;
        keys[i] = item.raw;
        rc = take(in, depth, &item);
        if (rc != MA_OK)
            return rc;
    }
    return MA_OK;
}

static int take_container(struct ma_span *in, const struct head *h, unsigned depth, struct ma_cbor *ret)
{
    const struct ma_span start = *in;

    if (depth >= MA_CBOR_DEPTH_MAX)
        return MA_E_RANGE;
    const int rc = h->major == MAJOR_MAP ? take_map(in, h, depth + 1) : take_array(in, h, depth + 1);
    ret->body = ma_span_of(start.p, start.n - in->n);
    return rc;
}

static int take_simple(const struct head *h, struct ma_cbor *ret)
{
    if (h->info != SIMPLE_FALSE && h->info != SIMPLE_TRUE && h->info != SIMPLE_NULL)
        return MA_E_PARSE;
    ret->type = h->info == SIMPLE_NULL ? MA_CBOR_NULL : MA_CBOR_BOOL;
    ret->n = h->info == SIMPLE_TRUE;
    return MA_OK;
}

static int take_content(struct ma_span *in, const struct head *h, unsigned depth, struct ma_cbor *ret)
{
    static const enum ma_cbor_type types[] = {
        [MAJOR_UINT] = MA_CBOR_UINT, [MAJOR_NINT] = MA_CBOR_NINT,   [MAJOR_BYTES] = MA_CBOR_BYTES,
        [MAJOR_TEXT] = MA_CBOR_TEXT, [MAJOR_ARRAY] = MA_CBOR_ARRAY, [MAJOR_MAP] = MA_CBOR_MAP,
    };

    if (h->major == MAJOR_SIMPLE)
        return take_simple(h, ret);
    if (h->major == MAJOR_TAG)
        return MA_E_PARSE;
    ret->type = types[h->major];
    ret->n = h->arg;
    if (h->major == MAJOR_UINT || h->major == MAJOR_NINT)
        return MA_OK;
    if (h->major == MAJOR_BYTES || h->major == MAJOR_TEXT)
        return take_string(in, h, ret);
    return take_container(in, h, depth, ret);
}

/* Reads and removes the first item; depth is that of the containers around it. */
static int take(struct ma_span *in, unsigned depth, struct ma_cbor *ret)
{
    const struct ma_span start = *in;
    struct head h;

    *ret = (struct ma_cbor){.type = MA_CBOR_NULL};
    if (!take_head(in, &h))
        return MA_E_PARSE;
    const int rc = take_content(in, &h, depth, ret);
    ret->raw = ma_span_of(start.p, start.n - in->n);
    return rc;
}

int ma_cbor_first(struct ma_span in, struct ma_cbor *ret)
{
    return take(&in, 0, ret);
}

int ma_cbor_parse(struct ma_span in, struct ma_cbor *ret)
{
    const int rc = take(&in, 0, ret);

    return rc == MA_OK && in.n > 0 ? MA_E_PARSE : rc;
}

bool ma_cbor_int(const struct ma_cbor *c, int64_t *ret)
{
    if ((c->type != MA_CBOR_UINT && c->type != MA_CBOR_NINT) || c->n > INT64_MAX)
        return false;
    *ret = c->type == MA_CBOR_UINT ? (int64_t)c->n : -1 - (int64_t)c->n;
    return true;
}

static bool text_key_is(const struct ma_cbor *key, const void *want)
{
    return key->type == MA_CBOR_TEXT && ma_span_eq_str(key->body, want);
}

static bool int_key_is(const struct ma_cbor *key, const void *want)
{
    int64_t value = 0;

    return ma_cbor_int(key, &value) && value == *(const int64_t *)want;
}

static bool find(const struct ma_cbor *map, bool (*is)(const struct ma_cbor *, const void *), const void *want,
                 struct ma_cbor *ret)
{
    struct ma_span left = map->body;
    struct ma_cbor key;

    if (map->type != MA_CBOR_MAP)
        return false;
    while (left.n > 0) {
        if (take(&left, 0, &key) != MA_OK || take(&left, 0, ret) != MA_OK)
            return false;
        if (is(&key, want))
            return true;
    }
    return false;
}

bool ma_cbor_member(const struct ma_cbor *map, const char *key, struct ma_cbor *ret)
{
    return find(map, text_key_is, key, ret);
}

bool ma_cbor_member_int(const struct ma_cbor *map, int64_t key, struct ma_cbor *ret)
{
    return find(map, int_key_is, &key, ret);
}

bool ma_cbor_item(const struct ma_cbor *array, size_t i, struct ma_cbor *ret)
{
    struct ma_span left = array->body;

    if (array->type != MA_CBOR_ARRAY || i >= array->n)
        return false;
    for (size_t at = 0; at <= i; at++) {
        if (take(&left, 0, ret) != MA_OK)
            return false;
    }
    return true;
}
