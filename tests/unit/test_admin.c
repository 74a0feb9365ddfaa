/* SPDX-License-Identifier: Apache-2.0
 * Administration: the argument parser and every command.
 */
#include "ma/admin.h"

#include "admin_util.h"

static int add_methods_fn(struct ma_db *db, void *arg)
{
    (void)arg;
    struct ma_method m = {.id = MA_LIT("totp|dev_1"),
                          .type = MA_FACTOR_TOTP,
                          .confirmed = true,
                          .secret = MA_LIT("sealed-seed"),
                          .created_at = NOW};
    struct ma_method phone = {.id = MA_LIT("phone|dev_2"),
                              .type = MA_FACTOR_PHONE,
                              .confirmed = true,
                              .address = MA_LIT("+15551230001"),
                              .created_at = NOW + 1};
    int rc = ma_method_insert(db, MA_LIT("auth0|alice"), &m);
    return rc == MA_OK ? ma_method_insert(db, MA_LIT("auth0|alice"), &phone) : rc;
}

/* --- arguments --- */
static const struct parse_row {
    const char *line, *command;
    size_t n;
    uint32_t given;
} parse_rows[] = {
    {"--config f apply s.json", "apply", 1, 0},
    {"apply s.json --dry-run --config f", "apply", 1, MA_OPT_DRY_RUN},
    {"apply --dry-run s.json", "apply", 1, MA_OPT_DRY_RUN},
    {"--dry-run apply -", "apply", 1, MA_OPT_DRY_RUN},
    {"user show auth0|a", "user show", 1, 0},
    {"user --config f delete auth0|a", "user delete", 1, 0},
    {"user list", "user list", 0, 0},
    {"method reset u", "method reset", 1, 0},
    {"method reset u id", "method reset", 2, 0},
    {"audit", "audit", 0, 0},
    {"audit --since 2026-01-01 --user x", "audit", 0, MA_OPT_SINCE | MA_OPT_USER},
    {"token --user u --client c --scope a+b", "token", 0, MA_OPT_USER | MA_OPT_CLIENT | MA_OPT_SCOPE},
    {"token --scope=a --client=c --user=u --ttl=5", "token", 0,
     MA_OPT_USER | MA_OPT_CLIENT | MA_OPT_SCOPE | MA_OPT_TTL},
    {"keys rotate", "keys rotate", 0, 0},
    {"outbox retry", "outbox retry", 0, 0},
    {"backup f", "backup", 1, 0},
    {"user show -- --odd", "user show", 1, 0},
};

START_TEST(arguments)
{
    const struct parse_row *row = &parse_rows[_i];
    struct ma_admin_args args;
    const char *bad = NULL;
    int rc = parse(row->line, &args, &bad);
    ck_assert_msg(rc == MA_OK, "%s: %s", row->line, bad);
    ck_assert_msg(ma_span_eq_str(args.command, row->command), "%s", row->line);
    ck_assert_uint_eq(args.n_positional, row->n);
    ck_assert_uint_eq(args.given, row->given);
}
END_TEST

static const char *const usage_rows[] = {
    "",
    "frobnicate",
    "apply",
    "apply a b",
    "apply a b c",
    "apply s.json --ttl 5",
    "apply s.json --unknown",
    "apply s.json --dry-run=x",
    "user",
    "user frobnicate",
    "user show",
    "user list x",
    "user show a b",
    "method reset",
    "method reset a b c",
    "token",
    "token --user u --client c",
    "token --user u --scope s",
    "token --user u --client c --scope s extra",
    "token --user u --client c --scope s --ttl",
    "token --user u --client c --scope s --ttl ten",
    "token --user u --client c --scope s --ttl 10s",
    "token --user u --client c --scope s --ttl 99999999999999999999",
    "token --user u --client c --scope s --auth-time x",
    "keys",
    "keys rotate RS256 ES256",
    "keys list --vault",
    "restore",
    "restore f --force",
    "keys import f --force",
    "keys export",
    "user export",
    "vacuum now",
    "export --dry-run",
    "backup",
    "health x",
};

START_TEST(usage_errors)
{
    struct ma_admin_args args;
    const char *bad = NULL;
    T_IS(MA_E_INVAL, parse(usage_rows[_i], &args, &bad));
    ck_assert_ptr_nonnull(bad);
}
END_TEST

