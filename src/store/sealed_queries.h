/* SPDX-License-Identifier: Apache-2.0
 * The queries of sealed.c, three for each column.
 */
#ifndef MA_STORE_SEALED_QUERIES_H
#define MA_STORE_SEALED_QUERIES_H

#define MA_SEALED_TRIPLE(X, name) X(SEALED_LIST_##name) X(SEALED_PUT_##name) X(SEALED_COUNT_##name)
#define MA_SEALED_QUERIES(X)                                                                                           \
    MA_SEALED_TRIPLE(X, OBJECT)                                                                                        \
    MA_SEALED_TRIPLE(X, METHOD)                                                                                        \
    MA_SEALED_TRIPLE(X, ACCESS_TOKEN)                                                                                  \
    MA_SEALED_TRIPLE(X, REFRESH_TOKEN)                                                                                 \
    MA_SEALED_TRIPLE(X, CLAIMS)                                                                                        \
    MA_SEALED_TRIPLE(X, OUTBOX)                                                                                        \
    MA_SEALED_TRIPLE(X, CLIENT_STATE)                                                                                  \
    MA_SEALED_TRIPLE(X, PARAMS)                                                                                        \
    MA_SEALED_TRIPLE(X, CONNECT_SECRET)                                                                                \
    MA_SEALED_TRIPLE(X, RESULT)                                                                                        \
    MA_SEALED_TRIPLE(X, NOTICE_INFO)                                                                                   \
    MA_SEALED_TRIPLE(X, NOTICE_KEPT)                                                                                   \
    MA_SEALED_TRIPLE(X, PUSH_SEED)                                                                                     \
    MA_SEALED_TRIPLE(X, PUSH_TOKEN)                                                                                    \
    MA_SEALED_TRIPLE(X, EXPORT_PART)                                                                                   \
    MA_SEALED_TRIPLE(X, FLOW)

#endif
