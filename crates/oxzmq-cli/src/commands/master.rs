//! `oxzmq master`: the half of the web server that speaks HTTP, for workers on other machines.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use oxzmq_web::config::{LogFormat, MasterConfig};
use oxzmq_web::handlers::{Form, Handlers, Route};
use oxzmq_web::program;
use oxzmq_web::tls::TlsFiles;

use crate::curve::ServerKeys;
use crate::outcome::exit_code;

/// Accept HTTP requests and have workers answer them, here or on other machines
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where to speak HTTP
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    http: SocketAddr,
    /// Where workers connect
    #[arg(long, value_name = "ENDPOINT", default_value = "tcp://127.0.0.1:5570")]
    workers: String,
    /// Where to speak HTTPS (HTTP/1.1 and HTTP/2); SIGHUP reads the certificate again
    #[arg(long, value_name = "HOST:PORT", requires_all = ["certificate", "key"], value_parser = address)]
    https: Option<SocketAddr>,
    /// The certificate and those that lead to its issuer, in PEM
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Most HTTP connections at a time; further ones wait
    #[arg(long, value_name = "N", default_value_t = 8192)]
    connections: usize,
    /// Most HTTP connections of one address; further ones are closed, and 0 is any number
    #[arg(long, value_name = "N", default_value_t = 0)]
    connections_per_address: usize,
    /// Where the status page, /metrics, /healthz and /readyz are; nowhere unless given
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    admin: Option<SocketAddr>,
    /// Let workers come over a network although nothing guards or encrypts what they say
    #[arg(long)]
    trust_network: bool,
    #[command(flatten)]
    keys: ServerKeys,
    /// Give paths to handlers of Mongrel2's protocol; REQUESTS and REPLIES are the endpoints that they connect to
    #[arg(long, value_name = "PREFIX=REQUESTS,REPLIES[,IDENT[,tnetstring]]", value_parser = mongrel2)]
    mongrel2: Vec<Route>,
    /// Give paths to workers of Majordomo 0.2, which connect to ENDPOINT and offer SERVICE
    #[arg(long, value_name = "PREFIX=ENDPOINT,SERVICE", value_parser = majordomo)]
    majordomo: Vec<Route>,
    /// Most requests that wait for a free worker; further ones are answered 503
    #[arg(long, value_name = "N", default_value_t = 1024)]
    queue: usize,
    /// Longest wait for a free worker, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    /// Longest silence of a worker about a request before another is asked, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// Take flags from a TOML file, where they have the same names; those that are typed win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve several sites: each host that clients name has the directory of that name below the workers' root
    #[arg(long)]
    by_host: bool,
    #[command(flatten)]
    log: Log,
}

/// The line per request on standard output
#[derive(clap::Args, Debug)]
pub struct Log {
    /// How a request's line looks: the common log format with time, worker and tries, that format alone, the combined
    /// one, or JSON with all that is known
    #[arg(long, value_name = "FORM", default_value = "plain", value_parser = ["plain", "common", "combined", "json"])]
    log: String,
    /// Write no line per request
    #[arg(long, short)]
    quiet: bool,
}

impl Log {
    pub(super) fn format(&self) -> Option<LogFormat> {
        let format = match self.log.as_str() {
            "common" => LogFormat::Common,
            "combined" => LogFormat::Combined,
            "json" => LogFormat::Json,
            _ => LogFormat::Plain,
        };
        (!self.quiet).then_some(format)
    }
}

/// An address, or the first of a name.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let first = text.to_socket_addrs().map_err(|error| format!("{error}; write it as 127.0.0.1:8080"))?.next();
    first.ok_or_else(|| "no such host".to_owned())
}

/// `PREFIX=...`
fn prefixed<'t>(text: &'t str, usage: &str) -> Result<(String, &'t str), String> {
    let (prefix, rest) = text.split_once('=').ok_or(usage)?;
    if !prefix.starts_with('/') {
        return Err(format!("the path begins with a slash; {usage}"));
    }
    Ok((prefix.to_owned(), rest))
}

fn majordomo(text: &str) -> Result<Route, String> {
    let usage = "write it as /app=tcp://127.0.0.1:5571,service";
    let (prefix, rest) = prefixed(text, usage)?;
    let (endpoint, service) = rest.split_once(',').ok_or(usage)?;
    Ok(Route { prefix, to: Handlers::Majordomo { endpoint: endpoint.to_owned(), service: service.to_owned() } })
}

fn mongrel2(text: &str) -> Result<Route, String> {
    let usage = "write it as /app=tcp://127.0.0.1:9997,tcp://127.0.0.1:9996";
    let (prefix, rest) = prefixed(text, usage)?;
    let mut parts = rest.split(',').map(str::to_owned);
    let (Some(requests), Some(replies)) = (parts.next(), parts.next()) else { return Err(usage.to_owned()) };
    let ident = parts.next().unwrap_or_else(|| "oxzmq".to_owned());
    let form = match parts.next().as_deref() {
        None | Some("json") => Form::Json,
        Some("tnetstring") => Form::Tnetstring,
        Some(other) => return Err(format!("there are json and tnetstring, but no {other}")),
    };
    Ok(Route { prefix, to: Handlers::Mongrel2 { requests, replies, ident, form } })
}

/// Serves until Ctrl-C.
pub fn run(args: Args) -> ExitCode {
    let security = match args.keys.load() {
        Ok(security) => security,
        Err(error) => return exit_code(Err(error)),
    };
    let mut config = MasterConfig {
        security,
        access_log: args.log.format(),
        trust_network: args.trust_network,
        admin: args.admin,
        by_host: args.by_host,
        https: match (args.https, args.certificate, args.key) {
            (Some(address), Some(certificate), Some(key)) => Some((address, TlsFiles { certificate, key })),
            _ => None,
        },
        connections: args.connections,
        connections_per_address: args.connections_per_address,
        routes: [args.mongrel2, args.majordomo].concat(),
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
