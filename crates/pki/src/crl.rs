//! Certificate revocation lists (RFC 5280 section 5, rule R1): full, sharded, never indirect, never delta.

use crate::asn1::{self, Extension, RawSequence, SIGNATURE_ALGORITHM, TbsCertListFrame};
use crate::certificate::{BuildError, IssuerIdentity, authority_key_identifier, http_uri};
use crate::key::PublicKey;
use crate::signature::SignatureInvalid;
use crate::signing::ToBeSigned;
use countersign_model::certificate::RevocationReason;
use countersign_model::{Serial, Timestamp};
use der::asn1::{AnyRef, UintRef};
use der::oid::ObjectIdentifier;
use der::oid::db::rfc5280::{ID_CE_CRL_NUMBER, ID_CE_CRL_REASONS};
use der::{Any, Decode, Encode, Header, Length, Tag};
use x509_cert::ext::pkix::crl::dp::IssuingDistributionPoint;
use x509_cert::ext::pkix::name::DistributionPointName;
use x509_parser::extensions::{DistributionPointName as ParsedPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate as ParsedRevoked};

/// `id-ce-issuingDistributionPoint` (RFC 5280 section 5.2.5). `x509-cert` associates another identifier with the type.
pub(crate) const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");

/// One revoked certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrlEntry {
    /// Which.
    pub serial: Serial,
    /// Since when.
    pub revoked_at: Timestamp,
    /// Why.
    pub reason: RevocationReason,
}

/// Everything that goes into a CRL.
#[derive(Debug, Clone)]
pub struct CrlTemplate {
    /// Who signs: the issuer of the certificates it speaks of.
    pub issuer: IssuerIdentity,
    /// CRLNumber: strictly increasing (rule R1).
    pub number: u64,
    /// When it is made.
    pub this_update: Timestamp,
    /// By when the next one is out.
    pub next_update: Timestamp,
    /// The address written into the certificates of this shard, byte for byte. `None` for a list that is whole, as the root's:
    /// it then has no issuing distribution point.
    pub distribution_point_url: Option<String>,
    /// What is revoked, in any order.
    pub entries: Vec<CrlEntry>,
}

