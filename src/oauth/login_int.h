/* SPDX-License-Identifier: Apache-2.0
 * What the files of /authorize, the hosted login pages, browser sessions and logout share.
 *
 * A login under way is a flow row of kind "login", named by the state parameter of /u/login and bound to one browser by
 * a cookie that all its logins share. Which page comes next is found anew for every request from what the row and the
 * user's rows say; a form only ever changes the row and is answered with 303 to the page.
 */
#ifndef MA_OAUTH_LOGIN_INT_H
#define MA_OAUTH_LOGIN_INT_H

#include "int.h"

#define MA_LOGIN_KIND "login"
#define MA_LOGIN_BODY_MAX 16384u
#define MA_LOGIN_URL_MAX 32768u
#define MA_LOGIN_FIELD_MAX 1024u   /* bytes of a text field of a form; identifiers and passwords */
#define MA_LOGIN_SESSION_ID_LEN 26 /* "ses_" and 22 characters */

/* --- the request (authorize_params.c) --- */

/* What is wrong with a request, and whether the client may hear of it at its redirect_uri. */
struct ma_authorize_fault {
    const char *error, *description; /* NULL: nothing; static or arena */
    bool page;                       /* the redirect_uri cannot be trusted: a page */
};
/* Parameters of the query (GET) or of the form (POST). MA_OK with fault->error set or not; *ret holds what is needed to
 * answer at the client when !fault->page. */
MA_MUST_USE int ma_authorize_parse(struct ma_ctx *ctx, struct ma_authorize_request *ret,
                                   const struct ma_state_client **ret_client, struct ma_authorize_fault *fault);
/* Whether acr_values ask for a second factor. */
bool ma_authorize_wants_mfa(const struct ma_authorize_request *req);

/* --- whom an id_token_hint is about (hint.c) --- */

struct ma_id_hint {
    struct ma_span sub, client_id; /* p == NULL: it is no id_token of this issuer. arena */
    bool other_client;             /* client_id is not in its audience */
};
/* client_id.p NULL: any. Any lane. */
MA_MUST_USE int ma_id_token_hint(struct ma_ctx *ctx, struct ma_span token, struct ma_span client_id,
                                 struct ma_id_hint *ret);

/* --- answers to the client (respond.c) --- */

/* To redirect_uri in the request's response mode, with state and iss (RFC 9207). code, or error and description. */
MA_MUST_USE int ma_respond_code(struct ma_ctx *ctx, const struct ma_authorize_request *req, const char *code);
MA_MUST_USE int ma_respond_error(struct ma_ctx *ctx, const struct ma_authorize_request *req, const char *error,
                                 const char *description);
/* 303 to a URL of trusted parts. MA_OK, or MA_E_NOMEM for NULL. */
MA_MUST_USE int ma_see_other(struct ma_ctx *ctx, const char *url);

/* --- browser sessions (session.c) --- */

/* The live session of the request's cookie; MA_E_NOTFOUND. Any lane. */
MA_MUST_USE int ma_browser_session(struct ma_ctx *ctx, struct ma_session *ret);
/* A new session with a new cookie for this user in place of what the browser had (write); *ret_id is arena. */
MA_MUST_USE int ma_browser_session_begin(struct ma_ctx *ctx, struct ma_span user_id, struct ma_span org_id,
                                         const struct ma_authn *authn, struct ma_span *ret_id, const char **ret_cookie);
/* Sends the cookie; call it on the answer itself. */
void ma_browser_session_cookie(struct ma_ctx *ctx, const char *value);
/* It was used: moves its idle end on, and keeps authn. Write. */
MA_MUST_USE int ma_browser_session_touch(struct ma_ctx *ctx, struct ma_session *s);
/* Deletes it. Write. */
MA_MUST_USE int ma_browser_session_end(struct ma_ctx *ctx, const struct ma_session *s);
/* A MAC over the session cookie's value: the proof that a form was made for this browser. out: 64 hex digits, NUL. */
MA_MUST_USE int ma_browser_session_proof(struct ma_ctx *ctx, char out[65]);
/* "__Host-" in front where the origin is https. arena. */
const char *ma_cookie_name(struct ma_ctx *ctx, const char *name);

/* --- a login under way (login_flow.c) --- */

