//! What a peer did wrong, or why we cannot talk to it.

use std::fmt;

use crate::{SocketType, Version};

/// Why a connection has to end. Always the peer's doing: a violation of the protocol, or something
/// that makes it no partner for this socket.
///
/// After any of these the connection is to be closed; its handshake or decoder is of no more use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A frame's header promises more than is allowed.
    FrameTooLarge {
        /// Octets promised.
        size: u64,
        /// Octets allowed.
        limit: u64,
    },
    /// A frame's length is 2^63 or more, which RFC 37 forbids, or more than this machine can address.
    LengthOverflow {
        /// Octets promised.
        size: u64,
    },
    /// A ZMTP 1.0 frame of length 0: lengths include the flags octet, so the least is 1.
    ZeroLengthV1Frame,
    /// A message has more frames than [`Limits::max_frames`](crate::Limits::max_frames).
    TooManyFrames {
        /// Frames allowed.
        limit: usize,
    },
    /// A message has more octets than [`Limits::max_message_size`](crate::Limits::max_message_size).
    MessageTooLarge {
        /// Octets including the frame that went too far.
        size: u64,
        /// Octets allowed.
        limit: u64,
    },
    /// A command is too short for what it has to hold.
    MalformedCommand {
        /// The command; empty if not even the name could be read.
        name: &'static str,
        /// Octets of the command's body, its name included.
        length: usize,
    },
    /// A command, or a message, that may not come at this point.
    UnexpectedCommand {
        /// The command's name, cut and made printable.
        name: String,
    },
    /// Metadata that ends within a property.
    InvalidMetadata {
        /// Where the broken property begins, in octets.
        offset: usize,
        /// Octets of metadata.
        length: usize,
    },
    /// Metadata with more properties than [`limits::MAX_PROPERTIES`](crate::limits::MAX_PROPERTIES).
    TooManyProperties {
        /// Properties allowed.
        limit: usize,
    },
    /// The greeting names another security mechanism than ours.
    MechanismMismatch {
        /// Ours.
        ours: &'static str,
        /// The peer's, made printable.
        theirs: String,
    },
    /// The peer speaks a version older than 3.0 and this socket does not.
    LegacyPeerRefused {
        /// What it speaks.
        version: Version,
    },
    /// The peer's socket type is unknown, or no partner for ours.
    IncompatibleSocketType {
        /// Ours.
        ours: SocketType,
        /// The peer's, cut and made printable.
        theirs: String,
    },
    /// A box that does not open, or a key with which none could be made: somebody else's, or tampered with.
    Cryptographic {
        /// What it was in.
        what: &'static str,
    },
    /// A CURVE message whose counter is not greater than the last one's: repeated or out of order.
    NonceNotIncreasing {
        /// The last counter.
        last: u64,
        /// The one received.
        received: u64,
    },
    /// A CURVE client's vouch is about other keys than those of this connection.
    KeyExchange,
    /// The system has no random octets for keys.
    NoRandomness,
    /// GSSAPI's library will not go on.
    SecurityContext {
        /// Why, in its words.
        reason: String,
    },
    /// Our authenticator refused the peer.
    AuthRefused {
        /// ZAP's code: 300, 400 or 500.
        status: u16,
    },
    /// The peer sent an ERROR command.
    PeerError {
        /// Its reason, made printable.
        reason: String,
    },
    /// The peer's routing id (identity) is longer than
    /// [`limits::MAX_ROUTING_ID`](crate::limits::MAX_ROUTING_ID).
    RoutingIdTooLong {
        /// Its octets.
        length: u64,
        /// Octets allowed.
        limit: usize,
    },
    /// A group joined or left is longer than [`limits::MAX_GROUP`](crate::limits::MAX_GROUP) or
    /// contains a zero octet.
    InvalidGroup {
        /// Its octets.
        length: usize,
    },
    /// An HTTP request or answer that does not come to a WebSocket between us.
    WebSocketUpgrade {
        /// What is wrong with it; what the peer said is made printable.
        reason: String,
    },
    /// A frame that breaks WebSocket's rules, or those of ZeroMQ over it.
    WebSocketFrame {
        /// What it is.
        reason: &'static str,
    },
    /// The peer closed the WebSocket in the middle of the handshake.
    WebSocketClosed,
    /// A reply to a REQ socket without the empty delimiter in its place (RFC 28).
    ReplyFormat {
        /// Index of the frame at which it went wrong.
        frame: usize,
        /// Octets of that frame.
        length: usize,
    },
}

