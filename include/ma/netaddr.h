/* SPDX-License-Identifier: Apache-2.0
 * Internet addresses: parsing, CIDR membership, and the question an outgoing call must answer.
 * IPv4-mapped IPv6, 6to4 and NAT64 addresses are judged by the IPv4 address inside.
 */
#ifndef MA_NETADDR_H
#define MA_NETADDR_H

#include "ma/base.h"
#include <sys/socket.h>

struct ma_addr {
    uint8_t b[16];  /* IPv4 is kept mapped: ::ffff:a.b.c.d */
    bool unix_peer; /* a UNIX socket peer: no address */
};
#define MA_ADDR_TEXT 46

MA_MUST_USE int ma_addr_parse(struct ma_span text, struct ma_addr *ret); /* "192.0.2.1", "2001:db8::1", "[…]" */
void ma_addr_from_sockaddr(const struct sockaddr *sa, struct ma_addr *ret);
void ma_addr_format(const struct ma_addr *a, char out[MA_ADDR_TEXT]);
/* What counters go by: a site has a whole /64 of IPv6 addresses to itself; IPv4 addresses count one by one. Borrowed.
 */
struct ma_span ma_addr_key(const struct ma_addr *a);
struct ma_cidr {
    struct ma_addr net;
    int bits; /* 0…128, on the mapped form */
};
MA_MUST_USE int ma_cidr_parse(struct ma_span text, struct ma_cidr *ret);
bool ma_cidr_has(const struct ma_cidr *c, const struct ma_addr *a);
bool ma_addr_is_loopback(const struct ma_addr *a);
/* Globally reachable unicast (IANA special-purpose registries): not private, loopback, link-local,
 * multicast, documentation, benchmarking, reserved or unspecified. */
bool ma_addr_is_public(const struct ma_addr *a);

#endif
