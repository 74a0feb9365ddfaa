/* SPDX-License-Identifier: Apache-2.0
 * The account page: files compiled in (conf/account), each replaceable from a directory, served with entity tags.
 */
#ifndef MA_UI_H
#define MA_UI_H

#include "ma/ctx.h"

struct ma_ui;

#define MA_UI_FILE_MAX ((size_t)1 << 20) /* bytes of one file of ui_directory */
#define MA_UI_FILES_MAX 64               /* files, compiled in and of the directory */
#define MA_UI_QR_MAX 1024u               /* bytes of text that become a QR code */

/* The files, with what `directory` ("" none) has in their place and beside them: regular files named by small letters,
 * digits, '-' and '.', of a known type (html css js json svg png woff2 txt); others make it fail, so that none is left
 * out unseen. Owned (ma_ui_free). MA_E_INVAL, MA_E_IO, MA_E_NOMEM with why. */
MA_MUST_USE int ma_ui_open(const char *directory, struct ma_ui **ret, char why[256]);
void ma_ui_free(struct ma_ui *ui);

struct ma_ui_file {
    const char *name, *type;
    struct ma_span plain, gzip; /* gzip.p == NULL: not there */
    char tag[36];               /* of plain, without quotes */
};
/* NULL when there is no such file. Immutable and thread-safe. */
const struct ma_ui_file *ma_ui_find(const struct ma_ui *ui, struct ma_span name);
/* Whether an If-None-Match (RFC 9110 §13.1.2, weak comparison) names this tag. */
bool ma_ui_unchanged(struct ma_span if_none_match, const char *tag);
/* Whether an Accept-Encoding (RFC 9110 §12.5.3) takes gzip. */
bool ma_ui_takes_gzip(struct ma_span accept_encoding);

/* The routes of /account. Static. */
const struct ma_route *ma_ui_routes(size_t *ret_n);

#endif
