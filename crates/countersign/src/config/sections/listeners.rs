//! `[[listeners]]`: where we listen, with which certificate, and what is served there.

use super::admin::Admin;
use super::unique_names;
use crate::config::certificate_files;
use crate::config::mistake::{Mistake, Mistakes};
use crate::config::reader::{At, Given, Value, section};
use crate::config::secret_ref::SecretRef;
use crate::config::surroundings::{Present, Surroundings};
use crate::config::values::{FileRef, HostName, Name, Origin, read_word, words};
use crate::words::{error_chain, list};
use countersign_gateway::settings::ClientCertificateRequest;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::DeValue;

section! {
    /// An address with what is served there. `certificate` and `hosts` may change while the server runs; a change of anything
    /// else needs a restart.
    ListenerSection = "[[listeners]]" {
        /// Its name, in logs and metrics.
        name: Name = Required;
        /// Where it listens. `0.0.0.0` takes IPv4 alone and `[::]` IPv6 alone: a server for both has a listener for each.
        address: SocketAddr = Required;
        /// The server's certificate. Without one the listener speaks plain HTTP, and then may serve `pki` only.
        certificate: CertificateSection = Optional;
        /// Whether TLS asks for a client certificate; what is needed is decided by each route. What a client sends beside its own certificate is ignored. Default: `off`.
        client_certificate: ClientCertificateRequest = Optional;
        /// What is served: `routes` with their metadata and problem pages, `oauth2` (the authorization server), `pki` (CRLs and CA certificates).
        serve: Vec<At<Serve>> = Required;
        /// The host names that are answered; a request for another gets 421. Default: the names of `certificate.ca`, else any.
        hosts: Vec<At<HostName>> = Optional;
        /// How others reach a plain `pki` listener: it is written into every certificate, so a start with another one than before is refused. Default: `http://` and `address`.
        url: Origin = Optional;
    }
}

section! {
    /// The server's certificate: `{ ca = [names] }`, or `{ chain = "file:…", key = "file:…" }`.
    CertificateSection = "certificate = { … }" {
        /// Host names and addresses for which our own CA issues the certificate and renews it.
        ca: Vec<At<HostName>> = Optional;
        /// A PEM file with the certificate and its intermediates. Read again on reload and every minute, with its key.
        chain: FileRef = Optional;
        /// The private key of `chain`, in PEM, readable by its owner only.
        key: KeyRef = Optional;
    }
}

/// Where a private key is: everywhere that a secret may be, but for the environment ([`existing_key`]).
#[derive(Debug, Clone)]
pub(crate) struct KeyRef(SecretRef);

impl Value for KeyRef {
    fn kind() -> String {
        "`file:PATH` or `cred:NAME`".to_owned()
    }
    fn read(value: &Spanned<DeValue<'_>>, out: &mut Mistakes) -> Option<Self> {
        <SecretRef as Value>::read(value, out).map(Self)
    }
}

impl Value for ClientCertificateRequest {
    fn kind() -> String {
        "`off`, `optional`, `required`".to_owned()
    }
    fn read(value: &Spanned<DeValue<'_>>, out: &mut Mistakes) -> Option<Self> {
        let words = [("off", Self::Off), ("optional", Self::Optional), ("required", Self::Required)];
        read_word(value, &words, out)
    }
}

words! {
    /// What a listener serves.
    Serve {
        /// The routes with their protected resource metadata and the problem pages.
        Routes = "routes",
        /// The authorization server with its metadata.
        Oauth2 = "oauth2",
        /// CRLs and CA certificates.
        Pki = "pki",
    }
}

/// An address with what is served there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name.
    pub name: Name,
    /// Where it listens.
    pub address: SocketAddr,
    /// TLS; `None` on plain `pki` listeners only.
    pub tls: Option<Tls>,
    /// What is served.
    pub serve: BTreeSet<Serve>,
    /// The host names that are answered, where they are written.
    pub hosts: Option<Vec<String>>,
    /// How others reach it, where its address does not tell.
    pub url: Option<Origin>,
}

impl Listener {
    /// The host names that are answered; empty: any.
    pub fn answered_hosts(&self) -> &[String] {
        match (&self.hosts, self.tls.as_ref().map(|tls| &tls.certificate)) {
            (Some(hosts), _) => hosts,
            (None, Some(CertificateSource::Issued(names))) => names,
            (None, _) => &[],
        }
    }

    /// Whether it serves `what`, and TLS asks the caller for a certificate.
    pub fn asks_for_certificate(&self, what: Serve) -> bool {
        let asks = |tls: &Tls| tls.client_certificate != ClientCertificateRequest::Off;
        self.serve.contains(&what) && self.tls.as_ref().is_some_and(asks)
    }

    /// The URL below which a plain `pki` listener is reached, without a slash at the end.
    pub fn public_url(&self) -> String {
        self.url.as_ref().map_or_else(|| format!("http://{}", self.address), |url| url.as_str().to_owned())
    }
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Where the server's certificate comes from.
    pub certificate: CertificateSource,
    /// What is asked of the caller.
    pub client_certificate: ClientCertificateRequest,
}

