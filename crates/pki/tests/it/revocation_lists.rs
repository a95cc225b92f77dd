//! CRLs: built, linted, signed, read again (rule R1).

use crate::support::{Authority, CRL_URL, NOW, new_serial};
use countersign_model::certificate::RevocationReason;
use countersign_pki::crl::CrlMalformed;
use countersign_pki::{CrlEntry, CrlPolicy, CrlTemplate, RevocationList};

pub(crate) fn list_of(issuer: &Authority, number: u64, entries: Vec<CrlEntry>) -> CrlTemplate {
    CrlTemplate {
        issuer: issuer.identity.clone(),
        number,
        this_update: NOW,
        next_update: NOW.plus_days(7),
        distribution_point_url: Some(CRL_URL.to_owned()),
        entries,
    }
}

fn policy(issuer: &Authority, previous_number: Option<u64>) -> CrlPolicy<'_> {
    CrlPolicy {
        issuer: &issuer.identity,
        previous_number,
        distribution_point_url: Some(CRL_URL),
        max_days: CrlPolicy::ISSUING_CA_MAX_DAYS,
        now: NOW,
    }
}

pub(crate) fn sign_list(issuer: &Authority, template: &CrlTemplate) -> Vec<u8> {
    let linted = template.to_be_signed().unwrap().lint(&policy(issuer, None)).unwrap();
    let signature = issuer.key.sign(linted.message());
    linted.assemble(&signature).unwrap()
}

fn entry(serial: &str, reason: RevocationReason) -> CrlEntry {
    CrlEntry { serial: serial.parse().unwrap(), revoked_at: NOW.plus_s(-60), reason }
}

fn findings(issuer: &Authority, template: &CrlTemplate, policy: &CrlPolicy<'_>) -> String {
    let _ = issuer;
    template.to_be_signed().unwrap().lint(policy).unwrap_err().to_string()
}

#[test]
fn rule_r1_a_list_is_read_as_it_was_written() {
    let issuer = Authority::root();
    let mut entries: Vec<CrlEntry> = RevocationReason::ALL
        .into_iter()
        .map(|reason| CrlEntry { serial: new_serial(), ..entry("01", reason) })
        .collect();
    let template = list_of(&issuer, 7, entries.clone());
    let der = sign_list(&issuer, &template);
    let list = RevocationList::parse(&der).unwrap();
    entries.sort_by_key(|entry| entry.serial);
    assert_eq!(list.entries, entries);
    assert_eq!((list.number, list.this_update, list.next_update), (7, NOW, NOW.plus_days(7)));
    assert_eq!(list.distribution_point_url.as_deref(), Some(CRL_URL));
    assert_eq!(list.authority_key_identifier.as_deref(), Some(issuer.identity.key_identifier()));
    assert_eq!(list.issuer_der, issuer.identity.subject_der());
    assert_eq!(list.revocation(&entries[0].serial), Some(&entries[0]));
    assert_eq!(list.revocation(&new_serial()), None);
    assert!(list.verify(&issuer.key.public()).is_ok());
    assert!(list.verify(&crate::support::Key::generate().public()).is_err());
}

#[test]
fn rule_r1_an_empty_list_has_no_revoked_certificates_and_unspecified_no_reason() {
    let issuer = Authority::root();
    let empty = sign_list(&issuer, &list_of(&issuer, 1, Vec::new()));
    assert_eq!(RevocationList::parse(&empty).unwrap().entries, []);
    let reason_code_oid = [0x06, 0x03, 0x55, 0x1d, 0x15];
    let has_reason = |der: &[u8]| der.windows(5).any(|window| window == reason_code_oid);
    let unspecified =
        sign_list(&issuer, &list_of(&issuer, 2, vec![entry("0a", RevocationReason::Unspecified)]));
    assert!(!has_reason(&unspecified));
    let stated = sign_list(&issuer, &list_of(&issuer, 3, vec![entry("0a", RevocationReason::Superseded)]));
    assert!(has_reason(&stated));
}

