//! What is allowed and probably not meant. A file with warnings is accepted, also by a reload.

use super::configuration::Configuration;
use super::mistake::{Mistake, Mistakes};
use super::reader::{At, Given};
use super::sections::Document;
use super::sections::listeners::{Listener, Serve};
use super::sections::routes::RouteSection;
use super::surroundings::Surroundings;
use super::values::Origin;
use crate::words::{list, similar};
use countersign_model::ClientId;
use countersign_policy::Route;
use countersign_policy::route::ClientCertificate;

impl Document {
    /// Called for a file without a mistake.
    pub(super) fn warn(&self, configuration: &Configuration, around: &Surroundings<'_>, out: &mut Mistakes) {
        let Configuration { listeners, routes, .. } = configuration;
        if let Some(issuer) = self.issuer.get() {
            warn_of_issuer(issuer, listeners, out);
        }
        let sections = self.routes.value().map_or(&[][..], Vec::as_slice);
        for (section, route) in sections.iter().zip(routes) {
            warn_of_unreachable_route(section, route, listeners, out);
        }
        let named = sections.iter().any(|section| !section.value.clients.is_absent());
        let clients = around.installation.as_ref().filter(|_| named);
        if let Some(clients) = clients.and_then(|it| (it.clients)(&configuration.storage.database)) {
            for section in sections {
                warn_of_unknown_clients(section, &clients, out);
            }
        }
    }
}

/// A listener that answers any name may be the one.
fn answers(listener: &Listener, host: &str) -> bool {
    let hosts = listener.answered_hosts();
    hosts.is_empty() || hosts.iter().any(|answered| answered == host)
}

fn warn_of_issuer(issuer: &At<Origin>, listeners: &[Listener], out: &mut Mistakes) {
    let host = issuer.value.host();
    let serves = |listener: &Listener| listener.serve.contains(&Serve::Oauth2);
    if listeners.iter().any(|listener| serves(listener) && answers(listener, host)) {
        return;
    }
    let names: Vec<&str> = listeners
        .iter()
        .filter(|listener| serves(listener))
        .flat_map(|listener| listener.answered_hosts().iter().map(String::as_str))
        .collect();
    let message = format!("no listener serves {host}, the host of the issuer");
    let (reason, help) = if names.is_empty() {
        (
            "no listener serves `oauth2`".to_owned(),
            "add `oauth2` to `serve` of a [[listeners]] section".to_owned(),
        )
    } else {
        (
            "clients that follow the metadata get 421".to_owned(),
            format!("its listener answers {}: add {host} to `hosts` or `certificate.ca` there", list(names)),
        )
    };
    out.warn(Mistake::new(issuer.entry.clone(), message, reason).help(help));
}

fn warn_of_unreachable_route(
    section: &At<RouteSection>,
    route: &Route,
    listeners: &[Listener],
    out: &mut Mistakes,
) {
    let serving: Vec<&Listener> =
        listeners.iter().filter(|listener| listener.serve.contains(&Serve::Routes)).collect();
    let named = |listener: &Listener| route.host().is_none_or(|host| answers(listener, host));
    let asks = |listener: &Listener| {
        route.client_certificate() != ClientCertificate::Required
            || listener.asks_for_certificate(Serve::Routes)
    };
    let (reason, help) = if serving.is_empty() {
        ("no listener serves `routes`".to_owned(), "add `routes` to `serve` of a [[listeners]] section")
    } else if !serving.iter().any(|listener| named(listener)) {
        let host = route.host().unwrap_or_default();
        (
            format!("no listener that serves `routes` answers the host {host}"),
            "add the host to `hosts` or `certificate.ca` of the listener",
        )
    } else if !serving.iter().any(|listener| named(listener) && asks(listener)) {
        (
            "no listener that answers its host asks for the certificate that it requires".to_owned(),
            "client_certificate = \"optional\" in that [[listeners]] section",
        )
    } else {
        return;
    };
    let place = match &section.value.host {
        Given::Is(host) => host.entry.clone(),
        _ => section.value.path.get().map_or_else(|| section.span.clone(), |path| path.entry.clone()),
    };
    let message = format!("no listener reaches route `{}`", route.name());
    out.warn(Mistake::new(place, message, reason).help(help));
}

fn warn_of_unknown_clients(
    section: &At<RouteSection>,
    clients: &std::collections::BTreeSet<ClientId>,
    out: &mut Mistakes,
) {
    for client in section.value.clients.value().into_iter().flatten() {
        if clients.contains(&client.value) {
            continue;
        }
        let message = format!("there is no client `{}`", client.value);
        let mistake = Mistake::new(client.span.clone(), message, "nobody is let in under this name");
        out.warn(match similar(client.value.as_str(), clients.iter().map(ClientId::as_str)) {
            Some(meant) => mistake.help(format!("did you mean `{meant}`?")),
            None => mistake.help(format!("register it: countersign client add {}", client.value)),
        });
    }
}
