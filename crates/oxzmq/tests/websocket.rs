//! `ws://`: what it has beyond the other transports. Patterns over it are in `matrix.rs`, hostile peers in
//! `hostile_websocket.rs`, libzmq in `interop_*.rs`.

mod common;
mod raw;

use common::*;
use oxzmq::{ErrorKind, EventKind, Message, SocketType};
use raw::websocket::*;

#[test]
fn a_path_is_always_there_and_need_not_be_the_same() {
    let context = TestContext::new();
    for (bound, connected) in [("", ""), ("/", "/other"), ("/a", ""), ("/a/b?c=d", "/e%20f")] {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        let endpoint = pull.bind(&format!("ws://127.0.0.1:*{bound}")).unwrap();
        assert_eq!(pull.last_endpoint(), endpoint);
        let (address, path) = endpoint["ws://".len()..].split_once('/').unwrap();
        assert_eq!(format!("/{path}"), if bound.is_empty() { "/" } else { bound });
        push.connect(&format!("ws://{address}{connected}")).unwrap();
        let connected = if connected.is_empty() { "/" } else { connected };
        assert_eq!(push.last_endpoint(), format!("ws://{address}{connected}"));
        send(&push, "hello");
        assert_eq!(recv_text(&pull), ["hello"]);
    }
}

#[test]
fn an_endpoint_is_left_by_any_of_its_names() {
    let context = TestContext::new();
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    let endpoint = pull.bind("ws://127.0.0.1:*/x").unwrap();
    pull.unbind(&endpoint.replace("127.0.0.1", "localhost")).unwrap();
    assert_kind(pull.unbind(&endpoint), ErrorKind::NotFound);
    let written = "ws://127.0.0.1:9";
    for name in [written, "ws://127.0.0.1:9/"] {
        push.connect(written).unwrap();
        push.disconnect(name).unwrap();
        assert_kind(push.disconnect(name), ErrorKind::NotFound);
    }
}

#[test]
fn errors_are_those_of_tcp() {
    let context = TestContext::new();
    let (pull, other) = (context.socket(SocketType::Pull), context.socket(SocketType::Pull));
    let endpoint = pull.bind("ws://127.0.0.1:*").unwrap();
    assert_kind(other.bind(&endpoint), ErrorKind::AddressInUse);
    assert_kind(other.bind("ws://nonexistent0:*"), ErrorKind::NoDevice);
    assert_kind(other.bind("ws://127.0.0.1"), ErrorKind::InvalidEndpoint);
    assert_kind(other.connect("ws://*:1/"), ErrorKind::InvalidEndpoint);
    assert_kind(other.connect("ws://127.0.0.1:1/a b"), ErrorKind::InvalidEndpoint);
    let stream = context.socket(SocketType::Stream);
    assert_kind(stream.bind("ws://127.0.0.1:*"), ErrorKind::IncompatibleTransport);
    assert_kind(stream.connect(&endpoint), ErrorKind::IncompatibleTransport);
}

