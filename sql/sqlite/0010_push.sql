-- SPDX-License-Identifier: Apache-2.0
-- Devices that approve sign-ins, and what they were asked.

-- What a row of methods with the type push-notification holds besides. It is there from when the ticket is shown
-- (enrolled_at 0) and keeps the ticket's MAC, so that one that was used is known again. device_id: what apps call it.
-- held: it was begun by somebody who is not signed in yet, and waits for the sign-in to go on once it enrolled. seed,
-- sealed: of the paired authenticator, until the method is confirmed; then pair_id names that method. identifier: what
-- the device calls itself, the issuer of what it signs. push_token, sealed: where its messages go. public_key: a JWK.
CREATE TABLE push_devices (
    user_id     TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    device_id   TEXT    NOT NULL UNIQUE,
    ticket_mac  BLOB    NOT NULL UNIQUE CHECK (length(ticket_mac) = 32),
    client_id   TEXT    NOT NULL,
    origin      TEXT    NOT NULL,
    held        INTEGER NOT NULL CHECK (held IN (0, 1)),
    seed        BLOB,
    pair_id     TEXT,
    name        TEXT,
    identifier  TEXT,
    service     TEXT    CHECK (service IS NULL OR service IN ('GCM', 'APNS')),
    push_token  BLOB,
    public_key  TEXT,
    token_mac   BLOB    CHECK (token_mac IS NULL OR length(token_mac) = 32),
    matching    INTEGER NOT NULL CHECK (matching IN (0, 1)),
    created_at  INTEGER NOT NULL,
    enrolled_at INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (user_id, id),
    FOREIGN KEY (user_id, id) REFERENCES methods (user_id, id) ON DELETE CASCADE,
    CHECK ((enrolled_at = 0) = (identifier IS NULL) AND (enrolled_at = 0) = (public_key IS NULL)
           AND (enrolled_at = 0) = (token_mac IS NULL) AND (service IS NULL) = (push_token IS NULL))
) STRICT, WITHOUT ROWID;

-- A sign-in that a device is asked about; goes with its challenge. state: 0 open, 1 approved, 2 rejected, 3 another one
-- took its place, 4 nobody answered in time. number_mac: of the number that the device must send along.
CREATE TABLE push_transactions (
    token_mac    BLOB    NOT NULL PRIMARY KEY CHECK (length(token_mac) = 32),
    challenge_id BLOB    NOT NULL UNIQUE REFERENCES challenges (id_mac) ON DELETE CASCADE,
    user_id      TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    method_id    TEXT    NOT NULL,
    answer_mac   BLOB    NOT NULL CHECK (length(answer_mac) = 32),
    number_mac   BLOB    CHECK (number_mac IS NULL OR length(number_mac) = 32),
    state        INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4),
    reason       TEXT,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    answered_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX push_transactions_user ON push_transactions (user_id, state);
CREATE INDEX push_transactions_open ON push_transactions (expires_at) WHERE state = 0;

-- A device and its authenticator go together, whoever deletes which.
CREATE TRIGGER push_pair_authenticator AFTER DELETE ON push_devices WHEN OLD.pair_id IS NOT NULL
BEGIN
    DELETE FROM methods WHERE user_id = OLD.user_id AND id = OLD.pair_id;
END;
CREATE TRIGGER push_pair_device AFTER DELETE ON methods WHEN OLD.type = 'totp'
BEGIN
    DELETE FROM methods WHERE user_id = OLD.user_id AND id IN (
        SELECT id FROM push_devices WHERE user_id = OLD.user_id AND pair_id = OLD.id);
END;
