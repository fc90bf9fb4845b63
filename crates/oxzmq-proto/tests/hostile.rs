//! Peers that break the rules, bend them, or are no ZeroMQ peers at all.

mod common;

use common::{Wire, encoded, hex, vector};
use oxzmq_proto::limits::{MAX_HANDSHAKE_COMMAND, MAX_PROPERTIES};
use oxzmq_proto::{
    Control, Decoder, HandshakeConfig, Kind, LARGE_BODY, Limits, Message, Properties, ProtocolError, SocketType,
    Version,
};

fn greeting() -> Vec<u8> {
    vector("null/greeting-64")
}

fn command(flags: u8, body: &[u8]) -> Vec<u8> {
    let header = [&[flags | 2][..], &(body.len() as u64).to_be_bytes()].concat();
    [&header[..], body].concat()
}

fn ready(properties: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = b"\x05READY".to_vec();
    for (name, value) in properties {
        body.push(name.len() as u8);
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value);
    }
    command(4, &body)
}

/// What comes of a handshake of a ROUTER with this after the greeting.
fn handshake(octets: &[u8]) -> Result<Wire, ProtocolError> {
    handshake_of(HandshakeConfig::new(SocketType::Router), &greeting(), octets)
}

fn handshake_of(config: HandshakeConfig, greeting: &[u8], octets: &[u8]) -> Result<Wire, ProtocolError> {
    let mut wire = Wire::new(config);
    wire.receive(greeting)?;
    wire.receive(octets)?;
    Ok(wire)
}

/// What comes of this traffic.
fn traffic(limits: Limits, octets: &[u8]) -> Result<(Vec<Message>, Vec<Control>), ProtocolError> {
    let mut config = HandshakeConfig::new(SocketType::Dealer);
    config.limits = limits;
    let mut wire = handshake_of(config, &greeting(), &ready(&[("Socket-Type", b"ROUTER")]))?;
    wire.receive(octets)?;
    Ok((wire.messages(), wire.controls()))
}

