//! What a client says in a TLS alert when it ends the handshake (RFC 8446 section 6), and which reason that is.

use countersign_model::ReasonCode;
use rustls::AlertDescription as A;

/// The name of the alert in the RFCs: what other programs print, and what people search for.
pub(crate) fn name(alert: A) -> String {
    let name = match alert {
        A::CloseNotify => "close_notify",
        A::UnexpectedMessage => "unexpected_message",
        A::BadRecordMac => "bad_record_mac",
        A::DecryptionFailed => "decryption_failed",
        A::RecordOverflow => "record_overflow",
        A::DecompressionFailure => "decompression_failure",
        A::HandshakeFailure => "handshake_failure",
        A::NoCertificate => "no_certificate",
        A::BadCertificate => "bad_certificate",
        A::UnsupportedCertificate => "unsupported_certificate",
        A::CertificateRevoked => "certificate_revoked",
        A::CertificateExpired => "certificate_expired",
        A::CertificateUnknown => "certificate_unknown",
        A::IllegalParameter => "illegal_parameter",
        A::UnknownCA => "unknown_ca",
        A::AccessDenied => "access_denied",
        A::DecodeError => "decode_error",
        A::DecryptError => "decrypt_error",
        A::ExportRestriction => "export_restriction",
        A::ProtocolVersion => "protocol_version",
        A::InsufficientSecurity => "insufficient_security",
        A::InternalError => "internal_error",
        A::InappropriateFallback => "inappropriate_fallback",
        A::UserCanceled => "user_canceled",
        A::NoRenegotiation => "no_renegotiation",
        A::MissingExtension => "missing_extension",
        A::UnsupportedExtension => "unsupported_extension",
        A::CertificateUnobtainable => "certificate_unobtainable",
        A::UnrecognisedName => "unrecognized_name",
        A::BadCertificateStatusResponse => "bad_certificate_status_response",
        A::BadCertificateHashValue => "bad_certificate_hash_value",
        A::UnknownPSKIdentity => "unknown_psk_identity",
        A::CertificateRequired => "certificate_required",
        A::NoApplicationProtocol => "no_application_protocol",
        A::EncryptedClientHelloRequired => "ech_required",
        _ => return format!("alert {}", u8::from(alert)),
    };
    format!("alert {name}")
}

/// Why the client ended the handshake. Several programs send one alert for everything that they dislike of a certificate:
/// Go says bad_certificate, Java certificate_unknown.
pub(crate) fn reason(alert: A) -> ReasonCode {
    match alert {
        A::CertificateExpired => ReasonCode::TlsServerExpired,
        A::UnknownCA
        | A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateUnknown
        | A::AccessDenied
        | A::BadCertificateStatusResponse => ReasonCode::TlsServerUntrusted,
        A::CloseNotify | A::UserCanceled => ReasonCode::TlsHandshakeAbandoned,
        A::HandshakeFailure
        | A::ProtocolVersion
        | A::InsufficientSecurity
        | A::NoApplicationProtocol
        | A::MissingExtension
        | A::UnsupportedExtension => ReasonCode::TlsIncompatible,
        _ => ReasonCode::TlsAlertReceived,
    }
}
