//! The ledger.

use crate::codec::{
    Columns, Query, execute, fetch_all, fetch_first, fetch_optional, insert, integer, json, milliseconds,
};
use crate::dialect::Connection;
use crate::store::SqliteStore;
use countersign_model::certificate::{CertificateRecord, CertificateState, Profile, RevocationReason};
use countersign_model::change::Changed;
use countersign_model::{ClientId, IssuerId, Serial, Thumbprint, Timestamp};
use countersign_storage::StorageError;
use countersign_storage::stores::{CertificateFilter, Expiring, RevokedCertificate};

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[
    CERTIFICATE,
    CERTIFICATE_BY_THUMBPRINT,
    NEWEST,
    NEWEST_OWN,
    NEWEST_ENDED,
    NEWEST_PENDING,
    NEWEST_OF_CLIENT,
    NEWEST_WITH_PREFIX,
    NEWEST_OF_CLIENT_WITH_PREFIX,
    SOONEST,
    SOONEST_OF_CLIENT,
    PENDING,
    REVOKED,
    INSERT_PENDING,
    MARK_ISSUED,
    MARK_ABANDONED,
    REVOKE,
    EXISTS,
    TAKEN,
    LEFT,
    USED,
];

macro_rules! select_certificates {
    ($($condition:literal),+) => {
        concat!(
            "SELECT issuer, serial, state, ended_at, revocation_reason, profile, environment, client, subject, names, ",
            "key_hash, not_before, not_after, crl_shard, renews, thumbprint, der, created_at, last_seen_at, calls ",
            "FROM certificates WHERE ",
            $($condition),+
        )
    };
}

/// What all listings have in common: where the page begins, how long it is, and what is looked at row by row, if it is
/// asked for: state, profile and expiry.
macro_rules! select_page {
    ($condition:literal) => {
        select_certificates!(
            $condition,
            "(created_at, serial) < ($1, $2) AND (CAST($3 AS TEXT) IS NULL OR state = $3) ",
            "AND (CAST($5 AS TEXT) IS NULL OR profile = $5) AND not_after >= $6 AND not_after < $7 ",
            "ORDER BY created_at DESC, serial DESC LIMIT $4"
        )
    };
}

const NEWEST: &str = select_page!("");
const NEWEST_OWN: &str = select_page!("client IS NULL AND profile = $5 AND ");
const NEWEST_ENDED: &str = select_page!("ended_at IS NOT NULL AND state = $3 AND ");
const NEWEST_PENDING: &str = select_page!("state = 'pending' AND ");
const NEWEST_OF_CLIENT: &str = select_page!("client = $8 AND ");
const NEWEST_WITH_PREFIX: &str = select_page!("serial >= $8 AND serial < $9 AND ");
/// The beginning of a serial number narrows more than a client: the cast keeps the index of clients out of it.
const NEWEST_OF_CLIENT_WITH_PREFIX: &str =
    select_page!("CAST(client AS TEXT) = $8 AND serial >= $9 AND serial < $10 AND ");
macro_rules! select_soonest {
    ($condition:literal) => {
        select_certificates!(
            $condition,
            "ended_at IS NULL AND state = 'issued' AND (not_after, serial) > ($1, $2) AND not_after < $3 ",
            "ORDER BY not_after, serial LIMIT $4"
        )
    };
}

const SOONEST: &str = select_soonest!("");
const SOONEST_OF_CLIENT: &str = select_soonest!("client = $5 AND ");
const CERTIFICATE: &str = select_certificates!("serial = $1 AND issuer = $2");
const CERTIFICATE_BY_THUMBPRINT: &str = select_certificates!("thumbprint = $1");
const PENDING: &str = select_certificates!("state = 'pending' ORDER BY issuer, serial");
const REVOKED: &str = "SELECT serial, ended_at, revocation_reason, not_after FROM certificates \
     WHERE issuer = $1 AND crl_shard = $2 AND not_after >= $3 AND ended_at IS NOT NULL \
     ORDER BY length(serial), serial";
const INSERT_PENDING: &str = "INSERT INTO certificates (serial, issuer, state, profile, environment, client, subject, \
     names, key_hash, not_before, not_after, crl_shard, renews, thumbprint, der, created_at, last_seen_at, calls) \
     VALUES ($1, $2, 'pending', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
const MARK_ISSUED: &str = "UPDATE certificates SET state = 'issued', der = $3, thumbprint = $4 \
     WHERE serial = $1 AND issuer = $2 AND state = 'pending' \
     AND (client IS NULL OR EXISTS \
     (SELECT 1 FROM clients WHERE clients.id = certificates.client AND clients.state = 'active'))";
