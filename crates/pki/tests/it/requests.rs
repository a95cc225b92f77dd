//! Certificate signing requests: what is read, what is refused, and with which code (rules P4, P5).

use crate::support::Key;
use countersign_model::ReasonCode;
use countersign_pki::csr::MAX_BYTES;
use countersign_pki::key::{KeyError, KeyKind};
use countersign_pki::pem::{self, Label};
use countersign_pki::{Csr, CsrError, SubjectAltName, assemble_csr, csr_info_to_sign};

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/it/fixtures/{name}.csr", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

fn refusal(request: &[u8]) -> (CsrError, ReasonCode) {
    let error = Csr::parse(request).unwrap_err();
    let reason = error.reason();
    (error, reason)
}

#[test]
fn rule_p4_strong_keys_are_accepted() {
    for (name, kind) in [
        ("rsa-2048", KeyKind::Rsa { bits: 2048 }),
        ("rsa-2048-pss", KeyKind::Rsa { bits: 2048 }),
        ("own-name", KeyKind::P256),
        ("p384", KeyKind::P384),
        ("ed25519", KeyKind::Ed25519),
    ] {
        assert_eq!(Csr::parse(&fixture(name)).unwrap().public_key().kind(), kind, "{name}");
    }
}

#[test]
fn rule_p4_weak_rsa_key_is_refused() {
    for (name, error) in [
        ("rsa-1024", KeyError::RsaModulus { bits: 1024 }),
        ("rsa-2050", KeyError::RsaModulus { bits: 2050 }),
        ("rsa-2048-exponent-3", KeyError::RsaExponent),
    ] {
        assert_eq!(refusal(&fixture(name)), (CsrError::Key(error), ReasonCode::CsrKeyRefused), "{name}");
    }
}

#[test]
fn rule_p4_other_kinds_of_keys_are_refused() {
    for name in ["p521", "secp256k1", "p256-explicit", "ed448"] {
        assert_eq!(
            refusal(&fixture(name)),
            (CsrError::Key(KeyError::Algorithm), ReasonCode::CsrKeyRefused),
            "{name}"
        );
    }
}

#[test]
fn rule_p4_the_signature_is_verified() {
    let der = pem::decode(Label::CertificateRequest, &fixture("own-name")).unwrap();
    let mut changed = der.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(refusal(&changed), (CsrError::SignatureInvalid, ReasonCode::CsrSignatureInvalid));
    // Somebody else's key, signed with one's own: the requester does not hold what he asks a certificate for.
    let (mine, theirs) = (Key::generate(), Key::generate());
    let info = csr_info_to_sign("acme-pay", theirs.public().spki_der()).unwrap();
    let stolen = assemble_csr(&info, &mine.sign(&info)).unwrap();
    assert_eq!(refusal(stolen.as_bytes()).1, ReasonCode::CsrSignatureInvalid);
    // A changed subject.
    let name = der.windows(8).position(|window| window == b"acme-pay").unwrap();
    let mut renamed = der;
    renamed[name] = b'b';
    assert_eq!(refusal(&renamed).1, ReasonCode::CsrSignatureInvalid);
}

#[test]
fn rule_c7_sha1_is_refused() {
    assert_eq!(refusal(&fixture("rsa-2048-sha1")).1, ReasonCode::CsrSignatureInvalid);
}

#[test]
fn rule_p5_a_request_for_a_ca_is_refused() {
    for name in ["ca-true", "key-cert-sign"] {
        assert_eq!(refusal(&fixture(name)), (CsrError::AsksForCa, ReasonCode::CsrNameRefused), "{name}");
    }
}

#[test]
fn rule_p5_foreign_names_are_refused() {
    let registered = [SubjectAltName::client("https://localhost:8443", &"acme-pay".parse().unwrap())];
    let own = Csr::parse(&fixture("own-name")).unwrap();
    assert_eq!(own.check_names(&registered), Ok(()));
    assert_eq!(Csr::parse(&fixture("p384")).unwrap().check_names(&registered), Ok(()));
    let foreign = Csr::parse(&fixture("foreign-names")).unwrap();
    let asked = [
        "uri:https://localhost:8443/clients/other-bank",
        "dns:localhost",
        "ip:127.0.0.1",
        "email:a@example.com",
    ];
    assert_eq!(foreign.requested_names(), asked);
    let error = foreign.check_names(&registered).unwrap_err();
    assert_eq!(error, CsrError::Name(asked[0].to_owned()));
    assert_eq!(error.reason(), ReasonCode::CsrNameRefused);
}

#[test]
fn a_request_is_read_from_der_and_from_every_usual_pem() {
    let text = Key::generate().request("acme-pay");
    let der = pem::decode(Label::CertificateRequest, text.as_bytes()).unwrap();
    let expected = Csr::parse(text.as_bytes()).unwrap().public_key().clone();
    for variant in [
        text.replace('\n', "\r\n"),
        text.replace("CERTIFICATE", "NEW CERTIFICATE"), // keytool
        format!("Certificate Request:\n    Data:\n        Version: 1 (0x0)\n{text}"), // openssl req -text
        format!("{text}\n\n"),
    ] {
        assert_eq!(*Csr::parse(variant.as_bytes()).unwrap().public_key(), expected, "{variant}");
    }
    assert_eq!(*Csr::parse(&der).unwrap().public_key(), expected);
}

#[test]
fn what_is_no_request_is_malformed() {
    let text = Key::generate().request("acme-pay");
    let der = pem::decode(Label::CertificateRequest, text.as_bytes()).unwrap();
    for end in 0..der.len() {
        assert_eq!(refusal(&der[..end]).1, ReasonCode::CsrMalformed, "truncated at {end}");
    }
    for malformed in [
        Vec::new(),
        b"hello".to_vec(),
        [der.as_slice(), &[0]].concat(),
        [der.as_slice(), &der].concat(),
        format!("{text}{text}").into_bytes(),
        text.replace("CERTIFICATE REQUEST", "CERTIFICATE").into_bytes(),
        text.as_bytes()[..text.len() / 2].to_vec(),
        vec![0x30; MAX_BYTES],
        vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert_eq!(refusal(&malformed).1, ReasonCode::CsrMalformed);
    }
    assert_eq!(refusal(&vec![0x30; MAX_BYTES + 1]), (CsrError::TooLarge, ReasonCode::CsrMalformed));
}
