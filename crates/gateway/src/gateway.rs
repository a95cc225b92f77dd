//! Starting and stopping: sockets are bound before anything runs, so that a busy port is an error with its address.

use crate::accept::{self, Command};
use crate::connection::Cut;
use crate::essential_tasks::EssentialTasks;
use crate::observe;
use crate::settings::{ListenerSettings, Settings};
use crate::worker::{Shared, Worker};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};

/// The data path.
pub struct Gateway;

/// A running data path. Dropping it stops it without waiting.
pub struct Running {
    essential_tasks: EssentialTasks,
    workers: Vec<RunningWorker>,
    addresses: Vec<(String, SocketAddr)>,
}

struct RunningWorker {
    commands: mpsc::UnboundedSender<Command>,
    stopped: Option<oneshot::Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why the data path does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on; mostly because it is in use.
    #[error("cannot listen on {address} (listener `{listener}`)")]
    Bind {
        /// The listener.
        listener: String,
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The operating system gives no thread or no event queue.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
}

impl Gateway {
    /// Binds every listener and starts the workers. A metrics recorder is to be installed before: the workers take
    /// their handles once.
    ///
    /// # Errors
    /// When an address cannot be listened on, or a worker cannot be started.
    pub fn start(settings: Settings) -> Result<Running, StartError> {
        let workers = settings.workers.max(1);
        let settings = Arc::new(settings);
        let mut sockets: Vec<Vec<(TcpListener, ListenerSettings)>> =
            (0..workers).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        for listener in &settings.listeners {
            let bound = bind(listener.address, workers).map_err(|source| StartError::Bind {
                listener: listener.name.clone(),
                address: listener.address,
                source,
            })?;
            if let Some(address) = bound.first().and_then(|socket| socket.local_addr().ok()) {
                addresses.push((listener.name.clone(), address));
            }
            for (of_worker, socket) in sockets.iter_mut().zip(bound) {
                of_worker.push((socket, listener.clone()));
            }
        }
        observe::descriptors("connections", settings.descriptors.callers);
        observe::descriptors("upstreams", settings.descriptors.upstreams);
        let shared = Arc::new(Shared::new(settings.resolver.clone()));
        let workers = sockets
            .into_iter()
            .enumerate()
            .map(|(number, sockets)| start_worker(number, settings.clone(), shared.clone(), sockets))
            .collect::<Result<_, _>>()
            .map_err(StartError::Worker)?;
        Ok(Running { essential_tasks: settings.essential_tasks.clone(), workers, addresses })
    }
}

/// One socket for each worker on the same address.
fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    // SO_REUSEPORT lets a second process take a share of our port without an error. So somebody else's socket is looked
    // for first, without it.
    if address.port() != 0 {
        socket(address)?.bind(&address.into())?;
    }
    let mut address = address;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        let socket = TcpListener::from(socket);
        address = socket.local_addr()?; // port 0: the first one chooses
        sockets.push(socket);
    }
    Ok(sockets)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?; // 0.0.0.0 and [::] are two listeners
    }
    Ok(socket)
}

fn start_worker(
    number: usize,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    sockets: Sockets<TcpListener>,
) -> io::Result<RunningWorker> {
    let (commands, inbox) = mpsc::unbounded_channel();
    let (done, stopped) = oneshot::channel();
    let (begun, begins) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("gateway-{number}")).spawn(move || {
        // A local runtime lives and dies on its own thread, so whether there is one is known only here.
        let (runtime, sockets) = match local_runtime(sockets) {
            Ok(made) => made,
            Err(error) => return drop(begun.send(Err(error))),
        };
        let _task = settings.essential_tasks.begins(format!("worker {number}"));
        let _ = begun.send(Ok(())); // the receiver waits for it
        let worker = Rc::new(Worker::new(settings, shared));
        runtime.block_on(accept::run(worker, sockets, inbox));
        drop(runtime);
        let _ = done.send(()); // nobody may be waiting
    })?;
    begins.recv().map_err(|_| io::Error::other("the thread ended at once"))??;
    Ok(RunningWorker { commands, stopped: Some(stopped), thread: Some(thread) })
}

type Sockets<S> = Vec<(S, ListenerSettings)>;

/// A runtime whose tasks never leave its thread, and the sockets as it listens on them.
fn local_runtime(
    sockets: Sockets<TcpListener>,
) -> io::Result<(LocalRuntime, Sockets<tokio::net::TcpListener>)> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let inside = runtime.enter();
    let listening = |(socket, settings)| Ok((tokio::net::TcpListener::from_std(socket)?, settings));
    let sockets = sockets.into_iter().map(listening).collect::<io::Result<_>>()?;
    drop(inside);
    Ok((runtime, sockets))
}

impl Running {
    /// Where a listener listens; of use with port 0.
    pub fn local_addr(&self, listener: &str) -> Option<SocketAddr> {
        self.addresses.iter().find(|(name, _)| name == listener).map(|(_, address)| *address)
    }

    /// Cuts connections on all workers and says how many. Their next request is answered with 401; within a second
    /// their tasks are dropped, streams included (rule G14).
    pub async fn cut(&self, cut: &Cut) -> usize {
        let replies: Vec<_> = self
            .workers
            .iter()
            .filter_map(|worker| {
                let (reply, replied) = oneshot::channel();
                worker.commands.send(Command::Cut(cut.clone(), reply)).ok().map(|()| replied)
            })
            .collect();
        let mut count = 0;
        for replied in replies {
            count += replied.await.unwrap_or(0);
        }
        count
    }

    /// Stops: no new connections, requests in flight to their end, within the time the limits give.
    pub async fn shutdown(mut self) {
        self.essential_tasks.stop();
        for worker in &self.workers {
            let _ = worker.commands.send(Command::Stop); // one that has ended needs no telling
        }
        for worker in &mut self.workers {
            if let Some(stopped) = worker.stopped.take() {
                let _ = stopped.await; // an error says that it has ended, which is what we wait for
            }
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join(); // at its end already
            }
        }
    }
}
