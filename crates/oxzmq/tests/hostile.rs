//! Peers that are broken, unlucky or malicious: raw TCP clients that say what no good peer would. Whatever
//! they do, nothing panics, memory follows what they sent and not what they promised, and a good peer on the
//! same socket is served all the while.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use common::*;
use oxzmq::{Event, EventKind, Message, Monitor, Socket, SocketType};

/// A socket under attack, with a good peer.
struct Target {
    context: TestContext,
    socket: Socket,
    endpoint: String,
    monitor: Monitor,
    good: Socket,
}

impl Target {
    /// A PULL, served by a good PUSH.
    fn new() -> Self {
        Self::with(SocketType::Pull, SocketType::Push, |_| ())
    }

    fn with(socket_type: SocketType, good: SocketType, set: impl FnOnce(&Socket)) -> Self {
        let context = TestContext::new();
        let socket = context.socket(socket_type);
        set(&socket);
        let endpoint = socket.bind("tcp://127.0.0.1:*").unwrap();
        let good = context.socket(good);
        connect_and_wait(&good, &socket, &endpoint);
        let monitor = socket.monitor().unwrap();
        Self { context, socket, endpoint, monitor, good }
    }

    fn client(&self) -> TcpStream {
        raw_client(&self.endpoint)
    }

    /// A client that has shaken hands as this socket type.
    fn peer(&self, socket_type: &str) -> TcpStream {
        let mut client = self.client();
        client.write_all(&hello(socket_type)).unwrap();
        await_event(&self.monitor, EventKind::HandshakeSucceeded);
        // Their greeting and READY, so that nothing stays unread and closing is no reset.
        let mut greeting = [0; 64];
        client.read_exact(&mut greeting).unwrap();
        let mut header = [0; 2];
        client.read_exact(&mut header).unwrap();
        client.read_exact(&mut vec![0; header[1].into()]).unwrap();
        client
    }

    #[track_caller]
    fn refused(&self) -> Event {
        await_event(&self.monitor, EventKind::Disconnected)
    }

    /// The good peer is served as if nothing had happened.
    #[track_caller]
    fn good_peer_is_served(&self) {
        for n in 0..3 {
            send(&self.good, n.to_string());
            assert_eq!(recv_text(&self.socket), [n.to_string()]);
        }
    }

    /// These bytes in traffic end the connection and deliver nothing.
    #[track_caller]
    fn rejects(&self, bytes: &[u8]) {
        let mut client = self.peer("PUSH");
        let _ = client.write_all(bytes);
        let event = self.refused();
        assert_ne!(event.reason, "closed by the peer", "not refused: {}", bytes[..bytes.len().min(40)].escape_ascii());
        self.good_peer_is_served();
    }

    /// These bytes in traffic deliver these messages.
    #[track_caller]
    fn accepts(&self, bytes: &[u8], messages: &[Message]) {
        let mut client = self.peer("PUSH");
        client.write_all(bytes).unwrap();
        for message in messages {
            assert_eq!(recv(&self.socket), *message);
        }
        drop(client);
        self.refused();
        self.good_peer_is_served();
    }
}

const GREETING: [u8; 64] = {
    let mut greeting = [0; 64];
    let start = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL";
    let mut n = 0;
    while n < start.len() {
        greeting[n] = start[n];
        n += 1;
    }
    greeting
};

fn property(name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![name.len() as u8];
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// A frame: flags, and the length in the form that fits.
fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 9);
    if body.len() < 256 {
        bytes.extend_from_slice(&[flags, body.len() as u8]);
    } else {
        bytes.push(flags | 2);
        bytes.extend_from_slice(&(body.len() as u64).to_be_bytes());
    }
    bytes.extend_from_slice(body);
    bytes
}

const MORE: u8 = 1;
const COMMAND: u8 = 4;

fn command(name: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![name.len() as u8];
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(body);
    frame(COMMAND, &bytes)
}

fn hello_with(metadata: &[u8]) -> Vec<u8> {
    [&GREETING[..], &command("READY", metadata)].concat()
}

