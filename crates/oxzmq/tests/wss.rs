//! `wss://`: WebSocket over TLS. What is within is tested over `ws://`; here is what TLS adds and what it could break.

#![cfg(feature = "wss")]

mod certificates;
mod common;
mod raw;

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use certificates::*;
use common::*;
use oxzmq::curve::KeyPair;
use oxzmq::{ErrorKind, EventKind, Message, OptionInfo, OptionValue, Security, Socket, SocketType};
use raw::websocket::request;

#[test]
fn messages_of_every_size_pass_both_ways() {
    let context = TestContext::new();
    let (one, other, endpoint) = pair(&context, SocketType::Pair, SocketType::Pair);
    assert!(endpoint.starts_with("wss://127.0.0.1:") && endpoint.ends_with('/'), "{endpoint}");
    assert_eq!((one.last_endpoint(), other.last_endpoint()), (endpoint.clone(), endpoint));
    for (from, to) in [(&one, &other), (&other, &one)] {
        for size in [0, 1, 124, 125, 126, 16_384, 65_535, 65_536, 1 << 20, 10 << 20] {
            let body: Vec<u8> = (0..251).cycle().take(size).collect();
            send(from, [body.clone(), b"end".to_vec()]);
            let message = recv(to);
            assert!(*message[0] == *body && message[1] == "end", "{size}");
        }
    }
    let message = {
        send(&other, "who?");
        recv(&one)
    };
    assert_eq!(message.properties().unwrap().get_str("Peer-Address"), Some("127.0.0.1"));
}

#[test]
fn floods_pass_and_those_that_nobody_reads_wait() {
    let context = TestContext::new();
    let (pull, push, _) = pair(&context, SocketType::Pull, SocketType::Push);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..50_000).for_each(|n| send(&push, n.to_string())));
        (0..50_000).for_each(|n| assert_eq!(recv_text(&pull), [n.to_string()]));
    });
    // Queues, buffers of sockets and of TLS together: far below what is offered.
    let sent = fill_with(&push, |_| vec![0; 10_000].into());
    assert!(sent < 20_000, "{sent}");
    for _ in 0..sent {
        recv(&pull);
    }
}

#[test]
fn patterns_and_curve_work_within() {
    let context = TestContext::new();
    let (rep, req, _) = pair(&context, SocketType::Rep, SocketType::Req);
    for n in 0..100 {
        send(&req, n.to_string());
        assert_eq!(recv_text(&rep), [n.to_string()]);
        send(&rep, "answer");
        recv(&req);
    }
    let (publisher, subscriber, _) = pair(&context, SocketType::Pub, SocketType::Sub);
    await_subscription(&publisher, &subscriber);

    let keys = KeyPair::generate().unwrap();
    let (pull, push) = (listening(&context, SocketType::Pull), trusting(&context, SocketType::Push));
    let server = keys.public();
    pull.set_security(Security::CurveServer(keys)).unwrap();
    push.set_security(Security::CurveClient { server, keys: KeyPair::generate().unwrap() }).unwrap();
    let endpoint = pull.bind("wss://127.0.0.1:*").unwrap();
    push.connect(&endpoint).unwrap();
    send(&push, "sealed twice");
    assert_eq!(recv_text(&pull), ["sealed twice"]);
}

#[test]
fn the_server_has_to_be_who_it_should_be() {
    let context = TestContext::new();
    let pull = listening(&context, SocketType::Pull);
    let endpoint = pull.bind("wss://127.0.0.1:*").unwrap();
    let by_name = endpoint.replace("127.0.0.1", "localhost");
    for (endpoint, expected) in [(&endpoint, ""), (&by_name, ""), (&endpoint, "other.example"), (&by_name, "127.0.0.1")]
    {
        let push = trusting(&context, SocketType::Push);
        push.set_wss_hostname(expected).unwrap();
        push.connect(endpoint).unwrap();
        send(&push, expected);
        assert_eq!(recv_text(&pull), [expected]);
    }
    let stranger = Certificates::new();
    for (issuer, expected, why) in [(&OURS.issuer, "wrong.example", "not valid for name"), (&stranger.issuer, "", "")] {
        let push = context.socket(SocketType::Push);
        push.set_wss_trusted(issuer).unwrap();
        push.set_wss_hostname(expected).unwrap();
        let (ours, theirs) = (push.monitor().unwrap(), pull.monitor().unwrap());
        push.connect(&endpoint).unwrap();
        let event = await_event(&ours, EventKind::HandshakeFailed);
        assert!(event.reason.starts_with("TLS: ") && event.reason.contains(why), "{}", event.reason);
        await_event(&ours, EventKind::ConnectRetried);
        assert!(await_event(&theirs, EventKind::HandshakeFailed).reason.starts_with("TLS: "));
        send(&push, "never");
        drop(push);
        assert_silent(&pull);
    }
}

