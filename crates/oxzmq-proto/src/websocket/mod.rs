//! ZeroMQ over WebSocket: ZWS 2.0 (RFC 45) on RFC 6455.
//!
//! The connection begins as an HTTP request that asks for an upgrade ([`upgrade`]). From then on each ZMTP frame is
//! one binary message of WebSocket's ([`header`]):
//!
//! ```text
//! 82  length (1, 3 or 9)  mask (0 or 4)  flags (1)  body
//! ```
//!
//! Flags are MORE (1) and COMMAND (2, where a ZMTP frame has 4). There is no greeting: the mechanism is agreed on in
//! the upgrade (`ZWS2.0/NULL`), and its commands come next. Without a mechanism (`ZWS2.0`) each side's first message is
//! its routing id, as in ZMTP 2.0. Heartbeats are WebSocket's own pings.
//!
//! The rest of the crate meets WebSocket in three places: [`Handshake`](crate::Handshake) begins with the upgrade, an
//! encoder has a [`Wrapper`] where others may have a mechanism's sealer, and a decoder that is told so reads these frames
//! instead of ZMTP's. What is between knows nothing of it.

pub(crate) mod header;
mod incoming;
mod mask;
pub(crate) mod upgrade;
mod wrapper;

pub(crate) use self::incoming::{Incoming, read_frame};
pub(crate) use self::mask::apply as unmask;
pub(crate) use self::wrapper::Wrapper;
use crate::curve::RandomSource;
use crate::error::printable;
use crate::{ProtocolError, Version};

/// The name of the protocol without a mechanism, and what stands before a mechanism's name with one.
pub(crate) const BARE: &str = "ZWS2.0";

/// What versions of ZMTP the two variants go by. With a mechanism: commands, but subscriptions as messages, whatever
/// the peer: a libzmq PUB ignores those that come as commands here. Without: as ZMTP 2.0, which has no commands.
pub(crate) const WITH_MECHANISM: Version = Version::V3_0;
pub(crate) const WITHOUT_MECHANISM: Version = Version::V2;

/// That a connection speaks WebSocket, and which end of it this is. Who connects is WebSocket's client, whatever the
/// mechanism calls it.
#[derive(Clone, Debug)]
pub struct WebSocket {
    pub(crate) end: End,
}

#[derive(Clone, Debug)]
pub(crate) enum End {
    Client { host: String, path: String, random: RandomSource },
    Server,
}

/// Which end we are: clients mask what they send, servers do not, and each insists on that of the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Client,
    Server,
}

impl WebSocket {
    /// The end that connects. `host` and `path` are what the request asks for; characters that have no place there make the
    /// handshake fail. Masks come from `random`.
    pub fn client(host: impl Into<String>, path: impl Into<String>, random: RandomSource) -> Self {
        WebSocket { end: End::Client { host: host.into(), path: path.into(), random } }
    }

    /// The end that listens. Any path is taken.
    pub fn server() -> Self {
        WebSocket { end: End::Server }
    }
}

/// The subprotocol for a mechanism.
pub(crate) fn protocol(mechanism: &str) -> String {
    format!("{BARE}/{mechanism}")
}

/// A violation of the framing.
pub(crate) fn violation(reason: &'static str) -> ProtocolError {
    ProtocolError::WebSocketFrame { reason }
}

/// An upgrade that does not come about.
pub(crate) fn no_upgrade(reason: &'static str) -> ProtocolError {
    ProtocolError::WebSocketUpgrade { reason: reason.to_owned() }
}

/// The same, with a piece of what the peer said.
pub(crate) fn no_upgrade_because(reason: &str, said: &[u8]) -> ProtocolError {
    ProtocolError::WebSocketUpgrade { reason: format!("{reason} \"{}\"", printable(said)) }
}
