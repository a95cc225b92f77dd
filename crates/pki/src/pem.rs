//! PEM (RFC 7468): text around DER.

use rustls_pki_types::pem::{SectionKind, SliceIter};

/// A text that holds no such PEM block, or a broken one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no intact PEM block of that kind")]
pub struct PemError;

/// What a PEM block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// `CERTIFICATE`
    Certificate,
    /// `CERTIFICATE REQUEST`
    CertificateRequest,
    /// `X509 CRL`
    Crl,
    /// `PUBLIC KEY`
    PublicKey,
    /// `PRIVATE KEY`: PKCS#8.
    PrivateKey,
}

impl Label {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::CertificateRequest => "CERTIFICATE REQUEST",
            Self::Crl => "X509 CRL",
            Self::PublicKey => "PUBLIC KEY",
            Self::PrivateKey => "PRIVATE KEY",
        }
    }

    const fn section(self) -> SectionKind {
        match self {
            Self::Certificate => SectionKind::Certificate,
            Self::CertificateRequest => SectionKind::Csr,
            Self::Crl => SectionKind::Crl,
            Self::PublicKey => SectionKind::PublicKey,
            Self::PrivateKey => SectionKind::PrivateKey,
        }
    }
}

/// One PEM block with lines of 64 characters.
pub fn encode(label: Label, der: &[u8]) -> String {
    // The only failure is a length beyond the address space, and `der` is in memory.
    der::pem::encode_string(label.as_str(), der::pem::LineEnding::LF, der).unwrap_or_default()
}

/// The first block with this label; text around it is skipped, other blocks too.
///
/// # Errors
/// When there is none, or it is broken.
pub fn decode(label: Label, text: &[u8]) -> Result<Vec<u8>, PemError> {
    decode_all(label, text)?.into_iter().next().ok_or(PemError)
}

/// All blocks with this label, in order: a chain.
///
/// # Errors
/// When a block is broken.
pub fn decode_all(label: Label, text: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    let mut found = Vec::new();
    for section in SliceIter::new(text) {
        let (kind, der) = section.map_err(|_| PemError)?;
        if kind == label.section() {
            found.push(der);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_as_they_are_written_and_others_are_skipped() {
        let chain = [
            encode(Label::Certificate, &[1; 100]),
            encode(Label::PrivateKey, &[2]),
            encode(Label::Certificate, &[3]),
        ];
        let text = format!("a line before\n{}between\n{}{}", chain[0], chain[1], chain[2]);
        assert_eq!(decode_all(Label::Certificate, text.as_bytes()), Ok(vec![vec![1; 100], vec![3]]));
        assert_eq!(decode(Label::PrivateKey, text.as_bytes()), Ok(vec![2]));
        assert_eq!(decode(Label::Crl, text.as_bytes()), Err(PemError));
        assert!(chain[0].lines().all(|line| line.len() <= 64));
        assert!(
            chain[0].starts_with("-----BEGIN CERTIFICATE-----\n")
                && chain[0].ends_with("-----END CERTIFICATE-----\n")
        );
    }

    #[test]
    fn broken_blocks_are_refused() {
        let text = encode(Label::Certificate, &[1; 100]);
        for broken in [
            text.replace("AQ", "A*"),
            text.replace("-----END", "-----"),
            text[..80].to_owned(),
            String::new(),
        ] {
            assert_eq!(decode(Label::Certificate, broken.as_bytes()), Err(PemError), "{broken}");
        }
    }
}
