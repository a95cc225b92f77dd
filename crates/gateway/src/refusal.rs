//! A refusal: recorded, counted, logged, and rendered by `policy` (design, invariant 5). Whether the connection goes on
//! after it is decided here too.

use crate::call::{Asked, Call, Place};
use crate::connection::Connection;
use crate::forward::INTERACTION_ID;
use crate::guard::frames::Refused;
use crate::log::{MAX_PATH, log_denial};
use crate::response_body::{Source, head_alone};
use crate::worker::{Listener, Worker};
use bytes::Bytes;
use countersign_model::audit::{Actor, AuditAction, AuditEvent, CertificateRef, Facts};
use countersign_model::{ReasonCode, Reference};
use countersign_policy::Denial;
use countersign_policy::client_auth::Method;
use countersign_policy::denial::{Surface, render};
use http::header::CONNECTION;
use http::{HeaderValue, Method as HttpMethod, Response, Uri};
use std::rc::Rc;

/// Records the refusal and gives its answer.
pub(crate) async fn refuse(
    call: &Call<'_>,
    denial: &Denial,
    place: &Place,
    method: &HttpMethod,
    uri: &Uri,
) -> Response<Source> {
    let settings = &call.worker.settings;
    // In the place of a refused head the service sees the guard's substitute.
    let exchange = &call.connection.exchange;
    let is_substituted = exchange.is_substituted(call.ordinal);
    let request = if is_substituted {
        let read = exchange.explained().and_then(|explained| explained.request.as_ref());
        read.map(|(method, uri)| (method, uri))
    } else {
        Some((method, uri))
    };
    // First, because hyper drops the service where h2 has reset the stream, which may be while the record is awaited.
    let metrics = call.worker.metrics.route(place.name());
    metrics.denied(denial.reason());
    if denial.known_method() == Some(Method::Internal) {
        metrics.internal("deny");
    }
    let event = event(AuditAction::RequestRefused, call, denial, place, request);
    let recorded = match settings.recorder.record_before_answer(event).await {
        Ok(recorded) => recorded,
        Err(unrecorded) => {
            tracing::error!(%unrecorded, "a refusal is not recorded");
            unrecorded.recorded
        }
    };
    let reference = recorded.reference;
    let peer = Some(&call.connection.peer);
    log_denial(AuditAction::RequestRefused, denial, denial.status(), peer, request, place.name(), recorded);
    let response = match place {
        Place::Route(route, interaction_id) => {
            let issuer = settings.issuer.trim_end_matches('/');
            let metadata = format!("{issuer}/.well-known/oauth-protected-resource/{}", route.name());
            let surface = Surface::Gateway { realm: route.name(), resource_metadata: Some(&metadata) };
            let mut response = render(denial, &surface, reference, &settings.issuer);
            response.headers_mut().insert(INTERACTION_ID, interaction_id.clone());
            response
        }
        Place::Local(prefix) => render(denial, &Surface::of_path(prefix), reference, &settings.issuer),
        Place::Unknown => render(denial, &Surface::of_path(""), reference, &settings.issuer),
    };
    let is_head = !is_substituted && method == HttpMethod::HEAD; // hyper answers the substitute's GET
    let mut response =
        response.map(|body| Source::Full(Some(Bytes::from(body)).filter(|body| !body.is_empty())));
    if is_head {
        response = head_alone(response);
    }
    if ends_connection(call, denial) {
        if call.connection.http2 {
            call.connection.finish(); // GOAWAY
        } else {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    response
}

/// Tells of a request that the h2 crate refused: the service has not seen it, so its answer is a frame (RFC 9113 section
/// 5.4). It is counted by its reason, and recorded and logged like others of its kind, folded in a flood.
pub(crate) fn tell_unseen(
    worker: &Worker,
    listener: &Listener,
    connection: &Rc<Connection>,
    refused: Refused,
) {
    let settings = &worker.settings;
    let call = Call { worker, listener, connection, ordinal: 0, now: settings.clock.now() };
    let Refused { code, of_stream, was_answered } = refused;
    let reason = match code {
        h2::Reason::REFUSED_STREAM if was_answered => ReasonCode::RequestHeaderTooLarge,
        h2::Reason::REFUSED_STREAM => ReasonCode::ClientRequestsExhausted,
        _ => ReasonCode::RequestMalformed,
    };
    let of = if of_stream { "a stream" } else { "the connection" };
    let denial = Denial::new(reason).note(format!("HTTP/2 ended {of}: {}", code.description()));
    listener.metrics.http2_refused(code, of_stream);
    worker.metrics.route(Place::Unknown.name()).denied(reason);
    let (action, place) = (AuditAction::RequestRefused, Place::Unknown);
    let recorded = settings.recorder.record(event(action, &call, &denial, &place, None));
    log_denial(action, &denial, denial.status(), Some(&connection.peer), None, place.name(), recorded);
}

/// Tells of an answer that ended early, after its head was passed on: it was counted and timed with the status of its head,
/// and the caller has no reference. `denial` says why.
pub(crate) fn tell_broken_off(asked: &Asked, connection: &Rc<Connection>, denial: &Denial) {
    let Asked { worker, listener, ordinal, place, method, uri, status } = asked;
    let settings = &worker.settings;
    let call = Call { worker, listener, connection, ordinal: *ordinal, now: settings.clock.now() };
    worker.metrics.route(place.name()).broken_off(denial.reason());
    let (action, request) = (AuditAction::AnswerBrokenOff, Some((method, uri)));
    let recorded = settings.recorder.record(event(action, &call, denial, place, request));
    log_denial(action, denial, *status, Some(&connection.peer), request, place.name(), recorded);
}

/// After what the connection does not go on: bytes we do not understand, a certificate that is no longer good, one
/// connection too many (design, decisions 20 and 21). A body that broke a limit ends its HTTP/2 stream only. On HTTP/1.1
/// the rest of a body that nobody wants stands before the next request: hyper closes then, and RFC 9112 section 9.6 wants
/// that to be said, or a client sends its next request into a connection that is gone.
fn ends_connection(call: &Call<'_>, denial: &Denial) -> bool {
    use ReasonCode as R;
    call.connection.is_ending()
        || call.connection.exchange.refusal(call.ordinal).is_some()
        || (!call.connection.http2 && !call.connection.exchange.is_whole(call.ordinal))
        || match denial.reason() {
            R::CertificateRevoked
            | R::CertificateExpired
            | R::CertificateNotYetValid
            | R::ConnectionsExhausted => true,
            R::RequestBodyTooLarge | R::RequestTooSlow => !call.connection.http2,
            _ => false,
        }
}

fn event(
    action: AuditAction,
    call: &Call<'_>,
    denial: &Denial,
    place: &Place,
    request: Option<(&HttpMethod, &Uri)>,
) -> AuditEvent {
    let settings = &call.worker.settings;
    // The moment of the refusal: an upstream that was waited for makes it half a minute later than the request, and the
    // log folds and finds by this time.
    let now = settings.clock.now();
    let reference = Reference::generate(now, settings.rng.as_ref());
    let peer = &call.connection.peer;
    let route = match place {
        Place::Route(route, _) => Some(route),
        Place::Local(_) | Place::Unknown => None,
    };
    let facts = Facts {
        credential: denial.known_credential(),
        environment: route.map(|route| route.environment()),
        certificate: peer.certificate().map(|certificate| CertificateRef {
            issuer: call.connection.issuer.clone(),
            serial: Some(*certificate.serial()),
            thumbprint: Some(*certificate.thumbprint()),
        }),
        source: Some(peer.address().ip().to_canonical()),
        listener: Some(call.listener.name.to_string()),
        sni: call.connection.sni.as_deref().map(str::to_owned),
        route: route.map(|route| route.name().to_owned()),
        method: request.map(|(method, _)| method.as_str().chars().take(32).collect()),
        path: request.map(|(_, uri)| uri.path().chars().take(MAX_PATH).collect()),
        audience: route.map(|route| route.api().audience.clone()),
        detail: denial.operator_note().map(str::to_owned),
        client: denial.known_client().cloned(),
        interaction_id: match place {
            Place::Route(_, id) => id.to_str().ok().map(str::to_owned),
            Place::Local(_) | Place::Unknown => None,
        },
        auth_method: denial.known_method().map(|method| method.as_str().to_owned()),
        ..Facts::default()
    };
    // Who only says that it is a client is not the actor: anybody can fill the record of a client like that.
    let actor = denial.proved_client().cloned().map_or(Actor::Anonymous, Actor::Client);
    AuditEvent::refused(reference, now, action, denial.reason(), actor, facts).told(denial.public())
}
