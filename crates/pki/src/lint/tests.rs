//! Documents that our own builders never write: the lint must find them all the same.

use super::{CertificatePolicy, CrlPolicy, Policy};
use crate::asn1::{Extension, RevokedCertificate, TbsCertList, TbsCertificate};
use crate::certificate::{CertificateTemplate, IssuerIdentity};
use crate::crl::{CrlEntry, CrlTemplate};
use crate::key::PublicKey;
use crate::name::{Subject, SubjectAltName};
use countersign_model::Timestamp;
use countersign_model::certificate::{Profile, RevocationReason};
use der::asn1::{OctetString, UintRef};
use der::oid::ObjectIdentifier;
use der::oid::db::rfc5280::{ID_CE_BASIC_CONSTRAINTS, ID_CE_CRL_REASONS};
use der::{Any, Decode, Encode, Tag};
use x509_cert::ext::pkix::BasicConstraints;

const NOW: Timestamp = Timestamp::from_unix_s(1_795_334_400);
const URL: &str = "http://127.0.0.1:8445/pki/crl/clients/0.crl";
/// An extension that nobody knows.
const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.3.4");

fn key(octet: u8) -> PublicKey {
    PublicKey::from_p256_point(&[&[4][..], &[octet; 64]].concat()).unwrap()
}

fn issuer() -> IssuerIdentity {
    let subject = Subject::authority("Countersign Test", "Clients");
    IssuerIdentity::root(&subject, &key(1), NOW.plus_days(1000)).unwrap()
}

fn template(profile: Profile) -> CertificateTemplate {
    let (subject, names) = match profile {
        Profile::Client | Profile::Server => {
            let names =
                vec!["dns:localhost".parse().unwrap(), "uri:https://localhost/clients/a".parse().unwrap()];
            (Subject { organization: None, common_name: Some("localhost".into()) }, names)
        }
        Profile::RootCa | Profile::IssuingCa => {
            (Subject::authority("Countersign Test", "Issuing"), Vec::new())
        }
    };
    CertificateTemplate {
        profile,
        issuer: issuer(),
        serial: "40112233445566778899aabbccddeeff".parse().unwrap(),
        subject,
        names,
        public_key: key(2),
        not_before: NOW.plus_s(-300),
        not_after: NOW.plus_days(10),
        crl_url: Some(URL.into()),
        issuer_url: Some(URL.into()),
    }
}

/// Whether the lint passes a certificate whose extensions were changed after it was built.
fn passes(template: &CertificateTemplate, change: impl Fn(&mut Vec<Extension>)) -> bool {
    let policy = CertificatePolicy {
        profile: template.profile,
        issuer: &template.issuer,
        subject: &template.subject,
        names: &template.names,
        public_key: &template.public_key,
        crl_url: template.crl_url.as_deref(),
        issuer_url: template.issuer_url.as_deref(),
        now: NOW,
    };
    let der = template.to_be_signed().unwrap().lint(&policy).unwrap().message().to_vec();
    let mut tbs = TbsCertificate::from_der(&der).unwrap();
    change(&mut tbs.extensions);
    policy.check(&tbs.to_der().unwrap()).is_ok()
}

#[test]
fn rule_p3_every_extension_is_there_once_with_its_own_criticality() {
    for profile in [Profile::Client, Profile::Server, Profile::IssuingCa] {
        let template = template(profile);
        assert!(passes(&template, |_| {}));
        let built = template.extensions().unwrap();
        for index in 0..built.len() {
            assert!(
                !passes(&template, |all| all[index].critical ^= true),
                "{profile}: criticality of {index}"
            );
            assert!(!passes(&template, |all| drop(all.remove(index))), "{profile}: {index} missing");
            assert!(!passes(&template, |all| all.push(all[index].clone())), "{profile}: {index} twice");
            assert!(
                !passes(&template, |all| all[index].value = OctetString::new([5, 0]).unwrap()),
                "{profile}: {index}"
            );
        }
        assert_eq!(built.len(), if profile == Profile::IssuingCa { 6 } else { 7 }, "{profile}");
        for critical in [false, true] {
            let unknown = Extension::new(UNKNOWN, critical, &5u8).unwrap();
            assert!(!passes(&template, |all| all.push(unknown.clone())), "{profile}: an unknown extension");
        }
    }
}

#[test]
fn rule_p2_basic_constraints_and_path_length_are_those_of_the_profile() {
    let constraints = |ca, length| {
        let value = BasicConstraints { ca, path_len_constraint: length };
        Extension::new(ID_CE_BASIC_CONSTRAINTS, true, &value).unwrap()
    };
    for (ca, length) in [(true, None), (true, Some(0)), (false, None)] {
        assert!(!passes(&template(Profile::Client), |all| all.push(constraints(ca, length))), "a leaf");
    }
    let replace = |extension: Extension| {
        passes(&template(Profile::IssuingCa), |all| {
            let place = all.iter().position(|found| found.oid == ID_CE_BASIC_CONSTRAINTS).unwrap();
            all[place] = extension.clone();
        })
    };
    assert!(replace(constraints(true, Some(0))));
    for (ca, length) in [(true, None), (true, Some(1)), (false, None)] {
        assert!(!replace(constraints(ca, length)), "an issuing CA");
    }
}

