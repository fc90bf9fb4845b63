//! From a connection's first byte to the end of its handshake.

use std::mem;

use bytes::Bytes;

use crate::greeting::{Greeting, MechanismName, Outcome, padded};
use crate::header::{COMMAND, Header, MAX_HEADER};
use crate::limits::{MAX_HANDSHAKE_COMMAND, MAX_ROUTING_ID, MAX_UNREAD_PONGS};
use crate::mechanism::{self, AuthRequest, Mechanism, Opener, Sealer, Security, Status};
use crate::properties::Properties;
use crate::websocket::upgrade::Upgrade;
use crate::websocket::{self, End, Incoming, Side, WebSocket, Wrapper};
use crate::{Decoder, Encoder, Limits, OutBuf, ProtocolError, SocketType, Version, error};

/// What this side brings to a handshake.
#[derive(Clone, Debug)]
pub struct HandshakeConfig {
    /// Our socket type.
    pub socket_type: SocketType,
    /// Our routing id (identity), at most 255 octets; empty (the default) for none.
    pub routing_id: Bytes,
    /// The application's properties, whose names begin with `X-`; sent in the order of their names.
    pub metadata: Vec<(String, Bytes)>,
    /// Whether peers older than ZMTP 3.0 may connect; default true. They cannot authenticate, and
    /// anything that does not begin with `ff`, such as an HTTP request, looks like one.
    pub accept_legacy: bool,
    /// How the connection is secured; default [`Security::Null`]. With anything else, peers older than
    /// ZMTP 3.0 are refused whatever `accept_legacy` says.
    pub security: Security,
    /// Whether to ask before a peer without credentials (NULL) is let in; default false. Such a socket
    /// refuses peers older than ZMTP 3.0. The servers of the other mechanisms always ask.
    pub authenticate: bool,
    /// Bounds on the traffic that follows. They do not apply to the handshake, which has its own.
    pub limits: Limits,
    /// Set where the connection begins with an upgrade to WebSocket; default `None`. A peer that offers no mechanism then
    /// is admitted as one older than 3.0 would be.
    pub websocket: Option<WebSocket>,
}

impl HandshakeConfig {
    /// A configuration with everything but the type at its default.
    pub fn new(socket_type: SocketType) -> Self {
        HandshakeConfig {
            socket_type,
            routing_id: Bytes::new(),
            metadata: Vec::new(),
            accept_legacy: true,
            security: Security::Null,
            authenticate: false,
            limits: Limits::default(),
            websocket: None,
        }
    }

    /// Peers older than 3.0 know no mechanism at all.
    fn admits_legacy(&self) -> bool {
        self.accept_legacy && !self.authenticate && matches!(self.security, Security::Null)
    }
}

/// One connection's handshake.
///
/// Write what [`output`](Handshake::output) holds, right from the start; give what is read to
/// [`handle_input`](Handshake::handle_input); and once it
/// [`is_complete`](Handshake::is_complete) and the output is written, [`finish`](Handshake::finish) it.
/// How long that may take is for the driver to say. After input the driver also looks at
/// [`auth_request`](Handshake::auth_request).
#[derive(Debug)]
pub struct Handshake {
    config: HandshakeConfig,
    phase: Phase,
    /// Octets to be written are those from `written` on.
    output: Vec<u8>,
    written: usize,
    /// What puts our frames into those of WebSocket.
    websocket: Option<(Side, Wrapper)>,
    /// The frame that is being read after the greeting, from its header on.
    frame: Vec<u8>,
    /// What the authenticator says about the peer.
    granted: Properties,
}

#[derive(Debug)]
enum Phase {
    Greeting(Greeting),
    Upgrade(Upgrade),
    /// The identity frame of a peer older than 3.0.
    Identity {
        version: Version,
        peer_type: Option<SocketType>,
    },
    Mechanism {
        version: Version,
        mechanism: Box<dyn Mechanism>,
    },
    Complete(Peer),
    Failed(ProtocolError),
}

/// What the handshake found out.
#[derive(Debug)]
struct Peer {
    version: Version,
    socket_type: Option<SocketType>,
    routing_id: Bytes,
    properties: Properties,
    traffic: Option<(Box<Sealer>, Box<Opener>)>,
}

/// What a completed handshake leaves for the connection's traffic.
#[derive(Debug)]
pub struct Established {
    /// For messages to the peer.
    pub encoder: Encoder,
    /// For messages from the peer.
    pub decoder: Decoder,
    /// The version that both speak. Over WebSocket, that whose habits it shares: 3.0, or 2.0 without a mechanism.
    pub version: Version,
    /// The peer's socket type, if it told. Checked for 3.x peers; for older ones it is a claim.
    pub peer_type: Option<SocketType>,
    /// The peer's routing id; empty if it has none.
    pub peer_routing_id: Bytes,
    /// What the authenticator said about the peer, then the metadata of a 3.x peer as received,
    /// `Socket-Type` and `Identity` included. `User-Id` and `Peer-Address` are never the peer's own words.
    pub properties: Properties,
    /// Set for a PUB or XPUB facing a 1.0 peer without greeting: the oldest of these never send
    /// subscriptions and filter themselves, so they are to be sent everything.
    pub subscribes_to_all: bool,
}

