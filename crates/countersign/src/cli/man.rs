//! `countersign man`.

use super::console::Console;
use crate::failure::Failure;
use clap::{Args, CommandFactory};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write a page for each command into this directory, instead of printing the first one
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, console: Console) -> Result<(), Failure> {
        let mut command = super::Cli::command();
        command.build();
        match &self.out_dir {
            Some(directory) => write_pages(&command, directory),
            None => {
                let page = page(&command)
                    .map_err(|error| Failure::file("written", Path::new("the page"), &error))?;
                console.print(&page)
            }
        }
    }
}

fn write_pages(command: &clap::Command, directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory).map_err(|error| Failure::no_directory(directory, &error))?;
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = directory.join(format!("{name}.1"));
    let written = page(command).and_then(|page| std::fs::write(&path, page));
    written.map_err(|error| Failure::file("written", &path, &error))?;
    // The pages of `help CMD` would be those of the commands once more.
    let mut commands = command.get_subcommands().filter(|command| command.get_name() != "help");
    commands.try_for_each(|command| write_pages(command, directory))
}

fn page(command: &clap::Command) -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
