//! Peers that are broken, unlucky or malicious: raw TCP clients that say what no good peer would. Whatever
//! they do, nothing panics, memory follows what they sent and not what they promised, and a good peer on the
//! same socket is served all the while.

mod common;
mod raw;

use std::io::{Read, Write};
use std::net::Shutdown;

use common::*;
use oxzmq::{EventKind, Message, SocketType};
use raw::*;

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
