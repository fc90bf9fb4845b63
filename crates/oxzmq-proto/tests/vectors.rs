//! Bytes captured from released libraries: ours in the same situation have to be the same, and
//! what a peer sent has to be understood.

mod common;

use bytes::Bytes;
use common::{Wire, encoded, encoded_all, vector, vector_names};
use oxzmq_proto::{Control, HandshakeConfig, Kind, Message, SocketType, Version};

const SIGNATURE: [u8; 10] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f];

fn dealer_abc() -> HandshakeConfig {
    let mut config = HandshakeConfig::new(SocketType::Dealer);
    config.routing_id = Bytes::from_static(b"abc");
    config
}

/// Ours up to the end of the greeting, facing a peer of this version.
fn greeted(config: HandshakeConfig, minor: u8) -> Wire {
    let mut wire = Wire::new(config);
    wire.sent();
    let mut greeting = vector("null/greeting-64");
    greeting[11] = minor;
    wire.receive(&greeting).unwrap();
    wire
}

fn subscribe(topic: &str) -> Message {
    Message::subscription(Kind::Subscribe, topic)
}

fn cancel(topic: &str) -> Message {
    Message::subscription(Kind::Cancel, topic)
}

#[test]
fn greeting_is_sent_in_stages() {
    let mut wire = Wire::new(dealer_abc());
    assert_eq!(wire.sent(), vector("greeting/dealer-id-abc/step1-signature"));
    wire.receive(&SIGNATURE).unwrap();
    assert_eq!(wire.sent(), vector("greeting/dealer-id-abc/step2-major"));
    wire.receive(&[3]).unwrap();
    assert_eq!(wire.sent(), vector("greeting/dealer-id-abc/step3-rest"));
    wire.receive(&vector("greeting/dealer-id-abc/step3-rest")).unwrap();
    assert_eq!(wire.sent(), vector("greeting/dealer-id-abc/step4-ready"));
    wire.receive(&vector("greeting/dealer-id-abc/step5-peer-ready")).unwrap();
    let established = wire.finish();
    assert_eq!(established.peer_type, Some(SocketType::Router));
    assert_eq!(established.properties.get("Identity"), Some(&b""[..]));
    assert_eq!(encoded(Version::V3_1, "hi"), vector("greeting/dealer-id-abc/step6-message"));
}

#[test]
fn the_whole_greeting() {
    let mut wire = Wire::new(HandshakeConfig::new(SocketType::Pair));
    wire.receive(&vector("null/greeting-64")).unwrap();
    assert!(wire.sent().starts_with(&vector("null/greeting-64")));
}

#[test]
fn ready_of_every_socket_type() {
    let mut count = 0;
    for name in vector_names("null/ready/").into_iter().filter(|name| !name.contains("-id-")) {
        let socket_type = SocketType::from_name(&name.as_bytes()["null/ready/".len()..]).unwrap();
        let mut wire = greeted(HandshakeConfig::new(socket_type), 1);
        assert_eq!(wire.sent()[54..], vector(&name), "{name}");
        count += 1;
    }
    assert_eq!(count, 19);
}

#[test]
fn ready_with_the_application_s_properties() {
    let mut config = HandshakeConfig::new(SocketType::Router);
    config.routing_id = Bytes::from_static(b"r1");
    for (name, value) in [("X-zone", "eu"), ("X-app", "demo"), ("X-app", "second")] {
        config.metadata.push((name.into(), value.into()));
    }
    let ready = vector("null/ready/ROUTER-id-and-x-metadata");
    assert_eq!(greeted(config, 1).sent()[54..], ready);

    let mut wire = greeted(HandshakeConfig::new(SocketType::Dealer), 1);
    wire.receive(&ready).unwrap();
    let properties = wire.finish().properties;
    assert_eq!(properties.get_str("X-app"), Some("demo"));
    assert_eq!(properties.get_str("Routing-Id"), Some("r1"));
}

#[test]
fn an_error_names_the_status() {
    let mut wire = greeted(HandshakeConfig::new(SocketType::Dealer), 1);
    let error = wire.receive(&vector("null/ERROR-400")).unwrap_err();
    assert_eq!(error.auth_status(), Some(400));
}

#[test]
fn framing_at_the_boundaries() {
    let two = Message::from([vec![], vec![b'x'; 300]]);
    assert_eq!(encoded(Version::V3_1, two), vector("framing/multipart-empty-then-300"));
    for (name, version, body) in [
        ("framing/255-octets", Version::V3_1, vec![b'y'; 255]),
        ("framing/256-octets", Version::V3_1, vec![b'y'; 256]),
        ("zmtp1/253-octets", Version::V1, vec![b'z'; 253]),
        ("zmtp1/254-octets", Version::V1, vec![b'z'; 254]),
    ] {
        assert!(encoded(version, body).starts_with(&vector(name)), "{name}");
    }
}

