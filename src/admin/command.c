/* SPDX-License-Identifier: Apache-2.0
 * The command table, and running one command of it.
 */
#include "ma/admin.h"

#include <stdarg.h>
#include <stdio.h>

#include "int.h"

#define MA_CMD_ARENA_FIRST ((size_t)64 << 10)

static const struct ma_command commands[] = {
    {"apply", "STATE.json [--dry-run]", ma_cmd_apply, MA_NEED_DB | MA_NEED_VAULT | MA_NEED_DOCUMENT, MA_OPT_DRY_RUN, 0,
     1, 1},
    {"export", "", ma_cmd_export, MA_NEED_DB, 0, 0, 0, 0},
    {"token", "--user ID --client ID --scope \"A B\" [--ttl SECONDS] [--audience URL] [--amr LIST] [--auth-time EPOCH]",
     ma_cmd_token, MA_NEED_DB | MA_NEED_JOSE,
     MA_OPT_USER | MA_OPT_CLIENT | MA_OPT_SCOPE | MA_OPT_TTL | MA_OPT_AUDIENCE | MA_OPT_AMR | MA_OPT_AUTH_TIME,
     MA_OPT_USER | MA_OPT_CLIENT | MA_OPT_SCOPE, 0, 0},
    {"user list", "", ma_cmd_user_list, MA_NEED_DB, 0, 0, 0, 0},
    {"user show", "ID", ma_cmd_user_show, MA_NEED_DB, 0, 0, 1, 1},
    {"user export", "ID", ma_cmd_user_export, MA_NEED_DB | MA_NEED_VAULT, 0, 0, 1, 1},
    {"user delete", "ID", ma_cmd_user_delete, MA_NEED_DB | MA_NEED_VAULT, 0, 0, 1, 1},
    {"user reset-link", "ID", ma_cmd_user_reset_link, MA_NEED_DB | MA_NEED_VAULT, 0, 0, 1, 1},
    {"method list", "USER", ma_cmd_method_list, MA_NEED_DB, 0, 0, 1, 1},
    {"method reset", "USER [ID]", ma_cmd_method_reset, MA_NEED_DB | MA_NEED_VAULT, 0, 0, 1, 2},
    {"account list", "USER", ma_cmd_account_list, MA_NEED_DB, 0, 0, 1, 1},
    {"account check", "USER [ID]", ma_cmd_account_check, MA_NEED_DAEMON, 0, 0, 1, 2},
    {"keys list", "", ma_cmd_keys_list, MA_NEED_JOSE | MA_NEED_DB | MA_NEED_VAULT, 0, 0, 0, 0},
    {"keys rotate", "[RS256|ES256] | --vault [--watch]", ma_cmd_keys_rotate, MA_NEED_JOSE | MA_NEED_DB | MA_NEED_VAULT,
     MA_OPT_VAULT | MA_OPT_WATCH, 0, 0, 1},
    {"keys reseal", "[--watch]", ma_cmd_keys_reseal, MA_NEED_DB | MA_NEED_VAULT, MA_OPT_WATCH, 0, 0, 0},
    {"audit", "[--user ID] [--since TIME] [--from ID]", ma_cmd_audit, MA_NEED_DB,
     MA_OPT_USER | MA_OPT_SINCE | MA_OPT_FROM, 0, 0, 0},
    {"audit export", "[--user ID] [--since TIME] [--until TIME] [--from ID] [--format vendor|native]",
     ma_cmd_audit_export, MA_NEED_DB, MA_OPT_USER | MA_OPT_SINCE | MA_OPT_UNTIL | MA_OPT_FROM | MA_OPT_FORMAT, 0, 0, 0},
    {"audit verify", "[--head ID:HASH]", ma_cmd_audit_verify, MA_NEED_DB | MA_NEED_VAULT, MA_OPT_HEAD, 0, 0, 0},
    {"audit discard", "", ma_cmd_audit_discard, MA_NEED_DB | MA_NEED_VAULT, 0, 0, 0, 0},
    {"audit erase", "USER", ma_cmd_audit_erase, MA_NEED_DB | MA_NEED_VAULT, 0, 0, 1, 1},
    {"outbox list", "", ma_cmd_outbox_list, MA_NEED_DB, 0, 0, 0, 0},
    {"outbox retry", "[ID]", ma_cmd_outbox_retry, MA_NEED_DB, 0, 0, 0, 1},
    {"routes", "", ma_cmd_routes, MA_NEED_LOCAL | MA_NEED_NO_CONFIG, 0, 0, 0, 0},
    {"breached build", "INPUT OUTPUT [--min-count N] [--prefix-bytes N] [--memory MIB]", ma_cmd_breached_build,
     MA_NEED_LOCAL | MA_NEED_NO_CONFIG, MA_OPT_MIN_COUNT | MA_OPT_PREFIX_BYTES | MA_OPT_MEMORY, 0, 2, 2},
    {"breached check", "FILE", ma_cmd_breached_check, MA_NEED_LOCAL | MA_NEED_NO_CONFIG, 0, 0, 1, 1},
    {"backup", "FILE [--force]", ma_cmd_backup, MA_NEED_DB | MA_NEED_VAULT, MA_OPT_FORCE, 0, 1, 1},
    {"restore", "FILE", ma_cmd_restore, MA_NEED_LOCAL | MA_NEED_ALONE, 0, 0, 1, 1},
    {"keys export", "FILE [--passphrase-file FILE] [--force]", ma_cmd_keys_export, MA_NEED_LOCAL | MA_NEED_ALONE,
     MA_OPT_PASSPHRASE_FILE | MA_OPT_FORCE, 0, 1, 1},
    {"keys import", "FILE [--passphrase-file FILE]", ma_cmd_keys_import, MA_NEED_LOCAL | MA_NEED_ALONE,
     MA_OPT_PASSPHRASE_FILE, 0, 1, 1},
    {"vacuum", "", ma_cmd_vacuum, MA_NEED_DB, 0, 0, 0, 0},
    {"health", "", ma_cmd_health, MA_NEED_DAEMON, 0, 0, 0, 0},
    {"metrics", "", ma_cmd_metrics, MA_NEED_DAEMON, 0, 0, 0, 0},
    {"check-config", "", ma_cmd_check_config, MA_NEED_LOCAL, 0, 0, 0, 0},
};

