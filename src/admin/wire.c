/* SPDX-License-Identifier: Apache-2.0
 * Frames of the admin socket, and request headers as JSON.
 */
#include "ma/admin.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "ma/crypto.h"
#include "ma/jsonr.h"
#include "ma/jsonw.h"
#include "int.h"

#define MA_FRAME_HEAD 12u
#define MA_POSITIONAL_BYTES 4096

static const char frame_magic[4] = {'M', 'A', 'A', '1'};

static void put_u32(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static size_t get_u32(const uint8_t *p)
{
    return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

static int io_error(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK ? MA_E_TIMEOUT : MA_E_IO;
}

static int send_all(int fd, struct ma_span s)
{
    while (s.n > 0) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return io_error();
        s.p += n;
        s.n -= (size_t)n;
    }
    return MA_OK;
}

/* Waits for bytes: MA_E_TIMEOUT, or MA_E_IO once `stop` has become readable (-1: nothing stops it). */
static int wait_readable(int fd, int stop, int timeout_ms)
{
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = stop, .events = POLLIN}};
    int n;
    do
        n = poll(p, 2, timeout_ms);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return MA_E_TIMEOUT;
    return n < 0 || p[1].revents ? MA_E_IO : MA_OK;
}

static int recv_all(int fd, const struct ma_frame_wait *wait, uint8_t *p, size_t n)
{
    while (n > 0) {
        int rc = wait_readable(fd, wait->stop, wait->timeout_ms);
        if (rc != MA_OK)
            return rc;
        ssize_t got = recv(fd, p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            return MA_E_IO;
        if (got < 0)
            return io_error();
        p += got;
        n -= (size_t)got;
    }
    return MA_OK;
}

int ma_frame_send(int fd, struct ma_span header, struct ma_span payload, struct ma_span more)
{
    uint8_t head[MA_FRAME_HEAD];
    size_t total;
    if (header.n > MA_ADMIN_HEADER_MAX || !ma_add_ok(payload.n, more.n, &total) || total > UINT32_MAX)
        return MA_E_RANGE;
    memcpy(head, frame_magic, sizeof frame_magic);
    put_u32(head + 4, header.n);
    put_u32(head + 8, total);
    int rc = send_all(fd, ma_span_of(head, sizeof head));
    if (rc == MA_OK)
        rc = send_all(fd, header);
    if (rc == MA_OK)
        rc = send_all(fd, payload);
    return rc == MA_OK ? send_all(fd, more) : rc;
}

void ma_frame_free(struct ma_frame *f)
{
    if (f->mem)
        ma_wipe(f->mem, f->n); /* a document holds passwords */
    free(f->mem);
    *f = (struct ma_frame){0};
}

int ma_frame_recv(int fd, const struct ma_frame_wait *wait, size_t max_payload, struct ma_frame *ret)
{
    uint8_t head[MA_FRAME_HEAD];
    *ret = (struct ma_frame){0};
    int rc = recv_all(fd, wait, head, sizeof head);
    if (rc != MA_OK)
        return rc;
    size_t n_header = get_u32(head + 4), n_payload = get_u32(head + 8);
    if (memcmp(head, frame_magic, sizeof frame_magic) != 0)
        return MA_E_PARSE;
    if (n_header > MA_ADMIN_HEADER_MAX || n_payload > max_payload)
        return MA_E_RANGE;
    ret->n = n_header + n_payload;
    ret->mem = malloc(ret->n + 1);
    if (!ret->mem)
        return MA_E_NOMEM;
    rc = recv_all(fd, wait, ret->mem, ret->n);
    if (rc != MA_OK) {
        ma_frame_free(ret);
        return rc;
    }
    ret->header = ma_span_of(ret->mem, n_header);
    ret->payload = ma_span_of(ret->mem + n_header, n_payload);
    return MA_OK;
}

static void put_text(struct ma_jw *w, const char *key, struct ma_span s)
{
    if (s.p)
        ma_jw_kstr(w, key, s);
}

int ma_admin_encode(struct ma_buf *b, const struct ma_admin_args *args)
{
    struct ma_jw w;
    ma_jw_init(&w, b);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "command", args->command);
    ma_jw_key(&w, "args");
    ma_jw_obj(&w);
    ma_jw_key(&w, "positional");
    ma_jw_arr(&w);
    for (size_t i = 0; i < args->n_positional; i++)
        ma_jw_str(&w, args->positional[i]);
    ma_jw_arr_end(&w);
    ma_jw_kint(&w, "given", args->given);
    put_text(&w, "user", args->user);
    put_text(&w, "client", args->client);
    put_text(&w, "scope", args->scope);
    put_text(&w, "audience", args->audience);
    put_text(&w, "amr", args->amr);
    put_text(&w, "since", args->since);
    put_text(&w, "until", args->until);
    put_text(&w, "format", args->format);
    put_text(&w, "from", args->from);
    put_text(&w, "head", args->head);
    ma_jw_kint(&w, "ttl", args->ttl);
    ma_jw_kint(&w, "auth_time", args->auth_time);
    ma_jw_obj_end(&w);
    ma_jw_obj_end(&w);
    return ma_buf_err(b);
}

