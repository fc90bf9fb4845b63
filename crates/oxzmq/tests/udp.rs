//! `udp://`: RADIO and DISH, one to one and by multicast, and DGRAM; and what strangers may send.

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use common::*;
use oxzmq::{ErrorKind, Message, Socket, SocketType};

fn grouped(group: &str, body: impl Into<Message>) -> Message {
    let mut message = body.into();
    message.set_group(group.to_owned());
    message
}

/// A DISH that has joined `groups`, at a port of loopback, and its endpoint.
fn dish(context: &TestContext, groups: &[&str]) -> (Socket, String) {
    let dish = context.socket(SocketType::Dish);
    groups.iter().for_each(|group| dish.join(group).unwrap());
    let endpoint = dish.bind("udp://127.0.0.1:*").unwrap();
    (dish, endpoint)
}

fn radio(context: &TestContext, endpoint: &str) -> Socket {
    let radio = context.socket(SocketType::Radio);
    radio.connect(endpoint).unwrap();
    radio
}

/// A stranger with a socket of its own, and the address of an endpoint.
fn stranger(endpoint: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (socket, endpoint.strip_prefix("udp://").unwrap().parse().unwrap())
}

#[test]
fn a_dish_gets_the_messages_of_its_groups() {
    let context = TestContext::new();
    let long = "g".repeat(255);
    let (dish, endpoint) = dish(&context, &["TV", "", &long]);
    let radio = radio(&context, &endpoint);
    for (group, body) in [("TV", "Friends"), ("", "untitled"), ("news", "missed"), (&long, ""), ("TV", "last")] {
        send(&radio, grouped(group, body));
    }
    for (group, body) in [("TV", "Friends"), ("", "untitled"), (&long, ""), ("TV", "last")] {
        let message = recv(&dish);
        assert_eq!((message.group(), message.to_text_lossy().as_ref()), (group.as_bytes(), body));
    }
    assert_eq!(dish.stats().drops.unwanted, 1);
    // By async calls, too.
    block_on(radio.send_async(grouped("TV", "async"))).unwrap();
    assert_eq!(block_on(dish.recv_async()).unwrap(), Message::from("async"));
}

#[test]
fn a_datagram_is_the_length_of_the_group_the_group_and_the_body() {
    let context = TestContext::new();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let radio = radio(&context, &format!("udp://{}", receiver.local_addr().unwrap()));
    send(&radio, grouped("TV", "Friends"));
    send(&radio, grouped("", "e"));
    let mut buffer = [0; 100];
    for expected in [&b"\x02TVFriends"[..], b"\x00e"] {
        let (length, from) = receiver.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], expected);

        let (dish, endpoint) = dish(&context, &["TV", ""]);
        let (socket, address) = stranger(&endpoint);
        socket.send_to(&buffer[..length], address).unwrap();
        assert_eq!(recv(&dish).byte_len(), expected.len() - 1 - usize::from(expected[0]));
        assert!(from.ip().is_loopback());
    }
}

#[test]
fn the_largest_message_passes_and_a_larger_one_is_dropped_and_counted() {
    let context = TestContext::new();
    let (dish, endpoint) = dish(&context, &["g"]);
    let radio = radio(&context, &endpoint);
    send(&radio, grouped("g", vec![7; 8191]));
    send(&radio, grouped("g", vec![7; 8190]));
    assert_eq!(recv(&dish).byte_len(), 8190);
    assert_eq!(radio.stats().drops.lost, 1);
}