impl ProtocolError {
    /// Whether a connecting socket must give this endpoint up instead of trying again.
    ///
    /// True for whatever the same peer would do again; libzmq connecters never come back after one of
    /// those either. What is worth another try (a close, a reset, a timeout) is the transport's to
    /// report, but for a refusal that is meant to be temporary, for randomness and tickets that may come, and for an
    /// upgrade to WebSocket that fails: with servers and proxies of the web between, that often means "later".
    pub fn is_fatal_for_connecter(&self) -> bool {
        use ProtocolError::*;
        !matches!(
            self,
            AuthRefused { status: 300 }
                | NoRandomness
                | SecurityContext { .. }
                | WebSocketUpgrade { .. }
                | WebSocketClosed
        )
    }

    /// The status code with which an authenticator refused: ours, or the peer's with 300, 400 or 500 in
    /// an ERROR.
    pub fn auth_status(&self) -> Option<u16> {
        match self {
            ProtocolError::AuthRefused { status } => Some(*status),
            ProtocolError::PeerError { reason } => match reason.as_str() {
                "300" => Some(300),
                "400" => Some(400),
                "500" => Some(500),
                _ => None,
            },
            _ => None,
        }
    }

    /// The `ZMQ_PROTOCOL_ERROR_*` number that a socket monitor reports, where there is one.
    ///
    /// libzmq reports broken NULL metadata without a number; the one meant for it is given here, so
    /// that a monitor always learns why.
    pub fn event_code(&self) -> Option<u32> {
        use ProtocolError::*;
        match self {
            UnexpectedCommand { .. } => Some(0x1000_0001),
            NonceNotIncreasing { .. } => Some(0x1000_0002),
            KeyExchange => Some(0x1000_0003),
            MalformedCommand { name: "MESSAGE", .. } => Some(0x1000_0012),
            MalformedCommand { name: "HELLO", .. } => Some(0x1000_0013),
            MalformedCommand { name: "INITIATE", .. } => Some(0x1000_0014),
            MalformedCommand { name: "WELCOME", .. } => Some(0x1000_0017),
            MalformedCommand { name: "ERROR", .. } => Some(0x1000_0015),
            MalformedCommand { name: "READY", .. } => Some(0x1000_0016),
            MalformedCommand { .. } | InvalidGroup { .. } => Some(0x1000_0011),
            InvalidMetadata { .. } | TooManyProperties { .. } | RoutingIdTooLong { .. } => Some(0x1000_0018),
            Cryptographic { .. } | SecurityContext { .. } => Some(0x1100_0001),
            MechanismMismatch { .. } => Some(0x1100_0002),
            WebSocketUpgrade { .. } | WebSocketFrame { .. } | WebSocketClosed => Some(0x3000_0000),
            FrameTooLarge { .. }
            | LengthOverflow { .. }
            | ZeroLengthV1Frame
            | TooManyFrames { .. }
            | MessageTooLarge { .. }
            | LegacyPeerRefused { .. }
            | IncompatibleSocketType { .. }
            | PeerError { .. }
            | AuthRefused { .. }
            | NoRandomness
            | ReplyFormat { .. } => None,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ProtocolError::*;
        match self {
            FrameTooLarge { size, limit } => {
                write!(f, "a frame of {size} octets where {limit} are allowed")
            }
            LengthOverflow { size } => write!(f, "a frame length of {size} octets is impossible"),
            ZeroLengthV1Frame => f.write_str("a ZMTP 1.0 frame of length 0"),
            TooManyFrames { limit } => write!(f, "a message of more than {limit} frames"),
            MessageTooLarge { size, limit } => {
                write!(f, "a message of {size} octets or more where {limit} are allowed")
            }
            MalformedCommand { name: "", length } => {
                write!(f, "a command of {length} octets that does not hold its own name")
            }
            MalformedCommand { name, length } => {
                write!(f, "a {name} command whose {length} octets do not make sense")
            }
            UnexpectedCommand { name } => write!(f, "the command {name:?} may not come here"),
            InvalidMetadata { offset, length } => {
                write!(f, "metadata of {length} octets breaks off in the property at {offset}")
            }
            TooManyProperties { limit } => write!(f, "metadata of more than {limit} properties"),
            MechanismMismatch { ours, theirs } => {
                write!(f, "the peer uses the mechanism {theirs:?}, we use {ours}")
            }
            LegacyPeerRefused { version } => {
                write!(f, "the peer speaks {version}, which is refused")
            }
            IncompatibleSocketType { ours, theirs } => {
                write!(f, "a peer of type {theirs:?} is no partner for {ours}")
            }
            Cryptographic { what } => write!(f, "{what} does not open: a foreign key, or tampered with"),
            NonceNotIncreasing { last, received } => {
                write!(f, "a message with the number {received} after one with the number {last}")
            }
            KeyExchange => f.write_str("the client's vouch is about other keys than this connection's"),
            SecurityContext { reason } => write!(f, "GSSAPI: {reason}"),
            NoRandomness => f.write_str("the system has no random octets for keys"),
            AuthRefused { status } => write!(f, "the authenticator refused the peer with {status}"),
            PeerError { reason } => write!(f, "the peer refused us: {reason:?}"),
            RoutingIdTooLong { length, limit } => {
                write!(f, "a routing id of {length} octets where {limit} are allowed")
            }
            InvalidGroup { length } => {
                write!(f, "a group name of {length} octets that is too long or contains a zero")
            }
            WebSocketUpgrade { reason } => write!(f, "no upgrade to WebSocket: {reason}"),
            WebSocketFrame { reason } => write!(f, "WebSocket: {reason}"),
            WebSocketClosed => f.write_str("the peer closed the WebSocket before the end of the handshake"),
            ReplyFormat { frame, length } => {
                write!(f, "a reply whose frame {frame} ({length} octets) is not where the delimiter has to be")
            }
        }
    }
}

impl std::error::Error for ProtocolError {}

/// A short printable form of octets from a peer, for error values.
pub(crate) fn printable(octets: &[u8]) -> String {
    const SHOWN: usize = 64;
    let shown = &octets[..octets.len().min(SHOWN)];
    shown.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_three_codes_are_a_refusal_by_authentication() {
        let error = |reason: &str| ProtocolError::PeerError { reason: reason.into() };
        assert_eq!(error("400").auth_status(), Some(400));
        assert_eq!(error("401").auth_status(), None);
        assert_eq!(error("4000").auth_status(), None);
        assert_eq!(ProtocolError::ZeroLengthV1Frame.auth_status(), None);
    }

    #[test]
    fn text_from_peers_is_cut_and_harmless() {
        assert_eq!(printable(b"a\n\xff"), "a\\n\\xff");
        assert_eq!(printable(&[b'x'; 1000]).len(), 64);
    }

    #[test]
    fn messages_say_the_numbers() {
        let error = ProtocolError::FrameTooLarge { size: 11, limit: 10 };
        assert_eq!(error.to_string(), "a frame of 11 octets where 10 are allowed");
        assert_eq!(error.event_code(), None);
    }
}
