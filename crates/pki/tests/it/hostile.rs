//! Hostile bytes: no parser of ours panics, whatever it reads. The fuzz targets call the same functions.

use crate::revocation_lists::{list_of, sign_list};
use crate::support::{Authority, Key, NOW, new_serial};
use countersign_model::certificate::RevocationReason;
use countersign_pki::pem::{self, Label};
use countersign_pki::{
    CrlEntry, Csr, IssuerIdentity, PathOptions, PublicKey, Purpose, RevocationList, Subject, SubjectAltName,
    TrustAnchors, TrustedIssuer, distribution_point_url, signature, validate_client, validate_path,
};
use proptest::prelude::*;
use rustls_pki_types::ServerName;
use std::sync::LazyLock;

struct Documents {
    anchors: TrustAnchors,
    genuine: Vec<Vec<u8>>,
}

static DOCUMENTS: LazyLock<Documents> = LazyLock::new(|| {
    let root = Authority::root();
    let (clients, servers) = (root.issuing("Clients"), root.issuing("Servers"));
    let key = Key::generate();
    let request = pem::decode(Label::CertificateRequest, key.request("acme-pay").as_bytes()).unwrap();
    let entry = CrlEntry { serial: new_serial(), revoked_at: NOW, reason: RevocationReason::Superseded };
    let genuine = vec![
        clients.client("acme-pay", &key.public()),
        servers.server(&["dns:localhost", "ip:::1"], &key.public()),
        clients.certificate.clone(),
        sign_list(&clients, &list_of(&clients, 1, vec![entry])),
        request,
        key.public().spki_der().to_vec(),
    ];
    let issuers = [root.certificate, clients.certificate]
        .map(|der| TrustedIssuer::new("clients".parse().unwrap(), der).unwrap());
    Documents { anchors: TrustAnchors::new(issuers.into()), genuine }
});

/// Everything that reads bytes from somebody else.
fn read(bytes: &[u8]) {
    let anchors = &DOCUMENTS.anchors;
    let _ = Csr::parse(bytes).map(|csr| (csr.clients_named(), csr.not_granted(&Subject::default(), &[])));
    let _ = PublicKey::from_spki_der(bytes).map(|key| key.check_strength());
    let _ = RevocationList::parse(bytes);
    let _ = IssuerIdentity::from_certificate(bytes);
    let _ = TrustedIssuer::new("other".parse().unwrap(), bytes.to_vec());
    let _ = distribution_point_url(bytes);
    let _ = pem::decode_all(Label::Certificate, bytes);
    let _ = signature::ecdsa_p256_from_der(bytes);
    let _ = validate_client(bytes, anchors, NOW);
    let name = ServerName::try_from("localhost").unwrap();
    for purpose in [Purpose::Client, Purpose::Server(&name)] {
        let options = PathOptions { purpose, now: NOW, max_intermediates: Some(1), crls: &[bytes] };
        let _ = validate_path(&DOCUMENTS.genuine[0], &[bytes], anchors, &options);
    }
}

#[test]
fn truncated_documents_do_not_panic() {
    for document in &DOCUMENTS.genuine {
        for end in 0..document.len() {
            read(&document[..end]);
        }
    }
}

#[test]
fn documents_with_a_wrong_tag_or_length_do_not_panic() {
    for document in &DOCUMENTS.genuine {
        for position in 0..document.len() {
            for value in [0x00, 0x1f, 0x30, 0x7f, 0x80, 0x84, 0xa3, 0xff] {
                let mut changed = document.clone();
                changed[position] = value;
                read(&changed);
            }
        }
    }
}

#[test]
fn deeply_nested_and_endless_lengths_do_not_panic() {
    read(&[0x30; 60_000]);
    read(&[0x30, 0x80].repeat(30_000));
    read(&[0x30, 0x83, 0xff, 0xff, 0xff].repeat(10_000));
    read(&[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read(&bytes);
    }

    #[test]
    fn random_changes_do_not_panic(document in 0..6usize, changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..6)) {
        let mut bytes = DOCUMENTS.genuine[document].clone();
        for (position, value) in changes {
            let position = usize::from(position) % bytes.len();
            bytes[position] = value;
        }
        read(&bytes);
    }

    #[test]
    fn random_text_is_no_name(text in "\\PC{0,60}") {
        if let Ok(name) = text.parse::<SubjectAltName>() {
            prop_assert_eq!(name.to_string().parse::<SubjectAltName>(), Ok(name));
        }
    }
}
