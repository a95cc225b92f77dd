//! Listeners, TLS, the request pipeline and forwarding (ring R4): the data path.
//!
//! It can mint nothing: it is handed verified views (trust anchors, revocations, token keys) and never a signer, and it
//! imports neither the authorization server nor the certificate authority (docs/architecture.md, invariant 2). What
//! answers the reserved paths comes in through [`local::LocalService`].
//!
//! Each worker is one thread with a current-thread runtime, and has its own sockets, upstream connections, verified
//! tokens and register of connections. Workers share only what is read without waiting.
//!
//! Read in this order: `pipeline` (the way of a request, on one screen), [`settings`], `worker` and `accept`, `tls` and
//! `handshake`, [`guard`], `intake`, `admission`, `forward`, `refusal`, `connection` and `lifetime`.

mod call;
mod pipeline;

mod accept;
pub mod gateway;
pub mod settings;
mod worker;

mod addresses;
mod alert;
mod cpu;
pub mod descriptors;
mod door;
mod failed_handshakes;
mod handshake;
mod no_request;
mod strangers;
mod tls;

mod admission;
mod forward;
pub mod guard;
mod intake;
mod interaction_id;
mod load;
pub mod local;
mod log;
mod refusal;
pub mod resolve;
mod socket;
mod token_cache;

pub mod body;
mod response_body;

mod answers;
mod connection;
pub mod essential_tasks;
mod forwarded;
mod lifetime;
mod observe;
mod patience;
mod register;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

pub use connection::Cut;
pub use descriptors::Descriptors;
pub use gateway::{Gateway, Running, StartError};
pub use local::{LocalBody, LocalFuture, LocalRequest, LocalService};
pub use log::log_denial;
pub use settings::{
    ClientCertificateRequest, Limits, ListenerSettings, LocalPaths, Networks, Settings, Snapshot, Upstream,
};
