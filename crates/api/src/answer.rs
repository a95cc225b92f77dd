//! Refusals of the control endpoints: handlers return [`Refused`], [`render_refusals`] turns it into a response and
//! records it. One place, so that no endpoint answers a refusal in its own words or forgets to record it.

use crate::Context;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use countersign_gateway::body::RequestBodyError;
use countersign_gateway::log_denial;
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{ClientId, ReasonCode, Reference};
use countersign_oauth::Order;
use countersign_policy::denial::{REFERENCE_HEADER, Surface, render};
use countersign_policy::{Denial, Peer};
use countersign_storage::StorageError;
use http::header::ALLOW;
use http::{Method, StatusCode, Uri};
use std::sync::{Arc, OnceLock};

/// A call of a control endpoint: its reference, and who turned out to make it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Finds its records.
    pub reference: Reference,
    actor: Arc<OnceLock<Actor>>,
    refusal: Arc<OnceLock<AuditAction>>,
}

impl Call {
    fn new(reference: Reference) -> Self {
        Self { reference, actor: Arc::default(), refusal: Arc::default() }
    }

    /// Who makes it.
    pub fn actor(&self) -> Actor {
        self.actor.get().cloned().unwrap_or(Actor::Anonymous)
    }

    /// What the caller orders, for the record.
    pub(crate) fn order(&self, context: &Context) -> Order {
        Order { actor: self.actor(), reference: self.reference, at: context.clock.now() }
    }

    /// Says who makes it; the first word stays.
    pub fn identify(&self, actor: Actor) {
        let _ = self.actor.set(actor);
    }

    /// Says what a refusal of this call is recorded as, where that is not a refusal of the admin API as such.
    pub fn refusal_is(&self, action: AuditAction) {
        let _ = self.refusal.set(action);
    }
}

/// A refusal on its way from a handler to [`render_refusals`].
#[derive(Debug, Clone)]
pub struct Refused(pub Denial);

impl<T: Into<Denial>> From<T> for Refused {
    fn from(denial: T) -> Self {
        Self(denial.into())
    }
}

impl Refused {
    /// Names the client that the call was about, for the record.
    pub(crate) fn of(self, client: &ClientId) -> Self {
        Self(self.0.client(Some(client.clone())))
    }