#[test]
fn what_is_missing_or_wrong_is_said_at_once() {
    let context = TestContext::new();
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    assert_kind(pull.bind("wss://127.0.0.1:*"), ErrorKind::InvalidArgument);
    pull.set_wss_certificate(&OURS.certificate).unwrap();
    assert_kind(pull.bind("wss://127.0.0.1:*"), ErrorKind::InvalidArgument);
    pull.set_wss_key(&Certificates::new().key).unwrap();
    assert_kind(pull.bind("wss://127.0.0.1:*"), ErrorKind::InvalidArgument); // of another certificate
    pull.set_wss_key("nonsense").unwrap();
    assert_kind(pull.bind("wss://127.0.0.1:*"), ErrorKind::InvalidArgument);
    assert_kind(push.connect("wss://127.0.0.1:1"), ErrorKind::InvalidArgument); // nobody is trusted
    push.set_wss_trusted(&OURS.issuer).unwrap();
    push.set_wss_hostname("not a name").unwrap();
    assert_kind(push.connect("wss://127.0.0.1:1"), ErrorKind::InvalidArgument);
    push.set_wss_hostname("").unwrap();
    push.connect("wss://127.0.0.1:1").unwrap();
    push.disconnect("wss://127.0.0.1:1/").unwrap();
}

#[test]
fn the_options_of_the_c_api_do_the_same() {
    let context = TestContext::new();
    let set = |socket: &Socket, name: &str, value: OptionValue| {
        socket.set_option(OptionInfo::by_name(name).unwrap(), value).unwrap();
    };
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    set(&pull, "WSS_KEY_PEM", OptionValue::from(OURS.key.as_str()));
    set(&pull, "WSS_CERT_PEM", OptionValue::from(OURS.certificate.as_str()));
    let endpoint = pull.bind("wss://127.0.0.1:*/path").unwrap();
    set(&push, "WSS_TRUST_PEM", OptionValue::from(OURS.issuer.as_str()));
    set(&push, "WSS_TRUST_SYSTEM", OptionValue::Int(1));
    set(&push, "WSS_HOSTNAME", OptionValue::from("other.example"));
    push.connect(&endpoint).unwrap();
    send(&push, "hello");
    assert_eq!(recv_text(&pull), ["hello"]);
}

/// All of it arrives, although socket and context are gone before TLS can have written it.
#[test]
fn nothing_is_lost_when_the_sender_leaves() {
    let context = TestContext::new();
    let pull = listening(&context, SocketType::Pull);
    let endpoint = pull.bind("wss://127.0.0.1:*").unwrap();
    for _ in 0..5 {
        let sender = TestContext::new();
        let push = trusting(&sender, SocketType::Push);
        push.set_linger(None).unwrap();
        push.connect(&endpoint).unwrap();
        for n in 0..200u8 {
            send(&push, vec![n; 20_000]);
        }
        drop(push);
        let done = std::thread::spawn(move || sender.term());
        for n in 0..200 {
            assert!(*recv(&pull)[0] == *vec![n; 20_000], "{n}");
        }
        done.join().unwrap();
    }
}

