//! ZeroMQ sockets in memory-safe Rust.
//!
//! Sockets that look like BSD sockets but carry whole messages, connect in the background, queue,
//! reconnect, and route by pattern, without a broker. On the wire it is ZMTP 3.1 (RFC 37), understood by
//! every libzmq since 2.0 and by the other implementations of ZeroMQ.
//!
//! ```
//! use oxzmq::{Context, SocketType};
//!
//! # fn main() -> oxzmq::Result<()> {
//! let context = Context::new();
//! let pull = context.socket(SocketType::Pull)?;
//! let endpoint = pull.bind("tcp://127.0.0.1:*")?;
//!
//! let push = context.socket(SocketType::Push)?;
//! push.connect(&endpoint)?;
//! push.send("one frame")?;
//! push.send(["two", "frames"])?;
//!
//! assert_eq!(pull.recv()?.len(), 1);
//! assert_eq!(pull.recv()?.frames()[1], "frames");
//! # Ok(())
//! # }
//! ```
//!
//! * [`Context`] makes [`Socket`]s. A socket [binds](Socket::bind) and [connects](Socket::connect) to any
//!   number of endpoints over `tcp://`, `ipc://`, `ws://`, `wss://` (a crate feature), `inproc://` and `udp://`, and
//!   sends and receives [`Message`]s.
//! * Every socket is `Send` and `Sync`. Each blocking call has an async twin ([`Socket::recv_async`],
//!   [`Socket::send_async`], [`Socket::stream`], [`Socket::sink`]) that works under any runtime.
//! * [`Poller`] waits for many sockets and plain descriptors, [`proxy()`] joins two sockets, [`Monitor`] tells
//!   what happens to connections, also as a [stream](Monitor::stream).
//! * [`Security`] encrypts (CURVE) and asks who is there ([`Context::set_authenticator`], or ZAP); [`curve`] has the
//!   keys.
//! * Errors have a [kind](ErrorKind), a sentence, and the errno that the C API of ZeroMQ would report. A
//!   message that could not be sent comes back in its [`SendError`].

#![forbid(unsafe_code)]

mod asynch;
mod connector;
mod context;
mod core;
pub mod curve;
mod datagrams;
mod driver;
mod endpoint;
mod endpoints;
pub mod error;
mod event_fd;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod inproc;
mod listener;
mod monitor;
mod options;
mod pattern;
mod peer_info;
mod peers;
mod poller;
mod proxy;
mod queue;
mod random;
mod reactor;
mod requests;
mod security;
mod session;
mod socket;
mod socks;
mod stage;
mod sync;
mod sys;
mod tls;
mod transport;
mod wakers;
mod websocket;

pub use asynch::{MessageSink, MessageStream, RecvFuture, SendFuture};
pub use context::{Context, ContextBuilder, DEFAULT_MAX_HANDSHAKES, DEFAULT_MAX_SOCKETS, MAX_IO_THREADS};
pub use driver::Driver;
pub use error::{Error, ErrorKind, Result, SendError};
pub use event_fd::EventFd;
pub use monitor::{Event, EventKind, EventStream, MONITOR_CAPACITY, Monitor};
pub use options::{
    AcceptFilter, CONTEXT_OPTIONS, ContextOptionInfo, Effect, OPTIONS, OptionInfo, OptionKind, OptionValue,
    ReconnectStop,
};
pub use oxzmq_proto::{Frame, IntoFrames, Message, Properties, SocketType};
pub use peer_info::{PeerInfo, PeerKey, Unsent, WhichPeer};
pub use peers::Drops;
pub use poller::{Interest, PollEvent, Poller};
pub use proxy::{proxy, proxy_steerable};
pub use security::{AuthRequest, Credentials, GssapiName, GssapiNameType, Mechanism, Security};
pub use socket::{Readiness, Socket, SocketStats};
