-- SPDX-License-Identifier: Apache-2.0
-- The first schema. Released files never change: see sql/README.md.
-- Times are epoch milliseconds (0: never), booleans 0/1, ids TEXT made by the program.

-- Keyed tables are WITHOUT ROWID: one b-tree descent per lookup instead of index plus table.
CREATE TABLE users (
    user_id        TEXT    NOT NULL PRIMARY KEY,
    email          TEXT,
    email_verified INTEGER NOT NULL CHECK (email_verified IN (0, 1)),
    name           TEXT,
    phone_number   TEXT,
    connection     TEXT,
    roles          TEXT    NOT NULL,
    permissions    TEXT    NOT NULL,
    blocked        INTEGER NOT NULL CHECK (blocked IN (0, 1)),
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE passwords (
    user_id    TEXT    NOT NULL PRIMARY KEY REFERENCES users (user_id) ON DELETE CASCADE,
    hash       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- seq counts a user's passwords upwards; two of them may have been set in the same millisecond.
CREATE TABLE password_history (
    user_id    TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    seq        INTEGER NOT NULL,
    hash       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, seq)
) STRICT, WITHOUT ROWID;

-- A user's methods lie side by side: listing them is one range of the primary key.
CREATE TABLE methods (
    user_id      TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    id           TEXT    NOT NULL,
    type         TEXT    NOT NULL,
    confirmed    INTEGER NOT NULL CHECK (confirmed IN (0, 1)),
    name         TEXT,
    address      TEXT,
    voice        INTEGER NOT NULL CHECK (voice IN (0, 1)),
    secret       BLOB,
    last_step    INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    last_auth_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (user_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX methods_pending ON methods (expires_at) WHERE confirmed = 0;

CREATE TABLE enrolments (
    session_mac BLOB    NOT NULL PRIMARY KEY CHECK (length(session_mac) = 32),
    user_id     TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    client_id   TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    method_id   TEXT    NOT NULL,
    code_mac    BLOB    CHECK (code_mac IS NULL OR length(code_mac) = 32),
    data        BLOB,
    attempts    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    consumed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX enrolments_method ON enrolments (user_id, method_id);
-- Not partial: consumed sessions are swept by their expiry too.
CREATE INDEX enrolments_expiry ON enrolments (expires_at);

-- A token bucket: `micro` millionths of a token were left at updated_at. No row: the bucket is full.
CREATE TABLE counters (
    user_id    TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    name       TEXT    NOT NULL,
    micro      INTEGER NOT NULL CHECK (micro >= 0),
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    id         TEXT    NOT NULL PRIMARY KEY,
    channel    TEXT    NOT NULL,
    user_id    TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    payload    BLOB    NOT NULL,
    attempts   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    dead       INTEGER NOT NULL CHECK (dead IN (0, 1)),
    last_error TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_alive ON outbox (next_at, id) WHERE dead = 0;
CREATE INDEX outbox_dead ON outbox (created_at, id) WHERE dead = 1;
CREATE INDEX outbox_user ON outbox (user_id);

-- Outlives its user: user_id is no foreign key here.
CREATE TABLE audit (
    id         INTEGER NOT NULL PRIMARY KEY,
    at         INTEGER NOT NULL,
    type       TEXT    NOT NULL,
    operation  TEXT,
    user_id    TEXT,
    client_id  TEXT,
    ip         TEXT,
    user_agent TEXT,
    request_id TEXT,
    method_id  TEXT,
    detail     TEXT
) STRICT;
CREATE INDEX audit_user ON audit (user_id, id);
CREATE INDEX audit_at ON audit (at);

CREATE TABLE objects (
    kind       TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    json       TEXT    NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE object_secrets (
    kind       TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (kind, key, name)
) STRICT, WITHOUT ROWID;
