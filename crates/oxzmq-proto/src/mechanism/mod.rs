//! Security mechanisms: what happens between the greeting and traffic.
//!
//! A mechanism is one file with a state machine behind [`Mechanism`]: commands go in, commands come
//! out, until it is ready. It has no part in framing or in the greeting, and decides nothing about time.

pub(crate) mod curve;
pub(crate) mod gssapi;
mod null;
mod plain;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
pub use plain::PlainCredentials;

use self::curve::{CurveClient, CurveServer};
use self::gssapi::Gssapi;
use crate::handshake::HandshakeConfig;
use crate::properties::Properties;
use crate::websocket::Wrapper;
use crate::{Frame, OutBuf, ProtocolError, SocketType, error};

/// How a connection is secured: the mechanism, this side's role in it, and its keys.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Security {
    /// Not at all.
    #[default]
    Null,
    /// The client of PLAIN.
    PlainClient(Arc<PlainCredentials>),
    /// The server of PLAIN.
    PlainServer,
    /// The client of CURVE.
    CurveClient(Arc<CurveClient>),
    /// The server of CURVE.
    CurveServer(Arc<CurveServer>),
    /// Either side of GSSAPI.
    Gssapi(Arc<Gssapi>),
}

/// What there is to decide about a peer; see [`Handshake::auth_request`](crate::Handshake::auth_request).
#[derive(Clone, PartialEq, Eq)]
pub struct AuthRequest {
    /// `NULL`, `PLAIN`, `CURVE` or `GSSAPI`.
    pub mechanism: &'static str,
    /// NULL: none. PLAIN: user name and password. CURVE: the client's public key, which it has proved to
    /// own the secret one of. GSSAPI: the client's principal.
    pub credentials: Vec<Bytes>,
}

impl fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials may be a password.
        f.debug_struct("AuthRequest").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// One connection's handshake after the greeting.
pub(crate) trait Mechanism: fmt::Debug + Send + Sync {
    /// Take in a command's body. Whether its frame was marked as a command is not looked at during
    /// the handshake: libzmq does not, so peers exist that get it wrong.
    fn handle_command(&mut self, body: &[u8]) -> Result<(), ProtocolError>;

    /// The body of the next command to send, as long as there is one.
    fn next_command(&mut self) -> Option<Vec<u8>>;

    /// Whether both sides are done, so that what the peer sends next is traffic.
    fn status(&self) -> Status;

    /// What has to be decided about the peer, while [`Status::Asking`].
    fn auth_request(&self) -> Option<AuthRequest> {
        None
    }

    /// The peer is welcome: go on.
    fn authenticated(&mut self) -> Result<(), ProtocolError> {
        Ok(())
    }

    /// The peer's metadata, once ready.
    fn peer_properties(&mut self) -> Properties;

    /// What seals and opens the traffic, once ready; `None` where it travels in the clear.
    fn traffic(&mut self) -> Option<(Box<Sealer>, Box<Opener>)> {
        None
    }
}

/// Turns frames into what a mechanism sends for them, or WebSocket.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "in a box as a whole")]
pub(crate) enum Sealer {
    Curve(curve::Sealer),
    Gssapi(gssapi::Sealer),
    /// With the mechanism's own in it, if there is one.
    WebSocket(Wrapper),
}

impl Sealer {
    /// Append the frame with these flags (those of a header) whose body is `parts`.
    #[inline]
    pub(crate) fn put(&mut self, flags: u8, parts: &[&[u8]], out: &mut OutBuf) {
        match self {
            Sealer::Curve(sealer) => sealer.put(flags, parts, out),
            Sealer::Gssapi(sealer) => sealer.put(flags, parts, out),
            Sealer::WebSocket(wrapper) => wrapper.put(flags, parts, out),
        }
    }

    /// The same for a frame of a message.
    #[inline]
    pub(crate) fn put_frame(&mut self, flags: u8, frame: &Frame, out: &mut OutBuf) {
        match self {
            Sealer::WebSocket(wrapper) => wrapper.put_frame(flags, frame, out),
            mechanism => mechanism.put(flags, &[frame], out),
        }
    }