#[test]
fn strangers_are_refused_or_taken_for_old_peers() {
    let strangers: [&[u8]; 3] = [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01", b"\x01\x00"];
    for stranger in strangers {
        let mut config = HandshakeConfig::new(SocketType::Pull);
        Wire::new(config.clone()).receive(stranger).unwrap();
        config.accept_legacy = false;
        let refused = ProtocolError::LegacyPeerRefused { version: Version::V1 };
        assert_eq!(Wire::new(config).receive(stranger), Err(refused));
    }
    let mut config = HandshakeConfig::new(SocketType::Pull);
    config.accept_legacy = false;
    let mut wire = Wire::new(config);
    let error = wire.receive(&hex("ff 0000000000000001 7f 01")).unwrap_err();
    assert_eq!(error, ProtocolError::LegacyPeerRefused { version: Version::V2 });
}

#[test]
fn an_old_peer_s_identity_is_bounded() {
    let long = hex("ff 0000000000000102 00");
    let error = Wire::new(HandshakeConfig::new(SocketType::Router)).receive(&long);
    assert_eq!(error, Err(ProtocolError::RoutingIdTooLong { length: 257, limit: 255 }));
    let zero = hex("00");
    let error = Wire::new(HandshakeConfig::new(SocketType::Router)).receive(&zero);
    assert_eq!(error, Err(ProtocolError::ZeroLengthV1Frame));
}

#[test]
fn what_nobody_checks_in_a_greeting_is_not_checked() {
    let mut odd = greeting();
    odd[1..9].copy_from_slice(b"\xff\x01random");
    odd[9] = 1;
    odd[32] = 1;
    odd[33..].fill(0xaa);
    for version in [[3, 2], [4, 0], [9, 9], [255, 255]] {
        odd[10..12].copy_from_slice(&version);
        let config = HandshakeConfig::new(SocketType::Router);
        let wire = handshake_of(config, &odd, &ready(&[])).unwrap();
        assert_eq!(wire.version(), Some(Version::V3_1));
    }
}

#[test]
fn other_mechanisms_are_refused_with_their_name() {
    for name in ["PLAIN", "CURVE", "null", "NULLX", ""] {
        let mut other = greeting();
        other[12..32].fill(0);
        other[12..12 + name.len()].copy_from_slice(name.as_bytes());
        let mut wire = Wire::new(HandshakeConfig::new(SocketType::Router));
        let theirs = name.to_owned();
        let error = ProtocolError::MechanismMismatch { ours: "NULL", theirs };
        assert_eq!(wire.receive(&other), Err(error.clone()));
        assert_eq!(wire.receive(b"more"), Err(error), "an error is final");
    }
}

#[test]
fn ready_is_taken_in_every_form_seen() {
    for flags in [0, 2, 4, 6] {
        let octets = ready(&[("Socket-Type", b"DEALER"), ("Identity", b"\0id")]);
        let octets = [&[flags | 2][..], &octets[1..]].concat();
        assert_eq!(handshake(&octets).unwrap().finish().peer_routing_id, "\0id");
    }
    assert_eq!(handshake(&ready(&[])).unwrap().finish().peer_type, None);
    // libzmq does not recognise other spellings, so it does not check them either.
    let lower = handshake(&ready(&[("socket-type", b"PUB")])).unwrap().finish();
    assert_eq!(lower.peer_type, None);
    let twice = ready(&[("Socket-Type", b"REQ"), ("Socket-Type", b"PUB"), ("", b"nameless")]);
    assert_eq!(handshake(&twice).unwrap().finish().peer_type, Some(SocketType::Req));
}

#[test]
fn wrong_socket_types_are_refused_after_our_ready() {
    for theirs in ["PUB", "ROUTERS", "dealer", ""] {
        let mut wire = Wire::new(HandshakeConfig::new(SocketType::Router));
        wire.receive(&greeting()).unwrap();
        assert!(wire.sent().ends_with(&vector("null/ready/ROUTER")));
        let error = wire.receive(&ready(&[("Socket-Type", theirs.as_bytes())])).unwrap_err();
        let ours = SocketType::Router;
        let theirs = theirs.to_owned();
        assert_eq!(error, ProtocolError::IncompatibleSocketType { ours, theirs });
        assert!(error.is_fatal_for_connecter());
    }
}

#[test]
fn identities_up_to_255_octets() {
    for (length, good) in [(0, true), (255, true), (256, false), (300, false)] {
        let identity = vec![0; length];
        let result = handshake(&ready(&[("Socket-Type", b"REQ"), ("Identity", &identity)]));
        assert_eq!(result.is_ok(), good, "{length}");
    }
}

#[test]
fn broken_handshake_commands_are_refused() {
    let bodies: [&[u8]; 9] = [
        b"",
        b"\x06READY",
        b"\xffREADY",
        b"\x05READY\x0bSocket-Type",
        b"\x05READY\x01n\xff\xff\xff\xff",
        b"\x05READY\0",
        b"\x05ERROR",
        b"\x05ERROR\x05abc",
        b"\x04PING\0\0",
    ];
    for body in bodies {
        assert!(handshake(&command(4, body)).is_err(), "{body:?}");
    }
    let message = encoded(Version::V3_1, "a message before its time");
    assert!(handshake(&message).is_err());
    let many = vec![("X", &b""[..]); MAX_PROPERTIES + 1];
    assert!(handshake(&ready(&many)).is_err());
    let error = handshake(&command(4, b"\x05ERROR\x03no\n")).err().unwrap();
    assert_eq!(error, ProtocolError::PeerError { reason: "no\\n".into() });
}

#[test]
fn handshake_commands_have_a_limit_of_their_own() {
    let value = vec![0; MAX_HANDSHAKE_COMMAND - 6 - 1 - 1 - 4];
    let mut config = HandshakeConfig::new(SocketType::Router);
    config.limits.max_frame_size = Some(1);
    assert!(handshake_of(config, &greeting(), &ready(&[("X", &value)])).is_ok());
    // The header alone is refused, before its body comes.
    let header = hex("06 0000000000010001");
    let error = handshake(&header).err().unwrap();
    assert_eq!(error, ProtocolError::FrameTooLarge { size: 0x10001, limit: 0x10000 });
}

#[test]
fn a_second_ready_is_refused() {
    let twice = ready(&[("Socket-Type", b"DEALER")]).repeat(2);
    assert!(handshake(&twice).is_err());
}

#[test]
fn impossible_lengths_are_refused_before_anything_is_allocated() {
    for length in ["8000000000000000", "ffffffffffffffff", "ffffffffffffffda"] {
        let error = traffic(Limits::default(), &hex(&format!("02 {length}"))).unwrap_err();
        assert!(matches!(error, ProtocolError::LengthOverflow { .. }));
    }
}

#[test]
fn a_promise_costs_no_memory() {
    let mut decoder = Decoder::new(Version::V3_1, Limits::default());
    let header = hex("02 7fffffffffffffff");
    let (mut out, mut controls) = (Default::default(), Vec::new());
    assert_eq!(decoder.decode(&header, &mut out, 9, &mut controls), Ok(9));
    assert!(decoder.is_mid_message());
    for total in [0, 300_000, 1_000_000] {
        let mut body = decoder.body().unwrap();
        assert_eq!(body.missing as u64, u64::MAX / 2 - body.buffer.len() as u64);
        body.buffer.resize(total, 0);
        body.reserve();
        assert!(body.buffer.capacity() <= 2 * total.max(256 * 1024));
        decoder.body_received(&mut out, &mut controls).unwrap();
    }
    assert!(out.is_empty());
}

#[test]
fn the_limit_holds_among_many_small_frames_too() {
    let mut octets = [[0, 2, b'o', b'k']; 50].concat();
    octets.extend_from_slice(&[0, 11]);
    octets.extend_from_slice(&[0; 200]);
    for limits in [
        Limits { max_frame_size: Some(10), ..Limits::default() },
        Limits { max_message_size: Some(10), ..Limits::default() },
    ] {
        assert!(traffic(limits, &octets).is_err());
        assert_eq!(traffic(limits, &octets[..200]).unwrap().0.len(), 50);
    }
}

#[test]
fn the_frame_limit_is_exact() {
    let limits = Limits { max_frame_size: Some(10), ..Limits::default() };
    for version in [Version::V1, Version::V2, Version::V3_1] {
        let mut out = Default::default();
        let mut decoder = Decoder::new(version, limits);
        let at_limit = encoded(version, vec![1; 10]);
        assert!(decoder.decode(&at_limit, &mut out, 9, &mut Vec::new()).is_ok());
        assert_eq!(out.len(), 1);
        let beyond = encoded(version, vec![1; 11]);
        let error = decoder.decode(&beyond[..2], &mut out, 9, &mut Vec::new());
        assert_eq!(error, Err(ProtocolError::FrameTooLarge { size: 11, limit: 10 }));
    }
    let subscribe = Message::subscription(Kind::Subscribe, "ten octets");
    let (messages, _) = traffic(limits, &encoded(Version::V3_1, subscribe.clone())).unwrap();
    assert_eq!(messages, [subscribe]);
}

#[test]
fn endless_messages_end() {
    let default = Limits::default();
    let frames = hex("01 00").repeat(default.max_frames);
    assert!(traffic(default, &frames).is_ok());
    let error = traffic(default, &[frames, hex("00 00")].concat());
    assert_eq!(error, Err(ProtocolError::TooManyFrames { limit: default.max_frames }));

    let limits = Limits { max_message_size: Some(5), ..default };
    assert!(traffic(limits, &hex("01 02 0000 00 03 000000 00 05 0000000000")).is_ok());
    let error = traffic(limits, &hex("01 02 0000 01 03 000000 01 01 00"));
    assert_eq!(error, Err(ProtocolError::MessageTooLarge { size: 6, limit: 5 }));
}

#[test]
fn odd_flags_and_long_headers_are_tolerated() {
    let (messages, _) = traffic(Limits::default(), &hex("f8 01 61 02 0000000000000001 62")).unwrap();
    assert_eq!(messages, [Message::from("a"), Message::from("b")]);
    let subscribe = command(4 | 1 | 0x80, b"\x09SUBSCRIBEx");
    let (messages, _) = traffic(Limits::default(), &subscribe).unwrap();
    assert_eq!(messages, [Message::subscription(Kind::Subscribe, "x")]);
}

#[test]
fn commands_between_frames_leave_the_message_alone() {
    let octets = [hex("01 01 61"), command(4, b"\x04PING\x00\x01"), command(4, b"\x06CANCELt"), hex("00 01 62")];
    let (messages, controls) = traffic(Limits::default(), &octets.concat()).unwrap();
    let expected = [Message::subscription(Kind::Cancel, "t"), Message::from(["a", "b"])];
    assert_eq!(messages, expected);
    assert_eq!(controls.len(), 1);
}

#[test]
fn traffic_commands_are_checked() {
    let good: [&[u8]; 6] = [
        b"\x07UNKNOWN",
        b"\0nameless",
        b"\x04PONG",
        b"\x04PING\xff\xff",
        b"\x04JOIN",
        &[b"\x05LEAVE", &[b'g'; 255][..]].concat(),
    ];
    for body in good {
        assert!(traffic(Limits::default(), &command(4, body)).is_ok(), "{body:?}");
    }
    let bad: [&[u8]; 8] = [
        b"",
        b"\x05PING",
        b"\x04PING",
        b"\x04PING\0",
        b"\x04JOINa\0b",
        &[b"\x04JOIN", &[b'g'; 256][..]].concat(),
        b"\x05ERROR\x03500",
        b"\x07WELCOME",
    ];
    for body in bad {
        assert!(traffic(Limits::default(), &command(4, body)).is_err(), "{body:?}");
    }
}

#[test]
fn replies_need_their_delimiter() {
    let good = ["01 00 00 01 61", "01 04 69646964 01 00 00 00", "01 00 01 00 01 05 0000000000 00 00"];
    let bad = ["00 01 61", "00 00", "01 05 6161616161 01 00", "01 04 69646964 00 00", "01 04 69646964 01 01 00"];
    for (octets, fine) in good.map(|it| (it, true)).into_iter().chain(bad.map(|it| (it, false))) {
        let mut decoder = Decoder::new(Version::V3_1, Limits::default());
        decoder.validate_replies();
        let input = [hex("04 05 04504f4e47"), hex(octets), hex(octets)].concat();
        let result = decoder.decode(&input, &mut Default::default(), 9, &mut Vec::new());
        assert_eq!(result.is_ok(), fine, "{octets}");
    }
}

#[test]
fn a_large_topic_is_a_large_command() {
    let topic = vec![b't'; 10 * LARGE_BODY];
    let message = Message::subscription(Kind::Subscribe, topic);
    for version in [Version::V3_0, Version::V3_1] {
        let octets = encoded(version, message.clone());
        let mut decoder = Decoder::new(version, Limits::default());
        let mut out = std::collections::VecDeque::new();
        for piece in octets.chunks(9000) {
            assert_eq!(decoder.decode(piece, &mut out, 9, &mut Vec::new()), Ok(piece.len()));
        }
        assert_eq!(out[0] == message, version == Version::V3_1);
        assert!(!decoder.is_mid_message());
    }
}

#[test]
fn metadata_of_many_properties_is_linear_enough() {
    let mut octets = Vec::new();
    let mut properties = Properties::new();
    for i in 0..MAX_PROPERTIES {
        assert!(properties.insert(format!("X-{i}"), "v"));
    }
    properties.encode(&mut octets);
    assert_eq!(Properties::parse(&octets), Ok(properties));
}

#[test]
fn frames_of_zmtp_2_0_with_the_reserved_bit_are_passed_over() {
    let mut decoder = Decoder::new(Version::V2, Limits::default());
    let mut messages = Default::default();
    let input = b"\x04\x05\x04PING\x00\x01a\x06\x00\x00\x00\x00\x00\x00\x00\x01x\x01\x01b\x05\x01y\x00\x01c";
    let used = decoder.decode(input, &mut messages, usize::MAX, &mut Vec::new()).unwrap();
    assert_eq!(used, input.len());
    assert_eq!(messages, [Message::from("a"), Message::from_iter(["b", "c"])]);
}
