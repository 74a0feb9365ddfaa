/* SPDX-License-Identifier: Apache-2.0
 * The arguments of myaccountctl: options and positionals in any order.
 */
#include "ma/admin.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

#include "int.h"

#define MA_OPT_CONFIG (1 << 29) /* beside the bits of enum ma_admin_opt */
#define MA_OPT_HELP (1 << 30)

static const struct option long_options[] = {
    {"config", required_argument, NULL, MA_OPT_CONFIG},
    {"help", no_argument, NULL, MA_OPT_HELP},
    {"dry-run", no_argument, NULL, MA_OPT_DRY_RUN},
    {"user", required_argument, NULL, MA_OPT_USER},
    {"client", required_argument, NULL, MA_OPT_CLIENT},
    {"scope", required_argument, NULL, MA_OPT_SCOPE},
    {"audience", required_argument, NULL, MA_OPT_AUDIENCE},
    {"amr", required_argument, NULL, MA_OPT_AMR},
    {"since", required_argument, NULL, MA_OPT_SINCE},
    {"ttl", required_argument, NULL, MA_OPT_TTL},
    {"auth-time", required_argument, NULL, MA_OPT_AUTH_TIME},
    {"min-count", required_argument, NULL, MA_OPT_MIN_COUNT},
    {"prefix-bytes", required_argument, NULL, MA_OPT_PREFIX_BYTES},
    {"memory", required_argument, NULL, MA_OPT_MEMORY},
    {"vault", no_argument, NULL, MA_OPT_VAULT},
    {"watch", no_argument, NULL, MA_OPT_WATCH},
    {"force", no_argument, NULL, MA_OPT_FORCE},
    {"passphrase-file", required_argument, NULL, MA_OPT_PASSPHRASE_FILE},
    {"until", required_argument, NULL, MA_OPT_UNTIL},
    {"format", required_argument, NULL, MA_OPT_FORMAT},
    {"from", required_argument, NULL, MA_OPT_FROM},
    {"head", required_argument, NULL, MA_OPT_HEAD},
    {NULL, 0, NULL, 0},
};

/* The name of an option bit, for messages. */
static const char *option_name(uint32_t bit)
{
    for (size_t i = 0; long_options[i].name; i++) {
        if (long_options[i].val == (int)bit)
            return long_options[i].name;
    }
    return "?";
}

const char *ma_command_option(size_t i, uint32_t *ret_bit, bool *ret_value)
{
    const struct option *o = &long_options[i];
    *ret_bit = o->name && o->val != MA_OPT_CONFIG && o->val != MA_OPT_HELP ? (uint32_t)o->val : 0;
    *ret_value = o->has_arg == required_argument;
    return o->name;
}

static bool parse_int(const char *text, int64_t *ret)
{
    char *end = NULL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    *ret = v;
    return errno == 0 && end != text && *end == '\0';
}

/* Stores an option's value; false when it is malformed. */
static bool take_option(struct ma_admin_args *args, int opt, const char *value)
{
    args->given |= (uint32_t)opt;
    switch (opt) {
    case MA_OPT_USER:
        args->user = ma_span_str(value);
        return true;
    case MA_OPT_CLIENT:
        args->client = ma_span_str(value);
        return true;
    case MA_OPT_SCOPE:
        args->scope = ma_span_str(value);
        return true;
    case MA_OPT_AUDIENCE:
        args->audience = ma_span_str(value);
        return true;
    case MA_OPT_AMR:
        args->amr = ma_span_str(value);
        return true;
    case MA_OPT_SINCE:
        args->since = ma_span_str(value);
        return true;
    case MA_OPT_PASSPHRASE_FILE:
        args->passphrase_file = ma_span_str(value);
        return true;
    case MA_OPT_UNTIL:
        args->until = ma_span_str(value);
        return true;
    case MA_OPT_FORMAT:
        args->format = ma_span_str(value);
        return true;
    case MA_OPT_FROM:
        args->from = ma_span_str(value);
        return true;
    case MA_OPT_HEAD:
        args->head = ma_span_str(value);
        return true;
    case MA_OPT_TTL:
        return parse_int(value, &args->ttl);
    case MA_OPT_AUTH_TIME:
        return parse_int(value, &args->auth_time);
    case MA_OPT_MIN_COUNT:
        return parse_int(value, &args->min_count);
    case MA_OPT_PREFIX_BYTES:
        return parse_int(value, &args->prefix_bytes);
    case MA_OPT_MEMORY:
        return parse_int(value, &args->memory);
    default:
        return true;
    }
}

