//! NULL: each side sends its metadata in a READY, and that is all (RFC 37).

use std::mem;

use super::{AuthRequest, Mechanism, Status, our_metadata, peer_metadata};
use crate::handshake::HandshakeConfig;
use crate::properties::Properties;
use crate::{ProtocolError, SocketType, command};

pub(super) const NAME: &str = "NULL";

/// Neither side waits for the other, whatever the RFC says of clients and servers: nobody does.
#[derive(Debug)]
pub(super) struct Null {
    socket_type: SocketType,
    /// Our READY until it is sent.
    ready: Option<Vec<u8>>,
    /// The peer's metadata once its READY has come.
    peer: Option<Properties>,
    /// The authenticator has to decide before we say anything.
    asking: bool,
}

impl Null {
    pub(super) fn new(config: &HandshakeConfig) -> Self {
        let mut ready = b"\x05READY".to_vec();
        ready.extend_from_slice(&our_metadata(config));
        Null { socket_type: config.socket_type, ready: Some(ready), peer: None, asking: config.authenticate }
    }
}

impl Mechanism for Null {
    fn handle_command(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        let (name, data) = command::split(body)?;
        match name {
            b"READY" if self.peer.is_none() => {
                self.peer = Some(peer_metadata(self.socket_type, data)?);
                Ok(())
            }
            b"ERROR" => Err(command::peer_error(body, data)),
            _ => Err(command::unexpected(name)),
        }
    }

    fn next_command(&mut self) -> Option<Vec<u8>> {
        if self.asking { None } else { self.ready.take() }
    }

    fn status(&self) -> Status {
        if self.asking {
            return Status::Asking;
        }
        if self.ready.is_none() && self.peer.is_some() { Status::Ready } else { Status::Waiting }
    }

    fn auth_request(&self) -> Option<AuthRequest> {
        self.asking.then(|| AuthRequest { mechanism: NAME, credentials: Vec::new() })
    }

    fn authenticated(&mut self) -> Result<(), ProtocolError> {
        self.asking = false;
        Ok(())
    }

    fn peer_properties(&mut self) -> Properties {
        self.peer.as_mut().map(mem::take).unwrap_or_default()
    }
}