#[test]
fn older_generations_get_their_own_framing() {
    for (revision, version) in [(0, Version::V1Versioned), (1, Version::V2)] {
        let name = |part| format!("downgrade/peer-revision-{revision}/{part}");
        let mut wire = Wire::new(dealer_abc());
        wire.sent();
        wire.receive(&[&SIGNATURE[..], &[revision, 6]].concat()).unwrap();
        assert_eq!(wire.sent(), vector(&name("libzmq-continues")));
        let message = vector(&name("message"));
        assert_eq!(encoded(version, ["p1", "p2"]), message);
        wire.receive(if revision == 0 { &[1, 0] } else { &[0, 0] }).unwrap();
        wire.receive(&message).unwrap();
        assert_eq!(wire.messages(), [Message::from(["p1", "p2"])]);
        assert_eq!(wire.version(), Some(version));
    }
}

#[test]
fn revision_2_gets_the_whole_greeting() {
    let mut wire = Wire::new(dealer_abc());
    wire.sent();
    wire.receive(&[&SIGNATURE[..], &[2]].concat()).unwrap();
    assert_eq!(wire.sent(), vector("downgrade/peer-revision-2/libzmq-continues"));
}

#[test]
fn a_peer_without_greeting_gets_the_identity_s_body() {
    let mut wire = Wire::new(dealer_abc());
    wire.sent();
    wire.receive(&[1, 0]).unwrap();
    assert_eq!(wire.sent(), vector("downgrade/unversioned-short-anonymous"));
    let hello = vector("downgrade/unversioned/message");
    assert_eq!(encoded(Version::V1, "hello"), hello);
    wire.receive(&hello).unwrap();
    assert_eq!(wire.messages(), [Message::from("hello")]);
}

#[test]
fn a_publisher_sends_everything_to_a_peer_without_greeting() {
    for (socket_type, all) in [(SocketType::Pub, true), (SocketType::Xpub, true), (SocketType::Push, false)] {
        let mut wire = Wire::new(HandshakeConfig::new(socket_type));
        wire.receive(&[1, 0]).unwrap();
        assert_eq!(wire.finish().subscribes_to_all, all);
    }
    let news = vector("downgrade/unversioned/PUB-phantom-subscription");
    assert_eq!(encoded(Version::V1, "news"), news);
}

#[test]
fn subscriptions_take_the_peer_s_form() {
    for (peer, version, before) in [
        ("3.1", Version::V3_1, 0),
        ("3.0", Version::V3_0, 0),
        ("2.0", Version::V2, 4),
        ("1.0-greeting", Version::V1Versioned, 4),
    ] {
        let both = vector(&format!("subscribe/to-{peer}-peer"));
        assert_eq!(encoded_all(version, [subscribe(""), subscribe("A")]), both[before..], "{peer}");
        let gone = vector(&format!("unsubscribe/to-{peer}-peer"));
        assert_eq!(encoded(version, cancel("A")), gone, "{peer}");
    }
    let both = vector("subscribe/to-unversioned-peer");
    assert_eq!(encoded_all(Version::V1, [subscribe(""), subscribe("A")]), both);
    assert_eq!(encoded(Version::V1, cancel("A")), vector("unsubscribe/to-unversioned-peer"));
}

#[test]
fn subscriptions_are_understood_in_both_forms() {
    for minor in [0, 1] {
        let mut wire = greeted(HandshakeConfig::new(SocketType::Pub), minor);
        wire.receive(&vector("null/ready/SUB")).unwrap();
        wire.receive(&vector("subscribe/to-3.1-peer")).unwrap();
        wire.receive(&vector("unsubscribe/to-3.1-peer")).unwrap();
        wire.receive(&vector("subscribe/XSUB-application-form-to-3.1-peer")).unwrap();
        wire.receive(&vector("unsubscribe/XSUB-application-form-to-3.1-peer")).unwrap();
        wire.receive(&vector("xsub/user-message")).unwrap();
        let expected = [
            subscribe(""),
            subscribe("A"),
            cancel("A"),
            Message::from(b"\x01A"),
            Message::from(b"\x00A"),
            Message::from("user"),
        ];
        assert_eq!(wire.messages(), expected);
    }
}

