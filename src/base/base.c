/* SPDX-License-Identifier: Apache-2.0
 * Names and texts of the status codes, and the cleanup helper of malloc'ed pointers.
 */
#include "ma/base.h"

#include <stdlib.h>

#define ERR_ROW(name, value, text) {value, #name, text},
static const struct {
    int err;
    const char *name;
    const char *text;
} err_rows[] = {{MA_OK, "MA_OK", "success"}, MA_ERRORS(ERR_ROW)};
#undef ERR_ROW

const char *ma_err_name(int err)
{
    for (size_t i = 0; i < MA_COUNT(err_rows); i++) {
        if (err_rows[i].err == err)
            return err_rows[i].name;
    }
    return "MA_E_UNKNOWN";
}

const char *ma_err_text(int err)
{
    for (size_t i = 0; i < MA_COUNT(err_rows); i++) {
        if (err_rows[i].err == err)
            return err_rows[i].text;
    }
    return "unknown error";
}

void ma_free_p(void *pp)
{
    /* pp is the address of a pointer of any object type; copied bytewise to stay within aliasing rules. */
    void *p = NULL;
    memcpy(&p, pp, sizeof(p));
    free(p);
    p = NULL;
    memcpy(pp, &p, sizeof(p));
}
