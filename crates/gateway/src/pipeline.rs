//! The way of a request (design, section 4). Each stage takes what the one before made; nothing looks back.
//!
//! accept TLS -> `Peer` -> `Matched` route -> `Caller` -> `Permit` -> `Admission` -> `ValidatedRequest` -> forward -> record

use crate::admission::Admission;
use crate::body::{self, Bodies, Verdict};
use crate::call::{Asked, Call, Place};
use crate::connection::{Connection, Proof};
use crate::forward::{self, INTERACTION_ID, ValidatedRequest};
use crate::intake::{self, Received};
use crate::load::ClientTurn;
use crate::local::{LocalBody, LocalRequest};
use crate::observe::{Completion, Outcome};
use crate::refusal;
use crate::response_body::{ResponseBody, Source, head_alone};
use crate::settings::{Limits, Snapshot};
use crate::worker::{Listener, Worker};
use countersign_model::ReasonCode;
use countersign_policy::decision::{BindingKind, RequestCredentials};
use countersign_policy::denial::REFERENCE_HEADER;
use countersign_policy::{Denial, Permit, Policy};
use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// Where tokens are issued: the one decision among the local services that stands on the registry. The admin API is for
/// repairing a node, and everything else is public.
const TOKEN_ENDPOINT: &str = "/oauth2/token";

/// Answers one request: the only place that records its outcome. `_open` is held until then.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    connection: Rc<Connection>,
    request: Request<Incoming>,
    _open: Option<Arc<Bodies>>,
) -> Result<Response<ResponseBody>, Infallible> {
    let ordinal = connection.exchange.call();
    let snapshot = worker.settings.snapshot.load_full();
    let completion = Completion::new(connection.clone(), request.method(), snapshot.limits.resets_per_second);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let call = Call {
        worker: &worker,
        listener: &listener,
        connection: &connection,
        ordinal,
        now: worker.settings.clock.now(),
    };
    let mut place = Place::Unknown;
    let answer = match call.answer(request, &snapshot, &completion, &mut place).await {
        Ok(response) => response,
        Err(denial) => {
            // A violation inside the body may have ended the request with another error; the guard knows better.
            let denial = match connection.exchange.denial(ordinal) {
                Some(found) => found.of_caller(&denial),
                None => denial,
            };
            refusal::refuse(&call, &denial, &place, &method, &uri).await
        }
    };
    let status = answer.status();
    completion.answering(worker.metrics.route(place.name()), status);
    let asked = Asked { worker, listener, ordinal, place, method, uri, status };
    Ok(answer.map(|source| ResponseBody::new(source, completion, asked)))
}

