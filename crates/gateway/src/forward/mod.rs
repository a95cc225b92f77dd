//! The only door to an upstream: it opens for a [`Permit`] and an [`Admission`], which it takes by value.
//!
//! Streams both ways, keeps connections ([`pool`]), and never tells the client the upstream's address or its errors' text.
//! Tries again when a kept connection turned out to be closed before the request was written: hyper hands the request
//! back then. Once anything was written, only what changes nothing is sent again ([`repeat`], rule G17).

mod bell;
mod connect;
mod headers;
mod pool;
mod removed;
mod repeat;
mod upload;
mod wire;

pub(crate) use headers::INTERACTION_ID;
#[cfg(feature = "fuzzing")]
pub(crate) use headers::{for_client, for_upstream};
pub(crate) use pool::Pools;
pub(crate) use removed::CLASSES as REMOVED_CLASSES;

use crate::admission::Admission;
use crate::body::RequestBody;
use crate::connection::Connection;
use crate::forwarded::Forwarded;
use crate::load::NoTurn;
use crate::observe::RouteMetrics;
use crate::settings::Snapshot;
use bytes::Bytes;
use connect::ConnectError;
use countersign_model::ReasonCode;
use countersign_policy::{Denial, Permit};
use futures_util::task::noop_waker_ref;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, SizeHint};
use hyper::body::Incoming;
use pool::{Link, Pool, Turn};
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::coop::unconstrained;
use tokio::time::Instant;
use upload::{Progress, Upload, UploadFailure};

/// A request that is bounded, and in time will be checked against the API's OpenAPI document.
pub(crate) struct ValidatedRequest {
    parts: Parts,
    body: RequestBody,
    forwarded: Rc<Forwarded>,
    metrics: Rc<RouteMetrics>,
}

impl ValidatedRequest {
    /// Takes a request whose head and body are bounded, and where its route is counted.
    pub(crate) fn new(
        parts: Parts,
        body: RequestBody,
        forwarded: Rc<Forwarded>,
        metrics: Rc<RouteMetrics>,
    ) -> Self {
        Self { parts, body, forwarded, metrics }
    }
}

/// Forwards a request and gives the head of the answer; its body streams.
///
/// # Errors
/// `client_requests_exhausted`, `upstream_requests_exhausted`, `upstream_unreachable`, `upstream_broke_off`,
/// `upstream_too_slow`, `upstream_response_invalid`, or what was wrong with the request's body.
pub(crate) async fn forward(
    permit: Permit,
    admission: Admission,
    request: ValidatedRequest,
    interaction_id: HeaderValue,
    connection: &Connection,
    snapshot: &Snapshot,
    pools: &Pools,
) -> Result<Response<UpstreamBody>, Denial> {
    let route = permit.route();
    let upstream = snapshot.upstreams.get(route.upstream()).ok_or_else(|| {
        Denial::new(ReasonCode::InternalError).note("the route's upstream is not configured")
    })?;
    let ValidatedRequest { mut parts, mut body, forwarded, metrics } = request;
    body.settle().await.map_err(|error| permit.refused(Denial::from(error)))?;
    let target = route
        .upstream_target(parts.uri.path(), parts.uri.query())
        .and_then(|target| PathAndQuery::try_from(target).ok())
        .ok_or(ReasonCode::RequestPathInvalid)?;
    parts.uri = Uri::from(target);
    parts.version = Version::HTTP_11;
    let authority = upstream.host_header();
    let internal = &snapshot.internal_headers;
    let removed = headers::for_upstream(
        &mut parts.headers,
        &parts.method,
        &body,
        &permit,
        &connection.peer,
        internal,
        &forwarded,
        authority,
        &interaction_id,
    );
    removed.tell(&permit, &metrics);
    let is_head = parts.method == Method::HEAD;
    let (upload, progress) = Upload::new(body);
    let request = Request::from_parts(parts, upload);
    let pool = pools.pool(upstream);
    let of_client = |denial: Denial| permit.refused(denial);
    let turn = pool
        .begin(permit.client_id(), admission.turn().load())
        .map_err(|no_turn| of_client(in_flight(&pool, no_turn)))?;
    let sent = send(&pool, pools, request, progress.as_deref()).await;
    let (link, mut response) = sent.map_err(of_client)?;
    // An upgrade was not asked for: the field is taken out.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(of_client(
            Denial::new(ReasonCode::UpstreamResponseInvalid).note("101 without an upgrade"),
        ));
    }
    if !headers::is_framed_once(response.headers()) {
        let denial = Denial::new(ReasonCode::UpstreamResponseInvalid);
        return Err(of_client(denial.note("the length of the answer can be read in two ways")));
    }
    if headers::may_be_followed(is_head, response.status(), response.headers()) {
        link.conduct.give_up();
    }
    headers::for_client(response.status(), response.headers_mut(), interaction_id);
    *response.version_mut() = Version::HTTP_11;
    let permitted = (permit, admission);
    Ok(response.map(|incoming| UpstreamBody::new(incoming, link, turn, permitted, progress)))
}

