//! Certificate signing requests: what is read, what is refused, and with which code (rules P4, P5).

use crate::support::Key;
use countersign_model::ReasonCode;
use countersign_pki::csr::MAX_BYTES;
use countersign_pki::key::{KeyError, KeyKind};
use countersign_pki::pem::{self, Label};
use countersign_pki::signature::{SignatureInvalid, ecdsa_p256_to_der};
use countersign_pki::{Csr, CsrError, Subject, SubjectAltName, assemble_csr, client_uri, csr_info_to_sign};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

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

/// Else one key has several hashes, and we certify what no other program can load.
#[test]
fn rule_p4_an_algorithm_that_is_no_sequence_is_malformed() {
    let key = Key::generate();
    let mut spki = key.public().spki_der().to_vec();
    for tag in [0x70, 0xb0, 0xf0] {
        spki[2] = tag;
        let info = csr_info_to_sign("acme-pay", &spki).unwrap();
        let request = assemble_csr(&info, &key.sign(&info)).unwrap();
        assert_eq!(refusal(request.as_bytes()).1, ReasonCode::CsrMalformed, "{tag:#x}");
    }
    let signature = ecdsa_p256_to_der(&key.sign(b"message")).unwrap();
    let mut algorithm = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02".to_vec(); // ecdsa-with-SHA256
    assert_eq!(key.public().verify(&algorithm, b"message", &signature), Ok(()));
    for tag in [0x70, 0xb0, 0xf0] {
        algorithm[0] = tag;
        assert_eq!(
            key.public().verify(&algorithm, b"message", &signature),
            Err(SignatureInvalid),
            "{tag:#x}"
        );
    }
}

/// RFC 8032 section 5.1.3, and the eight points of small order: with such a key the signature R = 1, S = 0 is valid for
/// one message in eight at least, so that a request proves nothing.
#[test]
fn rule_p4_an_ed25519_key_of_small_order_is_refused() {
    for spki in small_order_keys() {
        let info = csr_info_to_sign("acme-pay", &spki).unwrap();
        let signature = [&[1][..], &[0; 63]].concat();
        let algorithm = [&[0x30, 5][..], &spki[4..9]].concat();
        let signature = [&[3, 65, 0][..], &signature].concat();
        let content = [info, algorithm, signature].concat();
        let request = [&[0x30, 0x81, u8::try_from(content.len()).unwrap()][..], &content].concat();
        let key = &spki[12..];
        assert_eq!(
            refusal(&request),
            (CsrError::Key(KeyError::Ed25519Point), ReasonCode::CsrKeyRefused),
            "{key:02x?}"
        );
    }
}

/// SubjectPublicKeyInfo of each encoding of a point of small order: y is 0, 1, -1 or one of the two of order 8, with both
/// signs of x, and 0 and 1 once more as p and p + 1.
fn small_order_keys() -> Vec<Vec<u8>> {
    let constant = |first: u8, middle: u8, last: u8| [&[first][..], &[middle; 30], &[last]].concat();
    let order_8 = [
        b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
        b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
    ];
    let mut points = vec![constant(0, 0, 0), constant(1, 0, 0)];
    points.extend([0xec, 0xed, 0xee].map(|first| constant(first, 0xff, 0x7f)));
    points.extend(order_8.map(|point| point.to_vec()));
    let negated = points.clone().into_iter().map(|mut point| {
        point[31] |= 0x80;
        point
    });
    points.extend(negated);
    let head = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
    points.iter().map(|point| [head.as_slice(), point].concat()).collect()
}

#[test]
fn rule_c7_sha1_is_refused() {
    assert_eq!(refusal(&fixture("rsa-2048-sha1")).1, ReasonCode::CsrSignatureAlgorithmRefused);
}