struct wire_args {
    struct ma_span command;
    struct ma_span_list positional;
    int64_t given, ttl, auth_time;
    struct ma_span user, client, scope, audience, amr, since, until, format, from, head;
};
#define FIELD(m, ftype, ...)                                                                                           \
    {                                                                                                                  \
        .name = #m, .type = (ftype), .off = offsetof(struct wire_args, m), __VA_ARGS__                                 \
    }
static const struct ma_jfield args_fields[] = {
    FIELD(positional, MA_F_STRLIST, .max_items = MA_ADMIN_POSITIONAL_MAX, .max = MA_POSITIONAL_BYTES),
    FIELD(given, MA_F_INT, .min = 0, .max = UINT32_MAX),
    FIELD(user, MA_F_STR, .max = 0),
    FIELD(client, MA_F_STR, .max = 0),
    FIELD(scope, MA_F_STR, .max = 0),
    FIELD(audience, MA_F_STR, .max = 0),
    FIELD(amr, MA_F_STR, .max = 0),
    FIELD(since, MA_F_STR, .max = 0),
    FIELD(until, MA_F_STR, .max = 0),
    FIELD(format, MA_F_STR, .max = 0),
    FIELD(from, MA_F_STR, .max = 0),
    FIELD(head, MA_F_STR, .max = 0),
    FIELD(ttl, MA_F_INT, .max = 0),
    FIELD(auth_time, MA_F_INT, .max = 0),
};
static const struct ma_shape args_shape = MA_SHAPE(struct wire_args, args_fields);
static const struct ma_jfield request_fields[] = {
    FIELD(command, MA_F_STR, .flags = MA_REQ, .min = 1, .max = 64),
    {.name = "args", .type = MA_F_OBJ, .flags = MA_REQ, .off = 0, .sub = &args_shape},
};
static const struct ma_shape request_shape = MA_SHAPE(struct wire_args, request_fields);

int ma_admin_decode(struct ma_arena *a, struct ma_span header, struct ma_admin_args *ret)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    struct ma_verrs errs = {.arena = a};
    struct wire_args w = {0};
    int rc = ma_json_parse(header, &j);
    if (rc == MA_OK)
        rc = ma_json_decode(j, a, &request_shape, &w, &errs);
    if (rc != MA_OK)
        return rc;
    *ret = (struct ma_admin_args){
        .command = w.command,
        .n_positional = w.positional.n,
        .given = (uint32_t)w.given,
        .user = w.user,
        .client = w.client,
        .scope = w.scope,
        .audience = w.audience,
        .amr = w.amr,
        .since = w.since,
        .until = w.until,
        .format = w.format,
        .from = w.from,
        .head = w.head,
        .ttl = w.ttl,
        .auth_time = w.auth_time,
    };
    for (size_t i = 0; i < w.positional.n; i++)
        ret->positional[i] = w.positional.v[i];
    return MA_OK;
}
