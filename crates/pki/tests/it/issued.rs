//! The lint holds every certificate to its profile and to what is registered (rules P1–P6, P9).

use crate::support::{Authority, CRL_URL, ISSUER_URL, Key, NOW, new_serial, policy};
use countersign_model::Timestamp;
use countersign_model::certificate::Profile;
use countersign_pki::lint::Policy;
use countersign_pki::profile::{lifetime_days, validity};
use countersign_pki::{
    BuildError, CertificatePolicy, CertificateTemplate, IssuerIdentity, Subject, SubjectAltName, client_uri,
    distribution_point_url,
};
use std::sync::LazyLock;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

static CLIENTS: LazyLock<Authority> = LazyLock::new(|| Authority::root().issuing("Clients"));

fn template(profile: Profile) -> CertificateTemplate {
    let client = "acme-pay".parse().unwrap();
    let names = match profile {
        Profile::Client => vec![SubjectAltName::Uri(client_uri("https://localhost:8443", &client))],
        Profile::Server => vec!["dns:localhost".parse().unwrap()],
        Profile::RootCa | Profile::IssuingCa => Vec::new(),
    };
    let subject = match profile {
        Profile::Client => Subject::client("Acme Payments Ltd", &client),
        Profile::Server => Subject::server(&names),
        Profile::RootCa | Profile::IssuingCa => Subject::authority("Countersign Test", "Issuing"),
    };
    let validity = validity(profile, NOW, Some(CLIENTS.identity.not_after())).unwrap();
    CertificateTemplate {
        profile,
        issuer: CLIENTS.identity.clone(),
        serial: new_serial(),
        subject,
        names,
        public_key: Key::generate().public(),
        not_before: validity.not_before,
        not_after: validity.not_after,
        crl_url: Some(CRL_URL.to_owned()),
        issuer_url: Some(ISSUER_URL.to_owned()),
    }
}

