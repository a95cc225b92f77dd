//! `countersign cert`: certificates of the ledger.

use super::admin_client::{AdminClient, AdminTarget, segment};
use super::cert_request;
use super::console::{Console, fields};
use super::duration::{duration, seconds};
use super::handover::{for_partners, quoted};
use super::human::{counted, grouped, relative, relative_and_date, standing};
use super::listing::Listing;
use crate::failure::{Exit, Failure};
use crate::setup::directory::write_new;
use crate::system::SystemClock;
use crate::words::{printable, shown};
use clap::Subcommand;
use countersign_api::admin::shapes::{
    CertificateIssued, CertificateList, CertificateStateName, CertificateView, ClientView, NewCertificate,
    Revoke, Revoked,
};
use countersign_model::certificate::{Profile, RevocationReason};
use countersign_model::{ClientId, Clock, SerialPattern, Thumbprint, Timestamp};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key and a signing request here, on the partner's machine; needs no server
    Request(cert_request::Request),
    /// Sign a request for a client
    Sign {
        /// The signing request, PEM or DER
        csr: PathBuf,
        /// For whom
        #[arg(long)]
        client: ClientId,
        /// The profile that it is built from
        #[arg(long, default_value = "client")]
        profile: Profile,
        /// Where to write the certificate with its chain; default: beside the request, with .crt; `-` prints it.
        /// With --json nothing is written unless this is given
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Sign also when another client has a certificate for the same key: whoever holds it can then be both clients
        #[arg(long)]
        allow_shared_key: bool,
        #[command(flatten)]
        target: AdminTarget,
    },
    /// List certificates, the newest 1000
    List {
        /// List all certificates, not only the newest 1000
        #[arg(long)]
        all: bool,
        /// Only this client's
        #[arg(long)]
        client: Option<ClientId>,
        /// Only those in this state: valid, expired, revoked, pending or abandoned
        #[arg(long, value_parser = state_of)]
        state: Option<CertificateStateName>,
        /// Only valid ones that expire within this time, the soonest first
        #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "30d")]
        #[arg(value_parser = duration, conflicts_with = "state")]
        expiring: Option<Duration>,
        #[command(flatten)]
        target: AdminTarget,
    },
    /// Show a certificate
    Show {
        /// Its serial number, at least eight digits of it, or its thumbprint
        #[arg(allow_hyphen_values = true, value_parser = certificate_of)]
        certificate: String,
        #[command(flatten)]
        target: AdminTarget,
    },
    /// Revoke a certificate, or all of a client: refused from the next request on, and its tokens end
    Revoke {
        /// Its serial number, at least eight digits of it, or its thumbprint
        #[arg(required_unless_present = "client", conflicts_with = "client")]
        #[arg(allow_hyphen_values = true, value_parser = certificate_of)]
        certificate: Option<String>,
        /// All certificates of this client
        #[arg(long)]
        client: Option<ClientId>,
        /// Why (RFC 5280): unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn
        #[arg(long)]
        reason: RevocationReason,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        target: AdminTarget,
    },
}

impl Command {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        match self {
            Self::Request(request) => request.run(console),
            Self::Sign { csr, client, profile, out, allow_shared_key, target } => {
                // What is asked for; the request itself is read when it is known that the answer can be written.
                let new =
                    NewCertificate { client, csr: String::new(), profile: Some(profile), allow_shared_key };
                sign(&csr, new, out, &target, console)
            }
            Self::List { all, client, state, expiring, target } => {
                let before = expiring.map(|within| SystemClock.now().plus_s(seconds(within)));
                list(&AdminClient::new(&target)?, &list_path(client.as_ref(), state, before), all, console)
            }
            Self::Show { certificate, target } => {
                let view = find(&AdminClient::new(&target)?, &certificate)?;
                console.answer(&view, || view_text(&view, SystemClock.now()))
            }
            Self::Revoke { certificate, client, reason, yes, target } => {
                let admin = AdminClient::new(&target)?;
                match (certificate, client) {
                    (Some(certificate), _) => revoke_one(&admin, &certificate, reason, yes, console),
                    (None, Some(client)) => revoke_all(&admin, &client, reason, yes, console),
                    (None, None) => Err(Failure::new(Exit::Usage, "nothing to revoke was named")
                        .action("name a certificate, or with --client all of a client")),
                }
            }
        }
    }
}

