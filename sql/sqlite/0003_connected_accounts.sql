-- SPDX-License-Identifier: Apache-2.0
-- Accounts at identity providers: connections under way, and the vault of the providers' tokens.

-- From the call that starts a connection to the one that completes it. Tickets, sessions, states, cookies and codes
-- are kept as MACs; what only the daemon may read is sealed. provider: who the connection
-- led to when it began. stage: 0 ticket not used, 1 browser at the provider, 2 provider's answer being looked at, 3 code
-- given to the client, 4 over.
CREATE TABLE connects (
    session_mac     BLOB    NOT NULL PRIMARY KEY CHECK (length(session_mac) = 32),
    ticket_mac      BLOB    NOT NULL UNIQUE CHECK (length(ticket_mac) = 32),
    user_id         TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    client_id       TEXT    NOT NULL,
    connection      TEXT    NOT NULL,
    provider        TEXT    NOT NULL,
    origin          TEXT    NOT NULL,
    redirect_uri    TEXT    NOT NULL,
    client_state    BLOB,
    code_challenge  TEXT,
    jkt             TEXT,
    org_id          TEXT,
    scopes          TEXT    NOT NULL,
    params          BLOB,
    stage           INTEGER NOT NULL CHECK (stage BETWEEN 0 AND 4),
    state_mac       BLOB    UNIQUE CHECK (state_mac IS NULL OR length(state_mac) = 32),
    cookie_mac      BLOB    CHECK (cookie_mac IS NULL OR length(cookie_mac) = 32),
    code_mac        BLOB    CHECK (code_mac IS NULL OR length(code_mac) = 32),
    secret          BLOB,
    result          BLOB,
    started_at      INTEGER NOT NULL,
    code_expires_at INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX connects_user ON connects (user_id, created_at);
CREATE INDEX connects_expiry ON connects (expires_at);

-- One provider account belongs to one user; provider says whose subject it is, since a connection may come to lead
-- elsewhere. version counts the changes of the tokens.
CREATE TABLE accounts (
    user_id            TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    id                 TEXT    NOT NULL,
    connection         TEXT    NOT NULL,
    provider           TEXT    NOT NULL,
    subject            TEXT    NOT NULL,
    client_id          TEXT    NOT NULL,
    org_id             TEXT,
    scopes             TEXT    NOT NULL,
    access_token       BLOB,
    refresh_token      BLOB,
    claims             BLOB    NOT NULL,
    access_expires_at  INTEGER NOT NULL,
    refresh_expires_at INTEGER NOT NULL,
    needs_reconnect    INTEGER NOT NULL CHECK (needs_reconnect IN (0, 1)),
    version            INTEGER NOT NULL,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    used_at            INTEGER NOT NULL,
    PRIMARY KEY (user_id, id),
    UNIQUE (connection, provider, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX accounts_user ON accounts (user_id, created_at DESC, id);
-- What is swept: tokens that nobody used for long, or whose provider's date has passed.
CREATE INDEX accounts_idle ON accounts (used_at) WHERE needs_reconnect = 0;
CREATE INDEX accounts_lapse ON accounts (refresh_expires_at) WHERE needs_reconnect = 0 AND refresh_expires_at > 0;