impl CrlTemplate {
    /// The TBSCertList, to be linted.
    ///
    /// # Errors
    /// When an address or a moment cannot be encoded.
    pub fn to_be_signed(&self) -> Result<ToBeSigned, BuildError> {
        if self.next_update <= self.this_update {
            return Err(BuildError::Validity);
        }
        // Sorted, so that the same state gives the same bytes.
        let mut entries = self.entries.clone();
        entries.sort_unstable_by_key(|entry| entry.serial);
        let revoked = encode_entries(&entries)?;
        let tbs = TbsCertListFrame {
            version: 1, // v2
            signature: SIGNATURE_ALGORITHM,
            issuer: AnyRef::from_der(self.issuer.subject_der())?,
            this_update: asn1::time(self.this_update)?,
            next_update: asn1::time(self.next_update)?,
            // RFC 5280 section 5.1.2.6: absent, not empty.
            revoked_certificates: (!revoked.is_empty()).then_some(RawSequence(&revoked)),
            extensions: [
                Some(authority_key_identifier(&self.issuer)?),
                Some(Extension::new(ID_CE_CRL_NUMBER, false, &self.number)?),
                self.distribution_point_url.as_deref().map(issuing_distribution_point).transpose()?,
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        Ok(ToBeSigned::new(tbs.to_der()?))
    }
}

/// RFC 5280 section 5.2.5: critical, so that nobody takes one shard for the whole. A verifier then wants the same address in
/// the certificate, and a root certificate has none: with it, checks of a whole chain refuse the root's list.
fn issuing_distribution_point(url: &str) -> Result<Extension, BuildError> {
    let value = IssuingDistributionPoint {
        distribution_point: Some(DistributionPointName::FullName(vec![http_uri(url)?])),
        only_contains_user_certs: false,
        only_contains_ca_certs: false,
        only_some_reasons: None,
        indirect_crl: false,
        only_contains_attribute_certs: false,
    };
    Ok(Extension::new(ISSUING_DISTRIBUTION_POINT, true, &value)?)
}

/// The content of `revokedCertificates`, in the order of `entries`: each value by the encoder of the library, into one buffer.
pub(crate) fn encode_entries(entries: &[CrlEntry]) -> der::Result<Vec<u8>> {
    // The extensions of an entry depend on its reason alone, and reasons are few.
    let mut extensions: [Option<Vec<u8>>; 16] = Default::default();
    let mut content = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        let slot = extensions.get_mut(usize::from(entry.reason.code())).ok_or(der::ErrorKind::Failed)?;
        let extensions = match slot {
            Some(present) => present,
            None => slot.insert(entry_extensions(entry.reason)?),
        };
        let (mut serial, mut date, mut header) = ([0; 32], [0; 32], [0; 16]);
        let serial = UintRef::new(entry.serial.octets())?.encode_to_slice(&mut serial)?;
        let date = asn1::time(entry.revoked_at)?.encode_to_slice(&mut date)?;
        let length = Length::try_from(serial.len() + date.len() + extensions.len())?;
        content.extend_from_slice(Header::new(Tag::Sequence, length).encode_to_slice(&mut header)?);
        for part in [serial, date, extensions] {
            content.extend_from_slice(part);
        }
    }
    Ok(content)
}

/// About as many octets has an entry.
const ENTRY_BYTES: usize = 49;

/// RFC 5280 section 5.3.1: a reason of unspecified is left out.
fn entry_extensions(reason: RevocationReason) -> der::Result<Vec<u8>> {
    match reason {
        RevocationReason::Unspecified => Ok(Vec::new()),
        reason => {
            let value = Any::new(Tag::Enumerated, [reason.code()])?;
            vec![Extension::new(ID_CE_CRL_REASONS, false, &value)?].to_der()
        }
    }
}

/// A text that is no CRL as we publish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a CRL of version 2 with nextUpdate, CRLNumber and known reasons")]
pub struct CrlMalformed;

/// A CRL as read. Whether it is genuine says [`RevocationList::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// The issuer's name, DER.
    pub issuer_der: Vec<u8>,
    /// CRLNumber.
    pub number: u64,
    /// When it was made.
    pub this_update: Timestamp,
    /// By when the next one is out.
    pub next_update: Timestamp,
    /// The key identifier of its signer.
    pub authority_key_identifier: Option<Vec<u8>>,
    /// The address of the critical issuing distribution point.
    pub distribution_point_url: Option<String>,
    /// What is revoked.
    pub entries: Vec<CrlEntry>,
    to_be_signed: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

impl RevocationList {
    /// Reads a CRL, DER.
    ///
    /// # Errors
    /// When it is malformed, of another kind than ours, or bears an entry that we could not have made.
    pub fn parse(der: &[u8]) -> Result<Self, CrlMalformed> {
        let outer = asn1::Signed::from_der(der).map_err(|_| CrlMalformed)?;
        let (rest, list) = CertificateRevocationList::from_der(der).map_err(|_| CrlMalformed)?;
        let next_update = list.next_update().ok_or(CrlMalformed)?;
        if !rest.is_empty() {
            return Err(CrlMalformed);
        }
        let encoded = |value: AnyRef<'_>| value.to_der().map_err(|_| CrlMalformed);
        Ok(Self {
            issuer_der: list.issuer().as_raw().to_vec(),
            number: list.crl_number().and_then(|number| u64::try_from(number).ok()).ok_or(CrlMalformed)?,
            this_update: Timestamp::from_unix_s(list.last_update().timestamp()),
            next_update: Timestamp::from_unix_s(next_update.timestamp()),
            authority_key_identifier: list.extensions().iter().find_map(|e| match e.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(aki) => {
                    aki.key_identifier.as_ref().map(|id| id.0.to_vec())
                }
                _ => None,
            }),
            distribution_point_url: list.extensions().iter().find_map(|e| match e.parsed_extension() {
                ParsedExtension::IssuingDistributionPoint(point) => {
                    full_name_uri(point.distribution_point.as_ref()?)
                }
                _ => None,
            }),
            entries: list.iter_revoked_certificates().map(read_entry).collect::<Result<_, _>>()?,
            to_be_signed: encoded(outer.to_be_signed)?,
            algorithm: encoded(outer.algorithm)?,
            signature: outer.signature.as_bytes().ok_or(CrlMalformed)?.to_vec(),
        })
    }

    /// Checks the issuer's signature.
    ///
    /// # Errors
    /// When it is not of this key.
    pub fn verify(&self, issuer: &PublicKey) -> Result<(), SignatureInvalid> {
        issuer.verify(&self.algorithm, &self.to_be_signed, &self.signature)
    }

    /// Since when and why a certificate of this issuer is revoked; `None` when it is not on the list.
    pub fn revocation(&self, serial: &Serial) -> Option<&CrlEntry> {
        self.entries.iter().find(|entry| entry.serial == *serial)
    }
}

pub(crate) fn read_entry(entry: &ParsedRevoked<'_>) -> Result<CrlEntry, CrlMalformed> {
    let reason = match entry.reason_code() {
        None => RevocationReason::Unspecified,
        Some((_, code)) => {
            RevocationReason::ALL.into_iter().find(|reason| reason.code() == code.0).ok_or(CrlMalformed)?
        }
    };
    Ok(CrlEntry {
        serial: Serial::from_octets(entry.raw_serial()).ok_or(CrlMalformed)?,
        revoked_at: Timestamp::from_unix_s(entry.revocation_date.timestamp()),
        reason,
    })
}

/// The one URI of a distribution point, if that is what it has.
pub(crate) fn full_name_uri(name: &ParsedPointName<'_>) -> Option<String> {
    match name {
        ParsedPointName::FullName(names) => match names.as_slice() {
            [GeneralName::URI(uri)] => Some((*uri).to_owned()),
            _ => None,
        },
        ParsedPointName::NameRelativeToCRLIssuer(_) => None,
    }
}
