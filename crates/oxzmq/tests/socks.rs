//! Connecting through a SOCKS5 proxy (RFC 1928, RFC 1929), good and bad ones.

mod common;

use std::io::{ErrorKind as IoErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use common::*;
use oxzmq::{ErrorKind, EventKind, SocketType};

/// A place for proxies, which a test plays with what it accepts.
fn proxy() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (client, _) = listener.accept().unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_nodelay(true).unwrap();
    client
}

fn read<const N: usize>(from: &mut TcpStream) -> [u8; N] {
    let mut octets = [0; N];
    from.read_exact(&mut octets).unwrap();
    octets
}

/// Passes octets on until one side ends.
fn relay(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

fn relay_both(one: &TcpStream, other: &TcpStream) {
    for (from, to) in [(one, other), (other, one)] {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        thread::spawn(move || relay(from, to));
    }
}

/// A proxy that works, and wants this user; tells which target each client asked for.
fn working(listener: TcpListener, user: Option<(&'static str, &'static str)>, slowly: bool) -> Receiver<String> {
    let (sender, asked) = channel();
    thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            client.set_nodelay(true).unwrap();
            let method = if user.is_some() { 2 } else { 0 };
            assert_eq!(read(&mut client), [5, 1, method]);
            client.write_all(&[5, method]).unwrap();
            if let Some((name, password)) = user {
                let credentials =
                    [&[1, name.len() as u8], name.as_bytes(), &[password.len() as u8], password.as_bytes()];
                let mut got = vec![0; credentials.concat().len()];
                client.read_exact(&mut got).unwrap();
                assert_eq!(got, credentials.concat());
                client.write_all(&[1, 0]).unwrap();
            }
            let [version, command, _, kind] = read(&mut client);
            assert_eq!((version, command), (5, 1));
            let host = match kind {
                1 => Ipv4Addr::from(read::<4>(&mut client)).to_string(),
                _ => {
                    let [length] = read(&mut client);
                    let mut name = vec![0; length.into()];
                    client.read_exact(&mut name).unwrap();
                    String::from_utf8(name).unwrap()
                }
            };
            let port = u16::from_be_bytes(read(&mut client));
            let target = TcpStream::connect((if kind == 1 { host.as_str() } else { "127.0.0.1" }, port)).unwrap();
            target.set_nodelay(true).unwrap();
            let reply = [&[5, 0, 0, 3, 4][..], b"here", &[0, 80]].concat();
            for part in reply.chunks(if slowly { 1 } else { reply.len() }) {
                client.write_all(part).unwrap();
            }
            relay_both(&client, &target);
            let _ = sender.send(format!("{host}:{port}"));
        }
    });
    asked
}

#[test]
fn messages_pass_through_a_proxy_and_names_are_the_proxys_to_look_up() {
    let context = TestContext::new();
    for slowly in [false, true] {
        for user in [None, Some(("anna", "secret"))] {
            let (listener, address) = proxy();
            let asked = working(listener, user, slowly);
            let (server, endpoint) = context.bound(SocketType::Rep);
            let port = address_of(&endpoint);
            for target in [format!("127.0.0.1:{port}"), format!("only-the-proxy-knows.invalid:{port}")] {
                let client = context.socket(SocketType::Req);
                client.set_socks_proxy(address.clone()).unwrap();
                if let Some((name, password)) = user {
                    client.set_socks_credentials(name, password).unwrap();
                }
                let monitor = client.monitor().unwrap();
                client.connect(&format!("tcp://{target}")).unwrap();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        let request = recv(&server);
                        send(&server, request);
                    });
                    assert_eq!(client.request("through", Some(PATIENCE)).unwrap().to_text_lossy(), "through");
                });
                assert_eq!(asked.recv_timeout(PATIENCE).unwrap(), target);
                let story: Vec<_> = std::iter::from_fn(|| monitor.try_recv().ok()).map(|event| event.kind).collect();
                let story = story.as_slice();
                assert_eq!(story, [EventKind::ConnectDelayed, EventKind::Connected, EventKind::HandshakeSucceeded]);
            }
        }
    }
}

fn address_of(endpoint: &str) -> u16 {
    common::address(endpoint).port()
}

