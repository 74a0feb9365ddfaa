/* SPDX-License-Identifier: Apache-2.0
 * Working as the owner of the daemon's files.
 */
#include "ma/admin.h"

#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* False: nobody to become. */
static bool owner_of(const char *path, struct stat *st)
{
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX] = ".";
    if (slash)
        (void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - path) + 1, path);
    return geteuid() == 0 && (stat(path, st) == 0 || stat(dir, st) == 0) && st->st_uid != 0;
}

int ma_admin_become_owner(const char *path)
{
    struct stat st;
    if (!owner_of(path, &st))
        return MA_OK;
    return setgroups(0, NULL) == 0 && setgid(st.st_gid) == 0 && setuid(st.st_uid) == 0 ? MA_OK : MA_E_PERM;
}

int ma_admin_owner_enter(const char *path, struct ma_admin_owner *ret)
{
    struct stat st;
    ret->entered = false;
    if (!owner_of(path, &st))
        return MA_OK;
    if (setegid(st.st_gid) != 0)
        return MA_E_PERM;
    ret->entered = true;
    return seteuid(st.st_uid) == 0 ? MA_OK : MA_E_PERM;
}

void ma_admin_owner_leave(struct ma_admin_owner *o)
{
    if (!o->entered)
        return;
    (void)!seteuid(0);
    (void)!setegid(0);
    o->entered = false;
}
