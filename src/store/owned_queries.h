/* SPDX-License-Identifier: Apache-2.0
 * The queries of owned.c.
 */
#ifndef MA_STORE_OWNED_QUERIES_H
#define MA_STORE_OWNED_QUERIES_H

#define MA_OWNED_QUERIES(X)                                                                                            \
    X(OWNED_USER)                                                                                                      \
    X(OWNED_PASSWORD)                                                                                                  \
    X(OWNED_HISTORY)                                                                                                   \
    X(OWNED_METHOD)                                                                                                    \
    X(OWNED_ENROLMENT)                                                                                                 \
    X(OWNED_COUNTER)                                                                                                   \
    X(OWNED_MESSAGE)                                                                                                   \
    X(OWNED_HANDLE)                                                                                                    \
    X(OWNED_CREDENTIAL)                                                                                                \
    X(OWNED_CONNECT)                                                                                                   \
    X(OWNED_ACCOUNT)                                                                                                   \
    X(OWNED_SESSION)                                                                                                   \
    X(OWNED_FLOW)                                                                                                      \
    X(OWNED_CHALLENGE)                                                                                                 \
    X(OWNED_CODE)                                                                                                      \
    X(OWNED_FAMILY)                                                                                                    \
    X(OWNED_REVOCATION)                                                                                                \
    X(OWNED_KNOWN_ADDRESS)                                                                                             \
    X(OWNED_CONSENT)                                                                                                   \
    X(OWNED_NOTICE)                                                                                                    \
    X(OWNED_PUSH_DEVICE)                                                                                               \
    X(OWNED_PUSH_TRANSACTION)                                                                                          \
    X(OWNED_RESET)                                                                                                     \
    X(OWNED_EXPORT)                                                                                                    \
    X(OWNED_EXPORT_PART)                                                                                               \
    X(OBJECT_NEXT)

#endif
