//! `oxzmq generate`: man pages and completions, for packagers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::outcome::exit_code;

/// Write man pages and completions for shells
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The directory to write into; it is made if need be
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Writes `man/*.1` and `completions/*`.
pub fn run(args: Args) -> ExitCode {
    exit_code(generate(&args.directory))
}

fn generate(directory: &Path) -> anyhow::Result<()> {
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    for directory in [&man, &completions] {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let cli = crate::Cli::command();
    clap_mangen::generate_to(cli.clone(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut cli.clone(), "oxzmq", &completions)?;
    }
    println!("wrote {} and {}", man.display(), completions.display());
    Ok(())
}