impl Handshake {
    /// Begin: the output holds the ten octets of the signature at once.
    pub fn new(config: HandshakeConfig) -> Self {
        let mut output = Vec::with_capacity(160);
        if let Some(websocket) = config.websocket.clone() {
            return Self::upgrading(config, &websocket, output);
        }
        let mechanism = padded(mechanism::name(&config));
        let id_len = config.routing_id.len();
        let greeting = Greeting::new(config.socket_type, id_len, mechanism, &mut output);
        Handshake {
            config,
            phase: Phase::Greeting(greeting),
            output,
            written: 0,
            websocket: None,
            frame: Vec::new(),
            granted: Properties::new(),
        }
    }

    /// Begin with an upgrade: the output holds the client's request at once.
    fn upgrading(config: HandshakeConfig, websocket: &WebSocket, mut output: Vec<u8>) -> Self {
        let mut protocols = vec![websocket::protocol(mechanism::name(&config))];
        if config.admits_legacy() {
            protocols.push(websocket::BARE.to_owned());
        }
        let begun = match &websocket.end {
            End::Client { host, path, random } => Upgrade::client(host, path, *random, protocols, &mut output)
                .and_then(|upgrade| Ok((upgrade, (Side::Client, Wrapper::client(*random)?)))),
            End::Server => Ok((Upgrade::server(protocols), (Side::Server, Wrapper::server()))),
        };
        let (phase, websocket) = match begun {
            Ok((upgrade, websocket)) => (Phase::Upgrade(upgrade), Some(websocket)),
            Err(error) => (Phase::Failed(error), None),
        };
        let (frame, granted) = (Vec::new(), Properties::new());
        Handshake { config, phase, output, written: 0, websocket, frame, granted }
    }

    /// Take in what was read; returns how much of it belongs to the handshake. What follows is
    /// traffic, for the decoder.
    ///
    /// # Errors
    ///
    /// On a violation, or a peer that is no partner. The output may hold octets that are still to be
    /// written before the connection is closed. Every later call gives the same error.
    pub fn handle_input(&mut self, input: &[u8]) -> Result<usize, ProtocolError> {
        let mut at = 0;
        while self.step(input, &mut at).inspect_err(|error| self.phase = Phase::Failed(error.clone()))? {}
        Ok(at)
    }

    /// The question on which the handshake waits: whether this peer may come in. To be answered with
    /// [`authenticate`](Handshake::authenticate), or by giving the handshake up. Input may be handed in
    /// meanwhile; a peer that goes on without an answer is in the wrong.
    pub fn auth_request(&self) -> Option<AuthRequest> {
        match &self.phase {
            Phase::Mechanism { mechanism, .. } => mechanism.auth_request(),
            _ => None,
        }
    }

    /// Answer [`auth_request`](Handshake::auth_request): with what is known about the peer from now on
    /// (`User-Id` and such), or with a status that refuses it. 300 tells the peer nothing, so that it
    /// comes back; 400 and 500 tell it to give up. Does nothing while no question is open.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::AuthRefused`] for a refusal: write what the output holds, and close.
    pub fn authenticate(&mut self, verdict: Result<Properties, u16>) -> Result<(), ProtocolError> {
        let Phase::Mechanism { version, mechanism } = &mut self.phase else { return Ok(()) };
        if mechanism.status() != Status::Asking {
            return Ok(());
        }
        let done = match verdict {
            Ok(properties) => {
                self.granted = properties;
                mechanism.authenticated().and_then(|()| self.drive_mechanism())
            }
            Err(status) => {
                if status != 300 {
                    let (version, reason) = (*version, status.to_string());
                    let mut command = b"\x05ERROR".to_vec();
                    command.push(reason.len() as u8); // a u16 has at most five digits
                    command.extend_from_slice(reason.as_bytes());
                    self.put_frame(version, COMMAND, &command);
                }
                Err(ProtocolError::AuthRefused { status })
            }
        };
        done.inspect_err(|error| self.phase = Phase::Failed(error.clone()))
    }

    /// The octets to be written.
    pub fn output(&self) -> &[u8] {
        &self.output[self.written..]
    }

    /// `n` octets of the output have been written.
    pub fn advance_output(&mut self, n: usize) {
        self.written += n.min(self.output().len());
    }