#[test]
fn rule_p2_a_ca_has_no_names_and_no_purpose() {
    let names: Vec<SubjectAltName> = template(Profile::Client).names;
    let leaf = template(Profile::Client).extensions().unwrap();
    for extension in leaf {
        let surplus = |all: &mut Vec<Extension>| all.push(extension.clone());
        assert!(!passes(&template(Profile::IssuingCa), surplus), "{:?} of {names:?}", extension.oid);
    }
}

fn list_passes(change: impl Fn(&mut TbsCertList<'_>)) -> bool {
    let issuer = issuer();
    let entry = |serial: &str, reason| CrlEntry { serial: serial.parse().unwrap(), revoked_at: NOW, reason };
    let template = CrlTemplate {
        issuer: issuer.clone(),
        number: 7,
        this_update: NOW,
        next_update: NOW.plus_days(7),
        distribution_point_url: Some(URL.into()),
        entries: vec![entry("0a", RevocationReason::Superseded), entry("0b", RevocationReason::Unspecified)],
    };
    let policy = CrlPolicy {
        issuer: &issuer,
        previous_number: None,
        distribution_point_url: Some(URL),
        max_days: 10,
        now: NOW,
    };
    let der = template.to_be_signed().unwrap().lint(&policy).unwrap().message().to_vec();
    let mut list = TbsCertList::from_der(&der).unwrap();
    change(&mut list);
    policy.check(&list.to_der().unwrap()).is_ok()
}

fn first<'a, 'b>(list: &'a mut TbsCertList<'b>) -> &'a mut RevokedCertificate<'b> {
    &mut list.revoked_certificates.as_mut().unwrap()[0]
}

#[test]
fn rule_r1_a_list_has_its_three_extensions_once_with_their_own_criticality() {
    assert!(list_passes(|_| {}));
    for index in 0..3 {
        assert!(!list_passes(|list| list.extensions[index].critical ^= true), "criticality of {index}");
        assert!(!list_passes(|list| drop(list.extensions.remove(index))), "{index} missing");
        assert!(!list_passes(|list| list.extensions.push(list.extensions[index].clone())), "{index} twice");
    }
    let unknown = Extension::new(UNKNOWN, false, &5u8).unwrap();
    assert!(!list_passes(|list| list.extensions.push(unknown.clone())));
    assert!(!list_passes(|list| list.version = 0));
}

#[test]
fn rule_r1_entries_have_no_explicit_unspecified_no_hold_and_no_order_of_their_own() {
    assert!(list_passes(|list| list.revoked_certificates = None));
    assert!(!list_passes(|list| list.revoked_certificates = Some(Vec::new())), "empty instead of absent");
    assert!(!list_passes(|list| list.revoked_certificates.as_mut().unwrap().reverse()), "out of order");
    let reason = |code: u8| {
        Extension::new(ID_CE_CRL_REASONS, false, &Any::new(Tag::Enumerated, [code]).unwrap()).unwrap()
    };
    assert!(list_passes(|list| first(list).extensions = Some(vec![reason(1)])));
    for code in [0, 6, 7, 8, 10, 99] {
        assert!(!list_passes(|list| first(list).extensions = Some(vec![reason(code)])), "reason {code}");
    }
    let critical = Extension { critical: true, ..reason(1) };
    assert!(!list_passes(|list| first(list).extensions = Some(vec![critical.clone()])));
    assert!(!list_passes(|list| first(list).extensions = Some(vec![reason(1), reason(1)])), "twice");
    assert!(!list_passes(|list| first(list).extensions = Some(Vec::new())), "an empty list of extensions");
}

/// The entries are written into one buffer: what comes out is what the structures of the standard come to.
#[test]
fn rule_r1_entries_are_written_as_the_structures_of_the_standard_are() {
    let dates = [0, 1_795_334_399, 2_524_607_999, 2_524_608_000, 4_000_000_000]; // UTCTime through 2049
    let serials = ["01", "7f", "80", "ff", "0080", "7fffffffffffffffffffffffffffffffffffffff"];
    for serial in serials {
        for date in dates {
            for reason in RevocationReason::ALL {
                let revoked_at = Timestamp::from_unix_s(date);
                let entry = CrlEntry { serial: serial.parse().unwrap(), revoked_at, reason };
                let extensions = (reason != RevocationReason::Unspecified).then(|| {
                    let value = Any::new(Tag::Enumerated, [reason.code()]).unwrap();
                    vec![Extension::new(ID_CE_CRL_REASONS, false, &value).unwrap()]
                });
                let structure = RevokedCertificate {
                    serial_number: UintRef::new(entry.serial.octets()).unwrap(),
                    revocation_date: crate::asn1::time(revoked_at).unwrap(),
                    extensions,
                };
                let expected = [structure.to_der().unwrap(), structure.to_der().unwrap()].concat();
                assert_eq!(crate::crl::encode_entries(&[entry, entry]).unwrap(), expected, "{entry:?}");
            }
        }
    }
}
