//! Options that act on their own: timeouts, conflation, heartbeats, sizes.

mod common;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use common::*;
use oxzmq::{ErrorKind, EventKind, Message, SocketType};

// ---- timeouts ------------------------------------------------------------------------------------------

#[test]
fn a_receive_ends_after_its_timeout_and_not_before() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, _push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        pull.set_recv_timeout(Some(ms(30))).unwrap();
        let start = Instant::now();
        assert_kind(pull.recv(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= ms(30));
        pull.set_recv_timeout(Some(Duration::ZERO)).unwrap();
        assert_kind(pull.recv(), ErrorKind::WouldBlock);
    }
}

#[test]
fn a_send_ends_after_its_timeout_and_gives_the_message_back() {
    let context = TestContext::new();
    let push = context.socket(SocketType::Push);
    push.set_send_timeout(Some(ms(30))).unwrap();
    let start = Instant::now();
    let error = push.send("mine").unwrap_err();
    assert!(start.elapsed() >= ms(30));
    assert_eq!((error.kind(), error.into_message()), (ErrorKind::TimedOut, Message::from("mine")));
    push.set_send_timeout(Some(Duration::ZERO)).unwrap();
    assert_kind(push.send("x"), ErrorKind::WouldBlock);
}

#[test]
fn a_deadline_in_the_past_still_finds_what_is_there() {
    let context = TestContext::new();
    let (pull, push) = context.inproc_pair(SocketType::Pull, SocketType::Push);
    let past = Instant::now() - ms(1);
    assert_kind(pull.recv_deadline(past), ErrorKind::TimedOut);
    push.send_deadline("x", past).unwrap();
    assert_eq!(pull.recv_deadline(past).unwrap(), Message::from("x"));
}

#[test]
fn setters_and_getters_agree() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Dealer);
    socket.set_send_hwm(7).unwrap();
    socket.set_recv_hwm(0).unwrap();
    socket.set_linger(Some(ms(5))).unwrap();
    socket.set_routing_id("me").unwrap();
    socket.set_max_message_size(Some(9)).unwrap();
    assert_eq!((socket.send_hwm(), socket.recv_hwm(), socket.linger()), (7, 0, Some(ms(5))));
    assert_eq!((&socket.routing_id()[..], socket.max_message_size()), (&b"me"[..], Some(9)));
    let (long, large) = (format!("X-{}", "a".repeat(254)), "a".repeat(32_768));
    for (name, value) in
        [("colour", "x"), ("X-", "x"), ("X-a", ""), (&long, "x"), ("X-a b", "x"), ("X-a\0", "x"), ("X-a", &large)]
    {
        assert_kind(socket.set_metadata(name, value.to_owned()), ErrorKind::InvalidArgument);
    }
}

// ---- conflation ----------------------------------------------------------------------------------------

#[test]
fn conflation_keeps_the_last_message() {
    let context = TestContext::new();
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    push.set_conflate(true).unwrap();
    Transport::Inproc.join(&pull, &push); // the connecter's option counts
    (0..100).for_each(|n: u32| push.try_send(n.to_string()).unwrap());
    assert_eq!(drain(&pull), [Message::from("99")]);
}

#[test]
fn conflation_keeps_the_last_part_of_a_multipart_message() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        pull.set_conflate(true).unwrap();
        push.set_conflate(transport == Transport::Inproc).unwrap();
        transport.join(&pull, &push);
        push.send(["a", "b"]).unwrap();
        assert_eq!(recv(&pull), Message::from("b"), "{transport:?}");
    }
}

#[test]
fn conflation_replaces_also_what_a_readiness_check_has_seen() {
    let context = TestContext::new();
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    push.set_conflate(true).unwrap();
    Transport::Inproc.join(&pull, &push);
    push.send("old").unwrap();
    assert!(pull.readiness().unwrap().readable());
    push.send("new").unwrap();
    assert_eq!(drain(&pull), [Message::from("new")]);
}

