//! RADIO and DISH: messages in groups.

mod common;

use common::*;
use oxzmq::{ErrorKind, Message, Socket, SocketType};

fn in_group(group: &'static str, body: &str) -> Message {
    let mut message = Message::from(body);
    message.set_group(group);
    message
}

/// RADIO and DISH that has joined this group, as the RADIO knows; with the endpoint.
fn joined(context: &TestContext, transport: Transport, group: &'static str) -> (Socket, Socket, String) {
    let (radio, dish) = (context.socket(SocketType::Radio), context.socket(SocketType::Dish));
    dish.join(group).unwrap();
    let endpoint = transport.join(&radio, &dish);
    await_member(&radio, &dish, group);
    (radio, dish, endpoint)
}

/// Waits until the RADIO knows of the DISH's membership, and takes what it took to find out.
fn await_member(radio: &Socket, dish: &Socket, group: &'static str) {
    until("the group is joined", || {
        send(radio, in_group(group, "are you there?"));
        dish.try_recv().is_ok()
    });
    send(radio, in_group(group, "begin"));
    while recv(dish) != Message::from("begin") {}
}

#[test]
fn only_whoever_joined_a_group_receives_it() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (radio, one, endpoint) = joined(&context, transport, "one");
        let other = context.socket(SocketType::Dish);
        other.join("other").unwrap();
        other.connect(&endpoint).unwrap();
        await_member(&radio, &other, "other");
        send(&radio, in_group("other", "for the other"));
        send(&radio, in_group("one", "for the one"));
        send(&radio, in_group("on", "a prefix is another group"));
        assert_eq!(recv(&one), Message::from("for the one"));
        assert_eq!(recv(&other), Message::from("for the other"));
        assert_silent(&one);
        assert_silent(&other);
    }
}

#[test]
fn a_received_message_tells_its_group() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (radio, dish, _) = joined(&context, transport, "news");
        send(&radio, in_group("news", "today"));
        let message = recv(&dish);
        assert_eq!((message.group(), message.len()), (&b"news"[..], 1));
        if transport == Transport::Tcp {
            let properties = message.properties().unwrap();
            assert_eq!(properties.get_str("Socket-Type"), Some("RADIO"), "its peer's are there as well");
        }
    }
}

#[test]
fn the_empty_group_is_a_group() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (radio, dish, _) = joined(&context, transport, "");
        send(&radio, in_group("named", "elsewhere"));
        send(&radio, "in the empty group");
        assert_eq!(recv(&dish), Message::from("in the empty group"));
    }
}

#[test]
fn after_leaving_nothing_more_is_received() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (radio, dish, _) = joined(&context, transport, "stays");
        dish.join("leaves").unwrap();
        await_member(&radio, &dish, "leaves");
        dish.leave("leaves").unwrap();
        send(&radio, in_group("leaves", "too late"));
        send(&radio, in_group("stays", "in time"));
        assert_eq!(recv(&dish), Message::from("in time"));
        assert_silent(&dish);
    }
}

#[test]
fn groups_are_joined_once_and_left_once() {
    let context = TestContext::new();
    let dish = context.socket(SocketType::Dish);
    dish.join("group").unwrap();
    assert_kind(dish.join("group"), ErrorKind::InvalidArgument);
    dish.leave("group").unwrap();
    assert_kind(dish.leave("group"), ErrorKind::InvalidArgument);
    dish.join("g".repeat(255)).unwrap();
    assert_kind(dish.join("g".repeat(256)), ErrorKind::InvalidArgument);
    assert_kind(context.socket(SocketType::Sub).join("group"), ErrorKind::NotSupported);
    assert_kind(context.socket(SocketType::Radio).join("group"), ErrorKind::NotSupported);
}

#[test]
fn what_has_no_form_on_the_wire_is_not_sent() {
    let context = TestContext::new();
    let radio = context.socket(SocketType::Radio);
    assert_kind(radio.send(["two", "frames"]), ErrorKind::InvalidArgument);
    let mut message = Message::from("body");
    message.set_group("g".repeat(256));
    assert_kind(radio.send(message), ErrorKind::InvalidArgument);
    radio.send("for nobody").unwrap();
    assert_kind(radio.try_recv(), ErrorKind::NotSupported);
    assert_kind(context.socket(SocketType::Dish).send("x"), ErrorKind::NotSupported);
}

#[test]
fn memberships_are_told_again_after_a_reconnection() {
    let context = TestContext::new();
    let dish = context.socket(SocketType::Dish);
    dish.join("news").unwrap();
    let radio = context.socket(SocketType::Radio);
    let endpoint = radio.bind("tcp://127.0.0.1:*").unwrap();
    dish.connect(&endpoint).unwrap();
    await_member(&radio, &dish, "news");
    drop(radio);
    let radio = context.socket(SocketType::Radio);
    until("the port is free again", || radio.bind(&endpoint).is_ok());
    await_member(&radio, &dish, "news");
}

#[test]
fn a_full_dish_misses_messages_unless_nodrop_says_otherwise() {
    let context = TestContext::new();
    let radio = context.socket(SocketType::Radio);
    radio.set_send_hwm(1).unwrap();
    let endpoint = radio.bind(&Transport::Inproc.wildcard()).unwrap();
    let dish = context.socket(SocketType::Dish);
    dish.set_recv_hwm(1).unwrap();
    dish.join("news").unwrap();
    dish.connect(&endpoint).unwrap();
    until("the group is joined", || {
        send(&radio, in_group("news", "x"));
        dish.try_recv().is_ok()
    });
    for n in 0..5 {
        send(&radio, in_group("news", &n.to_string()));
    }
    assert_eq!(drain(&dish), ["0", "1"].map(Message::from), "both ends' marks add up to two");
    radio.set_xpub_nodrop(true).unwrap();
    send(&radio, in_group("news", "a"));
    send(&radio, in_group("news", "b"));
    assert_kind(radio.try_send(in_group("news", "c")), ErrorKind::WouldBlock);
    assert_eq!(drain(&dish), ["a", "b"].map(Message::from));
}

#[test]
fn what_a_poll_has_found_does_not_outlive_the_membership() {
    let context = TestContext::new();
    let (radio, dish) = context.inproc_pair(SocketType::Radio, SocketType::Dish);
    dish.join("a").unwrap();
    dish.join("b").unwrap();
    send(&radio, in_group("a", "left"));
    send(&radio, in_group("b", "joined"));
    assert!(is_readable(&dish));
    dish.leave("a").unwrap();
    assert_eq!(drain(&dish), [Message::from("joined")]);
}

#[test]
fn groups_mean_nothing_to_a_socket_that_is_no_radio() {
    let context = TestContext::new();
    let (pull, dish) = context.inproc_pair(SocketType::Pull, SocketType::Dish);
    dish.join("a").unwrap();
    assert!(drain(&pull).is_empty());
}
