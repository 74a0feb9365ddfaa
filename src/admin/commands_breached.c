/* SPDX-License-Identifier: Apache-2.0
 * Commands on lists of breached passwords; they need no daemon, no database and no configuration.
 */
#include "ma/admin.h"

#include <stdlib.h>

#include "ma/breached.h"
#include "ma/crypto.h"
#include "int.h"

/* Of good passwords, how many are taken for bad ones: one in so many. */
static double one_in(const struct ma_breached_info *i)
{
    double space = 1;
    for (unsigned k = 0; k < i->prefix_bytes; k++)
        space *= 256;
    return i->count ? space / (double)i->count : space;
}

static void put_info(struct ma_cmd *c, const struct ma_breached_info *i)
{
    ma_buf_printf(c->out,
                  "%llu prefixes of %u bytes, seen %llu times or more; %llu bytes; one good password in %.3g is "
                  "taken for a breached one\n",
                  (unsigned long long)i->count, i->prefix_bytes, (unsigned long long)i->min_count,
                  (unsigned long long)i->bytes, one_in(i));
}

static int64_t value_or(const struct ma_cmd *c, uint32_t option, int64_t value, int64_t otherwise)
{
    return c->args->given & option ? value : otherwise;
}

static int fill(struct ma_cmd *c, struct ma_breached_build *ret)
{
    int64_t min = value_or(c, MA_OPT_MIN_COUNT, c->args->min_count, 1);
    int64_t bytes = value_or(c, MA_OPT_PREFIX_BYTES, c->args->prefix_bytes, MA_BREACHED_PREFIX_DEFAULT);
    int64_t memory = value_or(c, MA_OPT_MEMORY, c->args->memory, MA_BREACHED_MEMORY_DEFAULT_MIB);
    if (min < 1)
        return ma_cmd_fail(c, "--min-count must be 1 at least");
    if (bytes < MA_BREACHED_PREFIX_MIN || bytes > MA_BREACHED_PREFIX_MAX)
        return ma_cmd_fail(c, "--prefix-bytes must be from %d to %d", MA_BREACHED_PREFIX_MIN, MA_BREACHED_PREFIX_MAX);
    if (memory < MA_BREACHED_MEMORY_MIN_MIB || memory > MA_BREACHED_MEMORY_MAX_MIB)
        return ma_cmd_fail(c, "--memory must be from %d to %d MiB", MA_BREACHED_MEMORY_MIN_MIB,
                           MA_BREACHED_MEMORY_MAX_MIB);
    *ret = (struct ma_breached_build){.input = ma_arena_strdup(c->a, c->args->positional[0]),
                                      .output = ma_arena_strdup(c->a, c->args->positional[1]),
                                      .prefix_bytes = (unsigned)bytes,
                                      .min_count = (uint64_t)min,
                                      .memory_mib = (unsigned)memory};
    return ret->input && ret->output ? MA_EXIT_OK : ma_cmd_fail_rc(c, "breached build", MA_E_NOMEM);
}

int ma_cmd_breached_build(struct ma_cmd *c)
{
    struct ma_breached_build in;
    struct ma_breached_built done;
    char why[256] = "";
    int code = fill(c, &in);
    if (code != MA_EXIT_OK)
        return code;
    int r = ma_crypto_init();
    if (r == MA_OK)
        r = ma_breached_make(&in, &done, why);
    if (r < 0)
        return ma_cmd_fail(c, "breached build: %s", why[0] ? why : ma_err_text(r));
    ma_buf_printf(c->out, "%llu lines, %llu taken\n", (unsigned long long)done.lines, (unsigned long long)done.kept);
    put_info(c, &done.info);
    return MA_EXIT_OK;
}

static void close_p(struct ma_breached_file **f)
{
    ma_breached_close(*f);
}

int ma_cmd_breached_check(struct ma_cmd *c)
{
    MA_CLEANUP(close_p) struct ma_breached_file *f = NULL;
    struct ma_breached_info info;
    char why[256] = "";
    const char *path = ma_arena_strdup(c->a, c->args->positional[0]);
    int r = path ? ma_crypto_init() : MA_E_NOMEM;
    if (r == MA_OK)
        r = ma_breached_open(path, &f, why);
    if (r == MA_OK)
        r = ma_breached_verify(f, why);
    if (r < 0)
        return ma_cmd_fail(c, "breached check: %s", why[0] ? why : ma_err_text(r));
    ma_breached_describe(f, &info);
    put_info(c, &info);
    return MA_EXIT_OK;
}
