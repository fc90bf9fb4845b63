//! Settings of master and worker. They are plain values, checked once, when the thing is started.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::pool::Limits;

/// Settings of a [`Master`](crate::master::Master).
#[derive(Clone, Debug)]
pub struct MasterConfig {
    /// Where HTTP is spoken. Port 0 takes any.
    pub http: SocketAddr,
    /// Where workers connect: an endpoint to bind, such as `tcp://127.0.0.1:5560` or `ipc:///run/x`.
    pub workers: String,
    /// Queue, retries, window.
    pub limits: Limits,
    /// Most HTTP connections at a time; further ones wait to be accepted.
    pub connections: usize,
    /// Longest wait for the next request's head, idle connections included.
    pub header_timeout: Duration,
    /// Longest time in which a client takes none of its answer.
    pub write_timeout: Duration,
    /// How long a master that stops waits for answers under way.
    pub drain: Duration,
    /// Whether to write a line per request to standard output.
    pub access_log: bool,
}

impl MasterConfig {
    /// The usual settings.
    pub fn new(http: SocketAddr, workers: impl Into<String>) -> Self {
        Self {
            http,
            workers: workers.into(),
            limits: Limits::default(),
            connections: 8192,
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            access_log: true,
        }
    }
}

/// Settings of a [`Worker`](crate::worker::Worker).
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The master's endpoint.
    pub master: String,
    /// The directory to serve.
    pub root: PathBuf,
    /// A name for people, at most 64 octets; by default the machine's name and the process.
    pub name: Option<String>,
    /// Most requests in hand at a time. One that waits for a slow client counts, and costs little.
    pub slots: u32,
}

impl WorkerConfig {
    /// The usual settings.
    pub fn new(master: impl Into<String>, root: impl Into<PathBuf>) -> Self {
        Self { master: master.into(), root: root.into(), name: None, slots: 256 }
    }
}