#[test]
fn a_proxy_that_refuses_lies_or_leaves_is_tried_again_and_its_reason_told() {
    let context = TestContext::new();
    let endless = vec![b'x'; 1 << 20];
    let cases: [(&str, Vec<&[u8]>); 8] = [
        ("no SOCKS5", vec![b"HTTP/1.1 400 Bad Request\r\n\r\n"]),
        ("no SOCKS5", vec![&endless]),
        ("another kind", vec![&[5, 255]]),
        ("another kind", vec![&[5, 2], &[5, 2]]),
        ("refused (code 5)", vec![&[5, 0], &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]]),
        ("no known kind", vec![&[5, 0], &[5, 0, 0, 7, 7]]),
        ("closed", vec![&[5, 0], &[5, 0, 0, 3, 255, 1, 2, 3]]),
        ("closed", vec![]),
    ];
    for (why, replies) in cases {
        let (listener, address) = proxy();
        let push = context.socket(SocketType::Push);
        push.set_socks_proxy(address).unwrap();
        let monitor = push.monitor().unwrap();
        push.connect("tcp://192.0.2.1:5555").unwrap();
        for _ in 0..2 {
            let mut client = accept(&listener);
            for reply in &replies {
                // Whoever sends too much may find that nobody listens any more.
                if let Err(error) = client.write_all(reply) {
                    assert!(matches!(error.kind(), IoErrorKind::ConnectionReset | IoErrorKind::BrokenPipe), "{error}");
                }
            }
            let _ = client.shutdown(Shutdown::Write);
            let closed = await_event(&monitor, EventKind::Closed);
            assert!(closed.reason.contains(why), "{why}: {}", closed.reason);
            await_event(&monitor, EventKind::ConnectRetried);
        }
    }
}

#[test]
fn a_proxy_that_refuses_the_password_is_told() {
    let context = TestContext::new();
    let (listener, address) = proxy();
    let push = context.socket(SocketType::Push);
    push.set_socks_proxy(address).unwrap();
    push.set_socks_credentials("anna", "wrong").unwrap();
    let monitor = push.monitor().unwrap();
    push.connect("tcp://192.0.2.1:5555").unwrap();
    let mut client = accept(&listener);
    client.write_all(&[5, 2, 1, 1]).unwrap();
    let closed = await_event(&monitor, EventKind::Closed);
    assert!(closed.reason.contains("user name and password"), "{}", closed.reason);
}

#[test]
fn a_proxy_that_says_nothing_is_left_after_the_handshake_interval() {
    let context = TestContext::new();
    let (listener, address) = proxy();
    let push = context.socket(SocketType::Push);
    push.set_socks_proxy(address).unwrap();
    push.set_handshake_interval(Some(ms(20))).unwrap();
    let monitor = push.monitor().unwrap();
    push.connect("tcp://192.0.2.1:5555").unwrap();
    for words in [&[][..], &[5], &[5, 0]] {
        let mut client = accept(&listener);
        client.write_all(words).unwrap();
        await_event(&monitor, EventKind::ConnectRetried);
    }
}

#[test]
fn disconnecting_ends_a_dialogue_with_a_proxy() {
    let context = TestContext::new();
    let (listener, address) = proxy();
    let push = context.socket(SocketType::Push);
    push.set_socks_proxy(address).unwrap();
    push.connect("tcp://192.0.2.1:5555").unwrap();
    let mut client = accept(&listener);
    assert_eq!(read(&mut client), [5, 1, 0]);
    push.disconnect("tcp://192.0.2.1:5555").unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn what_is_no_proxy_is_told_when_connecting_and_concerns_tcp_alone() {
    let context = TestContext::new();
    let push = context.socket(SocketType::Push);
    for bad in ["nonsense", "host:", "*:1080", "host:70000", ":"] {
        push.set_socks_proxy(bad.to_owned()).unwrap();
        assert_kind(push.connect("tcp://127.0.0.1:1"), ErrorKind::InvalidEndpoint);
        assert_eq!(push.stats().peers, 0, "nothing half-done is left");
    }
    let pull = context.socket(SocketType::Pull);
    push.connect(&pull.bind("ipc://*").unwrap()).unwrap();
    push.connect(&pull.bind(&Transport::Inproc.wildcard()).unwrap()).unwrap();
    assert_eq!(push.wait_for_peers(2, Some(PATIENCE)).unwrap(), 2);
    push.set_socks_proxy("127.0.0.1:1080".to_owned()).unwrap();
    assert_kind(push.connect(&format!("tcp://{}:1", "a".repeat(256))), ErrorKind::NameTooLong);
    assert_kind(push.set_socks_credentials(&"a".repeat(256), ""), ErrorKind::InvalidArgument);
}