/// IPv6, and a name that has to be looked up: both stand in the request.
#[test]
fn hosts_of_every_kind_stand_in_the_request() {
    let context = TestContext::new();
    for (address, host) in [("127.0.0.1", "localhost"), ("[::1]", "[::1]")] {
        let Ok(listener) = std::net::TcpListener::bind(format!("{address}:0")) else { continue };
        let push = context.socket(SocketType::Push);
        push.set_ipv6(address != "127.0.0.1").unwrap();
        push.connect(&format!("ws://{host}:{}/p", listener.local_addr().unwrap().port())).unwrap();
        let request = read_head(&mut listener.accept().unwrap().0);
        let start = format!("GET /p HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
        assert!(request.starts_with(&start), "{request}");
    }
}

/// What a page in a browser would do, octet by octet.
#[test]
fn a_browser_can_be_a_dealer() {
    let context = TestContext::new();
    let router = context.socket(SocketType::Router);
    let monitor = router.monitor().unwrap();
    let endpoint = router.bind("ws://127.0.0.1:*/chat").unwrap();
    let mut browser = Raw::peer(&endpoint, "DEALER");
    await_event(&monitor, EventKind::HandshakeSucceeded);
    browser.send(BINARY, b"\x01two");
    browser.send(PING, b"between");
    browser.send(BINARY, b"\0frames");
    let mut message = recv(&router);
    let id = message.pop_front().unwrap();
    assert_eq!(text(&message), ["two", "frames"]);
    assert_eq!(message.properties().unwrap().get_str("Peer-Address"), Some("127.0.0.1"));
    assert_eq!(browser.recv(), (PONG, b"between".to_vec()));

    send(&router, [id.clone(), "short".into(), vec![b'x'; 300].into(), vec![b'y'; 100_000].into()]);
    assert_eq!(browser.recv(), (BINARY, b"\x01short".to_vec()));
    assert_eq!(browser.recv(), (BINARY, [b"\x01", &[b'x'; 300][..]].concat()));
    assert_eq!(browser.recv(), (BINARY, [b"\0", &[b'y'; 100_000][..]].concat()));
    browser.send(BINARY, &[b"\0", &[b'z'; 100_000][..]].concat());
    assert_eq!(recv(&router), Message::from([id, vec![b'z'; 100_000].into()]));

    // It leaves as browsers do, and gets the answer that lets it end well.
    browser.send(BINARY, b"\0last words");
    browser.send(CLOSE, b"\x03\xe8bye");
    assert_eq!(recv(&router)[1], "last words");
    assert_eq!(browser.recv(), (CLOSE, b"\x03\xe8bye".to_vec()));
    assert!(browser.is_closed());
    assert_eq!(await_event(&monitor, EventKind::Disconnected).reason, "closed by the peer");
}

/// ZWS2.0 without a mechanism: routing ids first, and no commands at all.
#[test]
fn a_client_without_a_mechanism_is_served_unless_it_is_not_wanted() {
    let context = TestContext::new();
    let router = context.socket(SocketType::Router);
    // Who has no heartbeats is not asked for them, nor left for silence.
    router.set_heartbeat_interval(Some(ms(10))).unwrap();
    let endpoint = router.bind("ws://127.0.0.1:*").unwrap();
    let (mut client, chosen) = Raw::upgraded(&endpoint, "chat, ZWS2.0");
    assert_eq!(chosen, "ZWS2.0");
    assert_eq!(client.recv(), (BINARY, b"\0".to_vec()));
    client.send(BINARY, b"\0cli");
    client.send(BINARY, b"\0hello");
    assert_eq!(recv_text(&router), ["cli", "hello"]);
    assert_silent(&router);
    send(&router, ["cli", "answer"]);
    assert_eq!(client.recv(), (BINARY, b"\0answer".to_vec()));

    router.set_accept_legacy(false).unwrap();
    let monitor = router.monitor().unwrap();
    let endpoint = router.bind("ws://127.0.0.1:*").unwrap();
    let mut client = raw_client(&endpoint);
    std::io::Write::write_all(&mut client, &request("ZWS2.0")).unwrap();
    await_event(&monitor, EventKind::HandshakeFailedProtocol);
}

/// Pings every ten milliseconds; who answers stays, who does not is left after the timeout.
#[test]
fn heartbeats_are_websocket_s_own() {
    let context = TestContext::new();
    let pull = context.socket(SocketType::Pull);
    pull.set_heartbeat_interval(Some(ms(10))).unwrap();
    pull.set_heartbeat_timeout(Some(ms(300))).unwrap();
    let monitor = pull.monitor().unwrap();
    let endpoint = pull.bind("ws://127.0.0.1:*").unwrap();
    let mut client = Raw::peer(&endpoint, "PUSH");
    for _ in 0..5 {
        assert_eq!(client.recv(), (PING, Vec::new()));
        client.send(PONG, b"");
    }
    client.send(BINARY, b"\0alive");
    assert_eq!(recv_text(&pull), ["alive"]);
    // From here on it says nothing.
    let event = await_event(&monitor, EventKind::Disconnected);
    assert!(event.reason.contains("heartbeat"), "{}", event.reason);
    assert!(client.is_closed());
}

/// Both ends with heartbeats, and nothing else to say for many intervals.
#[test]
fn an_idle_connection_with_heartbeats_stays() {
    let context = TestContext::new();
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    for socket in [&pull, &push] {
        socket.set_heartbeat_interval(Some(ms(5))).unwrap();
        socket.set_heartbeat_timeout(Some(ms(2000))).unwrap();
    }
    Transport::Ws.join(&pull, &push);
    let monitor = pull.monitor().unwrap();
    let octets = || pull.peers()[0].octets_in;
    let before = octets();
    until("ten pings and pongs have come", || octets() >= before + 20 * 6);
    send(&push, "still here");
    assert_eq!(recv_text(&pull), ["still here"]);
    assert_kind(monitor.try_recv(), ErrorKind::WouldBlock);
}

/// A text that is a request elsewhere is refused here, and a WebSocket elsewhere.
#[test]
fn tcp_and_websocket_do_not_mix() {
    let context = TestContext::new();
    for (bound, connected) in [(Transport::Ws, "tcp"), (Transport::Tcp, "ws")] {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        pull.set_accept_legacy(false).unwrap();
        let monitor = pull.monitor().unwrap();
        let endpoint = pull.bind(&bound.wildcard()).unwrap();
        push.connect(&format!("{connected}://{}", address(&endpoint))).unwrap();
        await_event(&monitor, EventKind::HandshakeFailedProtocol);
    }
}