#[test]
fn rule_r1_the_number_strictly_increases() {
    let issuer = Authority::root();
    let template = list_of(&issuer, 7, Vec::new());
    assert!(template.to_be_signed().unwrap().lint(&policy(&issuer, Some(6))).is_ok());
    for previous in [7, 8, u64::MAX] {
        let found = findings(&issuer, &template, &policy(&issuer, Some(previous)));
        assert!(found.contains("cRLNumber"), "{found}");
    }
}

#[test]
fn rule_r1_the_distribution_point_is_the_leafs_byte_for_byte() {
    let issuer = Authority::root();
    let template = CrlTemplate {
        distribution_point_url: Some(CRL_URL.replace("/0.crl", "/1.crl")),
        ..list_of(&issuer, 1, Vec::new())
    };
    let found = findings(&issuer, &template, &policy(&issuer, None));
    assert!(found.contains("issuingDistributionPoint"), "{found}");
    for refused in ["https://127.0.0.1/0.crl", "/0.crl", "http://a b/0.crl", "ldap://x/"] {
        let template =
            CrlTemplate { distribution_point_url: Some(refused.into()), ..list_of(&issuer, 1, Vec::new()) };
        assert!(template.to_be_signed().is_err(), "{refused}");
    }
}

#[test]
fn rule_r1_a_lint_refuses_what_a_list_may_not_say() {
    let issuer = Authority::root();
    let policy = policy(&issuer, None);
    let twice = vec![entry("0a", RevocationReason::Superseded), entry("0a", RevocationReason::KeyCompromise)];
    let future = vec![CrlEntry { revoked_at: NOW.plus_s(1), ..entry("0a", RevocationReason::Superseded) }];
    let base = list_of(&issuer, 1, Vec::new());
    for (template, finding) in [
        (CrlTemplate { entries: twice, ..base.clone() }, "out of order or twice"),
        (CrlTemplate { entries: future, ..base.clone() }, "after thisUpdate"),
        (CrlTemplate { next_update: NOW.plus_days(11), ..base.clone() }, "too far away"),
        (CrlTemplate { this_update: NOW.plus_s(5), ..base.clone() }, "future"),
        (CrlTemplate { issuer: Authority::root().identity, ..base.clone() }, "authorityKeyIdentifier"),
    ] {
        let found = findings(&issuer, &template, &policy);
        assert!(found.contains(finding), "{finding}: {found}");
    }
    assert!(CrlTemplate { next_update: NOW, ..base }.to_be_signed().is_err());
}

#[test]
fn a_large_list_is_read_and_written() {
    let issuer = Authority::root();
    let entries =
        (0..20_000).map(|_| CrlEntry { serial: new_serial(), ..entry("01", RevocationReason::Superseded) });
    let der = sign_list(&issuer, &list_of(&issuer, 1, entries.collect()));
    assert_eq!(RevocationList::parse(&der).unwrap().entries.len(), 20_000);
}

#[test]
fn a_truncated_or_padded_list_is_refused() {
    let issuer = Authority::root();
    let der = sign_list(&issuer, &list_of(&issuer, 1, vec![entry("0a", RevocationReason::Superseded)]));
    for end in 0..der.len() {
        assert_eq!(RevocationList::parse(&der[..end]), Err(CrlMalformed), "truncated at {end}");
    }
    assert_eq!(RevocationList::parse(&[der.as_slice(), &[0]].concat()), Err(CrlMalformed));
}

/// A verifier of a whole chain looks for the address of an IDP in the certificate, and the root's has none.
#[test]
fn rule_r1_a_whole_list_has_no_distribution_point_and_a_shard_has_one() {
    let issuer = Authority::root();
    let whole = CrlTemplate { distribution_point_url: None, ..list_of(&issuer, 1, Vec::new()) };
    let of_whole = CrlPolicy { distribution_point_url: None, ..policy(&issuer, None) };
    assert!(whole.to_be_signed().unwrap().lint(&of_whole).is_ok());
    assert!(findings(&issuer, &whole, &policy(&issuer, None)).contains("extensions are not exactly"));
    assert!(
        findings(&issuer, &list_of(&issuer, 1, Vec::new()), &of_whole).contains("issuingDistributionPoint")
    );
}
