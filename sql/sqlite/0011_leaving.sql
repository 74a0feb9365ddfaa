-- SPDX-License-Identifier: Apache-2.0
-- Users who leave, and the copies of everything about them that they take along. Times are epoch milliseconds, 0: never.

-- A user who is about to be deleted: when that was asked for, when it will be done, and the MAC of the link that takes it
-- back. The MAC stays after a return, so that the link can say what became of it. pseudonym: erasing has begun, there is
-- no way back any more, and the audit trail names the user so.
ALTER TABLE users ADD COLUMN leaving_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN leaves_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN restore_mac BLOB CHECK (restore_mac IS NULL OR length(restore_mac) = 32);
ALTER TABLE users ADD COLUMN pseudonym TEXT;
CREATE INDEX users_leaving ON users (leaves_at) WHERE leaves_at > 0;
CREATE UNIQUE INDEX users_restore ON users (restore_mac) WHERE restore_mac IS NOT NULL;

-- A copy of everything about a user, made when it is asked for. reason says why it failed.
CREATE TABLE exports (
    user_id    TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    id         TEXT    NOT NULL,
    status     TEXT    NOT NULL CHECK (status IN ('pending', 'ready', 'failed')),
    reason     TEXT,
    attempts   INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ready_at   INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, id)
) STRICT, WITHOUT ROWID;
-- One at a time of each user; and what is still to be made, oldest first.
CREATE UNIQUE INDEX exports_one ON exports (user_id) WHERE status = 'pending';
CREATE INDEX exports_pending ON exports (created_at) WHERE status = 'pending';
CREATE INDEX exports_expiry ON exports (expires_at) WHERE expires_at > 0;

-- Its text, piece by piece. id is that of the export, a full stop and the number of the piece in six digits.
CREATE TABLE export_parts (
    user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    id      TEXT NOT NULL,
    sealed  BLOB NOT NULL,
    PRIMARY KEY (user_id, id)
) STRICT, WITHOUT ROWID;