/// Where a server certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// Our own CA issues and renews it for these names.
    Issued(Vec<String>),
    /// The operator brings it.
    Files {
        /// The certificate with its intermediates, PEM.
        chain: PathBuf,
        /// Its private key.
        key: SecretRef,
    },
}

/// Checks all listeners.
pub(crate) fn check(
    sections: &Given<Vec<At<ListenerSection>>>,
    admin: Option<&Admin>,
    around: &Surroundings<'_>,
    out: &mut Mistakes,
) -> Vec<Listener> {
    let Some(all) = sections.get() else { return Vec::new() };
    unique_names("listener", all.value.iter().map(|section| &section.value.name), out);
    refuse_same_addresses(&all.value, admin, out);
    let listeners =
        all.value.iter().filter_map(|section| section.value.check(around, out)).collect::<Vec<_>>();
    // Every certificate carries the address of its CRL (rule P3): somebody must answer there. Not told again where a
    // broken listener may be the one.
    let plain_pki = listeners.iter().filter(|listener| listener.tls.is_none()).count();
    if listeners.len() == all.value.len() && plain_pki != 1 {
        let message =
            if plain_pki == 0 { "no listener serves `pki`" } else { "several plain listeners serve `pki`" };
        let place = all.value.last().map_or(all.span.clone(), |last| last.span.clone());
        let mistake =
            Mistake::new(place, message, "certificates carry the address of exactly one for their CRLs");
        out.add(mistake.help("have one [[listeners]] section with serve = [\"pki\"] and no certificate"));
    }
    listeners
}

fn refuse_same_addresses(sections: &[At<ListenerSection>], admin: Option<&Admin>, out: &mut Mistakes) {
    let mut taken: Vec<(SocketAddr, String)> =
        admin.map(|admin| (admin.listen, "the admin API".to_owned())).into_iter().collect();
    for section in sections {
        let Some(address) = section.value.address.get() else { continue };
        // Port 0 asks the system for any free port; two of them are two ports.
        if address.value.port() == 0 {
            continue;
        }
        let by =
            section.value.name.value().map_or("a listener".to_owned(), |name| format!("listener `{name}`"));
        match taken.iter().find(|(other, _)| *other == address.value) {
            Some((_, other)) => {
                let message = format!("two listeners have the address {}", address.value);
                out.add(Mistake::new(address.entry.clone(), message, format!("{other} has it already")));
            }
            None => taken.push((address.value, by)),
        }
    }
}

impl ListenerSection {
    fn check(&self, around: &Surroundings<'_>, out: &mut Mistakes) -> Option<Listener> {
        let serve = self.check_serve(out);
        let certificate = match &self.certificate {
            Given::Is(certificate) => certificate.value.check(certificate, around, out).map(Some),
            Given::Absent => Some(None),
            Given::Broken => None,
        };
        if self.certificate.is_absent() {
            self.check_plain(serve.as_ref(), out)?;
        } else if let Some(url) = self.url.get() {
            let mistake =
                Mistake::new(url.entry.clone(), "`url` on a listener with TLS", "it has no effect here");
            out.add(mistake.help("it is for the plain listener that serves `pki`; clients see `issuer`"));
            return None;
        }
        let client_certificate = match &self.client_certificate {
            Given::Is(at) => at.value,
            Given::Absent => ClientCertificateRequest::Off,
            Given::Broken => return None,
        };
        let certificate = certificate?;
        Some(Listener {
            hosts: self.hosts.value().map(|hosts| hosts.iter().map(|host| host.value.0.clone()).collect()),
            name: self.name.value()?.clone(),
            address: *self.address.value()?,
            tls: certificate.map(|certificate| Tls { certificate, client_certificate }),
            serve: serve?,
            url: self.url.value().cloned(),
        })
    }

    fn check_serve(&self, out: &mut Mistakes) -> Option<BTreeSet<Serve>> {
        let serve = self.serve.get()?;
        if serve.value.is_empty() {
            out.add(Mistake::new(serve.entry.clone(), "the listener serves nothing", "an empty list"));
            return None;
        }
        let mut served = BTreeSet::new();
        for at in &serve.value {
            if !served.insert(at.value) {
                let message = format!("`{}` is served twice", at.value.as_str());
                out.add(Mistake::new(at.span.clone(), message, "the second of the same"));
            }
        }
        Some(served)
    }

