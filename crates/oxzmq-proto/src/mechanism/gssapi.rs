//! GSSAPI: authentication, and mostly encryption, by what a library such as Kerberos's does (RFC 38 is a sketch; this is
//! what libzmq deploys).
//!
//! ```text
//! client                                              server
//! INITIATE  token               ──────►
//!           ◄──────   INITIATE  token                 as often as the library wants
//! (an empty command)            ──────►               its context is complete; asks the authenticator about the client
//!           ◄──────   READY     metadata
//! READY     metadata            ──────►
//! MESSAGE   token(flags, body)  ◄─────►   MESSAGE     token(flags, body)
//! ```
//!
//! READY is itself in a MESSAGE, and traffic is, unless both sides have been told to encrypt nothing. Tokens have their
//! length in four octets before them.
//!
//! The library does input and output of its own, so it is behind [`SecurityContext`].

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use zeroize::Zeroizing;

use super::{AuthRequest, Mechanism, Status, our_metadata, peer_metadata};
use crate::handshake::HandshakeConfig;
use crate::header::{COMMAND, Header, MAX_HEADER, MORE};
use crate::properties::Properties;
use crate::{Frame, OutBuf, ProtocolError, SocketType, Version, command};

pub(super) const NAME: &str = "GSSAPI";

const INITIATE: &[u8; 9] = b"\x08INITIATE";
const MESSAGE: &[u8; 8] = b"\x07MESSAGE";
const READY: &[u8] = b"\x05READY";
const SUBSCRIBE: &[u8] = b"\x09SUBSCRIBE";
const CANCEL: &[u8] = b"\x06CANCEL";

/// Octets that a MESSAGE may have more than the frame in it. Kerberos's tokens add 60.
pub(crate) const MESSAGE_OVERHEAD: usize = 1024;

const INNER_MORE: u8 = 1;
const INNER_COMMAND: u8 = 2;
const INNER_SUBSCRIBE: u8 = 4;
const INNER_CANCEL: u8 = 8;

/// One connection's security context: RFC 2743's, whatever library it comes from. Errors are texts for people.
pub trait SecurityContext: Send {
    /// Take the peer's token (`None` only at the client's first step); the token that the peer is to get, if any.
    ///
    /// # Errors
    /// The peer, or we, cannot be authenticated. The context is of no more use.
    fn step(&mut self, token: Option<&[u8]>) -> Result<Option<Vec<u8>>, String>;

    /// Whether both sides are known to each other, as far as this one can tell.
    fn is_complete(&self) -> bool;

    /// Once complete: the client's name, such as `anna@EXAMPLE.ORG`.
    ///
    /// # Errors
    /// It cannot be told.
    fn client_name(&mut self) -> Result<Vec<u8>, String>;

    /// Encrypt.
    ///
    /// # Errors
    /// Most likely the context has expired.
    fn wrap(&mut self, plain: &[u8]) -> Result<Vec<u8>, String>;

    /// Decrypt and verify.
    ///
    /// # Errors
    /// The token is none of the peer's, or comes again.
    fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String>;
}

/// What GSSAPI needs for the connections of an endpoint.
pub struct Gssapi {
    /// Makes a connection's context, for our side of it.
    pub context: Box<dyn Fn() -> Result<Box<dyn SecurityContext>, String> + Send + Sync>,
    /// Which side is ours.
    pub is_server: bool,
    /// Whether to encrypt what follows the authentication. It is not negotiated: both sides have to say the same.
    pub encrypt: bool,
}

impl fmt::Debug for Gssapi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gssapi { is_server, encrypt, .. } = self;
        f.debug_struct("Gssapi").field("is_server", is_server).field("encrypt", encrypt).finish_non_exhaustive()
    }
}

