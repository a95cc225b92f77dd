//! `countersign client`: the partners' programs.

use super::admin_client::{AdminClient, AdminTarget, segment};
use super::console::{Console, fields, table};
use super::duration::{duration_or_none, seconds};
use super::handover::for_partners;
use super::human::{counted, relative, relative_and_date, standing};
use super::listing::Listing;
use crate::failure::{Exit, Failure};
use crate::system::SystemClock;
use crate::words::printable;
use clap::{ArgGroup, Args, Subcommand};
use countersign_api::admin::shapes::{
    ClientAdded, ClientList, ClientView, CredentialView, EditClient, NewClient, RotateSecret, SecretRotated,
};
use countersign_model::client::{AuthMethod, CredentialState};
use countersign_model::text::check_registration;
use countersign_model::{ClientId, Clock, Environment, Scope, Scopes, Timestamp};
use serde_json::json;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register a client
    Add {
        /// Its client_id: a-z 0-9 . _ -
        client: ClientId,
        /// sandbox or production; it never changes
        #[arg(long)]
        environment: Environment,
        /// A scope that it may ask for; repeat for more
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
        /// How it authenticates: tls_client_auth, client_secret_basic or client_secret_post
        #[arg(long, value_name = "METHOD", default_value = "tls_client_auth")]
        auth: AuthMethod,
        /// The registered name; it becomes the organisation in its certificates
        #[arg(long)]
        name: Option<String>,
        /// Where to reach its people; repeat for more
        #[arg(long = "contact", value_name = "ADDRESS")]
        contacts: Vec<String>,
        /// An audience that it may ask for; repeat for more; default: every API that owns one of its scopes
        #[arg(long = "audience", value_name = "URI")]
        audiences: Vec<String>,
        #[command(flatten)]
        target: AdminTarget,
    },
    /// List all clients
    List {
        #[command(flatten)]
        target: AdminTarget,
    },
    /// Show a client with its credentials
    Show {
        /// Its client_id
        client: ClientId,
        #[command(flatten)]
        target: AdminTarget,
    },
    /// Change a client's name, contacts, scopes or audiences; what is not given stays
    Edit(Edit),
    /// Disable a client: its tokens and credentials are refused at once
    Disable {
        /// Its client_id
        client: ClientId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        target: AdminTarget,
    },
    /// Enable a disabled client: its secrets and certificates are accepted again, its tokens from before are not
    Enable {
        /// Its client_id
        client: ClientId,
        #[command(flatten)]
        target: AdminTarget,
    },
    /// Make a new secret; the present ones stay good for a while
    RotateSecret {
        /// Its client_id
        client: ClientId,
        /// How long the present secrets stay good, as 30m, 8h, 7d; 0 ends them and their tokens at once
        #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = duration_or_none)]
        overlap: Duration,
        #[command(flatten)]
        target: AdminTarget,
    },
}

/// What `client edit` changes. A list that is given is the whole of it.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct Edit {
    /// Its client_id
    client: ClientId,
    /// The registered name; certificates that are issued from now on have it
    #[arg(long, group = "change")]
    name: Option<String>,
    /// Where to reach its people, in the place of all contacts from before; repeat for more
    #[arg(long = "contact", value_name = "ADDRESS", group = "change")]
    contacts: Vec<String>,
    /// Remove all contacts
    #[arg(long, conflicts_with = "contacts", group = "change")]
    no_contacts: bool,
    /// A scope that it may ask for, in the place of all scopes from before; repeat for more
    #[arg(long = "scope", value_name = "SCOPE", group = "change")]
    scopes: Vec<Scope>,
    /// An audience that it may ask for, in the place of all audiences from before; repeat for more
    #[arg(long = "audience", value_name = "URI", group = "change")]
    audiences: Vec<String>,
    /// Let it ask for every API that owns one of its scopes
    #[arg(long, conflicts_with = "audiences", group = "change")]
    all_audiences: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: AdminTarget,
}

impl Edit {
    fn changes(&self) -> EditClient {
        let list = |texts: &[String], none: bool| (none || !texts.is_empty()).then(|| texts.to_vec());
        EditClient {
            name: self.name.clone(),
            contacts: list(&self.contacts, self.no_contacts),
            scopes: (!self.scopes.is_empty()).then(|| self.scopes.iter().cloned().collect()),
            audiences: list(&self.audiences, self.all_audiences),
        }
    }