START_TEST(requests_survive_the_wire)
{
    struct ma_admin_args args, back;
    const char *bad = NULL;
    struct ma_buf b;
    T_OK(parse("token --user auth0|\"\\x --client c --scope a+b --ttl 60 --auth-time 5 --amr mfa,pwd", &args, &bad));
    ma_buf_init(&b, MA_ADMIN_HEADER_MAX);
    T_OK(ma_admin_encode(&b, &args));
    T_OK(ma_admin_decode(arena, ma_buf_view(&b), &back));
    ck_assert(ma_span_eq(args.command, back.command) && ma_span_eq(args.user, back.user));
    ck_assert(ma_span_eq(args.scope, back.scope) && ma_span_eq(args.amr, back.amr));
    ck_assert_uint_eq(args.given, back.given);
    ck_assert_int_eq(back.ttl, 60);
    ck_assert_int_eq(back.auth_time, 5);
    ck_assert_ptr_null(back.audience.p);
    ma_buf_free(&b);
}
END_TEST

START_TEST(every_command_is_in_the_usage_text)
{
    size_t n = 0;
    const struct ma_command *c = ma_commands(&n);
    for (size_t i = 0; i < n; i++) {
        char word[32];
        (void)snprintf(word, sizeof word, "%s", c[i].name);
        char *blank = strchr(word, ' ');
        ck_assert_msg(strstr(ma_admin_usage(), blank ? blank + 1 : word) != NULL, "%s", c[i].name);
        ck_assert_uint_le(c[i].max, MA_ADMIN_POSITIONAL_MAX);
        ck_assert_uint_eq(c[i].required & ~c[i].options, 0);
    }
}
END_TEST

/* --- commands --- */
START_TEST(apply_and_export)
{
    apply_people();
    ck_assert(says(&out, "user auth0|alice created\n"));
    ck_assert_int_eq(world.changed, 1);
    ck_assert_int_eq(run_with("apply s --dry-run", "{\"users\":[{\"user_id\":\"new\"}]}"), MA_EXIT_OK);
    ck_assert_str_eq(text(&out), "user new created\n");
    ck_assert_int_eq(world.changed, 1);
    ck_assert_int_eq(run("user show new"), MA_EXIT_FAILED);
    ck_assert_int_eq(run_with("apply s", people), MA_EXIT_OK);
    ck_assert_str_eq(text(&out), "no changes\n");
    ck_assert_int_eq(world.changed, 1);
    ck_assert_int_eq(run("export"), MA_EXIT_OK);
    ck_assert(says(&out, "\"auth0|bob\"") && !says(&out, "Secret-Of-Alice"));
}
END_TEST

START_TEST(apply_errors_name_the_place)
{
    int code = run_with("apply s", "{\"users\":[{\"user_id\":\"a\"},{\"user_id\":\"b\",\"blocked\":1}],\"x\":1}");
    ck_assert_int_eq(code, MA_EXIT_FAILED);
    ck_assert_str_eq(text(&out), "");
    ck_assert_str_eq(text(&err), "/x: must NOT have additional properties\n/users/1/blocked: must be boolean\n");
    ck_assert_int_eq(run_with("apply s", "{"), MA_EXIT_FAILED);
    ck_assert(strncmp(text(&err), "document: must be JSON", 22) == 0);
    ck_assert_int_eq(run("user show a"), MA_EXIT_FAILED);
    ck_assert_int_eq(world.changed, 0);
}
END_TEST

START_TEST(users)
{
    apply_people();
    ck_assert_int_eq(run("user list"), MA_EXIT_OK);
    ck_assert(says(&out, "{\"user_id\":\"auth0|alice\"") && says(&out, "\n{\"user_id\":\"auth0|bob\""));
    ck_assert_int_eq(run("user show auth0|alice"), MA_EXIT_OK);
    ck_assert(says(&out, "\"password\":{\"created_at\":") &&
              says(&out, "\"authentication_methods\":[],\"connected_accounts\":0}"));
    ck_assert_msg(!says(&out, "argon2"), "%s", text(&out));
    ck_assert_int_eq(run("user delete auth0|alice"), MA_EXIT_OK);
    ck_assert_int_eq(world.changed, 2);
    ck_assert_int_eq(run("user delete auth0|alice"), MA_EXIT_FAILED);
    ck_assert_str_eq(text(&err), "user delete: no such user\n");
    ck_assert_int_eq(run("user show auth0|alice"), MA_EXIT_FAILED);
}
END_TEST

