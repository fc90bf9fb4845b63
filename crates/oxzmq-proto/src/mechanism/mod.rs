//! Security mechanisms: what happens between the greeting and traffic.
//!
//! A mechanism is one file with a state machine behind [`Mechanism`]: commands go in, commands come
//! out, until it is ready. It has no part in framing or in the greeting, and decides nothing about time.

mod null;

use std::fmt;

use crate::handshake::HandshakeConfig;
use crate::properties::Properties;
use crate::{ProtocolError, SocketType, error};

/// One connection's handshake after the greeting.
pub(crate) trait Mechanism: fmt::Debug + Send + Sync {
    /// Take in a command's body. Whether its frame was marked as a command is not looked at during
    /// the handshake: libzmq does not, so peers exist that get it wrong.
    fn handle_command(&mut self, body: &[u8]) -> Result<(), ProtocolError>;

    /// The body of the next command to send, as long as there is one.
    fn next_command(&mut self) -> Option<Vec<u8>>;

    /// Whether both sides are done, so that what the peer sends next is traffic.
    fn status(&self) -> Status;

    /// The peer's metadata, once ready.
    fn peer_properties(&mut self) -> Properties;
}

/// How far a mechanism is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    /// The peer has to send something.
    Waiting,
    /// Done.
    Ready,
}

/// The name in the greeting of the mechanism that `config` asks for.
pub(crate) fn name(_config: &HandshakeConfig) -> &'static str {
    null::NAME
}

/// The mechanism that `config` asks for.
pub(crate) fn new(config: &HandshakeConfig) -> Box<dyn Mechanism> {
    Box::new(null::Null::new(config))
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