const MARK_ABANDONED: &str = "UPDATE certificates SET state = 'abandoned', ended_at = $3 \
     WHERE serial = $1 AND issuer = $2 AND state = 'pending'";
const REVOKE: &str = "UPDATE certificates SET state = 'revoked', ended_at = $3, revocation_reason = $4 \
     WHERE serial = $1 AND issuer = $2 AND ended_at IS NULL";
const EXISTS: &str = "SELECT state FROM certificates WHERE serial = $1 AND issuer = $2";
/// Three places in the index: a client that renews with one key for years has thousands of rows between them, and none is read.
const TAKEN: &str = "SELECT environment FROM certificates WHERE key_hash = $1 AND client < $2 \
     UNION ALL SELECT environment FROM certificates WHERE key_hash = $1 AND client > $2 \
     UNION ALL SELECT environment FROM certificates WHERE key_hash = $1 AND client IS NULL LIMIT 1";
const LEFT: &str = "SELECT state FROM certificates \
     WHERE client = $1 AND state IN ('pending', 'issued') AND not_after >= $2 LIMIT 1";
const USED: &str = "UPDATE certificates SET calls = calls + $4, \
     last_seen_at = CASE WHEN last_seen_at > $3 THEN last_seen_at ELSE $3 END WHERE serial = $1 AND issuer = $2";

/// Comes after every serial number: one octet longer than the longest.
const AFTER_EVERY_SERIAL: [u8; 21] = [0xff; 21];

pub(crate) async fn certificate(
    store: &SqliteStore,
    issuer: &IssuerId,
    serial: &Serial,
) -> Result<Option<CertificateRecord>, StorageError> {
    fetch_first(store.readers(), of_row(CERTIFICATE, issuer, serial), record).await
}

pub(crate) async fn certificate_by_thumbprint(
    store: &SqliteStore,
    thumbprint: &Thumbprint,
) -> Result<Option<CertificateRecord>, StorageError> {
    let query = sqlx::query(CERTIFICATE_BY_THUMBPRINT).bind(thumbprint.0.to_vec());
    fetch_first(store.readers(), query, record).await
}

pub(crate) async fn certificates(
    store: &SqliteStore,
    filter: &CertificateFilter,
    limit: u32,
) -> Result<Vec<CertificateRecord>, StorageError> {
    let prefix = filter.serial_prefix.as_deref().filter(|prefix| !prefix.is_empty());
    let range = match prefix.map(serials_with_prefix) {
        Some(None) => return Ok(Vec::new()), // no serial number begins so
        Some(range) => range,
        None => None,
    };
    let statement = listing(filter);
    let (before, before_serial) = match &filter.before {
        Some((at, serial)) => (at.unix_ms(), serial.octets().to_vec()),
        None => (i64::MAX, AFTER_EVERY_SERIAL.to_vec()),
    };
    let mut query = sqlx::query(statement)
        .bind(before)
        .bind(before_serial)
        .bind(filter.state.as_deref())
        .bind(i64::from(limit))
        .bind(filter.profile.map(|profile| profile.as_str()))
        .bind(filter.valid_until.map_or(i64::MIN, |until| until.unix_ms()))
        .bind(filter.expired_before.map_or(i64::MAX, |end| end.unix_ms()));
    if let Some(client) = &filter.client {
        query = query.bind(client.as_str());
    }
    if let Some((from, to)) = range {
        query = query.bind(from).bind(to);
    }
    fetch_all(store.scanners(), query, record).await
}

/// The statement of a listing: chosen by what narrows it most, so that each has an index to walk on. What is asked for
/// beside that is looked at row by row, in the index where that can be: the expired are found behind all newer ones that
/// are valid still.
pub(crate) fn listing(filter: &CertificateFilter) -> &'static str {
    let has_prefix = filter.serial_prefix.as_ref().is_some_and(|prefix| !prefix.is_empty());
    match (&filter.client, has_prefix) {
        (None, false) => match (filter.state.as_deref(), filter.profile) {
            (Some("revoked" | "abandoned"), _) => NEWEST_ENDED,
            (Some("pending"), _) => NEWEST_PENDING,
            (_, Some(Profile::RootCa | Profile::IssuingCa | Profile::Server)) => NEWEST_OWN,
            _ => NEWEST,
        },
        (Some(_), false) => NEWEST_OF_CLIENT,
        (None, true) => NEWEST_WITH_PREFIX,
        (Some(_), true) => NEWEST_OF_CLIENT_WITH_PREFIX,
    }
}