static const char usage_text[] =
    "usage: myaccountctl --config FILE COMMAND\n"
    "\n"
    "  apply STATE.json [--dry-run]   make the state match the document (\"-\": standard input)\n"
    "  export                         print the state document, secrets left out\n"
    "  token --user ID --client ID --scope \"A B\" [--ttl SECONDS] [--audience URL]\n"
    "        [--amr LIST] [--auth-time EPOCH]\n"
    "                                 print an access token signed with the daemon's key\n"
    "  user list | show ID\n"
    "  user export ID                 everything that is held about a user, as one JSON document\n"
    "  user delete ID                 erase a user\n"
    "  user reset-link ID             print a link that sets a new password, once\n"
    "  method list USER | reset USER [ID]\n"
    "  account list USER | check USER [ID]\n"
    "                                 connected accounts; check: whether their tokens can be renewed\n"
    "  audit [--user ID] [--since TIME]\n"
    "  keys list                      signing keys, vault keys and what they seal\n"
    "  keys rotate [RS256|ES256] | rotate --vault [--watch]\n"
    "                                 new keys that sign tokens, of both or one algorithm, or a new vault key;\n"
    "                                 --watch: until everything is sealed with it\n"
    "  keys reseal [--watch]          go on sealing with the newest vault key, and say how far that is\n"
    "  audit export [--user ID] [--since TIME] [--until TIME] [--from ID]\n"
    "        [--format vendor|native] the trail as JSON lines\n"
    "  audit verify [--head ID:HASH]  check every row of the trail, and that it holds a head noted before\n"
    "  audit discard                  remove a trail that does not verify, and begin anew\n"
    "  audit erase USER               erase a user who is gone from the trail\n"
    "  outbox list | retry [ID]       messages given up on\n"
    "  routes                         print the route table\n"
    "  breached build INPUT OUTPUT [--min-count N] [--prefix-bytes N] [--memory MIB]\n"
    "                                 make a list of breached passwords from lines SHA1HEX:COUNT (\"-\":\n"
    "                                 standard input), in any order\n"
    "  breached check FILE            read all of such a list\n"
    "  backup FILE [--force]          write a consistent copy of the database; --force: over an older one\n"
    "  restore FILE                   put a copy in the place of the database; the daemon must be stopped\n"
    "  keys export FILE [--passphrase-file FILE] [--force]\n"
    "  keys import FILE [--passphrase-file FILE]\n"
    "                                 the key directory in one file, wrapped with a passphrase\n"
    "  vacuum                         rewrite the database: nothing deleted is left in it; writing waits meanwhile\n"
    "  health                         ask the running daemon\n"
    "  metrics                        print its metrics, as Prometheus reads them\n"
    "  check-config                   validate the configuration file\n"
    "\n"
    "Exit status: 0 done, 1 refused or failed (the reason is on stderr), 2 usage.\n";

