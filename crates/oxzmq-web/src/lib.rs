//! A web server whose work is done by worker processes, on this machine or on many, over [`oxzmq`].
//!
//! ```text
//!               HTTP/1.1                         ROUTER   ZeroMQ   DEALER
//!   clients ───────────────▶  master  ◀──────────────────────────────────  workers ── files
//!                             checks requests, chooses a worker,           connect from anywhere,
//!                             forms responses, never opens a file          read files, know no HTTP
//! ```
//!
//! The master takes the path out of each request and gives it to a free worker; the worker answers with the
//! file's content and the facts about it. Workers come and go at any time. A request whose worker dies goes
//! to another, and a download goes on where it stopped. Content is sent for credit that follows the client's
//! reading, so files of any size take a bounded amount of memory on both sides.
//!
//! | module | duty |
//! |---|---|
//! | [`program`] | master and worker from start to Ctrl-C: the commands `serve`, `master` and `worker` |
//! | [`master`], `connections`, [`tls`], `http`, `dispatch` | connections, requests and responses; the task that talks to workers |
//! | [`pool`] | who works on what: all rules, without sockets or a clock |
//! | [`envelope`] | the protocol between master and workers, octet by octet |
//! | [`worker`], [`files`], [`mime`] | reading files below one directory, and nothing else |
//! | `admin`, `stats` | the status page, `/metrics`, `/healthz`, `/readyz`; what is counted |
//! | [`handlers`] | programs that write whole responses, by Mongrel2's protocol |
//! | [`config`], [`error`] | settings; what can go wrong |
//!
//! A master and a worker in one process:
//!
//! ```
//! use oxzmq_web::config::{MasterConfig, WorkerConfig};
//! use oxzmq_web::{master::Master, worker::Worker};
//!
//! # fn main() -> oxzmq_web::error::Result<()> {
//! let any_port = ([127, 0, 0, 1], 0).into();
//! let master = Master::bind(MasterConfig::new(any_port, "tcp://127.0.0.1:*"))?;
//! println!("http://{}/", master.http_address());
//!
//! let worker = Worker::new(WorkerConfig::new(master.workers_endpoint(), "."))?;
//! let stopper = worker.stopper();
//! let thread = std::thread::spawn(move || worker.run(&|master, notice| println!("{master}: {notice:?}")));
//!
//! // `master.run(..)` on a Tokio runtime would serve now.
//! stopper.stop();
//! thread.join().unwrap()
//! # }
//! ```

#![forbid(unsafe_code)]

mod access_log;
mod admin;
mod children;
pub mod config;
mod connections;
mod dispatch;
pub mod envelope;
pub mod error;
pub mod files;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod handlers;
mod holder;
mod http;
pub mod master;
pub mod mime;
pub mod pool;
mod private;
pub mod program;
mod stats;
mod system;
pub mod tls;
mod voice;
mod welcome;
pub mod worker;
