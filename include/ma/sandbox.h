/* SPDX-License-Identifier: Apache-2.0
 * What the process gives up before it serves: capabilities, core dumps, being traced, and the system calls it has no
 * use for (seccomp(2), through libseccomp where the build has it).
 */
#ifndef MA_SANDBOX_H
#define MA_SANDBOX_H

#include "ma/log.h"

/* No core dump, no tracing by others (a build with test hooks stays traceable, for the leak checker), files for this
 * user alone, a failed write instead of SIGPIPE and SIGXFSZ. Before anything secret is read. */
void ma_sandbox_process(void);

/* Takes every capability from the calling thread and what it starts, and bars new ones (PR_SET_NO_NEW_PRIVS); keeps
 * CAP_NET_BIND_SERVICE when low_port, since the listener is not open yet. Root keeps its own: it was allowed by name.
 * MA_E_PERM when the kernel refuses. Before any thread is started. */
MA_MUST_USE int ma_sandbox_privileges(bool low_port);

/* The filter, over every thread of the process, for good. mode is `seccomp` of the configuration: "off", "auto" (goes
 * on without where the build or the kernel has none, and says so in the log) or "require" (MA_E_UNSUPPORTED with why).
 * Calls that only an intruder makes kill the process; others outside the list fail with ENOSYS. */
MA_MUST_USE int ma_sandbox_filter(const char *mode, struct ma_log *log, char why[256]);

#endif