#[test]
fn a_conflating_subscriber_ends_with_the_newest() {
    let context = TestContext::new();
    let (xpub, sub) = (context.socket(SocketType::Xpub), context.socket(SocketType::Sub));
    sub.set_conflate(true).unwrap();
    sub.subscribe("").unwrap();
    Transport::Tcp.join(&xpub, &sub);
    recv(&xpub);
    (0..500).for_each(|n: u32| xpub.send(n.to_string()).unwrap());
    let mut last = 0;
    while last < 499 {
        let n = recv(&sub).to_text_lossy().parse().unwrap();
        assert!(n > last || n == 0, "never an older one");
        last = n;
    }
}

#[test]
fn conflation_is_ignored_by_types_that_lack_it() {
    let context = TestContext::new();
    let (one, other) = (context.socket(SocketType::Pair), context.socket(SocketType::Pair));
    one.set_conflate(true).unwrap();
    other.set_conflate(true).unwrap();
    Transport::Inproc.join(&one, &other);
    ["a", "b"].into_iter().for_each(|message| one.send(message).unwrap());
    assert_eq!(drain(&other).len(), 2);
}

// ---- sizes ---------------------------------------------------------------------------------------------

#[test]
fn a_frame_of_the_greatest_size_passes_and_a_larger_one_ends_the_connection() {
    let context = TestContext::new();
    for limit in [10, 200, 300, 100_000] {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        pull.set_max_message_size(Some(limit)).unwrap(); // also when smaller than the handshake's commands
        Transport::Tcp.join(&pull, &push);
        let monitors = (pull.monitor().unwrap(), push.monitor().unwrap());
        let exact = vec![1; limit as usize];
        push.send([exact.clone(), exact.clone(), exact]).unwrap(); // each part counts by itself
        assert_eq!(recv(&pull).len(), 3);
        push.send(vec![2; limit as usize + 1]).unwrap();
        await_event(&monitors.0, EventKind::Disconnected);
        await_event(&monitors.1, EventKind::ConnectRetried);
        send(&push, "ok");
        assert_eq!(recv(&pull), Message::from("ok"), "the sender comes back");
    }
}

#[test]
fn a_connecter_that_receives_too_much_gives_up() {
    let context = TestContext::new();
    let (push, pull) = (context.socket(SocketType::Push), context.socket(SocketType::Pull));
    pull.set_max_message_size(Some(100)).unwrap();
    let endpoint = Transport::Tcp.join(&push, &pull);
    let monitor = pull.monitor().unwrap();
    push.send(vec![0; 101]).unwrap();
    await_event(&monitor, EventKind::Disconnected);
    until("the peer is given up", || pull.stats().peers == 0);
    assert!(monitor.recv_deadline(Instant::now() + A_WHILE).is_err(), "no retry");
    let _ = pull.disconnect(&endpoint);
}

// ---- heartbeats ----------------------------------------------------------------------------------------

