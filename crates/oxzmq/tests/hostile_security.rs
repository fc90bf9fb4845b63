//! Hostile peers of secured sockets, byte by byte on real connections: whatever they do during the handshake and
//! behind it, they are closed, nothing of theirs is delivered, and a good peer is served all the while.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use common::*;
use oxzmq::curve::{KeyPair, SecretKey};
use oxzmq::{AuthRequest, Context, Credentials, Event, EventKind, Monitor, Security, Socket, SocketType};
use oxzmq_proto::curve::CurveClient;
use oxzmq_proto::{Encoder, Handshake, HandshakeConfig, Message, OutBuf};

const PROTOCOL: EventKind = EventKind::HandshakeFailedProtocol;
const MALFORMED_HELLO: u32 = 0x1000_0013;
const MALFORMED_INITIATE: u32 = 0x1000_0014;
const UNEXPECTED: u32 = 0x1000_0001;
const CRYPTOGRAPHIC: u32 = 0x1100_0001;
const MECHANISM: u32 = 0x1100_0002;

fn random(octets: &mut [u8]) -> bool {
    octets.fill_with(|| unique() as u8);
    true
}

/// A PULL that takes clients of a mechanism, and a good PUSH.
struct Target {
    context: TestContext,
    socket: Socket,
    endpoint: String,
    monitor: Monitor,
    good: Socket,
    keys: KeyPair,
}

impl Target {
    fn curve() -> Self {
        let keys = KeyPair::generate().unwrap();
        let client = Security::CurveClient { server: keys.public(), keys: KeyPair::generate().unwrap() };
        Self::new(TestContext::new(), Security::CurveServer(keys.clone()), client, keys)
    }

    fn plain() -> Self {
        let client = Security::PlainClient { username: "anna".into(), password: "secret".into() };
        let context = TestContext::new();
        context.set_authenticator(|request: AuthRequest| match request.credentials() {
            Credentials::Plain { password, .. } if password == "secret" => request.accept("anna"),
            _ => request.refuse(),
        });
        Self::new(context, Security::PlainServer, client, KeyPair::generate().unwrap())
    }

    fn new(context: TestContext, server: Security, client: Security, keys: KeyPair) -> Self {
        let socket = context.socket(SocketType::Pull);
        socket.set_security(server).unwrap();
        let endpoint = socket.bind("tcp://127.0.0.1:*").unwrap();
        let good = context.socket(SocketType::Push);
        good.set_security(client).unwrap();
        connect_and_wait(&good, &socket, &endpoint);
        let monitor = socket.monitor().unwrap();
        Self { context, socket, endpoint, monitor, good, keys }
    }

    /// A client that has exchanged greetings for this mechanism.
    fn greeted(&self, mechanism: &str) -> TcpStream {
        let mut client = raw_client(&self.endpoint);
        client.write_all(&greeting(mechanism)).unwrap();
        client
    }

    #[track_caller]
    fn serves_the_good_peer(&self) {
        for n in 0..3 {
            send(&self.good, n.to_string());
            assert_eq!(recv_text(&self.socket), [n.to_string()]);
        }
    }

    fn failure(&self) -> Event {
        loop {
            let event = self.monitor.recv_deadline(soon()).expect("an event");
            let named = matches!(event.kind, EventKind::HandshakeFailed | EventKind::HandshakeFailedAuth);
            if named || event.kind == PROTOCOL || event.kind == EventKind::HandshakeSucceeded {
                return event;
            }
        }
    }

    /// These bytes behind the greeting end the handshake with this event.
    #[track_caller]
    fn refuses(&self, what: &str, mechanism: &str, bytes: &[u8], code: u32) {
        let mut client = self.greeted(mechanism);
        let _ = client.write_all(bytes);
        let event = self.failure();
        assert_eq!((event.kind, event.value), (PROTOCOL, code), "{what}: {event:?}");
        assert_eq!(await_event(&self.monitor, EventKind::Disconnected).kind, EventKind::Disconnected);
        // Closed, whatever was sent before.
        let _ = client.read_to_end(&mut Vec::new());
    }

    fn config(&self) -> HandshakeConfig {
        let keys = KeyPair::generate().unwrap();
        let secret = SecretKey::from_bytes(*keys.secret().as_bytes());
        let client = CurveClient::new(*self.keys.public().as_bytes(), secret, random);
        let mut config = HandshakeConfig::new(SocketType::Push);
        config.security = oxzmq_proto::Security::CurveClient(Arc::new(client));
        config
    }

