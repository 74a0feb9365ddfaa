-- SPDX-License-Identifier: Apache-2.0
-- Access tokens of the daemon's own issuer that are refused before they expire. token: "jti:<id>" for one, "sid:<id>" for
-- all of a browser session. expires_at: when the longest-lived of them has expired by itself.
CREATE TABLE revocations (
    user_id    TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    token      TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, token)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_expiry ON revocations (expires_at);
