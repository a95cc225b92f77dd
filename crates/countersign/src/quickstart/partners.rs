//! The three demo partners: `acme-pay` and `other-bank` with certificates, `test-shop` with a secret.
//!
//! Files come before rows, and a row is made only where it is missing: a start that was cut short is completed by the
//! next one. A demo certificate that is revoked, expired or about to expire is replaced, and named.

use crate::failure::{Exit, Failure};
use crate::setup::Directory;
use crate::setup::directory::write_new;
use crate::setup::operator::storage;
use crate::setup::root::{authority, write_root};
use crate::wiring::Installation;
use countersign_ca::issue::ClientRequest;
use countersign_keys::PortableKey;
use countersign_keys::file::{create_private, read_private};
use countersign_model::audit::Actor;
use countersign_model::certificate::CertificateState;
use countersign_model::client::{
    AuthMethod, Client, ClientState, Credential, CredentialKind, CredentialState,
};
use countersign_model::{ClientId, Environment, Reference, Secret, Serial, Timestamp};
use countersign_oauth::{NewClient, Order, Registrar};
use countersign_pki::{assemble_csr, csr_info_to_sign, pem};
use countersign_policy::client_auth::secret::{self, hmac};
use std::path::PathBuf;

/// A certificate with less life left than this is replaced at the next start.
const REPLACED_BEFORE_DAYS: i64 = 7;
const MAX_SECRET_BYTES: u64 = 1024;
/// What helps a demo whose files are broken.
const AGAIN: &str = "begin again: countersign quickstart --clean, then countersign quickstart";

/// One of the demo partners.
#[derive(Debug, Clone, Copy)]
pub struct Partner {
    /// Its `client_id`, and the beginning of the names of its files.
    pub id: &'static str,
    name: &'static str,
    /// Its environment.
    pub environment: Environment,
    auth_method: AuthMethod,
    /// Its scopes, separated by spaces.
    pub scopes: &'static str,
}

/// Production, with both scopes.
pub const ACME: Partner = Partner {
    id: "acme-pay",
    name: "Acme Pay Ltd",
    environment: Environment::Production,
    auth_method: AuthMethod::TlsClientAuth,
    scopes: "data:read pay:write",
};

/// Production, with a certificate of its own.
pub const OTHER: Partner = Partner {
    id: "other-bank",
    name: "Other Bank AG",
    environment: Environment::Production,
    auth_method: AuthMethod::TlsClientAuth,
    scopes: "data:read",
};

/// Sandbox, with a secret.
pub const SHOP: Partner = Partner {
    id: "test-shop",
    name: "Test Shop",
    environment: Environment::Sandbox,
    auth_method: AuthMethod::ClientSecretBasic,
    scopes: "data:read pay:write",
};

/// The files of the partners, for `made.json`.
pub fn files() -> Vec<String> {
    let names = [format!("{}.secret", SHOP.id)];
    let pairs = [ACME, OTHER].map(|partner| [format!("{}.crt", partner.id), format!("{}.key", partner.id)]);
    names.into_iter().chain(pairs.into_iter().flatten()).collect()
}

/// What the partners have to work with.
#[derive(Debug)]
pub struct Partners {
    /// The certificate of `acme-pay`.
    pub acme: PartnerCertificate,
    /// The certificate of `other-bank`.
    pub other: PartnerCertificate,
    /// The secret of `test-shop`.
    pub shop_secret: Secret<String>,
}

/// A partner's certificate, in its files.
#[derive(Debug)]
pub struct PartnerCertificate {
    /// Its serial number.
    pub serial: Serial,
    /// Its last moment of validity.
    pub not_after: Timestamp,
    /// Why the one before it was replaced, if one was.
    pub replaced: Option<&'static str>,
}

impl Partner {
    /// Its certificate with the chain.
    pub fn certificate_file(&self, directory: &Directory) -> PathBuf {
        directory.file(&format!("{}.crt", self.id))
    }

    /// Its private key.
    pub fn key_file(&self, directory: &Directory) -> PathBuf {
        directory.file(&format!("{}.key", self.id))
    }