/// What a lint says to a template that departs from what is registered.
fn findings(registered: &CertificateTemplate, change: impl FnOnce(&mut CertificateTemplate)) -> String {
    let mut changed = registered.clone();
    change(&mut changed);
    match changed.to_be_signed().unwrap().lint(&policy(registered)) {
        Ok(_) => "nothing".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

fn check(registered: &CertificateTemplate, finding: &str, change: impl FnOnce(&mut CertificateTemplate)) {
    let found = findings(registered, change);
    assert!(found.contains(finding), "expected {finding:?}, found: {found}");
}

#[test]
fn rule_p5_the_lint_holds_the_final_bytes_to_what_is_registered() {
    let registered = template(Profile::Client);
    check(&registered, "nothing", |_| {});
    check(&registered, "key is not the one that was proven", |t| t.public_key = Key::generate().public());
    check(&registered, "subject is not the registered one", |t| {
        t.subject.organization = Some("Other".into())
    });
    check(&registered, "subject is not the registered one", |t| t.subject.common_name = None);
    check(&registered, "subjectAltName is not", |t| t.names.push("dns:example.com".parse().unwrap()));
    check(&registered, "subjectAltName is not", |t| {
        t.names[0] = "uri:https://localhost/clients/x".parse().unwrap()
    });
    check(&registered, "subjectAltName is missing", |t| t.names.clear());
    check(&registered, "cRLDistributionPoints is missing", |t| t.crl_url = None);
    check(&registered, "cRLDistributionPoints is not", |t| {
        t.crl_url = Some("http://127.0.0.1/other.crl".into())
    });
    check(&registered, "authorityInfoAccess is not", |t| {
        t.issuer_url = Some("http://127.0.0.1/other".into())
    });
    check(&registered, "issuer is not the CA's subject", |t| t.issuer = Authority::root().identity);
}

#[test]
fn rule_p3_a_leaf_has_the_shape_of_its_own_profile_only() {
    let client = template(Profile::Client);
    for (profile, finding) in [
        (Profile::Server, "extKeyUsage is not"),
        (Profile::IssuingCa, "basicConstraints is not"),
        (Profile::RootCa, "extKeyUsage is missing"),
    ] {
        check(&client, finding, |t| t.profile = profile);
    }
    check(&client, "notBefore", |t| t.not_before = NOW.plus_s(-3601));
    check(&client, "notBefore", |t| t.not_before = NOW.plus_s(1));
    let mut server = template(Profile::Server);
    check(&server, "nothing", |_| {});
    server.subject.common_name = Some("not-in-the-names".into());
    check(&server, "common name is not among the alternative names", |_| {});
}

#[test]
fn rule_p3_alternative_names_are_critical_when_the_subject_is_empty_and_only_then() {
    let mut server = template(Profile::Server);
    let critical = |template: &CertificateTemplate| {
        let linted = template.to_be_signed().unwrap().lint(&policy(template)).unwrap();
        let signature = CLIENTS.key.sign(linted.message());
        let der = linted.assemble(&signature).unwrap();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        certificate.subject_alternative_name().unwrap().unwrap().critical
    };
    assert!(!critical(&server));
    server.subject.common_name = None;
    assert!(critical(&server));
}

#[test]
fn rule_p9_nothing_lives_longer_than_its_profile_or_its_issuer() {
    for profile in [Profile::Client, Profile::Server, Profile::IssuingCa] {
        let registered = template(profile);
        check(&registered, "nothing", |_| {});
        let longest = NOW.plus_days(lifetime_days(profile));
        check(&registered, "longer than its profile", |t| t.not_after = longest.plus_s(1));
        check(&registered, "longer than its issuer", |t| {
            t.not_after = CLIENTS.identity.not_after().plus_s(1)
        });
    }
}

#[test]
fn rule_p1_serial_numbers_of_less_than_64_bits_are_refused() {
    check(&template(Profile::Client), "serial number", |t| t.serial = "0123456789abcd".parse().unwrap());
}

#[test]
fn rule_p1_utc_time_through_2049_and_generalized_time_from_2050() {
    let last_of_2049 = Timestamp::parse_rfc3339("2049-12-31T23:59:59Z").unwrap();
    for (now, encoded) in [
        (last_of_2049.plus_days(-1), b"\x17\x0d491231235959Z".to_vec()),
        (last_of_2049, b"\x18\x0f20500101235959Z".to_vec()),
    ] {
        let key = Key::generate();
        let subject = Subject::authority("Countersign Test", "Root");
        let issuer = IssuerIdentity::root(&subject, &key.public(), now.plus_days(9)).unwrap();
        let template = CertificateTemplate {
            issuer,
            not_before: now,
            not_after: now.plus_days(1),
            ..template(Profile::Client)
        };
        let linted =
            template.to_be_signed().unwrap().lint(&CertificatePolicy { now, ..policy(&template) }).unwrap();
        assert!(linted.message().windows(encoded.len()).any(|window| window == encoded));
    }
}

#[test]
fn rule_p4_the_key_of_a_ca_is_refused_in_a_leaf() {
    let mut leaf = template(Profile::Client);
    leaf.public_key = CLIENTS.key.public();
    check(&leaf, "key of its issuer", |_| {});
}

#[test]
fn rule_p6_what_is_no_certificate_is_not_linted() {
    let template = template(Profile::Client);
    let policy = policy(&template);
    let der = template.to_be_signed().unwrap().lint(&policy).unwrap().message().to_vec();
    for end in 0..der.len() {
        assert!(policy.check(&der[..end]).is_err(), "truncated at {end}");
    }
    assert!(policy.check(&[der.as_slice(), &[5, 0]].concat()).is_err(), "trailing bytes");
}

#[test]
fn rule_p6_any_changed_byte_of_the_fixed_parts_is_found() {
    // Flips every bit, one at a time: the lint passes only where the registration leaves a choice (serial, dates).
    let template = template(Profile::Client);
    let policy = policy(&template);
    let der = template.to_be_signed().unwrap().lint(&policy).unwrap().message().to_vec();
    let mut passed = Vec::new();
    for position in 0..der.len() {
        for bit in 0..8 {
            let mut changed = der.clone();
            changed[position] ^= 1 << bit;
            if policy.check(&changed).is_ok() {
                passed.push(position);
            }
        }
    }
    passed.dedup();
    let serial = 11..27; // SEQUENCE header 4, version 5, INTEGER header 2
    let elsewhere: Vec<_> = passed.iter().filter(|position| !serial.contains(*position)).collect();
    let times = elsewhere.iter().all(|position| {
        let around = &der[position.saturating_sub(14)..**position];
        around.windows(2).any(|window| window == [0x17, 0x0d])
    });
    assert!(times, "changes that pass: {elsewhere:?}");
}

#[test]
fn the_address_of_its_list_is_read_from_a_certificate() {
    let leaf = CLIENTS.client("acme-pay", &Key::generate().public());
    for certificate in [&leaf, &CLIENTS.certificate] {
        assert_eq!(distribution_point_url(certificate).as_deref(), Some(CRL_URL));
    }
    assert_eq!(distribution_point_url(&Authority::root().certificate), None);
    assert_eq!(distribution_point_url(b"no certificate"), None);
}

#[test]
fn addresses_in_a_certificate_are_plain_http() {
    let template = template(Profile::Client);
    for url in ["https://127.0.0.1/0.crl", "ldap://127.0.0.1/", "127.0.0.1", "http://a b"] {
        let crl = CertificateTemplate { crl_url: Some(url.into()), ..template.clone() };
        assert_eq!(crl.to_be_signed().unwrap_err(), BuildError::Url(url.into()));
        let issuer = CertificateTemplate { issuer_url: Some(url.into()), ..template.clone() };
        assert_eq!(issuer.to_be_signed().unwrap_err(), BuildError::Url(url.into()));
    }
}

#[test]
fn a_validity_that_x509_cannot_express_is_refused() {
    let template = template(Profile::Client);
    for (not_before, not_after) in [
        (NOW, NOW),
        (Timestamp::from_unix_s(-1), NOW),
        (NOW, Timestamp::from_unix_s(253_402_300_800)), // the year 10000
    ] {
        let refused = CertificateTemplate { not_before, not_after, ..template.clone() };
        assert_eq!(refused.to_be_signed().unwrap_err(), BuildError::Validity);
    }
}
