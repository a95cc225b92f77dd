//! A refusal: recorded, counted, logged, and rendered by `policy` (design, invariant 5). Whether the connection goes on
//! after it is decided here too.

use crate::body::Source;
use crate::observe::method_label;
use crate::pipeline::{Call, Place};
use bytes::Bytes;
use countersign_model::audit::{Actor, AuditAction, AuditEvent, CertificateRef, Facts};
use countersign_model::{ReasonCode, Reference};
use countersign_policy::Denial;
use countersign_policy::denial::{Surface, render};
use http::header::CONNECTION;
use http::{HeaderValue, Method, Response, Uri};

/// How much of a path is recorded.
const MAX_PATH: usize = 256;

/// Records the refusal and gives its answer.
pub(crate) async fn refuse(
    call: &Call<'_>,
    denial: &Denial,
    place: &Place,
    method: &Method,
    uri: &Uri,
) -> Response<Source> {
    let settings = &call.worker.settings;
    // Of a refused head nothing was read: what the service sees is the guard's substitute.
    let request = (!call.connection.exchange.is_substituted(call.ordinal)).then_some((method, uri));
    let event = event(call, denial, place, request);
    let reference = match settings.recorder.record_before_answer(event).await {
        Ok(reference) => reference,
        Err(unrecorded) => {
            tracing::error!(%unrecorded, "a refusal is not recorded");
            unrecorded.reference
        }
    };
    call.worker.metrics.route(place.name()).denied(denial.reason());
    log(call, denial, place, request, reference);
    let metadata = match place {
        Place::Route(route) => Some(format!(
            "{}/.well-known/oauth-protected-resource/{}",
            settings.issuer.trim_end_matches('/'),
            route.name()
        )),
        Place::Local(_) | Place::Unknown => None,
    };
    let realm = match place {
        Place::Route(route) => route.name(),
        Place::Local(_) | Place::Unknown => "countersign",
    };
    let surface = Surface::Gateway { realm, resource_metadata: metadata.as_deref() };
    let response = render(denial, &surface, reference, &settings.issuer);
    let mut response =
        response.map(|body| Source::Full(Some(Bytes::from(body)).filter(|body| !body.is_empty())));
    if ends_connection(call, denial) {
        if call.connection.http2 {
            call.connection.finish(); // GOAWAY
        } else {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    response
}

/// After what the connection does not go on: bytes we do not understand, a certificate that is no longer good, one
/// connection too many (design, decisions 20 and 21). A body that broke a limit ends its HTTP/2 stream only.
fn ends_connection(call: &Call<'_>, denial: &Denial) -> bool {
    use ReasonCode as R;
    call.connection.is_ending()
        || call.connection.exchange.refusal(call.ordinal).is_some()
        || match denial.reason() {
            R::CertificateRevoked
            | R::CertificateExpired
            | R::CertificateNotYetValid
            | R::ConnectionsExhausted => true,
            R::RequestBodyTooLarge | R::RequestTooSlow => !call.connection.http2,
            _ => false,
        }
}

fn event(call: &Call<'_>, denial: &Denial, place: &Place, request: Option<(&Method, &Uri)>) -> AuditEvent {
    let settings = &call.worker.settings;
    let reference = Reference::generate(call.now, settings.rng.as_ref());
    let peer = &call.connection.peer;
    let route = match place {
        Place::Route(route) => Some(route),
        Place::Local(_) | Place::Unknown => None,
    };
    let client = denial.known_client().cloned();
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
        client: client.clone(),
        ..Facts::default()
    };
    let actor = client.map_or(Actor::Anonymous, Actor::Client);
    AuditEvent::refused(reference, call.now, AuditAction::RequestRefused, denial.reason(), actor, facts)
}

/// One line (experience.md section 5). What the caller controls is escaped (rule G11): the method is one of a few words,
/// the path has printable ASCII only and is escaped all the same.
fn log(
    call: &Call<'_>,
    denial: &Denial,
    place: &Place,
    request: Option<(&Method, &Uri)>,
    reference: Reference,
) {
    let peer = &call.connection.peer;
    let path: String = request.map_or("", |(_, uri)| uri.path()).chars().take(MAX_PATH).collect();
    tracing::info!(
        "http.request.method" = request.map(|(method, _)| method_label(method)),
        "url.path" = %path.escape_default(),
        "http.route" = place.name(),
        "http.response.status_code" = denial.status().as_u16(),
        "client.address" = %peer.address().ip().to_canonical(),
        "tls.client.hash.sha256" = peer.thumbprint().map(tracing::field::display),
        "countersign.certificate" = peer.certificate().map(|certificate| certificate.serial().short()),
        "countersign.client.id" = denial.known_client().map(tracing::field::display),
        "countersign.reason" = denial.reason().as_str(),
        "countersign.detail" = denial.operator_note(),
        "countersign.ref" = %reference,
        "DENY"
    );
}
