//! `oxzmq worker`: the half of the web server that reads files.

use std::path::PathBuf;
use std::process::ExitCode;

use oxzmq_web::config::WorkerConfig;
use oxzmq_web::program;

/// Read files for a master: start any number, on any machine that has the directory
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The endpoint at which the master takes workers
    #[arg(long, value_name = "ENDPOINT", default_value = "tcp://127.0.0.1:5570")]
    master: String,
    /// The directory to serve
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// A name for logs; the machine's name and the process unless given
    #[arg(long)]
    name: Option<String>,
    /// Most requests in hand at a time
    #[arg(long, value_name = "N", default_value_t = 256)]
    slots: u32,
    /// Keep quiet, and end when standard input does: the worker of `oxzmq serve`
    #[arg(long, hide = true)]
    child: bool,
}

/// Works until Ctrl-C or until the master lets it go.
pub fn run(args: Args) -> ExitCode {
    let config = WorkerConfig { name: args.name, slots: args.slots, ..WorkerConfig::new(args.master, args.root) };
    match program::worker(config, args.child) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oxzmq: {error}");
            ExitCode::FAILURE
        }
    }
}
