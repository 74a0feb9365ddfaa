/* SPDX-License-Identifier: Apache-2.0
 * Sealing everything anew after a change of vault keys, and the end of keys that nothing needs any more.
 *
 * Nothing is remembered between passes: each sealed value names its key, so whoever was interrupted goes on by
 * beginning again. A value that changed while its new seal was made is left to the next pass.
 */
#ifndef MA_RESEAL_H
#define MA_RESEAL_H

#include "ma/db.h"
#include "ma/vault.h"

#define MA_RESEAL_BATCH 64 /* values replaced in one transaction */
/* How long nothing may have been found under an old key before it goes: a request that read or made such a value has
 * ended by then, one way or another. */
#define MA_RESEAL_QUIET_MS 120000

struct ma_reseal_env {
    struct ma_vault *vault;
    void *arg; /* of the callbacks */
    /* As in struct ma_admin_env: fn with a connection that may only read; fn in a transaction of the writer. */
    int (*read)(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg);
    int (*write)(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg);
    /* After each batch; false ends the pass early (MA_E_BUSY). NULL: go on. */
    bool (*more)(void *arg);
};

struct ma_reseal_pass {
    int64_t resealed; /* replaced and committed */
    int64_t missed;   /* changed by somebody else in the meantime */
    int64_t failed;   /* do not open: damaged, moved, or sealed with a key that is not in the ring */
};
/* Goes once through every sealed column. Blocking; one pass at a time. What was committed stays when it fails. */
MA_MUST_USE int ma_reseal_run(const struct ma_reseal_env *env, struct ma_reseal_pass *ret);

struct ma_reseal_status {
    struct {
        struct ma_vault_key_info key;
        int64_t values; /* sealed with it */
    } keys[MA_VAULT_KEYS_MAX];
    size_t n_keys;
    int64_t values;       /* in all */
    int64_t waiting;      /* sealed with an older key of the ring */
    int64_t orphans;      /* sealed with a key that is not in the ring */
    uint32_t orphans_key; /* one such key */
};
/* Counts what is sealed with which key. Reader or writer. */
MA_MUST_USE int ma_reseal_status(struct ma_db *db, struct ma_vault *v, struct ma_reseal_status *ret);
/* Whole percents of what is sealed with the newest key; 100 only when nothing else is left. */
int ma_reseal_percent(const struct ma_reseal_status *s);
/* Takes the older keys out of the ring that, as the status says, seal nothing; *ret_n: how many. The caller knows that
 * nobody still holds a value from before. */
MA_MUST_USE int ma_reseal_retire(struct ma_vault *v, const struct ma_reseal_status *s, size_t *ret_n, char why[256]);

#endif
