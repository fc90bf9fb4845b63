//! The types whose messages are one frame: SCATTER and GATHER, CHANNEL, CLIENT and SERVER, PEER.

mod common;

use common::*;
use oxzmq::{ErrorKind, Interest, Message, Poller, Socket, SocketType};

fn to(routing_id: u32, body: &str) -> Message {
    let mut message = Message::from(body);
    message.set_routing_id(routing_id);
    message
}

/// SERVER and CLIENT that have heard of each other; with the number of the client.
fn served(context: &TestContext, transport: Transport) -> (Socket, Socket, u32, String) {
    let (server, client) = (context.socket(SocketType::Server), context.socket(SocketType::Client));
    let endpoint = transport.join(&server, &client);
    send(&client, "hello");
    let routing_id = recv(&server).routing_id();
    (server, client, routing_id, endpoint)
}

#[test]
fn several_frames_are_not_sent_and_come_back() {
    let context = TestContext::new();
    for socket_type in
        [SocketType::Scatter, SocketType::Channel, SocketType::Client, SocketType::Server, SocketType::Peer]
    {
        let socket = context.socket(socket_type);
        let error = socket.try_send(["two", "frames"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{socket_type}");
        assert_eq!(error.into_message(), Message::from(["two", "frames"]));
    }
}

#[test]
fn several_frames_of_a_peer_are_dropped_whole() {
    let context = TestContext::new();
    // Over inproc nobody checks types.
    for (receiver, sender) in [
        (SocketType::Gather, SocketType::Push),
        (SocketType::Channel, SocketType::Pair),
        (SocketType::Server, SocketType::Dealer),
        (SocketType::Client, SocketType::Dealer),
        (SocketType::Peer, SocketType::Dealer),
    ] {
        let (receiver, sender) = context.inproc_pair(receiver, sender);
        send(&sender, ["two", "frames"]);
        let mut poller = Poller::new();
        poller.add(&receiver, Interest::READABLE, 0);
        assert!(poller.wait(Some(ms(0))).unwrap().is_empty(), "there is nothing to receive");
        send(&sender, ["again", "two"]);
        send(&sender, "one");
        assert_eq!(poller.wait(Some(PATIENCE)).unwrap().len(), 1);
        assert_eq!(recv(&receiver), Message::from("one"));
        assert_silent(&receiver);
    }
}

#[test]
fn one_way_types_lack_the_other_direction() {
    let context = TestContext::new();
    assert_kind(context.socket(SocketType::Scatter).try_recv(), ErrorKind::NotSupported);
    assert_kind(context.socket(SocketType::Gather).try_send("x"), ErrorKind::NotSupported);
}

#[test]
fn scatter_gives_to_each_gather_in_turn() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let scatter = context.socket(SocketType::Scatter);
        let gathers = [context.socket(SocketType::Gather), context.socket(SocketType::Gather)];
        for gather in &gathers {
            transport.join(gather, &scatter);
            // So that both are there before the messages are given out.
            send(&scatter, "are you there?");
            until("somebody is", || gathers.iter().any(|gather| gather.try_recv().is_ok()));
        }
        (0..10).for_each(|n: u32| send(&scatter, n.to_string()));
        for gather in &gathers {
            (0..5).for_each(|_| drop(recv(gather)));
            assert_silent(gather);
        }
    }
}

#[test]
fn each_client_has_its_own_number_and_gets_its_own_answer() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (server, one, first, endpoint) = served(&context, transport);
        let other = context.connected(SocketType::Client, &endpoint);
        send(&other, "hello");
        let second = recv(&server).routing_id();
        assert!(first != 0 && second != 0 && first != second);
        send(&server, to(second, "for the second"));
        send(&server, to(first, "for the first"));
        assert_eq!(recv(&one), Message::from("for the first"));
        assert_eq!(recv(&other), Message::from("for the second"));
        assert_silent(&one);
    }
}

#[test]
fn the_number_stays_on_its_side() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (server, client, routing_id, _) = served(&context, transport);
        send(&client, to(77, "from the client"));
        assert_eq!(recv(&server).routing_id(), routing_id);
        send(&server, to(routing_id, "from the server"));
        assert_eq!(recv(&client).routing_id(), 0);
    }
}

#[test]
fn a_message_for_nobody_is_refused_and_comes_back() {
    let context = TestContext::new();
    for socket_type in [SocketType::Server, SocketType::Peer] {
        let socket = context.socket(socket_type);
        for routing_id in [0, 1, u32::MAX] {
            let error = socket.send(to(routing_id, "body")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::HostUnreachable);
            let back = error.into_message();
            assert_eq!((back.routing_id(), back), (routing_id, Message::from("body")));
        }
    }
}

