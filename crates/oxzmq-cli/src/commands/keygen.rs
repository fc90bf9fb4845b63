//! `oxzmq keygen`: a pair of keys for CURVE.

use std::path::PathBuf;
use std::process::ExitCode;

use oxzmq::curve::{Certificate, KeyPair};

use crate::outcome::exit_code;

/// Make a pair of keys for CURVE, in two files in CZMQ's format
///
/// FILE holds the public key, for the others; FILE_secret holds both, readable by you alone. Files that exist are
/// never overwritten.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where to write the public half; the secret one goes to FILE_secret
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Whose keys they are: others see it as the user's name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Writes the files and prints the public key.
pub fn run(args: Args) -> ExitCode {
    exit_code(generate(&args))
}

fn generate(args: &Args) -> anyhow::Result<()> {
    let keys = KeyPair::generate()?;
    let public = keys.public();
    let mut certificate = Certificate::new(keys);
    if let Some(name) = &args.name {
        certificate = certificate.with("name", name);
    }
    certificate.save(&args.path)?;
    println!("{public}");
    Ok(())
}