    /// Where control frames are WebSocket's.
    pub(crate) fn websocket(&mut self) -> Option<&mut Wrapper> {
        match self {
            Sealer::WebSocket(wrapper) => Some(wrapper),
            _ => None,
        }
    }
}

/// Turns what a mechanism has sent for frames back into them.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "in a box as a whole")]
pub(crate) enum Opener {
    Curve(curve::Opener),
    Gssapi(gssapi::Opener),
}

impl Opener {
    /// The flags (those of a header) and body of the frame in `message`.
    #[inline]
    pub(crate) fn open(&mut self, message: &[u8]) -> Result<(u8, Frame), ProtocolError> {
        match self {
            Opener::Curve(opener) => opener.open(message),
            Opener::Gssapi(opener) => opener.open(message),
        }
    }

    /// As [`Opener::open`], in place where that can be.
    pub(crate) fn open_owned(&mut self, message: Vec<u8>) -> Result<(u8, Frame), ProtocolError> {
        match self {
            Opener::Curve(opener) => opener.open_owned(message),
            Opener::Gssapi(opener) => opener.open(&message),
        }
    }

    /// Octets that travel for a frame beyond its own, at most.
    pub(crate) fn overhead(&self) -> usize {
        match self {
            Opener::Curve(_) => curve::MESSAGE_OVERHEAD,
            Opener::Gssapi(_) => gssapi::MESSAGE_OVERHEAD,
        }
    }
}

/// How far a mechanism is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    /// The peer has to send something.
    Waiting,
    /// The authenticator has to decide.
    Asking,
    /// Done.
    Ready,
}

/// The name in the greeting of the mechanism that `config` asks for.
pub(crate) fn name(config: &HandshakeConfig) -> &'static str {
    match config.security {
        Security::Null => null::NAME,
        Security::PlainClient(_) | Security::PlainServer => plain::NAME,
        Security::CurveClient(_) | Security::CurveServer(_) => curve::NAME,
        Security::Gssapi(_) => gssapi::NAME,
    }
}

/// The mechanism that `config` asks for.
pub(crate) fn new(config: &HandshakeConfig) -> Result<Box<dyn Mechanism>, ProtocolError> {
    Ok(match &config.security {
        Security::Null => Box::new(null::Null::new(config)),
        Security::PlainClient(credentials) => Box::new(plain::Client::new(config, credentials)),
        Security::PlainServer => Box::new(plain::Server::new(config)),
        Security::CurveClient(keys) => Box::new(curve::Client::new(config, keys)?),
        Security::CurveServer(keys) => Box::new(curve::Server::new(config, keys)),
        Security::Gssapi(gssapi) => Box::new(gssapi::Handshake::new(config, gssapi)?),
    })
}

/// Our metadata in its form on the wire: Socket-Type, then Identity for those that send one, even if
/// it is empty, then the application's, in the order of their names and each once.
fn our_metadata(config: &HandshakeConfig) -> Vec<u8> {
    let mut properties = Properties::new();
    properties.insert(Properties::SOCKET_TYPE, config.socket_type.name());
    if config.socket_type.sends_identity() {
        properties.insert(Properties::IDENTITY, config.routing_id.clone());
    }
    // A stable sort: of equal names the first one set stays first, and wins.
    let mut application: Vec<_> = config.metadata.iter().collect();
    application.sort_by_key(|(name, _)| name.as_bytes());
    for (name, value) in application {
        properties.insert(name.as_str(), value.clone());
    }
    let mut octets = Vec::new();
    properties.encode(&mut octets);
    octets
}

/// Read the peer's metadata and check that it is a partner for `ours`.
///
/// A missing Socket-Type is accepted without a check, and so is one in other case, because libzmq
/// does not recognise it.
fn peer_metadata(ours: SocketType, octets: &[u8]) -> Result<Properties, ProtocolError> {
    let properties = Properties::parse(octets)?;
    if let Some(name) = properties.get_exact(Properties::SOCKET_TYPE) {
        let accepted = SocketType::from_name(name).is_some_and(|theirs| ours.accepts(theirs));
        if !accepted {
            let theirs = error::printable(name);
            return Err(ProtocolError::IncompatibleSocketType { ours, theirs });
        }
    }
    Ok(properties)
}
