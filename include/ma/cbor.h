/* SPDX-License-Identifier: Apache-2.0
 * Strict CBOR (RFC 8949) reader for hostile input: bounded, allocation-free, nothing is copied.
 *
 * Read is what CTAP2 calls canonical, without its order of keys: definite lengths only, every integer and length in
 * its shortest form, map keys that are integers or text and occur once, text that is UTF-8, and of the simple values
 * false, true and null. Tags and floating-point numbers are refused. A count is believed only as far as bytes are left.
 */
#ifndef MA_CBOR_H
#define MA_CBOR_H

#include "ma/base.h"

#define MA_CBOR_DEPTH_MAX 4u  /* arrays and maps inside each other */
#define MA_CBOR_PAIRS_MAX 32u /* pairs of one map */

enum ma_cbor_type {
    MA_CBOR_UINT,
    MA_CBOR_NINT,
    MA_CBOR_BYTES,
    MA_CBOR_TEXT,
    MA_CBOR_ARRAY,
    MA_CBOR_MAP,
    MA_CBOR_BOOL,
    MA_CBOR_NULL
};

/* One item; everything in it is borrowed from the input. */
struct ma_cbor {
    enum ma_cbor_type type;
    uint64_t n;          /* UINT: the value; NINT: the value is -1 - n; BOOL: 0 or 1; ARRAY: items; MAP: pairs */
    struct ma_span body; /* BYTES, TEXT: the content; ARRAY, MAP: the items, encoded */
    struct ma_span raw;  /* the whole item, encoded */
};

/* The item at the start of the input, checked all the way down; what follows it is not looked at (ret->raw.n bytes
 * were read). MA_E_PARSE, or MA_E_RANGE over one of the limits above. */
MA_MUST_USE int ma_cbor_first(struct ma_span in, struct ma_cbor *ret);
/* The same for an input that holds exactly one item. */
MA_MUST_USE int ma_cbor_parse(struct ma_span in, struct ma_cbor *ret);

/* The value of an integer item. False for other types and values outside int64_t. */
bool ma_cbor_int(const struct ma_cbor *c, int64_t *ret);
/* The value under a key of a map; false when it is not there (or the item is no map). */
bool ma_cbor_member(const struct ma_cbor *map, const char *key, struct ma_cbor *ret);
bool ma_cbor_member_int(const struct ma_cbor *map, int64_t key, struct ma_cbor *ret);
/* The n-th item of an array, from 0. */
bool ma_cbor_item(const struct ma_cbor *array, size_t i, struct ma_cbor *ret);

#endif