fn hello(socket_type: &str) -> Vec<u8> {
    hello_with(&property("Socket-Type", socket_type.as_bytes()))
}

/// A frame header that promises this many bytes.
fn promise(length: u64) -> Vec<u8> {
    [&[2], &length.to_be_bytes()[..]].concat()
}

/// Kilobytes of this process, from its status.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A connection that is closed while its peer goes on sending is reset, and what the kernel had still to send
/// is gone, unless one reads what comes.
#[test]
fn a_last_reply_reaches_a_peer_that_goes_on_asking() {
    let context = TestContext::new();
    let (rep, endpoint) = context.bound(SocketType::Rep);
    rep.set_linger(None).unwrap();
    let mut client = raw_client(&endpoint);
    let request = [frame(MORE, b""), frame(0, b"request")].concat();
    client.write_all(&hello("REQ")).unwrap();
    client.write_all(&request).unwrap();
    recv(&rep);
    rep.send(vec![5; 1 << 20]).unwrap();
    drop(rep);
    for _ in 0..1000 {
        client.write_all(&request).unwrap();
    }
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    let reply = [frame(MORE, b""), frame(0, &vec![5; 1 << 20])].concat();
    assert!(received.ends_with(&reply), "{} bytes came", received.len());
}

// ---- before and during the handshake ---------------------------------------------------------------------

#[test]
fn part_of_a_greeting_and_then_silence_ends_with_the_handshake_interval() {
    let target = Target::with(SocketType::Pull, SocketType::Push, |socket| {
        socket.set_handshake_interval(Some(ms(50))).unwrap();
    });
    let mut clients: Vec<_> = (0..64)
        .map(|length| {
            let mut client = target.client();
            client.write_all(&GREETING[..length]).unwrap();
            client
        })
        .collect();
    target.good_peer_is_served();
    for client in &mut clients {
        let _ = client.read_to_end(&mut Vec::new()); // until they are closed
    }
    target.good_peer_is_served();
}

