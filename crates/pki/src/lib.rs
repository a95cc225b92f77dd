//! X.509 as pure code: CSRs, profiles, certificates, CRLs, path validation, lints.