/// Greeting and READY of a PUSH that then goes silent.
fn raw_push(endpoint: &str) -> std::net::TcpStream {
    let mut client = raw_client(endpoint);
    let mut hello = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL".to_vec();
    hello.resize(64, 0);
    hello.extend_from_slice(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH");
    client.write_all(&hello).unwrap();
    client
}

#[test]
fn a_silent_peer_is_dropped_and_an_answering_one_kept() {
    let context = TestContext::new();
    let pull = context.socket(SocketType::Pull);
    pull.set_heartbeat_interval(Some(ms(15))).unwrap();
    pull.set_heartbeat_timeout(Some(ms(400))).unwrap();
    let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap();
    let answering = context.socket(SocketType::Push);
    connect_and_wait(&answering, &pull, &endpoint);
    let monitor = pull.monitor().unwrap();
    let mut silent = raw_push(&endpoint);
    let silent_port = silent.local_addr().unwrap().port();
    await_event(&monitor, EventKind::HandshakeSucceeded);
    await_event(&monitor, EventKind::Disconnected);
    let mut got = Vec::new();
    let _ = silent.read_to_end(&mut got);
    assert!(got.windows(5).any(|window| window == b"\x04PING"), "port {silent_port}");
    assert_eq!(pull.stats().peers, 1);
    send(&answering, "still here");
    assert_eq!(recv(&pull), Message::from("still here"));
}

#[test]
fn heartbeats_work_at_the_connecting_end_which_then_reconnects() {
    let context = TestContext::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pull = context.socket(SocketType::Pull);
    pull.set_heartbeat_interval(Some(ms(15))).unwrap();
    pull.connect(&format!("tcp://{}", listener.local_addr().unwrap())).unwrap();
    let monitor = pull.monitor().unwrap();
    for _ in 0..2 {
        let (mut server, _) = listener.accept().unwrap();
        let mut hello = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL".to_vec();
        hello.resize(64, 0);
        hello.extend_from_slice(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH");
        server.write_all(&hello).unwrap();
        await_event(&monitor, EventKind::HandshakeSucceeded);
        await_event(&monitor, EventKind::Disconnected);
        drop(server);
    }
}

#[test]
fn a_peer_that_said_how_long_it_may_be_silent_is_taken_at_its_word() {
    let context = TestContext::new();
    let (pull, endpoint) = context.bound(SocketType::Pull);
    let monitor = pull.monitor().unwrap();
    let mut client = raw_push(&endpoint);
    await_event(&monitor, EventKind::HandshakeSucceeded);
    let start = Instant::now();
    client.write_all(b"\x04\x0a\x04PING\0\x01abc").unwrap(); // a tenth of a second
    await_event(&monitor, EventKind::Disconnected);
    assert!(start.elapsed() >= ms(100));
    let mut got = Vec::new();
    let _ = client.read_to_end(&mut got);
    assert!(got.ends_with(b"\x04\x08\x04PONGabc"), "{}", got.escape_ascii());
}

#[test]
fn a_full_queue_is_no_silence() {
    let context = TestContext::new();
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    pull.set_recv_hwm(1).unwrap();
    pull.set_heartbeat_interval(Some(ms(10))).unwrap();
    pull.set_heartbeat_timeout(Some(ms(40))).unwrap();
    Transport::Tcp.join(&pull, &push);
    let monitor = pull.monitor().unwrap();
    (0..100).for_each(|n: u32| send(&push, n.to_string()));
    // Nobody reads, so nothing is heard; that is this end's doing and not the peer's.
    let event = monitor.recv_deadline(Instant::now() + ms(200));
    assert!(event.is_err(), "{event:?}");
    for n in 0..100 {
        assert_eq!(recv_text(&pull), [n.to_string()]);
    }
}

// ---- frames per message --------------------------------------------------------------------------------

#[test]
fn a_message_of_too_many_frames_is_refused_where_it_is_sent() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        push.set_max_frames(3).unwrap();
        assert_kind(push.send(["1", "2", "3", "4"]), ErrorKind::TooManyFrames);
        send(&push, ["1", "2", "3"]);
        assert_eq!(recv(&pull).len(), 3);
    }
}

#[test]
fn a_message_of_very_many_frames_arrives() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        assert_eq!(push.max_frames(), 1_000_000);
        send(&push, (0..200_000).map(|_| "x").collect::<Message>());
        assert_eq!(recv(&pull).len(), 200_000);
    }
}

#[test]
fn a_peer_that_sends_more_frames_than_the_limit_is_disconnected() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        pull.set_max_frames(1).unwrap();
        transport.join(&pull, &push);
        let monitor = pull.monitor().unwrap();
        // What an envelope may add is let through.
        send(&push, (0..256).map(|_| "x").collect::<Message>());
        assert_eq!(recv(&pull).len(), 256);
        send(&push, (0..257).map(|_| "x").collect::<Message>());
        await_event(&monitor, EventKind::Disconnected);
        assert_silent(&pull);
    }
}

// ---- options by number -----------------------------------------------------------------------------------