#[test]
fn connections_that_are_reset_are_ignored() {
    let target = Target::new();
    for n in 0..60 {
        let client = target.client();
        if n % 2 == 0 {
            // Closed with a reset instead of an orderly end.
            socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
        drop(client);
    }
    target.good_peer_is_served();
}

#[test]
fn other_protocols_are_closed_and_never_delivered() {
    let target = Target::with(SocketType::Pull, SocketType::Push, |socket| socket.set_accept_legacy(false).unwrap());
    for probe in [
        &b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 a TLS hello",
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"\0\0\0\x08\0\0\0\0",
        &[0xff; 200],
        b"\r\n\r\n",
    ] {
        let mut client = target.client();
        client.write_all(probe).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let _ = client.read_to_end(&mut Vec::new());
        target.refused();
    }
    target.good_peer_is_served();
}

#[test]
fn a_conversation_may_come_one_byte_at_a_time() {
    let target = Target::new();
    let mut client = target.client();
    let bytes = [hello("PUSH"), frame(MORE, b"slow"), frame(0, &[7; 300])].concat();
    for byte in bytes {
        client.write_all(&[byte]).unwrap();
    }
    assert_eq!(recv(&target.socket), Message::from([b"slow".to_vec(), vec![7; 300]]));
    target.good_peer_is_served();
}

#[test]
fn a_conversation_may_be_cut_anywhere() {
    let target = Target::new();
    let bytes = [hello("PUSH"), frame(MORE, b"cut"), frame(0, b"here")].concat();
    for cut in 1..bytes.len() {
        let mut client = target.client();
        client.write_all(&bytes[..cut]).unwrap();
        std::thread::yield_now();
        client.write_all(&bytes[cut..]).unwrap();
        assert_eq!(recv(&target.socket), Message::from(["cut", "here"]));
    }
    target.good_peer_is_served();
}

#[test]
fn broken_metadata_is_refused() {
    let target = Target::new();
    let good = property("Socket-Type", b"PUSH");
    for metadata in [
        &b"\x0bSocket-Type\xff\xff\xff\xffPUSH"[..], // a value of 4 GiB
        b"\x0bSocket-Type\0\0\0\x05PUSH",            // a byte more than is left
        b"\xffSocket-Type",                          // a name longer than what is left
        &[&good[..], b"\x03"].concat(),              // a name without a byte
        &[&good[..], b"\x01a\0\0"].concat(),         // half a length
        &property("Socket-Type", b"SUB"),            // no partner
        &property("Socket-Type", b"push"),           // no type
        &property("Socket-Type", &[b'P'; 60_000]),   // nonsense of some length
        &good.repeat(10_000),                        // too many
    ] {
        let mut client = target.client();
        let _ = client.write_all(&hello_with(metadata));
        target.refused();
    }
    target.good_peer_is_served();
}

#[test]
fn unusual_metadata_is_accepted() {
    let target = Target::new();
    let good = property("Socket-Type", b"PUSH");
    for metadata in [
        [&good[..], &property("X-big", &vec![1; 50_000])].concat(),
        [&good[..], &good, &good].concat(),
        [&good[..], &property("Identity", &[0; 255])].concat(),
        [&good[..], &property("Identity", b"")].concat(),
        [&property("X-unknown", b""), &good[..]].concat(),
        property("socket-type", b"PUSH"), // names have no case
        Vec::new(),                       // no type: libzmq takes it, too
    ] {
        let mut client = target.client();
        client.write_all(&[hello_with(&metadata), frame(0, b"in")].concat()).unwrap();
        assert_eq!(recv(&target.socket), Message::from("in"));
    }
    target.good_peer_is_served();
}

#[test]
fn a_routing_id_of_256_bytes_is_refused() {
    let target = Target::with(SocketType::Router, SocketType::Dealer, |_| ());
    let metadata = [property("Socket-Type", b"DEALER"), property("Identity", &[1; 256])].concat();
    target.client().write_all(&hello_with(&metadata)).unwrap();
    assert_eq!(
        await_event(&target.monitor, EventKind::HandshakeFailedProtocol).kind,
        EventKind::HandshakeFailedProtocol
    );
}

#[test]
fn what_comes_before_its_time_ends_the_handshake() {
    let target = Target::new();
    for early in [
        frame(0, b"a message before READY"),
        command("PING", b"\0\0"),
        command("PONG", b""),
        command("SUBSCRIBE", b"x"),
        command("HELLO", b""),
        command("", b""),
        frame(COMMAND, b""),
        frame(COMMAND, b"\x06READY"),
        promise(1 << 40),
        [&[COMMAND | 2], &(1u64 << 40).to_be_bytes()[..]].concat(),
    ] {
        let mut client = target.client();
        client.write_all(&[&GREETING[..], &early].concat()).unwrap();
        target.refused();
    }
    target.good_peer_is_served();
}

#[test]
fn a_second_ready_ends_the_connection_or_is_ignored() {
    let target = Target::new();
    let ready = command("READY", &property("Socket-Type", b"PUSH"));
    let mut client = target.peer("PUSH");
    client.write_all(&ready).unwrap();
    drop(client);
    target.refused();
    target.good_peer_is_served();
}

#[test]
fn another_mechanism_is_refused() {
    let target = Target::new();
    for mechanism in [&b"PLAIN"[..], b"CURVE", b"WHAT", &[0xff; 20]] {
        let mut greeting = GREETING;
        greeting[12..32].fill(0);
        greeting[12..12 + mechanism.len()].copy_from_slice(mechanism);
        target.client().write_all(&greeting).unwrap();
        let event = await_event(&target.monitor, EventKind::HandshakeFailedProtocol);
        assert_eq!(event.value, 0x1100_0002); // MECHANISM_MISMATCH
    }
    target.good_peer_is_served();
}

// ---- frames and messages -----------------------------------------------------------------------------------

#[test]
fn impossible_lengths_are_refused_before_anything_is_allocated() {
    let target = Target::new();
    for length in [1 << 63, u64::MAX, u64::MAX - 0x26, (1 << 63) + 1] {
        target.rejects(&promise(length));
        target.rejects(&[frame(MORE, b"part"), promise(length)].concat());
    }
}

#[test]
fn memory_follows_what_came_and_not_what_was_promised() {
    let target = Target::new();
    let before = memory("VmSize");
    let stalled: Vec<_> = (0..100)
        .map(|n| {
            let mut client = target.peer("PUSH");
            client.write_all(&promise(if n % 2 == 0 { 1 << 30 } else { (1 << 63) - 1 })).unwrap();
            client.write_all(&[7; 5000]).unwrap();
            client
        })
        .collect();
    target.good_peer_is_served();
    let grown = memory("VmSize").saturating_sub(before);
    assert!(grown < 1 << 20, "{grown} kB for {} stalled peers", stalled.len());
}

#[test]
fn a_frame_of_the_greatest_size_passes_and_one_more_byte_does_not() {
    let target = Target::with(SocketType::Pull, SocketType::Push, |socket| {
        socket.set_max_message_size(Some(1000)).unwrap();
    });
    target.accepts(&frame(0, &[1; 1000]), &[vec![1; 1000].into()]);
    target.rejects(&frame(0, &[1; 1001]));
    target.rejects(&promise(1001)); // refused by its header alone
    target.rejects(&[frame(MORE, &[1; 1000]), frame(0, &[1; 1001])].concat());
}

#[test]
fn an_endless_message_is_cut() {
    let target = Target::new();
    target.rejects(&frame(MORE, b"").repeat(1_001_000));
    target.rejects(&frame(MORE, b"x").repeat(1_001_000));

    let target = Target::with(SocketType::Pull, SocketType::Push, |socket| {
        socket.set_max_total_size(Some(10_000)).unwrap();
    });
    let most = [frame(MORE, &[1; 4000]).repeat(2), frame(0, &[1; 2000])].concat();
    target.accepts(&most, &[[vec![1u8; 4000], vec![1; 4000], vec![1; 2000]].into_iter().collect()]);
    target.rejects(&[frame(MORE, &[1; 4000]).repeat(2), frame(0, &[1; 2001])].concat());
    target.rejects(&frame(MORE, &[1; 5000]).repeat(3));
}

#[test]
fn flags_are_taken_as_the_protocol_says() {
    let target = Target::new();
    target.accepts(&[&[2][..], &5u64.to_be_bytes(), b"short"].concat(), &["short".into()]); // a long form for a small size
    // Reserved bits, and MORE on a command, mean nothing and are passed over.
    target.accepts(&frame(0xf8, b"reserved"), &["reserved".into()]);
    target.accepts(&[frame(COMMAND | MORE, b"\x04PING\0\0"), frame(0, b"next")].concat(), &["next".into()]);
}

/// A frame as ZMTP 1.0 has it: the flags are counted with the body.
fn old_frame(body: &[u8]) -> Vec<u8> {
    let length = body.len() as u64 + 1;
    let mut frame = if length < 255 { vec![length as u8] } else { [&[255][..], &length.to_be_bytes()].concat() };
    frame.push(0);
    frame.extend_from_slice(body);
    frame
}

/// A library of that age gave the wrong data beyond 8192 octets, the size of its buffer.
#[test]
fn large_messages_of_zmtp_1_back_to_back_are_the_right_ones() {
    let sizes = [8191, 8192, 8193, 0, 8193, 8200, 1, 100_000, 16_385, 253, 254, 255, 1 << 20, 8193];
    let bodies: Vec<Vec<u8>> =
        (0u8..5).flat_map(|turn| sizes.map(|size| (0..size).map(|n| (n % 251) as u8 ^ turn).collect())).collect();
    let bytes = bodies.iter().flat_map(|body| old_frame(body)).collect::<Vec<u8>>();
    let anonymous = old_frame(b"");
    let context = TestContext::new();

    let (pull, endpoint) = context.bound(SocketType::Pull);
    let mut client = raw_client(&endpoint);
    let greeted = [anonymous.clone(), bytes.clone()].concat();
    let writer = std::thread::spawn(move || {
        greeted.chunks(70_001).for_each(|piece| client.write_all(piece).unwrap());
        client
    });
    for body in &bodies {
        assert!(recv(&pull) == Message::from(body.clone()), "a body of {} octets", body.len());
    }
    drop(writer.join().unwrap());

    let (push, endpoint) = context.bound(SocketType::Push);
    let mut client = raw_client(&endpoint);
    client.write_all(&anonymous).unwrap();
    let sender = std::thread::spawn(move || {
        bodies.into_iter().for_each(|body| send(&push, body));
        push
    });
    // The opening that newer peers know us by is, to this one, our name.
    let mut read = vec![0; 10 + bytes.len()];
    client.read_exact(&mut read).unwrap();
    assert!(read[10..] == bytes, "what an old peer reads");
    drop(sender.join().unwrap());
}

#[test]
fn a_peer_that_dies_in_the_middle_of_a_message_leaves_nothing_of_it() {
    let target = Target::new();
    for partial in
        [frame(MORE, b"part"), [frame(MORE, b"a"), promise(100_000), vec![1; 50_000]].concat(), vec![0], vec![2, 0, 0]]
    {
        let mut client = target.peer("PUSH");
        client.write_all(&frame(0, b"whole")).unwrap();
        client.write_all(&partial).unwrap();
        drop(client);
        target.refused();
        assert_eq!(recv(&target.socket), Message::from("whole"));
        target.good_peer_is_served();
    }
}

#[test]
fn pings_are_answered_once_or_refused() {
    let target = Target::new();
    let mut client = target.peer("PUSH");
    client.write_all(&command("PING", b"\xff\xffcontext")).unwrap(); // the longest time to live
    let mut pong = vec![0; 2 + 5 + 7];
    client.read_exact(&mut pong).unwrap();
    assert_eq!(pong, command("PONG", b"context"));
    client.write_all(&command("PONG", b"unasked")).unwrap();
    client.write_all(&command("PING", b"\0\0")).unwrap();
    client.read_exact(&mut pong[..7]).unwrap();
    assert_eq!(pong[..7], command("PONG", b"")[..]);
    for short in [&b""[..], b"\0"] {
        target.rejects(&command("PING", short));
    }
}

#[test]
fn a_flood_of_pings_from_a_peer_that_reads_nothing_is_bounded() {
    let target = Target::new();
    let mut client = target.peer("PUSH");
    let flood = command("PING", b"\0\0sixteen bytes...").repeat(1000);
    let before = memory("VmRSS");
    for _ in 0..200 {
        client.write_all(&flood).unwrap();
    }
    client.write_all(&frame(0, b"through")).unwrap();
    assert_eq!(recv(&target.socket), Message::from("through"));
    let grown = memory("VmRSS").saturating_sub(before);
    assert!(grown < 100 << 10, "{grown} kB");
    target.good_peer_is_served();
}

#[test]
fn commands_of_other_patterns_are_not_delivered() {
    let target = Target::new();
    let mut client = target.peer("PUSH");
    for name in ["SUBSCRIBE", "CANCEL", "JOIN", "LEAVE", "UNKNOWN"] {
        if client.write_all(&command(name, b"topic")).is_err() {
            break; // refused
        }
    }
    drop(client);
    target.refused();
    assert!(target.socket.try_recv().is_err());
    target.good_peer_is_served();
}

#[test]
fn groups_of_any_length_from_peers_that_are_no_dish_do_no_harm() {
    let target = Target::new();
    for length in [0, 255, 256, 5000] {
        for name in ["JOIN", "LEAVE"] {
            let mut client = target.peer("PUSH");
            let _ = client.write_all(&command(name, &vec![b'g'; length]));
            drop(client);
            target.refused();
        }
    }
    assert!(target.socket.try_recv().is_err());
    target.good_peer_is_served();
}

#[test]
fn rep_drops_what_is_no_request() {
    let target = Target::with(SocketType::Rep, SocketType::Dealer, |_| ());
    let mut client = target.peer("REQ");
    let hops = frame(MORE, b"hop").repeat(1000);
    for bad in [frame(0, b"no delimiter"), frame(0, b""), [hops.clone(), frame(0, b"x")].concat()] {
        client.write_all(&bad).unwrap();
    }
    client.write_all(&[hops, frame(MORE, b""), frame(0, b"a thousand hops")].concat()).unwrap();
    assert_eq!(recv(&target.socket), Message::from("a thousand hops"));
    target.socket.send("ok").unwrap();
    send(&target.good, ["", "good"]);
    assert_eq!(recv(&target.socket), Message::from("good"));
    target.socket.send("fine").unwrap();
    assert_eq!(recv(&target.good), Message::from(["", "fine"]));
}

#[test]
fn random_bytes_do_no_harm() {
    let target = Target::new();
    let mut random = Random::new(11);
    for _ in 0..200 {
        let noise: Vec<u8> = (0..random.below(300)).map(|_| random.below(256) as u8).collect();
        let mut client = target.client();
        if random.below(2) == 0 {
            let _ = client.write_all(&hello("PUSH"));
        }
        let _ = client.write_all(&noise);
    }
    // What happened to be a message is one; the good peer's come through in order all the same.
    send(&target.good, "the end");
    while recv(&target.socket) != Message::from("the end") {}
}

// ---- subscriptions and routing -----------------------------------------------------------------------------

fn publisher() -> Target {
    let target = Target::with(SocketType::Xpub, SocketType::Sub, |socket| socket.set_xpub_verboser(true).unwrap());
    target.good.subscribe("good").unwrap();
    assert_eq!(recv(&target.socket), Message::from("\u{1}good"));
    target
}

fn good_subscriber_is_served(target: &Target) {
    target.socket.send("good news").unwrap();
    assert_eq!(recv(&target.good), Message::from("good news"));
}

#[test]
fn a_topic_of_ten_megabytes_is_subscribed_and_cancelled() {
    let target = publisher();
    let mut client = target.peer("SUB");
    let topic = vec![b't'; 10 << 20];
    client.write_all(&command("SUBSCRIBE", &topic)).unwrap();
    assert_eq!(recv(&target.socket)[0].len(), topic.len() + 1);
    good_subscriber_is_served(&target);
    client.write_all(&command("CANCEL", &topic)).unwrap();
    assert_eq!(recv(&target.socket)[0].len(), topic.len() + 1);
    good_subscriber_is_served(&target);
}

#[test]
fn a_hundred_thousand_subscriptions_are_freed_with_their_peer() {
    let target = Target::with(SocketType::Pub, SocketType::Sub, |_| ());
    target.good.subscribe("good").unwrap();
    await_subscription(&target.socket, &target.good);
    let mut client = target.peer("SUB");
    let flood: Vec<u8> = (0..100_000).flat_map(|n| command("SUBSCRIBE", format!("topic-{n}").as_bytes())).collect();
    client.write_all(&flood).unwrap();
    client.write_all(&command("PING", b"\0\0")).unwrap();
    client.read_exact(&mut [0; 7]).unwrap(); // they have all been read
    good_subscriber_is_served(&target);
    drop(client);
    until("the peer is gone", || target.socket.stats().peers == 1);
    good_subscriber_is_served(&target);
}

/// What is taken as soon as it comes makes room at once, again and again: that must not cost a level of stack each time.
#[test]
fn a_flood_that_is_consumed_at_once_is_no_recursion() {
    let publisher = Target::with(SocketType::Pub, SocketType::Sub, |socket| socket.set_recv_hwm(1).unwrap());
    publisher.good.subscribe("good").unwrap();
    await_subscription(&publisher.socket, &publisher.good);
    let mut client = publisher.peer("SUB");
    client.write_all(&frame(0, b"\x01t").repeat(300_000)).unwrap();
    client.write_all(&command("PING", b"\0\0")).unwrap();
    client.read_exact(&mut [0; 7]).unwrap(); // they have all been read
    good_subscriber_is_served(&publisher);

    let subscriber = Target::with(SocketType::Sub, SocketType::Pub, |socket| {
        socket.set_recv_hwm(1).unwrap();
        socket.subscribe("wanted").unwrap();
    });
    let mut client = subscriber.peer("PUB");
    let flood = [frame(0, b"unwanted").repeat(300_000), frame(0, b"wanted")].concat();
    let writer = std::thread::spawn(move || {
        client.write_all(&flood).unwrap();
        client
    });
    assert_eq!(recv(&subscriber.socket), Message::from("wanted"));
    drop(writer.join().unwrap());
}

#[test]
fn cancelling_in_every_wrong_way_does_no_harm() {
    let target = publisher();
    let mut client = target.peer("SUB");
    let both = [
        command("CANCEL", b"never"),
        command("SUBSCRIBE", b"t"),
        command("CANCEL", b"t"),
        command("CANCEL", b"t"),
        frame(0, b"\x01t"), // the older form
        command("CANCEL", b"t"),
        frame(0, b"\0t"),
        frame(0, b""),
        frame(0, b"\x02t"),
        frame(0, b"\x01last"),
    ]
    .concat();
    client.write_all(&both).unwrap();
    while recv(&target.socket) != Message::from("\u{1}last") {}
    target.socket.send("t").unwrap();
    target.socket.send("last").unwrap();
    let mut got = [0; 6];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"\0\x04last", "t is not subscribed any more");
    good_subscriber_is_served(&target);
}

