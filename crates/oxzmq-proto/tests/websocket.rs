//! ZeroMQ over WebSocket: captured bytes, conversations, and what has to hold for any bytes in any pieces.

mod common;

use std::sync::Arc;

use common::{Wire, vector};
use oxzmq_proto::curve::{CurveClient, CurveServer, SecretKey};
use oxzmq_proto::{
    Control, Frame, HandshakeConfig, Kind, LARGE_BODY, Limits, Message, PlainCredentials, ProtocolError, Security,
    SocketType, Version, WebSocket,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A source that gives the key of the captured request first.
fn captured_key(octets: &mut [u8]) -> bool {
    let key = b"\x51\xdc\xb0\xf4\x4a\x94\xe8\x2a\x29\x1f\x8e\xa3\xba\x58\x1b\xbd";
    octets.iter_mut().zip(key.iter().cycle()).for_each(|(octet, key)| *octet = *key);
    true
}

fn client(socket_type: SocketType) -> HandshakeConfig {
    let mut config = HandshakeConfig::new(socket_type);
    config.websocket = Some(WebSocket::client("127.0.0.1", "/some/path", captured_key));
    config
}

fn server(socket_type: SocketType) -> HandshakeConfig {
    let mut config = HandshakeConfig::new(socket_type);
    config.websocket = Some(WebSocket::server());
    config
}

/// A request with this list of protocols.
fn request(protocols: &str) -> Vec<u8> {
    format!(
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Protocol: {protocols}\r\n\r\n"
    )
    .into_bytes()
}

/// A client's frame, masked.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0xa5, 0x5a, 3, 0];
    let mut frame = vec![first];
    match payload.len() {
        size @ 0..=125 => frame.push(0x80 | size as u8),
        size @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(size as u16).to_be_bytes());
        }
        size => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(octet, key)| octet ^ key));
    frame
}

/// Let both speak until neither has anything to say.
fn converse(one: &mut Wire, other: &mut Wire) {
    loop {
        let (from_one, from_other) = (one.sent(), other.sent());
        if from_one.is_empty() && from_other.is_empty() {
            return;
        }
        other.receive(&from_one).unwrap();
        one.receive(&from_other).unwrap();
        one.admit();
        other.admit();
    }
}

/// A server after its handshake with a client of this type.
fn served(socket_type: SocketType, limits: Limits) -> Wire {
    let mut config = server(socket_type);
    config.limits = limits;
    let mut wire = Wire::new(config);
    wire.receive(&request("ZWS2.0/NULL")).unwrap();
    wire.receive(&masked(0x82, b"\x02\x05READY")).unwrap();
    assert!(wire.version().is_some());
    wire.sent();
    wire
}

