/* SPDX-License-Identifier: Apache-2.0
 * QR codes by libqrencode.
 */
#include "ma/qr.h"

#include <errno.h>
#include <qrencode.h>

enum { DARK = 1, VERSION_40_M_BYTES = 2331 };

static int copy(struct ma_arena *a, const QRcode *code, struct ma_qr *ret)
{
    size_t n = (size_t)code->width * (size_t)code->width;
    uint8_t *m = ma_arena_alloc(a, n);
    for (size_t i = 0; m && i < n; i++)
        m[i] = code->data[i] & DARK;
    *ret = (struct ma_qr){code->width, m};
    return m ? MA_OK : MA_E_NOMEM;
}

int ma_qr_encode(struct ma_arena *a, struct ma_span text, struct ma_qr *ret)
{
    *ret = (struct ma_qr){0, NULL};
    if (text.n == 0 || text.n > VERSION_40_M_BYTES)
        return text.n == 0 ? MA_E_INVAL : MA_E_RANGE;
    QRcode *code = QRcode_encodeData((int)text.n, text.p, 0, QR_ECLEVEL_M);
    if (!code)
        return errno == ERANGE ? MA_E_RANGE : MA_E_NOMEM;
    int r = copy(a, code, ret);
    QRcode_free(code);
    return r;
}