/* Lowest option bit of a set. */
static uint32_t first_bit(uint32_t set)
{
    return set & (~set + 1);
}

const char *ma_command_refuse(struct ma_arena *a, const struct ma_command *cmd, const struct ma_admin_args *args)
{
    const char *why = NULL;
    uint32_t missing = cmd->required & ~args->given, extra = args->given & ~cmd->options;
    if (missing)
        why = ma_arena_printf(a, "%s: --%s is missing", cmd->name, option_name(first_bit(missing)));
    else if (extra)
        why = ma_arena_printf(a, "%s: takes no --%s", cmd->name, option_name(first_bit(extra)));
    else if (args->n_positional < cmd->min)
        why = ma_arena_printf(a, "%s: an argument is missing: %s %s", cmd->name, cmd->name, cmd->usage);
    else if (args->n_positional > cmd->max)
        why = ma_arena_printf(a, "%s: too many arguments: %s %s", cmd->name, cmd->name, cmd->usage);
    else
        return NULL;
    return why ? why : "out of memory";
}

/* The command is the first word, or the first two; the others are its positionals. */
static const char *take_words(struct ma_arena *a, int n, char *const *words, struct ma_admin_args *args)
{
    if (n == 0)
        return "a command is missing";
    const char *two = n > 1 ? ma_arena_printf(a, "%s %s", words[0], words[1]) : NULL;
    const struct ma_command *cmd = two ? ma_command_find(ma_span_str(two)) : NULL;
    int used = cmd ? 2 : 1;
    if (!cmd)
        cmd = ma_command_find(ma_span_str(words[0]));
    if (!cmd)
        return ma_arena_printf(a, "unknown command: %s", two ? two : words[0]);
    args->command = ma_span_str(cmd->name);
    for (int i = used; i < n; i++) {
        if (args->n_positional == MA_ADMIN_POSITIONAL_MAX)
            return ma_arena_printf(a, "%s: too many arguments: %s %s", cmd->name, cmd->name, cmd->usage);
        args->positional[args->n_positional++] = ma_span_str(words[i]);
    }
    return ma_command_refuse(a, cmd, args);
}

int ma_admin_parse(struct ma_arena *a, int argc, char *const *argv, struct ma_admin_args *ret, const char **ret_config,
                   bool *ret_help, const char **ret_why)
{
    *ret = (struct ma_admin_args){0};
    *ret_config = NULL;
    *ret_help = false;
    *ret_why = NULL;
    /* getopt_long moves the positionals behind the options: in a copy */
    char **words = ma_arena_calloc(a, (size_t)argc + 1, sizeof *words);
    if (!words)
        return MA_E_NOMEM;
    for (int i = 0; i < argc; i++)
        words[i] = argv[i];
    optind = 0; /* glibc: start over */
    opterr = 0;
    int opt, at = 1;
    while ((opt = getopt_long(argc, words, ":", long_options, NULL)) != -1) {
        if (opt == MA_OPT_CONFIG) {
            *ret_config = optarg;
        } else if (opt == MA_OPT_HELP) {
            *ret_help = true;
        } else if (opt == '?' || opt == ':' || !take_option(ret, opt, optarg)) {
            *ret_why = ma_arena_printf(a, "%s: %s", words[optind - 1],
                                       opt == ':'   ? "needs a value"
                                       : opt == '?' ? "unknown option"
                                                    : "is not a whole number");
            return MA_E_INVAL;
        }
    }
    at = optind;
    if (*ret_help)
        return MA_OK;
    *ret_why = take_words(a, argc - at, words + at, ret);
    return *ret_why ? MA_E_INVAL : MA_OK;
}
