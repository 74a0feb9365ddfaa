/* SPDX-License-Identifier: Apache-2.0
 * The scopes of this API as a bitset.
 */
#ifndef MA_SCOPE_H
#define MA_SCOPE_H

#include "ma/base.h"

typedef uint64_t ma_scopes;

#define MA_SCOPES(X)                                                                                                   \
    X(MA_SC_READ_FACTORS, 0, "read:me:factors")                                                                        \
    X(MA_SC_READ_METHODS, 1, "read:me:authentication_methods")                                                         \
    X(MA_SC_CREATE_METHODS, 2, "create:me:authentication_methods")                                                     \
    X(MA_SC_UPDATE_METHODS, 3, "update:me:authentication_methods")                                                     \
    X(MA_SC_DELETE_METHODS, 4, "delete:me:authentication_methods")                                                     \
    X(MA_SC_READ_CONNECTED, 5, "read:me:connected_accounts")                                                           \
    X(MA_SC_CREATE_CONNECTED, 6, "create:me:connected_accounts")                                                       \
    X(MA_SC_DELETE_CONNECTED, 7, "delete:me:connected_accounts")                                                       \
    X(MA_SC_READ_CONSENTS, 8, "read:me:consents")                                                                      \
    X(MA_SC_READ_ORGANIZATIONS, 9, "read:me:organizations")                                                            \
    X(MA_SC_READ_SESSIONS, 10, "read:me:sessions")                                                                     \
    X(MA_SC_DELETE_SESSIONS, 11, "delete:me:sessions")                                                                 \
    X(MA_SC_READ_ACTIVITY, 12, "read:me:activity")                                                                     \
    X(MA_SC_READ_PROFILE, 13, "read:me:profile")                                                                       \
    X(MA_SC_UPDATE_PROFILE, 14, "update:me:profile")                                                                   \
    X(MA_SC_DELETE_CONSENTS, 15, "delete:me:consents")                                                                 \
    X(MA_SC_CREATE_EXPORTS, 16, "create:me:exports")                                                                   \
    X(MA_SC_READ_EXPORTS, 17, "read:me:exports")                                                                       \
    X(MA_SC_DELETE_ACCOUNT, 18, "delete:me:account")

#define MA_SCOPE_ENUM(name, bit, text) name = 1u << (bit),
enum ma_scope_bits { MA_SCOPES(MA_SCOPE_ENUM) };
#undef MA_SCOPE_ENUM
/* A route that needs no token says so by name. */
#define MA_PUBLIC ((ma_scopes)1 << 63)

/* The bit of one scope name, or 0 when it is not ours. */
ma_scopes ma_scope_parse(struct ma_span name);
/* The bits of a space-delimited list (RFC 6749 §3.3); foreign scopes are ignored. */
ma_scopes ma_scope_parse_list(struct ma_span list);
/* The text of a single bit; NULL for anything else. Static. */
const char *ma_scope_name(ma_scopes bit);

#endif
