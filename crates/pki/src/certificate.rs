//! Certificates: from a profile and registered names to a `TBSCertificate` (RFC 5280 section 4.1, rules P1–P3).

use crate::asn1::{self, Extension, SIGNATURE_ALGORITHM, TbsCertificate, ValidityPeriod};
use crate::key::PublicKey;
use crate::name::{NameError, Subject, SubjectAltName, general_uri};
use crate::profile;
use crate::signing::ToBeSigned;
use countersign_model::certificate::Profile;
use countersign_model::{Serial, Timestamp};
use der::asn1::{AnyRef, OctetString, UintRef};
use der::oid::db::rfc5280::{
    ID_AD_CA_ISSUERS, ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_CRL_DISTRIBUTION_POINTS,
    ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER,
    ID_PE_AUTHORITY_INFO_ACCESS,
};
use der::{Decode, Encode};
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints,
    CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, KeyUsages,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

/// Why a certificate or CRL cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A name does not fit into a certificate.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A CRL or issuer address is not an `http:` URI (RFC 5280 section 8).
    #[error("not a plain http: URI: {0:?}")]
    Url(String),
    /// A moment before 1970 or after 9999, or an end before the beginning.
    #[error("the validity is no period that X.509 can express")]
    Validity,
    /// The encoder refused: a bug.
    #[error("the certificate could not be encoded: {0}")]
    Encoding(der::Error),
}

impl From<der::Error> for BuildError {
    fn from(error: der::Error) -> Self {
        match error.kind() {
            der::ErrorKind::DateTime => Self::Validity,
            _ => Self::Encoding(error),
        }
    }
}

/// Who signs: what must be repeated from the issuer's own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerIdentity {
    subject_der: Vec<u8>,
    key_identifier: Vec<u8>,
    public_key: PublicKey,
    not_after: Timestamp,
}

/// A certificate that cannot be an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is not one of a CA with a subject key identifier")]
pub struct NoIssuer;

impl IssuerIdentity {
    /// The identity of the CA that holds this certificate.
    ///
    /// # Errors
    /// When it is unreadable, not a CA's, or has no subject key identifier.
    pub fn from_certificate(der: &[u8]) -> Result<Self, NoIssuer> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| NoIssuer)?;
        if !rest.is_empty() || !certificate.is_ca() {
            return Err(NoIssuer);
        }
        let key_identifier =
            certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
                _ => None,
            });
        Ok(Self {
            subject_der: certificate.subject().as_raw().to_vec(),
            key_identifier: key_identifier.ok_or(NoIssuer)?,
            public_key: PublicKey::from_spki_der(certificate.public_key().raw).map_err(|_| NoIssuer)?,
            not_after: Timestamp::from_unix_s(certificate.validity().not_after.timestamp()),
        })
    }

    /// The identity of a root that is about to sign itself.
    ///
    /// # Errors
    /// When the subject does not fit into a certificate.
    pub fn root(subject: &Subject, public_key: &PublicKey, not_after: Timestamp) -> Result<Self, NameError> {
        Ok(Self {
            subject_der: subject.to_der()?,
            key_identifier: public_key.ski().to_vec(),
            public_key: public_key.clone(),
            not_after,
        })
    }

    /// Its subject, DER: the issuer of everything it signs, byte for byte.
    pub fn subject_der(&self) -> &[u8] {
        &self.subject_der
    }

    /// Its subject key identifier.
    pub fn key_identifier(&self) -> &[u8] {
        &self.key_identifier
    }

    /// Its key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The end of its validity: nothing that it signs lives longer (rule P9).
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// Everything that goes into a certificate. Nothing of it comes from a request but the key (rule P5).
#[derive(Debug, Clone)]
pub struct CertificateTemplate {
    /// The shape.
    pub profile: Profile,
    /// Who signs.
    pub issuer: IssuerIdentity,
    /// Unique for the issuer; from [`crate::serial::generate`].
    pub serial: Serial,
    /// For people.
    pub subject: Subject,
    /// For machines; CAs have none.
    pub names: Vec<SubjectAltName>,
    /// Whose it is.
    pub public_key: PublicKey,
    /// First second; see [`profile::validity`].
    pub not_before: Timestamp,
    /// Last second.
    pub not_after: Timestamp,
    /// Where the issuer's CRL for this certificate is (CDP). The root's own certificate has none.
    pub crl_url: Option<String>,
    /// Where the issuer's certificate is (AIA caIssuers).
    pub issuer_url: Option<String>,
}

