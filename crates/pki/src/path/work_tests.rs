//! What a validation may cost, whatever is sent (rule T13): work is counted here, not time.

use super::candidates::{MAX_CHOSEN, MAX_CHOSEN_BYTES, MAX_LOOKED_AT, on_name_path};
use super::work::{MAX_SIGNATURES, Spent, Work};
use super::{Dates, MAX_CERTIFICATE_BYTES, PathOptions, Purpose, validate};
use crate::{ChainError, TrustAnchors, TrustedIssuer};
use countersign_model::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use std::sync::LazyLock;

/// 2026-11-22T08:00:00Z
const NOW: Timestamp = Timestamp::from_unix_s(1_795_334_400);
/// What rustls takes of a certificate message.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// How many random shapes are tried, each from its own seed.
const SHAPES: u64 = 1000;

/// A CA, and its own certificate.
struct Authority {
    name: String,
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Authority {
    fn new(name: &str, signer: Option<&Self>) -> Self {
        let (params, key) = (ca_params(name), KeyPair::generate().unwrap());
        let certificate = match signer {
            None => params.self_signed(&key),
            Some(signer) => params.signed_by(&key, &signer.issuer),
        };
        let der = certificate.unwrap().der().to_vec();
        Self { name: name.to_owned(), issuer: Issuer::new(params, key), der }
    }

    /// Another certificate of this CA, signed by another one.
    fn cross_signed(&self, signer: &Self) -> Vec<u8> {
        ca_params(&self.name).signed_by(self.issuer.key(), &signer.issuer).unwrap().der().to_vec()
    }

    fn client(&self, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "acme-pay");
        params.subject_alt_names = vec![uri(0)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().der().to_vec()
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn uri(number: usize) -> SanType {
    SanType::URI(format!("https://localhost/clients/{number}").try_into().unwrap())
}

/// One pinned issuer, and what a stranger may send to it.
struct World {
    ours: Authority,
    anchors: TrustAnchors,
    end_entities: Vec<Vec<u8>>,
    /// Nine CAs of our issuer's name that sign each other, in a circle and criss-cross.
    namesakes: Vec<Vec<u8>>,
    /// CAs that nobody asks for.
    unrelated: Vec<Vec<u8>>,
    /// A path of eight CAs below our issuer, nearest to the end entity first.
    long_path: Vec<Vec<u8>>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let ours = Authority::new("Clients", None);
    let anchors = vec![TrustedIssuer::new("clients".parse().unwrap(), ours.der.clone()).unwrap()];
    let nine: Vec<Authority> = (0..9).map(|_| Authority::new("Clients", None)).collect();
    let namesakes = nine.iter().map(|authority| authority.der.clone());
    let crossed = nine.iter().flat_map(|one| nine.iter().take(4).map(|other| one.cross_signed(other)));
    let unrelated = (0..100).map(|number| Authority::new(&format!("Unrelated {number}"), None).der);
    let mut path = vec![Authority::new("Below 0", Some(&ours))];
    for number in 1..8 {
        path.push(Authority::new(&format!("Below {number}"), path.last()));
    }
    let arc = |number: usize| ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, number as u64]);
    let extension =
        |number: usize| CustomExtension::from_oid_content(&[1, 3, 6, 1, number as u64], vec![5, 0]);
    let end_entities = vec![
        ours.client(|_| {}),
        nine[0].client(|_| {}),
        nine[0].client(|params| params.extended_key_usages = (0..1500).map(arc).collect()),
        nine[0].client(|params| params.custom_extensions = (0..900).map(extension).collect()),
        nine[0].client(|params| params.subject_alt_names = (0..400).map(uri).collect()),
        nine[0].client(|params| params.subject_alt_names = (0..1000).map(uri).collect()), // over the limit
        path[2].client(|_| {}),
        path[7].client(|_| {}),
    ];
    World {
        anchors: TrustAnchors::new(anchors),
        end_entities,
        namesakes: namesakes.chain(crossed).collect(),
        unrelated: unrelated.collect(),
        long_path: path.into_iter().rev().map(|authority| authority.der).collect(),
        ours,
    }
});