    /// Asks before anything is taken away: tokens and open connections end then.
    fn run(self, console: Console) -> Result<(), Failure> {
        let changes = self.changes();
        // By the server's own rule, and before anything is sent.
        let (contacts, audiences) = (&changes.contacts, &changes.audiences);
        let none = Vec::new();
        check_registration(
            changes.name.as_deref().unwrap_or(self.client.as_str()),
            contacts.as_ref().unwrap_or(&none),
            audiences.as_ref().unwrap_or(&none),
        )
        .map_err(|refused| {
            Failure::new(Exit::Usage, refused.to_string()).action("countersign help client edit")
        })?;
        let admin = AdminClient::new(&self.target)?;
        let before: ClientView = admin.get(&path(&self.client, "")?)?;
        let lost = taken_away(&before, &changes);
        if !lost.is_empty() {
            let lost = lost.iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ");
            let question = format!(
                "{} loses {lost}. Its tokens and open connections end at once. Change it?",
                self.client
            );
            console.confirm(self.yes, &question)?;
        }
        let view: ClientView = admin.post(&path(&self.client, "/edit")?, &changes)?;
        console.answer(&view, || view_text(&view, SystemClock.now()))
    }
}

/// The scopes and audiences that a client has now and loses.
fn taken_away(before: &ClientView, changes: &EditClient) -> Vec<String> {
    let scopes = changes.scopes.as_ref().map(|scopes| before.scopes.without(scopes));
    let mut lost: Vec<String> = scopes.iter().flat_map(Scopes::iter).map(ToString::to_string).collect();
    match &changes.audiences {
        Some(audiences) if before.audiences.is_empty() && !audiences.is_empty() => {
            lost.push("every audience that is not given".to_owned());
        }
        Some(audiences) if !audiences.is_empty() => {
            lost.extend(before.audiences.iter().filter(|audience| !audiences.contains(audience)).cloned());
        }
        _ => {}
    }
    lost
}

impl Command {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        match self {
            Self::Add { client, environment, scopes, auth, name, contacts, audiences, target } => {
                // By the server's own rule, and before anything is sent.
                check_registration(name.as_deref().unwrap_or(client.as_str()), &contacts, &audiences)
                    .map_err(|refused| {
                        Failure::new(Exit::Usage, refused.to_string()).action("countersign help client add")
                    })?;
                let scopes = scopes.into_iter().collect();
                let new = NewClient {
                    client_id: client,
                    environment,
                    name,
                    contacts,
                    auth_method: auth,
                    scopes,
                    audiences,
                };
                let added: ClientAdded = AdminClient::new(&target)?.post("/clients", &new)?;
                console.answer(&added, || added_text(&added))
            }
            Self::List { target } => list(&AdminClient::new(&target)?, console),
            Self::Show { client, target } => {
                let view: ClientView = AdminClient::new(&target)?.get(&path(&client, "")?)?;
                console.answer(&view, || view_text(&view, SystemClock.now()))
            }
            Self::Edit(edit) => edit.run(console),
            Self::Disable { client, yes, target } => disable(&client, yes, &target, console),
            Self::Enable { client, target } => {
                let view: ClientView =
                    AdminClient::new(&target)?.post(&path(&client, "/enable")?, &json!({}))?;
                console.answer(&view, || {
                    format!("client {client} enabled; its tokens from before stay refused\n")
                })
            }
            Self::RotateSecret { client, overlap, target } => {
                // Ten years, the longest duration, fit.
                let overlap_s = u32::try_from(seconds(overlap)).unwrap_or(u32::MAX);
                let request = RotateSecret { overlap_s: Some(overlap_s) };
                let rotated: SecretRotated =
                    AdminClient::new(&target)?.post(&path(&client, "/rotate-secret")?, &request)?;
                console.answer(&rotated, || rotated_text(&rotated, SystemClock.now()))
            }
        }
    }
}

/// The whole list, printed answer by answer.
fn list(admin: &AdminClient, console: Console) -> Result<(), Failure> {
    let headers = ["CLIENT", "ENVIRONMENT", "STATE", "METHOD", "SCOPES", "LAST USED", "NAME"];
    let mut listing = Listing::new(console, "clients", headers);
    let (mut path, now) = ("/clients".to_owned(), SystemClock.now());
    loop {
        let page: ClientList = admin.get(&path)?;
        let is_read = listing.page(&page.clients, |client| row(client, now))?;
        match page.clients.last() {
            Some(last) if page.more && is_read => {
                path = format!("/clients?after={}", segment(last.client_id.as_str())?);
            }
            _ => return listing.end(None),
        }
    }
}

fn path(client: &ClientId, rest: &str) -> Result<String, Failure> {
    Ok(format!("/clients/{}{rest}", segment(client.as_str())?))
}

fn disable(client: &ClientId, yes: bool, target: &AdminTarget, console: Console) -> Result<(), Failure> {
    let admin = AdminClient::new(target)?;
    let before: ClientView = admin.get(&path(client, "")?)?;
    let question = format!(
        "{client}: {}, {}, {}.\nDisable it? Its tokens and credentials stop at once.",
        printable(&before.name),
        before.environment,
        before.state.as_str()
    );
    console.confirm(yes, &question)?;
    let view: ClientView = admin.post(&path(client, "/disable")?, &json!({}))?;
    console.answer(&view, || format!("client {client} disabled\n"))
}

