/* SPDX-License-Identifier: Apache-2.0
 * Small facts that are kept beside the keys, out of reach of who can only write to the database.
 */
#include "ma/vault.h"

#include "int.h"

#include <errno.h>
#include <fcntl.h>

static void dir_close_p(struct ma_vault_dir *d)
{
    ma_fd_close_p(&d->fd);
}

static int dir_open(struct ma_vault_dir *d, char why[MA_WHY_MAX])
{
    d->fd = open(d->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return d->fd >= 0 ? MA_OK : ma_why_errno(why, errno == EACCES ? MA_E_PERM : MA_E_IO, d->name, errno);
}

int ma_vault_note_read(const char *key_directory, const char *name, char *out, size_t cap, size_t *ret_n,
                       char why[MA_WHY_MAX])
{
    MA_CLEANUP(dir_close_p) struct ma_vault_dir d = {.name = key_directory, .fd = -1};
    int r = dir_open(&d, why);
    *ret_n = 0;
    return r == MA_OK ? ma_vault_file_read(&d, name, (uint8_t *)out, cap, ret_n, why) : r;
}

int ma_vault_note_create(const char *key_directory, const char *name, struct ma_span text, char why[MA_WHY_MAX])
{
    MA_CLEANUP(dir_close_p) struct ma_vault_dir d = {.name = key_directory, .fd = -1};
    int r = dir_open(&d, why);
    return r == MA_OK ? ma_vault_file_create(&d, name, text, why) : r;
}