#[test]
fn data_sent_to_a_publisher_is_dropped_and_not_kept() {
    let target = Target::with(SocketType::Pub, SocketType::Sub, |_| ());
    target.good.subscribe("good").unwrap();
    await_subscription(&target.socket, &target.good);
    let mut client = target.peer("SUB");
    let before = memory("VmRSS");
    let flood = frame(0, &[b'x'; 100]).repeat(1000);
    for _ in 0..300 {
        client.write_all(&flood).unwrap();
    }
    client.write_all(&command("PING", b"\0\0")).unwrap();
    client.read_exact(&mut [0; 7]).unwrap();
    let grown = memory("VmRSS").saturating_sub(before);
    assert!(grown < 100 << 10, "{grown} kB");
    good_subscriber_is_served(&target);
}

#[test]
fn data_sent_to_push_is_dropped_and_not_kept() {
    let target = Target::with(SocketType::Push, SocketType::Pull, |_| ());
    let mut client = target.peer("PULL");
    let flood = frame(0, &[b'x'; 100]).repeat(1000);
    for _ in 0..100 {
        client.write_all(&flood).unwrap();
    }
    client.write_all(&command("PING", b"\0\0")).unwrap();
    client.read_exact(&mut [0; 7]).unwrap();
    drop(client);
    until("the peer is gone", || target.socket.stats().peers == 1);
    target.socket.send("x").unwrap();
    assert_eq!(recv(&target.good), Message::from("x"));
}