#[test]
fn heartbeats() {
    let mut wire = greeted(HandshakeConfig::new(SocketType::Dealer), 1);
    wire.receive(&vector("null/ready/DEALER")).unwrap();
    wire.receive(&vector("heartbeat/ping-with-context")).unwrap();
    wire.receive(&vector("heartbeat/pong-echo")).unwrap();
    wire.receive(&vector("heartbeat/ping-own")).unwrap();
    wire.receive(b"\x04\x1a\x04PING\x00\x000123456789abcdefghi").unwrap();
    let ping = |ttl_deciseconds, context: &str| Control::Ping { ttl_deciseconds, context: context.into() };
    let expected = [ping(0, "ctx0"), Control::Pong, ping(25, ""), ping(0, "0123456789abcdef")];
    assert_eq!(wire.controls(), expected);

    let mut established = wire.finish();
    let mut out = oxzmq_proto::OutBuf::new();
    established.encoder.pong(b"ctx0", &mut out);
    established.encoder.pong(b"", &mut out);
    established.encoder.pong(b"0123456789abcdefghi", &mut out);
    established.encoder.ping(25, b"", &mut out);
    let names = ["pong-echo", "pong-empty", "pong-context-truncated", "ping-own"];
    let expected = names.map(|name| vector(&format!("heartbeat/{name}"))).concat();
    assert_eq!(out.first_slice(), expected);
}

#[test]
fn requests_and_replies() {
    let version = Version::V3_1;
    assert_eq!(encoded(version, ["", "Hello"]), vector("req/request"));
    assert_eq!(encoded(version, ["", "World"]), vector("rep/reply"));
    assert_eq!(encoded(version, ["id", "abc", "", "A", "B"]), vector("rep/reply-with-envelope"));
    let id = &[0x6a, 0x98, 0x3c, 0xe4][..];
    assert_eq!(encoded(version, [id, b"", b"Hello"]), vector("req/correlated-request"));
    assert_eq!(encoded(version, ""), vector("probe-router"));
    assert_eq!(encoded(version, "hi"), vector("server/reply"));
    assert_eq!(encoded(version, "user"), vector("xsub/user-message"));

    let mut wire = greeted(HandshakeConfig::new(SocketType::Req), 1);
    wire.receive(&vector("null/ready/REP")).unwrap();
    wire.validate_replies();
    wire.receive(&vector("req/reply")).unwrap();
    wire.receive(&vector("req/correlated-request")).unwrap();
    assert_eq!(wire.messages().len(), 2);
}

#[test]
fn groups() {
    let version = Version::V3_1;
    let change = |kind, group: &str| Message::subscription(kind, group);
    assert_eq!(encoded(version, change(Kind::Join, "movies")), vector("radio-dish/tcp/JOIN"));
    let both = [change(Kind::Leave, "movies"), change(Kind::Join, "")];
    let octets = vector("radio-dish/tcp/LEAVE-then-JOIN-empty");
    assert_eq!(encoded_all(version, both.clone()), octets);
    assert_eq!(encoded(version, ["movies", "Matrix"]), vector("radio-dish/tcp/message"));

    let mut wire = greeted(HandshakeConfig::new(SocketType::Radio), 0);
    wire.receive(&vector("null/ready/DISH")).unwrap();
    wire.receive(&octets).unwrap();
    assert_eq!(wire.messages(), both);
}

#[test]
fn peers_of_every_generation_are_understood() {
    for release in ["4.0.10", "4.1.8", "4.2.5", "4.3.2", "4.3.4"] {
        let part = |name| vector(&format!("version/{release}/{name}"));
        let mut wire = Wire::new(HandshakeConfig::new(SocketType::Router));
        for name in ["greeting-first", "after-signature", "after-major-3", "ready"] {
            wire.receive(&part(name)).unwrap();
        }
        let established = wire.finish();
        let newest = if release == "4.3.4" { Version::V3_1 } else { Version::V3_0 };
        assert_eq!(established.version, newest, "{release}");
        assert_eq!(established.peer_routing_id, "abc");
    }
}

#[test]
fn libzmq_3_2_is_understood() {
    let mut wire = Wire::new(HandshakeConfig::new(SocketType::Router));
    for name in ["signature", "revision-and-type", "identity", "message"] {
        wire.receive(&vector(&format!("zmtp2/3.2.5/{name}"))).unwrap();
    }
    assert_eq!(wire.messages(), [Message::from(["one", "two"])]);
    let established = wire.finish();
    assert_eq!(established.version, Version::V2);
    assert_eq!(established.peer_type, Some(SocketType::Dealer));
    assert_eq!(established.peer_routing_id, "abc");
}

#[test]
fn libzmq_2_is_understood() {
    let mut config = HandshakeConfig::new(SocketType::Router);
    config.routing_id = Bytes::from_static(b"xyz");
    let mut wire = Wire::new(config);
    wire.receive(&vector("zmtp1/2.2.0/identity")).unwrap();
    wire.receive(&vector("zmtp1/2.2.0/message")).unwrap();
    assert_eq!(wire.sent(), b"\xff\0\0\0\0\0\0\0\x04\x7fxyz");
    assert_eq!(wire.messages(), [Message::from(["one", "two"])]);
    assert_eq!(wire.finish().peer_routing_id, "abc");
}