enum ma_login_note {
    MA_NOTE_NONE,
    MA_NOTE_WRONG_LOGIN,
    MA_NOTE_WRONG_PASSKEY,
    MA_NOTE_BLOCKED,
    MA_NOTE_BREACHED,
    MA_NOTE_BREACHED_SENT,
    MA_NOTE_TOO_MANY,
    MA_NOTE_WRONG_CODE,
    MA_NOTE_EXPIRED_CODE,
    MA_NOTE_NO_FACTOR,
    MA_NOTE_WRONG_KEY,
    MA_NOTE_BAD_ADDRESS,
    MA_NOTE_NOT_ENROLLED,
    MA_NOTE_KEY_NOT_ADDED,
    MA_NOTE_START_AGAIN,
    MA_NOTE_REJECTED,
    MA_NOTE_NOT_ANSWERED,
    MA_NOTE_SENT,
    MA_NOTE__COUNT
};

/* What the row holds beside the request; sealed. Spans p == NULL: not there. */
struct ma_login_state {
    struct ma_span user_id, session_id, identifier;
    struct ma_authn authn;
    bool fresh;     /* the user signed in here, not by a session */
    bool declined;  /* an offer to enrol */
    bool consented; /* given on the page */
    bool denied;    /* refused there */
    bool left;      /* the user read that what is asked for cannot be met, and goes back to the application */
    int note;       /* enum ma_login_note: shown until the next form */
    int64_t retry_s;
    struct ma_span challenge;   /* passkey challenge, base64url */
    struct ma_span method, oob; /* the second factor that is being shown, and what names its challenge */
    struct ma_span number;      /* for devices: what the user types there */
    struct ma_span key;         /* for security keys: {"challenge","rp_id","credentials"} */
    struct ma_span recovery;    /* a new recovery code, to be shown */
    int enrol;                  /* enum ma_factor of an enrolment under way; 0 (password): none */
    struct ma_span enrol_id, enrol_session, enrol_uri, enrol_manual;
    struct ma_span enrol_address; /* where its code went; with no enrolment under way: what was refused as an address */
    struct ma_span enrol_key;     /* passkeys and security keys: JSON of ma_write_creation_options */
};

struct ma_login {
    const char *token; /* arena: names the row in URLs and forms */
    struct ma_flow flow;
    struct ma_span browser; /* hex MAC of the flow cookie */
    struct ma_authorize_request req;
    struct ma_login_state st;
    const struct ma_state_client *client;
    /* found by ma_login_examine */
    struct ma_user user;
    struct ma_granted granted;
    struct ma_factor_choice choices[MA_FACTORS_SHOWN_MAX]; /* those that may be shown now */
    size_t n_choices;
    uint32_t enrol_open; /* factor types that may be enrolled now */
    uint32_t missing;    /* MA_STEP_UNMET: factor types of which one is asked for */
    bool assured;        /* everything that was to be shown was shown */
    bool first_shown;    /* by this very request: the first factor */
    const char *error, *description;
    /* a POST: what the form held, and what the CPU lane found */
    const struct ma_login_form *form;
    void *proof;
    const char *new_cookie; /* of a session that began */
};

/* Makes the row and answers 302 to the page with the flow's cookie. Write. */
MA_MUST_USE int ma_login_open(struct ma_ctx *ctx, struct ma_login *l);
enum ma_login_found {
    MA_LOGIN_FINE,
    MA_LOGIN_OVER,    /* no such login, or it lapsed or ended */
    MA_LOGIN_STRANGER /* of another browser, or another origin */
};
/* The row behind a token, bound to this browser. Any lane. */
MA_MUST_USE int ma_login_load(struct ma_ctx *ctx, struct ma_span token, struct ma_login *l,
                              enum ma_login_found *ret_found);
/* Keeps st. Write. */
MA_MUST_USE int ma_login_save(struct ma_ctx *ctx, struct ma_login *l);
/* Ends it. The cookie stays: other logins of the browser have it too. Write. */
MA_MUST_USE int ma_login_consume(struct ma_ctx *ctx, const struct ma_login *l);
/* "<path>?state=<token>" on the request's origin. arena. */
const char *ma_login_url(struct ma_ctx *ctx, const struct ma_login *l);
/* The page about a login that cannot go on; leads to its application where l holds that. */
int ma_login_refuse(struct ma_ctx *ctx, const struct ma_login *l, enum ma_login_found why);
/* Forgets who was signing in. */
void ma_login_restart(struct ma_login *l);
/* A fresh passkey challenge in st. */
MA_MUST_USE int ma_login_new_challenge(struct ma_ctx *ctx, struct ma_login *l);

/* --- what comes next (login_step.c) --- */

