/* SPDX-License-Identifier: Apache-2.0
 * The error catalogue: every error body of /me/v1 is one of these rows. The code is part of the
 * contract; the detail may be more specific than the default given here.
 */
#ifndef MA_PROBLEM_H
#define MA_PROBLEM_H

#include "ma/base.h"

/* X(name, HTTP status, code, title, default detail, explanation for GET /api-errors/<code>) */
#define MA_PROBLEMS(X)                                                                                                 \
    X(BAD_REQUEST, 400, "A0E-400-0001", "Bad Request", "The request is invalid.",                                      \
      "The request was understood but cannot be carried out as sent. The detail names the reason; "                    \
      "words with underscores (invalid_code, unsupported_challenge_type, too_many_entities, invalid_phone_number) "    \
      "are stable and meant for programs.")                                                                            \
    X(VALIDATION, 400, "A0E-400-0003", "Validation Error", "Invalid request payload input",                            \
      "The body or a query parameter does not have the shape the operation asks for. validation_errors lists "         \
      "each fault with a JSON Pointer.")                                                                               \
    X(UNAUTHORIZED, 401, "A0E-401-0001", "Unauthorized", "Missing or invalid token.",                                  \
      "The request carries no usable credentials.")                                                                    \
    X(MISSING_TOKEN, 401, "A0E-401-0002", "Missing Token", "No auth token provided.",                                  \
      "Send an access token for this API: Authorization: Bearer <token>.")                                             \
    X(INVALID_TOKEN, 401, "A0E-401-0003", "Invalid Token", "Invalid Token",                                            \
      "The access token is malformed, expired, signed by an unknown key, or made for another issuer, audience or "     \
      "domain. Get a fresh one from the token endpoint of the domain you are calling.")                                \
    X(STEP_UP, 401, "A0E-401-0004", "Insufficient User Authentication", "A fresh second factor is required.",          \
      "The API asks for a recent second factor (RFC 9470). Let the user authenticate again with a second factor and "  \
      "call with the new token.")                                                                                      \
    X(FORBIDDEN, 403, "A0E-403-0001", "Forbidden", "Access denied.",                                                   \
      "The token is valid, but its user, client or origin may not use this API. The detail names the rule.")           \
    X(SCOPE, 403, "A0E-403-0002", "Insufficient Scope", "The auth token lacks the required scope.",                    \
      "The token does not carry the scope that the operation needs, or the client's grant or the user's permissions "  \
      "do not contain it.")                                                                                            \
    X(NOT_FOUND, 404, "A0E-404-0001", "Not Found", "The requested resource was not found.",                            \
      "There is no such path, or the API is not activated.")                                                           \
    X(NO_RESOURCE, 404, "A0E-404-0002", "Resource Not Found", "The resource does not exist.",                          \
      "The path is right, but there is nothing with this id that belongs to the calling user.")                        \
    X(METHOD, 405, "A0E-405-0001", "Method Not Allowed", "The method is not allowed for this resource.",               \
      "The path exists, but not with this method. The Allow header lists the methods it has.")                         \
    X(CONFLICT, 409, "A0E-409-0001", "Configuration issue", "The request conflicts with the current state.",           \
      "Carrying out the request would leave the account in a state that the rules forbid; the detail says which.")     \
    X(DUPLICATE, 409, "A0E-409-0003", "Duplicate Resource", "The resource exists already.",                            \
      "Something with the same identity exists already.")                                                              \
    X(TOO_LARGE, 413, "A0E-413-0001", "Payload Too Large", "The request body is too large.",                           \
      "The body is larger than the operation accepts.")                                                                \
    X(TARGET_TOO_LONG, 414, "A0E-414-0001", "URI Too Long", "The request target is too long.",                         \
      "The path and query together are longer than 8 KiB.")                                                            \
    X(MEDIA_TYPE, 415, "A0E-415-0001", "Unsupported Media Type", "The body must be application/json.",                 \
      "Send the body as Content-Type: application/json.")                                                              \
    X(TOO_MANY, 429, "A0E-429-0001", "Too Many Requests", "Rate limit exceeded.",                                      \
      "Too many failed or message-sending attempts; Retry-After says when the next one is taken.")                     \
    X(RATE, 429, "A0E-429-0003", "Endpoint Rate Limit Exceeded", "The endpoint request limit has been exceeded.",      \
      "The caller's bucket for this kind of request is empty; Retry-After says when the next token arrives.")          \
    X(INTERNAL, 500, "A0E-500-0001", "Internal Server Error", "The server failed to carry out the request.",           \
      "A fault on the server's side. Nothing was changed.")                                                            \
    X(METHOD_UNKNOWN, 501, "A0E-501-0001", "Unknown Method", "The method is not known to this server.",                \
      "The request method is none of those HTTP defines for this server.")                                             \
    X(UNAVAILABLE, 503, "A0E-503-0001", "Service Unavailable", "The service cannot answer right now; try again.",      \
      "The server is overloaded, stopping, or something it depends on is out of reach. Nothing was changed; "          \
      "Retry-After says when to try again.")

#define MA_PROBLEM_ENUM(name, status, code, title, detail, help) MA_P_##name,
enum ma_problem_id { MA_PROBLEMS(MA_PROBLEM_ENUM) MA_P__COUNT };
#undef MA_PROBLEM_ENUM

struct ma_problem_def {
    int status;
    const char *code, *title, *detail, *help;
};
/* The row; static. */
const struct ma_problem_def *ma_problem_def(enum ma_problem_id id);
/* The row with this code, or NULL. Static. */
const struct ma_problem_def *ma_problem_find(struct ma_span code);

#endif
