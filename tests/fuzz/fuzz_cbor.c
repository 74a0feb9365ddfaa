/* SPDX-License-Identifier: Apache-2.0
 * Fuzz entry of the CBOR reader: what it reads, written again in canonical form, is the input again.
 */
#include "ma/buf.h"
#include "ma/cbor.h"

#include <stdlib.h>

#define INPUT_MAX 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static void write_head(struct ma_buf *b, unsigned major, uint64_t arg)
{
    const size_t extra = arg < 24 ? 0 : arg <= UINT8_MAX ? 1 : arg <= UINT16_MAX ? 2 : arg <= UINT32_MAX ? 4 : 8;
    const unsigned info = extra == 0 ? (unsigned)arg : extra == 1 ? 24 : extra == 2 ? 25 : extra == 4 ? 26 : 27;

    ma_buf_byte(b, (uint8_t)(major << 5 | info));
    for (size_t i = extra; i > 0; i--)
        ma_buf_byte(b, (uint8_t)(arg >> (8 * (i - 1))));
}

static void write_item(struct ma_buf *b, const struct ma_cbor *c, unsigned depth)
{
    struct ma_span left = c->body;
    uint64_t items = c->type == MA_CBOR_MAP ? c->n * 2 : c->n;

    demand(depth <= MA_CBOR_DEPTH_MAX);
    if (c->type == MA_CBOR_BOOL || c->type == MA_CBOR_NULL) {
        ma_buf_byte(b, c->type == MA_CBOR_NULL ? 0xf6 : c->n ? 0xf5 : 0xf4);
        return;
    }
    write_head(b, (unsigned)c->type, c->n); /* the types stand in the order of the major types */
    if (c->type == MA_CBOR_BYTES || c->type == MA_CBOR_TEXT)
        ma_buf_span(b, c->body);
    if (c->type != MA_CBOR_ARRAY && c->type != MA_CBOR_MAP)
        return;
    for (; items > 0; items--) {
        struct ma_cbor item;
        demand(ma_cbor_first(left, &item) == MA_OK);
        write_item(b, &item, depth + 1);
        left.p += item.raw.n;
        left.n -= item.raw.n;
    }
    demand(left.n == 0);
}

/* Every integer and text key finds its value. */
static void look_up(const struct ma_cbor *map)
{
    struct ma_span left = map->body;
    struct ma_cbor key;
    struct ma_cbor value;
    struct ma_cbor found;
    int64_t label = 0;

    while (left.n > 0) {
        demand(ma_cbor_first(left, &key) == MA_OK);
        left = ma_span_of(left.p + key.raw.n, left.n - key.raw.n);
        demand(ma_cbor_first(left, &value) == MA_OK);
        left = ma_span_of(left.p + value.raw.n, left.n - value.raw.n);
        if (ma_cbor_int(&key, &label))
            demand(ma_cbor_member_int(map, label, &found) && found.raw.p == value.raw.p);
        if (key.type != MA_CBOR_TEXT || memchr(key.body.p, 0, key.body.n))
            continue;
        char *name = strndup((const char *)key.body.p, key.body.n);
        demand(name != NULL);
        demand(ma_cbor_member(map, name, &found) && found.raw.p == value.raw.p);
        free(name);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ma_cbor c;
    struct ma_buf b;

    if (size > INPUT_MAX || ma_cbor_first(ma_span_of(data, size), &c) != MA_OK)
        return 0;
    demand(c.raw.p == data && c.raw.n <= size && c.raw.n > 0);
    demand((ma_cbor_parse(ma_span_of(data, size), &c) == MA_OK) == (c.raw.n == size));
    ma_buf_init(&b, INPUT_MAX);
    write_item(&b, &c, 0);
    demand(ma_buf_err(&b) == MA_OK && ma_span_eq(ma_buf_view(&b), c.raw));
    ma_buf_free(&b);
    if (c.type == MA_CBOR_MAP)
        look_up(&c);
    struct ma_cbor item;
    for (size_t i = 0; c.type == MA_CBOR_ARRAY && i < c.n && i < 64; i++)
        demand(ma_cbor_item(&c, i, &item));
    return 0;
}
