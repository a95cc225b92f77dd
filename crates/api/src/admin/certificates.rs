//! `/admin/v1/certificates`: signing, the ledger, revocation.

use super::input::{Json, Query, malformed};
use super::shapes::{
    CertificateIssued, CertificateList, CertificateQuery, CertificateStateName, CertificateView, DelayedCrl,
    NewCertificate, PartnerEndpoints, Problem, PublishedCrl, Revoke, Revoked,
};
use super::{MOST, cut, one_more_than};
use crate::Context;
use crate::answer::{Call, Refused};
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::{Extension, Json as Answer};
use countersign_ca::Refusal;
use countersign_ca::issue::ClientRequest;
use countersign_ca::revoke::Revocation;
use countersign_model::audit::AuditAction;
use countersign_model::certificate::{CertificateRecord, CertificateState, Profile};
use countersign_model::{IssuerId, ReasonCode, Serial, SerialPattern, Thumbprint, Timestamp};
use countersign_pki::pem;
use countersign_policy::{Denial, Registry};
use countersign_storage::essential::Enforced;
use countersign_storage::stores::{CertificateFilter, Expiring};
use http::StatusCode;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Signs a client certificate from a CSR. Names and dates come from the registered client and the profile.
#[utoipa::path(
    post, path = "/certificates", operation_id = "sign_certificate", request_body = NewCertificate,
    responses( (status = 201, body = CertificateIssued), (status = 422, body = Problem, content_type = "application/problem+json") )
)]
pub(super) async fn sign(
    State(context): State<Arc<Context>>,
    Extension(call): Extension<Call>,
    Json(new): Json<NewCertificate>,
) -> Result<impl IntoResponse, Refused> {
    call.refusal_is(AuditAction::CertificateRefused);
    if new.profile.is_some_and(|profile| profile != Profile::Client) {
        return Err(malformed("only the profile client is signed from a CSR".to_owned()));
    }
    let csr = csr_bytes(&new.csr).map_err(|refused| Refused(refused.0.client(Some(new.client.clone()))))?;
    let request = ClientRequest { client: &new.client, csr: &csr, allow_shared_key: new.allow_shared_key };
    let issued = context
        .ca
        .issue_client(request, call.actor(), call.reference)
        .await
        .map_err(|refusal| Refused(refused(&refusal).0.client(Some(new.client.clone()))))?;
    let committed = format!(
        "certificate {} is issued; `cert show` prints it, and it is accepted when /readyz is ready again",
        issued.serial
    );
    context.in_force(issued.sequence, &committed).await?;
    still_issued(&context, &issued.issuer, &issued.serial)?;
    let answer = CertificateIssued {
        serial: issued.serial,
        client: new.client,
        issuer: issued.issuer,
        thumbprint: issued.thumbprint,
        not_before: issued.not_before,
        not_after: issued.not_after,
        certificate: pem::encode(pem::Label::Certificate, &issued.der),
        chain: issued.chain_pem,
        left_out: issued.left_out,
        partner: PartnerEndpoints::of(&context.issuer),
    };
    Ok((StatusCode::CREATED, Answer(answer)))
}

/// Lists certificates, newest first, 1000 in an answer; those that expire soon by their expiry.
#[utoipa::path(
    get, path = "/certificates", operation_id = "list_certificates", params(CertificateQuery),
    responses((status = 200, body = CertificateList))
)]
pub(super) async fn list(
    State(context): State<Arc<Context>>,
    Query(query): Query<CertificateQuery>,
) -> Result<Answer<CertificateList>, Refused> {
    let now = context.clock.now();
    let behind = query.before.as_deref().map(row_of).transpose()?;
    let (found, place): (_, fn(&CertificateRecord) -> Timestamp) = match query.expires_before {
        None => {
            let asked = |state| query.state == Some(state);
            let filter = CertificateFilter {
                client: query.client,
                state: query.state.map(stored_state),
                // To storage, valid and expired certificates are one state.
                valid_until: asked(CertificateStateName::Valid).then_some(now),
                expired_before: asked(CertificateStateName::Expired).then_some(now),
                before: behind,
                ..CertificateFilter::default()
            };
            (context.store.certificates(&filter, one_more_than(MOST)).await, |row| row.created_at)
        }
        Some(before) => {
            if query.state.is_some_and(|state| state != CertificateStateName::Valid) {
                return Err(malformed(
                    "`expires_before` lists valid certificates: leave `state` out".to_owned(),
                ));
            }
            let filter = Expiring { client: query.client, from: now, before, after: behind };
            (context.store.expiring_certificates(&filter, one_more_than(MOST)).await, |row| row.not_after)
        }
    };
    let mut found = found.map_err(|error| Refused::storage(&error))?;
    let more = cut(&mut found, MOST);
    let next = found.last().filter(|_| more).map(|row| cursor(place(row), row));
    let enforced = context.essential.enforced();
    let certificates = found.into_iter().map(|record| view(record, now, false, &enforced)).collect();
    Ok(Answer(CertificateList { certificates, more, next }))
}

