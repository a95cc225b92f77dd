//! From an accepted socket to a peer (rule T11): one deadline over the whole handshake, a cap on connections per address
//! before any of it, and a record of what failed and why. What it cost is measured, and counts against the network of a
//! peer that failed (rule T13).

use crate::addresses::source_of;
use crate::alert;
use crate::cpu::measured;
use crate::no_request;
use crate::settings::Limits;
use crate::socket::{HandshakeTooLarge, Socket};
use crate::tls::{self, Observed, Refused};
use crate::worker::{Listener, Worker};
use countersign_model::ReasonCode;
use countersign_model::audit::{AuditAction, CertificateRef, Facts};
use countersign_pki::{OutdatedCertificate, PeerCertificate};
use countersign_policy::Peer;
use metrics::counter;
use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// A connection with its handshake done.
pub(crate) struct Accepted {
    pub(crate) stream: TlsStream<Socket>,
    pub(crate) peer: Peer,
    pub(crate) sni: Option<String>,
    pub(crate) http2: bool,
}

/// Does the handshake; `None` when it failed, which is then counted and recorded.
pub(crate) async fn accept(
    mut stream: Socket,
    address: SocketAddr,
    worker: &Worker,
    listener: &Listener,
    limits: &Limits,
) -> Option<Accepted> {
    let acceptor = listener.acceptor(worker)?;
    stream.handshake_begins();
    // In a box, which goes with the handshake: what is in the connection's own future stays for as long as it is open.
    let handshake = Box::pin(tls::observe(timeout(limits.handshake, acceptor.accept(stream))));
    let bill = Bill { cost: Cell::default(), address, worker, listener, limits, succeeded: false };
    let (result, observed) = measured(handshake, &bill.cost).await;
    let failure = match result {
        Ok(Ok(mut stream)) => {
            bill.succeeded();
            let (socket, tls) = stream.get_mut();
            socket.handshake_done();
            let version = match tls.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
                _ => "1.2",
            };
            listener.metrics.handshake_done(version);
            let http2 = tls.alpn_protocol() == Some(b"h2");
            // Complete: the peer has proved that it holds the key of the certificate that the verifier accepted.
            let peer = Peer::new(address, observed.accepted);
            return Some(Accepted { stream, peer, sni: observed.sni, http2 });
        }
        Ok(Err(error)) => Failure::of(&error, &observed),
        Err(_) => {
            Failure { result: "timeout", reason: ReasonCode::RequestTooSlow, detail: "took too long".into() }
        }
    };
    // To tell of it costs a signature at times, which is paid for too.
    measured(async { failure.report(address, observed, worker, listener) }, &bill.cost).await;
    None
}

/// What a handshake costs, until it is paid: dropped, it is charged.
struct Bill<'a> {
    cost: Cell<Duration>,
    address: SocketAddr,
    worker: &'a Worker,
    listener: &'a Listener,
    limits: &'a Limits,
    succeeded: bool,
}

impl Bill<'_> {
    /// The peer has done its handshake, and owes nothing.
    fn succeeded(mut self) {
        self.succeeded = true;
    }
}

/// Rule T13: a peer that fails pays for what that cost, together with its network. So does one whose connection is closed
/// for a newcomer in the middle of its handshake: else a flood would pay nothing for what it makes us do. Nobody pays for
/// others behind a balancer.
impl Drop for Bill<'_> {
    fn drop(&mut self) {
        let Self { address, worker, listener, limits, .. } = self;
        let cpu = self.cost.get();
        listener.metrics.handshake_took(cpu, self.succeeded);
        if self.succeeded || worker.settings.snapshot.load().balancers.contains(address.ip()) {
            return;
        }
        let failed = &worker.shared.failed_handshakes;
        if let Some(wait) = failed.charge(address.ip(), cpu, &limits.failed_handshakes()) {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                "countersign.listener" = &*listener.name,
                "client.address" = %address.ip().to_canonical(),
                wait_ms,
                "network {} used up its budget for failed handshakes; its connections are refused for {wait_ms} ms",
                network_of(address.ip())
            );
        }
    }
}