START_TEST(users_page_by_page)
{
    struct ma_buf doc;
    ma_buf_init(&doc, 1 << 20);
    ma_buf_str(&doc, "{\"users\":[");
    for (int i = 0; i < 2 * MA_ADMIN_PAGE; i++)
        ma_buf_printf(&doc, "%s{\"user_id\":\"u%d\"}", i ? "," : "", i);
    ma_buf_str(&doc, "]}");
    ma_buf_byte(&doc, 0);
    ck_assert_int_eq(run_with("apply s", text(&doc)), MA_EXIT_OK);
    ma_buf_free(&doc);
    ck_assert_int_eq(run("user list"), MA_EXIT_OK);
    int lines = 0;
    for (const char *p = text(&out); *p; p++)
        lines += *p == '\n';
    ck_assert_int_eq(lines, 2 * MA_ADMIN_PAGE);
}
END_TEST

START_TEST(methods)
{
    apply_people();
    T_OK(world_write(&world, add_methods_fn, NULL));
    ck_assert_int_eq(run("method list auth0|alice"), MA_EXIT_OK);
    ck_assert(says(&out, "[{\"id\":\"totp|dev_1\"") && says(&out, "\"phone_number\":\"+15551230001\""));
    ck_assert(!says(&out, "sealed-seed"));
    ck_assert_int_eq(run("method reset auth0|alice totp|dev_9"), MA_EXIT_FAILED);
    ck_assert_str_eq(text(&err), "method reset: no such method\n");
    ck_assert_int_eq(run("method reset auth0|bob totp|dev_1"), MA_EXIT_FAILED);
    ck_assert_int_eq(run("method reset auth0|alice totp|dev_1"), MA_EXIT_OK);
    ck_assert_str_eq(text(&out), "1 method deleted\n");
    ck_assert_int_eq(run("method reset auth0|alice"), MA_EXIT_OK);
    ck_assert_str_eq(text(&out), "1 method deleted\n");
    ck_assert_int_eq(run("method reset auth0|alice"), MA_EXIT_OK);
    ck_assert_str_eq(text(&out), "0 methods deleted\n");
    ck_assert_int_eq(run("method list auth0|alice"), MA_EXIT_OK);
    ck_assert_str_eq(text(&out), "[]\n");
    ck_assert_int_eq(run("method list nobody"), MA_EXIT_FAILED);
    ck_assert_int_eq(run("method reset nobody"), MA_EXIT_FAILED);
    ck_assert_str_eq(text(&err), "method reset: no such user\n");
}
END_TEST

START_TEST(audit_trail)
{
    apply_people();
    ma_clock_manual_advance(&clock_manual, 60000);
    ck_assert_int_eq(run("user delete auth0|bob"), MA_EXIT_OK);
    ck_assert_int_eq(run("audit"), MA_EXIT_OK);
    ck_assert(says(&out, "\"operation\":\"apply\"") && says(&out, "\"type\":\"sdu\""));
    ck_assert(says(&out, "\"user_id\":\"erased|") && !says(&out, "auth0|bob"));
    ck_assert_int_eq(run("audit --user auth0|bob"), MA_EXIT_OK);
    ck_assert_str_eq(text(&out), "");
    ck_assert_int_eq(run("audit --since 2023-11-14T22:14:00Z"), MA_EXIT_OK);
    ck_assert(!says(&out, "\"operation\":\"apply\"") && says(&out, "\"type\":\"sdu\""));
    ck_assert_int_eq(run("audit --since 2030-01-01"), MA_EXIT_OK);
    ck_assert_str_eq(text(&out), "");
    ck_assert_int_eq(run("audit --since yesterday"), MA_EXIT_USAGE);
}
END_TEST

START_TEST(tokens)
{
    apply_people();
    ck_assert_int_eq(run("token --user auth0|alice --client spa --scope read:me:factors+x:y"), MA_EXIT_OK);
    struct ma_token t = token_of(0);
    ck_assert(ma_span_eq_str(t.sub, "auth0|alice") && ma_span_eq_str(t.client_id, "spa"));
    ck_assert(ma_span_eq_str(t.scope, "read:me:factors x:y"));
    ck_assert_int_eq(t.exp - t.iat, 86400);
    ck_assert_int_eq(t.auth_time, -1);
    ck_assert_uint_eq(t.amr.n, 0);
    ck_assert_int_eq(
        run("token --user auth0|alice --client spa --scope a --ttl 60 --amr mfa,pwd --auth-time 1699999999 "
            "--audience https://login.custom.example/me/"),
        MA_EXIT_OK);
    t = token_of(1);
    ck_assert_int_eq(t.exp - t.iat, 60);
    ck_assert_int_eq(t.auth_time, 1699999999);
    ck_assert_uint_eq(t.amr.n, 2);
    ck_assert(ma_span_eq_str(t.amr.v[0], "mfa") && ma_span_eq_str(t.amr.v[1], "pwd"));
    ck_assert(ma_span_eq_str(t.iss, "https://login.custom.example/"));
}
END_TEST

