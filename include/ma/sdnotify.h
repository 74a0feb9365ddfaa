/* SPDX-License-Identifier: Apache-2.0
 * The service manager's protocols without its library: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3).
 */
#ifndef MA_SDNOTIFY_H
#define MA_SDNOTIFY_H

#include "ma/base.h"

/* Sends "READY=1" and the like to $NOTIFY_SOCKET; does nothing where there is none. Assignments are separated by
 * newlines; the text is cut at 512 bytes. */
void ma_sd_notify(const char *fmt, ...) MA_PRINTF(1, 2);

/* How often the service manager wants to hear WATCHDOG=1 at least, in microseconds; 0: never. */
int64_t ma_sd_watchdog_usec(void);

#define MA_SD_SOCKETS_MAX 8
struct ma_sd_sockets {
    int http[MA_SD_SOCKETS_MAX];
    size_t n_http;
    int metrics; /* -1: none */
};
/* The listening sockets that the service manager passed ($LISTEN_FDS, meant for this process by $LISTEN_PID; names in
 * $LISTEN_FDNAMES): "metrics" is one; "http", a socket unit's name and what has no name serve the API. Removes the
 * variables; the descriptors (owned by the caller) are close-on-exec and do not block. MA_E_INVAL with `why` for
 * anything else than listening stream sockets, unknown names and too many. Call once, from one thread. */
MA_MUST_USE int ma_sd_listen(struct ma_sd_sockets *ret, char why[256]);

#endif
