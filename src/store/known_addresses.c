/* SPDX-License-Identifier: Apache-2.0
 * Addresses that a user signed in from.
 */
#include "ma/store.h"

#include "int.h"

MA_QUERY(KNOWN_ADDRESS_GET, "SELECT 1 FROM known_addresses WHERE user_id = $1 AND address_mac = $2");
MA_QUERY(KNOWN_ADDRESS_PUT, "INSERT INTO known_addresses (user_id, address_mac, used_at) VALUES ($1, $2, $3) "
                            "ON CONFLICT (user_id, address_mac) DO UPDATE SET used_at = excluded.used_at");
MA_QUERY(KNOWN_ADDRESS_TRIM, "DELETE FROM known_addresses WHERE user_id = $1 AND address_mac IN "
                             "(SELECT address_mac FROM known_addresses WHERE user_id = $1 ORDER BY used_at DESC "
                             "LIMIT 1000 OFFSET $2)");

int ma_known_address(struct ma_db *db, struct ma_span user_id, struct ma_span address_mac, bool *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    *ret = false;
    int r = ma_store_stmt_mac(db, &ma_q_KNOWN_ADDRESS_GET, user_id, address_mac, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    *ret = r == MA_OK;
    return ma_store_end(r);
}

static int trim(struct ma_db *db, struct ma_span user_id)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_KNOWN_ADDRESS_TRIM, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 2, MA_KNOWN_ADDRESSES_MAX);
    return ma_stmt_run(st);
}

int ma_known_address_put(struct ma_db *db, struct ma_span user_id, struct ma_span address_mac, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt_mac(db, &ma_q_KNOWN_ADDRESS_PUT, user_id, address_mac, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 3, now);
    r = ma_stmt_run(st);
    return r == MA_OK ? trim(db, user_id) : r;
}