    /// Its secret.
    pub fn secret_file(&self, directory: &Directory) -> PathBuf {
        directory.file(&format!("{}.secret", self.id))
    }
}

/// Makes what is missing of the partners, and the file with the root certificate.
///
/// # Errors
/// When a file, the database or the authority refuses.
pub async fn provision(installation: &Installation, directory: &Directory) -> Result<Partners, Failure> {
    write_root(installation, directory)?;
    let shop_secret = ensure_secret(installation, directory, &SHOP).await?;
    ensure_client(installation, &ACME, None).await?;
    ensure_client(installation, &OTHER, None).await?;
    Ok(Partners {
        acme: ensure_certificate(installation, directory, &ACME).await?,
        other: ensure_certificate(installation, directory, &OTHER).await?,
        shop_secret,
    })
}

async fn ensure_client(
    installation: &Installation,
    partner: &Partner,
    secret: Option<Secret<String>>,
) -> Result<(), Failure> {
    let id = client_id(partner)?;
    if let Some((client, credentials)) =
        installation.store.client(&id).await.map_err(|error| storage(&error))?
    {
        return still_demo(installation, &client, &credentials, secret.as_ref());
    }
    let (now, rng) = (installation.clock.now(), installation.rng.as_ref());
    let scopes =
        partner.scopes.parse().map_err(|_| Failure::new(Exit::Refused, "the demo scopes are none"))?;
    let new = NewClient {
        id,
        environment: partner.environment,
        name: partner.name.to_owned(),
        contacts: Vec::new(),
        auth_method: partner.auth_method,
        scopes,
        audiences: Vec::new(),
    };
    let store = installation.store.as_ref();
    let order = Order { actor: Actor::System, reference: Reference::generate(now, rng), at: now };
    let registered =
        Registrar { store, pepper: &installation.pepper, rng }.register(new, secret, order).await;
    registered.map(drop).map_err(|error| {
        Failure::new(Exit::Refused, format!("`{}` is not registered", partner.id))
            .why(error.to_string())
            .action(AGAIN)
    })
}

/// What an operator has done to a demo client stays done: then its calls would not work, and the demo is over.
fn still_demo(
    installation: &Installation,
    client: &Client,
    credentials: &[Credential],
    secret: Option<&Secret<String>>,
) -> Result<(), Failure> {
    let over = |why: String| {
        Err(Failure::new(Exit::Refused, format!("the demo client `{}` does not work any more", client.id))
            .why(why)
            .action("countersign quickstart --clean, then quickstart again; or choose another directory with --dir"))
    };
    if client.state != ClientState::Active {
        return over("an operator disabled it".to_owned());
    }
    let Some(secret) = secret else { return Ok(()) };
    let (now, presented) = (installation.clock.now(), hmac(&installation.pepper, secret.expose()));
    let accepted = credentials.iter().any(|credential| {
        matches!(&credential.kind, CredentialKind::Secret { hmac } if *hmac == presented)
            && credential.state == CredentialState::Active
            && credential.expires_at.is_none_or(|end| end > now)
    });
    if accepted { Ok(()) } else { over(format!("the secret in {}.secret was rotated away", client.id)) }
}

async fn ensure_secret(
    installation: &Installation,
    directory: &Directory,
    partner: &Partner,
) -> Result<Secret<String>, Failure> {
    let path = partner.secret_file(directory);
    let refused = |why: String| {
        Failure::new(Exit::Refused, format!("{} cannot be used", path.display())).why(why).action(AGAIN)
    };
    if !path.exists() {
        let secret = secret::generate(installation.rng.as_ref());
        let line = Secret::new(format!("{}\n", secret.expose()));
        create_private(&path, line.expose().as_bytes()).map_err(|error| refused(error.to_string()))?;
    }
    let read = read_private(&path, MAX_SECRET_BYTES).map_err(|error| refused(error.to_string()))?;
    let secret = Secret::new(String::from_utf8_lossy(read.expose()).trim().to_owned());
    if !secret::is_client_secret(secret.expose()) {
        return Err(refused("it holds no client secret".to_owned()));
    }
    ensure_client(installation, partner, Some(secret.clone())).await?;
    Ok(secret)
}