    /// Rule T1: without TLS only signed public documents.
    fn check_plain(&self, serve: Option<&BTreeSet<Serve>>, out: &mut Mistakes) -> Option<()> {
        let (serve, place) = (serve?, self.serve.get()?);
        let others: Vec<&str> =
            serve.iter().filter(|what| **what != Serve::Pki).map(|what| what.as_str()).collect();
        if !others.is_empty() {
            let mistake = Mistake::new(
                place.entry.clone(),
                format!("a listener without TLS serves {}", list(others)),
                "without `certificate` a listener may serve `pki` only: signed public documents",
            );
            out.add(mistake.help("add certificate = { ca = [\"host name\"] }, or serve `pki` alone"));
            return None;
        }
        if let Some(ask) = self.client_certificate.get() {
            let message = "client certificates on a listener without TLS";
            out.add(Mistake::new(ask.entry.clone(), message, "only TLS can ask for a certificate"));
            return None;
        }
        let address = self.address.get()?;
        if address.value.ip().is_unspecified() && self.url.is_absent() {
            let mistake = Mistake::new(
                address.entry.clone(),
                "nobody can tell how this listener is reached from elsewhere",
                "its address stands in every certificate, and this one is no address to connect to",
            );
            out.add(mistake.help("add url = \"http://host name\""));
            return None;
        }
        match self.url.get() {
            // RFC 5280 section 8: an https URI in a CRL distribution point asks for a certificate to check a certificate.
            Some(url) if url.value.scheme() != "http" => {
                let reason = "CRLs are fetched over plain http (RFC 5280 section 8)";
                out.add(Mistake::new(url.entry.clone(), "`url` of a plain listener is https", reason));
                None
            }
            _ => Some(()),
        }
    }
}

impl CertificateSection {
    fn check(
        &self,
        place: &At<CertificateSection>,
        around: &Surroundings<'_>,
        out: &mut Mistakes,
    ) -> Option<CertificateSource> {
        let shape = "it is { ca = [names] }, or { chain = \"file:…\", key = \"file:…\" }";
        match (&self.ca, &self.chain, &self.key) {
            (Given::Is(names), Given::Absent, Given::Absent) => {
                if names.value.is_empty() {
                    out.add(Mistake::new(names.entry.clone(), "a certificate for no name", "an empty list"));
                    return None;
                }
                Some(CertificateSource::Issued(names.value.iter().map(|name| name.value.0.clone()).collect()))
            }
            (Given::Absent, Given::Is(chain), Given::Is(key)) => {
                let chain = existing_file(chain, around, out);
                let key = existing_key(key, around, out);
                let (chain, key) = (chain?, key?);
                // A start and a reload read the files where they load them; other commands have no use for them.
                if let Some(installation) = &around.installation {
                    check_files(place, &chain, &key, installation, out)?;
                }
                Some(CertificateSource::Files { chain, key })
            }
            (Given::Broken, ..) | (_, Given::Broken, _) | (.., Given::Broken) => None,
            _ => {
                out.add(Mistake::new(
                    place.entry.clone(),
                    "a certificate from nowhere or from two places",
                    shape,
                ));
                None
            }
        }
    }
}

/// Rule T12, before anything runs: what a reload would refuse is a mistake.
fn check_files(
    place: &At<CertificateSection>,
    chain: &Path,
    key: &SecretRef,
    installation: &Present<'_>,
    out: &mut Mistakes,
) -> Option<()> {
    let found = |message: &str, reason: String| Mistake::new(place.entry.clone(), message, reason);
    let certified = match certificate_files::read(chain, key) {
        Ok(certified) => certified,
        Err(error) => {
            out.add(found("the server certificate cannot be used", error_chain(&error)));
            return None;
        }
    };
    if let Err(error) = certificate_files::in_time(&certified, chain, installation.now) {
        let mistake = found("the server certificate is not valid now", error.to_string());
        out.add(mistake.help("a reload refuses it; a start serves it, and is not ready"));
    } else if let Some(end) = certificate_files::expires_soon(&certified, installation.now) {
        let mistake = found("the server certificate expires soon", format!("it expires at {end}"));
        out.warn(mistake.help("replace the files before; they are read again every minute"));
    }
    Some(())
}

fn existing_file(file: &At<FileRef>, around: &Surroundings<'_>, out: &mut Mistakes) -> Option<PathBuf> {
    let path = around.base.join(&file.value.0);
    if path.is_file() {
        return Some(path);
    }
    out.add(Mistake::new(
        file.span.clone(),
        "the file is not there",
        format!("{} is no file", path.display()),
    ));
    None
}

fn existing_key(secret: &At<KeyRef>, around: &Surroundings<'_>, out: &mut Mistakes) -> Option<SecretRef> {
    let refused = |reason: String| Mistake::new(secret.span.clone(), "the private key is not there", reason);
    match secret.value.0.clone().relative_to(&around.base).path(around.environment) {
        Ok(Some(path)) if path.is_file() => Some(SecretRef::File(path)),
        Ok(Some(path)) => {
            out.add(refused(format!("{} is no file", path.display())));
            None
        }
        Ok(None) => {
            let reason = "the environment of a process is read by others too easily";
            let mistake =
                Mistake::new(secret.span.clone(), "a private key in an environment variable", reason);
            out.add(mistake.help("use file:PATH or cred:NAME"));
            None
        }
        Err(error) => {
            out.add(refused(error.to_string()));
            None
        }
    }
}