/// The first serial number that begins with these hexadecimal digits, and the first after it that does not.
fn serials_with_prefix(prefix: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let digits: Vec<u8> =
        prefix.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    if digits.len() > 40 {
        return None;
    }
    let pack = |digits: &[u8]| -> Vec<u8> {
        digits.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)).collect()
    };
    // The next prefix of the same length or shorter: 3f9 -> 3fa, 3ff -> 4, and after ff there is none.
    let mut next = digits.clone();
    while next.pop_if(|digit| *digit == 0xf).is_some() {}
    let end = match next.last_mut() {
        Some(digit) => {
            *digit += 1;
            pack(&next)
        }
        None => AFTER_EVERY_SERIAL.to_vec(),
    };
    Some((pack(&digits), end))
}

pub(crate) async fn expiring_certificates(
    store: &SqliteStore,
    filter: &Expiring,
    limit: u32,
) -> Result<Vec<CertificateRecord>, StorageError> {
    // No serial number is empty: every row of the first moment comes after it.
    let (after, after_serial) = match &filter.after {
        Some((at, serial)) if *at >= filter.from => (at.unix_ms(), serial.octets().to_vec()),
        _ => (filter.from.unix_ms(), Vec::new()),
    };
    let statement = if filter.client.is_some() { SOONEST_OF_CLIENT } else { SOONEST };
    let mut query = sqlx::query(statement)
        .bind(after)
        .bind(after_serial)
        .bind(filter.before.unix_ms())
        .bind(i64::from(limit));
    if let Some(client) = &filter.client {
        query = query.bind(client.as_str());
    }
    fetch_all(store.scanners(), query, record).await
}

pub(crate) async fn pending_certificates(
    store: &SqliteStore,
) -> Result<Vec<CertificateRecord>, StorageError> {
    fetch_all(store.scanners(), sqlx::query(PENDING), record).await
}

pub(crate) async fn revoked_certificates(
    store: &SqliteStore,
    issuer: &IssuerId,
    shard: u16,
    expires_from: Timestamp,
) -> Result<Vec<RevokedCertificate>, StorageError> {
    let query =
        sqlx::query(REVOKED).bind(issuer.as_str()).bind(i64::from(shard)).bind(expires_from.unix_ms());
    let entry = |columns: &mut Columns<'_>| {
        Ok(RevokedCertificate {
            serial: columns.serial()?,
            at: columns.time()?,
            reason: columns.optional_parsed()?.unwrap_or(RevocationReason::CessationOfOperation),
            not_after: columns.time()?,
        })
    };
    fetch_all(store.scanners(), query, entry).await
}

fn record(columns: &mut Columns<'_>) -> Result<CertificateRecord, StorageError> {
    Ok(CertificateRecord {
        issuer: columns.parsed()?,
        serial: columns.serial()?,
        state: state(columns)?,
        profile: columns.parsed()?,
        environment: columns.optional_parsed()?,
        client: columns.optional_parsed()?,
        subject: columns.text()?,
        names: columns.json()?,
        key_hash: columns.octets()?,
        not_before: columns.time()?,
        not_after: columns.time()?,
        crl_shard: columns.unsigned()?,
        renews: columns.optional_serial()?,
        thumbprint: columns.optional_octets()?.map(Thumbprint),
        der: columns.optional_bytes()?,
        created_at: columns.time()?,
        last_seen_at: columns.optional_time()?,
        calls: columns.unsigned()?,
    })
}

fn state(columns: &mut Columns<'_>) -> Result<CertificateState, StorageError> {
    let (name, at, reason) = (columns.text()?, columns.optional_time()?, columns.optional_parsed()?);
    match (name.as_str(), at, reason) {
        ("pending", None, None) => Ok(CertificateState::Pending),
        ("issued", None, None) => Ok(CertificateState::Issued),
        ("abandoned", Some(at), None) => Ok(CertificateState::Abandoned { at }),
        ("revoked", Some(at), Some(reason)) => Ok(CertificateState::Revoked { at, reason }),
        _ => Err(columns.corrupt(&"not what a certificate in its state has")),
    }
}

pub(crate) async fn key_is_free(
    connection: &mut Connection,
    key_hash: &[u8; 32],
    client: &ClientId,
) -> Result<(), StorageError> {
    let query = sqlx::query(TAKEN).bind(key_hash.to_vec()).bind(client.as_str());
    match fetch_optional(connection, query).await? {
        Some(row) => Err(StorageError::KeyTaken(Columns::of(&row).optional_parsed()?)),
        None => Ok(()),
    }
}