async fn ensure_certificate(
    installation: &Installation,
    directory: &Directory,
    partner: &Partner,
) -> Result<PartnerCertificate, Failure> {
    let (certificate_file, key_file) = (partner.certificate_file(directory), partner.key_file(directory));
    let replaced = match present(installation, directory, partner).await? {
        Present::Good { serial, not_after } => {
            return Ok(PartnerCertificate { serial, not_after, replaced: None });
        }
        Present::Bad(why) => Some(why),
        Present::Missing => None,
    };
    for file in [&certificate_file, &key_file] {
        if let Err(error) = std::fs::remove_file(file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Failure::file("replaced", file, &error));
        }
    }
    let unmade = |why: String| {
        Failure::new(Exit::Refused, format!("no key for {}", partner.id)).why(why).action(AGAIN)
    };
    let key = PortableKey::generate().map_err(|error| unmade(error.to_string()))?;
    let info = csr_info_to_sign(partner.id, key.public_key()).map_err(|error| unmade(error.to_string()))?;
    let signature = key.sign(&info).map_err(|error| unmade(error.to_string()))?;
    let csr = assemble_csr(&info, &signature).map_err(|error| unmade(error.to_string()))?;
    let pem = key.to_pem().map_err(|error| unmade(error.to_string()))?;
    create_private(&key_file, pem.expose().as_bytes()).map_err(|error| unmade(error.to_string()))?;
    let reference = Reference::generate(installation.clock.now(), installation.rng.as_ref());
    let client = client_id(partner)?;
    let request = ClientRequest { client: &client, csr: csr.as_bytes(), allow_shared_key: false };
    let issued = installation.ca.issue_client(request, Actor::System, reference).await;
    let issued = issued.map_err(|refusal| authority(&refusal))?;
    write_new(&certificate_file, issued.chain_pem.as_bytes())?;
    Ok(PartnerCertificate { serial: issued.serial, not_after: issued.not_after, replaced })
}

enum Present {
    Missing,
    Bad(&'static str),
    Good { serial: Serial, not_after: Timestamp },
}

/// What the files and the ledger say about a partner's certificate.
async fn present(
    installation: &Installation,
    directory: &Directory,
    partner: &Partner,
) -> Result<Present, Failure> {
    let Ok(text) = std::fs::read(partner.certificate_file(directory)) else { return Ok(Present::Missing) };
    if !partner.key_file(directory).exists() {
        return Ok(Present::Missing);
    }
    let Ok(der) = pem::decode(pem::Label::Certificate, &text) else { return Ok(Present::Bad("unreadable")) };
    let thumbprint = countersign_pki::thumbprint(&der);
    let row =
        installation.store.certificate_by_thumbprint(&thumbprint).await.map_err(|error| storage(&error))?;
    let Some(row) = row else { return Ok(Present::Bad("not in the ledger")) };
    let now = installation.clock.now();
    Ok(match row.state {
        // A clock that was set back: nobody accepts it today.
        CertificateState::Issued if row.not_before > now => Present::Bad("not valid yet"),
        CertificateState::Issued if row.not_after <= now => Present::Bad("expired"),
        CertificateState::Issued if row.not_after <= now.plus_days(REPLACED_BEFORE_DAYS) => {
            Present::Bad("about to expire")
        }
        CertificateState::Issued => Present::Good { serial: row.serial, not_after: row.not_after },
        CertificateState::Revoked { .. } => Present::Bad("revoked"),
        CertificateState::Pending | CertificateState::Abandoned { .. } => Present::Bad("never handed out"),
    })
}

fn client_id(partner: &Partner) -> Result<ClientId, Failure> {
    partner.id.parse().map_err(|_| Failure::new(Exit::Refused, format!("`{}` is no client_id", partner.id)))
}