const OPTIONS: PathOptions<'_> =
    PathOptions { purpose: Purpose::Client, now: NOW, max_intermediates: None, crls: &[] };

/// What the client's certificate costs in a handshake.
fn as_client(end_entity: &[u8]) -> (Result<(), ChainError>, Spent) {
    as_path(end_entity, &[])
}

fn as_path(end_entity: &[u8], sent: &[&[u8]]) -> (Result<(), ChainError>, Spent) {
    let work = Work::new(WORLD.anchors.issuers().len());
    let result = validate(end_entity, sent, &WORLD.anchors, &OPTIONS, Dates::Checked, &work).map(|_| ());
    (result, work.spent())
}

/// A client's certificate is verified once under each anchor of its issuer's name, and read at most twice.
fn assert_client_bound(spent: Spent, shape: &str) {
    assert!(spent.signatures <= 1, "{shape}: {spent:?}");
    assert!(spent.signed_bytes <= MAX_CERTIFICATE_BYTES, "{shape}: {spent:?}");
    assert!(spent.certificates <= 2, "{shape}: {spent:?}");
    assert!(spent.certificate_bytes <= 2 * MAX_CERTIFICATE_BYTES, "{shape}: {spent:?}");
}

/// The bounds of one path: signatures, certificates that are read, and their size.
fn assert_path_bound(spent: Spent, shape: &str) {
    let signatures = MAX_SIGNATURES + WORLD.anchors.issuers().len();
    assert!(spent.signatures <= signatures, "{shape}: {spent:?}");
    assert!(spent.certificates <= 2 + MAX_CHOSEN * 2, "{shape}: {spent:?}");
    let bytes = 2 * (MAX_CERTIFICATE_BYTES + MAX_CHOSEN_BYTES);
    assert!(spent.certificate_bytes <= bytes, "{shape}: {spent:?}");
    assert!(spent.signed_bytes <= signatures * MAX_CERTIFICATE_BYTES, "{shape}: {spent:?}");
}

fn slices(certificates: &[Vec<u8>]) -> Vec<&[u8]> {
    certificates.iter().map(Vec::as_slice).collect()
}

#[test]
fn rule_t13_an_honest_client_costs_one_signature() {
    let (result, spent) = as_client(&WORLD.end_entities[0]);
    assert_eq!(result, Ok(()));
    let bytes = WORLD.end_entities[0].len();
    assert_eq!((spent.signatures, spent.certificates, spent.certificate_bytes), (1, 2, 2 * bytes));
}

/// Nine CAs named alike and 270 unrelated certificates cost two seconds of path building.
#[test]
fn rule_t13_certificates_that_cannot_help_cost_nothing() {
    let sent: Vec<Vec<u8>> =
        WORLD.namesakes.iter().chain(WORLD.unrelated.iter().cycle().take(270)).cloned().collect();
    for end_entity in &WORLD.end_entities {
        let (_, alone) = as_client(end_entity);
        assert_client_bound(alone, "alone");
        let (_, spent) = as_path(end_entity, &slices(&sent));
        assert_path_bound(spent, "namesakes");
        // In any order: those that are on the path may come last.
        let reversed: Vec<Vec<u8>> = sent.iter().rev().cloned().collect();
        let (_, spent) = as_path(end_entity, &slices(&reversed));
        assert_path_bound(spent, "namesakes last");
    }
    let (result, spent) = as_path(&WORLD.end_entities[0], &slices(&sent));
    assert_eq!((result, spent.signatures), (Ok(()), 1), "they do not hurt a good certificate either");
}

#[test]
fn rule_t13_to_read_an_outdated_certificate_costs_one_signature() {
    // rcgen's dates are 1975 and 4096.
    for now in [Timestamp::from_unix_s(0), Timestamp::from_unix_s(100_000_000_000)] {
        let options = PathOptions { now, ..OPTIONS };
        for end_entity in &WORLD.end_entities {
            let work = Work::new(WORLD.anchors.issuers().len());
            let read = validate(end_entity, &[], &WORLD.anchors, &options, Dates::Ignored, &work);
            assert_eq!(read.is_ok(), end_entity == &WORLD.end_entities[0], "at {now}");
            assert_client_bound(work.spent(), "outdated");
        }
    }
}

