-- Whose a public key is: asked before each certificate that is issued for a client.
CREATE INDEX certificates_key ON certificates (key_hash, client);

-- What expires next, among what has not ended.
CREATE INDEX certificates_soonest ON certificates (not_after, serial) WHERE ended_at IS NULL;
