//! PLAIN and CURVE: captured bytes, whole conversations in every chunking, and peers that do not keep to
//! the rules.

mod common;

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use common::{Wire, hex, vector};
use oxzmq_proto::curve::{CurveClient, CurveServer, SecretKey};
use oxzmq_proto::{
    Handshake, HandshakeConfig, Message, PlainCredentials, Properties, ProtocolError, Security, SocketType,
};

thread_local! {
    /// What the random source gives next; counted octets once that is used up.
    static RANDOM: RefCell<(Vec<u8>, u8)> = const { RefCell::new((Vec::new(), 0)) };
}

fn random(octets: &mut [u8]) -> bool {
    RANDOM.with_borrow_mut(|(script, count)| {
        for octet in octets {
            *octet = if script.is_empty() {
                *count = count.wrapping_add(1);
                *count
            } else {
                script.remove(0)
            };
        }
    });
    true
}

fn key(name: &str) -> [u8; 32] {
    vector(name).try_into().unwrap()
}

fn secret(name: &str) -> SecretKey {
    SecretKey::from_bytes(key(name))
}

fn config(socket_type: SocketType, security: Security) -> HandshakeConfig {
    let mut config = HandshakeConfig::new(socket_type);
    config.security = security;
    config
}

fn curve_client() -> HandshakeConfig {
    let keys = CurveClient::new(key("curve/key/server-public"), secret("curve/key/client-secret"), random);
    config(SocketType::Dealer, Security::CurveClient(Arc::new(keys)))
}

fn curve_server() -> HandshakeConfig {
    let keys = CurveServer::new(secret("curve/key/server-secret"), random);
    config(SocketType::Router, Security::CurveServer(Arc::new(keys)))
}

fn plain_client(username: &str, password: &str) -> HandshakeConfig {
    let credentials = PlainCredentials::new(username, password).unwrap();
    config(SocketType::Dealer, Security::PlainClient(Arc::new(credentials)))
}

fn plain_server() -> HandshakeConfig {
    config(SocketType::Router, Security::PlainServer)
}

/// Two handshakes that talk to each other in pieces of this size, until both are done or wait; what either
/// asks is answered with `verdict`.
fn converse(
    client: &mut Handshake,
    server: &mut Handshake,
    piece: usize,
    verdict: &dyn Fn() -> Result<Properties, u16>,
) -> Result<(), ProtocolError> {
    loop {
        let mut moved = false;
        for turn in 0..2 {
            let (from, to) = if turn == 0 { (&mut *client, &mut *server) } else { (&mut *server, &mut *client) };
            let octets = from.output().to_vec();
            from.advance_output(octets.len());
            for piece in octets.chunks(piece) {
                assert_eq!(to.handle_input(piece)?, piece.len());
            }
            moved |= !octets.is_empty();
            if to.auth_request().is_some() {
                moved = true;
                let result = to.authenticate(verdict());
                if result.is_err() {
                    let last = to.output().to_vec();
                    from.handle_input(&last)?;
                    return result;
                }
            }
        }
        if !moved {
            return Ok(());
        }
    }
}

fn granted() -> Result<Properties, u16> {
    let mut properties = Properties::new();
    properties.insert("User-Id", "alice");
    Ok(properties)
}

/// A server that has been greeted by a peer with this mechanism and has sent its own greeting.
fn greeted(config: HandshakeConfig, mechanism: &str) -> Handshake {
    let mut handshake = Handshake::new(config);
    let mut greeting = vector("null/greeting-64");
    greeting[12..32].fill(0);
    greeting[12..12 + mechanism.len()].copy_from_slice(mechanism.as_bytes());
    handshake.handle_input(&greeting).unwrap();
    let len = handshake.output().len();
    assert!(len >= 64);
    handshake.advance_output(64);
    handshake
}

fn command(body: &[u8]) -> Vec<u8> {
    let long = [&[6][..], &(body.len() as u64).to_be_bytes(), body].concat();
    if body.len() < 256 { [&[4, body.len() as u8], body].concat() } else { long }
}

