//! Hostile peers over WebSocket: upgrades that are none, and frames that no good client sends. Whatever they do, the
//! connection is closed with an event that says why, nothing of it is delivered, and a good peer is served.

mod common;
mod raw;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use common::*;
use oxzmq::{Event, EventKind, Message, SocketType};
use raw::websocket::*;
use raw::{Target, memory};

fn target() -> Target {
    Target::over(Transport::Ws, SocketType::Pull, SocketType::Push, |_| ())
}

/// What came of octets sent instead of an upgrade: the event, after the server has closed without an answer.
#[track_caller]
fn refused_upgrade(target: &Target, octets: &[u8]) -> Event {
    let mut client = target.client();
    let _ = client.write_all(octets);
    let event = await_event(&target.monitor, EventKind::HandshakeFailedProtocol);
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer); // until it is closed; a reset is an end, too
    assert_eq!(String::from_utf8_lossy(&answer), "");
    assert_eq!(event.value, 0x3000_0000);
    target.refused();
    event
}

#[test]
fn an_upgrade_that_is_none_is_closed_and_says_why() {
    let target = target();
    let good = String::from_utf8(request("ZWS2.0/NULL")).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to).into_bytes()
    };
    for (octets, why) in [
        (changed("GET", "POST"), "begin"),
        (changed("GET /chat HTTP/1.1", "GET HTTP/1.1"), "not HTTP"), // no path
        (changed("HTTP/1.1", "HTTP/1.0"), "version"),
        (changed("Upgrade: websocket", "Upgrade: h2c"), "Upgrade: websocket"),
        (changed("keep-alive, Upgrade", "keep-alive"), "Connection: Upgrade"),
        (changed("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "key"), // no key
        (changed("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), "key"),
        (changed("ZWS2.0/NULL", "ZWS2.0/CURVE"), "ZWS2.0/CURVE"), // the wrong subprotocol
        (changed("ZWS2.0/NULL", "chat"), "chat"),
        (changed("Sec-WebSocket-Protocol: ZWS2.0/NULL\r\n", ""), "none is ours"),
        (changed("Cookie: a=b", "Cookie: a\0b"), "not HTTP"),
        (changed("Cookie: a=b\r\n", &"a: b\r\n".repeat(100)), "fields"),
        (raw::hello("PUSH"), "begin"), // ZMTP
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 a TLS hello".to_vec(), "begin"),
    ] {
        let event = refused_upgrade(&target, &octets);
        assert!(event.reason.contains(why), "{}", event.reason);
    }
    target.good_peer_is_served();
}

#[test]
fn heads_are_bounded() {
    let target = target();
    let padded = |size: usize| {
        let mut head = request("ZWS2.0/NULL");
        head.truncate(head.len() - 2);
        head.extend_from_slice(format!("X: {}\r\n\r\n", "x".repeat(size - head.len() - 7)).as_bytes());
        head
    };
    assert!(refused_upgrade(&target, &padded(64 * 1024)).reason.contains("8192"));
    assert!(refused_upgrade(&target, &[b"GET /", &[b'x'; 9000][..]].concat()).reason.contains("8192"));
    let mut client = target.client();
    client.write_all(&padded(8192)).unwrap();
    read_head(&mut client);
    target.good_peer_is_served();
}

/// All of it: the head, READY and the message, cut at each octet, and in pieces of one.
#[test]
fn an_upgrade_may_be_cut_anywhere() {
    let target = target();
    let message = [masked(BINARY, b"\x01cut"), masked(BINARY, b"\0here")].concat();
    let octets = [request("ZWS2.0/NULL"), masked(BINARY, &ready("PUSH")), message].concat();
    for cut in 1..octets.len() {
        let mut client = target.client();
        client.write_all(&octets[..cut]).unwrap();
        std::thread::yield_now();
        client.write_all(&octets[cut..]).unwrap();
        assert_eq!(recv(&target.socket), Message::from(["cut", "here"]));
    }
    let mut client = target.client();
    octets.chunks(1).for_each(|octet| client.write_all(octet).unwrap());
    assert_eq!(recv(&target.socket), Message::from(["cut", "here"]));
    target.good_peer_is_served();
}

#[test]
fn part_of_an_upgrade_and_then_silence_ends_with_the_handshake_interval() {
    let target = Target::over(Transport::Ws, SocketType::Pull, SocketType::Push, |socket| {
        socket.set_handshake_interval(Some(ms(50))).unwrap();
    });
    let octets = [request("ZWS2.0/NULL"), masked(BINARY, &ready("PUSH"))].concat();
    let mut clients: Vec<_> = (0..octets.len())
        .step_by(9)
        .map(|length| {
            let mut client = target.client();
            client.write_all(&octets[..length]).unwrap();
            client
        })
        .collect();
    for client in &mut clients {
        let _ = client.read_to_end(&mut Vec::new()); // until they are closed
    }
    target.good_peer_is_served();
}

#[test]
fn frames_that_break_the_rules_are_closed_and_never_delivered() {
    let target = target();
    for (octets, why) in [
        (unmasked(BINARY, b"\0not masked"), "not masked"),
        (masked(0x02, b"\0a fragment"), "fragment"),
        (masked(0x80, b"\0a continuation"), "fragment"),
        (masked(TEXT, b"\0text"), "text"),
        (masked(0xc2, b"\0compressed"), "reserved"),
        (masked(0x83, b"\0unknown"), "unknown"),
        (masked(BINARY, b""), "flags"),
        (masked(PING, &[0; 126]), "125 octets"),
        (masked(CLOSE, &[0; 1000]), "125 octets"),
        (masked(0x09, b""), "fragment"), // a fragmented control frame
        (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), "impossible"),
        (masked(BINARY, b"\x02\x05READY"), "READY"),
        (masked(BINARY, b"\x02\x09SUBSCRI"), "command"),
    ] {
        let mut client = Raw::peer(&target.endpoint, "PUSH");
        client.send(BINARY, b"\0good");
        let _ = client.0.write_all(&octets);
        assert_eq!(recv(&target.socket), Message::from("good"));
        let event = target.refused();
        assert!(event.reason.contains(why), "{why}: {}", event.reason);
        assert!(client.is_closed());
        target.good_peer_is_served();
    }
}

#[test]
fn a_flood_of_tiny_fragments_takes_no_memory() {
    let target = target();
    let mut client = Raw::peer(&target.endpoint, "PUSH");
    let before = memory("VmRSS");
    let fragments = [masked(0x02, b"\x01a"), masked(0x00, b"a").repeat(100_000)].concat();
    let _ = client.0.write_all(&fragments);
    assert!(target.refused().reason.contains("fragment"));
    // Whole ones, that never end their message. 255 more than the limit are let through, for envelopes.
    let target = Target::over(Transport::Ws, SocketType::Pull, SocketType::Push, |socket| {
        socket.set_max_frames(1000).unwrap();
    });
    let mut client = Raw::peer(&target.endpoint, "PUSH");
    let _ = client.0.write_all(&masked(BINARY, b"\x01a").repeat(100_000));
    let reason = target.refused().reason;
    assert!(reason.contains("1255 frames"), "{reason}");
    assert!(memory("VmRSS") < before + 50_000, "{before} KiB became {}", memory("VmRSS"));
    target.good_peer_is_served();
}

#[test]
fn a_flood_of_websocket_pings_from_a_peer_that_reads_nothing_is_bounded() {
    let target = target();
    let mut client = Raw::peer(&target.endpoint, "PUSH");
    let before = memory("VmRSS");
    let pings = masked(PING, &[7; 125]).repeat(1000);
    for _ in 0..200 {
        client.0.write_all(&pings).unwrap();
    }
    client.send(BINARY, b"\0after");
    assert_eq!(recv(&target.socket), Message::from("after"));
    assert!(memory("VmRSS") < before + 50_000, "{before} KiB became {}", memory("VmRSS"));
    target.good_peer_is_served();
}

/// Before the handshake is over, too, where answers are kept apart.
#[test]
fn pings_before_ready_are_answered_and_bounded() {
    let target = target();
    let (mut client, _) = Raw::upgraded(&target.endpoint, "ZWS2.0/NULL");
    assert_eq!(client.recv().0, BINARY); // READY
    client.send(PING, b"early");
    assert_eq!(client.recv(), (PONG, b"early".to_vec()));
    for _ in 0..100 {
        client.0.write_all(&masked(PING, &[7; 125]).repeat(100)).unwrap();
    }
    client.send(BINARY, &ready("PUSH"));
    client.send(BINARY, b"\0late");
    assert_eq!(recv(&target.socket), Message::from("late"));
    target.good_peer_is_served();
}

#[test]
fn a_websocket_frame_of_the_greatest_size_passes_and_one_more_byte_does_not() {
    let target = Target::over(Transport::Ws, SocketType::Pull, SocketType::Push, |socket| {
        socket.set_max_message_size(Some(1000)).unwrap();
    });
    let mut client = Raw::peer(&target.endpoint, "PUSH");
    client.send(BINARY, &[0; 1001]);
    assert_eq!(recv(&target.socket), Message::from(vec![0; 1000]));
    // Refused by its header, before anything of it has come.
    client.0.write_all(&masked(BINARY, &[0; 1002])[..14]).unwrap();
    assert!(target.refused().reason.contains("1001 octets"));
    assert!(client.is_closed());
    target.good_peer_is_served();
}

#[test]
fn memory_follows_what_came_over_a_websocket_and_not_what_was_promised() {
    let target = target();
    let before = memory("VmRSS");
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = Raw::peer(&target.endpoint, "PUSH");
            let promise = [&b"\x82\xff\0\0\0\0\x40\0\0\0"[..], &[1, 2, 3, 4], &[1; 1000]].concat();
            client.0.write_all(&promise).unwrap();
            client
        })
        .collect();
    target.good_peer_is_served();
    assert!(memory("VmRSS") < before + 50_000, "{before} KiB became {}", memory("VmRSS"));
    drop(clients);
}