START_TEST(tokens_refused)
{
    apply_people();
    ck_assert_int_eq(run("token --user nobody --client spa --scope a"), MA_EXIT_FAILED);
    ck_assert_str_eq(text(&err), "token: no such user\n");
    ck_assert_int_eq(run("token --user auth0|bob --client nope --scope a"), MA_EXIT_FAILED);
    ck_assert_str_eq(text(&err), "token: no such client\n");
    ck_assert_int_eq(run("token --user auth0|bob --client spa --scope a --ttl 0"), MA_EXIT_USAGE);
    ck_assert_int_eq(run("token --user auth0|bob --client spa --scope a --ttl 2592001"), MA_EXIT_USAGE);
    ck_assert_int_eq(run("token --user auth0|bob --client spa --scope a --auth-time -5"), MA_EXIT_USAGE);
    ck_assert_str_eq(text(&out), "");
}
END_TEST

START_TEST(token_lifetime_under_the_default_policy)
{
    apply_people();
    ck_assert_int_eq(run_with("apply s", "{\"api\":{\"default_policy\":{\"require_2fa\":true}}}"), MA_EXIT_OK);
    ck_assert_int_eq(run("token --user auth0|alice --client spa --scope a"), MA_EXIT_OK);
    struct ma_token t = token_of(0);
    ck_assert_int_eq(t.exp - t.iat, 900);
    ck_assert_int_eq(run("token --user auth0|alice --client spa --scope a --ttl 100"), MA_EXIT_OK);
    t = token_of(0);
    ck_assert_int_eq(t.exp - t.iat, 100);
}
END_TEST

START_TEST(vault_key_rotation)
{
    apply_people();
    ck_assert_int_eq(run("keys rotate --watch"), MA_EXIT_USAGE);
    ck_assert_int_eq(run("keys rotate ES256 --vault"), MA_EXIT_USAGE);
    ck_assert_int_eq(run("keys rotate --vault"), MA_EXIT_OK);
    ck_assert_msg(says(&out, "vault key 2 seals from now on\n100 %") && says(&out, "1 old vault key removed"), "%s",
                  text(&out));
    ck_assert_int_eq(run("keys list"), MA_EXIT_OK);
    ck_assert_msg(says(&out, "\"id\":2,\"state\":\"sealing\"") && !says(&out, "\"id\":1,"), "%s", text(&out));
    ck_assert(says(&out, "\"percent\":100}"));
    ck_assert_int_eq(run("audit"), MA_EXIT_OK);
    ck_assert(says(&out, "\"operation\":\"keys rotate\"") && says(&out, "\"vault_key\":2"));
}
END_TEST

/* What works on files with the rights of whoever calls is never done by a daemon. */
START_TEST(only_for_myaccountctl_itself)
{
    static const char *const lines[] = {"restore /f", "keys export /f", "keys import /f"};
    ck_assert_int_eq(run(lines[_i]), MA_EXIT_USAGE);
    ck_assert(says(&err, "myaccountctl runs this command itself"));
}
END_TEST

START_TEST(key_rotation)
{
    apply_people();
    char token[MA_TOKEN_MAX], kid[128];
    ck_assert_int_eq(run("token --user auth0|alice --client spa --scope a"), MA_EXIT_OK);
    (void)snprintf(token, sizeof token, "%s", text(&out));
    ck_assert_int_eq(run("keys rotate"), MA_EXIT_OK);
    ck_assert_int_eq(strncmp(text(&out), "RS256 ", 6), 0);
    (void)snprintf(kid, sizeof kid, "\"%.*s\"", (int)strcspn(text(&out) + 6, "\n"), text(&out) + 6);
    ck_assert_int_eq(run("keys list"), MA_EXIT_OK);
    ck_assert(says(&out, kid) && says(&out, "\"signing\"") && says(&out, "\"verifying\""));
    ma_buf_clear(&out);
    ma_buf_str(&out, token);
    ma_buf_byte(&out, 0);
    (void)token_of(0);
    ck_assert_int_eq(world.changed, 3); /* the people, and a key of each algorithm */
    ck_assert_int_eq(run("keys rotate now"), MA_EXIT_USAGE);
}
END_TEST

