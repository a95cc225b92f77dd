//! The ASN.1 structures of RFC 5280, RFC 5912 and RFC 2986 that we encode or must read byte for byte.
//!
//! `x509-cert` has no public constructor for a `TBSCertificate` that somebody else signs, so these mirror the standards'
//! modules; names and keys are kept as raw DER, because an issuer must be repeated byte for byte (RFC 5280 section 4.1.2.4).

use countersign_model::Timestamp;
use der::asn1::{AnyRef, BitStringRef, OctetString, SetOfVec, UintRef};
use der::oid::ObjectIdentifier;
use der::{
    Decode, DecodeValue, Encode, EncodeValue, FixedTag, Header, Length, Reader, Sequence, Tag, Writer,
};
use std::time::Duration;
use x509_cert::time::Time;

/// `ecdsa-with-SHA256` (RFC 5758 section 3.2): parameters absent.
pub(crate) const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// `AlgorithmIdentifier` without parameters.
#[derive(Clone, Copy, Sequence)]
pub(crate) struct Algorithm {
    pub(crate) oid: ObjectIdentifier,
}

/// What we sign with.
pub(crate) const SIGNATURE_ALGORITHM: Algorithm = Algorithm { oid: ECDSA_WITH_SHA256 };

/// `SubjectPublicKeyInfo`, read only.
#[derive(Sequence)]
pub(crate) struct SubjectPublicKeyInfo<'a> {
    pub(crate) algorithm: AnyRef<'a>,
    pub(crate) subject_public_key: BitStringRef<'a>,
}

/// `RSAPublicKey` (RFC 8017 appendix A.1.1).
#[derive(Sequence)]
pub(crate) struct RsaPublicKey<'a> {
    pub(crate) modulus: UintRef<'a>,
    pub(crate) public_exponent: UintRef<'a>,
}

/// `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3).
#[derive(Sequence)]
pub(crate) struct EcdsaSignature<'a> {
    pub(crate) r: UintRef<'a>,
    pub(crate) s: UintRef<'a>,
}

/// `SIGNED{…}`: what certificates, CRLs and requests have in common.
#[derive(Sequence)]
pub(crate) struct Signed<'a> {
    pub(crate) to_be_signed: AnyRef<'a>,
    pub(crate) algorithm: AnyRef<'a>,
    pub(crate) signature: BitStringRef<'a>,
}

/// `Validity` (RFC 5280 section 4.1.2.5).
#[derive(Sequence)]
pub(crate) struct ValidityPeriod {
    pub(crate) not_before: Time,
    pub(crate) not_after: Time,
}

/// `Extension` (RFC 5280 section 4.1).
#[derive(Clone, Sequence)]
pub(crate) struct Extension {
    pub(crate) oid: ObjectIdentifier,
    #[asn1(default = "Default::default")]
    pub(crate) critical: bool,
    pub(crate) value: OctetString,
}

impl Extension {
    pub(crate) fn new(oid: ObjectIdentifier, critical: bool, value: &impl Encode) -> der::Result<Self> {
        Ok(Self { oid, critical, value: OctetString::new(value.to_der()?)? })
    }
}

/// `TBSCertificate` of version 3 (RFC 5280 section 4.1).
#[derive(Sequence)]
pub(crate) struct TbsCertificate<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    pub(crate) version: u8,
    pub(crate) serial_number: UintRef<'a>,
    pub(crate) signature: Algorithm,
    pub(crate) issuer: AnyRef<'a>,
    pub(crate) validity: ValidityPeriod,
    pub(crate) subject: AnyRef<'a>,
    pub(crate) subject_public_key_info: AnyRef<'a>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    pub(crate) extensions: Vec<Extension>,
}

/// A SEQUENCE whose content stays as it is.
#[derive(Clone, Copy)]
pub(crate) struct RawSequence<'a>(pub(crate) &'a [u8]);

impl FixedTag for RawSequence<'_> {
    const TAG: Tag = Tag::Sequence;
}

impl<'a> DecodeValue<'a> for RawSequence<'a> {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        reader.read_slice(header.length()).map(Self)
    }
}

impl EncodeValue for RawSequence<'_> {
    fn value_len(&self) -> der::Result<Length> {
        Length::try_from(self.0.len())
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        writer.write(self.0)
    }
}

/// `TBSCertList` of version 2 (RFC 5280 section 5.1). Its entries are one value: they may be a hundred thousand, and are
/// written and read by [`crate::crl::encode_entries`] without an allocation for each.
#[derive(Sequence)]
pub(crate) struct TbsCertListFrame<'a> {
    pub(crate) version: u8,
    pub(crate) signature: Algorithm,
    pub(crate) issuer: AnyRef<'a>,
    pub(crate) this_update: Time,
    pub(crate) next_update: Time,
    #[asn1(optional = "true")]
    pub(crate) revoked_certificates: Option<RawSequence<'a>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    pub(crate) extensions: Vec<Extension>,
}

/// The same with its entries: the tests of the lint write what our builder never does.
#[cfg(test)]
#[derive(Sequence)]
pub(crate) struct TbsCertList<'a> {
    pub(crate) version: u8,
    pub(crate) signature: Algorithm,
    pub(crate) issuer: AnyRef<'a>,
    pub(crate) this_update: Time,
    pub(crate) next_update: Time,
    #[asn1(optional = "true")]
    pub(crate) revoked_certificates: Option<Vec<RevokedCertificate<'a>>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    pub(crate) extensions: Vec<Extension>,
}

/// One entry of `revokedCertificates`.
#[cfg(test)]
#[derive(Clone, Sequence)]
pub(crate) struct RevokedCertificate<'a> {
    pub(crate) serial_number: UintRef<'a>,
    pub(crate) revocation_date: Time,
    #[asn1(optional = "true")]
    pub(crate) extensions: Option<Vec<Extension>>,
}

/// `CertificationRequestInfo` (RFC 2986 section 4.1), as we write it: without attributes.
#[derive(Sequence)]
pub(crate) struct CertificationRequestInfo<'a> {
    pub(crate) version: u8,
    pub(crate) subject: AnyRef<'a>,
    pub(crate) subject_public_key_info: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", constructed = "true")]
    pub(crate) attributes: SetOfVec<der::Any>,
}

/// RFC 5280 section 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050, whole seconds (rule P1).
pub(crate) fn time(moment: Timestamp) -> der::Result<Time> {
    let seconds = u64::try_from(moment.unix_s()).map_err(|_| der::ErrorKind::DateTime)?;
    Ok(Time::from(der::DateTime::from_unix_duration(Duration::from_secs(seconds))?))
}

/// The signed structure around `to_be_signed`, with our one signature algorithm.
pub(crate) fn signed(to_be_signed: &[u8], signature_der: &[u8]) -> der::Result<Vec<u8>> {
    let algorithm = SIGNATURE_ALGORITHM.to_der()?;
    Signed {
        to_be_signed: AnyRef::from_der(to_be_signed)?,
        algorithm: AnyRef::from_der(&algorithm)?,
        signature: BitStringRef::from_bytes(signature_der)?,
    }
    .to_der()
}
