//! `oxzmq check`: is a file of settings fine?

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory;

use crate::outcome::exit_code;
use crate::settings::Settings;

/// Check a file of settings without starting anything
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file, as for --config
    #[arg(value_name = "FILE", default_value = "oxzmq.toml")]
    file: PathBuf,
}

/// Says what is wrong first, or that nothing is.
pub fn run(args: Args) -> ExitCode {
    exit_code(check(&args.file))
}

fn check(file: &Path) -> anyhow::Result<()> {
    let settings = Settings::read(&crate::Cli::command(), file)?;
    let commands = settings.commands();
    if commands.is_empty() {
        anyhow::bail!("{} holds no settings; write them below [serve], [master] or [worker]", file.display());
    }
    println!("{} is fine: settings for {}", file.display(), commands.join(", "));
    Ok(())
}