fn in_flight(pool: &Pool, no_turn: NoTurn) -> Denial {
    let (name, limit) = (&pool.upstream().name, pool.max_requests());
    match no_turn {
        NoTurn::Full => Denial::new(ReasonCode::UpstreamRequestsExhausted)
            .note(format!("{name}: requests in flight: {limit}")),
        NoTurn::LeftToOthers => Denial::new(ReasonCode::ClientRequestsExhausted)
            .note(format!("{name}: a quarter is left to other clients; requests in flight at most: {limit}")),
    }
}

/// Sends over a kept connection, or over a new one. HEAD always takes a new one: its connection is not used again
/// ([`headers::may_be_followed`]), so one that takes a kept one would take it from the other callers.
async fn send(
    pool: &Pool,
    pools: &Pools,
    mut request: Request<Upload>,
    progress: Option<&Progress>,
) -> Result<(Box<Link>, Response<Incoming>), Denial> {
    let takes_kept = request.method() != Method::HEAD;
    while takes_kept && let Some(link) = pool.take() {
        if repeat::is_repeatable(&request) {
            link.conduct.keep_copy();
        }
        match exchange(link, request, progress, pool.upstream().response_timeout).await {
            Ok(done) => return Ok(done),
            Err(Failed::Unsent(returned)) => request = *returned,
            Err(Failed::Unanswered(copy)) => {
                return send_on_new(pool, pools, *copy, progress).await.map_err(sent_before);
            }
            Err(Failed::Final(denial)) => return Err(denial),
        }
    }
    send_on_new(pool, pools, request, progress).await
}

/// Why a second try failed. The first was sent, and may have been carried out: whatever says that nothing was is not true.
fn sent_before(denial: Denial) -> Denial {
    match denial.reason() {
        ReasonCode::UpstreamUnreachable | ReasonCode::UpstreamRequestsExhausted => {
            let note = denial.operator_note().unwrap_or_default().to_owned();
            Denial::new(ReasonCode::UpstreamBrokeOff).note(note)
        }
        _ => denial,
    }
}

async fn send_on_new(
    pool: &Pool,
    pools: &Pools,
    request: Request<Upload>,
    progress: Option<&Progress>,
) -> Result<(Box<Link>, Response<Incoming>), Denial> {
    let mut connected = pool.connect().await;
    if let Err(ConnectError::Full) = connected
        && pools.make_room()
    {
        connected = pool.connect().await;
    }
    let link = connected.map_err(|error| {
        let reason = match error {
            ConnectError::Full => ReasonCode::UpstreamRequestsExhausted,
            _ => ReasonCode::UpstreamUnreachable,
        };
        Denial::new(reason).note(format!("{}: {error}", pool.upstream().name))
    })?;
    match exchange(link, request, progress, pool.upstream().response_timeout).await {
        Ok(done) => Ok(done),
        Err(Failed::Unsent(_) | Failed::Unanswered(_)) => Err(Denial::new(ReasonCode::UpstreamUnreachable)
            .note("the upstream closed the connection, or answered before the request was sent")),
        Err(Failed::Final(denial)) => Err(denial),
    }
}

enum Failed {
    /// Nothing was written: the request is as it was.
    Unsent(Box<Request<Upload>>),
    /// It was written and nothing came in answer before the connection ended. This is a copy, which may be sent.
    Unanswered(Box<Request<Upload>>),
    Final(Denial),
}