/// A context that both directions use: the library wants its calls one after the other.
#[derive(Clone)]
struct Shared(Arc<Mutex<Box<dyn SecurityContext>>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Box<dyn SecurityContext>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrap(&self, plain: &[u8]) -> Result<Vec<u8>, String> {
        self.lock().wrap(plain)
    }

    /// The flags and the body in a MESSAGE.
    fn open(&self, message: &[u8]) -> Result<(u8, Vec<u8>), ProtocolError> {
        let token = token_of(message, MESSAGE, "MESSAGE")?;
        let mut plain = self.lock().unwrap(token).map_err(refused)?;
        if plain.is_empty() {
            return Err(ProtocolError::MalformedCommand { name: "MESSAGE", length: message.len() });
        }
        let flags = plain.remove(0);
        Ok((flags, plain))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecurityContext(..)")
    }
}

fn refused(reason: String) -> ProtocolError {
    ProtocolError::SecurityContext { reason }
}

/// The token in a command, which it has to fill.
fn token_of<'a>(body: &'a [u8], name: &[u8], what: &'static str) -> Result<&'a [u8], ProtocolError> {
    let Some(rest) = body.strip_prefix(name) else {
        let (name, data) = command::split(body)?;
        let error = name == b"ERROR";
        return Err(if error { command::peer_error(body, data) } else { command::unexpected(name) });
    };
    match rest.split_first_chunk::<4>() {
        Some((length, token)) if u32::from_be_bytes(*length) as usize == token.len() => Ok(token),
        _ => Err(ProtocolError::MalformedCommand { name: what, length: body.len() }),
    }
}

/// A command around a token; `None` for one whose length does not fit.
fn with_token(name: &[u8], token: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(token.len()).ok()?;
    Some([name, &length.to_be_bytes(), token].concat())
}

/// Either side's handshake: they differ in who begins and who asks.
#[derive(Debug)]
pub(super) struct Handshake {
    socket_type: SocketType,
    metadata: Vec<u8>,
    is_server: bool,
    encrypt: bool,
    context: Shared,
    state: State,
    commands: std::collections::VecDeque<Vec<u8>>,
}

#[derive(Debug)]
enum State {
    /// Tokens go to and fro.
    Tokens,
    /// The server's context is complete: the client has to say that its own is, too.
    Completion,
    /// The authenticator has to decide about this client.
    Asking(Bytes),
    /// The peer's READY is to come.
    Ready,
    Done(Properties),
}

impl Handshake {
    pub(super) fn new(config: &HandshakeConfig, gssapi: &Gssapi) -> Result<Self, ProtocolError> {
        let context = (gssapi.context)().map_err(refused)?;
        let mut handshake = Handshake {
            socket_type: config.socket_type,
            metadata: our_metadata(config),
            is_server: gssapi.is_server,
            encrypt: gssapi.encrypt,
            context: Shared(Arc::new(Mutex::new(context))),
            state: State::Tokens,
            commands: Default::default(),
        };
        if !gssapi.is_server {
            handshake.step(None)?;
        }
        Ok(handshake)
    }

    /// A step of the library, and what follows from it.
    fn step(&mut self, token: Option<&[u8]>) -> Result<(), ProtocolError> {
        let mut context = self.context.lock();
        let answer = context.step(token).map_err(refused)?.filter(|answer| !answer.is_empty());
        let complete = context.is_complete();
        let silent = answer.is_none();
        if let Some(answer) = answer {
            let initiate = with_token(INITIATE, &answer);
            self.commands.push_back(initiate.ok_or_else(|| refused("a token of more than 4 GiB".into()))?);
        }
        if complete {
            self.state = match (self.is_server, silent) {
                (true, true) => State::Asking(client_name(&mut **context)?),
                (true, false) => State::Completion,
                (false, _) => State::Ready,
            };
            if !self.is_server && silent {
                // The server goes on at a command, and there is none to send.
                self.commands.push_back(Vec::new());
            }
        } else if silent {
            return Err(refused("the security context is not complete and has nothing to say".into()));
        }
        Ok(())
    }

    fn put_ready(&mut self) -> Result<(), ProtocolError> {
        let mut ready = READY.to_vec();
        ready.extend_from_slice(&self.metadata);
        if self.encrypt {
            ready.insert(0, 0); // flags
            let token = self.context.wrap(&ready).map_err(refused)?;
            ready = with_token(MESSAGE, &token).ok_or_else(|| refused("a token of more than 4 GiB".into()))?;
        }
        self.commands.push_back(ready);
        Ok(())
    }