#[test]
fn a_routing_id_claimed_again_and_again_leaves_nothing_behind() {
    for handover in [false, true] {
        let target = Target::with(SocketType::Router, SocketType::Dealer, |socket| {
            socket.set_router_handover(handover).unwrap();
        });
        let metadata = [property("Socket-Type", b"DEALER"), property("Identity", b"same")].concat();
        let clients: Vec<_> = (0..50)
            .map(|_| {
                let mut client = target.client();
                client.write_all(&hello_with(&metadata)).unwrap();
                await_event(&target.monitor, EventKind::HandshakeSucceeded);
                client
            })
            .collect();
        send(&target.good, "x");
        assert_eq!(recv(&target.socket)[1], "x");
        if handover {
            until("only the last holds the name", || target.socket.stats().peers == 2);
        } else {
            assert_eq!(target.socket.stats().peers, 51);
        }
        drop(clients);
        until("only the good peer is left", || target.socket.stats().peers == 1);
    }
}

// ---- readers that do not read --------------------------------------------------------------------------------

#[test]
fn a_subscriber_that_never_reads_loses_messages_and_nobody_else_does() {
    let target = Target::with(SocketType::Xpub, SocketType::Sub, |socket| socket.set_send_hwm(100).unwrap());
    target.good.set_recv_hwm(0).unwrap();
    target.good.subscribe("").unwrap();
    recv(&target.socket);
    let mut deaf = target.peer("SUB");
    deaf.write_all(&command("SUBSCRIBE", b"only the deaf")).unwrap();
    recv(&target.socket);
    let body = vec![7; 100_000];
    for n in 0..300u32 {
        // The good subscriber gets both; it reads as they come, so it never falls behind.
        target.socket.send([b"only the deaf and the good".to_vec(), n.to_be_bytes().to_vec(), body.clone()]).unwrap();
        assert_eq!(recv(&target.good)[1], n.to_be_bytes()[..]);
    }
    assert!(target.socket.stats().dropped > 50, "what the deaf one could not take");
}

