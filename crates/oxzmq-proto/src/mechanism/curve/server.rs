//! The server's side of a CURVE handshake.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use super::keys::random_octets;
use super::traffic::Side;
use super::{
    COOKIE, COOKIE_NONCE, CurveServer, Fields, HELLO, HELLO_NONCE, INITIATE, INITIATE_NONCE, KEY, NAME, Opener,
    READY_NONCE, Sealer, SecretKey, SharedKey, VOUCH, VOUCH_NONCE, WELCOME, WELCOME_NONCE, counted, drawn, open_box,
    put_box,
};
use crate::handshake::HandshakeConfig;
use crate::mechanism::{self, AuthRequest, Mechanism, Status, our_metadata, peer_metadata};
use crate::properties::Properties;
use crate::{ProtocolError, SocketType, command};

/// The counter of READY; traffic goes on from there.
const READY_COUNT: u64 = 1;

#[derive(Debug)]
pub(in crate::mechanism) struct Server {
    socket_type: SocketType,
    metadata: Vec<u8>,
    keys: Arc<CurveServer>,
    state: State,
    /// The next command to send.
    command: Option<Vec<u8>>,
}

#[derive(Debug)]
enum State {
    Hello,
    /// All that is kept between WELCOME and INITIATE is the key of the cookie, in which the client
    /// brings back C' and s'. It is this connection's own: no other's cookie opens.
    Initiate(SharedKey),
    /// The authenticator has to decide.
    Asking(Box<Client>),
    Done(Box<Client>),
}

/// A client that has proved to own its keys.
#[derive(Debug)]
struct Client {
    key: [u8; KEY],
    shared: SharedKey,
    properties: Properties,
    /// The counter of its INITIATE.
    count: [u8; 8],
}

impl Server {
    pub(in crate::mechanism) fn new(config: &HandshakeConfig, keys: &Arc<CurveServer>) -> Self {
        Server {
            socket_type: config.socket_type,
            metadata: our_metadata(config),
            keys: Arc::clone(keys),
            state: State::Hello,
            command: None,
        }
    }

    /// Answer a HELLO; returns the cookie's key.
    fn hello(&mut self, body: &[u8]) -> Result<SharedKey, ProtocolError> {
        let malformed = ProtocolError::MalformedCommand { name: "HELLO", length: body.len() };
        // Version 1.0, and padding that makes HELLO larger than what it is answered with.
        if body.len() != HELLO || body[6..8] != [1, 0] || body[8..80] != [0; 72] {
            return Err(malformed);
        }
        let mut fields = Fields(&body[80..]);
        let client: &[u8; KEY] = fields.take("HELLO")?; // C'
        let count = fields.take("HELLO")?;
        let shared = self.keys.secret.shared_with(client, "HELLO")?;
        let zeros = open_box(fields.0, &shared, &counted(HELLO_NONCE, count), "HELLO")?;
        if zeros[..] != [0; 64] {
            return Err(malformed);
        }

        let random = self.keys.random;
        let secret = SecretKey::random(random)?; // s'
        let cookie_key = SharedKey(random_octets(random)?);
        let cookie_random = random_octets(random)?;
        let mut cookie = Vec::with_capacity(COOKIE);
        cookie.extend_from_slice(&cookie_random);
        put_box(&mut cookie, &cookie_key, &drawn(COOKIE_NONCE, &cookie_random), &[client, secret.as_bytes()]);

        let welcome_random = random_octets(random)?;
        let mut welcome = Vec::with_capacity(WELCOME);
        welcome.extend_from_slice(b"\x07WELCOME");
        welcome.extend_from_slice(&welcome_random);
        let nonce = drawn(WELCOME_NONCE, &welcome_random);
        put_box(&mut welcome, &shared, &nonce, &[&secret.public_key(), &cookie]);
        self.command = Some(welcome);
        Ok(cookie_key)
    }

