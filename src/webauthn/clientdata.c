/* SPDX-License-Identifier: Apache-2.0
 * Client data (WebAuthn §5.8.1): which ceremony, which challenge and which origin the client saw.
 */
#include "ma/webauthn.h"

#include "int.h"
#include "ma/codec.h"
#include "ma/jsonr.h"

#define CHALLENGE_MAX 64u /* bytes; ours have 32 */
#define ORIGIN_MAX 2048

struct client_data {
    struct ma_span type, challenge, origin;
    struct ma_span cross_origin, top_origin; /* JSON text */
    bool has_cross_origin, has_top_origin;
};
#define TEXT(member, limit)                                                                                            \
    {                                                                                                                  \
        .name = #member, .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct client_data, member),               \
        .max = (limit)                                                                                                 \
    }
#define RAW(json_name, member)                                                                                         \
    {                                                                                                                  \
        .name = (json_name), .type = MA_F_RAW, .flags = MA_NULLOK, .off = offsetof(struct client_data, member),        \
        .has_off = offsetof(struct client_data, has_##member)                                                          \
    }
/* Anything else is ignored: clients add members to keep servers from comparing templates (§5.8.1), and tokenBinding
 * means nothing any more. */
static const struct ma_jfield FIELDS[] = {
    TEXT(type, 64),
    TEXT(challenge, 128),
    TEXT(origin, ORIGIN_MAX),
    RAW("crossOrigin", cross_origin),
    RAW("topOrigin", top_origin),
};
static const struct ma_shape SHAPE = MA_SHAPE_OPEN(struct client_data, FIELDS);

/* §7.1 step 5, §7.2 step 8: UTF-8 decode strips a byte order mark. */
static struct ma_span without_bom(struct ma_span json)
{
    static const uint8_t bom[] = {0xef, 0xbb, 0xbf};

    if (json.n < sizeof bom || memcmp(json.p, bom, sizeof bom) != 0)
        return json;
    return ma_span_of(json.p + sizeof bom, json.n - sizeof bom);
}

static int decode(struct ma_arena *a, struct ma_span json, struct client_data *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *doc = NULL;
    struct ma_verrs errs = {.n = 0, .arena = a};
    const int rc = json.n > MA_WEBAUTHN_CLIENT_DATA_MAX ? MA_E_PARSE : ma_json_parse(without_bom(json), &doc);

    return rc == MA_OK ? ma_json_decode(doc, a, &SHAPE, ret, &errs) : rc;
}

static bool challenge_is(struct ma_span text, struct ma_span want)
{
    uint8_t got[CHALLENGE_MAX];
    size_t n = 0;

    if (text.n > MA_B64URL_LEN(CHALLENGE_MAX) || ma_b64url_decode(text, got, sizeof got, &n) != MA_OK)
        return false;
    return n > 0 && ma_ct_eq(ma_span_of(got, n), want);
}

static bool origin_is_listed(const struct ma_webauthn_policy *policy, struct ma_span origin)
{
    for (size_t i = 0; i < policy->n_origins; i++) {
        if (ma_span_eq_str(origin, policy->origins[i]))
            return true;
    }
    return false;
}

static int check(const struct ma_wa_ceremony *c, const struct ma_webauthn_policy *policy, struct ma_span challenge,
                 const struct client_data *d, struct ma_webauthn_fault *fault)
{
    /* §7.1 step 7, §7.2 step 10 */
    if (!ma_span_eq_str(d->type, c->type))
        return ma_wa_fail(fault, MA_E_AUTH, MA_WA_CLIENT_DATA, c->step.type,
                          "the type of the client data is not that of this ceremony");
    /* §7.1 step 8, §7.2 step 11 */
    if (!challenge_is(d->challenge, challenge))
        return ma_wa_fail(fault, MA_E_AUTH, MA_WA_CLIENT_DATA, c->step.challenge,
                          "the challenge is not the one that was sent");
    /* §7.1 step 9, §7.2 step 12; §13.4.9 */
    if (!origin_is_listed(policy, d->origin))
        return ma_wa_fail(fault, MA_E_AUTH, MA_WA_CLIENT_DATA, c->step.origin, "the origin is not allowed");
    if (!policy->same_origin_only)
        return MA_OK;
    /* §7.1 step 10, §7.2 step 13 */
    if (d->has_cross_origin && !ma_span_eq_str(d->cross_origin, "false"))
        return ma_wa_fail(fault, MA_E_AUTH, MA_WA_CLIENT_DATA, c->step.cross_origin,
                          "the ceremony took place in a frame of another origin");
    /* §7.1 step 11, §7.2 step 14 */
    if (d->has_top_origin)
        return ma_wa_fail(fault, MA_E_AUTH, MA_WA_CLIENT_DATA, c->step.top_origin,
                          "the ceremony took place below a page of another origin");
    return MA_OK;
}

int ma_wa_client_data(struct ma_arena *a, const struct ma_wa_ceremony *c, const struct ma_webauthn_policy *policy,
                      struct ma_span challenge, struct ma_span json, struct ma_webauthn_fault *fault)
{
    struct client_data d = {0};
    const int rc = decode(a, json, &d);

    if (rc == MA_E_NOMEM)
        return rc;
    /* §7.1 steps 5 and 6, §7.2 steps 8 and 9 */
    if (rc == MA_E_PARSE)
        return ma_wa_fail(fault, MA_E_PARSE, MA_WA_CLIENT_DATA, c->step.json, "the client data is not JSON");
    if (rc != MA_OK)
        return ma_wa_fail(fault, MA_E_PARSE, MA_WA_CLIENT_DATA, c->step.json,
                          "the client data must be an object with the texts type, challenge and origin");
    return check(c, policy, challenge, &d, fault);
}