#[test]
fn rule_t13_four_distinct_certificates_on_the_name_path_are_considered() {
    let sent = &WORLD.long_path;
    let through = |end_entity: &[u8], sent: &[&[u8]]| as_path(end_entity, sent).0;
    // Of Below 2: three intermediates, in any order, among others and repeated.
    let three = &WORLD.end_entities[6];
    assert_eq!(through(three, &slices(sent)), Ok(()));
    let reversed: Vec<&[u8]> = sent.iter().rev().map(Vec::as_slice).collect();
    assert_eq!(through(three, &reversed), Ok(()));
    let doubled: Vec<&[u8]> =
        sent.iter().flat_map(|der| [der.as_slice(), der.as_slice(), b"rubbish"]).collect();
    assert_eq!(through(three, &doubled), Ok(()));
    // Of Below 7: eight.
    assert_eq!(through(&WORLD.end_entities[7], &slices(sent)), Err(ChainError::UnknownIssuer));
    let chosen = on_name_path(&WORLD.end_entities[7], &slices(sent));
    assert_eq!(chosen, slices(&sent[..4]), "nearest first");
    // Behind as many others as are looked at, none is found.
    let buried: Vec<&[u8]> =
        WORLD.unrelated.iter().take(MAX_LOOKED_AT).chain(sent).map(Vec::as_slice).collect();
    assert_eq!(through(three, &buried), Err(ChainError::UnknownIssuer));
    assert_eq!(through(three, &buried[1..]), Err(ChainError::UnknownIssuer), "the last of three is beyond");
    assert_eq!(on_name_path(three, &[]), Vec::<&[u8]>::new());
}

#[test]
fn rule_t13_an_end_entity_with_very_many_names_is_refused() {
    let with = |names: usize| {
        let der = WORLD.ours.client(|params| params.subject_alt_names = (0..names).map(uri).collect());
        as_client(&der)
    };
    assert_eq!(with(250).0, Ok(()));
    assert_eq!(with(251).0, Err(ChainError::Unfit("more than 250 alternative names")));
    let (result, spent) = with(2000);
    assert_eq!(result, Err(ChainError::Malformed("a certificate of more than 16 KiB")));
    assert_eq!((spent.signatures, spent.certificates), (0, 0), "refused by its size");
}

#[test]
fn rule_t13_no_random_shape_costs_more_than_the_bound() {
    let world = &*WORLD;
    for seed in 0..SHAPES {
        let mut random = SplitMix64(seed);
        let end_entity = mangled(&world.end_entities[random.below(world.end_entities.len())], &mut random);
        let mut sent = Vec::new();
        let mut room = MAX_MESSAGE_BYTES - end_entity.len().min(MAX_MESSAGE_BYTES);
        // What most of the chain is made of, and how much of it there is, differ from shape to shape.
        let pools = [&world.namesakes, &world.unrelated, &world.long_path, &world.end_entities];
        let favourite = pools[random.below(pools.len())];
        let most = 1 + random.below(400);
        for _ in 0..most {
            let pool = if random.below(4) == 0 { pools[random.below(pools.len())] } else { favourite };
            let certificate = mangled(&pool[random.below(pool.len())], &mut random);
            if certificate.len() > room {
                break;
            }
            room -= certificate.len();
            sent.push(certificate);
        }
        let shape = format!("seed {seed}");
        assert_client_bound(as_client(&end_entity).1, &shape);
        assert_path_bound(as_path(&end_entity, &slices(&sent)).1, &shape);
    }
}

/// Mostly the certificate; at times shortened, or with some bytes changed.
fn mangled(certificate: &[u8], random: &mut SplitMix64) -> Vec<u8> {
    let mut certificate = certificate.to_vec();
    match random.below(12) {
        0 => certificate.truncate(random.below(certificate.len())),
        1 => {
            for _ in 0..=random.below(8) {
                let at = random.below(certificate.len());
                certificate[at] = random.next() as u8;
            }
        }
        _ => {}
    }
    certificate
}

/// The same numbers in every run.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}