    /// A CURVE client by hand, up to where `until` says that what it would send next is what the test is about.
    fn curve_client(&self, until: impl Fn(&[u8]) -> bool) -> (TcpStream, Handshake, Vec<u8>) {
        let mut stream = raw_client(&self.endpoint);
        let mut handshake = Handshake::new(self.config());
        let mut buffer = [0; 4096];
        loop {
            let output = handshake.output().to_vec();
            handshake.advance_output(output.len());
            if handshake.is_complete() || until(&output) {
                return (stream, handshake, output);
            }
            stream.write_all(&output).unwrap();
            let got = stream.read(&mut buffer).unwrap();
            assert!(got > 0, "the server has gone");
            assert_eq!(handshake.handle_input(&buffer[..got]).unwrap(), got);
        }
    }

    /// A CURVE client by hand after its handshake.
    fn curve_peer(&self) -> (TcpStream, Encoder) {
        let (stream, handshake, _) = self.curve_client(|_| false);
        await_event(&self.monitor, EventKind::HandshakeSucceeded);
        (stream, handshake.finish().encoder)
    }
}

fn greeting(mechanism: &str) -> Vec<u8> {
    let mut greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01".to_vec();
    greeting.extend_from_slice(mechanism.as_bytes());
    greeting.resize(64, 0);
    greeting
}

fn command(body: &[u8]) -> Vec<u8> {
    if body.len() < 256 {
        return [&[4, body.len() as u8], body].concat();
    }
    [&[6][..], &(body.len() as u64).to_be_bytes(), body].concat()
}

fn encoded(encoder: &mut Encoder, message: &str) -> Vec<u8> {
    let mut out = OutBuf::new();
    encoder.encode(Message::from(message), &mut out);
    out.first_slice().to_vec()
}

#[test]
fn plain_hellos_that_make_no_sense_are_refused() {
    let target = Target::plain();
    for (what, data) in [
        ("nothing", &b""[..]),
        ("no password", b"\x04anna"),
        ("a name longer than what is there", b"\xffanna\x06secret"),
        ("a password longer than what is there", b"\x04anna\xffsecret"),
        ("octets behind", b"\x04anna\x06secret!"),
    ] {
        target.refuses(what, "PLAIN", &command(&[b"\x05HELLO", data].concat()), MALFORMED_HELLO);
    }
    target.refuses("INITIATE first", "PLAIN", &command(b"\x08INITIATE"), UNEXPECTED);
    target.refuses("a heartbeat", "PLAIN", &command(b"\x04PING\0\0"), UNEXPECTED);
    target.serves_the_good_peer();
}

#[test]
fn names_and_passwords_of_255_octets_reach_the_authenticator() {
    let target = Target::plain();
    let mut client = target.greeted("PLAIN");
    let hello = [&b"\x05HELLO\xff"[..], &[b'u'; 255], &[255], &[b'p'; 255]].concat();
    client.write_all(&command(&hello)).unwrap();
    let event = target.failure();
    assert_eq!((event.kind, event.value), (EventKind::HandshakeFailedAuth, 400));
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"\x05ERROR\x03400"), "{}", answer.escape_ascii());
    target.serves_the_good_peer();
}

#[test]
fn other_mechanisms_and_older_peers_are_refused_at_a_secured_socket() {
    let target = Target::curve();
    for mechanism in ["NULL", "PLAIN", "GSSAPI", "CURVE\0X", "curve", ""] {
        target.refuses(mechanism, mechanism, b"", MECHANISM);
    }
    for old in [
        &b"\x01\0"[..],
        b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x08",
        b"\xff\0\0\0\0\0\0\0\x01\x7f\0\x08",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut client = raw_client(&target.endpoint);
        client.write_all(old).unwrap();
        assert_eq!(target.failure().kind, PROTOCOL, "{}", old.escape_ascii());
        let _ = client.read_to_end(&mut Vec::new());
    }
    assert_silent(&target.socket);
    target.serves_the_good_peer();
}

