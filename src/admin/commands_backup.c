/* SPDX-License-Identifier: Apache-2.0
 * Copies of the database and of the keys, and putting them back.
 */
#include "ma/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "int.h"
#include "ma/audit.h"
#include "ma/crypto.h"
#include "ma/reseal.h"
#include "ma/state.h"

static void close_p(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static void vault_close_p(struct ma_vault **v)
{
    ma_vault_close(*v);
}

static int say(struct ma_cmd *c, int rc, const char *why)
{
    const char *what = (const char *)c->args->command.p;
    return why[0] ? ma_cmd_fail(c, "%s: %s", what, why) : ma_cmd_fail_rc(c, what, rc);
}

/* --- backup --- */

struct backup_job {
    const char *file;
    bool force;
    struct ma_db_copy copy;
    char why[256];
};

static int backup_fn(struct ma_db *db, void *arg)
{
    struct backup_job *job = arg;
    return ma_db_backup(db, job->file, job->force, &job->copy, job->why);
}

int ma_cmd_backup(struct ma_cmd *c)
{
    struct backup_job job = {.file = ma_arena_strdup(c->a, c->args->positional[0]),
                             .force = (c->args->given & MA_OPT_FORCE) != 0};
    char name[MA_VAULT_NAME_LEN + 1];
    if (!job.file)
        return ma_cmd_fail_rc(c, "backup", MA_E_NOMEM);
    if (job.file[0] != '/')
        return ma_cmd_fail(c, "backup: the path must be absolute");
    int rc = ma_vault_name(c->env->vault, name);
    if (rc == MA_OK)
        rc = c->env->read(c->env->arg, backup_fn, &job);
    if (rc != MA_OK)
        return say(c, rc, job.why);
    ma_buf_printf(c->out, "%s written: %lld bytes, schema %lld, sealed with the keys %s (vault key %u)\n", job.file,
                  (long long)job.copy.bytes, (long long)job.copy.schema, name, ma_vault_newest(c->env->vault));
    return MA_EXIT_OK;
}

/* --- restore --- */

struct restore_job {
    struct ma_cmd *c;
    struct ma_vault *vault;
    struct ma_audit *audit; /* the copy's chain */
};

/* Every value of the copy must open with the keys that are there, not only the mark. */
static int keys_fit(struct ma_vault *v, struct ma_db *copy, char why[256])
{
    struct ma_reseal_status s;
    int rc = ma_state_check_vault(copy, v, why);
    if (rc == MA_E_AUTH)
        (void)snprintf(
            why, 256,
            "the copy was sealed with other keys than those in key_directory: import the keys that belong to it");
    if (rc == MA_OK)
        rc = ma_reseal_status(copy, v, &s);
    if (rc != MA_OK || s.orphans == 0)
        return rc;
    (void)snprintf(why, 256,
                   "%lld values of the copy are sealed with vault keys that have left the ring since (%u is one): "
                   "import the keys exported when it was made",
                   (long long)s.orphans, s.orphans_key);
    return MA_E_AUTH;
}

static int record(struct ma_cmd *c, struct ma_db *db)
{
    int rc = ma_db_begin(db);
    if (rc == MA_OK)
        rc = ma_cmd_audit_row(c, db, "sapi", "restore", MA_SPAN_NULL, "");
    if (rc == MA_OK)
        return ma_db_commit(db);
    ma_db_rollback(db);
    return rc;
}

static int check_copy(void *arg, struct ma_db *copy, char why[256])
{
    struct restore_job *job = arg;
    int rc = keys_fit(job->vault, copy, why);
    if (rc == MA_OK)
        rc = ma_audit_open(copy, job->vault, job->c->env->conf->key_directory, job->c->env->rand, NULL, &job->audit,
                           why);
    return rc == MA_OK ? record(job->c, copy) : rc;
}

/* The keys that are there; none are made for a database that comes from elsewhere. */
static int open_keys(const char *dir, struct ma_arena *a, struct ma_vault **ret, char why[256])
{
    const char *ring = ma_arena_printf(a, "%s/vault.keys", dir);
    if (!ring)
        return MA_E_NOMEM;
    if (access(ring, F_OK) == 0)
        return ma_vault_open(dir, ma_rand_system(), ret, why);
    (void)snprintf(why, 256, "%.120s holds no keys: import them first (myaccountctl keys import)", dir);
    return MA_E_NOTFOUND;
}

static int open_copy(struct ma_cmd *c, const char *name, int *ret)
{
    struct stat st;
    *ret = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (*ret < 0)
        return ma_cmd_fail(c, "restore: %s: %s", name, strerrordesc_np(errno));
    if (fstat(*ret, &st) != 0 || !S_ISREG(st.st_mode))
        return ma_cmd_fail(c, "restore: %s is not a regular file", name);
    return MA_EXIT_OK;
}

static int restore_from(struct ma_cmd *c, int fd, const char *name)
{
    MA_CLEANUP(vault_close_p) struct ma_vault *vault = NULL;
    struct ma_db_restored done;
    char why[256] = "", keys[MA_VAULT_NAME_LEN + 1];
    int rc = ma_crypto_init();
    if (rc == MA_OK)
        rc = open_keys(c->env->conf->key_directory, c->a, &vault, why);
    struct restore_job job = {c, vault, NULL};
    const struct ma_db_restore r = {fd, name, ma_cmd_now(c), check_copy, &job};
    if (rc == MA_OK)
        rc = ma_vault_name(vault, keys);
    if (rc == MA_OK)
        rc = ma_db_restore(c->env->conf->database, &r, &done, why);
    ma_audit_close(job.audit);
    if (rc == MA_E_BUSY)
        return ma_cmd_fail(c, "restore: stop the daemon first: %s", why);
    if (rc != MA_OK)
        return say(c, rc, why);
    ma_buf_printf(c->out, "%s restored from %s: schema %lld, keys %s\n", c->env->conf->database, name,
                  (long long)done.schema, keys);
    if (done.kept[0])
        ma_buf_printf(c->out, "the database it replaced is %s\n", done.kept);
    return MA_EXIT_OK;
}

int ma_cmd_restore(struct ma_cmd *c)
{
    MA_CLEANUP(close_p) int fd = -1;
    const char *name = ma_arena_strdup(c->a, c->args->positional[0]);
    if (!name)
        return ma_cmd_fail_rc(c, "restore", MA_E_NOMEM);
    int code = open_copy(c, name, &fd); /* as whoever we are; the rest as the daemon's user */
    if (code != MA_EXIT_OK)
        return code;
    if (ma_admin_become_owner(c->env->conf->database) != MA_OK)
        return ma_cmd_fail(c, "restore: cannot work as the owner of %s", c->env->conf->database);
    return restore_from(c, fd, name);
}

/* --- the keys --- */

/* From the file, or from the terminal. arena. */
static int passphrase(struct ma_cmd *c, bool fresh, struct ma_span *ret)
{
    char *text = ma_arena_zalloc(c->a, MA_PASSPHRASE_MAX + 1), why[256] = "";
    if (!text)
        return ma_cmd_fail_rc(c, "keys", MA_E_NOMEM);
    int rc;
    if (c->args->given & MA_OPT_PASSPHRASE_FILE) {
        const char *ref = ma_arena_printf(c->a, "file:%.*s", (int)c->args->passphrase_file.n,
                                          (const char *)c->args->passphrase_file.p);
        rc = ref ? ma_secret_load(c->a, ref, ret, why) : MA_E_NOMEM;
    } else {
        rc = ma_passphrase_ask("Passphrase: ", fresh, text, MA_PASSPHRASE_MAX + 1);
        *ret = ma_span_str(text);
        if (rc == MA_E_NOTFOUND)
            return ma_cmd_fail(c, "keys: there is no terminal to ask at: give --passphrase-file");
        if (rc == MA_E_INVAL)
            return ma_cmd_fail(c, "keys: no passphrase, or not the same one twice");
    }
    if (rc != MA_OK)
        return say(c, rc, why);
    if (ret->n > MA_PASSPHRASE_MAX || (fresh && ret->n < MA_PASSPHRASE_MIN))
        return ma_cmd_fail(c, "keys: a passphrase has %d to %d bytes", MA_PASSPHRASE_MIN, MA_PASSPHRASE_MAX);
    return MA_EXIT_OK;
}

/* Runs with the rights of the key directory's owner. */
static int wrap(struct ma_cmd *c, struct ma_span phrase, struct ma_buf *out, char name[MA_VAULT_NAME_LEN + 1],
                char why[256])
{
    struct ma_admin_owner owner;
    int rc = ma_admin_owner_enter(c->env->conf->key_directory, &owner);
    if (rc == MA_OK)
        rc = ma_keys_wrap(c->env->conf->key_directory, c->env->rand, phrase, out, name, why);
    ma_admin_owner_leave(&owner);
    return rc;
}

int ma_cmd_keys_export(struct ma_cmd *c)
{
    MA_CLEANUP(ma_buf_free) struct ma_buf out;
    struct ma_span phrase;
    char name[MA_VAULT_NAME_LEN + 1] = "", why[256] = "";
    const char *file = ma_arena_strdup(c->a, c->args->positional[0]);
    ma_buf_init(&out, MA_KEYFILE_MAX);
    int rc = file ? ma_crypto_init() : MA_E_NOMEM;
    if (rc != MA_OK)
        return say(c, rc, why);
    int code = passphrase(c, true, &phrase);
    if (code != MA_EXIT_OK)
        return code;
    rc = wrap(c, phrase, &out, name, why);
    if (rc == MA_OK)
        rc = ma_secret_write(file, ma_buf_view(&out), (c->args->given & MA_OPT_FORCE) != 0, why);
    if (rc != MA_OK)
        return say(c, rc, why);
    ma_buf_printf(c->out, "%s written: the keys %s\n", file, name);
    return MA_EXIT_OK;
}

static int read_file(struct ma_cmd *c, const char *name, struct ma_buf *b)
{
    MA_CLEANUP(close_p) int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0) {
        uint8_t *room = ma_buf_reserve(b, 4096);
        if (!room)
            return ma_cmd_fail(c, "keys import: %s is too large", name);
        n = read(fd, room, 4096);
        b->n += n > 0 ? (size_t)n : 0;
    }
    return n == 0 ? MA_EXIT_OK : ma_cmd_fail(c, "keys import: %s: %s", name, strerrordesc_np(errno));
}

int ma_cmd_keys_import(struct ma_cmd *c)
{
    MA_CLEANUP(ma_buf_free) struct ma_buf file;
    struct ma_admin_owner owner = {false};
    struct ma_span phrase;
    char name[MA_VAULT_NAME_LEN + 1] = "", why[256] = "";
    const char *dir = c->env->conf->key_directory, *path = ma_arena_strdup(c->a, c->args->positional[0]);
    ma_buf_init(&file, MA_KEYFILE_MAX + 4096);
    int rc = path ? ma_crypto_init() : MA_E_NOMEM;
    if (rc != MA_OK)
        return say(c, rc, why);
    int code = read_file(c, path, &file);
    if (code == MA_EXIT_OK)
        code = passphrase(c, false, &phrase);
    if (code != MA_EXIT_OK)
        return code;
    rc = ma_admin_owner_enter(dir, &owner);
    if (rc == MA_OK)
        rc = ma_keys_unwrap(dir, phrase, ma_buf_view(&file), name, why);
    ma_admin_owner_leave(&owner);
    if (rc != MA_OK)
        return say(c, rc, why);
    ma_buf_printf(c->out, "%s holds the keys %s\n", dir, name);
    return MA_EXIT_OK;
}