#[test]
fn several_dishes_of_a_multicast_group_each_get_it() {
    let context = TestContext::new();
    let first = context.socket(SocketType::Dish);
    first.join("g").unwrap();
    let endpoint = first.bind("udp://127.0.0.1;239.255.77.1:*").unwrap();
    let port = endpoint.rsplit_once(':').unwrap().1.to_owned();
    let second = context.socket(SocketType::Dish);
    second.join("g").unwrap();
    second.bind(&format!("udp://lo;239.255.77.1:{port}")).unwrap();
    // Of another group on the same port nothing comes here.
    let other = context.socket(SocketType::Dish);
    other.join("g").unwrap();
    other.bind(&format!("udp://127.0.0.1;239.255.77.2:{port}")).unwrap();

    let radio = radio(&context, &format!("udp://127.0.0.1;239.255.77.1:{port}"));
    send(&radio, grouped("g", "to all"));
    assert_eq!(recv(&first), Message::from("to all"));
    assert_eq!(recv(&second), Message::from("to all"));
    assert_silent(&other);
}

#[test]
fn datagrams_of_strangers_are_dropped_and_counted_and_the_next_is_received() {
    let context = TestContext::new();
    let (dish, endpoint) = dish(&context, &["g"]);
    let (socket, address) = stranger(&endpoint);
    let bad: [&[u8]; 6] = [b"", b"\x01", b"\x80abc", b"\xff", &[255; 255], &[1; 65_507]];
    for datagram in bad {
        socket.send_to(datagram, address).unwrap();
    }
    socket.send_to(b"\x01gok", address).unwrap();
    assert_eq!(recv(&dish), Message::from("ok"));
    assert_eq!(dish.stats().drops.malformed, 6);

    let mut random = Random::new(11);
    for _ in 0..2000 {
        let length = random.below(40) as usize;
        let datagram: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        socket.send_to(&datagram, address).unwrap();
        drain(&dish);
    }
    until("the last one has come", || {
        socket.send_to(b"\x01glast", address).unwrap();
        dish.recv_deadline(Instant::now() + ms(5)).is_ok_and(|message| message == Message::from("last"))
    });
}

#[test]
fn a_dish_that_reads_nothing_keeps_as_much_as_its_queue_holds() {
    let context = TestContext::new();
    let dish = context.socket(SocketType::Dish);
    dish.set_recv_hwm(10).unwrap();
    dish.join("g").unwrap();
    let endpoint = dish.bind("udp://127.0.0.1:*").unwrap();
    let radio = radio(&context, &endpoint);
    for n in 0..5000 {
        send(&radio, grouped("g", format!("{n}")));
    }
    until("its queue is full", || dish.peers()[0].queued_in == 10);
    for n in 0..10 {
        assert_eq!(recv(&dish), Message::from(format!("{n}")));
    }
    // Reading makes room, and more comes.
    send(&radio, grouped("g", "end"));
    assert_eq!(recv(&dish), Message::from("10"));
}

#[test]
fn dgram_sends_to_addresses_and_tells_them() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Dgram);
    let endpoint = socket.bind("udp://127.0.0.1:*").unwrap();
    let (other, address) = stranger(&endpoint);
    let own = other.local_addr().unwrap().to_string();
    other.send_to(b"ping", address).unwrap();
    let message = recv(&socket);
    assert_eq!(message.frames()[0].as_slice(), format!("{own}\0").as_bytes());
    assert_eq!(message.frames()[1].as_slice(), b"ping");
    // Back where it came from; and without the zero.
    send(&socket, message);
    send(&socket, [own.as_str(), "pong"]);
    other.send_to(b"", address).unwrap();
    let mut buffer = [0; 10];
    for expected in [b"ping", b"pong"] {
        let (length, from) = other.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (&expected[..], address));
    }
    assert_eq!(recv(&socket)[1].len(), 0);

    for nobody in ["nonsense", "127.0.0.1:0", "[::1]:5", "127.0.0.1", "", "localhost:5"] {
        send(&socket, [nobody, "x"]);
    }
    assert_eq!(socket.stats().drops.lost, 6);
    assert_kind(socket.try_send("alone"), ErrorKind::InvalidArgument);
    assert_kind(socket.try_send(["a", "b", "c"]), ErrorKind::InvalidArgument);
    assert_kind(socket.try_send([own.into_bytes(), vec![0; 65_508]]), ErrorKind::TooLarge);
    assert_kind(context.socket(SocketType::Dgram).try_send(["127.0.0.1:5", "x"]), ErrorKind::WouldBlock);
}

