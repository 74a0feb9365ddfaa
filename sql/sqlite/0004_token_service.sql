-- SPDX-License-Identifier: Apache-2.0
-- The token service: browser sessions, logins under way, codes, refresh tokens, challenges, consents.
-- Cookies, codes and transaction tokens are kept as MACs. Times are epoch milliseconds, 0: never; amr is a bit set.

-- Sign-in looks users up by what they type; only those with a database connection can sign in here.
CREATE INDEX users_email ON users (lower(email)) WHERE email IS NOT NULL AND connection IS NOT NULL;
CREATE INDEX users_phone ON users (phone_number) WHERE phone_number IS NOT NULL AND connection IS NOT NULL;

-- What a browser is signed in with. id is the sid of tokens. idle_at is never past expires_at, so that one index finds
-- all that lapsed.
CREATE TABLE sessions (
    id         TEXT    NOT NULL PRIMARY KEY,
    cookie_mac BLOB    NOT NULL UNIQUE CHECK (length(cookie_mac) = 32),
    user_id    TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    org_id     TEXT,
    auth_at    INTEGER NOT NULL,
    mfa_at     INTEGER NOT NULL,
    amr        INTEGER NOT NULL,
    ip         TEXT,
    user_agent TEXT,
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL,
    idle_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    CHECK (idle_at <= expires_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_idle ON sessions (idle_at);

-- An authentication that is not finished: a hosted login, an mfa_token, a passkey challenge. data is JSON by kind.
CREATE TABLE flows (
    token_mac   BLOB    NOT NULL PRIMARY KEY CHECK (length(token_mac) = 32),
    kind        TEXT    NOT NULL,
    user_id     TEXT    REFERENCES users (user_id) ON DELETE CASCADE,
    client_id   TEXT    NOT NULL,
    data        TEXT    NOT NULL,
    attempts    INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    consumed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX flows_user ON flows (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX flows_expiry ON flows (expires_at);

-- A code or assertion asked of a user; bound to one flow.
CREATE TABLE challenges (
    id_mac      BLOB    NOT NULL PRIMARY KEY CHECK (length(id_mac) = 32),
    flow_mac    BLOB    NOT NULL CHECK (length(flow_mac) = 32),
    user_id     TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    method_id   TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    code_mac    BLOB    CHECK (code_mac IS NULL OR length(code_mac) = 32),
    data        BLOB,
    attempts    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    consumed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX challenges_user ON challenges (user_id);
CREATE INDEX challenges_expiry ON challenges (expires_at);

-- Authorization codes. Used ones stay until they lapse: a second use revokes what the first brought.
CREATE TABLE codes (
    code_mac     BLOB    NOT NULL PRIMARY KEY CHECK (length(code_mac) = 32),
    user_id      TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    client_id    TEXT    NOT NULL,
    session_id   TEXT,
    redirect_uri TEXT    NOT NULL,
    data         TEXT    NOT NULL,
    family_id    TEXT,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    used_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX codes_user ON codes (user_id);
CREATE INDEX codes_expiry ON codes (expires_at);

-- A refresh token and its successors. The tokens themselves are made from salt and generation with a key of the vault.
CREATE TABLE families (
    id         TEXT    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    client_id  TEXT    NOT NULL,
    session_id TEXT,
    audience   TEXT    NOT NULL,
    scope      TEXT    NOT NULL,
    org_id     TEXT,
    jkt        TEXT,
    gty        TEXT,
    auth_at    INTEGER NOT NULL,
    mfa_at     INTEGER NOT NULL,
    amr        INTEGER NOT NULL,
    salt       BLOB    NOT NULL CHECK (length(salt) = 32),
    generation INTEGER NOT NULL,
    rotated_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL,
    idle_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- What a user has alive, by client and age; those of a session are few among them.
CREATE INDEX families_user ON families (user_id, revoked_at, client_id, created_at);
-- What is swept, each for a reason of its own.
CREATE INDEX families_expiry ON families (expires_at) WHERE expires_at > 0;
CREATE INDEX families_idle ON families (idle_at) WHERE idle_at > 0;
CREATE INDEX families_revoked ON families (revoked_at) WHERE revoked_at > 0;

CREATE TABLE consents (
    id         TEXT    NOT NULL,
    user_id    TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    client_id  TEXT    NOT NULL,
    audience   TEXT    NOT NULL,
    scope      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, id),
    UNIQUE (user_id, client_id, audience)
) STRICT, WITHOUT ROWID;
CREATE INDEX consents_user ON consents (user_id, created_at DESC, id);
