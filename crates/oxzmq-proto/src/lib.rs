//! ZeroMQ's wire protocol (ZMTP) without I/O: bytes in, messages out, and back.
//!
//! This crate owns no socket, thread, clock or random source. A *driver* reads bytes from a
//! transport, hands them in, and writes what comes out:
//!
//! ```
//! use std::collections::VecDeque;
//! use oxzmq_proto::{Handshake, HandshakeConfig, Message, OutBuf, SocketType};
//!
//! // Two ends of one connection; a real driver has a socket where this has `pump`.
//! let mut push = Handshake::new(HandshakeConfig::new(SocketType::Push));
//! let mut pull = Handshake::new(HandshakeConfig::new(SocketType::Pull));
//! fn pump(from: &mut Handshake, to: &mut Handshake) -> Result<(), oxzmq_proto::ProtocolError> {
//!     let taken = to.handle_input(from.output())?;
//!     from.advance_output(taken);
//!     Ok(())
//! }
//! while !(push.is_complete() && pull.is_complete()) {
//!     pump(&mut push, &mut pull)?;
//!     pump(&mut pull, &mut push)?;
//! }
//!
//! let mut wire = OutBuf::new();
//! push.finish().encoder.encode(Message::from("work"), &mut wire);
//! let (mut messages, mut controls) = (VecDeque::new(), Vec::new());
//! let mut decoder = pull.finish().decoder;
//! decoder.decode(wire.first_slice(), &mut messages, usize::MAX, &mut controls)?;
//! assert_eq!(messages[0], Message::from("work"));
//! # Ok::<(), oxzmq_proto::ProtocolError>(())
//! ```
//!
//! # Which part does what
//!
//! * [`Handshake`] carries a connection from its first byte to traffic: greeting, choice of the
//!   version, mechanism. [`Established`] is what comes of it.
//! * [`Security`] says how: not at all, PLAIN or CURVE. [`Handshake::auth_request`] is where the driver decides
//!   about the peer.
//! * [`Encoder`] turns [`Message`]s into bytes in an [`OutBuf`], [`Decoder`] turns bytes into
//!   [`Message`]s. A message appears only when it is whole.
//! * [`SubscriptionIndex`] and [`SubscriptionSet`] answer who wants a message.
//! * [`limits`] holds every bound on what a peer can make us keep.
//!
//! # What holds on any input
//!
//! Bytes from a peer never cause a panic, recursion, or an allocation larger than in proportion to
//! the bytes that came. The same bytes give the same messages however they are cut. An error is
//! final: the connection it came from is to be closed and its objects dropped.
//!
//! # Protocol versions
//!
//! Over WebSocket (see [`WebSocket`]) it is ZWS 2.0 (RFC 45), which has no versions of ZMTP.
//!
//! ZMTP 3.1 (RFC 37) is announced; 3.0 (RFC 23), 2.0 (RFC 15) and 1.0 (RFC 13) peers are spoken to
//! in their own version. Where deployed peers differ from the RFC's text, the comment at the place
//! says so, and which was followed.

#![forbid(unsafe_code)]

mod command;
mod decoder;
mod encoder;
mod error;
mod frame;
mod greeting;
mod handshake;
mod header;
pub mod limits;
mod mechanism;
mod message;
mod outbuf;
mod packed;
mod prefix_map;
mod properties;
mod reply_check;
mod socket_type;
mod subscription;
mod version;
mod websocket;

/// The CURVE mechanism's keys.
pub mod curve {
    pub use crate::mechanism::curve::{CurveClient, CurveServer, RandomSource, SecretKey};
}

/// The GSSAPI mechanism, over whatever library makes its contexts.
pub mod gssapi {
    pub use crate::mechanism::gssapi::{Gssapi, SecurityContext};
}

pub use decoder::{Control, Decoder, LARGE_BODY, LargeBody};
pub use encoder::Encoder;
pub use error::ProtocolError;
pub use frame::Frame;
pub use handshake::{Established, Handshake, HandshakeConfig};
pub use limits::Limits;
pub use mechanism::{AuthRequest, PlainCredentials, Security};
pub use message::{IntoFrames, Kind, Message};
pub use outbuf::OutBuf;
#[doc(hidden)]
pub use packed::Packed;
pub use properties::Properties;
pub use socket_type::SocketType;
pub use subscription::{Removed, SubscriptionIndex, SubscriptionSet};
pub use version::Version;
pub use websocket::WebSocket;
