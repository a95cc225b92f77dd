//! The certificate authority: issue, revoke, publish CRLs, ledger.
