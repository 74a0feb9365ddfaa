/* SPDX-License-Identifier: Apache-2.0
 * The client's side of the admin socket.
 */
#include "ma/admin.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ma/jsonr.h"
#include "int.h"

struct answer {
    int64_t code, out, next;
};
static const struct ma_jfield answer_fields[] = {
    {.name = "exit", .type = MA_F_INT, .flags = MA_REQ, .off = offsetof(struct answer, code), .min = 0, .max = 255},
    {.name = "out",
     .type = MA_F_INT,
     .flags = MA_REQ,
     .off = offsetof(struct answer, out),
     .min = 0,
     .max = MA_ADMIN_OUTPUT_MAX},
    {.name = "next", .type = MA_F_INT, .off = offsetof(struct answer, next), .min = 0, .max = INT64_MAX},
};
static const struct ma_shape answer_shape = MA_SHAPE(struct answer, answer_fields);

static void close_p(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static int dial(const char *path, int *ret_fd)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof addr.sun_path)
        return MA_E_INVAL;
    memcpy(addr.sun_path, path, strlen(path) + 1);
    *ret_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*ret_fd < 0)
        return MA_E_IO;
    if (connect(*ret_fd, (const struct sockaddr *)&addr, sizeof addr) == 0)
        return MA_OK;
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
        return MA_E_NOTFOUND;
    case EACCES:
    case EPERM:
        return MA_E_PERM;
    default:
        return MA_E_IO;
    }
}

static int take_answer(struct ma_arena *a, const struct ma_frame *f, struct ma_buf *out, struct ma_buf *err,
                       int *ret_exit, int64_t *ret_next)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    struct ma_verrs errs = {.arena = a};
    struct answer ans = {0};
    int rc = ma_json_parse(f->header, &j);
    if (rc == MA_OK)
        rc = ma_json_decode(j, a, &answer_shape, &ans, &errs);
    if (rc != MA_OK || (size_t)ans.out > f->payload.n)
        return MA_E_PARSE;
    ma_buf_put(out, f->payload.p, (size_t)ans.out);
    ma_buf_put(err, f->payload.p + ans.out, f->payload.n - (size_t)ans.out);
    *ret_exit = (int)ans.code;
    *ret_next = ans.next;
    return ma_buf_err(out) != MA_OK ? ma_buf_err(out) : ma_buf_err(err);
}

int ma_admin_call(const char *socket, const struct ma_admin_args *args, struct ma_span payload, struct ma_buf *out,
                  struct ma_buf *err, int *ret_exit)
{
    int64_t next = 0;
    return ma_admin_call_page(socket, args, payload, out, err, ret_exit, &next);
}

int ma_admin_call_page(const char *socket, const struct ma_admin_args *args, struct ma_span payload, struct ma_buf *out,
                       struct ma_buf *err, int *ret_exit, int64_t *ret_next)
{
    const struct ma_frame_wait forever = {.timeout_ms = -1, .stop = -1};
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    struct ma_frame answer MA_CLEANUP(ma_frame_free) = {0};
    int fd MA_CLEANUP(close_p) = -1;
    struct ma_buf header;
    if (!a)
        return MA_E_NOMEM;
    int rc = dial(socket, &fd);
    if (rc != MA_OK)
        return rc;
    ma_buf_init_arena(&header, a, 1024, MA_ADMIN_HEADER_MAX);
    rc = ma_admin_encode(&header, args);
    if (rc != MA_OK)
        return rc;
    int sent = ma_frame_send(fd, ma_buf_view(&header), payload, MA_SPAN_NULL);
    /* a daemon that refuses early hangs up while we still send, but has said why */
    rc = ma_frame_recv(fd, &forever, MA_ADMIN_OUTPUT_MAX + MA_ADMIN_ERRORS_MAX, &answer);
    if (rc != MA_OK)
        return sent != MA_OK ? sent : rc;
    return take_answer(a, &answer, out, err, ret_exit, ret_next);
}