#[test]
fn a_dealer_that_never_reads_fills_its_own_queue_only() {
    let target = Target::with(SocketType::Router, SocketType::Dealer, |socket| {
        socket.set_send_hwm(20).unwrap();
        socket.set_router_mandatory(true).unwrap();
    });
    let metadata = [property("Socket-Type", b"DEALER"), property("Identity", b"deaf")].concat();
    let mut deaf = target.client();
    deaf.write_all(&hello_with(&metadata)).unwrap();
    await_event(&target.monitor, EventKind::HandshakeSucceeded);
    let body = vec![7; 100_000];
    let mut taken = 0;
    let deadline = || std::time::Instant::now() + ms(100);
    while target.socket.send_deadline([b"deaf".to_vec(), body.clone()], deadline()).is_ok() {
        taken += 1;
        assert!(taken < 5000, "nothing holds the sender back");
    }
    for _ in 0..50 {
        send(&target.good, "hello");
        let id = recv(&target.socket)[0].clone();
        target.socket.try_send([id, "hello back".into()]).unwrap();
        assert_eq!(recv(&target.good), Message::from("hello back"));
    }
}

#[test]
fn a_pull_that_never_reads_gets_its_share_and_no_more() {
    let target = Target::with(SocketType::Push, SocketType::Pull, |socket| socket.set_send_hwm(10).unwrap());
    let _deaf = target.peer("PULL");
    let body = vec![7; 500_000];
    let (mut sent, mut received) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while target.good.recv_deadline(soon()).is_ok_and(|message| message != Message::from("end")) {
                received += 1;
            }
        });
        for _ in 0..300 {
            send(&target.socket, body.clone());
            sent += 1;
        }
        // Whoever gets it: the deaf one is full by now, so it is the good one.
        send(&target.socket, "end");
    });
    assert!(received > sent / 2, "{received} of {sent}");
}