#[test]
fn a_curve_client_says_what_was_captured() {
    let vouch = vector("curve/vouch");
    for piece in [usize::MAX, 1] {
        RANDOM.set(([vector("curve/key/client-transient-secret"), vouch[..16].to_vec()].concat(), 0));
        let mut wire = Wire::new(curve_client());
        let receive = |wire: &mut Wire, name: &str| {
            vector(name).chunks(piece).for_each(|piece| wire.receive(piece).unwrap());
        };
        receive(&mut wire, "curve/server-greeting");
        assert_eq!(wire.sent()[64..], vector("curve/HELLO"));
        receive(&mut wire, "curve/WELCOME");
        assert_eq!(wire.sent(), vector("curve/INITIATE"));
        receive(&mut wire, "curve/READY");
        wire.send("hello");
        assert_eq!(wire.sent(), vector("curve/MESSAGE-client"));
        receive(&mut wire, "curve/MESSAGE-server-two-parts");
        assert_eq!(wire.messages(), [["p1", "p2"].into_iter().collect::<Message>()]);
        receive(&mut wire, "curve/MESSAGE-PONG");
        assert_eq!(wire.controls(), [oxzmq_proto::Control::Pong]);
        let established = wire.finish();
        assert_eq!(established.peer_type, Some(SocketType::Router));
    }
}

#[test]
fn a_plain_client_says_what_was_captured() {
    let mut wire = Wire::new(plain_client("admin", "secret"));
    wire.receive(&vector("plain/server-greeting")).unwrap();
    let sent = wire.sent();
    assert_eq!(sent[..64], vector("plain/client-greeting"));
    assert_eq!(sent[64..], vector("plain/client-HELLO"));
    wire.receive(&vector("plain/server-WELCOME")).unwrap();
    assert_eq!(wire.sent(), vector("plain/client-INITIATE"));
    wire.receive(&vector("plain/server-READY")).unwrap();
    wire.send("hi");
    assert_eq!(wire.sent(), vector("plain/client-message"));
}

#[test]
fn a_plain_server_says_what_was_captured() {
    let mut server = greeted(plain_server(), "PLAIN");
    server.handle_input(&vector("plain/client-HELLO")).unwrap();
    assert_eq!(server.output(), b"");
    let request = server.auth_request().unwrap();
    assert_eq!((request.mechanism, &request.credentials[..]), ("PLAIN", &[Bytes::from("admin"), "secret".into()][..]));
    assert!(!format!("{server:?} {request:?}").contains("secret"));
    server.authenticate(granted()).unwrap();
    assert_eq!(server.output(), vector("plain/server-WELCOME-libzmq"));
    server.advance_output(usize::MAX);
    server.handle_input(&vector("plain/client-INITIATE")).unwrap();
    assert_eq!(server.output(), vector("plain/server-READY"));
    assert!(server.is_complete());
    assert_eq!(server.finish().properties.get_str("User-Id"), Some("alice"));
}

#[test]
fn both_sides_of_ours_agree_in_every_chunking() {
    type Config = fn() -> HandshakeConfig;
    let pairs: [(Config, Config); 2] =
        [(curve_client, curve_server), (|| plain_client("", &"p".repeat(255)), plain_server)];
    for (client, server) in pairs {
        for piece in [1, 2, 7, 64, 200, 4096] {
            let (mut client, mut server) = (Handshake::new(client()), Handshake::new(server()));
            converse(&mut client, &mut server, piece, &granted).unwrap();
            assert!(client.is_complete() && server.is_complete());
            let (client, server) = (client.finish(), server.finish());
            assert_eq!(client.peer_type, Some(SocketType::Router));
            assert_eq!(server.peer_type, Some(SocketType::Dealer));
            assert_eq!(server.properties.get_str("User-Id"), Some("alice"));
            assert_eq!(client.properties.get("User-Id"), None);
        }
    }
}

#[test]
fn a_curve_server_learns_the_client_s_key() {
    let (mut client, mut server) = (Handshake::new(curve_client()), Handshake::new(curve_server()));
    let seen = RefCell::new(None);
    while seen.borrow().is_none() {
        let octets = client.output().to_vec();
        client.advance_output(octets.len());
        server.handle_input(&octets).unwrap();
        *seen.borrow_mut() = server.auth_request();
        let octets = server.output().to_vec();
        server.advance_output(octets.len());
        client.handle_input(&octets).unwrap();
    }
    let request = seen.into_inner().unwrap();
    assert_eq!((request.mechanism, &request.credentials[0][..]), ("CURVE", &vector("curve/key/client-public")[..]));
}