#[test]
fn a_connection_that_is_lost_is_made_again() {
    let context = TestContext::new();
    let (pull, push, endpoint) = pair(&context, SocketType::Pull, SocketType::Push);
    let monitor = push.monitor().unwrap();
    drop(pull);
    await_event(&monitor, EventKind::Disconnected);
    let pull = listening(&context, SocketType::Pull);
    until("the address is free", || pull.bind(&endpoint).is_ok());
    send(&push, "again");
    assert_eq!(recv_text(&pull), ["again"]);
}

#[test]
fn descriptors_go_with_their_connections() {
    let context = TestContext::new();
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (pull, _push, endpoint) = pair(&context, SocketType::Pull, SocketType::Push);
    let before = count();
    for n in 0..20 {
        let push = trusting(&context, SocketType::Push);
        push.connect(&endpoint).unwrap();
        send(&push, n.to_string());
        recv(&pull);
    }
    // Other tests of this process have theirs.
    until("the descriptors are closed", || count() < before + 40);
}

/// Those that do not speak TLS, or stop in the middle of it, or of what is within.
#[test]
fn strangers_at_a_tls_endpoint_are_closed_and_never_delivered() {
    let context = TestContext::new();
    let pull = listening(&context, SocketType::Pull);
    pull.set_handshake_interval(Some(ms(300))).unwrap();
    let endpoint = pull.bind("wss://127.0.0.1:*").unwrap();
    let monitor = pull.monitor().unwrap();
    for octets in [
        &request("ZWS2.0/NULL")[..],
        &raw::hello("PUSH"),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 half a hello",
        &[0xff; 70_000],
        b"",
    ] {
        let mut client = raw_client(&endpoint);
        let _ = client.write_all(octets);
        await_event(&monitor, EventKind::HandshakeFailed);
        let _ = client.read_to_end(&mut Vec::new()); // until it is closed
    }
    let push = trusting(&context, SocketType::Push);
    push.connect(&endpoint).unwrap();
    send(&push, "good");
    assert_eq!(recv_text(&pull), ["good"]);
}

/// The session is gone while its peer takes nothing of what is left, and never closes: that ends, too, and what the
/// context waits for with it.
#[test]
fn a_peer_that_takes_nothing_holds_nobody_up() {
    let context = TestContext::new();
    let pull = listening(&context, SocketType::Pull);
    pull.set_recv_hwm(1).unwrap();
    let endpoint = pull.bind("wss://127.0.0.1:*").unwrap();
    let sender = TestContext::new();
    let push = trusting(&sender, SocketType::Push);
    push.connect(&endpoint).unwrap();
    fill_with(&push, |_| vec![0; 100_000].into());
    drop(push); // with a linger of zero
    sender.term();
}

/// Another implementation of TLS at the other end: OpenSSL's, in Python.
#[test]
fn openssl_is_understood() {
    const CLIENT: &str = r#"
import socket, ssl, sys
port, issuer = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context(cafile=issuer)
with socket.create_connection(("127.0.0.1", port), 15) as plain:
    with context.wrap_socket(plain, server_hostname="localhost") as tls:
        tls.sendall(b"GET /x HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ZWS2.0/NULL\r\n\r\n")
        file = tls.makefile("rb")
        while file.readline() != b"\r\n":
            pass
        def send(payload):
            tls.sendall(bytes([0x82, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
        def receive():
            first, size = file.read(2)
            return file.read(size)
        send(b"\x02\x05READY")
        assert receive().startswith(b"\x02\x05READY")
        send(b"\0question")
        assert receive() == b"\0answer"
print(tls.version())
"#;
    let context = TestContext::new();
    let pair = listening(&context, SocketType::Pair);
    let endpoint = pair.bind("wss://127.0.0.1:*").unwrap();
    let directory = TempDir::new();
    let issuer = directory.0.join("issuer.pem");
    std::fs::write(&issuer, &OURS.issuer).unwrap();
    let python = Command::new("/usr/bin/python3")
        .args(["-c", CLIENT, &address(&endpoint).port().to_string()])
        .arg(&issuer)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs /usr/bin/python3");
    assert_eq!(recv(&pair), Message::from("question"));
    send(&pair, "answer");
    let output = python.wait_with_output().unwrap();
    assert_eq!((output.status.success(), &output.stdout[..]), (true, &b"TLSv1.3\n"[..]));
}
