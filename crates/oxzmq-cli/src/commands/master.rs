//! `oxzmq master`: the half of the web server that speaks HTTP, for workers on other machines.

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use oxzmq_web::config::MasterConfig;
use oxzmq_web::program;

/// Accept HTTP requests and have workers answer them, here or on other machines
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where to speak HTTP
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    http: SocketAddr,
    /// Where workers connect
    #[arg(long, value_name = "ENDPOINT", default_value = "tcp://127.0.0.1:5570")]
    workers: String,
    /// Let workers come over a network although nothing guards or encrypts what they say
    #[arg(long)]
    trust_network: bool,
    /// Most requests that wait for a free worker; further ones are answered 503
    #[arg(long, value_name = "N", default_value_t = 1024)]
    queue: usize,
    /// Longest wait for a free worker, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    /// Longest silence of a worker about a request before another is asked, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// Write no line per request
    #[arg(long, short)]
    quiet: bool,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let first = text.to_socket_addrs().map_err(|error| format!("{error}; write it as 127.0.0.1:8080"))?.next();
    first.ok_or_else(|| "no such host".to_owned())
}

/// Serves until Ctrl-C.
pub fn run(args: Args) -> ExitCode {
    let mut config = MasterConfig {
        access_log: !args.quiet,
        trust_network: args.trust_network,
        ..MasterConfig::new(args.http, args.workers)
    };
    config.limits.queue = args.queue;
    config.limits.queue_wait = Duration::from_secs(args.wait);
    config.limits.patience = Duration::from_secs(args.patience);
    match program::master(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oxzmq: {error}");
            ExitCode::FAILURE
        }
    }
}
