/* SPDX-License-Identifier: Apache-2.0
 * Administration: the commands of myaccountctl, their argument parser, and the admin socket through
 * which a running daemon executes them.
 *
 * Wire format, both ways: "MAA1", the header's length and the payload's length (4 bytes each,
 * big-endian), a JSON header, the payload.
 *   request   {"command":"user show","args":{"positional":["auth0|alice"]}}, payload: the state document of apply
 *   response  {"exit":0,"out":N}, payload: N bytes for stdout, the rest for stderr; "next":ID where more follows
 * Peers are root or the daemon's user (SO_PEERCRED); the socket's mode is 0600.
 */
#ifndef MA_ADMIN_H
#define MA_ADMIN_H

#include "ma/buf.h"
#include "ma/clock.h"
#include "ma/conf.h"
#include "ma/db.h"
#include "ma/jose.h"
#include "ma/log.h"
#include "ma/rand.h"
#include "ma/vault.h"

#define MA_ADMIN_HEADER_MAX 65536u                /* bytes of a JSON header */
#define MA_ADMIN_PAYLOAD_MAX (256u * 1024 * 1024) /* bytes of a state document */
#define MA_ADMIN_OUTPUT_MAX (1024u * 1024 * 1024) /* bytes of a command's output */
#define MA_ADMIN_ERRORS_MAX (1024u * 1024)        /* bytes of its error lines */
#define MA_ADMIN_THREADS 4                        /* requests served at once */
#define MA_ADMIN_IO_TIMEOUT_S 10                  /* without a byte from or to the peer */
#define MA_ADMIN_TTL_MAX_S 2592000                /* the longest life of a token */

enum { MA_EXIT_OK = 0, MA_EXIT_FAILED = 1, MA_EXIT_USAGE = 2 };

/* Options of all commands; which of them a command takes is in its table row. */
enum ma_admin_opt {
    MA_OPT_DRY_RUN = 1 << 0,
    MA_OPT_USER = 1 << 1,
    MA_OPT_CLIENT = 1 << 2,
    MA_OPT_SCOPE = 1 << 3,
    MA_OPT_AUDIENCE = 1 << 4,
    MA_OPT_AMR = 1 << 5,
    MA_OPT_SINCE = 1 << 6,
    MA_OPT_TTL = 1 << 7,
    MA_OPT_AUTH_TIME = 1 << 8,
    MA_OPT_UNTIL = 1 << 9,
    MA_OPT_FORMAT = 1 << 10,
    MA_OPT_FROM = 1 << 11,
    MA_OPT_HEAD = 1 << 12,
    MA_OPT_MIN_COUNT = 1 << 13,
    MA_OPT_PREFIX_BYTES = 1 << 14,
    MA_OPT_MEMORY = 1 << 15,
    MA_OPT_VAULT = 1 << 16,
    MA_OPT_WATCH = 1 << 17,
    MA_OPT_FORCE = 1 << 18,
    MA_OPT_PASSPHRASE_FILE = 1 << 19
};
#define MA_ADMIN_POSITIONAL_MAX 2
struct ma_admin_args {
    struct ma_span command; /* "apply", "user show", … */
    struct ma_span positional[MA_ADMIN_POSITIONAL_MAX];
    size_t n_positional;
    uint32_t given; /* enum ma_admin_opt */
    struct ma_span user, client, scope, audience, amr, since, until, format, from, head;
    int64_t ttl, auth_time, min_count, prefix_bytes, memory;
    struct ma_span passphrase_file; /* of commands that myaccountctl runs itself: never sent */
};
/* Arguments behind the program's name, options and positionals in any order. Spans are borrowed from
 * argv or arena. MA_OK; MA_E_INVAL: usage error, *ret_why says which (arena); MA_E_NOMEM.
 * *ret_config: --config, or NULL; *ret_help: --help was given. Not thread-safe (getopt). */
MA_MUST_USE int ma_admin_parse(struct ma_arena *a, int argc, char *const *argv, struct ma_admin_args *ret,
                               const char **ret_config, bool *ret_help, const char **ret_why);
/* The usage text. Static. */
const char *ma_admin_usage(void);

/* What a command may need; who runs it provides it. */
enum ma_admin_need {
    MA_NEED_DB = 1,         /* read, perhaps write */
    MA_NEED_VAULT = 2,      /* key_directory's vault */
    MA_NEED_JOSE = 4,       /* the signing keys */
    MA_NEED_DAEMON = 8,     /* only a running daemon can answer */
    MA_NEED_LOCAL = 16,     /* answered by myaccountctl itself */
    MA_NEED_DOCUMENT = 32,  /* the first positional is a file (or "-") that becomes the payload */
    MA_NEED_NO_CONFIG = 64, /* --config may be left out */
    MA_NEED_ALONE = 128     /* by myaccountctl itself, whether or not a daemon runs; never in a daemon */
};
/* The needs of a parsed command. */
uint32_t ma_admin_needs(const struct ma_admin_args *args);

struct ma_account_check {
    struct ma_span user_id, connection, id;
};