#[test]
fn every_option_that_can_be_read_reads_back_what_was_set_and_refuses_what_it_does_not_take() {
    use oxzmq::{OPTIONS, OptionKind, OptionValue};
    let context = TestContext::new();
    assert!(OPTIONS.is_sorted_by_key(|option| option.number), "looked up by bisection");
    for option in OPTIONS {
        let socket_type = *option.types.first().unwrap_or(&SocketType::Dealer);
        let socket = context.socket(socket_type);
        let of_another_kind = match option.kind {
            OptionKind::Text(..) | OptionKind::Binary(..) | OptionKind::Key => OptionValue::Int(1),
            _ => OptionValue::from("text"),
        };
        assert_kind(socket.set_option(option, of_another_kind), ErrorKind::InvalidArgument);
        if option.name.starts_with("GSSAPI") && !cfg!(feature = "gssapi") {
            assert_kind(socket.option(option), ErrorKind::InvalidArgument);
            continue;
        }
        assert_eq!(socket.option(option).is_ok(), option.is_readable(), "{}", option.name);
        if !(option.is_readable() && option.is_settable()) {
            continue;
        }
        let value = match option.kind {
            OptionKind::Int(least, most) => OptionValue::Int(1.clamp(least, most)),
            OptionKind::Switch | OptionKind::Flag => OptionValue::Int(1),
            OptionKind::Long => OptionValue::Long(70_000),
            OptionKind::Unsigned => OptionValue::Unsigned(1),
            OptionKind::Key => OptionValue::from(&[7; 32][..]),
            _ => OptionValue::from("lo"),
        };
        // Kept in steps of a hundred.
        let value = if option.name == "HEARTBEAT_TTL" { OptionValue::Int(1200) } else { value };
        socket.set_option(option, value.clone()).unwrap();
        assert_eq!(socket.option(option).unwrap(), value, "{}", option.name);
    }
}

#[test]
fn an_option_of_another_socket_type_is_refused() {
    let context = TestContext::new();
    let (push, router) = (context.socket(SocketType::Push), context.socket(SocketType::Router));
    let mandatory = oxzmq::OptionInfo::by_name("ROUTER_MANDATORY").unwrap();
    assert_kind(push.set_option(mandatory, 1), ErrorKind::InvalidArgument);
    router.set_option(mandatory, 1).unwrap();
    assert!(router.router_mandatory());
    assert_kind(router.option(mandatory), ErrorKind::InvalidArgument);
}

#[test]
fn an_affinity_to_no_thread_is_told_when_binding() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Pull);
    socket.set_option(oxzmq::OptionInfo::by_name("AFFINITY").unwrap(), oxzmq::OptionValue::Unsigned(1 << 63)).unwrap();
    assert_kind(socket.bind("tcp://127.0.0.1:*"), ErrorKind::NoIoThread);
}

#[test]
fn the_systems_options_of_a_connection_can_be_set() {
    let context = TestContext::new();
    for ipv6 in [false, true] {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        for socket in [&pull, &push] {
            for (name, value) in [
                ("TCP_KEEPALIVE", 1),
                ("TCP_KEEPALIVE_CNT", 3),
                ("TCP_KEEPALIVE_IDLE", 30),
                ("TCP_KEEPALIVE_INTVL", 10),
                ("TCP_MAXRT", 5000),
                ("TOS", 0x20),
                ("PRIORITY", 3),
                ("IPV6", i32::from(ipv6)),
            ] {
                socket.set_option(oxzmq::OptionInfo::by_name(name).unwrap(), value).unwrap();
            }
            socket.set_option(oxzmq::OptionInfo::by_name("BINDTODEVICE").unwrap(), "lo").unwrap();
        }
        Transport::Tcp.join(&pull, &push);
        send(&push, "x");
        assert_eq!(recv(&pull), Message::from("x"));
    }
}

// ---- when changes count ----------------------------------------------------------------------------------

#[test]
fn an_endpoint_keeps_the_options_that_it_was_made_with() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (router, dealer) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
        let endpoint = router.bind(&transport.wildcard()).unwrap();
        router.set_max_message_size(Some(1)).unwrap();
        router.set_hello_message("hello".into()).unwrap();
        router.set_option(oxzmq::OptionInfo::by_name("PLAIN_SERVER").unwrap(), 1).unwrap();
        dealer.set_routing_id("before").unwrap();
        connect_and_wait(&dealer, &router, &endpoint);
        dealer.set_routing_id("after").unwrap();
        send(&dealer, "longer than one octet");
        assert_eq!(recv_text(&router), ["before", "longer than one octet"], "{transport:?}");
        assert_silent(&dealer);
    }
}