    fn initiate(&self, cookie_key: &SharedKey, body: &[u8]) -> Result<Client, ProtocolError> {
        if body.len() < INITIATE {
            return Err(ProtocolError::MalformedCommand { name: "INITIATE", length: body.len() });
        }
        let mut fields = Fields(&body[9..]);
        let cookie_random = fields.take("INITIATE")?;
        let cookie: &[u8; COOKIE - 16] = fields.take("INITIATE")?;
        let count: &[u8; 8] = fields.take("INITIATE")?;

        let cookie = open_box(cookie, cookie_key, &drawn(COOKIE_NONCE, cookie_random), "the cookie")?;
        let mut kept = Fields(&cookie);
        let transient: &[u8; KEY] = kept.take("INITIATE")?; // C'
        let secret = SecretKey::from_bytes(*kept.take("INITIATE")?); // s'

        let shared = secret.shared_with(transient, "INITIATE")?;
        let opened = open_box(fields.0, &shared, &counted(INITIATE_NONCE, count), "INITIATE")?;
        let mut fields = Fields(&opened);
        let key: &[u8; KEY] = fields.take("INITIATE")?; // C
        let vouch_random = fields.take("INITIATE")?;
        let vouch: &[u8; VOUCH - 16] = fields.take("INITIATE")?;

        let vouch_key = secret.shared_with(key, "the client's key")?;
        let vouched = open_box(vouch, &vouch_key, &drawn(VOUCH_NONCE, vouch_random), "the vouch")?;
        // All of these are public keys: nothing is learnt from how long it takes to compare them. libzmq
        // does not look at S; a vouch that was made for another server is refused here.
        if vouched[..KEY] != *transient || vouched[KEY..] != self.keys.public {
            return Err(ProtocolError::KeyExchange);
        }
        let properties = peer_metadata(self.socket_type, fields.0)?;
        Ok(Client { key: *key, shared, properties, count: *count })
    }

    fn ready(&self, shared: &SharedKey) -> Vec<u8> {
        let count = READY_COUNT.to_be_bytes();
        let mut ready = b"\x05READY".to_vec();
        ready.extend_from_slice(&count);
        put_box(&mut ready, shared, &counted(READY_NONCE, &count), &[&self.metadata]);
        ready
    }
}

impl Mechanism for Server {
    fn handle_command(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        let (name, _) = command::split(body)?;
        self.state = match (&self.state, name) {
            (State::Hello, b"HELLO") => State::Initiate(self.hello(body)?),
            (State::Initiate(cookie_key), b"INITIATE") => {
                let client = self.initiate(cookie_key, body)?;
                State::Asking(Box::new(client))
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
            State::Hello | State::Initiate(_) => Status::Waiting,
            State::Asking(_) => Status::Asking,
            State::Done(_) => Status::Ready,
        }
    }

    fn auth_request(&self) -> Option<AuthRequest> {
        let State::Asking(client) = &self.state else { return None };
        Some(AuthRequest { mechanism: NAME, credentials: vec![Bytes::copy_from_slice(&client.key)] })
    }

    fn authenticated(&mut self) -> Result<(), ProtocolError> {
        self.state = match mem::replace(&mut self.state, State::Hello) {
            State::Asking(client) => {
                self.command = Some(self.ready(&client.shared));
                State::Done(client)
            }
            other => other,
        };
        Ok(())
    }

    fn peer_properties(&mut self) -> Properties {
        match &mut self.state {
            State::Done(client) => mem::take(&mut client.properties),
            _ => Properties::new(),
        }
    }

    fn traffic(&mut self) -> Option<(Box<mechanism::Sealer>, Box<mechanism::Opener>)> {
        let State::Done(client) = &self.state else { return None };
        let sealer = Sealer::new(&client.shared, Side::Server, READY_COUNT + 1);
        let opener = Opener::new(&client.shared, Side::Client, client.count);
        Some((Box::new(mechanism::Sealer::Curve(sealer)), Box::new(mechanism::Opener::Curve(opener))))
    }
}