enum ma_login_step {
    MA_STEP_IDENTIFY,  /* identifier and password, or a passkey */
    MA_STEP_CHALLENGE, /* one of l->choices */
    MA_STEP_RECOVERY,  /* a new recovery code is to be shown */
    MA_STEP_ENROL,     /* one of l->enrol_open must be enrolled */
    MA_STEP_OFFER,     /* or may be */
    MA_STEP_CONFIRM,   /* the code, or the key, of an enrolment under way */
    MA_STEP_LEAVING,   /* the account is about to be deleted: it may be kept, and nothing else be done */
    MA_STEP_CONSENT,
    MA_STEP_UNMET, /* one of l->missing is asked for, and can neither be shown nor enrolled */
    MA_STEP_DONE,
    MA_STEP_REFUSED /* l->error, l->description */
};
/* Any lane. */
MA_MUST_USE int ma_login_examine(struct ma_ctx *ctx, struct ma_login *l, enum ma_login_step *ret);
/* After st changed: begins the session once everything was shown, and picks the factor to ask for. A code is sent only
 * when the user sent a form: a link that anybody may put anywhere sends no messages. Write. */
MA_MUST_USE int ma_login_advance(struct ma_ctx *ctx, struct ma_login *l, bool may_send);
/* Starts a challenge of this method; nothing when it is not among l->choices. Write. */
MA_MUST_USE int ma_login_choose(struct ma_ctx *ctx, struct ma_login *l, struct ma_span method, bool may_send);
/* The answers to it: a code of the form, or a security key that the CPU lane looked at. Write; they change st. */
MA_MUST_USE int ma_login_code(struct ma_ctx *ctx, struct ma_login *l);
MA_MUST_USE int ma_login_key(struct ma_ctx *ctx, struct ma_login *l, const struct ma_passkey_proof *proof);
/* Whether the page waits for a device, to answer or to enrol: then nothing is to be done. Any lane. */
MA_MUST_USE int ma_login_waits(struct ma_ctx *ctx, const struct ma_login *l, enum ma_login_step step, bool *ret);
/* Takes what the device has done meanwhile. Write; they change st. */
MA_MUST_USE int ma_login_device(struct ma_ctx *ctx, struct ma_login *l);
MA_MUST_USE int ma_login_confirm_device(struct ma_ctx *ctx, struct ma_login *l);
/* Answers the client with a code for l's session, and leaves the audit row of the sign-in that is complete. Write. */
MA_MUST_USE int ma_login_issue(struct ma_ctx *ctx, struct ma_login *l);
/* Gives the client its code, or its error, and ends the login. Write. */
MA_MUST_USE int ma_login_finish_flow(struct ma_ctx *ctx, struct ma_login *l, enum ma_login_step step);
/* The one of l->choices with this id, or NULL. */
const struct ma_factor_choice *ma_login_choice(const struct ma_login *l, struct ma_span method);
/* Leaves an audit row of this type about l's user and client, with its error when there is one. Write. */
MA_MUST_USE int ma_login_audit(struct ma_ctx *ctx, const struct ma_login *l, const char *type);
/* Remembers what the user agreed to. Write. */
MA_MUST_USE int ma_login_consent(struct ma_ctx *ctx, struct ma_login *l);

/* --- forms (login_post.c, login_enrol.c) --- */

struct ma_login_form {
    struct ma_span state, action, username, password, code, method, response, address;
};
MA_MUST_USE int ma_login_form_read(struct ma_ctx *ctx, struct ma_login_form *ret);
/* Enrolment on the page: starts one of form->method (a factor's name), confirms it by a code, sends that again. Write;
 * they change st. */
MA_MUST_USE int ma_login_enrol(struct ma_ctx *ctx, struct ma_login *l);
MA_MUST_USE int ma_login_confirm(struct ma_ctx *ctx, struct ma_login *l);
MA_MUST_USE int ma_login_resend(struct ma_ctx *ctx, struct ma_login *l);
/* Confirms a passkey or security key: what the browser made is checked (CPU lane), and stored (write; *p as the check
 * left it). */