#[test]
fn curve_hellos_that_are_not_exact_are_refused() {
    let target = Target::curve();
    let (_stream, _, hello) = target.curve_client(|output| output.windows(6).any(|part| part == b"\x05HELLO"));
    let at = hello.windows(6).position(|part| part == b"\x05HELLO").unwrap();
    let hello = &hello[at..at + 200];
    let changed = |at: usize| {
        let mut hello = hello.to_vec();
        hello[at] ^= 1;
        hello
    };
    let with_key = |key: u8| {
        let mut hello = hello.to_vec();
        hello[80..112].fill(0);
        hello[80] = key;
        hello
    };
    target.refuses("short", "CURVE", &command(&hello[..199]), MALFORMED_HELLO);
    target.refuses("long", "CURVE", &command(&[hello, &[0]].concat()), MALFORMED_HELLO);
    target.refuses("another version", "CURVE", &command(&changed(6)), MALFORMED_HELLO);
    target.refuses("padding", "CURVE", &command(&changed(40)), MALFORMED_HELLO);
    target.refuses("another nonce", "CURVE", &command(&changed(119)), CRYPTOGRAPHIC);
    target.refuses("a changed box", "CURVE", &command(&changed(150)), CRYPTOGRAPHIC);
    target.refuses("a key of zeros", "CURVE", &command(&with_key(0)), CRYPTOGRAPHIC);
    target.refuses("a key of low order", "CURVE", &command(&with_key(1)), CRYPTOGRAPHIC);
    target.refuses("a heartbeat", "CURVE", &command(b"\x04PING\0\0"), UNEXPECTED);
    target.refuses("no name", "CURVE", &command(b""), 0x1000_0011);
    let twice = [command(hello), command(hello)].concat();
    target.refuses("twice", "CURVE", &twice, UNEXPECTED);
    target.serves_the_good_peer();
}

#[test]
fn curve_initiates_that_are_not_genuine_are_refused() {
    let target = Target::curve();
    let is_initiate = |output: &[u8]| output.windows(9).any(|part| part == b"\x08INITIATE");
    let (_other, _, replayed) = target.curve_client(is_initiate);
    let refuse = |what: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>, code: u32| {
        let (mut stream, _, initiate) = target.curve_client(is_initiate);
        stream.write_all(&change(initiate)).unwrap();
        let event = target.failure();
        assert_eq!((event.kind, event.value), (PROTOCOL, code), "{what}");
        let _ = stream.read_to_end(&mut Vec::new());
    };
    // Behind the frame's header of nine octets.
    let flipped = |at: usize| {
        move |mut initiate: Vec<u8>| {
            initiate[9 + at] ^= 1;
            initiate
        }
    };
    refuse("another connection's", &|_| replayed.clone(), CRYPTOGRAPHIC);
    refuse("a changed cookie", &flipped(40), CRYPTOGRAPHIC);
    refuse("a changed nonce", &flipped(112), CRYPTOGRAPHIC);
    refuse("a changed box", &flipped(200), CRYPTOGRAPHIC);
    refuse("a short one", &|initiate| command(&initiate[9..200]), MALFORMED_INITIATE);
    target.serves_the_good_peer();
}

#[test]
fn curve_messages_that_are_repeated_changed_or_short_end_the_connection_and_deliver_nothing() {
    let target = Target::curve();
    let attack = |make: &dyn Fn(&mut Encoder) -> Vec<u8>, delivered: &[&str]| {
        let (mut stream, mut encoder) = target.curve_peer();
        stream.write_all(&make(&mut encoder)).unwrap();
        for message in delivered {
            assert_eq!(recv_text(&target.socket), [*message]);
        }
        let event = await_event(&target.monitor, EventKind::Disconnected);
        assert_ne!(event.reason, "closed by the peer");
        assert_silent(&target.socket);
    };
    attack(&|encoder| encoded(encoder, "once").repeat(2), &["once"]);
    attack(
        &|encoder| {
            let (first, second) = (encoded(encoder, "first"), encoded(encoder, "second"));
            [second, first].concat()
        },
        &["second"],
    );
    // A bit in the name, the counter, the authenticator and the box; then too short a box.
    for at in [2, 10, 17, 30, 38] {
        attack(
            &|encoder| {
                let mut message = encoded(encoder, "changed");
                message[at] ^= 1;
                message
            },
            &[],
        );
    }
    attack(&|_| [&[0, 31][..], b"\x07MESSAGE", &[0xff; 23]].concat(), &[]);
    attack(&|_| [&[0, 32][..], b"\x07MESSAGE", &[0xff; 24]].concat(), &[]);
    attack(&|_| b"\0\x05hello".to_vec(), &[]);
    target.serves_the_good_peer();
}

