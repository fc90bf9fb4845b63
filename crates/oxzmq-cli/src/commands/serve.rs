//! `oxzmq serve`: a web server and its workers, by one command.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;

use oxzmq_web::program::{self, Serve};

/// Serve a directory over HTTP, with one worker process per processor
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The directory to serve
    #[arg(value_name = "DIR")]
    root: PathBuf,
    /// The port to listen on; 0 takes any that is free
    #[arg(long, short, default_value_t = 8080)]
    port: u16,
    /// The address to listen on; 0.0.0.0 lets other machines in
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = host)]
    host: IpAddr,
    /// Worker processes; one per processor unless given
    #[arg(long, short, value_name = "N")]
    workers: Option<usize>,
    #[command(flatten)]
    files: super::worker::Files,
    /// Where the status page, /metrics, /healthz and /readyz are; port 0 takes any that is free
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", value_parser = super::master::address)]
    admin: SocketAddr,
    /// Take flags from a TOML file, where they have the same names; those that are typed win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve several sites: each host that clients name has the directory of that name below the workers' root
    #[arg(long)]
    by_host: bool,
    #[command(flatten)]
    log: super::master::Log,
}

/// An address, in brackets or not, or the first of a name.
fn host(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse() {
        return Ok(address);
    }
    let mut addresses = (text, 0).to_socket_addrs().map_err(|_| "no such host; the port is --port".to_owned())?;
    addresses.next().map(|address| address.ip()).ok_or_else(|| "the name has no address".to_owned())
}

/// Serves until Ctrl-C.
pub fn run(args: Args) -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("oxzmq: cannot find this program to start workers with: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut worker = vec!["worker".into()];
    worker.extend(args.files.to_arguments());
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let options = Serve {
        root: args.root,
        http: SocketAddr::new(args.host, args.port),
        admin: Some(args.admin),
        workers: args.workers.unwrap_or_else(processors),
        by_host: args.by_host,
        access_log: args.log.format(),
        worker: (program.into(), worker),
    };
    match program::serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ oxzmq_web::error::Error::Http { .. }) => {
            eprintln!("oxzmq: {error} (--port, --host)");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("oxzmq: {error}");
            ExitCode::FAILURE
        }
    }
}