struct ma_login_new_key {
    struct ma_new_credential *credential; /* NULL: the form held none */
    bool verified;
};
MA_MUST_USE int ma_login_key_check(struct ma_ctx *ctx, const struct ma_login *l, struct ma_login_new_key *ret);
MA_MUST_USE int ma_login_key_store(struct ma_ctx *ctx, struct ma_login *l, const struct ma_login_new_key *p);
/* Gives an enrolment under way up. */
void ma_login_enrol_forget(struct ma_login_state *st);
/* Takes the next word off a blank-separated list. */
bool ma_scope_next(struct ma_span *rest, struct ma_span *word);
/* {"id","rawId","type","response":{…}} of a browser's credential. MA_E_PARSE when it is none. */
MA_MUST_USE int ma_assertion_parse(struct ma_ctx *ctx, struct ma_span text, struct ma_assertion_response *ret);

/* --- pages (page_*.c) --- */

struct ma_html {
    struct ma_ctx *ctx;
    struct ma_buf *b;
};
/* Starts a page: head, main and heading. more_form: further origins its forms may lead to ("" none). */
void ma_html_begin(struct ma_html *h, struct ma_ctx *ctx, int status, const char *title, const char *form_targets,
                   enum ma_page_script script);
MA_MUST_USE int ma_html_end(struct ma_html *h);
void ma_html_raw(struct ma_html *h, const char *markup);
void ma_html_text(struct ma_html *h, struct ma_span text); /* escaped */
/* <p class=…> with escaped text. */
void ma_html_para(struct ma_html *h, const char *css, const char *text);
/* The form of a login: <form …> with its state and action; css NULL or a class; attributes: trusted markup or NULL. */
void ma_html_form(struct ma_html *h, const struct ma_login *l, const char *action, const char *css,
                  const char *attributes);
void ma_html_hidden(struct ma_html *h, const char *name, struct ma_span value);
/* <button> and </form>. */
void ma_html_submit(struct ma_html *h, const char *text);
/* What form-action must name besides 'self' for a login that ends there: " <scheme>:" of an app's own, else "". */
const char *ma_form_targets(struct ma_ctx *ctx, struct ma_span redirect_uri);
/* Leads the browser to a URL of trusted parts after a form of ours: a page that goes on by itself, so that form-action
 * has nothing to say about it; a redirect where the URL is no web page. */
MA_MUST_USE int ma_onward(struct ma_ctx *ctx, const char *title, const char *url);

/* ma_page with a link to the origin of url, one of the client's own; none where client is NULL or url is no web page.
 */
int ma_page_to_app(struct ma_ctx *ctx, int status, const char *title, const char *text,
                   const struct ma_state_client *client, struct ma_span url);

/* The first redirect_uri of a client; p == NULL without client, or when it has none. */
struct ma_span ma_first_callback(const struct ma_state_client *client);

MA_MUST_USE int ma_page_identify(struct ma_ctx *ctx, struct ma_login *l);
MA_MUST_USE int ma_page_challenge(struct ma_ctx *ctx, struct ma_login *l);
MA_MUST_USE int ma_page_enrol(struct ma_ctx *ctx, struct ma_login *l, bool offer);
MA_MUST_USE int ma_page_confirm(struct ma_ctx *ctx, struct ma_login *l);
MA_MUST_USE int ma_page_unmet(struct ma_ctx *ctx, struct ma_login *l);
MA_MUST_USE int ma_page_recovery(struct ma_ctx *ctx, struct ma_login *l);
MA_MUST_USE int ma_page_consent(struct ma_ctx *ctx, struct ma_login *l);
/* Marks a page that goes on by itself: the script asks whether it may, without one the browser loads it anew. */
void ma_html_wait(struct ma_html *h, const struct ma_login *l);
MA_MUST_USE int ma_page_leaving(struct ma_ctx *ctx, struct ma_login *l);
/* The paragraph about a deletion that was asked for. */
void ma_html_leaving(struct ma_html *h, const struct ma_user *u);
/* The paragraph about what happened last; nothing for MA_NOTE_NONE. */
void ma_html_note(struct ma_html *h, const struct ma_login *l);
/* Attributes of the field that the note is about: " aria-…", or "". Static. */
const char *ma_html_invalid(const struct ma_login *l);
/* The application's name for people. Borrowed. */
struct ma_span ma_client_name(const struct ma_login *l);
/* A form that the page's script shows and fills in (attributes name what for), its button, and where the script speaks;
 * before it, what is said where the browser cannot. */
void ma_html_key_form(struct ma_html *h, const struct ma_login *l, const char *action, const char *css,
                      const char *attributes, const char *button);
void ma_html_no_keys(struct ma_html *h);
/* The end of every step after the first: whose account this is, and a way out. */
void ma_html_whose(struct ma_html *h, const struct ma_login *l);

#endif
