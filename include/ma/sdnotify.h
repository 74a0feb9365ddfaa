/* SPDX-License-Identifier: Apache-2.0
 * The service manager's notification protocol, sd_notify(3), without its library.
 */
#ifndef MA_SDNOTIFY_H
#define MA_SDNOTIFY_H

/* Sends "READY=1" and the like to $NOTIFY_SOCKET; does nothing where there is none. */
void ma_sd_notify(const char *state);

#endif