/// What names a certificate. A thumbprint may begin with the dash of base64url; what else begins with one is an option that
/// does not exist. A few digits that cannot be a whole serial number are not asked for.
fn certificate_of(text: &str) -> Result<String, String> {
    if text.starts_with('-') && text.parse::<Thumbprint>().is_err() {
        return Err("neither an option of this command nor a thumbprint".to_owned());
    }
    let few = |pattern: &SerialPattern| !pattern.is_long_enough() && pattern.whole().is_none();
    if text.parse::<SerialPattern>().is_ok_and(|pattern| few(&pattern)) {
        let least = SerialPattern::MIN_DIGITS;
        return Err(format!(
            "at least {least} digits of the serial number are needed: a mistake in fewer leads to another certificate"
        ));
    }
    Ok(text.to_owned())
}

fn state_of(text: &str) -> Result<CertificateStateName, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "valid, expired, revoked, pending or abandoned".to_owned())
}

/// The certificate that a person means: by serial number, eight digits of it or more, the short form of our tables, or
/// thumbprint.
fn find(admin: &AdminClient, certificate: &str) -> Result<CertificateView, Failure> {
    admin.get(&path(certificate, "")?)
}

fn path(certificate: &str, rest: &str) -> Result<String, Failure> {
    // As openssl prints a thumbprint: with colons. As our tables print a serial number: with an ellipsis.
    let plain = certificate.replace(':', "").replace('…', "..");
    Ok(format!("/certificates/{}{rest}", segment(&plain)?))
}

fn list_path(
    client: Option<&ClientId>,
    state: Option<CertificateStateName>,
    expires_before: Option<Timestamp>,
) -> String {
    let client = client.map(|client| format!("client={client}"));
    let state = state.map(|state| format!("state={}", state.as_str()));
    let expires = expires_before.map(|moment| format!("expires_before={moment}"));
    let query: Vec<String> = client.into_iter().chain(state).chain(expires).collect();
    if query.is_empty() { "/certificates".to_owned() } else { format!("/certificates?{}", query.join("&")) }
}

fn sign(
    csr: &Path,
    new: NewCertificate,
    out: Option<PathBuf>,
    target: &AdminTarget,
    console: Console,
) -> Result<(), Failure> {
    let request = std::fs::read(csr).map_err(|error| Failure::file("read", csr, &error))?;
    let out = out.or_else(|| (!console.is_json()).then(|| csr.with_extension("crt")));
    let file = out.as_deref().filter(|path| *path != Path::new("-"));
    // Before anything is signed: a certificate that cannot be written down would have to be revoked.
    if let Some(file) = file.filter(|file| file.symlink_metadata().is_ok()) {
        let failure = Failure::new(Exit::Refused, format!("{} exists already", file.display()));
        return Err(failure.why("nothing is overwritten").action("choose another file with --out"));
    }
    let parent = file.and_then(Path::parent).filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
        let failure =
            Failure::new(Exit::NotFound, format!("the directory {} is not there", parent.display()));
        return Err(failure.why("nothing was signed").action("make it, or choose another file with --out"));
    }
    let new = NewCertificate { csr: csr_text(&request), ..new };
    let admin = AdminClient::new(target)?;
    let issued: CertificateIssued = admin.post("/certificates", &new)?;
    match (file, out.is_some()) {
        (Some(file), _) => {
            write_new(file, issued.chain.as_bytes()).map_err(|failure| {
                failure.action(format!("countersign cert show {} has the certificate", issued.serial))
            })?;
        }
        (None, true) if !console.is_json() => return console.print(&issued.chain),
        (None, _) => {}
    }
    // Only for the text: what cannot be learnt now is left out of it.
    let client = || admin.get::<ClientView>(&format!("/clients/{}", issued.client));
    let uses_secret = !console.is_json() && client().is_ok_and(|client| client.auth_method.uses_secret());
    console.answer(&issued, || {
        format!(
            "certificate {} for {}, valid until {}\n{}{}",
            issued.serial.short(),
            issued.client,
            issued.not_after.date(),
            left_out(&issued.left_out),
            file.map(|file| next_steps(&issued, file, csr, uses_secret)).unwrap_or_default()
        )
    })
}

