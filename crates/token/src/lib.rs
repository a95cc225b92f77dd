//! JOSE as pure code: JWS, JWK, at+jwt access tokens, cnf.