#[test]
fn inproc_ignores_what_is_for_networks() {
    let context = TestContext::new();
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    for socket in [&pull, &push] {
        socket.set_max_message_size(Some(1)).unwrap();
        socket.set_immediate(true).unwrap();
        socket.set_handshake_interval(Some(ms(1))).unwrap();
        socket.set_heartbeat_interval(Some(ms(1))).unwrap();
    }
    let place = Place::new(Transport::Inproc);
    push.connect(place.endpoint()).unwrap();
    push.try_send("queued though immediate, and long").unwrap();
    pull.bind(place.endpoint()).unwrap();
    assert_eq!(recv(&pull), Message::from("queued though immediate, and long"));
}

#[test]
fn the_binders_conflation_does_not_count_over_inproc() {
    let context = TestContext::new();
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    pull.set_conflate(true).unwrap();
    Transport::Inproc.join(&pull, &push);
    (0..5).for_each(|n: u32| send(&push, n.to_string()));
    assert_eq!(drain(&pull).len(), 5);
}

#[test]
fn conflation_never_blocks_a_sender_and_keeps_the_newest_on_every_transport() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        for (receiver, sender) in [(SocketType::Pull, SocketType::Push), (SocketType::Dealer, SocketType::Dealer)] {
            let (receiver, sender) = (context.socket(receiver), context.socket(sender));
            for socket in [&receiver, &sender] {
                socket.set_conflate(true).unwrap();
                socket.set_send_hwm(1).unwrap();
                socket.set_recv_hwm(1).unwrap();
            }
            transport.join(&receiver, &sender);
            let body = [0; 1000];
            (0..5000u32).for_each(|n| sender.try_send([&n.to_be_bytes()[..], &body].concat()).unwrap());
            let mut last = 0;
            until("the newest has come", || {
                if let Ok(message) = receiver.try_recv() {
                    let n = u32::from_be_bytes(message[0][..4].try_into().unwrap());
                    assert!(n >= last, "never an older one");
                    last = n;
                }
                last == 4999
            });
        }
    }
}

#[test]
fn without_a_heartbeat_timeout_silence_is_no_end() {
    let context = TestContext::new();
    let pull = context.socket(SocketType::Pull);
    pull.set_heartbeat_interval(Some(ms(5))).unwrap();
    pull.set_heartbeat_timeout(Some(Duration::ZERO)).unwrap();
    let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap();
    let monitor = pull.monitor().unwrap();
    let mut silent = raw_push(&endpoint);
    await_event(&monitor, EventKind::HandshakeSucceeded);
    // Some PINGs later it is still there.
    let mut got = Vec::new();
    while got.windows(5).filter(|window| window == b"\x04PING").count() < 4 {
        let mut some = [0; 200];
        let length = silent.read(&mut some).unwrap();
        assert_ne!(length, 0);
        got.extend_from_slice(&some[..length]);
    }
    assert_eq!(pull.stats().peers, 1);
    silent.write_all(b"\0\x01x").unwrap();
    assert_eq!(recv(&pull), Message::from("x"));
}

#[test]
fn a_router_without_handover_changes_its_mind_at_once() {
    let context = TestContext::new();
    let (router, one) = (context.socket(SocketType::Router), context.socket(SocketType::Dealer));
    let endpoint = router.bind(&Transport::Inproc.wildcard()).unwrap();
    one.set_routing_id("d").unwrap();
    one.connect(&endpoint).unwrap();
    router.set_router_handover(true).unwrap();
    let other = context.socket(SocketType::Dealer);
    other.set_routing_id("d").unwrap();
    other.connect(&endpoint).unwrap();
    send(&router, ["d", "x"]);
    assert_eq!(recv(&other), Message::from("x"));
}
