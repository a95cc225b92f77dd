//! Which configuration file a server reads: named itself, or by the directory that it is in.

use crate::config::secret_ref::ProcessEnvironment;
use crate::setup::directory::DEFAULT_DIR;
use crate::system::SystemEnvironment;
use clap::Args;
use std::path::{Path, PathBuf};

const FILE: &str = "countersign.toml";

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The configuration file; or set COUNTERSIGN_CONFIG. Default: countersign.toml here, otherwise the one in
    /// ./countersign-data
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    config: Option<PathBuf>,
    /// The directory of the installation, whose countersign.toml is read; or set COUNTERSIGN_DIR
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl ConfigFile {
    /// The file. An argument goes before the environment, and there a file before a directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.path_with(|name| SystemEnvironment.variable(name), Path::exists)
    }

    // The variables are not clap's: with them, a directory in the environment would be at odds with a file in an argument.
    fn path_with(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        exists: impl Fn(&Path) -> bool,
    ) -> PathBuf {
        let named = |file: &Option<PathBuf>, dir: &Option<PathBuf>| {
            file.clone().or_else(|| dir.as_ref().map(|dir| dir.join(FILE)))
        };
        let variable = |name| variable(name).map(PathBuf::from);
        named(&self.config, &self.dir)
            .or_else(|| named(&variable("COUNTERSIGN_CONFIG"), &variable("COUNTERSIGN_DIR")))
            .unwrap_or_else(|| {
                let of_default = Path::new(DEFAULT_DIR).join(FILE);
                if !exists(Path::new(FILE)) && exists(&of_default) { of_default } else { FILE.into() }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_of_the_file_is_taken() {
        let found = |config: &str, dir: &str, variables: [&str; 2], there: &[&str]| {
            let given = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
            let it = ConfigFile { config: given(config), dir: given(dir) };
            let [file, directory] = variables;
            let variable = |name: &str| {
                let value = if name == "COUNTERSIGN_DIR" { directory } else { file };
                (!value.is_empty()).then(|| value.to_owned())
            };
            let path = it.path_with(variable, |path| there.iter().any(|it| path == Path::new(it)));
            path.to_str().unwrap().to_owned()
        };
        let of_default = "countersign-data/countersign.toml";
        let both = [FILE, of_default];
        assert_eq!(found("a.toml", "", ["b.toml", "c"], &both), "a.toml");
        assert_eq!(found("", "d", ["b.toml", "c"], &both), "d/countersign.toml");
        assert_eq!(found("", "", ["b.toml", "c"], &both), "b.toml");
        assert_eq!(found("", "", ["", "c"], &both), "c/countersign.toml");
        assert_eq!(found("", "", ["", ""], &both), FILE);
        assert_eq!(found("", "", ["", ""], &both[1..]), of_default);
        assert_eq!(found("", "", ["", ""], &[]), FILE);
    }
}
