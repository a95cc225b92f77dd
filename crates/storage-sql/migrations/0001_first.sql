-- The data model of the whole product (design, decision 19). One text for SQLite and PostgreSQL.
-- Times are milliseconds since 1970 in UTC. Lists are JSON arrays as text. Serial numbers are their octets.

CREATE TABLE clients (
    id           TEXT    NOT NULL PRIMARY KEY,
    environment  TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    contacts     TEXT    NOT NULL,
    auth_method  TEXT    NOT NULL,
    scopes       TEXT    NOT NULL,
    audiences    TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    epoch        BIGINT  NOT NULL,
    created_at   BIGINT  NOT NULL,
    updated_at   BIGINT  NOT NULL
);

CREATE TABLE credentials (
    id           TEXT    NOT NULL PRIMARY KEY,
    client       TEXT    NOT NULL REFERENCES clients (id),
    name         TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    secret_hmac  BYTEA,
    matcher      TEXT,
    state        TEXT    NOT NULL,
    epoch        BIGINT  NOT NULL,
    not_before   BIGINT  NOT NULL,
    expires_at   BIGINT,
    created_at   BIGINT  NOT NULL,
    last_used_at BIGINT,
    uses         BIGINT  NOT NULL,
    CHECK ((secret_hmac IS NULL) <> (matcher IS NULL))
);

CREATE INDEX credentials_client ON credentials (client);

-- A certificate stands for one client (rule C4).
CREATE UNIQUE INDEX credentials_matcher ON credentials (kind, matcher) WHERE state = 'active';

CREATE TABLE certificates (
    serial            BYTEA   NOT NULL,
    issuer            TEXT    NOT NULL,
    state             TEXT    NOT NULL,
    ended_at          BIGINT,
    revocation_reason TEXT,
    profile           TEXT    NOT NULL,
    environment       TEXT,
    client            TEXT    REFERENCES clients (id),
    subject           TEXT    NOT NULL,
    names             TEXT    NOT NULL,
    key_hash          BYTEA   NOT NULL,
    not_before        BIGINT  NOT NULL,
    not_after         BIGINT  NOT NULL,
    crl_shard         BIGINT  NOT NULL,
    renews            BYTEA,
    thumbprint        BYTEA,
    der               BYTEA,
    created_at        BIGINT  NOT NULL,
    last_seen_at      BIGINT,
    calls             BIGINT  NOT NULL,
    -- The serial stands first: people look certificates up by its beginning.
    PRIMARY KEY (serial, issuer)
);

CREATE UNIQUE INDEX certificates_thumbprint ON certificates (thumbprint);
CREATE INDEX certificates_newest ON certificates (created_at, serial);
CREATE INDEX certificates_client ON certificates (client, created_at, serial);
CREATE INDEX certificates_pending ON certificates (issuer, serial) WHERE state = 'pending';
CREATE INDEX certificates_ended_newest ON certificates (state, created_at, serial) WHERE ended_at IS NOT NULL;
-- Our own among many of clients: a listener looks for its certificate there.
CREATE INDEX certificates_own ON certificates (profile, created_at, serial) WHERE client IS NULL;
CREATE INDEX certificates_ended ON certificates (issuer, crl_shard, not_after) WHERE ended_at IS NOT NULL;

CREATE TABLE issuers (
    id           TEXT    NOT NULL PRIMARY KEY,
    role         TEXT    NOT NULL,
    certificate  BYTEA   NOT NULL,
    key_id       TEXT    NOT NULL,
    created_at   BIGINT  NOT NULL
);

CREATE TABLE crls (
    issuer       TEXT    NOT NULL,
    shard        BIGINT  NOT NULL,
    number       BIGINT  NOT NULL,
    this_update  BIGINT  NOT NULL,
    next_update  BIGINT  NOT NULL,
    der          BYTEA   NOT NULL,
    PRIMARY KEY (issuer, shard)
);

CREATE TABLE keys (
    id           TEXT    NOT NULL PRIMARY KEY,
    purpose      TEXT    NOT NULL,
    algorithm    TEXT    NOT NULL,
    public_key   BYTEA   NOT NULL,
    sealed       BYTEA   NOT NULL,
    created_at   BIGINT  NOT NULL,
    signs_from   BIGINT  NOT NULL,
    retired_at   BIGINT
);

CREATE TABLE operators (
    name         TEXT    NOT NULL PRIMARY KEY,
    role         TEXT    NOT NULL,
    token_hmac   BYTEA   NOT NULL,
    enabled      BOOLEAN NOT NULL,
    created_at   BIGINT  NOT NULL
);

-- The change feed (design, decision 17).
CREATE TABLE changes (
    sequence     BIGINT  NOT NULL PRIMARY KEY,
    changed_at   BIGINT  NOT NULL,
    kind         TEXT    NOT NULL,
    object       TEXT    NOT NULL
);

-- Audit events that are not yet in the log (design, decision 18), and how far each chain got.
CREATE TABLE audit_outbox (
    id           BIGINT  NOT NULL PRIMARY KEY,
    event        TEXT    NOT NULL
);

CREATE TABLE audit_heads (
    chain        TEXT    NOT NULL PRIMARY KEY,
    sequence     BIGINT  NOT NULL,
    hash         BYTEA   NOT NULL
);

-- The last numbers given. They outlive their rows: a number is never used twice.
CREATE TABLE counters (
    id           BIGINT  NOT NULL PRIMARY KEY CHECK (id = 1),
    last_change  BIGINT  NOT NULL,
    last_event   BIGINT  NOT NULL
);

INSERT INTO counters (id, last_change, last_event) VALUES (1, 0, 0);
