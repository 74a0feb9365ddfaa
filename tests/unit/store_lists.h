/* SPDX-License-Identifier: Apache-2.0
 * Which tables belong to a user, and which queries are not bound to one.
 */
#ifndef MA_TEST_STORE_LISTS_H
#define MA_TEST_STORE_LISTS_H

#include <stddef.h>

static const char *const owned[] = {
    "users",       "passwords",    "password_history", "methods",         "enrolments", "counters",       "outbox",
    "credentials", "user_handles", "connects",         "accounts",        "sessions",   "flows",          "challenges",
    "codes",       "families",     "consents",         "known_addresses", "notices",    "password_resets"};
/* The sweeps, the listing of users and the courier work for all users; a browser brings a ticket, a state or a cookie,
 * a client a code or a token that names the row; a provider's account is looked up to see whose it is, and sign-in
 * begins with whom somebody says to be. */
static const char *const for_all_users[] = {
    "USER_LIST",       "METHOD_EXPIRE",      "ENROLMENT_EXPIRE", "OUTBOX_DUE",         "OUTBOX_NEXT",
    "OUTBOX_DONE",     "OUTBOX_RETRY",       "OUTBOX_DEAD",      "OUTBOX_REVIVE",      "OUTBOX_REVIVE_ALL",
    "OUTBOX_DEFER",    "CONNECT_BY_TICKET",  "CONNECT_BY_STATE", "CONNECT_EXPIRE",     "ACCOUNT_OWNER",
    "ACCOUNT_LAPSE",   "ACCOUNT_LAPSE_IDLE", "USER_BY_EMAIL",    "USER_BY_PHONE",      "HANDLE_OWNER",
    "CREDENTIAL_FIND", "SESSION_BY_COOKIE",  "SESSION_EXPIRE",   "FLOW_GET",           "FLOW_UPDATE",
    "FLOW_CONSUME",    "FLOW_EXPIRE",        "CHALLENGE_EXPIRE", "CODE_GET",           "CODE_USE",
    "CODE_EXPIRE",     "FAMILY_GET",         "FAMILY_EXPIRE",    "FAMILY_EXPIRE_IDLE", "FAMILY_EXPIRE_REVOKED",
    "NOTICE_BY_TOKEN", "NOTICE_EXPIRE",      "RESET_BY_TOKEN",   "RESET_EXPIRE",       NULL};

#endif