fn printed(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn the_request_is_libzmq_s() {
    let request = vector("ws/client-request");
    let mut key = [0; 16];
    captured_key(&mut key);
    assert_eq!(printed(&Wire::new(client(SocketType::Dealer)).sent()), printed(&request));
}

#[test]
fn without_a_mechanism_each_side_begins_with_its_routing_id() {
    let mut config = server(SocketType::Router);
    config.routing_id = "srv".into();
    let mut wire = Wire::new(config);
    wire.receive(&request("ZWS2.0")).unwrap();
    let response = vector("ws/server-response-ZWS2.0");
    let sent = wire.sent();
    assert_eq!(printed(&sent[..response.len()]), printed(&response));
    assert_eq!(sent[response.len()..], vector("ws/server-identity-frame-ZWS2.0"));
    wire.receive(&vector("ws/client-identity-frame-ZWS2.0")).unwrap();
    wire.send(["a".into(), "b".repeat(126)]);
    assert!(wire.sent().starts_with(&vector("ws/server-two-part-message")));
    let established = wire.finish();
    assert_eq!((&established.peer_routing_id[..], established.version), (&b"cli"[..], Version::V2));
    assert!(!established.encoder.has_heartbeats());
}

#[test]
fn with_a_mechanism_its_commands_come_first() {
    let mut wire = Wire::new(server(SocketType::Router));
    wire.receive(&request("ZWS2.0,ZWS2.0/NULL")).unwrap();
    let sent = wire.sent();
    let head = sent.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert!(printed(&sent[..head]).contains("Sec-WebSocket-Protocol: ZWS2.0/NULL\r\n"));
    assert_eq!(sent[head..], vector("ws/server-READY-ZWS2.0-NULL"));
    wire.receive(&vector("ws/client-READY-ZWS2.0-NULL")).unwrap();
    let established = wire.finish();
    assert_eq!((established.peer_type, established.version), (Some(SocketType::Dealer), Version::V3_0));
    assert!(established.encoder.has_heartbeats());
}

#[test]
fn a_ready_masked_by_libzmq_is_understood() {
    let mut wire = Wire::new(server(SocketType::Router));
    wire.receive(&[request("ZWS2.0/NULL"), vector("ws/client-READY-libzmq")].concat()).unwrap();
    assert_eq!(wire.finish().peer_routing_id, "me");
}

#[test]
fn heartbeats_are_websocket_s() {
    let mut wire = served(SocketType::Router, Limits::default());
    wire.receive(&masked(0x89, b"first")).unwrap();
    wire.receive(&[masked(0x89, b"ignored"), masked(0x89, b"pingdata"), masked(0x8a, b"")].concat()).unwrap();
    let ping = |context: &str| Control::Ping { ttl_deciseconds: 0, context: context.into() };
    assert_eq!(wire.controls(), [ping("pingdata")]);
    wire.receive(&masked(0x8a, b"anything")).unwrap();
    assert_eq!(wire.controls(), [Control::Pong]);
    let mut encoder = wire.finish().encoder;
    let mut out = oxzmq_proto::OutBuf::new();
    encoder.ping(30, b"", &mut out);
    assert_eq!(out.first_slice(), vector("ws/ping-own"));
    out.clear();
    encoder.pong(b"", &mut out);
    assert_eq!(out.first_slice(), vector("ws/pong"));
    out.clear();
    encoder.pong(b"pingdata", &mut out);
    assert_eq!(out.first_slice(), b"\x8a\x08pingdata");
}

#[test]
fn what_follows_the_peer_s_close_does_not_count() {
    let mut wire = served(SocketType::Router, Limits::default());
    let close = masked(0x88, b"\x03\xe8bye");
    wire.receive(&[masked(0x82, b"\0before"), close, masked(0x82, b"\0after"), vec![0xff; 30]].concat()).unwrap();
    wire.receive(&[0xff; 30]).unwrap();
    assert_eq!(wire.messages(), [Message::from("before")]);
    assert_eq!(wire.controls(), [Control::Close { payload: Frame::from(b"\x03\xe8bye") }]);
    let mut out = oxzmq_proto::OutBuf::new();
    wire.finish().encoder.close(b"\x03\xe8bye", &mut out);
    assert_eq!(out.first_slice(), b"\x88\x05\x03\xe8bye");
}

#[test]
fn control_frames_may_come_in_the_handshake_and_are_bounded() {
    let mut wire = Wire::new(server(SocketType::Router));
    wire.receive(&[request("ZWS2.0/NULL"), masked(0x8a, b"")].concat()).unwrap();
    wire.sent();
    wire.receive(&masked(0x89, b"?")).unwrap();
    assert_eq!(wire.sent(), b"\x8a\x01?");
    // All at once, while nobody takes the answers.
    wire.receive(&masked(0x89, &[7; 125]).repeat(1000)).unwrap();
    assert!(wire.sent().len() < 1200);
    assert_eq!(wire.receive(&masked(0x88, b"")), Err(ProtocolError::WebSocketClosed));
}

#[test]
fn subscriptions_are_messages_and_groups_commands() {
    let (mut sub, mut xpub) = (Wire::new(client(SocketType::Sub)), Wire::new(server(SocketType::Xpub)));
    converse(&mut sub, &mut xpub);
    sub.send(Message::subscription(Kind::Subscribe, "topic"));
    converse(&mut sub, &mut xpub);
    assert_eq!(xpub.messages(), [Message::from("\u{1}topic")]);

    let (mut dish, mut radio) = (Wire::new(client(SocketType::Dish)), Wire::new(server(SocketType::Radio)));
    converse(&mut dish, &mut radio);
    dish.send(Message::subscription(Kind::Join, "movies"));
    converse(&mut dish, &mut radio);
    assert_eq!(radio.messages(), [Message::subscription(Kind::Join, "movies")]);
}

fn curve() -> (Security, Security) {
    let secret = |octet| SecretKey::from_bytes([octet; 32]);
    let public = secret(1).public_key();
    let server = CurveServer::new(secret(1), captured_key);
    let client = CurveClient::new(public, secret(2), captured_key);
    (Security::CurveClient(Arc::new(client)), Security::CurveServer(Arc::new(server)))
}

#[test]
fn breaches_of_the_framing_end_it_and_deliver_nothing_more() {
    for (frame, why) in [
        (vec![0x82, 2, 0, b'x'], "not masked"),
        (masked(0x02, b"\0x"), "fragment"),
        (masked(0x80, b"\0x"), "fragment"),
        (masked(0x81, b"\0x"), "text"),
        (masked(0x82, b""), "flags"),
        (masked(0xc2, b"\0x"), "reserved"),
        (masked(0x83, b"\0x"), "unknown"),
        (masked(0x89, &[0; 126]), "125"),
        (masked(0x09, b""), "fragment"),
        (masked(0x88, &[0; 200]), "125"),
        (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), "impossible"),
    ] {
        let mut wire = served(SocketType::Pull, Limits::default());
        let error = wire.receive(&[masked(0x82, b"\0good"), frame].concat()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(wire.messages(), [Message::from("good")]);
    }
    let mut wire = Wire::new(client(SocketType::Pull));
    let mut other = Wire::new(server(SocketType::Push));
    converse(&mut wire, &mut other);
    let error = wire.receive(&masked(0x82, b"\0x")).unwrap_err();
    assert!(error.to_string().contains("masked"), "{error}");
}

#[test]
fn limits_are_those_of_the_body() {
    let limits = Limits { max_frame_size: Some(10), ..Limits::default() };
    let mut wire = served(SocketType::Pull, limits);
    wire.receive(&masked(0x82, b"\x000123456789")).unwrap();
    let error = wire.receive(&masked(0x82, b"\x000123456789a")[..7]).unwrap_err();
    assert_eq!(error, ProtocolError::FrameTooLarge { size: 11, limit: 10 });
    assert_eq!(wire.messages(), [Message::from("0123456789")]);
}

#[test]
fn the_handshake_s_commands_are_bounded() {
    let mut wire = Wire::new(server(SocketType::Pull));
    wire.receive(&request("ZWS2.0/NULL")).unwrap();
    let error = wire.receive(&masked(0x82, &[2; 70_000])[..15]).unwrap_err();
    assert_eq!(error, ProtocolError::FrameTooLarge { size: 69_999, limit: 65_536 });
}

#[test]
fn whoever_has_no_mechanism_is_not_let_in_where_there_is_security() {
    let mut configs = vec![server(SocketType::Pull); 3];
    configs[0].authenticate = true;
    configs[1].accept_legacy = false;
    configs[2].security = curve().1;
    for config in configs {
        let error = Wire::new(config).receive(&request("ZWS2.0")).unwrap_err();
        assert!(matches!(error, ProtocolError::WebSocketUpgrade { .. }), "{error}");
        assert!(!error.is_fatal_for_connecter());
    }
}

fn frame() -> impl Strategy<Value = Frame> {
    let size =
        prop_oneof![8 => 0..60usize, 4 => 120..130usize, 1 => LARGE_BODY - 3..LARGE_BODY + 3, 1 => 60_000..70_000usize];
    (size, any::<u8>()).prop_map(|(size, octet)| {
        Frame::from((0..size).map(|at| (at as u8).wrapping_mul(7) ^ octet).collect::<Vec<u8>>())
    })
}

fn message() -> impl Strategy<Value = Message> {
    vec(frame(), 1..5).prop_map(|frames| frames.into_iter().collect())
}

fn security() -> impl Strategy<Value = (Security, Security)> {
    let plain = PlainCredentials::new("user", "password").unwrap();
    select(vec![
        (Security::Null, Security::Null),
        (Security::PlainClient(Arc::new(plain)), Security::PlainServer),
        curve(),
    ])
}

/// Cut `octets` at these places.
fn pieces<'a>(octets: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(octets.len() + 1)).collect();
    at.extend([0, octets.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &octets[pair[0]..pair[1]]).collect()
}

type Events = (Vec<Message>, Vec<u8>, Option<ProtocolError>);

fn events(mut wire: Wire, pieces: &[&[u8]]) -> Events {
    let failed = pieces.iter().find_map(|piece| wire.receive(piece).err());
    (wire.messages(), wire.sent(), failed)
}

/// Bytes that are often nearly right.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let real = [
        request("ZWS2.0/NULL"),
        request("ZWS2.0"),
        vector("ws/client-READY-libzmq"),
        vector("ws/client-identity-frame-ZWS2.0"),
        masked(0x82, b"\0message"),
        masked(0x82, b"\x01part"),
        masked(0x82, b"\x02\x04JOINgroup"),
        masked(0x82, &vec![0; 20_000]),
        masked(0x89, b"ping"),
        masked(0x88, b"\x03\xe8"),
        vector("ws/server-response-ZWS2.0"),
    ];
    let noise = vec(prop_oneof![Just(0u8), Just(0x82), Just(0x80), Just(0xff), any::<u8>()], 0..20);
    let soup = vec(prop_oneof![4 => select(real.to_vec()).boxed(), 1 => noise.boxed()], 0..8);
    (any::<bool>(), soup).prop_map(|(begun, parts)| {
        let start = if begun { [request("ZWS2.0/NULL"), vector("ws/client-READY-libzmq")].concat() } else { vec![] };
        [start, parts.concat()].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 64 } else { 512 }))]

    #[test]
    fn what_was_sent_arrives_however_it_is_cut(
        (client_security, server_security) in security(),
        messages in vec(message(), 1..4),
        cuts in vec(any::<Index>(), 0..20),
        direct in any::<bool>(),
        to_server in any::<bool>(),
    ) {
        let (mut client, mut server) = (client(SocketType::Dealer), server(SocketType::Router));
        (client.security, server.security) = (client_security, server_security);
        let (mut client, mut server) = (Wire::new(client), Wire::new(server));
        converse(&mut client, &mut server);
        let (from, to) = if to_server { (&mut client, server) } else { (&mut server, client) };
        let mut to = if direct { to } else { to.indirect() };
        messages.iter().for_each(|message| from.send(message.clone()));
        for piece in pieces(&from.sent(), &cuts) {
            to.receive(piece).unwrap();
        }
        prop_assert_eq!(to.messages(), messages);
    }

    #[test]
    fn any_bytes_give_the_same_in_any_pieces(
        octets in soup(),
        cuts in vec(any::<Index>(), 0..20),
        limited in any::<bool>(),
        is_client in any::<bool>(),
    ) {
        let wire = || {
            let mut config = if is_client { client(SocketType::Dealer) } else { server(SocketType::Router) };
            if limited {
                config.limits = Limits { max_frame_size: Some(300), max_frames: 3, max_message_size: Some(400) };
            }
            Wire::new(config)
        };
        let whole = events(wire(), &[&octets]);
        prop_assert_eq!(&events(wire(), &pieces(&octets, &cuts)), &whole);
        let one_by_one: Vec<&[u8]> = octets.chunks(1).collect();
        prop_assert_eq!(&events(wire().indirect(), &one_by_one), &whole);
    }
}
