/* SPDX-License-Identifier: Apache-2.0
 * What the files of the HTTP front end share.
 */
#ifndef MA_HTTP_INT_H
#define MA_HTTP_INT_H

#include "ma/http.h"

#include <stdatomic.h>
#include <sys/types.h>

/* --- screen.c: framing and header sanity, before anything else is believed --- */

/* What the header pass has seen so far. */
struct ma_screen {
    struct ma_req *req;
    struct ma_arena *arena;
    unsigned seen;     /* bit per header that may stand only once */
    const char *fault; /* static; NULL while clean */
    const char *end;   /* of the last value, in the bytes as they came; NULL before the first header */
    bool out_of_memory;
};
/* One header field as it was received. Collects the interesting ones into req. */
void ma_screen_header(struct ma_screen *s, struct ma_span name, struct ma_span value);
/* After the last one: the reason to refuse, or NULL (RFC 9112 §6.3, §3.2). */
const char *ma_screen_finish(struct ma_screen *s, bool http_1_1);
enum ma_verb ma_verb_parse(const char *method);

/* --- deadline.c: connections that do not produce a request in time are cut --- */

struct ma_deadlines;
struct ma_tls_identity;
struct ma_conn;
struct ma_deadline_limits {
    int64_t header_ms, body_ms, keep_alive_ms;
};
/* tick(arg) is called a few times a second on the timer's thread. */
MA_MUST_USE int ma_deadlines_new(const struct ma_clock *clock, void (*tick)(void *), void *arg,
                                 struct ma_deadlines **ret);
void ma_deadlines_set(struct ma_deadlines *d, struct ma_deadline_limits limits);
/* Joins the timer thread; every connection must be gone. */
void ma_deadlines_free(struct ma_deadlines *d);
/* A connection was accepted; the descriptor is borrowed until ma_conn_close. NULL when out of memory. */
struct ma_conn *ma_conn_open(struct ma_deadlines *d, int fd);
void ma_conn_close(struct ma_deadlines *d, struct ma_conn *c);
/* Where the connection's TLS identity is kept; its reference is the caller's to drop. */
struct ma_tls_identity **ma_conn_identity(struct ma_conn *c);
/* The request that is being read or answered; the HTTP thread's. ma_conn_release gives it back, once: NULL when there
 * is none. */
void ma_conn_hold(struct ma_conn *c, struct ma_ctx *ctx);
struct ma_ctx *ma_conn_release(struct ma_conn *c);
/* Its request header is complete; has_body starts the body's deadline. Lock-free. */
void ma_conn_header_done(struct ma_deadlines *d, struct ma_conn *c, bool has_body);
void ma_conn_body_done(struct ma_conn *c);
/* The answer was sent: the next header may begin. */
void ma_conn_idle(struct ma_deadlines *d, struct ma_conn *c);

/* --- listen.c --- */

/* The file of a UNIX socket that we made; st_ino 0: none. */
struct ma_listen_file {
    char path[108];
    dev_t dev;
    ino_t ino;
};
/* Binds and listens on "host:port", "[v6]:port" or "unix:/path" (mode 0660; a socket file nobody listens at is
 * replaced, any other file and a live listener refused). *ret_fd is owned. address: what the ready line shows, with
 * the port the kernel chose for port 0. */
MA_MUST_USE int ma_listen(const char *listen, int *ret_fd, struct ma_listen_file *file, char address[128],
                          char why[256]);
/* The address of a socket that somebody else made. */
void ma_listen_describe(int fd, char address[128]);
/* Removes the socket file unless another one stands in its place by now. */
void ma_listen_remove(struct ma_listen_file *file);

#endif