/// Shows the certificate with this serial, at least eight digits of it (`3f9a1b2c`, `3f9a..c21e`), or thumbprint.
#[utoipa::path(
    get, path = "/certificates/{serial}", operation_id = "show_certificate",
    params(("serial" = String, Path)),
    responses((status = 200, body = CertificateView))
)]
pub(super) async fn show(
    State(context): State<Arc<Context>>,
    Path(serial): Path<String>,
) -> Result<Answer<CertificateView>, Refused> {
    let record = find(&context, &serial).await?;
    Ok(Answer(view(record, context.clock.now(), true, &context.essential.enforced())))
}

/// Revokes a certificate. In force when the answer is read; revoking twice changes nothing.
#[utoipa::path(
    post, path = "/certificates/{serial}/revoke", operation_id = "revoke_certificate",
    params(("serial" = String, Path)), request_body = Revoke,
    responses((status = 200, body = Revoked))
)]
pub(super) async fn revoke(
    State(context): State<Arc<Context>>,
    Extension(call): Extension<Call>,
    Path(serial): Path<String>,
    Json(revoke): Json<Revoke>,
) -> Result<Answer<Revoked>, Refused> {
    let record = find(&context, &serial).await?;
    let revocation =
        context.ca.revoke(&record, revoke.reason, call.actor(), call.reference).await.map_err(|refusal| {
            match &record.client {
                Some(client) => refused(&refusal).of(client),
                None => refused(&refusal),
            }
        })?;
    revoked_answer(&context, revocation).await.map(Answer)
}

/// Waits until this node refuses what was revoked, cuts its connections, publishes the CRLs, and tells what happened.
///
/// The revocation itself is committed: a CRL that cannot be signed now is published by the timer later, and must not
/// make the operator believe that the certificate still lives: it is named in the answer.
pub(super) async fn revoked_answer(context: &Context, revocation: Revocation) -> Result<Revoked, Refused> {
    let committed = "the certificates are revoked in the ledger; when /readyz is ready, repeat the call";
    let in_force = context.in_force(revocation.sequence, committed).await;
    let mut connections_cut = 0;
    let mut lists = BTreeSet::<(IssuerId, u16)>::new();
    let mut certificates = Vec::new();
    let (now, enforced) = (context.clock.now(), context.essential.enforced());
    for (issuer, serial) in &revocation.revoked {
        connections_cut += context.connections.cut_certificate(issuer, serial).await;
        let record =
            context.store.certificate(issuer, serial).await.map_err(|error| Refused::storage(&error))?;
        if let Some(record) = record {
            lists.insert((record.issuer.clone(), record.crl_shard));
            certificates.push(view(record, now, false, &enforced));
        }
    }
    for (issuer, serial) in &revocation.already_revoked {
        let record =
            context.store.certificate(issuer, serial).await.map_err(|error| Refused::storage(&error))?;
        if let Some(record) = record {
            // Its list may have failed the first time: whoever asks again makes it good.
            lists.insert((record.issuer.clone(), record.crl_shard));
            certificates.push(view(record, now, false, &enforced));
        }
    }
    let (crls, crls_delayed) = publish(context, lists).await;
    in_force?;
    let already_revoked = u32::try_from(revocation.already_revoked.len()).unwrap_or(u32::MAX);
    let connections_cut = u32::try_from(connections_cut).unwrap_or(u32::MAX);
    Ok(Revoked { certificates, already_revoked, connections_cut, crls, crls_delayed })
}

/// The lists, each with everything on it, and those that cannot be published now.
async fn publish(
    context: &Context,
    lists: BTreeSet<(IssuerId, u16)>,
) -> (Vec<PublishedCrl>, Vec<DelayedCrl>) {
    let (mut published, mut delayed) = (Vec::new(), Vec::new());
    for (issuer, shard) in lists {
        match context.ca.complete_crl(&issuer, shard).await {
            Ok(crl) => published.push(PublishedCrl { issuer, shard, number: crl.number }),
            Err(error) => {
                tracing::error!(%issuer, shard, %error, "a CRL is not published; the timer tries again");
                delayed.push(DelayedCrl { issuer, shard });
            }
        }
    }
    (published, delayed)
}

/// A certificate that was revoked between its issuance and this answer is not handed out as good. The views are asked:
/// they have applied every revocation that was acknowledged.
fn still_issued(context: &Context, issuer: &IssuerId, serial: &Serial) -> Result<(), Refused> {
    let issuer = context.views.issuer_key_hash(issuer);
    if issuer.is_none_or(|issuer| context.views.revocation(&issuer, serial).is_none()) {
        return Ok(());
    }
    let note = format!("certificate {serial} was issued, and revoked before this answer");
    Err(Denial::new(ReasonCode::ObjectConflict).note(note).into())
}

/// A refusal of the authority as the operator reads it: he may know the exact reason.
pub(super) fn refused(refusal: &Refusal) -> Refused {
    Refused(Denial::new(refusal.reason()).note(refusal.to_string()))
}