const char *ma_admin_usage(void)
{
    return usage_text;
}

const struct ma_command *ma_commands(size_t *ret_n)
{
    *ret_n = MA_COUNT(commands);
    return commands;
}

const struct ma_command *ma_command_find(struct ma_span name)
{
    for (size_t i = 0; i < MA_COUNT(commands); i++) {
        if (ma_span_eq_str(name, commands[i].name))
            return &commands[i];
    }
    return NULL;
}

uint32_t ma_admin_needs(const struct ma_admin_args *args)
{
    const struct ma_command *cmd = ma_command_find(args->command);
    return cmd ? cmd->needs : 0;
}

int ma_cmd_fail(struct ma_cmd *c, const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    ma_buf_put(c->err, line, n < 0 ? 0 : n < (int)sizeof line ? (size_t)n : sizeof line - 1);
    ma_buf_byte(c->err, '\n');
    return MA_EXIT_FAILED;
}

int ma_cmd_fail_rc(struct ma_cmd *c, const char *what, int rc)
{
    return ma_cmd_fail(c, "%s: %s", what, ma_err_text(rc));
}

void ma_cmd_changed(const struct ma_cmd *c)
{
    if (c->env->state_changed)
        c->env->state_changed(c->env->arg);
}

int ma_cmd_audit_row(struct ma_cmd *c, struct ma_db *db, const char *type, const char *operation,
                     struct ma_span user_id, const char *detail)
{
    const char *text =
        ma_arena_printf(c->a, "{\"actor\":\"operator\",\"uid\":%lld%s}", (long long)c->env->peer_uid, detail);
    struct ma_audit_row row = {.at = ma_cmd_now(c),
                               .type = ma_span_str(type),
                               .operation = ma_span_str(operation),
                               .user_id = user_id,
                               .detail = ma_span_str(text)};
    return text ? ma_audit_insert(db, &row) : MA_E_NOMEM;
}

int64_t ma_cmd_now(const struct ma_cmd *c)
{
    return c->env->clock->wall_ms(c->env->clock);
}

int ma_admin_run(const struct ma_admin_env *env, const struct ma_admin_args *args, struct ma_span payload,
                 struct ma_buf *out, struct ma_buf *err)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_CMD_ARENA_FIRST, MA_ADMIN_ARENA_MAX);
    struct ma_cmd c = {.env = env, .args = args, .payload = payload, .a = a, .out = out, .err = err};
    const struct ma_command *cmd = ma_command_find(args->command);
    if (!a)
        return ma_cmd_fail_rc(&c, "myaccountctl", MA_E_NOMEM);
    const char *why = cmd ? ma_command_refuse(a, cmd, args) : "unknown command";
    if (!why && (cmd->needs & MA_NEED_ALONE) && !env->alone)
        why = "myaccountctl runs this command itself";
    if (!cmd || why) {
        (void)ma_cmd_fail(&c, "%s", why);
        return MA_EXIT_USAGE;
    }
    int code = cmd->fn(&c);
    if (code == MA_EXIT_OK && ma_buf_err(out) != MA_OK)
        return ma_cmd_fail_rc(&c, "output", ma_buf_err(out));
    return code;
}
