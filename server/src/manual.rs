//! Completions for shells, and the man page.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Command, Subcommand};
use clap_complete::Shell;

/// What the program writes about itself.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Manual {
    /// Write the completions of a shell to standard output.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the man page to standard output, or keyfalld.1 into a directory.
    Man {
        /// The directory; it is made where there is none.
        dir: Option<PathBuf>,
    },
}

/// Writes it.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write(manual: &Manual, mut command: Command) -> io::Result<()> {
    let mut text = Vec::new();
    match manual {
        Manual::Completions { shell } => {
            clap_complete::generate(*shell, &mut command, "keyfalld", &mut text);
        }
        Manual::Man { dir: None } => clap_mangen::Man::new(command).render(&mut text)?,
        Manual::Man { dir: Some(dir) } => {
            std::fs::create_dir_all(dir)?;
            return clap_mangen::generate_to(command, dir);
        }
    }
    io::stdout().write_all(&text)
}