#[test]
fn a_stream_of_oddities() {
    let context = TestContext::new();
    let (stream, endpoint) = context.bound(SocketType::Stream);
    for n in 0..20 {
        let client = raw_client(&endpoint);
        if n % 2 == 0 {
            socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
    }
    let mut client = raw_client(&endpoint);
    client.write_all(b"a good one").unwrap();
    let id = loop {
        let message = recv(&stream);
        if !message[1].is_empty() {
            break message[0].clone();
        }
    };
    until("all others are gone", || stream.stats().peers == 1);
    assert_kind(stream.send(Message::new()), oxzmq::ErrorKind::InvalidArgument);
    stream.send([id.clone()]).unwrap(); // an id alone: nothing to send
    stream.send([id, "one".into(), "too many".into()]).unwrap();
    let mut got = [0; 3];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"one");
}

#[test]
fn many_connections_come_and_go() {
    let target = Target::new();
    for _ in 0..500 {
        let mut client = target.client();
        client.write_all(&hello("PUSH")).unwrap();
        client.write_all(&frame(0, b"x")).unwrap();
        assert_eq!(recv(&target.socket), Message::from("x"));
    }
    until("only the good peer is left", || target.socket.stats().peers == 1);
    target.good_peer_is_served();
    assert_eq!(target.context.socket(SocketType::Pull).stats().peers, 0);
}
