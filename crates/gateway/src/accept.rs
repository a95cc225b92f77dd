//! What a worker does: accepts connections on its sockets, speaks HTTP on each until it ends, and obeys.

use crate::connection::{Connection, Cut};
use crate::door::{self, Entered, Pause};
use crate::essential_tasks::EssentialTask;
use crate::guard::Guard;
use crate::guard::frames::{Refusals, Watched};
use crate::guard::limits::FramingLimits;
use crate::guard::stall::BoundedWrites;
use crate::handshake;
use crate::lifetime::{self, Http};
use crate::load::LocalLoad;
use crate::pipeline;
use crate::refusal;
use crate::settings::{Limits, ListenerSettings};
use crate::socket::{Progress, Socket};
use crate::worker::{Listener, Worker};
use countersign_model::client::ClientState;
use countersign_policy::Peer;
use countersign_policy::peer::check_certificate;
use http::Request;
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_local};

/// What a worker is told.
pub(crate) enum Command {
    /// Cut these connections and say how many.
    Cut(Cut, oneshot::Sender<usize>),
    /// Stop: no new connections, those in flight to their end or to the deadline.
    Stop,
}

/// How often what grew old is dropped.
const SWEEP: Duration = Duration::from_secs(5);

/// Runs until told to stop. Needs a local runtime around it.
pub(crate) async fn run(
    worker: Rc<Worker>,
    listeners: Vec<(TcpListener, ListenerSettings)>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let accepting: Vec<JoinHandle<()>> = listeners
        .into_iter()
        .map(|(socket, settings)| {
            let part = worker.settings.essential_tasks.begins(format!("the listener {}", settings.name));
            let listener = Rc::new(Listener::new(settings));
            spawn_local(accept_all(worker.clone(), listener, socket, part))
        })
        .collect();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Cut(cut, reply)) => {
                    let _ = reply.send(worker.register.cut(&cut)); // whoever asked may have gone
                }
                Some(Command::Stop) | None => break,
            },
            _ = sweep.tick() => {
                worker.pools.sweep();
                worker.shared.sweep();
            }
        }
    }
    accepting.iter().for_each(JoinHandle::abort);
    worker.stopping.set(true);
    worker.register.finish_all();
    let patience = worker.settings.snapshot.load().limits.shutdown;
    if tokio::time::timeout(patience, worker.register.empty()).await.is_err() {
        tracing::warn!("connections were dropped at the end of the shutdown time");
    }
}