#[test]
fn a_refusal_reaches_the_client_unless_it_is_temporary() {
    let null = |socket_type| {
        let mut config = HandshakeConfig::new(socket_type);
        config.authenticate = socket_type == SocketType::Router;
        config
    };
    let clients: [HandshakeConfig; 3] = [curve_client(), plain_client("a", "b"), null(SocketType::Dealer)];
    let servers: [HandshakeConfig; 3] = [curve_server(), plain_server(), null(SocketType::Router)];
    for (client, server) in clients.into_iter().zip(servers) {
        for status in [400, 500] {
            let (mut client, mut server) = (Handshake::new(client.clone()), Handshake::new(server.clone()));
            let error = converse(&mut client, &mut server, 4096, &|| Err(status)).unwrap_err();
            // The client's error comes first out of `converse`.
            assert_eq!(error, ProtocolError::PeerError { reason: status.to_string() });
            assert_eq!(error.auth_status(), Some(status));
            assert!(error.is_fatal_for_connecter());
            assert_eq!(server.handle_input(b"x").unwrap_err(), ProtocolError::AuthRefused { status });
        }
        let (mut client, mut server) = (Handshake::new(client), Handshake::new(server));
        let error = converse(&mut client, &mut server, 4096, &|| Err(300)).unwrap_err();
        assert_eq!(error, ProtocolError::AuthRefused { status: 300 });
        assert!(!error.is_fatal_for_connecter());
        assert!(!server.output().windows(5).any(|part| part == b"ERROR"));
    }
}

#[test]
fn a_null_peer_is_told_nothing_before_it_was_let_in() {
    let mut config = HandshakeConfig::new(SocketType::Router);
    config.authenticate = true;
    let mut server = greeted(config, "NULL");
    assert_eq!(server.output(), b"");
    assert_eq!(server.auth_request().unwrap().mechanism, "NULL");
    server.handle_input(&vector("null/ready/DEALER")).unwrap();
    assert!(!server.is_complete());
    server.authenticate(granted()).unwrap();
    assert!(server.is_complete() && !server.output().is_empty());
    assert_eq!(server.finish().properties.get_str("user-id"), Some("alice"));
}

#[test]
fn libzmq_s_misspelt_error_is_understood() {
    let mut wire = Wire::new(plain_client("admin", "wrong"));
    wire.receive(&vector("plain/server-greeting")).unwrap();
    let error = wire.receive(&vector("plain/server-ERROR-400")).unwrap_err();
    assert_eq!(error.auth_status(), Some(400));
}

#[test]
fn a_peer_cannot_name_its_own_user() {
    let mut server = greeted(plain_server(), "PLAIN");
    server.handle_input(&vector("plain/client-HELLO")).unwrap();
    server.authenticate(Ok(Properties::new())).unwrap();
    let mut initiate = b"\x08INITIATE".to_vec();
    let mut claims = Properties::new();
    for name in ["User-Id", "user-id", "Peer-Address", "X-other"] {
        claims.insert(name, "root");
    }
    claims.encode(&mut initiate);
    server.handle_input(&command(&initiate)).unwrap();
    let properties = server.finish().properties;
    assert_eq!(properties.iter().collect::<Vec<_>>(), [("X-other", &b"root"[..])]);
}

#[test]
fn old_peers_are_refused_where_there_is_security() {
    let mut null = HandshakeConfig::new(SocketType::Router);
    null.authenticate = true;
    for config in [curve_server(), curve_client(), plain_server(), plain_client("a", "b"), null] {
        for octets in [&b"\x01\x00"[..], &hex("ff00000000000000017f0105"), &hex("ff00000000000000017f0005"), b"GET /"] {
            let error = Handshake::new(config.clone()).handle_input(octets).unwrap_err();
            assert!(matches!(error, ProtocolError::LegacyPeerRefused { .. }), "{error}");
        }
    }
}

#[test]
fn another_mechanism_is_refused() {
    for (config, ours) in [(curve_server(), "CURVE"), (plain_server(), "PLAIN"), (curve_client(), "CURVE")] {
        for theirs in ["NULL", "PLAIN", "CURVE", "GSSAPI", "CURVE2", "curve", ""] {
            let mut greeting = vector("null/greeting-64");
            greeting[12..32].fill(0);
            greeting[12..12 + theirs.len()].copy_from_slice(theirs.as_bytes());
            let result = Handshake::new(config.clone()).handle_input(&greeting);
            assert_eq!(result.is_ok(), ours == theirs, "{ours} {theirs}");
            if let Err(error) = result {
                assert_eq!(error.event_code(), Some(0x1100_0002));
            }
        }
    }
}

#[test]
fn two_servers_find_out() {
    // Both wait for a HELLO: neither says anything, and the driver's timer ends it. Two clients notice at once.
    for client in [curve_client(), plain_client("a", "b")] {
        let (mut one, mut other) = (Handshake::new(client.clone()), Handshake::new(client));
        let error = converse(&mut one, &mut other, 4096, &granted).unwrap_err();
        assert_eq!(error, ProtocolError::UnexpectedCommand { name: "HELLO".into() });
    }
}