impl Call<'_> {
    async fn answer(
        &self,
        request: Request<Incoming>,
        snapshot: &Snapshot,
        completion: &Completion,
        place: &mut Place,
    ) -> Result<Response<Source>, Denial> {
        let Call { worker, listener, connection, now, .. } = self;
        // Of a refused head nothing was read: its path is the substitute's.
        let local = listener.settings.local.prefix_of(request.uri().path());
        if let Some(prefix) = local
            && !connection.exchange.is_substituted(self.ordinal)
        {
            *place = Place::Local(prefix);
        }
        let received =
            intake::receive(request, self.ordinal, connection, &listener.settings, &snapshot.limits)?;
        if connection.over_limit.get() {
            return Err(
                Denial::new(ReasonCode::ConnectionsExhausted).note("too many connections of this client")
            );
        }
        if let Some(prefix) = local {
            if received.parts.uri.path() == TOKEN_ENDPOINT {
                self.refuse_when_stale(&snapshot.limits, completion.began())?;
            }
            return self.answer_locally(received, prefix).await;
        }
        if !listener.settings.routes {
            return Err(ReasonCode::RouteNotFound.into());
        }
        let policy = self.policy(snapshot);
        let parts = &received.parts;
        let matched = snapshot.routes.find(received.forwarded.host(), &parts.method, parts.uri.path())?;
        let interaction_id = self.interaction_id(&parts.headers);
        *place = Place::Route(matched.route().clone(), interaction_id.clone());
        self.refuse_when_stale(&snapshot.limits, completion.began())?;
        let credentials = RequestCredentials { headers: &parts.headers, query: parts.uri.query() };
        let caller = policy.identify(matched, &connection.peer, &credentials, *now)?;
        let permit = caller.authorize()?;
        let turn = self.turn(&permit, &snapshot.limits)?;
        let admission = worker.shared.rate_limits.admit(&permit, turn, completion.began())?;
        let metrics = worker.metrics.route(place.name());
        let mut outcome = Outcome::new(metrics.clone(), permit.binding() == BindingKind::Internal);
        self.note_use(&permit, &admission, &snapshot.limits);
        let Received { parts, body, forwarded, verdict } = received;
        let request = ValidatedRequest::new(parts, body, forwarded, metrics);
        forward::forward(permit, admission, request, interaction_id, connection, snapshot, &worker.pools)
            .await
            .map(|response| response.map(Source::Upstream))
            .map_err(|denial| {
                outcome.refused();
                match found_in_body(verdict) {
                    Some(found) => found.of_caller(&denial),
                    None => denial,
                }
            })
    }

    /// Rule G16: decisions on what was known long ago let through what was revoked since, and issue tokens to it.
    fn refuse_when_stale(&self, limits: &Limits, instant: Instant) -> Result<(), Denial> {
        let age = self.worker.settings.registry.age(self.now, instant.into_std());
        match limits.registry_age {
            Some(most) if age > most => {
                let note = format!("clients and revocations were last heard of {} s ago", age.as_secs());
                Err(Denial::new(ReasonCode::NotReady).note(note))
            }
            _ => Ok(()),
        }
    }

    async fn answer_locally(
        &self,
        received: Received,
        prefix: &'static str,
    ) -> Result<Response<Source>, Denial> {
        let Received { parts, body, verdict, .. } = received;
        let is_head = parts.method == Method::HEAD;
        let request = LocalRequest {
            request: Request::from_parts(parts, body),
            peer: self.connection.peer.clone(),
            listener: self.listener.name.clone(),
            prefix,
        };
        let response = self.worker.settings.local.call(request).await;
        let refused_below = self.connection.exchange.denial(self.ordinal);
        match refused_below.or_else(|| found_in_body(verdict)) {
            // A service that saw why the body ended has refused and recorded that. Another one took half for the whole.
            Some(denial) if !response.headers().contains_key(REFERENCE_HEADER) => Err(denial),
            Some(_) => {
                let mut response = response;
                if !self.connection.http2 {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok(local_answer(response, is_head))
            }
            None => Ok(local_answer(response, is_head)),
        }
    }

    fn policy<'a>(&'a self, snapshot: &'a Snapshot) -> Policy<'a> {
        let settings = &self.worker.settings;
        Policy {
            issuer: &settings.issuer,
            skew_s: countersign_token::verified::DEFAULT_SKEW_S,
            internal_headers: &snapshot.internal_headers,
            registry: settings.registry.as_ref(),
            tokens: &self.worker.tokens,
            pepper: &settings.pepper,
            throttle: settings.throttle.as_ref(),
        }
    }

    /// Rule G20: a client that waits for a slow API leaves connections to the others.
    fn turn(&self, permit: &Permit, limits: &Limits) -> Result<ClientTurn, Denial> {
        let Call { worker, connection, .. } = self;
        let client = permit.client_id();
        let load = connection.load_of(client, || worker.shared.loads.client(client));
        let limit = worker.settings.descriptors.requests_of_client(limits.requests_per_client);
        ClientTurn::begin(&load, limit.value).ok_or_else(|| {
            let note = format!("requests of this client in flight: {limit}");
            permit.refused(Denial::new(ReasonCode::ClientRequestsExhausted).note(note))
        })
    }

    /// Counts the use of credential and certificate, and notes who calls on this connection.
    fn note_use(&self, permit: &Permit, admission: &Admission, limits: &Limits) {
        let usage = &self.worker.settings.usage;
        usage.credential_used(permit.credential(), self.now);
        if let (Some(issuer), Some(certificate)) =
            (&self.connection.issuer, self.connection.peer.certificate())
        {
            usage.certificate_used(issuer, certificate.serial(), self.now);
        }
        let token = permit.token();
        let proof = Proof { credential: permit.credential(), epoch: token.map(|token| token.epoch()) };
        let key = token.map(|token| token.key_id());
        let known = self.worker.settings.known_of_client(limits);
        let load = admission.turn().load();
        let is_new = self.connection.note_call(permit.client_id(), proof, key, load, known);
        if permit.binding() == BindingKind::Internal {
            self.note_internal(permit, is_new);
        }
    }

    /// Rule C11: the `internal` method is loud, because whoever uses it has not arrived at certificate and token yet.
    fn note_internal(&self, permit: &Permit, is_new: bool) {
        let route = permit.route().name();
        if is_new {
            tracing::warn!(
                "countersign.client.id" = %permit.client_id(),
                "http.route" = route,
                "client.address" = %self.connection.peer.address().ip().to_canonical(),
                "a client calls with its secret, by the internal method"
            );
        }
    }

    /// Rule G8: a received `x-fapi-interaction-id` is echoed, and made where there was none.
    fn interaction_id(&self, headers: &HeaderMap) -> HeaderValue {
        let mut received = headers.get_all(INTERACTION_ID).iter();
        if let (Some(id), None) = (received.next(), received.next())
            && (1..=128).contains(&id.len())
            && id.as_bytes().iter().all(u8::is_ascii_graphic)
        {
            return id.clone();
        }
        self.worker.interaction_ids.next(self.worker.settings.rng.as_ref())
    }
}

fn local_answer(response: Response<LocalBody>, is_head: bool) -> Response<Source> {
    let response = response.map(Source::Local);
    if is_head { head_alone(response) } else { response }
}

fn found_in_body(verdict: Option<Verdict>) -> Option<Denial> {
    verdict.and_then(|verdict| verdict.get().copied()).map(body::refused)
}
