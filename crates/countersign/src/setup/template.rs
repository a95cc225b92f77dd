//! The `countersign.toml` of a new directory: commented, and complete enough to be read as a first lesson.

use crate::config::{LOCAL_NAMES, Origin};
use std::path::Path;

/// The ports of an installation: gateway, admin API, public CA documents, demo API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports(pub u16);

impl Ports {
    /// The gateway: P.
    pub const fn gateway(self) -> u16 {
        self.0
    }
    /// The admin API: P+1.
    pub const fn admin(self) -> u16 {
        self.0 + 1
    }
    /// CRLs and CA certificates, over plain HTTP: P+2.
    pub const fn documents(self) -> u16 {
        self.0 + 2
    }
    /// The demo API: P+3.
    pub const fn demo(self) -> u16 {
        self.0 + 3
    }
}

/// The gateway's port where none is asked for.
pub const DEFAULT_PORT: u16 = 8443;

/// The highest gateway port: three more follow it.
pub const HIGHEST_PORT: u16 = u16::MAX - 3;

/// How others reach the installation, where that is not `localhost`. Both stand in certificates that live for years, so
/// they are settled before the authorities are made.
#[derive(Debug, Clone, Default)]
pub struct Public {
    /// The issuer.
    pub issuer: Option<Origin>,
    /// Where CRLs and CA certificates are.
    pub documents_url: Option<Origin>,
}

const HEAD: &str = include_str!("head.toml");
const DEMO: &str = include_str!("demo.toml");
const EXAMPLE: &str = include_str!("example.toml");

/// The file of `quickstart`: with the demo API and its routes.
pub fn demo(ports: Ports, master_key: &Path) -> String {
    fill(&format!("{HEAD}{DEMO}"), ports, &Public::default(), master_key)
}

/// The file of `init`: with an example that waits to be filled in.
pub fn empty(ports: Ports, public: &Public, master_key: &Path) -> String {
    fill(&format!("{HEAD}{EXAMPLE}"), ports, public, master_key)
}

fn fill(template: &str, ports: Ports, public: &Public, master_key: &Path) -> String {
    let issuer = public.issuer.as_ref().map_or_else(
        || format!("https://localhost:{}", ports.gateway()),
        |issuer| issuer.as_str().to_owned(),
    );
    let mut names = LOCAL_NAMES.to_vec();
    // A listener answers for the names of its certificate: for the issuer's too.
    names.extend(public.issuer.as_ref().map(Origin::host).filter(|host| !LOCAL_NAMES.contains(host)));
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let url = public.documents_url.as_ref().map(|url| {
        format!("url = \"{}\"     # how others reach it; it stands in every certificate\n", url.as_str())
    });
    // Beside the directory, so that the two can be moved together.
    let name = master_key.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let quoted = toml::Value::String(format!("file:../{name}")).to_string();
    template
        .replace("@GATEWAY@", &ports.gateway().to_string())
        .replace("@ADMIN@", &ports.admin().to_string())
        .replace("@DOCUMENTS@", &ports.documents().to_string())
        .replace("@DEMO@", &ports.demo().to_string())
        .replace("@MASTER@", &quoted)
        .replace("@ISSUER@", &issuer)
        .replace("@NAMES@", &names.join(", "))
        .replace("@URL@", &url.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Surroundings, check};
    use crate::system::SystemEnvironment;

    fn accepted(text: &str) -> crate::config::Configuration {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("data");
        std::fs::create_dir(&base).unwrap();
        check(text, &Surroundings::new(base, &SystemEnvironment)).unwrap_or_else(|mistakes| {
            panic!(
                "{}",
                crate::config::render(
                    Path::new("countersign.toml"),
                    text,
                    &mistakes,
                    crate::config::Colour::Never
                )
            )
        })
    }

    #[test]
    fn what_quickstart_writes_is_accepted() {
        let configuration = accepted(&demo(Ports(9443), Path::new("/srv/my \"data\"-master.key")));
        assert_eq!(configuration.issuer, "https://localhost:9443");
        assert_eq!(configuration.admin.listen.port(), 9444);
        assert_eq!(configuration.pki_url(), "http://127.0.0.1:9445");
        let names: Vec<&str> = configuration.routes.iter().map(|route| route.name()).collect();
        assert_eq!(names, ["data", "pay", "test-data", "test-pay"]);
    }

    #[test]
    fn what_init_writes_is_accepted_and_so_is_its_example() {
        let text = empty(Ports(8443), &Public::default(), Path::new("/srv/data-master.key"));
        assert!(accepted(&text).routes.is_empty());
        let uncommented: String =
            text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
        assert_eq!(accepted(&uncommented).routes.len(), 1);
    }

    #[test]
    fn how_others_reach_it_is_written_where_it_belongs() {
        let public = Public {
            issuer: Some("https://api.example".parse().unwrap()),
            documents_url: Some("http://ca.example".parse().unwrap()),
        };
        let configuration = accepted(&empty(Ports(8443), &public, Path::new("/srv/data-master.key")));
        assert_eq!(configuration.issuer, "https://api.example");
        assert_eq!(configuration.pki_url(), "http://ca.example");
        assert!(configuration.listeners[0].answered_hosts().contains(&"api.example".to_owned()));
    }
}