/// What the request asked for in vain: many tools add names by themselves, and nobody misses them; who needs one of them must
/// learn that it is not there. A request may ask for very much.
fn left_out(names: &[String]) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return String::new();
    }
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| printable(name)).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    format!("left out: {} (names come from the registration)\n", shown.join(", "))
}

/// What the partner gets, and what it does with that.
fn next_steps(issued: &CertificateIssued, file: &Path, csr: &Path, uses_secret: bool) -> String {
    let key = csr.with_extension("key");
    let name = |path: &Path| quoted(&printable(&path.file_name().unwrap_or_default().to_string_lossy()));
    let mut out = format!(
        "written: {}\n{}next: give the partner this file and what stands above; nothing of it is secret\n      ",
        printable(&shown(file)),
        for_partners(&issued.partner),
    );
    if uses_secret {
        // How the secret is sent depends on the method, and it has no place in a line of a shell.
        out.push_str("its program gets a token with both files, its own key and its secret\n");
        return out;
    }
    out.push_str(&format!(
        "its program gets a token with both files and its own key:\n      \
         curl --cacert ca.crt --cert {} --key {} {} \\\n        \
         -d grant_type=client_credentials -d client_id={}\n",
        name(file),
        name(&key),
        quoted(&issued.partner.token_endpoint),
        issued.client,
    ));
    out
}

/// PEM as it is, DER as base64.
fn csr_text(request: &[u8]) -> String {
    use base64::Engine;
    match std::str::from_utf8(request) {
        Ok(text) if text.contains("-----BEGIN") => text.to_owned(),
        _ => base64::engine::general_purpose::STANDARD.encode(request),
    }
}

fn revoke_one(
    admin: &AdminClient,
    certificate: &str,
    reason: RevocationReason,
    yes: bool,
    console: Console,
) -> Result<(), Failure> {
    let now = SystemClock.now();
    let view = find(admin, certificate)?;
    console.confirm(yes, &format!("{}\nRevoke it? Its tokens stop at once.", summary(&view, now)))?;
    let begun = Instant::now();
    // By its full serial: what was shown is what is revoked, whatever a short form means a moment later.
    let revoked: Revoked = admin.post(&path(&view.serial.to_string(), "/revoke")?, &Revoke { reason })?;
    console.answer(&revoked, || revoked_text(&revoked, begun))
}

fn revoke_all(
    admin: &AdminClient,
    client: &ClientId,
    reason: RevocationReason,
    yes: bool,
    console: Console,
) -> Result<(), Failure> {
    let now = SystemClock.now();
    let valid: CertificateList =
        admin.get(&list_path(Some(client), Some(CertificateStateName::Valid), None))?;
    let lines: Vec<String> = valid.certificates.iter().map(|view| summary(view, now)).collect();
    let question = match lines.len() {
        0 => format!(
            "`{client}` has no valid certificate.\nRevoke what is being signed for it just now, if anything?"
        ),
        _ if valid.more => {
            format!("{}\nRevoke these and all older ones? Their tokens stop at once.", lines.join("\n"))
        }
        number => {
            let number = u64::try_from(number).unwrap_or(u64::MAX);
            let what = counted(number, "certificate");
            format!("{}\nRevoke {what}? Its tokens stop at once.", lines.join("\n"))
        }
    };
    console.confirm(yes, &question)?;
    let begun = Instant::now();
    let revoked: Revoked =
        admin.post(&format!("/clients/{client}/revoke-certificates"), &Revoke { reason })?;
    console.answer(&revoked, || revoked_text(&revoked, begun))
}

/// `acme-pay: certificate 3f9a…c21e, valid until 2026-12-22, last seen 4 s ago, 18 204 calls.`
fn summary(view: &CertificateView, now: Timestamp) -> String {
    let whose = view.client.as_ref().map_or_else(|| printable(&view.subject), ClientId::to_string);
    let state = match view.state {
        CertificateStateName::Valid => format!("valid until {}", view.not_after.date()),
        state => standing(state.as_str(), view.not_stored),
    };
    format!(
        "{whose}: certificate {}, {state}, last seen {}, {}.",
        view.serial.short(),
        view.last_seen_at.map_or_else(|| "never".to_owned(), |at| relative(at, now)),
        counted(view.calls, "call")
    )
}