async fn find(context: &Context, text: &str) -> Result<CertificateRecord, Refused> {
    let storage = |error| Refused::storage(&error);
    if let Ok(thumbprint) = text.parse::<Thumbprint>() {
        let found = context.store.certificate_by_thumbprint(&thumbprint).await.map_err(storage)?;
        return found.ok_or_else(|| not_found(text));
    }
    let Ok(pattern) = text.parse::<SerialPattern>() else { return Err(not_found(text)) };
    if !pattern.is_long_enough() {
        return whole(context, &pattern).await;
    }
    let serial_prefix = Some(pattern.begin().to_owned());
    let filter = CertificateFilter { serial_prefix, ..CertificateFilter::default() };
    let alike = context.store.certificates(&filter, one_more_than(MOST)).await.map_err(storage)?;
    // A prefix of more than `MOST` serial numbers identifies no certificate.
    let too_many = alike.len() > usize::try_from(MOST).unwrap_or(usize::MAX);
    let mut found = alike.into_iter().filter(|row| pattern.matches(&row.serial));
    match (found.next(), found.next()) {
        (Some(record), None) if !too_many => Ok(record),
        (None, _) if !too_many => Err(not_found(text)),
        _ => {
            let note = format!("{text} matches several serial numbers: give more digits");
            Err(Denial::new(ReasonCode::ObjectConflict).note(note).into())
        }
    }
}

/// A few digits pick a certificate only if they are its whole serial number: a mistake in one of them leads to another.
async fn whole(context: &Context, pattern: &SerialPattern) -> Result<CertificateRecord, Refused> {
    let storage = |error| Refused::storage(&error);
    if let Some(serial) = pattern.whole() {
        for issuer in context.store.issuers().await.map_err(storage)? {
            if let Some(row) = context.store.certificate(&issuer.id, &serial).await.map_err(storage)? {
                return Ok(row);
            }
        }
    }
    let least = SerialPattern::MIN_DIGITS;
    Err(malformed(format!("give at least {least} digits of the serial number, or the whole of it")))
}

fn not_found(text: &str) -> Refused {
    let text: String = text.chars().filter(char::is_ascii_graphic).take(64).collect();
    Denial::new(ReasonCode::ObjectNotFound).note(format!("no certificate {text}")).into()
}

/// The place of a row in a listing: the moment that orders it, and its serial number. Rows that come or change meanwhile move
/// none of the others, so that no page repeats or skips one.
fn cursor(at: Timestamp, row: &CertificateRecord) -> String {
    format!("{}-{}", at.unix_ms(), row.serial)
}

fn row_of(cursor: &str) -> Result<(Timestamp, Serial), Refused> {
    let parts =
        cursor.rsplit_once('-').and_then(|(at, serial)| Some((at.parse().ok()?, serial.parse().ok()?)));
    let (at, serial): (i64, Serial) = parts
        .ok_or_else(|| malformed("`before` must be the `next` value of an earlier answer".to_owned()))?;
    Ok((Timestamp::from_unix_ms(at), serial))
}

/// PEM as it is, else the base64 of the DER.
fn csr_bytes(text: &str) -> Result<Vec<u8>, Refused> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    if text.contains("-----BEGIN") {
        return Ok(text.as_bytes().to_vec());
    }
    let compact: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(compact).map_err(|_| {
        Denial::new(ReasonCode::CsrMalformed).note("the CSR is neither PEM nor base64 of DER").into()
    })
}

fn stored_state(state: CertificateStateName) -> String {
    match state {
        // Expiry is a matter of the clock, not of the row.
        CertificateStateName::Valid | CertificateStateName::Expired => "issued",
        other => other.as_str(),
    }
    .to_owned()
}

/// A certificate as this node goes by it: also what could not be stored is shown.
fn view(record: CertificateRecord, now: Timestamp, with_pem: bool, enforced: &Enforced) -> CertificateView {
    let not_stored = match record.state {
        CertificateState::Pending | CertificateState::Issued => {
            enforced.certificates.get(&(record.issuer.clone(), record.serial)).copied()
        }
        CertificateState::Revoked { .. } | CertificateState::Abandoned { .. } => None,
    };
    let standing = match not_stored {
        Some((at, reason)) => CertificateState::Revoked { at, reason },
        None => record.state,
    };
    let (state, revoked_at, revocation_reason) = match standing {
        CertificateState::Pending => (CertificateStateName::Pending, None, None),
        CertificateState::Abandoned { .. } => (CertificateStateName::Abandoned, None, None),
        CertificateState::Revoked { at, reason } => (CertificateStateName::Revoked, Some(at), Some(reason)),
        CertificateState::Issued if record.not_after < now => (CertificateStateName::Expired, None, None),
        CertificateState::Issued => (CertificateStateName::Valid, None, None),
    };
    CertificateView {
        serial: record.serial,
        issuer: record.issuer,
        client: record.client,
        environment: record.environment,
        profile: record.profile,
        state,
        not_stored: not_stored.is_some(),
        revoked_at,
        revocation_reason,
        subject: record.subject,
        names: record.names,
        not_before: record.not_before,
        not_after: record.not_after,
        thumbprint: record.thumbprint,
        renews: record.renews,
        last_seen_at: record.last_seen_at,
        calls: record.calls,
        certificate: record.der.filter(|_| with_pem).map(|der| pem::encode(pem::Label::Certificate, &der)),
    }
}
