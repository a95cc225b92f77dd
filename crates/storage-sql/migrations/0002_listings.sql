-- Listings of certificates that read past a million rows to show a few: eleven seconds for what is pending.

-- The rows of what is pending, in the order of the listing.
DROP INDEX certificates_pending;
CREATE INDEX certificates_pending_newest ON certificates (created_at, serial) WHERE state = 'pending';

-- What a listing asks of a row beside its place stands in the index: rows that are passed over are not read. The expired
-- are found behind all that are newer and valid still.
DROP INDEX certificates_newest;
CREATE INDEX certificates_newest ON certificates (created_at, serial, state, not_after, profile);
