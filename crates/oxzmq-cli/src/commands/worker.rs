//! `oxzmq worker`: the half of the web server that reads files.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use oxzmq_web::config::WorkerConfig;
use oxzmq_web::files::{Links, Rules};
use oxzmq_web::program;

use crate::curve::ClientKeys;
use crate::outcome::exit_code;

/// Read files for a master: start any number, on any machine that has the directory
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The endpoint at which the master takes workers; may be given several times, for several masters
    #[arg(long = "master", value_name = "ENDPOINT", default_value = "tcp://127.0.0.1:5570")]
    masters: Vec<String>,
    /// The directory to serve
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// A name for logs; the machine's name and the process unless given
    #[arg(long)]
    name: Option<String>,
    /// Most requests in hand at a time
    #[arg(long, value_name = "N", default_value_t = 256)]
    slots: u32,
    /// Take flags from a TOML file, where they have the same names; those that are typed win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    keys: ClientKeys,
    #[command(flatten)]
    files: Files,
    /// Keep quiet, and end when standard input does: the worker of `oxzmq serve`
    #[arg(long, hide = true)]
    child: bool,
}

/// What of a directory is served
#[derive(clap::Args, Debug)]
pub struct Files {
    /// Where symbolic links may lead: nowhere, below the directory, or anywhere
    #[arg(long, value_name = "POLICY", default_value = "inside", value_parser = ["off", "inside", "all"])]
    links: String,
    /// Serve also what begins with a dot
    #[arg(long)]
    hidden: bool,
    /// Answer a directory without index.html by a list of what is in it
    #[arg(long)]
    listing: bool,
    /// Never send page.html.gz (.br, .zst) for page.html
    #[arg(long)]
    plain: bool,
}

impl Files {
    fn rules(&self) -> Rules {
        let links = match self.links.as_str() {
            "off" => Links::Off,
            "all" => Links::All,
            _ => Links::Inside,
        };
        Rules { links, hidden: self.hidden, listing: self.listing }
    }

    /// The same flags for another process.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let flags = [("--hidden", self.hidden), ("--listing", self.listing), ("--plain", self.plain)];
        let given = flags.into_iter().filter(|&(_, given)| given).map(|(flag, _)| flag);
        ["--links", &self.links].into_iter().chain(given).map(OsString::from).collect()
    }
}

/// Works until Ctrl-C or until the master lets it go.
pub fn run(args: Args) -> ExitCode {
    let security = match args.keys.load() {
        Ok(security) => security.unwrap_or_default(),
        Err(error) => return exit_code(Err(error)),
    };
    let config = WorkerConfig {
        security,
        masters: args.masters,
        name: args.name,
        slots: args.slots,
        rules: args.files.rules(),
        precompressed: !args.files.plain,
        stay: !args.child,
        ..WorkerConfig::new("", args.root)
    };
    match program::worker(config, args.child) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oxzmq: {error}");
            ExitCode::FAILURE
        }
    }
}
