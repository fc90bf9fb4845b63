//! Settings of master and worker. They are plain values, checked once, when the thing is started.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use oxzmq::Security;
use oxzmq::curve::AllowedKeys;

use crate::error::{Error, Result};
use crate::files::Rules;
use crate::handlers::Route;
use crate::pool::Limits;
use crate::tls::TlsFiles;

pub use crate::access_log::LogFormat;

/// Settings of a [`Master`](crate::master::Master).
#[derive(Clone, Debug)]
pub struct MasterConfig {
    /// Where HTTP is spoken. Port 0 takes any.
    pub http: SocketAddr,
    /// Where HTTP is spoken within TLS, in versions 1.1 and 2, and the certificate; nowhere unless given.
    pub https: Option<(SocketAddr, TlsFiles)>,
    /// Where the status page, `/metrics`, `/healthz` and `/readyz` are; nowhere unless given.
    pub admin: Option<SocketAddr>,
    /// Where workers connect: an endpoint to bind, such as `tcp://127.0.0.1:5560` or `ipc:///run/x`.
    pub workers: String,
    /// Workers may be reached over a network although nothing guards or encrypts what they say.
    pub trust_network: bool,
    /// What goes between master and workers is encrypted, and only workers whose keys are allowed are let in.
    pub security: Option<(Security, AllowedKeys)>,
    /// Whether each host is a site of its own, in the directory of its name below the workers' root.
    pub by_host: bool,
    /// Which paths belong to handlers of Mongrel2's protocol.
    pub routes: Vec<Route>,
    /// Queue, retries, window.
    pub limits: Limits,
    /// Most HTTP connections at a time; further ones wait to be accepted.
    pub connections: usize,
    /// Longest wait for the next request's head, idle connections included.
    pub header_timeout: Duration,
    /// Longest standstill of an answer to a client that has closed its half of the connection: it may wait for the
    /// answer, or may have left. 5 seconds by default.
    pub half_closed_wait: Duration,
    /// Longest time in which a client takes none of an answer; within HTTP/2, not a whole piece of it, which is 128 KiB
    /// usually and 256 KiB at most.
    pub write_timeout: Duration,
    /// Most HTTP connections of one address at a time; further ones are closed. 0 is any number.
    pub connections_per_address: usize,
    /// How long a master that stops waits for answers under way.
    pub drain: Duration,
    /// How to write a line per request to standard output; nothing is written if `None`.
    pub access_log: Option<LogFormat>,
}

impl MasterConfig {
    /// The usual settings.
    pub fn new(http: SocketAddr, workers: impl Into<String>) -> Self {
        Self {
            http,
            https: None,
            admin: None,
            workers: workers.into(),
            trust_network: false,
            security: None,
            by_host: false,
            routes: Vec::new(),
            limits: Limits::default(),
            connections: 8192,
            header_timeout: Duration::from_secs(30),
            half_closed_wait: Duration::from_secs(5),
            write_timeout: Duration::from_secs(60),
            connections_per_address: 0,
            drain: Duration::from_secs(30),
            access_log: Some(LogFormat::Plain),
        }
    }
}

/// Settings of a [`Worker`](crate::worker::Worker).
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The endpoints of the masters to work for; one, usually.
    pub masters: Vec<String>,
    /// The directory to serve.
    pub root: PathBuf,
    /// A name for people, at most 64 octets; by default the machine's name and the process.
    pub name: Option<String>,
    /// Most requests in hand at a time. One that waits for a slow client counts, and costs little.
    pub slots: u32,
    /// What of the directory is served.
    pub rules: Rules,
    /// Whether a compressed sibling (`page.html.gz`, `.br`, `.zst`) is sent to clients that take it.
    pub precompressed: bool,
    /// Whether to wait for another master when one stops, rather than to end.
    pub stay: bool,
    /// How to prove to masters who this is, and to know them; not at all unless given.
    pub security: Security,
}

impl WorkerConfig {
    /// The usual settings.
    pub fn new(master: impl Into<String>, root: impl Into<PathBuf>) -> Self {
        Self {
            masters: vec![master.into()],
            root: root.into(),
            name: None,
            slots: 256,
            rules: Rules::default(),
            precompressed: true,
            stay: false,
            security: Security::Null,
        }
    }
}

/// Whether master and worker can meet at an endpoint, as far as its text tells.
pub(crate) fn check_meeting_place(endpoint: &str) -> Result<()> {
    let what = match endpoint.split_once("://") {
        None => format!("{endpoint:?} is no endpoint; write it as tcp://127.0.0.1:5570 or ipc:///run/oxzmq/workers"),
        Some(("inproc", _)) => {
            format!("{endpoint} is inside one process, and master and workers are several; use ipc:// on one machine")
        }
        Some(("tcp", address)) if !address.contains(':') => {
            format!(
                "{endpoint} has no port; write it as tcp://{}:5570",
                if address.is_empty() { "HOST" } else { address }
            )
        }
        Some((_, "")) => format!("{endpoint} says how, but not where"),
        Some(_) => return Ok(()),
    };
    Err(Error::Setting(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_where_nobody_meets_are_told() {
        for (endpoint, told) in [
            ("foo", "is no endpoint"),
            ("", "is no endpoint"),
            ("inproc://x", "inside one process"),
            ("tcp://host", "tcp://host:5570"),
            ("ipc://", "not where"),
        ] {
            let error = check_meeting_place(endpoint).unwrap_err().to_string();
            assert!(error.contains(told), "{endpoint}: {error}");
        }
        for fine in ["tcp://127.0.0.1:*", "tcp://[::1]:5570", "ipc:///run/x", "ipc://@x"] {
            check_meeting_place(fine).unwrap();
        }
    }
}