#[test]
fn a_plain_hello_has_to_be_exact() {
    let bad: [&[u8]; 9] = [
        b"",
        b"\x00",
        b"\x01",
        b"\x05admi",
        b"\x05admin",
        b"\x05admin\x06secre",
        b"\x05admin\x06secret!",
        b"\xff\xff",
        b"\x00\xff",
    ];
    for data in bad {
        let mut server = greeted(plain_server(), "PLAIN");
        let error = server.handle_input(&command(&[b"\x05HELLO", data].concat())).unwrap_err();
        assert_eq!(error.event_code(), Some(0x1000_0013), "{data:?}");
        assert!(server.auth_request().is_none());
    }
    let longest = [&b"\x05HELLO\xff"[..], &[b'u'; 255], &[255], &[b'p'; 255]].concat();
    let mut server = greeted(plain_server(), "PLAIN");
    server.handle_input(&command(&longest)).unwrap();
    assert_eq!(server.auth_request().unwrap().credentials[1].len(), 255);
    assert!(PlainCredentials::new([b'u'; 256], "").is_none());
}

#[test]
fn commands_out_of_their_order_are_refused() {
    let hello = vector("plain/client-HELLO");
    let cases: [(&str, Vec<Vec<u8>>); 5] = [
        ("before HELLO", vec![vector("plain/client-INITIATE")]),
        ("twice", vec![hello.clone(), hello.clone()]),
        ("without waiting for WELCOME", vec![hello.clone(), vector("plain/client-INITIATE")]),
        ("a message", vec![hello.clone(), vector("plain/client-message")]),
        ("a heartbeat", vec![command(b"\x04PING\0\0")]),
    ];
    for (case, commands) in cases {
        let mut server = greeted(plain_server(), "PLAIN");
        let octets = commands.concat();
        assert!(server.handle_input(&octets).is_err(), "{case}");
    }
    for octets in [vector("curve/INITIATE"), vector("curve/MESSAGE-client"), command(b"\x04PING\0\0")] {
        assert!(greeted(curve_server(), "CURVE").handle_input(&octets).is_err());
    }
    let mut server = greeted(curve_server(), "CURVE");
    server.handle_input(&vector("curve/HELLO")).unwrap();
    let error = server.handle_input(&vector("curve/HELLO")).unwrap_err();
    assert_eq!(error.event_code(), Some(0x1000_0001));
}

#[test]
fn a_curve_hello_has_to_be_exact() {
    let good = vector("curve/HELLO")[2..].to_vec();
    let changed = |at: usize, octet: u8| {
        let mut hello = good.clone();
        hello[at] = octet;
        hello
    };
    let with_key = |key: [u8; 32]| {
        let mut hello = good.clone();
        hello[80..112].copy_from_slice(&key);
        hello
    };
    let mut one = [0; 32];
    one[0] = 1;
    let bad = [
        ("short", good[..199].to_vec(), 0x1000_0013),
        ("long", [&good[..], &[0]].concat(), 0x1000_0013),
        ("version", changed(6, 2), 0x1000_0013),
        ("minor version", changed(7, 1), 0x1000_0013),
        ("padding", changed(40, 1), 0x1000_0013),
        ("the box", changed(199, good[199] ^ 1), 0x1100_0001),
        ("the nonce", changed(119, 9), 0x1100_0001),
        ("no key", with_key([0; 32]), 0x1100_0001),
        ("a key of low order", with_key(one), 0x1100_0001),
    ];
    for (case, hello, code) in bad {
        let mut server = greeted(curve_server(), "CURVE");
        let error = server.handle_input(&command(&hello)).unwrap_err();
        assert_eq!(error.event_code(), Some(code), "{case}");
        assert_eq!(server.output(), b"", "{case}");
    }
}

/// Our client and server up to where INITIATE is on its way; returns it with the server.
fn initiated(config: HandshakeConfig) -> (Vec<u8>, Handshake) {
    let (mut client, mut server) = (Handshake::new(config), Handshake::new(curve_server()));
    loop {
        let octets = client.output().to_vec();
        client.advance_output(octets.len());
        if octets.windows(9).any(|part| part == b"\x08INITIATE") {
            return (octets, server);
        }
        server.handle_input(&octets).unwrap();
        let octets = server.output().to_vec();
        server.advance_output(octets.len());
        client.handle_input(&octets).unwrap();
    }
}

