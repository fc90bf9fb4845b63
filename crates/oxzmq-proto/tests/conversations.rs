//! Whole conversations with peers of each generation, one segment per turn and octet by octet.

mod common;

use bytes::Bytes;
use common::{Wire, hex};
use oxzmq_proto::{HandshakeConfig, Message, SocketType, Version};

enum Turn {
    /// We have sent exactly this since the last turn.
    Sent(&'static str),
    /// The peer sends this.
    Receives(&'static str),
    /// We send this message.
    Sends(&'static [&'static str]),
    /// We have received exactly this message since the last turn.
    Got(&'static [&'static str]),
}

use Turn::{Got, Receives, Sends, Sent};

/// Run the conversation in both ways of cutting it; returns our end of the first.
fn converse(socket_type: SocketType, routing_id: &'static str, turns: &[Turn]) -> Wire {
    let mut ends = [usize::MAX, 1].map(|piece| {
        let mut config = HandshakeConfig::new(socket_type);
        config.routing_id = Bytes::from_static(routing_id.as_bytes());
        let mut wire = Wire::new(config);
        for turn in turns {
            match turn {
                Sent(octets) => assert_eq!(wire.sent(), hex(octets)),
                Receives(octets) => {
                    for piece in hex(octets).chunks(piece) {
                        wire.receive(piece).unwrap();
                    }
                }
                Sends(frames) => wire.send(frames.iter().copied().collect::<Message>()),
                Got(frames) => {
                    assert_eq!(wire.messages(), [frames.iter().copied().collect::<Message>()]);
                }
            }
        }
        Some(wire)
    });
    ends[0].take().unwrap()
}

const NULL_3_1: &str = "01 4e554c4c 00000000000000000000000000000000 00 \
    00000000000000000000000000000000000000000000000000000000000000";
const NULL_3_0: &str = "00 4e554c4c 00000000000000000000000000000000 00 \
    00000000000000000000000000000000000000000000000000000000000000";
const DEALER_ABC: &str = "04 2c 05 5245414459 0b 536f636b65742d54797065 00000006 4445414c4552 \
    08 4964656e74697479 00000003 616263";
const ROUTER: &str = "04 29 05 5245414459 0b 536f636b65742d54797065 00000006 524f55544552 \
    08 4964656e74697479 00000000";

#[test]
fn dealer_with_a_router_of_3_1() {
    let wire = converse(
        SocketType::Dealer,
        "abc",
        &[
            Sent("ff 00000000000000 04 7f"),
            Receives("ff 00000000000000 01 7f"),
            Sent("03"),
            Receives("03"),
            Sent(NULL_3_1),
            Receives(NULL_3_1),
            Sent(DEALER_ABC),
            Receives(ROUTER),
            Sent(""),
            Sends(&["hi"]),
            Sent("00 02 6869"),
            Receives("01 00 00 03 796573"),
            Got(&["", "yes"]),
        ],
    );
    let established = wire.finish();
    assert_eq!(established.version, Version::V3_1);
    assert_eq!(established.peer_type, Some(SocketType::Router));
    assert_eq!(established.peer_routing_id, "");
}

#[test]
fn router_with_a_dealer_of_3_0_that_sends_its_greeting_at_once() {
    let wire = converse(
        SocketType::Router,
        "",
        &[
            Sent("ff 00000000000000 01 7f"),
            Receives("ff 00000000000000 04 7f 03"),
            Receives(NULL_3_0),
            Receives(DEALER_ABC),
        ],
    );
    let established = wire.finish();
    assert_eq!(established.version, Version::V3_0);
    assert_eq!(established.peer_routing_id, "abc");
}

#[test]
fn dealer_with_a_peer_of_1_0() {
    let turns = [
        Sent("ff 00000000000000 04 7f"),
        Receives("01 00"),
        Sent("616263"),
        Sends(&["hello"]),
        Sent("06 00 68656c6c6f"),
        Receives("04 00 796573"),
        Got(&["yes"]),
    ];
    assert_eq!(converse(SocketType::Dealer, "abc", &turns).version(), Some(Version::V1));
}

#[test]
fn dealer_with_a_peer_of_1_0_that_uses_long_headers() {
    let turns = [
        Receives("ff 0000000000000005 00 77786162"),
        Sent("ff 00000000000000 04 7f 616263"),
        Receives("ff 0000000000000004 00 796573"),
        Got(&["yes"]),
    ];
    let established = converse(SocketType::Dealer, "abc", &turns).finish();
    assert_eq!(established.peer_routing_id, "wxab");
    // An anonymous peer whose identity frame is nothing but its long header.
    let turns = [Receives("ff 0000000000000001 00"), Sent("ff 00000000000000 01 7f")];
    assert_eq!(converse(SocketType::Pull, "", &turns).version(), Some(Version::V1));
}

#[test]
fn router_with_a_dealer_of_2_0() {
    let wire = converse(
        SocketType::Router,
        "",
        &[
            Sent("ff 00000000000000 01 7f"),
            Receives("ff 00000000000000 04 7f"),
            Sent("03"),
            Receives("01 05"),
            Sent("06 00 00"),
            Receives("00 03 616263"),
            Receives("01 03 6f6e65 00 03 74776f"),
            Got(&["one", "two"]),
            Sends(&["three", "four"]),
            Sent("01 05 7468726565 00 04 666f7572"),
        ],
    );
    let established = wire.finish();
    assert_eq!(established.version, Version::V2);
    assert_eq!(established.peer_type, Some(SocketType::Dealer));
    assert_eq!(established.peer_routing_id, "abc");
}

#[test]
fn dealer_with_a_peer_of_revision_0() {
    let turns = [
        Sent("ff 00000000000000 04 7f"),
        Receives("ff 00000000000000 01 7f 00 06"),
        Sent("03 05 04 00 616263"),
        Receives("01 00 03 01 7031 03 00 7032"),
        Got(&["p1", "p2"]),
    ];
    let wire = converse(SocketType::Dealer, "abc", &turns);
    assert_eq!(wire.version(), Some(Version::V1Versioned));
}