/// The network whose budget an address uses, as operators write it.
pub(crate) fn network_of(address: IpAddr) -> String {
    match source_of(address) {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

/// Why a handshake failed.
struct Failure {
    result: &'static str,
    reason: ReasonCode,
    detail: String,
}

impl Failure {
    fn of(error: &io::Error, observed: &Observed) -> Self {
        let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        let too_large = error.get_ref().is_some_and(|error| error.is::<HandshakeTooLarge>());
        let (result, reason) = match (&observed.refused, tls) {
            (Some(refused), _) => ("client_certificate_refused", refused.reason),
            (None, Some(rustls::Error::NoCertificatesPresented)) => {
                ("client_certificate_missing", ReasonCode::CertificateMissing)
            }
            (None, Some(rustls::Error::AlertReceived(received))) => {
                ("alert_received", alert::reason(*received))
            }
            (None, Some(rustls::Error::PeerIncompatible(_))) => ("incompatible", ReasonCode::TlsIncompatible),
            (None, Some(_)) => ("failed", ReasonCode::TlsInvalid),
            (None, None) if too_large => ("too_large", ReasonCode::TlsInvalid),
            (None, None) => ("closed", ReasonCode::TlsHandshakeAbandoned),
        };
        let detail = match tls {
            Some(rustls::Error::AlertReceived(received)) => alert::name(*received),
            Some(tls) => tls.to_string(),
            None if too_large => error.to_string(),
            None => error.kind().to_string(),
        };
        Self { result, reason, detail }
    }

    fn report(self, address: SocketAddr, observed: Observed, worker: &Worker, listener: &Listener) {
        let name = listener.name.clone();
        counter!("countersign_tls_handshakes_total",
            "listener" => name.to_string(), "version" => "none", "result" => self.result)
        .increment(1);
        // Health checks and scanners connect and go: counted, and no more. What said who it wants is recorded.
        if self.result == "closed" && observed.sni.is_none() {
            return;
        }
        if observed.refused.is_some() {
            counter!("countersign_tls_client_verify_failures_total",
                "listener" => name.to_string(), "reason" => self.reason.as_str())
            .increment(1);
        }
        let Observed { sni, accepted, refused } = observed;
        // Rule T11: the offered one, also where it was found good and the peer then did not prove that it holds its key.
        // Certificates are public: that is what a thief has who has nothing else.
        let thumbprint =
            refused.as_ref().map(Refused::thumbprint).or(accepted.as_deref().map(|it| *it.thumbprint()));
        let facts = Facts {
            source: Some(address.ip()),
            sni,
            certificate: thumbprint.map(|thumbprint| CertificateRef {
                issuer: None,
                serial: None,
                thumbprint: Some(thumbprint),
            }),
            detail: Some(self.detail),
            ..Facts::default()
        };
        no_request::record(worker, listener, AuditAction::HandshakeRefused, self.reason, facts, |facts| {
            let outdated = refused.and_then(|refused| refused.outdated(worker.settings.clock.now()));
            let certificate = outdated.as_ref().map(OutdatedCertificate::content);
            if let Some(certificate) = certificate.or(accepted.as_deref()) {
                add_claim(facts, certificate, worker);
            }
        });
    }
}

/// Adds to the record whose certificate it was, of which an issuer's signature was verified. Who called is not known by that:
/// the handshake ended before the peer had proved that it holds the key.
fn add_claim(facts: &mut Facts, certificate: &PeerCertificate, worker: &Worker) {
    facts.certificate = Some(CertificateRef {
        issuer: worker.issuer_of(certificate),
        serial: Some(*certificate.serial()),
        thumbprint: Some(*certificate.thumbprint()),
    });
    let Some(client) = worker.settings.registry.client_of_certificate(certificate) else { return };
    let detail = facts.detail.get_or_insert_default();
    detail.push_str(&format!(
        "; claims to be {client}: the certificate has its name, and nobody proved to hold the key"
    ));
    facts.client = Some(client);
}
