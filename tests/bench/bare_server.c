/* SPDX-License-Identifier: Apache-2.0
 * The yardstick of the benchmark: libmicrohttpd with the daemon's flags and threads, answering
 * every request with the same 200 bytes of JSON. usage: bare_server PORT THREADS
 */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_BYTES 200

static char body[BODY_BYTES + 1];

/* The first call only announces the headers: an answer given there closes the connection. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **state)
{
    (void)url, (void)method, (void)version, (void)data;
    static int seen;
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    *size = 0;
    return MHD_queue_response(c, MHD_HTTP_OK, cls);
}

static struct MHD_Response *make_answer(void)
{
    memset(body, 'x', BODY_BYTES);
    memcpy(body, "{\"pad\":\"", 8);
    memcpy(body + BODY_BYTES - 2, "\"}", 2);
    struct MHD_Response *r = MHD_create_response_from_buffer(BODY_BYTES, body, MHD_RESPMEM_PERSISTENT);
    if (r && MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json; charset=utf-8") == MHD_YES)
        return r;
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fprintf(stderr, "usage: %s PORT THREADS\n", argv[0]);
        return 2;
    }
    unsigned port = (unsigned)strtoul(argv[1], NULL, 10);
    unsigned threads = (unsigned)strtoul(argv[2], NULL, 10);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct MHD_OptionItem pool[] = {
        {threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, (intptr_t)threads, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    sigset_t stop;
    (void)sigemptyset(&stop);
    (void)sigaddset(&stop, SIGTERM);
    (void)sigaddset(&stop, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &stop, NULL);
    struct MHD_Response *answer = make_answer();
    struct MHD_Daemon *d =
        answer ? MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL,
                                  NULL, on_request, answer, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&at,
                                  MHD_OPTION_CONNECTION_LIMIT, 4096u, MHD_OPTION_CONNECTION_TIMEOUT, 60u,
                                  MHD_OPTION_ARRAY, pool, MHD_OPTION_END)
               : NULL;
    if (!d) {
        (void)fprintf(stderr, "cannot listen on 127.0.0.1:%u\n", port);
        return 1;
    }
    int sig = 0;
    (void)sigwait(&stop, &sig);
    MHD_stop_daemon(d);
    MHD_destroy_response(answer);
    return 0;
}
