/* SPDX-License-Identifier: Apache-2.0
 * Names and icons of what makes passkeys, by AAGUID (WebAuthn Level 3 §6.5.1). The list is data:
 * conf/authenticators.json is built in, and another file of the same form may take its place.
 *
 * {"license": text, "icons": {NAME: SVG text}, "authenticators": [{"aaguid": UUID, "name": text, "icon": NAME}]}
 */
#ifndef MA_AUTHENTICATORS_H
#define MA_AUTHENTICATORS_H

#include "ma/arena.h"

#define MA_AUTHENTICATORS_FILE_MAX ((size_t)4 << 20) /* bytes */
#define MA_AUTHENTICATORS_MAX 5000
#define MA_AUTHENTICATOR_ICON_MAX 65536 /* bytes of one SVG */

struct ma_authenticators;
/* Without a list. Owned (ma_authenticators_free). */
struct ma_authenticators *ma_authenticators_new(void);
void ma_authenticators_free(struct ma_authenticators *l);
/* Takes the list of a file ("": the built-in one); a failure leaves the old one. MA_E_IO, MA_E_RANGE (too large),
 * MA_E_PARSE; `why` names path and place. */
MA_MUST_USE int ma_authenticators_load(struct ma_authenticators *l, const char *path, char why[256]);
/* What the AAGUID stands for: *ret_name, and *ret_icon as a data: URL (p == NULL: none). arena. False when it is not
 * listed, for the AAGUID of zeros, and for NULL. Does not block. Thread-safe. */
bool ma_authenticator(struct ma_authenticators *l, struct ma_arena *a, const uint8_t aaguid[16],
                      struct ma_span *ret_name, struct ma_span *ret_icon);

#endif