    /// A refusal because storage failed: its text is for the operator.
    pub fn storage(error: &StorageError) -> Self {
        Self(Denial::new(error.reason()).note(error.to_string()))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

/// Outermost layer of the admin router: gives the call its reference, and turns a [`Refused`] into its response.
pub async fn render_refusals(
    State(context): State<Arc<Context>>,
    mut request: Request,
    next: Next,
) -> Response {
    let call = Call::new(context.reference());
    request.extensions_mut().insert(call.clone());
    let asked = Asked::of(&request);
    let mut response = next.run(request).await;
    let Some(Refused(denial)) = refusal(&mut response, ReasonCode::ObjectNotFound) else { return response };
    let action = call.refusal.get().copied().unwrap_or(AuditAction::AdminRefused);
    let reference = record(&context, call.reference, action, &denial, call.actor(), Some(&asked));
    answer(&denial, &Surface::Admin, reference, &context)
}

/// Outermost layer of the public routers: what they do not know is refused as the gateway refuses.
pub async fn render_public_refusals(
    State(context): State<Arc<Context>>,
    request: Request,
    next: Next,
) -> Response {
    let asked = Asked::of(&request);
    let mut response = next.run(request).await;
    let Some(Refused(denial)) = refusal(&mut response, ReasonCode::RouteNotFound) else { return response };
    let (reference, action) = (context.reference(), AuditAction::RequestRefused);
    let reference = record(&context, reference, action, &denial, Actor::Anonymous, Some(&asked));
    answer(&denial, &Surface::of_path(asked.uri.path()), reference, &context)
}

/// A call whose handler panicked: the caller learns that much and the reference.
pub(crate) fn panicked(context: &Context) -> Response {
    let denial = Denial::new(ReasonCode::InternalError).note("a handler panicked");
    let action = AuditAction::AdminRefused;
    let reference = record(context, context.reference(), action, &denial, Actor::Anonymous, None);
    answer(&denial, &Surface::Admin, reference, context)
}

fn answer(denial: &Denial, surface: &Surface<'_>, reference: Reference, context: &Context) -> Response {
    let mut response = render(denial, surface, reference, &context.issuer);
    // Which methods there are knows axum alone, and it adds them outside of this layer where none are named.
    if denial.reason() == ReasonCode::MethodNotAllowed {
        response.headers_mut().remove(ALLOW);
    }
    response.map(Into::into)
}

/// What a handler refused. axum's own refusals (no such path, no such method, a path that is no text) take the same
/// way as ours.
fn refusal(response: &mut Response, not_found: ReasonCode) -> Option<Refused> {
    if let Some(refused) = response.extensions_mut().remove::<Refused>() {
        return Some(refused);
    }
    // A response that a use case has rendered itself, such as an OAuth error, has its reference already.
    if response.headers().contains_key(REFERENCE_HEADER) {
        return None;
    }
    match response.status() {
        StatusCode::NOT_FOUND => Some(not_found.into()),
        StatusCode::BAD_REQUEST => Some(ReasonCode::RequestMalformed.into()),
        StatusCode::METHOD_NOT_ALLOWED => Some(ReasonCode::MethodNotAllowed.into()),
        _ => None,
    }
}

/// Why a body could not be read whole: it broke a limit, of the gateway or of the reader, or its sender went away.
pub(crate) fn broken_body(error: &(dyn std::error::Error + 'static)) -> Denial {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(RequestBodyError::Refused(reason)) = error.downcast_ref() {
            return countersign_gateway::body::refused(*reason);
        }
        if error.is::<http_body_util::LengthLimitError>() {
            return Denial::new(ReasonCode::RequestBodyTooLarge);
        }
        cause = error.source();
    }
    Denial::new(ReasonCode::RequestMalformed).note("the body broke off")
}

/// What was asked, and by whom: kept beside the handler, which takes the request. Cheap to keep, and made into a record
/// only when the request is refused.
struct Asked {
    method: Method,
    uri: Uri,
    peer: Option<Peer>,
    prefix: &'static str,
}

/// The reserved prefix that a request is under, among its extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix(pub(crate) &'static str);

impl Asked {
    fn of(request: &Request) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            peer: request.extensions().get().cloned(),
            prefix: request.extensions().get().map_or("/", |Prefix(prefix)| prefix),
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            source: self.peer.as_ref().map(|peer| peer.address().ip().to_canonical()),
            method: Some(self.method.as_str().chars().take(32).collect()),
            path: Some(self.uri.path().chars().take(256).collect()),
            ..Facts::default()
        }
    }
}

/// Records a refusal and writes its line into the log; returns the reference that the caller reads.
fn record(
    context: &Context,
    reference: Reference,
    action: AuditAction,
    denial: &Denial,
    actor: Actor,
    asked: Option<&Asked>,
) -> Reference {
    let facts = Facts {
        client: denial.known_client().cloned(),
        detail: denial.operator_note().map(str::to_owned),
        ..asked.map(Asked::facts).unwrap_or_default()
    };
    let now = context.clock.now();
    let event = AuditEvent::refused(reference, now, action, denial.reason(), actor, facts);
    let recorded = context.recorder.record(event.told(denial.public()));
    let peer = asked.and_then(|asked| asked.peer.as_ref());
    let request = asked.map(|asked| (&asked.method, &asked.uri));
    let prefix = asked.map_or("/", |asked| asked.prefix);
    log_denial(action, denial, denial.status(), peer, request, prefix, recorded);
    recorded.reference
}
