-- Listings of certificates that read past a million rows to show a few: eleven seconds for what is pending.

-- The rows of what is pending, in the order of the listing.
DROP INDEX certificates_pending;
CREATE INDEX certificates_pending_newest ON certificates (created_at, serial) WHERE state = 'pending';

-- What never changes in a row, and a listing asks beside its place, stands in the index: rows that are passed over are not
-- read. The expired are found behind all that are newer and valid still. The state is left out, because each certificate
-- changes it once, and would be written to the index twice.
DROP INDEX certificates_newest;
CREATE INDEX certificates_newest ON certificates (created_at, serial, not_after, profile);
