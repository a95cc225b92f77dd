//! The `countersign.toml` of a new directory: commented, and complete enough to be read as a first lesson.

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

/// The highest gateway port: three more follow it.
pub const HIGHEST_PORT: u16 = u16::MAX - 3;

const HEAD: &str = include_str!("head.toml");
const DEMO: &str = include_str!("demo.toml");
const EXAMPLE: &str = include_str!("example.toml");

/// The file of `quickstart`: with the demo API and its routes.
pub fn demo(ports: Ports, master_key: &Path) -> String {
    fill(&format!("{HEAD}{DEMO}"), ports, master_key)
}

/// The file of `init`: with an example that waits to be filled in.
pub fn empty(ports: Ports, master_key: &Path) -> String {
    fill(&format!("{HEAD}{EXAMPLE}"), ports, master_key)
}

fn fill(template: &str, ports: Ports, master_key: &Path) -> String {
    // Beside the directory, so that the two can be moved together.
    let name = master_key.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let quoted = toml::Value::String(format!("file:../{name}")).to_string();
    template
        .replace("@GATEWAY@", &ports.gateway().to_string())
        .replace("@ADMIN@", &ports.admin().to_string())
        .replace("@DOCUMENTS@", &ports.documents().to_string())
        .replace("@DEMO@", &ports.demo().to_string())
        .replace("@MASTER@", &quoted)
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
        check(text, &Surroundings { base, environment: &SystemEnvironment }).unwrap_or_else(|mistakes| {
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
        let text = empty(Ports(8443), Path::new("/srv/data-master.key"));
        assert!(accepted(&text).routes.is_empty());
        let uncommented: String =
            text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
        assert_eq!(accepted(&uncommented).routes.len(), 1);
    }
}
