/* SPDX-License-Identifier: Apache-2.0
 * Which country an address is in, by a local file in MaxMind's DB format (libmaxminddb). Nobody is asked.
 */
#ifndef MA_GEO_H
#define MA_GEO_H

#include "ma/netaddr.h"

#define MA_GEO_FILE_MAX ((size_t)512 << 20) /* bytes */
#define MA_COUNTRY_LEN 2                    /* ISO 3166-1 alpha-2 */

struct ma_geo;
/* Without a file. Copies of files lie, unnamed, in the directory of the file `beside`; in /tmp where that cannot be.
 * Owned (ma_geo_free). */
struct ma_geo *ma_geo_new(const char *beside);
void ma_geo_free(struct ma_geo *g);
/* Takes another file ("": none); a failure leaves the old one. The file is copied first: later it may change. MA_E_IO,
 * MA_E_RANGE (too large), MA_E_PARSE (no such database); `why` names the path. */
MA_MUST_USE int ma_geo_load(struct ma_geo *g, const char *path, char why[256]);
/* The country of an address in text form; false when it is not known, or g is NULL. Does not block. Thread-safe. */
bool ma_geo_country(struct ma_geo *g, struct ma_span address, char out[MA_COUNTRY_LEN + 1]);

#endif
