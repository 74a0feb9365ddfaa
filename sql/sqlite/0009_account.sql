-- SPDX-License-Identifier: Apache-2.0
-- What users see of their account: where a refresh token or a way to sign in was last used from, and their profile.

-- Of the newest exchange; NULL: of one that is older than these columns.
ALTER TABLE families ADD COLUMN ip TEXT;
ALTER TABLE families ADD COLUMN user_agent TEXT;

ALTER TABLE methods ADD COLUMN used_ip TEXT;
ALTER TABLE methods ADD COLUMN used_agent TEXT;
ALTER TABLE passwords ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE passwords ADD COLUMN used_ip TEXT;
ALTER TABLE passwords ADD COLUMN used_agent TEXT;

-- The members of OpenID Connect's profile scope that users may say of themselves; user_metadata is a JSON object.
ALTER TABLE users ADD COLUMN given_name TEXT;
ALTER TABLE users ADD COLUMN family_name TEXT;
ALTER TABLE users ADD COLUMN nickname TEXT;
ALTER TABLE users ADD COLUMN picture TEXT;
ALTER TABLE users ADD COLUMN user_metadata TEXT;

-- What a user is signed in with is listed newest first.
DROP INDEX sessions_user;
CREATE INDEX sessions_user ON sessions (user_id, created_at, id);
CREATE INDEX families_age ON families (user_id, revoked_at, created_at, id);