fn added_text(added: &ClientAdded) -> String {
    let ClientView { client_id, environment, auth_method, .. } = &added.client;
    let mut out = format!("client {client_id} added ({environment}, {auth_method})\n");
    match &added.client_secret {
        Some(secret) => {
            out.push_str(&format!("client_secret: {}\n", printable(secret.expose())));
            out.push_str(&for_partners(&added.partner));
            out.push_str("next: hand the secret over now; it is not kept and cannot be shown again\n");
        }
        None => out.push_str(&format!(
            "next: countersign cert request {client_id}        on the partner's machine, then\n      \
             countersign cert sign {client_id}.csr --client {client_id}\n"
        )),
    }
    out
}

fn rotated_text(rotated: &SecretRotated, now: Timestamp) -> String {
    let previous = if rotated.previous_end_at <= now {
        "the secrets from before have ended".to_owned()
    } else {
        format!("the secrets from before end {}", relative_and_date(rotated.previous_end_at, now))
    };
    format!(
        "client {} has a new secret; {previous}\nclient_secret: {}\n\
         next: hand the secret over now; it is not kept and cannot be shown again\n",
        rotated.client_id,
        printable(rotated.client_secret.expose())
    )
}

fn row(client: &ClientView, now: Timestamp) -> [String; 7] {
    let last_used = client.credentials.iter().filter_map(|credential| credential.last_used_at).max();
    [
        client.client_id.to_string(),
        client.environment.to_string(),
        standing(client.state.as_str(), client.not_stored),
        client.auth_method.to_string(),
        client.scopes.to_string(),
        last_used.map_or_else(|| "never".to_owned(), |at| relative(at, now)),
        client.name.clone(),
    ]
}

fn view_text(client: &ClientView, now: Timestamp) -> String {
    let or_none = |list: &[String]| if list.is_empty() { "–".to_owned() } else { list.join(", ") };
    let mut out = fields(&[
        ("client", client.client_id.to_string()),
        ("name", client.name.clone()),
        ("environment", client.environment.to_string()),
        ("state", standing(client.state.as_str(), client.not_stored)),
        ("method", client.auth_method.to_string()),
        ("scopes", client.scopes.to_string()),
        ("audiences", or_none(&client.audiences)),
        ("contacts", or_none(&client.contacts)),
        ("registered", relative_and_date(client.created_at, now)),
        ("changed", relative_and_date(client.updated_at, now)),
    ]);
    let rows: Vec<[String; 7]> =
        client.credentials.iter().map(|credential| credential_row(credential, now)).collect();
    out.push('\n');
    out.push_str(&table(["CREDENTIAL", "NAME", "KIND", "STATE", "EXPIRES", "LAST USED", "USES"], &rows));
    out
}

/// As the token endpoint goes by it at `now`: an ended credential keeps its state in the database.
fn credential_state(credential: &CredentialView, now: Timestamp) -> &'static str {
    match credential.state {
        CredentialState::Active if credential.expires_at.is_some_and(|end| end <= now) => "ended",
        CredentialState::Active if now < credential.not_before => "not yet valid",
        state => state.as_str(),
    }
}

fn credential_row(credential: &CredentialView, now: Timestamp) -> [String; 7] {
    let kind = match &credential.san_uri {
        Some(uri) => format!("certificate {uri}"),
        None => credential.kind.as_str().to_owned(),
    };
    [
        credential.id.to_string(),
        credential.name.clone(),
        kind,
        standing(credential_state(credential, now), credential.not_stored),
        credential.expires_at.map_or_else(|| "never".to_owned(), |at| relative_and_date(at, now)),
        credential.last_used_at.map_or_else(|| "never".to_owned(), |at| relative(at, now)),
        counted(credential.uses, "use"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_shown_as_the_token_endpoint_takes_it() {
        let day = |days: i64| Timestamp::from_unix_s(1_800_000_000).plus_days(days);
        let view = |state: &str, expires_at: Option<Timestamp>| -> CredentialView {
            let mut view = json!({
                "id": "01JZ8Q0M3T4V6X8Z0A2C4E6G8J", "name": "first", "kind": "secret", "state": state,
                "not_before": day(2), "created_at": day(2), "uses": 0,
            });
            if let Some(end) = expires_at {
                view["expires_at"] = json!(end);
            }
            serde_json::from_value(view).unwrap()
        };
        for (state, end, now, shown) in [
            ("active", None, day(2), "active"),
            ("active", Some(day(5)), day(4), "active"),
            ("active", Some(day(5)), day(5), "ended"),
            ("active", Some(day(5)), day(9), "ended"),
            ("active", None, day(1), "not yet valid"),
            ("revoked", None, day(3), "revoked"),
            ("revoked", Some(day(4)), day(9), "revoked"),
        ] {
            assert_eq!(credential_row(&view(state, end), now)[3], shown);
        }
    }
}
