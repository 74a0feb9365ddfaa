-- SPDX-License-Identifier: Apache-2.0
-- What bounds guessing and messages beyond one user.

-- Where a user signed in from: a MAC of the address. Strangers' guesses do not hold up who comes from there.
CREATE TABLE known_addresses (
    user_id     TEXT    NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    address_mac BLOB    NOT NULL CHECK (length(address_mac) = 32),
    used_at     INTEGER NOT NULL,
    PRIMARY KEY (user_id, address_mac)
) STRICT, WITHOUT ROWID;
CREATE INDEX known_addresses_age ON known_addresses (user_id, used_at DESC);

-- Token buckets that belong to no user, by the MAC of what they count (where messages go). As counters; a row may go
-- when its bucket is full again.
CREATE TABLE shared_counters (
    key_mac    BLOB    NOT NULL PRIMARY KEY CHECK (length(key_mac) = 32),
    micro      INTEGER NOT NULL CHECK (micro >= 0),
    updated_at INTEGER NOT NULL,
    full_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX shared_counters_full ON shared_counters (full_at);
