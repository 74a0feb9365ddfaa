-- SPDX-License-Identifier: Apache-2.0
-- Security notices: changes that users were told of, and what it takes to undo them; links that set a new password.
-- Tokens of links are kept as MACs. Times are epoch milliseconds, 0: never.

-- info is sealed: what the message said and where it went. kept is sealed: what undoing needs, the secret of a removed
-- factor for one; it goes when the link was used, and with the row when the link lapses.
CREATE TABLE notices (
    id         TEXT    NOT NULL PRIMARY KEY,
    token_mac  BLOB    NOT NULL UNIQUE CHECK (length(token_mac) = 32),
    user_id    TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    event      TEXT    NOT NULL,
    subject    TEXT,
    info       BLOB    NOT NULL,
    kept       BLOB,
    outcome    TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX notices_user ON notices (user_id, event, created_at);
CREATE INDEX notices_expiry ON notices (expires_at);

-- A link that sets a new password.
CREATE TABLE password_resets (
    token_mac  BLOB    NOT NULL PRIMARY KEY CHECK (length(token_mac) = 32),
    user_id    TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX password_resets_user ON password_resets (user_id);
CREATE INDEX password_resets_expiry ON password_resets (expires_at);

-- A password that signs nobody in until another one is set.
ALTER TABLE passwords ADD COLUMN must_reset INTEGER NOT NULL DEFAULT 0 CHECK (must_reset IN (0, 1));

-- Access tokens that were issued before are refused by the API.
ALTER TABLE users ADD COLUMN tokens_after INTEGER NOT NULL DEFAULT 0;
