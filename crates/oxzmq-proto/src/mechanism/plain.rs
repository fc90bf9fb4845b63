//! PLAIN: user name and password in the clear (RFC 24).

use std::fmt;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{AuthRequest, Mechanism, Status, our_metadata, peer_metadata};
use crate::handshake::HandshakeConfig;
use crate::properties::Properties;
use crate::{ProtocolError, SocketType, command};

pub(super) const NAME: &str = "PLAIN";

/// How libzmq from 4.3.0 on spells ERROR here; everything else it spells right.
const MISSPELT_ERROR: &[u8] = b"\x5eRROR";

/// A user name and a password of at most 255 octets each. Wiped when dropped, never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PlainCredentials {
    username: Vec<u8>,
    password: Vec<u8>,
}

impl PlainCredentials {
    /// `None` if either is longer than 255 octets, which is all that the wire can carry. Both may be empty.
    pub fn new(username: impl Into<Vec<u8>>, password: impl Into<Vec<u8>>) -> Option<Self> {
        let credentials = PlainCredentials { username: username.into(), password: password.into() };
        let fit = credentials.username.len() <= 255 && credentials.password.len() <= 255;
        fit.then_some(credentials)
    }
}

impl fmt::Debug for PlainCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainCredentials(..)")
    }
}

#[derive(Debug)]
pub(super) struct Client {
    socket_type: SocketType,
    metadata: Vec<u8>,
    state: ClientState,
    command: Option<Vec<u8>>,
}

#[derive(Debug)]
enum ClientState {
    Welcome,
    Ready,
    Done(Properties),
}

impl Client {
    pub(super) fn new(config: &HandshakeConfig, credentials: &Arc<PlainCredentials>) -> Self {
        let PlainCredentials { username, password } = &**credentials;
        let mut hello = b"\x05HELLO".to_vec();
        for field in [username, password] {
            hello.push(field.len() as u8); // at most 255, see `PlainCredentials::new`
            hello.extend_from_slice(field);
        }
        Client {
            socket_type: config.socket_type,
            metadata: our_metadata(config),
            state: ClientState::Welcome,
            command: Some(hello),
        }
    }
}

impl Mechanism for Client {
    fn handle_command(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        if let Some(data) = body.strip_prefix(MISSPELT_ERROR) {
            return Err(command::peer_error(body, data));
        }
        let (name, data) = command::split(body)?;
        self.state = match (&self.state, name) {
            (ClientState::Welcome, b"WELCOME") if data.is_empty() => {
                let mut initiate = b"\x08INITIATE".to_vec();
                initiate.extend_from_slice(&self.metadata);
                self.command = Some(initiate);
                ClientState::Ready
            }
            (ClientState::Welcome, b"WELCOME") => {
                return Err(ProtocolError::MalformedCommand { name: "WELCOME", length: body.len() });
            }
            (ClientState::Ready, b"READY") => ClientState::Done(peer_metadata(self.socket_type, data)?),
            (ClientState::Welcome | ClientState::Ready, b"ERROR") => return Err(command::peer_error(body, data)),
            _ => return Err(command::unexpected(name)),
        };
        Ok(())
    }

    fn next_command(&mut self) -> Option<Vec<u8>> {
        self.command.take()
    }

    fn status(&self) -> Status {
        if matches!(self.state, ClientState::Done(_)) { Status::Ready } else { Status::Waiting }
    }

    fn peer_properties(&mut self) -> Properties {
        match &mut self.state {
            ClientState::Done(properties) => mem::take(properties),
            _ => Properties::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Server {
    socket_type: SocketType,
    metadata: Vec<u8>,
    state: ServerState,
    command: Option<Vec<u8>>,
}

enum ServerState {
    Hello,
    /// The authenticator has to decide about these credentials.
    Asking(Vec<Bytes>),
    Initiate,
    Done(Properties),
}

impl fmt::Debug for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ServerState::Hello => "Hello",
            ServerState::Asking(_) => "Asking",
            ServerState::Initiate => "Initiate",
            ServerState::Done(_) => "Done",
        })
    }
}

impl Server {
    pub(super) fn new(config: &HandshakeConfig) -> Self {
        Server {
            socket_type: config.socket_type,
            metadata: our_metadata(config),
            state: ServerState::Hello,
            command: None,
        }
    }
}

impl Mechanism for Server {
    fn handle_command(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        let (name, data) = command::split(body)?;
        self.state = match (&self.state, name) {
            (ServerState::Hello, b"HELLO") => {
                let credentials =
                    credentials(data).ok_or(ProtocolError::MalformedCommand { name: "HELLO", length: body.len() })?;
                ServerState::Asking(credentials)
            }
            (ServerState::Initiate, b"INITIATE") => {
                let properties = peer_metadata(self.socket_type, data)?;
                let mut ready = b"\x05READY".to_vec();
                ready.extend_from_slice(&self.metadata);
                self.command = Some(ready);
                ServerState::Done(properties)
            }
            _ => return Err(command::unexpected(name)),
        };
        Ok(())
    }

    fn next_command(&mut self) -> Option<Vec<u8>> {
        self.command.take()
    }

    fn status(&self) -> Status {
        match self.state {
            ServerState::Hello | ServerState::Initiate => Status::Waiting,
            ServerState::Asking(_) => Status::Asking,
            ServerState::Done(_) => Status::Ready,
        }
    }

    fn auth_request(&self) -> Option<AuthRequest> {
        let ServerState::Asking(credentials) = &self.state else { return None };
        Some(AuthRequest { mechanism: NAME, credentials: credentials.clone() })
    }

    fn authenticated(&mut self) -> Result<(), ProtocolError> {
        if let ServerState::Asking(_) = self.state {
            self.command = Some(b"\x07WELCOME".to_vec());
            self.state = ServerState::Initiate;
        }
        Ok(())
    }

    fn peer_properties(&mut self) -> Properties {
        match &mut self.state {
            ServerState::Done(properties) => mem::take(properties),
            _ => Properties::new(),
        }
    }
}

/// User name and password of a HELLO, which must hold these and no more.
fn credentials(data: &[u8]) -> Option<Vec<Bytes>> {
    let (&len, rest) = data.split_first()?;
    let (username, rest) = rest.split_at_checked(usize::from(len))?;
    let (&len, rest) = rest.split_first()?;
    let (password, rest) = rest.split_at_checked(usize::from(len))?;
    rest.is_empty().then(|| vec![Bytes::copy_from_slice(username), Bytes::copy_from_slice(password)])
}
