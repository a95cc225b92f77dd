//! Which route a request belongs to: by host, then by the longest prefix that ends at a slash, or at the end of the path.

use super::path::{self, MAX_SEGMENTS};
use super::{Route, settings};
use crate::denial::Denial;
use countersign_model::ReasonCode;
use http::Method;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// All routes. A request costs one hash look-up for its host and at most one for each segment of the longest prefix, and
/// one more for a path that is shorter than that.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    by_host: HashMap<String, Prefixes>,
    any_host: Prefixes,
}

/// Routes of one host by their prefixes.
#[derive(Debug, Clone, Default)]
struct Prefixes {
    by_path: HashMap<String, Arc<Route>>,
    /// The same without the last slash.
    by_bare_path: HashMap<String, Arc<Route>>,
    depth: usize,
}

/// A request that belongs to a route: the first stage of a decision.
#[derive(Debug, Clone)]
pub struct Matched {
    route: Arc<Route>,
}

/// Two routes that cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The later one: its place in the list.
    pub index: usize,
    /// The key that repeats: `name` or `path`.
    pub key: &'static str,
    /// The name of the earlier one.
    pub earlier: String,
    /// The name of the later one.
    pub later: String,
}

impl RouteTable {
    /// Puts the routes in order.
    ///
    /// # Errors
    /// All duplicates: of a name, or of a host and path.
    pub fn new(routes: Vec<Route>) -> Result<Self, Vec<Duplicate>> {
        let mut table = Self::default();
        let mut duplicates = Vec::new();
        let mut names: HashMap<String, ()> = HashMap::new();
        for (index, route) in routes.into_iter().map(Arc::new).enumerate() {
            let mut repeats = |key, earlier: &str| {
                let later = route.name().to_owned();
                duplicates.push(Duplicate { index, key, earlier: earlier.to_owned(), later });
            };
            if names.insert(route.name().to_owned(), ()).is_some() {
                repeats("name", route.name());
            }
            let prefixes = match route.host() {
                Some(host) => table.by_host.entry(host.to_owned()).or_default(),
                None => &mut table.any_host,
            };
            if let Some(earlier) = prefixes.by_path.insert(route.path().to_owned(), Arc::clone(&route)) {
                repeats("path", earlier.name());
            }
            prefixes.by_bare_path.insert(bare(route.path()).to_owned(), Arc::clone(&route));
            prefixes.depth = prefixes.depth.max(slashes(route.path()));
            table.routes.push(route);
        }
        if duplicates.is_empty() { Ok(table) } else { Err(duplicates) }
    }

    /// All routes, in the order of the configuration.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The route of a request. `host` is as [`super::host_name`] returns it, `path` without the query.
    ///
    /// # Errors
    /// `request_path_invalid`, `route_not_found`, `method_not_allowed`.
    pub fn find(&self, host: &str, method: &Method, path: &str) -> Result<Matched, Denial> {
        path::check_path(path)?;
        let of_host = self.by_host.get(host).and_then(|prefixes| prefixes.longest(path));
        let route = of_host.or_else(|| self.any_host.longest(path)).ok_or(ReasonCode::RouteNotFound)?;
        let allowed = route.methods().unwrap_or(settings::usual_methods());
        // Without a list, methods that we do not know are the API's own affair; these two are nobody's.
        let refused = match route.methods() {
            Some(methods) => !methods.contains(method),
            None => matches!(*method, Method::CONNECT | Method::TRACE),
        };
        if refused {
            return Err(Denial::new(ReasonCode::MethodNotAllowed).allow(allowed));
        }
        Ok(Matched { route: Arc::clone(route) })
    }
}

impl Prefixes {
    fn longest(&self, path: &str) -> Option<&Arc<Route>> {
        // Only as many slashes as the deepest prefix has: a path of ten thousand segments costs no more than that.
        let mut ends = [0; MAX_SEGMENTS + 1];
        let mut count = 0;
        for (i, _) in path.bytes().enumerate().filter(|&(_, c)| c == b'/').take(self.depth) {
            ends[count] = i + 1;
            count += 1;
        }
        // `/data/admin` is not left to the route of `/data/` when there is one of `/data/admin/`: most upstreams answer both
        // in the same way. A path of as many slashes as the deepest prefix has none of them without its last slash.
        let without_slash = if count < self.depth { self.by_bare_path.get(path) } else { None };
        without_slash.or_else(|| self.longest_at(&ends[..count], path))
    }

    fn longest_at(&self, ends: &[usize], path: &str) -> Option<&Arc<Route>> {
        ends.iter().rev().find_map(|&end| self.by_path.get(&path[..end]))
    }
}

fn bare(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}

fn slashes(path: &str) -> usize {
    path.bytes().filter(|&c| c == b'/').count()
}

impl Matched {
    /// The route.
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }
}

impl Route {
    /// What to ask the upstream for: `upstream_path` in the place of the prefix, the rest as it came, and the query with
    /// those characters percent-encoded that RFC 3986 does not have there (section 3.4), though clients send them.
    /// A path without the prefix's last slash stays without it. `None` when the path is not one of this route's.
    pub fn upstream_target(&self, path: &str, query: Option<&str>) -> Option<String> {
        let (prefix, rest) = match path.strip_prefix(self.path()) {
            Some(rest) => (self.upstream_path(), rest),
            None if path == bare(self.path()) => match bare(self.upstream_path()) {
                "" => ("/", ""),
                prefix => (prefix, ""),
            },
            None => return None,
        };
        let mut target =
            String::with_capacity(prefix.len() + rest.len() + query.map_or(0, |query| query.len() + 1));
        target.push_str(prefix);
        target.push_str(rest);
        if let Some(query) = query {
            target.push('?');
            push_query(&mut target, query);
        }
        Some(target)
    }
}