pub(crate) async fn insert_pending(
    connection: &mut Connection,
    record: &CertificateRecord,
) -> Result<(), StorageError> {
    if record.state != CertificateState::Pending {
        return Err(StorageError::Conflict("certificate"));
    }
    let query = of_row(INSERT_PENDING, &record.issuer, &record.serial)
        .bind(record.profile.as_str())
        .bind(record.environment.map(|environment| environment.as_str()))
        .bind(record.client.as_ref().map(|client| client.as_str()))
        .bind(record.subject.as_str())
        .bind(json(&record.names)?)
        .bind(record.key_hash.to_vec())
        .bind(record.not_before.unix_ms())
        .bind(record.not_after.unix_ms())
        .bind(i64::from(record.crl_shard))
        .bind(record.renews.map(|serial| serial.octets().to_vec()))
        .bind(record.thumbprint.map(|thumbprint| thumbprint.0.to_vec()))
        .bind(record.der.as_deref())
        .bind(record.created_at.unix_ms())
        .bind(milliseconds(record.last_seen_at))
        .bind(integer(record.calls));
    insert(connection, query, "certificate").await.map(drop)
}

pub(crate) async fn mark_issued(
    connection: &mut Connection,
    issuer: &IssuerId,
    serial: &Serial,
    der: &[u8],
    thumbprint: &Thumbprint,
) -> Result<(), StorageError> {
    let query = of_row(MARK_ISSUED, issuer, serial).bind(der).bind(thumbprint.0.to_vec());
    // A second row with this thumbprint would be a second certificate with this serial number.
    match insert(connection, query, "certificate").await? {
        0 => Err(not_so(connection, issuer, serial).await?),
        _ => Ok(()),
    }
}

pub(crate) async fn mark_abandoned(
    connection: &mut Connection,
    issuer: &IssuerId,
    serial: &Serial,
    at: Timestamp,
) -> Result<Changed, StorageError> {
    match execute(connection, of_row(MARK_ABANDONED, issuer, serial).bind(at.unix_ms())).await? {
        0 => Err(not_so(connection, issuer, serial).await?),
        _ => Ok(Changed::Certificate(issuer.clone(), *serial)),
    }
}

/// Why no row was as the statement wants it.
async fn not_so(
    connection: &mut Connection,
    issuer: &IssuerId,
    serial: &Serial,
) -> Result<StorageError, StorageError> {
    let there = fetch_optional(connection, of_row(EXISTS, issuer, serial)).await?.is_some();
    Ok(if there { StorageError::Conflict("certificate") } else { StorageError::Missing("certificate") })
}

pub(crate) async fn revoke(
    connection: &mut Connection,
    issuer: &IssuerId,
    serial: &Serial,
    at: Timestamp,
    reason: RevocationReason,
) -> Result<Changed, StorageError> {
    let query = of_row(REVOKE, issuer, serial).bind(at.unix_ms()).bind(reason.as_str());
    match execute(connection, query).await? {
        0 => Err(not_so(connection, issuer, serial).await?), // Rule R5: the first time and reason stay.
        _ => Ok(Changed::Certificate(issuer.clone(), *serial)),
    }
}

pub(crate) async fn none_left(
    connection: &mut Connection,
    client: &ClientId,
    valid_at: Timestamp,
) -> Result<(), StorageError> {
    let query = sqlx::query(LEFT).bind(client.as_str()).bind(valid_at.unix_ms());
    match fetch_optional(connection, query).await? {
        Some(_) => Err(StorageError::Conflict("certificate")),
        None => Ok(()),
    }
}

pub(crate) async fn used(
    connection: &mut Connection,
    issuer: &IssuerId,
    serial: &Serial,
    at: Timestamp,
    calls: u64,
) -> Result<(), StorageError> {
    let query = of_row(USED, issuer, serial).bind(at.unix_ms()).bind(integer(calls));
    execute(connection, query).await.map(drop)
}

/// A statement whose first two parameters are the primary key.
fn of_row(statement: &'static str, issuer: &IssuerId, serial: &Serial) -> Query {
    sqlx::query(statement).bind(serial.octets().to_vec()).bind(issuer.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_prefix_becomes_a_range_of_octets() {
        let check = |prefix: &str, expected: Option<(&[u8], &[u8])>| {
            let expected = expected.map(|(from, to)| (from.to_vec(), to.to_vec()));
            assert_eq!(serials_with_prefix(prefix), expected, "{prefix}");
        };
        check("3f9a", Some((&[0x3f, 0x9a], &[0x3f, 0x9b])));
        check("3f9", Some((&[0x3f, 0x90], &[0x3f, 0xa0])));
        check("3FF", Some((&[0x3f, 0xf0], &[0x40])));
        check("0f", Some((&[0x0f], &[0x10])));
        check("ff", Some((&[0xff], &AFTER_EVERY_SERIAL)));
        check("3g", None);
        check("4%", None);
        check(&"1".repeat(41), None);
    }
}
