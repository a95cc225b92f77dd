//! Which configuration file a server reads: named itself, or by the directory that it is in.

use crate::config::secret_ref::ProcessEnvironment;
use crate::failure::{Exit, Failure};
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
    /// The file. An argument goes before the environment.
    ///
    /// # Errors
    /// When the environment names two different files: which of them is meant cannot be guessed.
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        self.path_with(|name| SystemEnvironment.variable(name), Path::exists)
    }

    // The variables are not clap's: with them, a directory in the environment would be at odds with a file in an argument.
    fn path_with(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        exists: impl Fn(&Path) -> bool,
    ) -> Result<PathBuf, Failure> {
        let in_directory = |dir: PathBuf| dir.join(FILE);
        if let Some(file) = self.config.clone().or_else(|| self.dir.clone().map(in_directory)) {
            return Ok(file);
        }
        let variable = |name| variable(name).map(PathBuf::from);
        let (file, of_dir) = (variable("COUNTERSIGN_CONFIG"), variable("COUNTERSIGN_DIR").map(in_directory));
        match (file, of_dir) {
            (Some(file), Some(of_dir)) if file != of_dir => Err(Failure::new(
                Exit::Usage,
                format!(
                    "COUNTERSIGN_CONFIG names {}, and COUNTERSIGN_DIR {}",
                    file.display(),
                    of_dir.display()
                ),
            )
            .action("unset one of them, or say which with --config or --dir")),
            (Some(file), _) | (None, Some(file)) => Ok(file),
            (None, None) => {
                let of_default = Path::new(DEFAULT_DIR).join(FILE);
                Ok(if !exists(Path::new(FILE)) && exists(&of_default) { of_default } else { FILE.into() })
            }
        }
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
            path.map_or_else(|failure| format!("{failure:?}"), |path| path.to_str().unwrap().to_owned())
        };
        let of_default = "countersign-data/countersign.toml";
        let both = [FILE, of_default];
        assert_eq!(found("a.toml", "", ["b.toml", "c"], &both), "a.toml");
        assert_eq!(found("", "d", ["b.toml", "c"], &both), "d/countersign.toml");
        assert_eq!(found("", "", ["b.toml", ""], &both), "b.toml");
        assert_eq!(found("", "", ["c/countersign.toml", "c"], &both), "c/countersign.toml");
        let two = found("", "", ["b.toml", "c"], &both);
        assert!(
            two.contains("COUNTERSIGN_CONFIG names b.toml, and COUNTERSIGN_DIR c/countersign.toml"),
            "{two}"
        );
        assert_eq!(found("", "", ["", "c"], &both), "c/countersign.toml");
        assert_eq!(found("", "", ["", ""], &both), FILE);
        assert_eq!(found("", "", ["", ""], &both[1..]), of_default);
        assert_eq!(found("", "", ["", ""], &[]), FILE);
    }
}