    fn take_ready(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        let opened;
        let ready = if self.encrypt {
            opened = self.context.open(body)?.1;
            &opened[..]
        } else {
            body
        };
        let (name, data) = command::split(ready)?;
        match name {
            b"READY" => self.state = State::Done(peer_metadata(self.socket_type, data)?),
            b"ERROR" => return Err(command::peer_error(ready, data)),
            _ => return Err(command::unexpected(name)),
        }
        if !self.is_server {
            self.put_ready()?;
        }
        Ok(())
    }
}

fn client_name(context: &mut dyn SecurityContext) -> Result<Bytes, ProtocolError> {
    context.client_name().map(Bytes::from).map_err(refused)
}

impl Mechanism for Handshake {
    fn handle_command(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        match &self.state {
            State::Tokens => {
                let token = token_of(body, INITIATE, "INITIATE")?;
                self.step(Some(token))
            }
            State::Completion => {
                // Whatever it is: libzmq sends an empty one.
                let name = client_name(&mut **self.context.lock())?;
                self.state = State::Asking(name);
                Ok(())
            }
            State::Ready => self.take_ready(body),
            State::Asking(_) | State::Done(_) => Err(command::unexpected(command::split(body)?.0)),
        }
    }

    fn next_command(&mut self) -> Option<Vec<u8>> {
        self.commands.pop_front()
    }

    fn status(&self) -> Status {
        match self.state {
            State::Asking(_) => Status::Asking,
            State::Done(_) => Status::Ready,
            _ => Status::Waiting,
        }
    }

    fn auth_request(&self) -> Option<AuthRequest> {
        match &self.state {
            State::Asking(name) => Some(AuthRequest { mechanism: NAME, credentials: vec![name.clone()] }),
            _ => None,
        }
    }

    fn authenticated(&mut self) -> Result<(), ProtocolError> {
        self.state = State::Ready;
        self.put_ready()
    }

    fn peer_properties(&mut self) -> Properties {
        match &mut self.state {
            State::Done(properties) => std::mem::take(properties),
            _ => Properties::new(),
        }
    }

    fn traffic(&mut self) -> Option<(Box<super::Sealer>, Box<super::Opener>)> {
        let sealer = Sealer { context: self.context.clone(), failed: false };
        let opener = Opener { context: self.context.clone() };
        self.encrypt.then(|| (Box::new(super::Sealer::Gssapi(sealer)), Box::new(super::Opener::Gssapi(opener))))
    }
}

/// Turns frames into MESSAGEs.
#[derive(Debug)]
pub(crate) struct Sealer {
    context: Shared,
    failed: bool,
}

impl Sealer {
    /// Append the frame with these flags (those of a header) whose body is `parts`.
    ///
    /// Where the library fails, as it does once a ticket has expired, an ERROR goes out instead, upon which the peer ends
    /// the connection, and nothing after that: a new connection gets a new context.
    pub(crate) fn put(&mut self, flags: u8, parts: &[&[u8]], out: &mut OutBuf) {
        if self.failed {
            return;
        }
        let mut plain = Zeroizing::new(Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>()));
        plain.push(0);
        parts.iter().for_each(|part| plain.extend_from_slice(part));
        let (inner, change) = inner_form(flags, &plain[1..]);
        let start = change.map_or(0, |(octet, name)| {
            plain[name] = octet;
            name - 1
        });
        plain[start] = inner;
        let message = self.context.wrap(&plain[start..]).ok().and_then(|token| with_token(MESSAGE, &token));
        let mut header = [0; MAX_HEADER];
        let (outer, message) = match message {
            Some(message) => (0, message),
            None => {
                self.failed = true;
                (COMMAND, b"\x05ERROR\x07expired".to_vec())
            }
        };
        let len = Header::write(Version::V3_1, outer, message.len(), &mut header);
        out.put(&header[..len]);
        out.put_bytes(Bytes::from(message));
    }
}