#[test]
fn a_curve_initiate_has_to_be_genuine() {
    let (good, mut server) = initiated(curve_client());
    server.handle_input(&good).unwrap();
    assert!(server.auth_request().is_some());

    // Another connection's, replayed: its cookie opens for nobody else.
    let (_, mut server) = initiated(curve_client());
    let error = server.handle_input(&good).unwrap_err();
    assert_eq!(error, ProtocolError::Cryptographic { what: "the cookie" });

    // Any changed octet, and any length that is too short.
    for at in 9..good.len() {
        let (mut bad, mut server) = initiated(curve_client());
        bad[at] ^= 0x80;
        assert!(server.handle_input(&bad).is_err(), "{at}");
        assert!(server.auth_request().is_none());
    }
    for len in [9, 100, 256] {
        let (good, mut server) = initiated(curve_client());
        let error = server.handle_input(&command(&good[9..9 + len])).unwrap_err();
        assert_eq!(error.event_code(), Some(0x1000_0014), "{len}");
    }
}

#[test]
fn a_client_of_another_server_is_refused() {
    // It takes us for somebody else: its HELLO does not open.
    let other = SecretKey::from_bytes([5; 32]).public_key();
    let keys = CurveClient::new(other, secret("curve/key/client-secret"), random);
    let client = config(SocketType::Dealer, Security::CurveClient(Arc::new(keys)));
    let (mut client, mut server) = (Handshake::new(client), Handshake::new(curve_server()));
    let error = converse(&mut client, &mut server, 4096, &granted).unwrap_err();
    assert_eq!(error, ProtocolError::Cryptographic { what: "HELLO" });

    // No server key at all.
    let keys = CurveClient::new([0; 32], secret("curve/key/client-secret"), random);
    let client = config(SocketType::Dealer, Security::CurveClient(Arc::new(keys)));
    let error = Handshake::new(client).handle_input(&vector("curve/server-greeting")).unwrap_err();
    assert_eq!(error.event_code(), Some(0x1100_0001));
}

#[test]
fn metadata_of_every_size_is_bounded_by_the_command() {
    for (size, fits) in [(0, true), (255, true), (256, true), (512, true), (60_000, true), (66_000, false)] {
        let mut client = curve_client();
        client.metadata.push(("X-large".into(), Bytes::from(vec![b'v'; size])));
        let (mut client, mut server) = (Handshake::new(client), Handshake::new(curve_server()));
        let result = converse(&mut client, &mut server, 4096, &granted);
        assert_eq!(result.is_ok(), fits, "{size}");
        if fits {
            assert_eq!(server.finish().properties.get("X-large").unwrap().len(), size);
        }
    }
}

#[test]
fn without_randomness_there_is_no_connection() {
    let keys = CurveClient::new([9; 32], SecretKey::from_bytes([5; 32]), |_| false);
    let client = config(SocketType::Dealer, Security::CurveClient(Arc::new(keys)));
    let error = Handshake::new(client).handle_input(&vector("curve/server-greeting")).unwrap_err();
    assert_eq!(error, ProtocolError::NoRandomness);
    assert!(!error.is_fatal_for_connecter());
    let keys = CurveServer::new(secret("curve/key/server-secret"), |_| false);
    let mut server = greeted(config(SocketType::Router, Security::CurveServer(Arc::new(keys))), "CURVE");
    assert_eq!(server.handle_input(&vector("curve/HELLO")).unwrap_err(), ProtocolError::NoRandomness);
}

#[test]
fn sealed_traffic_is_bounded_by_what_is_in_it() {
    for (max_frame_size, size, fits) in
        [(10, 10, true), (10, 11, false), (20_000, 20_000, true), (20_000, 20_001, false)]
    {
        let mut server = curve_server();
        server.limits.max_frame_size = Some(max_frame_size);
        let (mut client, mut server) = (Wire::new(curve_client()), Handshake::new(server));
        let mut traffic = false;
        while !traffic {
            let octets = client.sent();
            server.handle_input(&octets).unwrap();
            let _ = server.authenticate(granted());
            client.receive(server.output()).unwrap();
            server.advance_output(usize::MAX);
            traffic = server.is_complete();
        }
        client.send(vec![7; size]);
        let mut decoder = server.finish().decoder;
        let (mut messages, mut controls) = (Default::default(), Vec::new());
        let result = decoder.decode(&client.sent(), &mut messages, 9, &mut controls);
        assert_eq!((result.is_ok(), messages.len()), (fits, usize::from(fits)), "{size}");
    }
}