/// Nobody has looked at such a signature, so nothing is said of the key that made it.
#[test]
fn a_signature_algorithm_that_is_not_accepted_is_named() {
    let key = Key::generate();
    let info = csr_info_to_sign("acme-pay", key.public().spki_der()).unwrap();
    let cases: [(&[u8], &str); 5] = [
        (b"\x06\x07\x2a\x86\x48\xce\x3d\x04\x01", "ECDSA and SHA-1 (1.2.840.10045.4.1)"),
        (b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x01", "ECDSA and SHA-224 (1.2.840.10045.4.3.1)"),
        (b"\x06\x03\x2b\x65\x71", "Ed448 (1.3.101.113)"),
        (b"\x06\x03\x2a\x03\x04", "an algorithm (1.2.3.4)"),
        (
            b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x00",
            "RSA-PSS with other parameters than ours (1.2.840.113549.1.1.10)",
        ),
    ];
    for (algorithm, name) in cases {
        let signature = [&[0][..], &ecdsa_p256_to_der(&key.sign(&info)).unwrap()].concat();
        let request = tlv(0x30, &[info.clone(), tlv(0x30, algorithm), tlv(3, &signature)].concat());
        let named = (CsrError::SignatureAlgorithm(name.to_owned()), ReasonCode::CsrSignatureAlgorithmRefused);
        assert_eq!(refusal(&request), named);
    }
    // An accepted algorithm, of another kind of key.
    let signature = [&[0][..], &ecdsa_p256_to_der(&key.sign(&info)).unwrap()].concat();
    let request = tlv(0x30, &[info, tlv(0x30, b"\x06\x03\x2b\x65\x70"), tlv(3, &signature)].concat());
    assert_eq!(refusal(&request).1, ReasonCode::CsrSignatureInvalid);
}

/// RFC 4055 section 5: implementations must accept the parameters being absent.
#[test]
fn an_rsa_signature_without_null_parameters_is_accepted() {
    let request = Csr::parse(&fixture("rsa-signature-without-null")).unwrap();
    assert_eq!(request.public_key().kind(), KeyKind::Rsa { bits: 2048 });
    let mut changed = pem::decode(Label::CertificateRequest, &fixture("rsa-signature-without-null")).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(refusal(&changed).1, ReasonCode::CsrSignatureInvalid);
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let header = match value.len() {
        0..0x80 => vec![tag, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    // DER wants the shortest form.
    let header = if (0x80..0x100).contains(&value.len()) { vec![tag, 0x81, length[1]] } else { header };
    [header, value.to_vec()].concat()
}

/// A request with what stands behind the key.
fn with_attributes(field: &[u8]) -> Vec<u8> {
    let key = Key::generate();
    let plain = csr_info_to_sign("acme-pay", key.public().spki_der()).unwrap();
    // `a0 00` is the end of the plain one; its header is 30 81 LENGTH or 30 LENGTH.
    let content = plain.strip_suffix(&[0xa0, 0]).unwrap();
    let content = if content[1] & 0x80 == 0 { &content[2..] } else { &content[3..] };
    let info = tlv(0x30, &[content, field].concat());
    let request = assemble_csr(&info, &key.sign(&info)).unwrap();
    pem::decode(Label::CertificateRequest, request.as_bytes()).unwrap()
}

const CHALLENGE_PASSWORD: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07";
const EXTENSION_REQUEST: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e";
const MICROSOFT_EXTENSION_REQUEST: &[u8] = b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x0e";

fn attribute(oid: &[u8], values: &[u8]) -> Vec<u8> {
    tlv(0x30, &[oid, &tlv(0x31, values)].concat())
}

#[test]
fn a_challenge_password_of_any_type_is_ignored() {
    // UTF8String, PrintableString, T61String, IA5String, UniversalString, BMPString, and an INTEGER.
    for tag in [0x0c, 0x13, 0x14, 0x16, 0x1c, 0x1e, 0x02] {
        for value in [&b"\x00s\x00e"[..], b"\xe9\xff", b""] {
            let password = attribute(CHALLENGE_PASSWORD, &tlv(tag, value));
            let request = with_attributes(&tlv(0xa0, &password));
            assert_eq!(Csr::parse(&request).unwrap().requested_names(), [""; 0], "{tag:#x}");
        }
    }
}

/// Also where an attribute that is ignored stands before it, and in each of several values.
#[test]
fn rule_p5_names_in_microsofts_attribute_are_read_as_those_in_the_standard_one() {
    let names = |name: &[u8]| tlv(0x30, &tlv(0x82, name));
    let extension = |oid: &[u8], value: &[u8]| tlv(0x30, &[oid, &tlv(4, value)].concat());
    let san = |name: &[u8]| tlv(0x30, &extension(b"\x06\x03\x55\x1d\x11", &names(name)));
    let ca = tlv(0x30, &extension(b"\x06\x03\x55\x1d\x13", b"\x30\x03\x01\x01\xff"));
    let password = attribute(CHALLENGE_PASSWORD, &tlv(0x16, b"secret"));
    for oid in [EXTENSION_REQUEST, MICROSOFT_EXTENSION_REQUEST] {
        let both = attribute(oid, &[san(b"a.example"), san(b"b.example")].concat());
        let request = with_attributes(&tlv(0xa0, &[password.clone(), both].concat()));
        assert_eq!(Csr::parse(&request).unwrap().requested_names(), ["dns:a.example", "dns:b.example"]);
        let request = with_attributes(&tlv(0xa0, &attribute(oid, &ca)));
        assert_eq!(refusal(&request).0, CsrError::AsksForCa);
        let request = with_attributes(&tlv(0xa0, &attribute(oid, b"\x04\x00")));
        assert_eq!(refusal(&request).0, CsrError::Malformed("a broken attribute"));
    }
}

#[test]
fn a_request_without_attributes_is_told_so() {
    assert!(Csr::parse(&with_attributes(&[0xa0, 0])).is_ok());
    let (error, reason) = refusal(&with_attributes(b""));
    assert_eq!(reason, ReasonCode::CsrMalformed);
    assert!(error.to_string().contains("its attributes are missing"), "{error}");
    for other in [&b"\x31\x00"[..], b"\xa1\x00", b"\x80\x00", b"\xa0\x00\xa0\x00"] {
        assert_eq!(refusal(&with_attributes(other)).1, ReasonCode::CsrMalformed, "{other:02x?}");
    }
}

#[test]
fn a_byte_order_mark_and_text_in_any_encoding_around_the_pem_are_read_over() {
    let text = Key::generate().request("acme-pay");
    let expected = Csr::parse(text.as_bytes()).unwrap().public_key().clone();
    let utf16 = |mark: u16, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        [mark].into_iter().chain(text.encode_utf16()).flat_map(bytes).collect()
    };
    for bytes in [
        [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        [b"Soci\xe9t\xe9 G\xe9n\xe9rale\n", text.as_bytes(), b"\xe9\n"].concat(),
        [b"\xef\xbb\xbfSoci\xe9t\xe9\r\n", text.replace('\n', "\r\n").as_bytes()].concat(),
        utf16(0xfeff, u16::to_le_bytes),
        utf16(0xfeff, u16::to_be_bytes),
    ] {
        assert_eq!(*Csr::parse(&bytes).unwrap().public_key(), expected);
    }
}

#[test]
fn rule_p5_a_request_for_a_ca_is_refused() {
    for name in ["ca-true", "key-cert-sign"] {
        assert_eq!(refusal(&fixture(name)), (CsrError::AsksForCa, ReasonCode::CsrNameRefused), "{name}");
    }
}

#[test]
fn rule_p5_what_is_not_granted_is_named() {
    let acme = "acme-pay".parse().unwrap();
    let subject = Subject::client("Acme Ltd", &acme);
    let granted = [SubjectAltName::Uri(client_uri("https://localhost:8443", &acme))];
    let own = Csr::parse(&fixture("own-name")).unwrap();
    assert_eq!(own.not_granted(&subject, &granted), [""; 0]);
    let foreign = Csr::parse(&fixture("foreign-names")).unwrap();
    let asked = [
        "uri:https://localhost:8443/clients/other-bank",
        "dns:localhost",
        "ip:127.0.0.1",
        "email:a@example.com",
    ];
    assert_eq!(foreign.requested_names(), asked);
    assert_eq!(foreign.not_granted(&subject, &granted), asked);
    let named: Vec<String> = foreign.clients_named().iter().map(ToString::to_string).collect();
    assert_eq!(named, ["127.0.0.1", "acme-pay", "localhost", "other-bank"]);
}

/// As certreq, certtool and cert-manager write it: attributes of a subject that a certificate of ours does not have.
#[test]
fn rule_p5_what_is_left_out_of_a_subject_is_named() {
    let mut params = CertificateParams::default();
    let subject = &mut params.distinguished_name;
    *subject = DistinguishedName::new();
    for (kind, value) in [
        (DnType::CountryName, "AU"),
        (DnType::OrganizationName, "Acme Ltd"),
        (DnType::OrganizationalUnitName, "Paymentś"),
        (DnType::CommonName, "acme-pay"),
    ] {
        subject.push(kind, value);
    }
    subject.push(DnType::CustomDnType(vec![2, 5, 4, 97]), "PSDES-BDE-3DFD21");
    subject.push(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99999, 1]), "x");
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let csr = Csr::parse(request.der()).unwrap();
    let granted = Subject::client("Acme Ltd", &"acme-pay".parse().unwrap());
    assert_eq!(
        csr.not_granted(&granted, &[]),
        ["C=AU", "OU=Paymentś", "2.5.4.97=PSDES-BDE-3DFD21", "1.3.6.1.4.1.99999.1=x"]
    );
}

/// Rule T13: what a request costs does not depend on how much stands in it.
#[test]
fn rule_t13_a_request_with_a_very_long_subject_is_malformed() {
    let request = |count: u64| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for number in 0..count {
            params.distinguished_name.push(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99999, number]), "x");
        }
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    };
    assert!(Csr::parse(&request(100)).is_ok());
    assert_eq!(Csr::parse(&request(101)).unwrap_err(), CsrError::Malformed("more than 100 names"));
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

/// Rule T13: what a request costs does not depend on how much it asks for.
#[test]
fn rule_t13_a_request_for_very_many_names_is_malformed() {
    let request = |count: usize| {
        let mut params = CertificateParams::default();
        let name = |number: usize| SanType::DnsName(format!("n{number}.example").try_into().unwrap());
        params.subject_alt_names = (0..count).map(name).collect();
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    };
    assert_eq!(Csr::parse(&request(100)).unwrap().requested_names().len(), 100);
    assert_eq!(Csr::parse(&request(101)).unwrap_err(), CsrError::Malformed("more than 100 names"));
    assert_eq!(Csr::parse(&request(3000)).unwrap_err(), CsrError::Malformed("more than 100 names"));
}