/// A frame's flags inside; for subscriptions also the octet that stands for the command's name in its body, and the name's
/// length: they travel as the messages that they are to peers older than 3.1, which every libzmq understands. Newer
/// ones have flags of their own for them, which 4.3.4 neither sets nor understands.
fn inner_form(flags: u8, body: &[u8]) -> (u8, Option<(u8, usize)>) {
    if flags & COMMAND != 0 {
        let names = [(SUBSCRIBE, 1), (CANCEL, 0)];
        let change = names.into_iter().find(|(name, _)| body.starts_with(name));
        return match change {
            Some((name, octet)) => (0, Some((octet, name.len()))),
            None => (INNER_COMMAND, None),
        };
    }
    (if flags & MORE != 0 { INNER_MORE } else { 0 }, None)
}

/// Turns MESSAGEs into frames.
#[derive(Debug)]
pub(crate) struct Opener {
    context: Shared,
}

impl Opener {
    /// The flags (those of a header) and body of the frame in `message`.
    pub(crate) fn open(&mut self, message: &[u8]) -> Result<(u8, Frame), ProtocolError> {
        let (flags, body) = self.context.open(message)?;
        for (flag, name) in [(INNER_SUBSCRIBE, SUBSCRIBE), (INNER_CANCEL, CANCEL)] {
            if flags & flag != 0 {
                return Ok((COMMAND, Frame::from([name, &body].concat())));
            }
        }
        let more = if flags & INNER_MORE != 0 { MORE } else { 0 };
        let command = if flags & INNER_COMMAND != 0 { COMMAND } else { 0 };
        Ok((more | command, Frame::from(body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, Encoder, Handshake as Connection, Message};

    /// A library of so many legs: tokens say which they are, and wrapping turns every octet over.
    struct Legs {
        taken: u8,
        needed: u8,
        client: bool,
        broken: bool,
    }

    impl SecurityContext for Legs {
        fn step(&mut self, token: Option<&[u8]>) -> Result<Option<Vec<u8>>, String> {
            if let Some(token) = token {
                if token != [b't', self.taken] {
                    return Err(format!("token {token:?} in step {}", self.taken));
                }
                self.taken += 1;
            }
            if self.taken == self.needed && token.is_some() && self.client == self.needed.is_multiple_of(2) {
                return Ok(None);
            }
            self.taken += 1;
            Ok(Some(vec![b't', self.taken - 1]))
        }

        fn is_complete(&self) -> bool {
            self.taken >= self.needed
        }

        fn client_name(&mut self) -> Result<Vec<u8>, String> {
            Ok(b"anna@HERE".to_vec())
        }

        fn wrap(&mut self, plain: &[u8]) -> Result<Vec<u8>, String> {
            if self.broken {
                return Err("expired".into());
            }
            Ok(plain.iter().map(|octet| !octet).chain(*b"good").collect())
        }

        fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
            let sealed = token.strip_suffix(b"good").ok_or("bad")?;
            Ok(sealed.iter().map(|octet| !octet).collect())
        }
    }

    fn config(is_server: bool, needed: u8, encrypt: bool) -> HandshakeConfig {
        let context = move || -> Result<Box<dyn SecurityContext>, String> {
            Ok(Box::new(Legs { taken: 0, needed, client: !is_server, broken: false }))
        };
        let gssapi = Gssapi { context: Box::new(context), is_server, encrypt };
        let mut config = HandshakeConfig::new(SocketType::Dealer);
        config.security = crate::Security::Gssapi(Arc::new(gssapi));
        config
    }

    /// Hands on what each side has written, until both have nothing more to say or one refuses.
    fn talk(client: &mut Connection, server: &mut Connection) -> Result<(), ProtocolError> {
        loop {
            let mut quiet = true;
            for turn in [true, false] {
                let (from, to) = if turn { (&mut *client, &mut *server) } else { (&mut *server, &mut *client) };
                let octets = from.output().to_vec();
                from.advance_output(octets.len());
                quiet &= octets.is_empty();
                if !octets.is_empty() {
                    to.handle_input(&octets)?;
                }
            }
            if quiet {
                return Ok(());
            }
        }
    }

    fn connect(legs: u8, encrypt: bool) -> (crate::Established, crate::Established) {
        let mut client = Connection::new(config(false, legs, encrypt));
        let mut server = Connection::new(config(true, legs, encrypt));
        talk(&mut client, &mut server).unwrap();
        assert!(!server.is_complete());
        let request = server.auth_request().unwrap();
        assert_eq!((request.mechanism, &request.credentials[..]), ("GSSAPI", &[Bytes::from("anna@HERE")][..]));
        server.authenticate(Ok(Properties::new())).unwrap();
        talk(&mut client, &mut server).unwrap();
        assert!(client.is_complete() && server.is_complete());
        (client.finish(), server.finish())
    }

    fn wire(encoder: &mut Encoder, message: Message) -> Vec<u8> {
        let mut out = OutBuf::new();
        encoder.encode(message, &mut out);
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let count = out.io_slices(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    fn decoded(decoder: &mut Decoder, octets: &[u8]) -> Result<Vec<Message>, ProtocolError> {
        let (mut messages, mut controls) = Default::default();
        decoder.decode(octets, &mut messages, usize::MAX, &mut controls)?;
        Ok(messages.into())
    }

    #[test]
    fn tokens_go_to_and_fro_as_often_as_the_library_wants() {
        for legs in 2..6 {
            for encrypt in [true, false] {
                let (mut client, mut server) = connect(legs, encrypt);
                for size in [0, 1, 255, 5000] {
                    let message: Message =
                        [&vec![7u8; size][..], b"end"].into_iter().map(Frame::copy_from_slice).collect();
                    let there = wire(&mut client.encoder, message.clone());
                    assert_eq!(there.windows(3).any(|part| part == b"end"), !encrypt);
                    assert_eq!(decoded(&mut server.decoder, &there).unwrap(), std::slice::from_ref(&message));
                    let back = wire(&mut server.encoder, message.clone());
                    assert_eq!(decoded(&mut client.decoder, &back).unwrap(), [message]);
                }
            }
        }
    }

    #[test]
    fn the_commands_are_those_of_libzmq() {
        let mut client = Connection::new(config(false, 2, true));
        let mut server = Connection::new(config(true, 2, true));
        let sent = |side: &mut Connection| {
            let octets = side.output().to_vec();
            side.advance_output(octets.len());
            octets
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        while server.auth_request().is_none() {
            let octets = sent(&mut client);
            server.handle_input(&octets).unwrap();
            ours.extend(octets);
            let octets = sent(&mut server);
            client.handle_input(&octets).unwrap();
            theirs.extend(octets);
        }
        // Greetings have 64 octets.
        let empty = [4, 0]; // no token is left, and the server waits for a command
        assert_eq!(ours[64..], [&[4, 15][..], b"\x08INITIATE\0\0\0\x02t\0", &empty].concat());
        assert_eq!(theirs[64..], [&[4, 15][..], b"\x08INITIATE\0\0\0\x02t\x01"].concat());
        server.authenticate(Ok(Properties::new())).unwrap();
        let ready = sent(&mut server);
        assert_eq!((ready[0], &ready[2..10]), (4, &MESSAGE[..]), "READY is in a MESSAGE that is a command");
        client.handle_input(&ready).unwrap();
        server.handle_input(&sent(&mut client)).unwrap();
        let message = wire(&mut client.finish().encoder, Message::single("x"));
        assert_eq!((message[0], &message[2..10]), (0, &MESSAGE[..]), "traffic is in message frames");
    }

    #[test]
    fn sides_that_differ_about_encryption_do_not_meet() {
        for encrypt in [true, false] {
            let mut client = Connection::new(config(false, 2, encrypt));
            let mut server = Connection::new(config(true, 2, !encrypt));
            talk(&mut client, &mut server).unwrap();
            server.authenticate(Ok(Properties::new())).unwrap();
            talk(&mut client, &mut server).unwrap_err();
            assert!(!client.is_complete());
        }
    }

    #[test]
    fn a_refused_client_is_told() {
        let mut client = Connection::new(config(false, 2, true));
        let mut server = Connection::new(config(true, 2, true));
        talk(&mut client, &mut server).unwrap();
        server.authenticate(Err(400)).unwrap_err();
        let error = client.handle_input(server.output()).unwrap_err();
        assert_eq!(error.auth_status(), Some(400));
    }

    #[test]
    fn tokens_that_are_none_end_the_handshake() {
        let initiate = |token: &[u8]| [&INITIATE[..], &(token.len() as u32).to_be_bytes(), token].concat();
        let cases = [
            initiate(b"x"),
            INITIATE.to_vec(),
            [&INITIATE[..], &[0, 0, 0, 9], b"t\0"].concat(),
            [&INITIATE[..], &[0, 0, 0, 1], b"t\0"].concat(),
            [&INITIATE[..], &[0xff; 4], b"t\0"].concat(),
            b"\x05READY".to_vec(),
            b"\x07MESSAGE\0\0\0\0".to_vec(),
            Vec::new(),
        ];
        for case in cases {
            let config = config(true, 2, true);
            let crate::Security::Gssapi(gssapi) = &config.security else { unreachable!() };
            let mut server = Handshake::new(&config, gssapi).unwrap();
            server.handle_command(&case).unwrap_err();
        }
    }

    #[test]
    fn what_is_no_token_of_the_peers_ends_the_connection() {
        let (mut client, mut server) = connect(2, true);
        let good = wire(&mut client.encoder, Message::single("x"));
        for octet in 2..good.len() {
            let (_, mut fresh) = connect(2, true);
            let mut bad = good.clone();
            bad[octet] ^= 1;
            // The stand-in only protects the end of its tokens.
            if octet < 14 || octet >= good.len() - 4 {
                decoded(&mut fresh.decoder, &bad).unwrap_err();
            }
        }
        decoded(&mut server.decoder, b"\0\x01x").unwrap_err();
        let empty = [&[0, 16][..], MESSAGE, &[0, 0, 0, 4], b"good"].concat();
        decoded(&mut server.decoder, &empty).unwrap_err();
    }

    #[test]
    fn subscriptions_come_in_either_form() {
        let (mut client, mut server) = connect(2, true);
        let octets = wire(&mut client.encoder, Message::subscription(crate::Kind::Subscribe, "news"));
        let [message] = &decoded(&mut server.decoder, &octets).unwrap()[..] else { panic!("one message") };
        assert_eq!((message.kind(), &message[0][..]), (crate::Kind::Data, &b"\x01news"[..]));
        let with_flags = |flags: u8| {
            let token: Vec<u8> = [&[flags][..], b"news"].concat().iter().map(|octet| !octet).chain(*b"good").collect();
            [&[0, 12 + token.len() as u8][..], MESSAGE, &(token.len() as u32).to_be_bytes(), &token].concat()
        };
        for (flag, kind) in [(INNER_SUBSCRIBE, crate::Kind::Subscribe), (INNER_CANCEL, crate::Kind::Cancel)] {
            let [message] = &decoded(&mut server.decoder, &with_flags(flag)).unwrap()[..] else { panic!("one") };
            assert_eq!((message.kind(), &message[0][..]), (kind, &b"news"[..]));
        }
    }

    #[test]
    fn a_context_that_fails_says_so_to_the_peer_and_nothing_after_that() {
        let context: Box<dyn SecurityContext> = Box::new(Legs { taken: 2, needed: 2, client: true, broken: true });
        let sealer = Sealer { context: Shared(Arc::new(Mutex::new(context))), failed: false };
        let mut encoder = Encoder::sealed(Version::V3_1, Some(Box::new(crate::mechanism::Sealer::Gssapi(sealer))));
        let octets = wire(&mut encoder, Message::single("x"));
        assert_eq!(wire(&mut encoder, Message::single("y")), b"");
        let (_, mut server) = connect(2, true);
        let error = decoded(&mut server.decoder, &octets).unwrap_err();
        assert_eq!(error, ProtocolError::PeerError { reason: "expired".into() });
    }
}