fn revoked_text(revoked: &Revoked, begun: Instant) -> String {
    let count = u64::try_from(revoked.certificates.len()).unwrap_or(u64::MAX);
    let already = u64::from(revoked.already_revoked);
    let delayed: String = revoked
        .crls_delayed
        .iter()
        .map(|crl| format!("the CRL of `{}` cannot be published now: the server tries again every minute, and its log says why\n", crl.issuer))
        .collect();
    if count == already {
        let what = match count {
            0 => "there was nothing to revoke",
            1 => "it was revoked already; nothing was changed",
            _ => "they were revoked already; nothing was changed",
        };
        return format!("{what}\n{delayed}");
    }
    let crls: Vec<String> = revoked.crls.iter().map(|crl| format!("CRL {} published", crl.number)).collect();
    let mut parts = vec![counted(u64::from(revoked.connections_cut), "connection") + " cut"];
    parts.extend(crls);
    parts.push("its tokens end".to_owned());
    let what = if count == 1 {
        "revoked".to_owned()
    } else {
        format!("{} revoked", counted(count - already, "certificate"))
    };
    format!("{what}; {}   ({:.2} s)\n{delayed}", parts.join(", "), begun.elapsed().as_secs_f64())
}

/// The listing, printed answer by answer.
fn list(admin: &AdminClient, path: &str, all: bool, console: Console) -> Result<(), Failure> {
    let headers = ["SERIAL", "CLIENT", "PROFILE", "STATE", "EXPIRES", "LAST SEEN", "CALLS"];
    let mut listing = Listing::new(console, "certificates", headers);
    let (mut next, now) = (path.to_owned(), SystemClock.now());
    loop {
        let page: CertificateList = admin.get(&next)?;
        let is_read = listing.page(&page.certificates, |view| row(view, now))?;
        match page.next {
            Some(_) if !all => {
                return listing.end(Some(&format!(
                    "there are more than these {}; narrow it with --client, --state or --expiring, or list them with --all",
                    page.certificates.len()
                )));
            }
            Some(cursor) if is_read => {
                let separator = if path.contains('?') { '&' } else { '?' };
                next = format!("{path}{separator}before={}", segment(&cursor)?);
            }
            _ => return listing.end(None),
        }
    }
}

fn row(view: &CertificateView, now: Timestamp) -> [String; 7] {
    [
        view.serial.short(),
        view.client.as_ref().map_or_else(|| "–".to_owned(), ClientId::to_string),
        view.profile.to_string(),
        standing(view.state.as_str(), view.not_stored),
        ends(view, now),
        view.last_seen_at.map_or_else(|| "never".to_owned(), |at| relative(at, now)),
        grouped(view.calls),
    ]
}

/// When it ends; of a revoked one why and when it ended.
fn ends(view: &CertificateView, now: Timestamp) -> String {
    match (view.revocation_reason, view.revoked_at) {
        (Some(reason), Some(at)) => format!("{reason}, {}", relative(at, now)),
        (None, Some(at)) => relative(at, now),
        _ => relative_and_date(view.not_after, now),
    }
}

fn view_text(view: &CertificateView, now: Timestamp) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let mut out = fields(&[
        ("serial", view.serial.to_string()),
        ("client", or_none(view.client.as_ref().map(ClientId::to_string))),
        ("state", standing(view.state.as_str(), view.not_stored)),
        ("ends", ends(view, now)),
        ("profile", view.profile.to_string()),
        ("issuer", view.issuer.to_string()),
        ("subject", view.subject.clone()),
        ("names", view.names.join(", ")),
        ("valid from", view.not_before.to_string()),
        ("valid until", view.not_after.to_string()),
        ("x5t#S256", or_none(view.thumbprint.map(|thumbprint| thumbprint.to_string()))),
        ("renews", or_none(view.renews.map(|serial| serial.to_string()))),
        ("last seen", view.last_seen_at.map_or_else(|| "never".to_owned(), |at| relative(at, now))),
        ("calls", grouped(view.calls)),
    ]);
    if let Some(certificate) = &view.certificate {
        out.push('\n');
        out.push_str(certificate);
    }
    out
}