#[test]
fn a_message_before_the_end_of_the_handshake_is_refused() {
    let target = Target::curve();
    target.refuses("a message for HELLO", "CURVE", b"\0\x05hello", 0x1000_0011);
    let plain = Target::plain();
    let hello = command(b"\x05HELLO\x04anna\x06secret");
    plain.refuses("a message for INITIATE", "PLAIN", &[&hello[..], b"\0\x05\x04PING"].concat(), UNEXPECTED);
    plain.serves_the_good_peer();
}

#[test]
fn a_flood_of_hellos_leaves_the_good_peer_and_newcomers_alone() {
    let target = Target::curve();
    let (_stream, _, hello) = target.curve_client(|output| output.windows(6).any(|part| part == b"\x05HELLO"));
    let at = hello.windows(6).position(|part| part == b"\x05HELLO").unwrap();
    let hello = [greeting("CURVE"), command(&hello[at..at + 200])].concat();
    let clients: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut client = raw_client(&target.endpoint);
            client.write_all(&hello).unwrap();
            client
        })
        .collect();
    target.serves_the_good_peer();
    let newcomer = target.context.socket(SocketType::Push);
    let keys = KeyPair::generate().unwrap();
    newcomer.set_security(Security::CurveClient { server: target.keys.public(), keys }).unwrap();
    newcomer.connect(&target.endpoint).unwrap();
    send(&newcomer, "new here");
    assert_eq!(recv_text(&target.socket), ["new here"]);
    drop(clients);
}

#[test]
fn those_that_say_nothing_keep_nobody_out() {
    let context = Context::builder().max_handshakes(8).build();
    let keys = KeyPair::generate().unwrap();
    let server = context.socket(SocketType::Pull).unwrap();
    server.set_security(Security::CurveServer(keys.clone())).unwrap();
    let monitor = server.monitor().unwrap();
    let endpoint = server.bind("tcp://127.0.0.1:*").unwrap();
    let silent: Vec<TcpStream> = (0..40).map(|_| raw_client(&endpoint)).collect();
    // The oldest were closed to make room.
    for _ in 0..32 {
        let event = await_event(&monitor, EventKind::HandshakeFailed);
        assert_eq!(event.value, 103, "ECONNABORTED");
    }
    for stream in &silent[..32] {
        let mut greeting = Vec::new();
        let _ = { stream }.read_to_end(&mut greeting);
        assert!(greeting.len() <= 10);
    }
    let client = context.socket(SocketType::Push).unwrap();
    let own = KeyPair::generate().unwrap();
    client.set_security(Security::CurveClient { server: keys.public(), keys: own }).unwrap();
    client.connect(&endpoint).unwrap();
    send(&client, "through");
    assert_eq!(recv_text(&server), ["through"]);
}

/// A ZAP handler that is closed and bound again while peers come.
#[test]
fn a_handler_that_comes_and_goes_denies_or_admits_and_hangs_nothing() {
    let context = TestContext::new();
    let server = context.socket(SocketType::Pull);
    server.set_security(Security::PlainServer).unwrap();
    server.set_handshake_interval(Some(ms(100))).unwrap();
    let endpoint = server.bind("tcp://127.0.0.1:*").unwrap();
    let client = context.socket(SocketType::Push);
    client.set_handshake_interval(Some(ms(100))).unwrap();
    client.set_security(Security::PlainClient { username: "a".into(), password: "b".into() }).unwrap();
    client.connect(&endpoint).unwrap();
    for _ in 0..3 {
        let handler = context.socket(SocketType::Rep);
        handler.bind("inproc://zeromq.zap.01").unwrap();
        recv(&handler);
        // Closed with the request in its hands.
    }
    let handler = context.socket(SocketType::Rep);
    handler.bind("inproc://zeromq.zap.01").unwrap();
    send(&client, "in the end");
    recv(&handler);
    let reply: Message = ["1.0", "1", "200", "OK", "a", ""].into_iter().collect();
    send(&handler, reply);
    assert_eq!(recv_text(&server), ["in the end"]);
}