#[test]
fn who_may_do_what_with_udp() {
    let context = TestContext::new();
    for (socket_type, bind) in [
        (SocketType::Radio, true),
        (SocketType::Dish, false),
        (SocketType::Dgram, false),
        (SocketType::Pub, true),
        (SocketType::Push, false),
    ] {
        let socket = context.socket(socket_type);
        let result =
            if bind { socket.bind("udp://127.0.0.1:*").map(drop) } else { socket.connect("udp://127.0.0.1:5") };
        assert_kind(result, ErrorKind::IncompatibleTransport);
    }
    let dgram = context.socket(SocketType::Dgram);
    assert_kind(dgram.bind("tcp://127.0.0.1:*"), ErrorKind::IncompatibleTransport);
    assert_kind(dgram.connect("ipc:///nowhere"), ErrorKind::IncompatibleTransport);
    assert_kind(dgram.bind("inproc://x"), ErrorKind::IncompatibleTransport);
    let (dish, radio) = (context.socket(SocketType::Dish), context.socket(SocketType::Radio));
    for bad in ["udp://127.0.0.1", "udp://127.0.0.1;127.0.0.1:5", "udp://239.0.0.1;239.0.0.2:5", "udp://:5", "udp://;:"]
    {
        assert_kind(dish.bind(bad), ErrorKind::InvalidEndpoint);
        assert_kind(radio.connect(bad), ErrorKind::InvalidEndpoint);
    }
    for bad in ["udp://*:5", "udp://127.0.0.1:0"] {
        assert_kind(radio.connect(bad), ErrorKind::InvalidEndpoint);
    }
    assert_kind(radio.connect("udp://no.such.host.invalid:5"), ErrorKind::NoDevice);
    let endpoint = dish.bind("udp://127.0.0.1:*").unwrap();
    assert_kind(context.socket(SocketType::Dgram).bind(&endpoint), ErrorKind::AddressInUse);
}

#[test]
fn a_dgram_has_one_endpoint_at_a_time() {
    let context = TestContext::new();
    let dgram = context.socket(SocketType::Dgram);
    for _ in 0..2 {
        let endpoint = dgram.bind("udp://127.0.0.1:*").unwrap();
        let error = dgram.bind("udp://127.0.0.1:*").unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidState && error.to_string().contains("one endpoint"), "{error}");
        assert_eq!((dgram.peers().len(), dgram.last_endpoint()), (1, endpoint.clone()));
        let (socket, address) = stranger(&endpoint);
        socket.send_to(b"heard", address).unwrap();
        assert_eq!(recv_text(&dgram)[1], "heard");
        dgram.unbind(&endpoint).unwrap();
    }
}

#[test]
fn an_endpoint_that_is_removed_is_free_and_silent() {
    let context = TestContext::new();
    let (dish, endpoint) = dish(&context, &["g"]);
    assert_eq!(dish.last_endpoint(), endpoint);
    let radio = radio(&context, &endpoint);
    send(&radio, grouped("g", "one"));
    assert_eq!(recv(&dish), Message::from("one"));
    let peer = radio.peers().remove(0);
    assert_eq!((peer.endpoint.as_str(), peer.octets_out, peer.messages_out), (endpoint.as_str(), 5, 1));
    dish.unbind(&endpoint).unwrap();
    radio.disconnect(&endpoint).unwrap();
    assert_kind(radio.disconnect(&endpoint), ErrorKind::NotFound);
    assert_eq!((dish.stats().peers, radio.stats().peers), (0, 0));
    send(&radio, grouped("g", "to nobody"));
    let again = context.socket(SocketType::Dgram);
    again.bind(&endpoint).unwrap();
    assert_silent(&again);
    for _ in 0..200 {
        let socket = context.socket(SocketType::Dish);
        socket.bind("udp://127.0.0.1:*").unwrap();
    }
}