/// A listener that answers an upgrade like this, and what the connecting socket tells of it.
fn told_by_a_client(answer: &[u8]) -> Event {
    let context = TestContext::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let push = context.socket(SocketType::Push);
    let monitor = push.monitor().unwrap();
    push.connect(&format!("ws://{}/", listener.local_addr().unwrap())).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let request = read_head(&mut stream);
    let key = request.split_once("Key: ").unwrap().1.lines().next().unwrap();
    assert_eq!(key.len(), 24);
    stream.write_all(answer).unwrap();
    let _ = stream.shutdown(Shutdown::Write);
    let event = await_event(&monitor, EventKind::HandshakeFailedProtocol);
    await_event(&monitor, EventKind::ConnectRetried);
    // It comes back, in case the server was only busy.
    let (mut again, _): (TcpStream, _) = listener.accept().unwrap();
    read_head(&mut again);
    event
}

#[test]
fn a_server_that_does_not_upgrade_is_tried_again() {
    for (answer, why) in [
        (&b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"[..], "503 Service Unavailable"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "200 OK"),
        (b"SSH-2.0-OpenSSH_9.0\r\n", "begin"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: ZWS2.0/NULL\r\n\r\n",
            "another key",
        ),
    ] {
        let event = told_by_a_client(answer);
        assert!(event.reason.contains(why), "{}", event.reason);
        assert_eq!(event.value, 0x3000_0000);
    }
}
