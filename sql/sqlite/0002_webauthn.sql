-- SPDX-License-Identifier: Apache-2.0
-- WebAuthn credentials (passkeys and security keys) and the handles authenticators know users by.

-- Random, the same for all credentials of a user (WebAuthn Level 3 §5.4.3 user.id).
CREATE TABLE user_handles (
    user_id    TEXT    NOT NULL PRIMARY KEY REFERENCES users (user_id) ON DELETE CASCADE,
    handle     BLOB    NOT NULL UNIQUE CHECK (length(handle) = 64),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a row of methods with a WebAuthn type holds besides. A credential id is taken once, whoever owns it
-- (WebAuthn Level 3 §7.1 step 26).
CREATE TABLE credentials (
    user_id       TEXT    NOT NULL,
    method_id     TEXT    NOT NULL,
    credential_id BLOB    NOT NULL UNIQUE,
    public_key    BLOB    NOT NULL,
    alg           INTEGER NOT NULL,
    sign_count    INTEGER NOT NULL CHECK (sign_count >= 0),
    aaguid        BLOB    NOT NULL CHECK (length(aaguid) = 16),
    be            INTEGER NOT NULL CHECK (be IN (0, 1)),
    bs            INTEGER NOT NULL CHECK (bs IN (0, 1)),
    uv            INTEGER NOT NULL CHECK (uv IN (0, 1)),
    attestation   TEXT    NOT NULL,
    transports    TEXT,
    user_agent    TEXT,
    rp_id         TEXT    NOT NULL,
    user_handle   BLOB    NOT NULL,
    PRIMARY KEY (user_id, method_id),
    FOREIGN KEY (user_id, method_id) REFERENCES methods (user_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