static int add_dead_fn(struct ma_db *db, void *arg)
{
    (void)arg;
    struct ma_outbox_row row = {.id = MA_LIT("0123456789abcdef0123456789abcdef"),
                                .channel = MA_LIT("email"),
                                .user_id = MA_LIT("auth0|alice"),
                                .payload = MA_LIT("sealed-message"),
                                .created_at = NOW,
                                .next_at = NOW};
    int rc = ma_outbox_insert(db, &row);
    return rc == MA_OK ? ma_outbox_retry(db, row.id, NOW, true, MA_LIT("refused")) : rc;
}

START_TEST(dead_letters)
{
    apply_people();
    T_OK(world_write(&world, add_dead_fn, NULL));
    ck_assert_int_eq(run("outbox list"), MA_EXIT_OK);
    ck_assert(says(&out, "\"0123456789abcdef0123456789abcdef\"") && says(&out, "\"last_error\":\"refused\""));
    ck_assert(!says(&out, "sealed-message"));
    ck_assert_int_eq(run("outbox retry ffff"), MA_EXIT_FAILED);
    ck_assert_int_eq(run("outbox retry 0123456789abcdef0123456789abcdef"), MA_EXIT_OK);
    ck_assert_int_eq(run("outbox list"), MA_EXIT_OK);
    ck_assert_str_eq(text(&out), "");
}
END_TEST

START_TEST(backups)
{
    char line[160];
    struct stat st;
    apply_people();
    (void)snprintf(line, sizeof line, "backup %s/copy.db", dir);
    ck_assert_msg(run(line) == MA_EXIT_OK, "%s", text(&err));
    ck_assert_int_eq(stat(line + 7, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(run(line), MA_EXIT_FAILED);
    ck_assert_int_eq(run("backup relative.db"), MA_EXIT_FAILED);
}
END_TEST

START_TEST(small_commands)
{
    ck_assert_int_eq(run("routes"), MA_EXIT_OK);
    ck_assert_str_eq(text(&out), "GET /me/v1/factors\n");
    ck_assert_int_eq(run("health"), MA_EXIT_OK);
    ck_assert_str_eq(text(&out), "{\"status\":\"ok\"}\n");
    world.health = MA_E_DB;
    ck_assert_int_eq(run("health"), MA_EXIT_FAILED);
    env.health = NULL;
    ck_assert_int_eq(run("health"), MA_EXIT_FAILED);
    ck_assert_int_eq(run("metrics"), MA_EXIT_FAILED); /* nobody to ask */
    ck_assert_int_eq(run("check-config"), MA_EXIT_OK);
}
END_TEST

static TCase *commands_case(void)
{
    TCase *t = tcase_create("commands");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, arguments, 0, (int)MA_COUNT(parse_rows));
    tcase_add_loop_test(t, usage_errors, 0, (int)MA_COUNT(usage_rows));
    tcase_add_test(t, requests_survive_the_wire);
    tcase_add_test(t, every_command_is_in_the_usage_text);
    tcase_add_test(t, apply_and_export);
    tcase_add_test(t, apply_errors_name_the_place);
    tcase_add_test(t, users);
    tcase_add_test(t, users_page_by_page);
    tcase_add_test(t, methods);
    tcase_add_test(t, audit_trail);
    tcase_add_test(t, dead_letters);
    tcase_add_test(t, backups);
    tcase_add_test(t, small_commands);
    return t;
}

static TCase *tokens_case(void)
{
    TCase *t = tcase_create("tokens");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup_jose, teardown);
    tcase_add_test(t, tokens);
    tcase_add_test(t, tokens_refused);
    tcase_add_test(t, token_lifetime_under_the_default_policy);
    tcase_add_test(t, key_rotation);
    tcase_add_test(t, vault_key_rotation);
    tcase_add_loop_test(t, only_for_myaccountctl_itself, 0, 3);
    return t;
}

int main(void)
{
    Suite *s = suite_create("admin");
    suite_add_tcase(s, commands_case());
    suite_add_tcase(s, tokens_case());
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