struct ma_templates;
struct ma_user;
/* What the operator changed about a user. */
struct ma_admin_news {
    enum ma_event event;
    struct ma_span user_id, subject;      /* subject p == NULL: none */
    const char *what;                     /* for people */
    const struct ma_user *before, *after; /* contact data and password; NULL otherwise */
};
/* What telling takes. All borrowed. */
struct ma_admin_teller {
    const struct ma_conf *conf;
    struct ma_vault *vault;
    const struct ma_templates *templates;
    const struct ma_rand *rand;
    int64_t now_ms;
};
/* Writes the notice, in the transaction of the change. The courier is to be woken after it. */
MA_MUST_USE int ma_admin_tell(const struct ma_admin_teller *t, struct ma_db *db, const struct ma_admin_news *news);

struct ma_admin_env {
    const struct ma_conf *conf; /* base_url, custom_domains, admin_socket, policy and
                                 * notifications.reset_ttl; copied at start and reload */
    void *arg;                  /* of the callbacks */
    /* Runs fn in a transaction of its own on the writer: commits when fn returns MA_OK, rolls back otherwise.
     * Returns fn's status, or the commit's. Blocking; called from the admin threads. */
    int (*write)(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg);
    /* Runs fn with a connection that may only read, outside any transaction. */
    int (*read)(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg);
    /* Something that requests or the courier depend on has changed and is committed: forget what is
     * remembered, look again. NULL: nobody. */
    void (*state_changed)(void *arg);
    /* Appends JSON text; MA_OK when ready. NULL: nobody to ask. */
    int (*health)(void *arg, struct ma_buf *out);
    /* Appends the metrics as Prometheus reads them. NULL: nobody to ask. */
    int (*metrics)(void *arg, struct ma_buf *out);
    /* Gets a fresh token of a connected account, as the vault hands it out, and says only how that went. NULL: only a
     * running daemon can. */
    int (*check_account)(void *arg, const struct ma_account_check *check, const char **ret_status,
                         int64_t *ret_expires_in_s);
    /* Values may have to be sealed anew: begin soon. NULL: nobody does, the command does it itself. */
    void (*reseal)(void *arg);
    /* What was deleted leaves the database's files too. MA_E_TIMEOUT: a little later; MA_E_RANGE: the database is
     * larger than max_bytes (0: any size), so that only its log was cut. */
    int (*forget)(void *arg, int64_t max_bytes);
    /* One line about how far a long command is. NULL: nobody looks. */
    void (*progress)(void *arg, const char *line);
    bool alone;       /* this is myaccountctl, with its user's rights: MA_NEED_ALONE may run */
    int64_t peer_uid; /* who gave the command; the daemon sets it for each */
    /* ma_admin_tell with what the process has; on the writer. NULL: nobody is told. */
    int (*tell)(void *arg, struct ma_db *db, const struct ma_admin_news *news);
    const char *(*routes)(struct ma_arena *a); /* the route table as text, arena */
    struct ma_jose *jose;
    struct ma_vault *vault;
    const struct ma_clock *clock;
    const struct ma_rand *rand;
    struct ma_log *log;
    /* A command whose output comes in pages sets it to the --from of the next one; 0: that was all. NULL: nobody asks
     * for more, and the command writes everything. */
    int64_t *next;
};

/* Runs one command here and now. `payload`: the document of apply. Output goes to out and err (lines).
 * Returns an exit code. Thread-safe as far as the callbacks are. */
int ma_admin_run(const struct ma_admin_env *env, const struct ma_admin_args *args, struct ma_span payload,
                 struct ma_buf *out, struct ma_buf *err);

/* Files that root makes for the daemon would lock it out. As root, become the owner of `path`, or of its directory
 * before it is there: for good, or until left. MA_E_PERM. Not for a process with threads. */
MA_MUST_USE int ma_admin_become_owner(const char *path);
struct ma_admin_owner {
    bool entered;
};
MA_MUST_USE int ma_admin_owner_enter(const char *path, struct ma_admin_owner *ret);
void ma_admin_owner_leave(struct ma_admin_owner *o);

/* --- the daemon's side --- */
struct ma_admin;
/* Listens at conf->admin_socket and serves until stopped. A socket file nobody listens at is replaced; MA_E_BUSY
 * when somebody does, MA_E_EXISTS when the path is no socket, MA_E_IO. env is copied; conf is not kept. */
MA_MUST_USE int ma_admin_start(const struct ma_admin_env *env, struct ma_admin **ret, char why[256]);
/* New configuration (SIGHUP). Thread-safe. The socket stays where it is. */
void ma_admin_reload(struct ma_admin *ad, const struct ma_conf *conf);
/* Waits for running commands, then removes the socket. NULL is fine. */
void ma_admin_stop(struct ma_admin *ad);

/* --- the client's side --- */
/* Sends the command to the daemon at `socket`. MA_E_NOTFOUND when nobody listens there, MA_E_PERM, MA_E_IO,
 * MA_E_PARSE; with MA_OK *ret_exit, out and err are the daemon's. */
MA_MUST_USE int ma_admin_call(const char *socket, const struct ma_admin_args *args, struct ma_span payload,
                              struct ma_buf *out, struct ma_buf *err, int *ret_exit);
/* The same, one page of the output: *ret_next is the --from of the next one, 0 at the end. */
MA_MUST_USE int ma_admin_call_page(const char *socket, const struct ma_admin_args *args, struct ma_span payload,
                                   struct ma_buf *out, struct ma_buf *err, int *ret_exit, int64_t *ret_next);

#endif
