-- SPDX-License-Identifier: Apache-2.0
-- The audit trail becomes a chain of keyed hashes (include/ma/audit.h says how they are made). Rows that are there
-- already have no hash yet: the program chains them when it first opens the database.

-- salt hides the commitment to the personal columns; where they were erased it is gone, `personal` is that commitment
-- and `erasure` the proof that the program erased them.
ALTER TABLE audit ADD COLUMN salt BLOB CHECK (salt IS NULL OR length(salt) = 16);
ALTER TABLE audit ADD COLUMN personal BLOB CHECK (personal IS NULL OR length(personal) = 32);
ALTER TABLE audit ADD COLUMN erasure BLOB CHECK (erasure IS NULL OR length(erasure) = 32);
ALTER TABLE audit ADD COLUMN hash BLOB CHECK (hash IS NULL OR length(hash) = 32);

-- The two ends of the chain, sealed: rows up to base_id were removed by retention, head_id is the newest. Rows up to
-- adopted_to are older than the chain. broken_at is the first row that was written on a record which did not
-- authenticate (0: none).
CREATE TABLE audit_chain (
    one        INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    chain_id   BLOB    NOT NULL CHECK (length(chain_id) = 16),
    base_id    INTEGER NOT NULL,
    base_hash  BLOB    NOT NULL CHECK (length(base_hash) = 32),
    head_id    INTEGER NOT NULL,
    head_hash  BLOB    NOT NULL CHECK (length(head_hash) = 32),
    adopted_to INTEGER NOT NULL,
    broken_at  INTEGER NOT NULL,
    mac        BLOB    NOT NULL CHECK (length(mac) = 32)
) STRICT;

-- How far the webhook has come: rows up to done_to were taken; those up to batch_to are being sent (the same: none).
CREATE TABLE audit_delivery (
    one        INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    done_to    INTEGER NOT NULL,
    batch_to   INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    last_error TEXT
) STRICT;

-- Rows are appended behind the chain's head, each with its hash.
CREATE TRIGGER audit_append BEFORE INSERT ON audit
WHEN NEW.hash IS NULL OR NEW.salt IS NULL OR NEW.personal IS NOT NULL OR NEW.erasure IS NOT NULL
    OR NEW.id <= coalesce((SELECT head_id FROM audit_chain WHERE one = 1), NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'audit rows are appended to the chain');
END;

-- Retention moves base_id first; what lies behind it may go then, and nothing else.
CREATE TRIGGER audit_keep BEFORE DELETE ON audit
WHEN OLD.id > coalesce((SELECT base_id FROM audit_chain WHERE one = 1), 0)
BEGIN
    SELECT RAISE(ABORT, 'audit rows are kept');
END;

-- Two changes are allowed, each once a row: chaining a row that is older than the chain, and erasing what identifies
-- its user.
CREATE TRIGGER audit_fixed BEFORE UPDATE ON audit
WHEN NEW.id IS NOT OLD.id OR NEW.at IS NOT OLD.at OR NEW.type IS NOT OLD.type OR NEW.operation IS NOT OLD.operation
    OR NEW.client_id IS NOT OLD.client_id
    OR NOT (
        (OLD.hash IS NULL AND NEW.hash IS NOT NULL AND NEW.salt IS NOT NULL AND NEW.personal IS NULL
         AND NEW.erasure IS NULL AND NEW.user_id IS OLD.user_id AND NEW.ip IS OLD.ip
         AND NEW.user_agent IS OLD.user_agent AND NEW.request_id IS OLD.request_id
         AND NEW.method_id IS OLD.method_id AND NEW.detail IS OLD.detail)
        OR (OLD.hash IS NOT NULL AND NEW.hash IS OLD.hash AND OLD.salt IS NOT NULL AND NEW.salt IS NULL
            AND NEW.personal IS NOT NULL AND NEW.erasure IS NOT NULL AND NEW.ip IS NULL AND NEW.user_agent IS NULL
            AND NEW.request_id IS NULL AND NEW.method_id IS NULL AND NEW.detail IS NULL))
BEGIN
    SELECT RAISE(ABORT, 'audit rows do not change');
END;

CREATE TRIGGER audit_chain_forward BEFORE UPDATE ON audit_chain
WHEN NEW.chain_id IS NOT OLD.chain_id OR NEW.head_id < OLD.head_id OR NEW.base_id < OLD.base_id
    OR NEW.base_id > NEW.head_id OR NEW.adopted_to IS NOT OLD.adopted_to
    OR (OLD.broken_at <> 0 AND NEW.broken_at = 0)
BEGIN
    SELECT RAISE(ABORT, 'the audit chain only grows');
END;

CREATE TRIGGER audit_chain_stays BEFORE DELETE ON audit_chain
BEGIN
    SELECT RAISE(ABORT, 'the audit chain stays');
END;
