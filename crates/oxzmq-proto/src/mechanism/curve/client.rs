//! The client's side of a CURVE handshake.

use std::mem;
use std::sync::Arc;

use super::keys::random_octets;
use super::traffic::Side;
use super::{
    COOKIE, CurveClient, Fields, HELLO, HELLO_NONCE, INITIATE, INITIATE_NONCE, KEY, Opener, READY, READY_NONCE, Sealer,
    SecretKey, SharedKey, VOUCH_NONCE, WELCOME, WELCOME_NONCE, counted, drawn, open_box, put_box,
};
use crate::handshake::HandshakeConfig;
use crate::mechanism::{self, Mechanism, Status, our_metadata, peer_metadata};
use crate::properties::Properties;
use crate::{ProtocolError, SocketType, command};

/// Counters of the commands; traffic goes on from there.
const HELLO_COUNT: u64 = 1;
const INITIATE_COUNT: u64 = 2;

#[derive(Debug)]
pub(in crate::mechanism) struct Client {
    socket_type: SocketType,
    metadata: Vec<u8>,
    keys: Arc<CurveClient>,
    /// c' and C'.
    secret: SecretKey,
    public: [u8; KEY],
    state: State,
    /// The next command to send.
    command: Option<Vec<u8>>,
    traffic: Option<(Box<mechanism::Sealer>, Box<mechanism::Opener>)>,
}

#[derive(Debug)]
enum State {
    /// A WELCOME has to come, in a box between C' and S.
    Welcome(SharedKey),
    /// A READY has to come, in a box between C' and S'.
    Ready(SharedKey),
    Done(Properties),
}

impl Client {
    pub(in crate::mechanism) fn new(config: &HandshakeConfig, keys: &Arc<CurveClient>) -> Result<Self, ProtocolError> {
        let secret = SecretKey::random(keys.random)?;
        let public = secret.public_key();
        let shared = secret.shared_with(&keys.server, "the server's public key")?;
        let count = HELLO_COUNT.to_be_bytes();
        let mut hello = Vec::with_capacity(HELLO);
        hello.extend_from_slice(b"\x05HELLO\x01\x00");
        hello.extend_from_slice(&[0; 72]);
        hello.extend_from_slice(&public);
        hello.extend_from_slice(&count);
        put_box(&mut hello, &shared, &counted(HELLO_NONCE, &count), &[&[0; 64]]);
        Ok(Client {
            socket_type: config.socket_type,
            metadata: our_metadata(config),
            keys: Arc::clone(keys),
            secret,
            public,
            state: State::Welcome(shared),
            command: Some(hello),
            traffic: None,
        })
    }

    fn welcome(&mut self, shared: &SharedKey, body: &[u8]) -> Result<SharedKey, ProtocolError> {
        if body.len() != WELCOME {
            return Err(ProtocolError::MalformedCommand { name: "WELCOME", length: body.len() });
        }
        let mut fields = Fields(&body[8..]);
        let nonce = drawn(WELCOME_NONCE, fields.take("WELCOME")?);
        let opened = open_box(fields.0, shared, &nonce, "WELCOME")?;
        let mut fields = Fields(&opened);
        let server: &[u8; KEY] = fields.take("WELCOME")?; // S'
        let cookie: &[u8; COOKIE] = fields.take("WELCOME")?;
        let traffic = self.secret.shared_with(server, "the server's transient key")?;
        self.command = Some(self.initiate(server, cookie, &traffic)?);
        Ok(traffic)
    }

    fn initiate(&self, server: &[u8; KEY], cookie: &[u8; COOKIE], key: &SharedKey) -> Result<Vec<u8>, ProtocolError> {
        let vouch_random = random_octets(self.keys.random)?;
        let vouch_key = self.keys.secret.shared_with(server, "the server's transient key")?;
        let mut vouch = vouch_random.to_vec();
        put_box(&mut vouch, &vouch_key, &drawn(VOUCH_NONCE, &vouch_random), &[&self.public, &self.keys.server]);
        let count = INITIATE_COUNT.to_be_bytes();
        let mut initiate = Vec::with_capacity(INITIATE + self.metadata.len());
        initiate.extend_from_slice(b"\x08INITIATE");
        initiate.extend_from_slice(cookie);
        initiate.extend_from_slice(&count);
        let parts: [&[u8]; 3] = [&self.keys.public, &vouch, &self.metadata];
        put_box(&mut initiate, key, &counted(INITIATE_NONCE, &count), &parts);
        Ok(initiate)
    }

    fn ready(&mut self, shared: &SharedKey, body: &[u8]) -> Result<Properties, ProtocolError> {
        if body.len() < READY {
            return Err(ProtocolError::MalformedCommand { name: "READY", length: body.len() });
        }
        let mut fields = Fields(&body[6..]);
        let count = fields.take("READY")?;
        let metadata = open_box(fields.0, shared, &counted(READY_NONCE, count), "READY")?;
        let properties = peer_metadata(self.socket_type, &metadata)?;
        self.traffic = Some((
            Box::new(mechanism::Sealer::Curve(Sealer::new(shared, Side::Client, INITIATE_COUNT + 1))),
            Box::new(mechanism::Opener::Curve(Opener::new(shared, Side::Server, *count))),
        ));
        Ok(properties)
    }
}

impl Mechanism for Client {
    fn handle_command(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        let (name, data) = command::split(body)?;
        self.state = match (&self.state, name) {
            (State::Welcome(shared), b"WELCOME") => {
                let shared = shared.clone();
                State::Ready(self.welcome(&shared, body)?)
            }
            (State::Ready(shared), b"READY") => {
                let shared = shared.clone();
                State::Done(self.ready(&shared, body)?)
            }
            (State::Welcome(_) | State::Ready(_), b"ERROR") => return Err(command::peer_error(body, data)),
            _ => return Err(command::unexpected(name)),
        };
        Ok(())
    }

    fn next_command(&mut self) -> Option<Vec<u8>> {
        self.command.take()
    }

    fn status(&self) -> Status {
        if matches!(self.state, State::Done(_)) { Status::Ready } else { Status::Waiting }
    }

    fn peer_properties(&mut self) -> Properties {
        match &mut self.state {
            State::Done(properties) => mem::take(properties),
            _ => Properties::new(),
        }
    }

    fn traffic(&mut self) -> Option<(Box<mechanism::Sealer>, Box<mechanism::Opener>)> {
        self.traffic.take()
    }
}