impl CertificateTemplate {
    /// The TBSCertificate, to be linted.
    ///
    /// # Errors
    /// When a name, address or moment cannot be encoded.
    pub fn to_be_signed(&self) -> Result<ToBeSigned, BuildError> {
        if self.not_after <= self.not_before {
            return Err(BuildError::Validity);
        }
        let subject = self.subject.to_der()?;
        let tbs = TbsCertificate {
            version: 2, // v3
            serial_number: UintRef::new(self.serial.octets())?,
            signature: SIGNATURE_ALGORITHM,
            issuer: AnyRef::from_der(self.issuer.subject_der())?,
            validity: ValidityPeriod {
                not_before: asn1::time(self.not_before)?,
                not_after: asn1::time(self.not_after)?,
            },
            subject: AnyRef::from_der(&subject)?,
            subject_public_key_info: AnyRef::from_der(self.public_key.spki_der())?,
            extensions: self.extensions()?,
        };
        Ok(ToBeSigned::new(tbs.to_der()?))
    }

    pub(crate) fn extensions(&self) -> Result<Vec<Extension>, BuildError> {
        let mut extensions = vec![authority_key_identifier(&self.issuer)?, self.subject_key_identifier()?];
        extensions.extend(self.basic_constraints()?);
        extensions.push(self.key_usage()?);
        extensions.extend(self.extended_key_usage()?);
        extensions.extend(self.subject_alt_name()?);
        extensions.extend(self.crl_distribution_points()?);
        extensions.extend(self.authority_information_access()?);
        Ok(extensions)
    }

    /// RFC 5280 section 4.2.1.2: the same octets that its own certificates will bear in their AKI.
    fn subject_key_identifier(&self) -> der::Result<Extension> {
        Extension::new(ID_CE_SUBJECT_KEY_IDENTIFIER, false, &OctetString::new(self.public_key.ski())?)
    }

    /// RFC 5280 section 4.2.1.9: critical, on CAs only.
    fn basic_constraints(&self) -> der::Result<Option<Extension>> {
        if !profile::is_ca(self.profile) {
            return Ok(None);
        }
        let value = BasicConstraints { ca: true, path_len_constraint: profile::path_length(self.profile) };
        Extension::new(ID_CE_BASIC_CONSTRAINTS, true, &value).map(Some)
    }

    /// RFC 5280 section 4.2.1.3: a CA signs certificates and CRLs, a leaf proves itself in TLS and does nothing else.
    fn key_usage(&self) -> der::Result<Extension> {
        let usage = if profile::is_ca(self.profile) {
            KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign)
        } else {
            KeyUsage(KeyUsages::DigitalSignature.into())
        };
        Extension::new(ID_CE_KEY_USAGE, true, &usage)
    }

    fn extended_key_usage(&self) -> der::Result<Option<Extension>> {
        let Some(purpose) = profile::extended_key_usage(self.profile) else { return Ok(None) };
        Extension::new(ID_CE_EXT_KEY_USAGE, false, &ExtendedKeyUsage(vec![purpose])).map(Some)
    }

    /// RFC 5280 section 4.2.1.6: critical when the subject is empty, and only then (rule P3).
    fn subject_alt_name(&self) -> Result<Option<Extension>, BuildError> {
        if self.names.is_empty() {
            return Ok(None);
        }
        let names = self.names.iter().map(SubjectAltName::to_general_name).collect::<Result<Vec<_>, _>>()?;
        let critical = self.subject.organization.is_none() && self.subject.common_name.is_none();
        Ok(Some(Extension::new(ID_CE_SUBJECT_ALT_NAME, critical, &names)?))
    }

    fn crl_distribution_points(&self) -> Result<Option<Extension>, BuildError> {
        let Some(url) = &self.crl_url else { return Ok(None) };
        let point = DistributionPoint {
            distribution_point: Some(DistributionPointName::FullName(vec![http_uri(url)?])),
            reasons: None,
            crl_issuer: None,
        };
        Ok(Some(Extension::new(ID_CE_CRL_DISTRIBUTION_POINTS, false, &CrlDistributionPoints(vec![point]))?))
    }

    fn authority_information_access(&self) -> Result<Option<Extension>, BuildError> {
        let Some(url) = &self.issuer_url else { return Ok(None) };
        let access = AccessDescription { access_method: ID_AD_CA_ISSUERS, access_location: http_uri(url)? };
        Ok(Some(Extension::new(
            ID_PE_AUTHORITY_INFO_ACCESS,
            false,
            &AuthorityInfoAccessSyntax(vec![access]),
        )?))
    }
}

/// RFC 5280 section 4.2.1.1: the key identifier only, so that an issuer may get a new certificate for its key.
pub(crate) fn authority_key_identifier(issuer: &IssuerIdentity) -> der::Result<Extension> {
    let value = AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(issuer.key_identifier())?),
        authority_cert_issuer: None,
        authority_cert_serial_number: None,
    };
    Extension::new(ID_CE_AUTHORITY_KEY_IDENTIFIER, false, &value)
}

/// RFC 5280 section 8: an `https:` address here would need a certificate to check a certificate.
pub(crate) fn http_uri(url: &str) -> Result<GeneralName, BuildError> {
    let refused = || BuildError::Url(url.to_owned());
    if !url.starts_with("http://") {
        return Err(refused());
    }
    general_uri(url).ok_or_else(refused)
}
