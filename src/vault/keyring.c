/* SPDX-License-Identifier: Apache-2.0
 * The key ring file: one master key per line, "id created_epoch_s base64url(32 bytes)", after a
 * comment that names the format. Blank lines and further comments are skipped.
 */
#include "ma/vault.h"

#include "int.h"
#include "ma/codec.h"

#include <inttypes.h>
#include <stdio.h>

#define RING_HEADER "# myaccountd vault keys 1: id created base64url(key)"
#define KEY_TEXT_LEN MA_B64URL_LEN(MA_VAULT_KEY_LEN)
#define CREATED_MAX 253402300799LL /* the end of the year 9999 */
#define FIRST_ID 1u

/* Domain separation (RFC 5869 §3.2): one master key, one derived key per use. */
static const char seal_info[] = "myaccountd vault seal 1";

/* The line of a fresh key at text + at. */
static int put_key(const struct ma_rand *r, uint32_t id, int64_t created_s, char *text, size_t cap, size_t *at)
{
    uint8_t key[MA_VAULT_KEY_LEN];
    char key_text[KEY_TEXT_LEN + 1];

    const int rc = r->fill(r, key, sizeof key);
    if (rc != MA_OK)
        return rc;
    ma_b64url_encode(ma_span_of(key, sizeof key), key_text);
    const int n = snprintf(text + *at, cap - *at, "%u %" PRId64 " %s\n", id, created_s, key_text);
    ma_wipe(key, sizeof key);
    ma_wipe(key_text, sizeof key_text);
    if (n < 0 || (size_t)n >= cap - *at)
        return MA_E_RANGE;
    *at += (size_t)n;
    return MA_OK;
}

int ma_keyring_make(const struct ma_rand *r, int64_t now_s, char *text, size_t cap, size_t *ret_n)
{
    const int n = snprintf(text, cap, "%s\n", RING_HEADER);

    if (n < 0 || (size_t)n >= cap)
        return MA_E_RANGE;
    *ret_n = (size_t)n;
    return put_key(r, FIRST_ID, now_s, text, cap, ret_n);
}

int ma_keyring_append(const struct ma_rand *r, struct ma_span text, uint32_t id, int64_t created_s, char *out,
                      size_t *ret_n)
{
    size_t at = text.n;

    if (text.n + 1 >= MA_VAULT_FILE_MAX)
        return MA_E_RANGE;
    memcpy(out, text.p, text.n);
    if (at > 0 && out[at - 1] != '\n')
        out[at++] = '\n';
    const int rc = put_key(r, id, created_s, out, MA_VAULT_FILE_MAX, &at);
    *ret_n = at;
    return rc;
}

/* Takes the text up to `stop` (or all of it) off the front of s. */
static struct ma_span cut(struct ma_span *s, char stop)
{
    const uint8_t *at = s->n > 0 ? memchr(s->p, stop, s->n) : NULL;
    const struct ma_span got = ma_span_of(s->p, at ? (size_t)(at - s->p) : s->n);
    const size_t skip = got.n + (at ? 1 : 0);

    *s = skip < s->n ? ma_span_of(s->p + skip, s->n - skip) : MA_SPAN_NULL;
    return got;
}

static bool number(struct ma_span s, int64_t max, int64_t *ret)
{
    int64_t v = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (s.p[i] - '0');
        if (v > max)
            return false;
    }
    *ret = v;
    return true;
}

/* NULL, or what is wrong with the line. */
static const char *parse_line(struct ma_vault_ring *v, struct ma_span line)
{
    uint8_t master[MA_VAULT_KEY_LEN];
    int64_t id = 0;
    size_t n = 0;

    if (v->n == MA_VAULT_KEYS_MAX)
        return "too many keys";
    struct ma_vault_key *k = &v->keys[v->n];
    if (!number(cut(&line, ' '), UINT32_MAX, &id) || id == 0)
        return "the id is not a number from 1 to 4294967295";
    if (ma_keyring_find(v, (uint32_t)id))
        return "the id appears twice";
    if (!number(cut(&line, ' '), CREATED_MAX, &k->created))
        return "the creation time is not a number";
    if (line.n != KEY_TEXT_LEN || ma_b64url_decode(line, master, sizeof master, &n) != MA_OK || n != sizeof master)
        return "the key is not 32 bytes in base64url";
    k->id = (uint32_t)id;
    const int rc = ma_hkdf_sha256(ma_span_of(master, n), ma_span_str(seal_info), k->seal, sizeof k->seal);
    ma_wipe(master, sizeof master);
    if (rc != MA_OK)
        return "the key cannot be derived";
    v->n++;
    return NULL;
}

static void find_newest(struct ma_vault_ring *v)
{
    v->newest = 0;
    for (size_t i = 1; i < v->n; i++) {
        if (v->keys[i].created >= v->keys[v->newest].created)
            v->newest = i;
    }
}

int ma_keyring_parse(struct ma_vault_ring *v, struct ma_span text, const char *shown, char why[MA_WHY_MAX])
{
    v->n = 0;
    for (unsigned line_no = 1; text.n > 0; line_no++) {
        const struct ma_span line = ma_trim(cut(&text, '\n'));
        if (line_no == 1 && !ma_span_eq_str(line, RING_HEADER)) {
            snprintf(why, MA_WHY_MAX, "%.150s: the first line does not name the key ring format", shown);
            return MA_E_PARSE;
        }
        if (line.n == 0 || line.p[0] == '#')
            continue;
        const char *fault = parse_line(v, line);
        if (fault) {
            snprintf(why, MA_WHY_MAX, "%.150s: line %u: %s", shown, line_no, fault);
            return MA_E_PARSE;
        }
    }
    if (v->n == 0) {
        snprintf(why, MA_WHY_MAX, "%.150s: holds no key", shown);
        return MA_E_PARSE;
    }
    find_newest(v);
    return MA_OK;
}

const struct ma_vault_key *ma_keyring_find(const struct ma_vault_ring *v, uint32_t id)
{
    for (size_t i = 0; i < v->n; i++) {
        if (v->keys[i].id == id)
            return &v->keys[i];
    }
    return NULL;
}

/* The id a line begins with; 0: none. */
static uint32_t line_id(struct ma_span line)
{
    int64_t id = 0;

    line = ma_trim(line);
    return number(cut(&line, ' '), UINT32_MAX, &id) ? (uint32_t)id : 0;
}

static bool among(uint32_t id, const uint32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] == id)
            return true;
    }
    return false;
}

void ma_keyring_remove(struct ma_span text, const uint32_t *ids, size_t n, char *out, size_t *ret_n)
{
    *ret_n = 0;
    while (text.n > 0) {
        const uint8_t *const begin = text.p;
        const struct ma_span line = cut(&text, '\n');
        const size_t whole = text.n > 0 ? (size_t)(text.p - begin) : line.n;
        const uint32_t id = line_id(line);
        if (id != 0 && among(id, ids, n))
            continue;
        memcpy(out + *ret_n, begin, whole);
        *ret_n += whole;
    }
}
