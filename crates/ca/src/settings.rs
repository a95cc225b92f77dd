//! What the authority is told by the configuration.

use countersign_model::IssuerId;

const CRL_PATH: &str = "/pki/crl/";

/// Addresses that are written into certificates.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The issuer URL of the installation: the SAN URI of a partner begins with it ([`countersign_pki::client_uri`]).
    pub issuer: String,
    /// Where our public documents are served over plain HTTP (RFC 5280 section 8), without a trailing slash:
    /// `http://127.0.0.1:8445`.
    pub documents: String,
    /// The organisation in the subjects of our CAs.
    pub organization: String,
}

impl Settings {
    /// Where the CRL of an issuer's shard is: the CDP of its leaves and the IDP of the list, byte for byte (rule R1).
    pub fn crl_url(&self, issuer: &IssuerId, shard: u16) -> String {
        format!("{}{CRL_PATH}{issuer}/{shard}.crl", self.documents)
    }

    /// The documents' address in the URL of a CRL: what [`Settings::crl_url`] began with.
    pub(crate) fn documents_of(crl_url: &str) -> Option<&str> {
        crl_url.split_once(CRL_PATH).map(|(documents, _)| documents)
    }

    /// Where an issuer's certificate is (AIA caIssuers).
    pub fn issuer_url(&self, issuer: &IssuerId) -> String {
        format!("{}/pki/{issuer}.crt", self.documents)
    }
}