#[test]
fn a_full_client_holds_up_nobody_else() {
    let context = TestContext::new();
    let server = context.socket(SocketType::Server);
    server.set_send_hwm(1).unwrap();
    let endpoint = server.bind(&Transport::Inproc.wildcard()).unwrap();
    let clients = [(); 2].map(|()| {
        let client = context.socket(SocketType::Client);
        client.set_recv_hwm(1).unwrap();
        client.connect(&endpoint).unwrap();
        client
    });
    let [first, second] = clients.each_ref().map(|client| {
        send(client, "hello");
        recv(&server).routing_id()
    });
    send(&server, to(first, "1"));
    send(&server, to(first, "2"));
    let error = server.try_send(to(first, "3")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(error.into_message().routing_id(), first, "it can be tried again as it is");
    send(&server, to(second, "hello"));
    assert_eq!(recv(&clients[1]), Message::from("hello"));
}

#[test]
fn who_connects_again_is_somebody_else() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (server, client, first, endpoint) = served(&context, transport);
        let mut numbers = vec![first];
        for _ in 0..5 {
            let before = *numbers.last().unwrap();
            client.disconnect(&endpoint).unwrap();
            until("the old number is nobody's", || {
                server.try_send(to(before, "x")).is_err_and(|error| error.kind() == ErrorKind::HostUnreachable)
            });
            client.connect(&endpoint).unwrap();
            send(&client, "again");
            let now = recv(&server).routing_id();
            assert!(!numbers.contains(&now), "{transport:?}: {now} after {numbers:?}");
            numbers.push(now);
        }
    }
}

#[test]
fn a_server_sends_a_client_away() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (server, client, before, _) = served(&context, transport);
        server.disconnect_peer(before).unwrap();
        until("its number is nobody's", || {
            server.try_send(to(before, "x")).is_err_and(|error| error.kind() == ErrorKind::HostUnreachable)
        });
        assert_kind(server.disconnect_peer(before), ErrorKind::HostUnreachable);
        if transport != Transport::Inproc {
            // A network client comes back, as somebody else. What it sends before it has noticed is lost.
            until("the client is back", || {
                let _ = client.try_send("again");
                server.try_recv().is_ok_and(|message| message.routing_id() != before)
            });
        }
    }
    assert_kind(context.socket(SocketType::Dealer).disconnect_peer(1), ErrorKind::NotSupported);
}

#[test]
fn a_peer_is_known_by_its_number_before_it_is_there() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (one, other) = (context.socket(SocketType::Peer), context.socket(SocketType::Peer));
        let place = Place::new(transport);
        let routing_id = one.connect_peer(place.endpoint()).unwrap();
        assert_ne!(routing_id, 0);
        send(&one, to(routing_id, "early"));
        other.bind(place.endpoint()).unwrap();
        let message = recv(&other);
        assert_eq!(message, Message::from("early"));
        send(&other, message);
        assert_eq!(recv(&one).routing_id(), routing_id);
    }
}

#[test]
fn connect_peer_has_its_conditions() {
    let context = TestContext::new();
    assert_kind(context.socket(SocketType::Client).connect_peer("tcp://127.0.0.1:1"), ErrorKind::NotSupported);
    let peer = context.socket(SocketType::Peer);
    assert_kind(peer.connect_peer("nowhere"), ErrorKind::InvalidEndpoint);
    peer.set_immediate(true).unwrap();
    assert_kind(peer.connect_peer("tcp://127.0.0.1:1"), ErrorKind::InvalidArgument);
}

#[test]
fn a_channel_has_one_peer() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (one, other) = (context.socket(SocketType::Channel), context.socket(SocketType::Channel));
        let endpoint = transport.join(&one, &other);
        send(&other, "first");
        assert_eq!(recv(&one), Message::from("first"));
        let third = context.connected(SocketType::Channel, &endpoint);
        third.set_send_timeout(Some(ms(0))).unwrap();
        let _ = third.send("unheard");
        send(&other, "second");
        assert_eq!(recv(&one), Message::from("second"));
        assert_silent(&one);
    }
}

#[test]
fn server_and_peer_are_always_ready_to_send_and_client_is_not() {
    let context = TestContext::new();
    for (socket_type, ready) in [
        (SocketType::Server, true),
        (SocketType::Peer, true),
        (SocketType::Client, false),
        (SocketType::Scatter, false),
        (SocketType::Channel, false),
    ] {
        let socket = context.socket(socket_type);
        let mut poller = Poller::new();
        poller.add(&socket, Interest::WRITABLE, 0);
        assert_eq!(!poller.wait(Some(ms(0))).unwrap().is_empty(), ready, "{socket_type}");
    }
}

#[test]
fn a_routing_id_stays_with_the_socket_that_it_is_of() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        send(&push, to(7, "not for you"));
        assert_eq!(recv(&pull).routing_id(), 0, "{transport:?}");
    }
}
