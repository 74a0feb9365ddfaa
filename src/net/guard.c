/* SPDX-License-Identifier: Apache-2.0
 * The address filter at the socket: whatever a name, a number or a redirect pretended, the address
 * that is about to be connected to decides. Also the set-up all curl handles share.
 */
#include "ma/httpc.h"
#include "int.h"

#include <sys/socket.h>
#include <unistd.h>

void ma_guard_init(struct ma_guard *g, const struct ma_net_policy *p, bool plain_http)
{
    *g = (struct ma_guard){0};
    if (plain_http) {
        g->loopback_ok = p->allow_http_loopback;
        return;
    }
    g->public_ok = true;
    g->private_ok = p->allow_private;
    g->loopback_ok = p->allow_private;
}

bool ma_guard_allows(const struct ma_guard *g, const struct ma_addr *a)
{
    switch (ma_addr_classify(a)) {
    case MA_ADDR_PUBLIC:
        return g->public_ok;
    case MA_ADDR_PRIVATE:
        return g->private_ok;
    case MA_ADDR_LOOPBACK:
        return g->loopback_ok;
    case MA_ADDR_REFUSED:
    default:
        return false;
    }
}

curl_socket_t ma_guard_open(void *clientp, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct ma_guard *g = clientp;
    struct ma_addr a;
    if (purpose != CURLSOCKTYPE_IPCXN || (address->family != AF_INET && address->family != AF_INET6)) {
        g->refused = true;
        return CURL_SOCKET_BAD;
    }
    ma_addr_from_sockaddr(&address->addr, &a);
    ma_addr_format(&a, g->last);
    if (!ma_guard_allows(g, &a)) {
        g->refused = true;
        return CURL_SOCKET_BAD;
    }
    if (ma_addr_is_loopback(&a))
        g->seen_loopback = true;
    else
        g->seen_elsewhere = true;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

bool ma_net_set(CURL *h, const struct ma_lopt *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (curl_easy_setopt(h, v[i].opt, v[i].v) != CURLE_OK)
            return false;
    }
    return true;
}

bool ma_net_common(CURL *h, struct ma_guard *g, const char *scheme, long timeout_ms)
{
    long total = timeout_ms > 0 ? timeout_ms : MA_NET_TIMEOUT_MS;
    const struct ma_lopt v[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_FOLLOWLOCATION, 0},
        {CURLOPT_MAXREDIRS, 0},
        {CURLOPT_NETRC, (long)CURL_NETRC_IGNORED},
        {CURLOPT_UNRESTRICTED_AUTH, 0},
        {CURLOPT_SSL_VERIFYPEER, 1},
        {CURLOPT_SSL_VERIFYHOST, 2},
        {CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2},
        {CURLOPT_TIMEOUT_MS, total},
        {CURLOPT_CONNECTTIMEOUT_MS, total < MA_NET_CONNECT_MS ? total : MA_NET_CONNECT_MS},
        {CURLOPT_LOW_SPEED_LIMIT, 1},
        {CURLOPT_LOW_SPEED_TIME, total / 1000 + 1},
        {CURLOPT_MAXCONNECTS, 4},
        {CURLOPT_NOPROGRESS, 1},
    };
    if (!ma_net_set(h, v, MA_COUNT(v)))
        return false;
    /* An empty proxy also switches off the *_proxy variables of the environment, behind which the guard would
     * see the proxy's address only. */
    return curl_easy_setopt(h, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, scheme) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_REDIR_PROTOCOLS_STR, "https") == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, ma_guard_open) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_OPENSOCKETDATA, g) == CURLE_OK;
}

/* Debian's libcurl keeps looking into the system's directory of authorities when a blob takes the bundle's place. */
bool ma_net_trust(CURL *h, struct ma_span ca)
{
    if (ca.n == 0)
        return true;
    struct curl_blob blob = {.len = ca.n, .flags = CURL_BLOB_COPY};
    blob.data = (void *)(uintptr_t)ca.p; /* copied, not written to */
    return curl_easy_setopt(h, CURLOPT_CAINFO_BLOB, &blob) == CURLE_OK;
}

bool ma_net_has_ctl(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return true;
    }
    return false;
}