    /// Whether both sides are done. There may still be output to be written.
    pub fn is_complete(&self) -> bool {
        matches!(self.phase, Phase::Complete(_))
    }

    /// What the handshake came to. To be called once it is complete and the output is written.
    ///
    /// # Panics
    ///
    /// If it is not complete.
    pub fn finish(self) -> Established {
        let Phase::Complete(peer) = self.phase else {
            panic!("a handshake was finished before it was complete");
        };
        let (mut sealer, opener) = peer.traffic.unzip();
        let mut decoder = Decoder::sealed(peer.version, self.config.limits, opener);
        if let Some((side, mut wrapper)) = self.websocket {
            decoder.unwrap_websocket(side);
            wrapper.seal_with(sealer.take());
            sealer = Some(Box::new(Sealer::WebSocket(wrapper)));
        }
        let publishes = matches!(self.config.socket_type, SocketType::Pub | SocketType::Xpub);
        Established {
            encoder: Encoder::sealed(peer.version, sealer),
            decoder,
            version: peer.version,
            peer_type: peer.socket_type,
            peer_routing_id: peer.routing_id,
            properties: peer.properties,
            subscribes_to_all: publishes && peer.version == Version::V1,
        }
    }

    /// One step: the greeting, or one frame. Returns whether another may follow from this input.
    fn step(&mut self, input: &[u8], at: &mut usize) -> Result<bool, ProtocolError> {
        match &mut self.phase {
            Phase::Greeting(greeting) => {
                let legacy = self.config.admits_legacy();
                let outcome = greeting.handle_input(input, at, legacy, &mut self.output)?;
                let Some(outcome) = outcome else {
                    return Ok(false);
                };
                self.greeted(outcome)?;
                // Even at the input's end: a 1.0 peer's first octets may be its whole identity frame.
                Ok(true)
            }
            Phase::Upgrade(upgrade) => {
                let Some(protocol) = upgrade.handle_input(input, at, &mut self.output)? else {
                    return Ok(false);
                };
                self.upgraded(&protocol)?;
                Ok(true)
            }
            Phase::Identity { version, peer_type } => {
                let (version, socket_type) = (*version, *peer_type);
                let body = self.read_frame(version, MAX_ROUTING_ID, input, at).map_err(routing_id_error)?;
                let Some(body) = body else {
                    return Ok(false);
                };
                self.phase = Phase::Complete(Peer {
                    version,
                    socket_type,
                    routing_id: Bytes::from(body),
                    properties: Properties::new(),
                    traffic: None,
                });
                Ok(false)
            }
            Phase::Mechanism { version, .. } => {
                let version = *version;
                let Some(body) = self.read_frame(version, MAX_HANDSHAKE_COMMAND, input, at)? else {
                    return Ok(false);
                };
                if let Phase::Mechanism { mechanism, .. } = &mut self.phase {
                    mechanism.handle_command(&body)?;
                }
                self.drive_mechanism()?;
                Ok(!self.is_complete())
            }
            Phase::Complete(_) => Ok(false),
            Phase::Failed(error) => Err(error.clone()),
        }
    }

    /// The peer's version is known: send what its version wants first.
    fn greeted(&mut self, outcome: Outcome) -> Result<(), ProtocolError> {
        match outcome {
            Outcome::Unversioned { read } => {
                // Our signature was already the header of this frame.
                self.output.extend_from_slice(&self.config.routing_id);
                self.frame = read;
                self.phase = Phase::Identity { version: Version::V1, peer_type: None };
                Ok(())
            }
            Outcome::Versioned { version, peer_type } => {
                let routing_id = self.config.routing_id.clone();
                self.put_frame(version, 0, &routing_id);
                let peer_type = SocketType::from_code(peer_type);
                self.phase = Phase::Identity { version, peer_type };
                Ok(())
            }
            Outcome::Modern { version, mechanism } => {
                self.check_mechanism(mechanism)?;
                let mechanism = mechanism::new(&self.config)?;
                self.phase = Phase::Mechanism { version, mechanism };
                self.drive_mechanism()
            }
        }
    }

    /// The upgrade is made: go on as its variant of the protocol wants it.
    fn upgraded(&mut self, protocol: &str) -> Result<(), ProtocolError> {
        if protocol == websocket::BARE {
            let version = websocket::WITHOUT_MECHANISM;
            let routing_id = self.config.routing_id.clone();
            self.put_frame(version, 0, &routing_id);
            self.phase = Phase::Identity { version, peer_type: None };
            return Ok(());
        }
        let mechanism = mechanism::new(&self.config)?;
        self.phase = Phase::Mechanism { version: websocket::WITH_MECHANISM, mechanism };
        self.drive_mechanism()
    }

