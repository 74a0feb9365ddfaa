/* SPDX-License-Identifier: Apache-2.0
 * Streaming JSON writer into a ma_buf: no tree, commas and escapes done here.
 * Invalid UTF-8 in a string sets the buffer's sticky error (MA_E_INVAL).
 */
#ifndef MA_JSONW_H
#define MA_JSONW_H

#include "ma/buf.h"

struct ma_jw {
    struct ma_buf *b;
    bool comma; /* a comma is due before the next value or key */
};

static inline void ma_jw_init(struct ma_jw *w, struct ma_buf *b)
{
    w->b = b;
    w->comma = false;
}
void ma_jw_obj(struct ma_jw *w);                          /* { */
void ma_jw_obj_end(struct ma_jw *w);                      /* } */
void ma_jw_arr(struct ma_jw *w);                          /* [ */
void ma_jw_arr_end(struct ma_jw *w);                      /* ] */
void ma_jw_key(struct ma_jw *w, const char *key);         /* key: a literal that needs no escape */
void ma_jw_key_span(struct ma_jw *w, struct ma_span key); /* any text, escaped */
void ma_jw_str(struct ma_jw *w, struct ma_span s);
void ma_jw_cstr(struct ma_jw *w, const char *s); /* NULL writes null */
void ma_jw_int(struct ma_jw *w, int64_t v);
void ma_jw_bool(struct ma_jw *w, bool v);
void ma_jw_null(struct ma_jw *w);
void ma_jw_raw(struct ma_jw *w, struct ma_span json); /* trusted JSON text */
void ma_jw_date(struct ma_jw *w, int64_t ms);         /* ISO-8601, milliseconds, Z */

/* key and value in one call */
void ma_jw_kstr(struct ma_jw *w, const char *key, struct ma_span s);
void ma_jw_kcstr(struct ma_jw *w, const char *key, const char *s);
void ma_jw_kint(struct ma_jw *w, const char *key, int64_t v);
void ma_jw_kbool(struct ma_jw *w, const char *key, bool v);
void ma_jw_kdate(struct ma_jw *w, const char *key, int64_t ms);

#endif