/// What every WHATWG URL parser leaves as it is, and strict readers refuse.
const UNENCODED: &AsciiSet = &AsciiSet::EMPTY.add(b'{').add(b'}').add(b'^').add(b'`');

fn push_query(target: &mut String, query: &str) {
    for piece in utf8_percent_encode(query, UNENCODED) {
        target.push_str(piece);
    }
}

impl Duplicate {
    /// What to do.
    pub fn help(&self) -> &'static str {
        if self.key == "name" {
            "give each route a name of its own"
        } else {
            "give one of them another host or path"
        }
    }
}

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            "name" => write!(f, "two routes are named `{}`", self.later),
            _ => write!(f, "routes `{}` and `{}` have the same host and path", self.earlier, self.later),
        }
    }
}

impl std::error::Error for Duplicate {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;
    use countersign_model::Environment;

    fn route(name: &str, host: Option<&str>, path: &str) -> Route {
        let mut settings = settings(name, Environment::Production);
        (settings.host, settings.path) = (host.map(str::to_owned), path.to_owned());
        Route::new(settings).unwrap()
    }

    fn table() -> RouteTable {
        RouteTable::new(vec![
            route("root", None, "/"),
            route("data", None, "/data/"),
            route("admin", None, "/data/admin/"),
            route("bank", Some("bank.example"), "/data/"),
        ])
        .unwrap()
    }

    #[test]
    fn the_longest_prefix_wins_with_or_without_its_last_slash_and_the_host_goes_first() {
        let table = table();
        for (host, path, expected) in [
            ("x.example", "/data/accounts", "data"),
            ("x.example", "/data/", "data"),
            ("x.example", "/data", "data"),
            ("x.example", "/data/admins", "data"),
            ("x.example", "/dat", "root"),
            ("x.example", "/database/", "root"),
            ("x.example", "/data/admin/x/y/z", "admin"),
            ("x.example", "/data/admin", "admin"),
            ("bank.example", "/data", "bank"),
            ("x.example", "/Data/admin/", "root"),
            ("bank.example", "/data/admin/", "bank"),
            ("bank.example", "/other", "root"),
            ("x.example", "/", "root"),
        ] {
            assert_eq!(
                table.find(host, &Method::GET, path).unwrap().route().name(),
                expected,
                "{host} {path}"
            );
        }
    }

    #[test]
    fn no_route_is_not_found_and_a_tricky_path_is_invalid() {
        let table = RouteTable::new(vec![route("data", None, "/data/")]).unwrap();
        let reason = |path| table.find("x", &Method::GET, path).unwrap_err().reason();
        assert_eq!(reason("/other/"), ReasonCode::RouteNotFound);
        assert_eq!(reason("/dat"), ReasonCode::RouteNotFound);
        assert_eq!(reason("/data/%2e%2e/x"), ReasonCode::RequestPathInvalid);
        assert_eq!(reason(&"/a".repeat(10_000)), ReasonCode::RouteNotFound);
    }

    #[test]
    fn a_method_that_is_not_listed_is_refused_with_allow() {
        let mut limited = settings("data", Environment::Production);
        limited.methods = Some(vec!["GET".into(), "POST".into(), "GET".into()]);
        let table =
            RouteTable::new(vec![Route::new(limited).unwrap(), route("open", None, "/open/")]).unwrap();
        assert!(table.find("x", &Method::POST, "/data/").is_ok());
        let denial = table.find("x", &Method::DELETE, "/data/").unwrap_err();
        assert_eq!(denial, Denial::new(ReasonCode::MethodNotAllowed).allow(&[Method::GET, Method::POST]));
        assert!(table.find("x", &Method::from_bytes(b"REPORT").unwrap(), "/open/").is_ok());
        assert!(table.find("x", &Method::TRACE, "/open/").is_err());
    }

    #[test]
    fn duplicates_are_all_reported() {
        let routes = vec![
            route("a", None, "/x/"),
            route("a", None, "/y/"),
            route("b", None, "/x/"),
            route("c", Some("h.example"), "/x/"),
        ];
        let duplicates = RouteTable::new(routes).unwrap_err();
        let found: Vec<_> = duplicates.iter().map(|duplicate| (duplicate.index, duplicate.key)).collect();
        assert_eq!(found, [(1, "name"), (2, "path")]);
        assert_eq!(duplicates[1].to_string(), "routes `a` and `b` have the same host and path");
    }

    #[test]
    fn the_upstream_sees_its_own_prefix_and_the_rest_unchanged() {
        let mut rewritten = settings("data", Environment::Production);
        rewritten.upstream_path = Some("/v1/bank/".into());
        let rewritten = Route::new(rewritten).unwrap();
        assert_eq!(rewritten.upstream_target("/data/a%20b", Some("x=1&y")).unwrap(), "/v1/bank/a%20b?x=1&y");
        assert_eq!(
            rewritten.upstream_target("/data/", Some("{^`}%7b")).unwrap(),
            "/v1/bank/?%7B%5E%60%7D%7b"
        );
        assert_eq!(rewritten.upstream_target("/data/", None).unwrap(), "/v1/bank/");
        assert_eq!(rewritten.upstream_target("/data", Some("x")).unwrap(), "/v1/bank?x");
        assert_eq!(rewritten.upstream_target("/other/", None), None);
        assert_eq!(rewritten.upstream_target("/dat", None), None);
        let mut root = settings("data", Environment::Production);
        root.upstream_path = Some("/".into());
        assert_eq!(Route::new(root).unwrap().upstream_target("/data", None).unwrap(), "/");
        assert_eq!(route("data", None, "/data/").upstream_target("/data/x", Some("")).unwrap(), "/data/x?");
    }
}