async fn exchange(
    mut link: Box<Link>,
    request: Request<Upload>,
    progress: Option<&Progress>,
    patience: Duration,
) -> Result<(Box<Link>, Response<Incoming>), Failed> {
    let began = Instant::now();
    // Only `drive` moves the answer here, so there is nobody who would have to wake us for it: with a waker hyper would
    // wake the task that is running already, once for each request. Unconstrained, because what is out of tokio's budget
    // counts on its waker.
    let mut answer = pin!(unconstrained(link.sender.try_send_request(request)));
    let result = poll_fn(|cx| {
        link.drive(cx);
        if let Poll::Ready(result) = answer.as_mut().poll(&mut Context::from_waker(noop_waker_ref())) {
            return Poll::Ready(Some(result));
        }
        // The upstream's time runs from the last byte it was given; while the client owes a part, the guard's does.
        let since = match progress.map(Progress::upstream_awaited_since) {
            None => began,
            Some(Some(since)) => since,
            Some(None) => return Poll::Pending,
        };
        ready!(link.timer.poll_until(since + patience, cx));
        Poll::Ready(None)
    })
    .await;
    match result {
        Some(Ok(response)) => Ok((link, response)),
        Some(Err(mut error)) => Err(match error.take_message() {
            Some(request) => Failed::Unsent(Box::new(request)),
            None => match link.conduct.take_copy().and_then(|copy| repeat::request(&copy)) {
                Some(copy) => Failed::Unanswered(Box::new(copy)),
                None => Failed::Final(denial_of(&error.into_error(), progress, link.conduct.was_asked())),
            },
        }),
        None => Err(Failed::Final(ReasonCode::UpstreamTooSlow.into())),
    }
}

/// `was_asked` says whether anything of the request was written: only then may it have been carried out (rule G17).
fn denial_of(error: &hyper::Error, progress: Option<&Progress>, was_asked: bool) -> Denial {
    match progress.and_then(Progress::failure) {
        Some(UploadFailure::Refused(reason)) => return crate::body::refused(reason),
        Some(UploadFailure::Broken) => {
            return Denial::new(ReasonCode::RequestMalformed).note("the request's body ended early");
        }
        None => {}
    }
    let reason = match was_asked {
        true if is_invalid(error) => ReasonCode::UpstreamResponseInvalid,
        true => ReasonCode::UpstreamBrokeOff,
        false => ReasonCode::UpstreamUnreachable,
    };
    Denial::new(reason).note(in_words(error))
}

/// Whether what the upstream sent is not valid HTTP, in the head or in the framing of the body.
fn is_invalid(error: &hyper::Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.is_parse()
        || io.is_some_and(|io| matches!(io.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}

/// The words of hyper and of the system, which name no address and quote nothing of what came.
fn in_words(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The body of an upstream's answer. It moves its connection on, and puts it away when the answer is complete.
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    link: Option<Box<Link>>,
    turn: Turn,
    permit: Permit,
    /// Held until the answer is sent: the client has a request in flight.
    _admission: Admission,
    progress: Option<Rc<Progress>>,
    since: Option<Instant>,
}

impl UpstreamBody {
    fn new(
        incoming: Incoming,
        link: Box<Link>,
        turn: Turn,
        (permit, admission): (Permit, Admission),
        progress: Option<Rc<Progress>>,
    ) -> Self {
        Self { incoming, link: Some(link), turn, permit, _admission: admission, progress, since: None }
    }

    /// The next piece, or why the answer ended early. Trailers of the upstream are not passed on: nobody has looked at these
    /// fields.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Denial>>> {
        let Some(link) = &mut self.link else { return Poll::Ready(None) };
        match link.poll_frame(&mut self.incoming, cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.since = None;
                match frame.into_data() {
                    Ok(data) => Poll::Ready(Some(Ok(data))),
                    Err(_) => Poll::Ready(None),
                }
            }
            Poll::Ready(Some(Err(error))) => {
                self.link = None;
                let denial = denial_of(&error, self.progress.as_deref(), true);
                Poll::Ready(Some(Err(self.permit.refused(denial))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                // While a request's body is still on its way, the upstream may rightly wait for it.
                let owed = self
                    .progress
                    .as_ref()
                    .is_some_and(|progress| progress.upstream_awaited_since().is_none());
                if owed {
                    self.since = None;
                    return Poll::Pending;
                }
                let since = *self.since.get_or_insert_with(Instant::now);
                ready!(link.timer.poll_until(since + self.turn.pool().upstream().response_timeout, cx));
                self.link = None;
                let denial = Denial::new(ReasonCode::UpstreamTooSlow).note("the answer came to a halt");
                Poll::Ready(Some(Err(self.permit.refused(denial))))
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        // One that is not complete is not usable, and is dropped there: the upstream sees that nobody listens.
        if let Some(link) = self.link.take() {
            let sent = self.progress.as_ref().is_none_or(|progress| progress.is_sent());
            self.turn.pool().put(link, sent);
        }
    }
}