async fn accept_all(worker: Rc<Worker>, listener: Rc<Listener>, socket: TcpListener, _part: EssentialTask) {
    let mut pause = Pause::default();
    loop {
        match socket.accept().await {
            Ok((stream, address)) => {
                pause.over();
                let Some(entered) = door::enter(&worker, &listener, address).await else { continue };
                let (strangers, id) = (entered.stranger.strangers().clone(), entered.stranger.id());
                let task =
                    spawn_local(serve_socket(worker.clone(), listener.clone(), stream, address, entered));
                strangers.serves(id, task.abort_handle());
            }
            Err(error) => {
                door::accept_failed(&listener, &error);
                if let Some(pause) = pause.after(&error) {
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

async fn serve_socket(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    stream: TcpStream,
    address: SocketAddr,
    entered: Entered,
) {
    let Entered { stranger, _held } = entered;
    let Ok(stream) = Socket::new(stream) else { return }; // gone already
    if listener.settings.certificate.is_none() {
        let peer = Peer::new(address, None);
        let connection = Connection::new(peer, None, None, false, false).of_stranger(stranger);
        return serve_stream(worker, listener, stream, connection).await;
    }
    let limits = worker.settings.snapshot.load().limits;
    let Some(accepted) = handshake::accept(stream, address, &worker, &listener, &limits).await else {
        return;
    };
    let issuer = accepted.peer.certificate().and_then(|certificate| worker.issuer_of(certificate));
    let connection = Connection::new(accepted.peer, issuer, accepted.sni, accepted.http2, true);
    let connection = connection.of_stranger(stranger);
    serve_stream(worker, listener, accepted.stream, connection).await;
}

/// Speaks HTTP on a stream until it ends.
pub(crate) async fn serve_stream<S>(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    stream: S,
    connection: Connection,
) where
    S: AsyncRead + AsyncWrite + Progress + Unpin + 'static,
{
    let limits = worker.settings.snapshot.load().limits;
    let connection = Rc::new(connection);
    note_certificate(&worker, &connection, &limits);
    let _registered = worker.register.add(&connection);
    if worker.stopping.get() {
        connection.finish();
    }
    let _active = listener.metrics.connection();
    let service = {
        let (worker, listener, connection) = (worker.clone(), listener.clone(), connection.clone());
        hyper::service::service_fn(move |request: Request<Incoming>| {
            // h2 may find a body malformed before the service is polled for the first time: from here on it is known that the
            // service will tell of that, or is dropped and will not.
            let open =
                (connection.http2 && !request.body().is_end_stream()).then(|| connection.bodies.clone());
            pipeline::serve(worker.clone(), listener.clone(), connection.clone(), request, open)
        })
    };
    if connection.http2 {
        let refusals = Rc::<Refusals>::default();
        let stream = BoundedWrites::new(stream, limits.times.write_progress);
        let stream = Watched::new(stream, refusals.clone());
        let http = hyper::server::conn::http2::Builder::new(Local)
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.concurrent_streams)
            .max_pending_accept_reset_streams(limits.stream_resets)
            .max_local_error_reset_streams(limits.stream_resets)
            // Twice ours: the service answers what is over our limit with a document, h2 by itself would not.
            .max_header_list_size(
                u32::try_from(limits.sizes.head_bytes.saturating_mul(2)).unwrap_or(u32::MAX),
            )
            .keep_alive_interval(limits.times.idle / 2)
            .keep_alive_timeout(limits.times.write_progress)
            .serve_connection(TokioIo::new(stream), service);
        let ended = {
            let unseen = || {
                for refused in refusals.take_unseen(&connection.bodies) {
                    refusal::tell_unseen(&worker, &listener, &connection, refused);
                }
            };
            let ended = lifetime::run(Box::pin(http), &connection, Some(&limits.times), &unseen).await;
            unseen();
            for refused in refusals.take() {
                refusal::tell_unseen(&worker, &listener, &connection, refused);
            }
            ended
        };
        listener.metrics.http2_ended(&ended);
    } else {
        let sizes = FramingLimits { http_1_0: listener.settings.http_1_0(), ..limits.sizes };
        let guard = Guard::new(stream, sizes, limits.times, connection.exchange.clone());
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .max_buf_size(limits.sizes.head_bytes.saturating_mul(2).max(64 * 1024))
            .header_read_timeout(None); // the guard's is tighter, and answers
        // hyper's own limit is 100 fields, for which it allocates nothing; any other costs an allocation a request.
        if limits.sizes.header_count > 100 {
            builder.max_headers(limits.sizes.header_count);
        }
        let http = builder.serve_connection(TokioIo::new(guard), service);
        // What went wrong on the wire was counted or recorded where the guard saw it.
        let _ = lifetime::run(Box::pin(http), &connection, None, || {}).await;
    }
}

/// Counts the connection for the client whose certificate it presented. For nobody when the certificate was revoked, or is
/// not that of an active client's credential any more: its requests are refused, and its holder may be a thief (rules G14
/// and G20).
fn note_certificate(worker: &Worker, connection: &Connection, limits: &Limits) {
    let Some(certificate) = connection.peer.certificate() else { return };
    let (registry, now) = (worker.settings.registry.as_ref(), worker.settings.clock.now());
    let Ok(registered) = check_certificate(certificate, None, registry, now) else { return };
    let client = &registered.client.client;
    if client.state != ClientState::Active {
        return;
    }
    let load = Rc::new(LocalLoad::new(worker.shared.loads.client(&client.id)));
    let known = worker.settings.known_of_client(limits);
    let limit = limits.connections_per_client;
    connection.note_certificate(&client.id, registered.credential, &load, limit, known);
}

/// Runs hyper's HTTP/2 streams on the worker's own thread.
#[derive(Clone, Copy)]
struct Local;

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        spawn_local(async move {
            future.await;
        });
    }
}

impl<I, S, B> Http for hyper::server::conn::http1::Connection<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn poll_http(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Future::poll(self, cx)
    }

    fn begin_end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, B> Http for hyper::server::conn::http2::Connection<I, S, Local>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn poll_http(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Future::poll(self, cx)
    }

    fn begin_end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