    /// The body of the next frame, once it is whole; takes nothing beyond it.
    fn read_frame(
        &mut self,
        version: Version,
        limit: usize,
        input: &[u8],
        at: &mut usize,
    ) -> Result<Option<Vec<u8>>, ProtocolError> {
        let Some((side, wrapper)) = &mut self.websocket else {
            return read_frame(&mut self.frame, version, limit, input, at);
        };
        while let Some(incoming) = websocket::read_frame(&mut self.frame, *side, limit, input, at)? {
            match incoming {
                Incoming::Frame(body) => return Ok(Some(body)),
                Incoming::Ping(payload) if self.output.len() - self.written < MAX_UNREAD_PONGS => {
                    let mut out = OutBuf::new();
                    wrapper.put_control(websocket::header::Kind::Pong, &payload, &mut out);
                    self.output.extend_from_slice(out.first_slice());
                }
                Incoming::Ping(_) | Incoming::Pong => {}
                Incoming::Close => return Err(ProtocolError::WebSocketClosed),
            }
        }
        Ok(None)
    }

    fn check_mechanism(&self, theirs: MechanismName) -> Result<(), ProtocolError> {
        let ours = mechanism::name(&self.config);
        if theirs == padded(ours) {
            return Ok(());
        }
        let end = theirs.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        let theirs = error::printable(&theirs[..end]);
        Err(ProtocolError::MechanismMismatch { ours, theirs })
    }

    /// Send what the mechanism has to say, and see whether it is done.
    fn drive_mechanism(&mut self) -> Result<(), ProtocolError> {
        let Phase::Mechanism { version, mechanism } = &mut self.phase else {
            return Ok(());
        };
        let version = *version;
        let mut commands = Vec::new();
        while let Some(body) = mechanism.next_command() {
            commands.push(body);
        }
        if mechanism.status() == Status::Ready {
            let (properties, traffic) = (mechanism.peer_properties(), mechanism.traffic());
            let mut peer = modern_peer(version, properties)?;
            peer.traffic = traffic;
            peer.properties = mem::take(&mut self.granted).over_peers(peer.properties);
            self.phase = Phase::Complete(peer);
        }
        for body in commands {
            self.put_frame(version, COMMAND, &body);
        }
        Ok(())
    }

    fn put_frame(&mut self, version: Version, flags: u8, body: &[u8]) {
        if let Some((_, wrapper)) = &mut self.websocket {
            let mut out = OutBuf::new();
            wrapper.put(flags, &[body], &mut out);
            return self.output.extend_from_slice(out.first_slice()); // of copies, and so in one piece
        }
        let mut header = [0; MAX_HEADER];
        let len = Header::write(version, flags, body.len(), &mut header);
        self.output.extend_from_slice(&header[..len]);
        self.output.extend_from_slice(body);
    }
}

/// What a 3.x peer's metadata says about it.
fn modern_peer(version: Version, properties: Properties) -> Result<Peer, ProtocolError> {
    let routing_id = properties.get(Properties::IDENTITY).unwrap_or_default();
    if routing_id.len() > MAX_ROUTING_ID {
        return Err(ProtocolError::RoutingIdTooLong { length: routing_id.len() as u64, limit: MAX_ROUTING_ID });
    }
    Ok(Peer {
        version,
        socket_type: properties.get_exact(Properties::SOCKET_TYPE).and_then(SocketType::from_name),
        routing_id: Bytes::copy_from_slice(routing_id),
        properties,
        traffic: None,
    })
}

/// Collect one frame in `frame` from `input` at `at`, taking nothing beyond it; its body once it is
/// whole. Flags are not looked at: neither identities nor handshake commands need theirs checked.
fn read_frame(
    frame: &mut Vec<u8>,
    version: Version,
    limit: usize,
    input: &[u8],
    at: &mut usize,
) -> Result<Option<Vec<u8>>, ProtocolError> {
    loop {
        let end = match Header::parse(version, frame)? {
            None => frame.len() + 1,
            Some(header) if header.size > limit as u64 => {
                let (size, limit) = (header.size, limit as u64);
                return Err(ProtocolError::FrameTooLarge { size, limit });
            }
            Some(header) => {
                let end = header.len + header.size as usize;
                if frame.len() == end {
                    let body = frame.split_off(header.len);
                    frame.clear();
                    return Ok(Some(body));
                }
                end
            }
        };
        let taken = (end - frame.len()).min(input.len() - *at);
        if taken == 0 {
            return Ok(None);
        }
        frame.extend_from_slice(&input[*at..*at + taken]);
        *at += taken;
    }
}

fn routing_id_error(error: ProtocolError) -> ProtocolError {
    match error {
        ProtocolError::FrameTooLarge { size, .. } => {
            ProtocolError::RoutingIdTooLong { length: size, limit: MAX_ROUTING_ID }
        }
        other => other,
    }
}
