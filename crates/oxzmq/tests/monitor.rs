//! Events: which, and in which order.

mod common;

use std::future::Future;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use common::*;
use futures_core::Stream;
use oxzmq::{ErrorKind, EventKind, EventKind::*, Message, Monitor, Socket, SocketType};

/// The kinds of the next events.
fn kinds(monitor: &Monitor, count: usize) -> Vec<EventKind> {
    (0..count).map(|_| monitor.recv_deadline(soon()).expect("an event").kind).collect()
}

fn all_kinds_until_stopped(monitor: &Monitor) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    while kinds.last() != Some(&Stopped) {
        kinds.push(monitor.recv_deadline(soon()).expect("an event").kind);
    }
    kinds
}

#[test]
fn a_connection_that_works_and_then_the_client_leaves() {
    let context = TestContext::new();
    for (transport, client_events) in [
        (Transport::Tcp, &[ConnectDelayed, Connected, HandshakeSucceeded][..]),
        (Transport::Ws, &[ConnectDelayed, Connected, HandshakeSucceeded]),
        (Transport::Ipc, &[Connected, HandshakeSucceeded]),
    ] {
        let (server, client) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        let (at_server, at_client) = (server.monitor().unwrap(), client.monitor().unwrap());
        let endpoint = server.bind(&transport.wildcard()).unwrap();
        client.connect(&endpoint).unwrap();
        assert_eq!(kinds(&at_server, 3), [Listening, Accepted, HandshakeSucceeded]);
        assert_eq!(kinds(&at_client, client_events.len()), client_events);
        drop(client);
        assert_eq!(kinds(&at_server, 1), [Disconnected]);
        assert_eq!(kinds(&at_client, 1), [Stopped], "what this end closes itself is no news");
    }
}

#[test]
fn the_server_leaves() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (server, client) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        let endpoint = transport.join(&server, &client);
        let (at_server, at_client) = (server.monitor().unwrap(), client.monitor().unwrap());
        drop(server);
        assert_eq!(kinds(&at_server, 2), [Closed, Stopped]);
        let again = match transport {
            Transport::Tcp | Transport::Ws => vec![ConnectDelayed, Closed, ConnectRetried],
            _ => vec![Closed, ConnectRetried],
        };
        assert_eq!(kinds(&at_client, 2), [Disconnected, ConnectRetried]);
        assert_eq!(kinds(&at_client, again.len()), again);
        drop(endpoint);
    }
}

#[test]
fn a_bind_that_fails() {
    let context = TestContext::new();
    let (_holder, endpoint) = context.bound(SocketType::Pull);
    let socket = context.socket(SocketType::Pull);
    let monitor = socket.monitor().unwrap();
    socket.bind(&endpoint).unwrap_err();
    assert_eq!(kinds(&monitor, 1), [Closed], "what was made for it");
    let event = monitor.recv_deadline(soon()).unwrap();
    assert_eq!((event.kind, event.value, event.endpoint), (BindFailed, 98, endpoint)); // EADDRINUSE
}

#[test]
fn unbinding_and_disconnecting() {
    let context = TestContext::new();
    let (server, client) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
    let endpoint = server.last_endpoint();
    let (at_server, at_client) = (server.monitor().unwrap(), client.monitor().unwrap());
    server.unbind(&endpoint).unwrap();
    assert_eq!(kinds(&at_server, 1), [Closed]);
    assert_eq!(kinds(&at_client, 2), [Disconnected, ConnectRetried]);
    drop((server, client));

    let (server, client) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
    let (at_server, at_client) = (server.monitor().unwrap(), client.monitor().unwrap());
    client.disconnect(&server.last_endpoint()).unwrap();
    assert_eq!(kinds(&at_server, 1), [Disconnected]);
    assert!(at_client.recv_deadline(Instant::now() + A_WHILE).is_err());
}

#[test]
fn a_peer_that_closes_during_the_handshake() {
    let context = TestContext::new();
    let (server, endpoint) = context.bound(SocketType::Pull);
    let monitor = server.monitor().unwrap();
    drop(raw_client(&endpoint));
    assert_eq!(kinds(&monitor, 3), [Accepted, HandshakeFailed, Disconnected]);
}

#[test]
fn a_server_that_closes_during_the_handshake_is_tried_again() {
    let context = TestContext::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = context.socket(SocketType::Push);
    let monitor = client.monitor().unwrap();
    client.connect(&format!("tcp://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener.accept().unwrap());
    assert_eq!(kinds(&monitor, 5), [ConnectDelayed, Connected, HandshakeFailed, Disconnected, ConnectRetried]);
}

#[test]
fn events_name_their_endpoint_and_peer() {
    let context = TestContext::new();
    let (server, client) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    let monitor = server.monitor().unwrap();
    let endpoint = server.bind("tcp://127.0.0.1:*").unwrap();
    client.connect(&endpoint).unwrap();
    assert_eq!(await_event(&monitor, Listening).endpoint, endpoint);
    let accepted = await_event(&monitor, Accepted);
    assert_eq!(accepted.endpoint, endpoint);
    assert!(accepted.peer.starts_with("tcp://127.0.0.1:"), "{}", accepted.peer);
}

#[test]
fn a_second_monitor_ends_the_first() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Pull);
    let first = socket.monitor().unwrap();
    let second = socket.monitor().unwrap();
    socket.bind("tcp://127.0.0.1:*").unwrap();
    assert_eq!(kinds(&first, 1), [Stopped]);
    assert_eq!(kinds(&second, 1), [Listening]);
}

#[test]
fn nothing_follows_the_end() {
    let context = TestContext::new();
    let (server, client) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
    let monitor = server.monitor().unwrap();
    context.shutdown();
    drop((server, client));
    assert_eq!(all_kinds_until_stopped(&monitor), [Stopped]);
    context.term();
    assert!(monitor.try_recv().is_err());
}

#[test]
fn inproc_has_no_events() {
    let context = TestContext::new();
    let (server, client) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    let monitors = [server.monitor().unwrap(), client.monitor().unwrap()];
    client.connect(&server.bind("inproc://quiet").unwrap()).unwrap();
    drop((server, client));
    monitors.iter().for_each(|monitor| assert_eq!(kinds(monitor, 1), [Stopped]));
}

#[test]
fn a_monitor_that_nobody_reads_blocks_nothing() {
    let context = TestContext::new();
    let (server, endpoint) = context.bound(SocketType::Pull);
    let monitor = server.monitor().unwrap();
    // Three events for each; more than the monitor keeps.
    let connections = oxzmq::MONITOR_CAPACITY / 3 + 50;
    for n in 0..connections {
        drop(std::net::TcpStream::connect(address(&endpoint)).unwrap());
        if n % 64 == 0 {
            // Not faster than they are accepted, or the backlog is full and each connect takes a second.
            let push = context.connected(SocketType::Push, &endpoint);
            send(&push, "x");
            assert_eq!(recv(&server), Message::from("x"));
        }
    }
    until("events are dropped", || monitor.dropped() > 0);
    drop(server);
    context.term();
    assert_eq!(all_kinds_until_stopped(&monitor).len(), oxzmq::MONITOR_CAPACITY + 1);
}

#[test]
fn a_task_can_wait_for_events() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Pull);
    let monitor = socket.monitor().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(monitor.recv_async()).unwrap().kind);
        socket.bind("tcp://127.0.0.1:*").unwrap();
        assert_eq!(waiting.join().unwrap(), Listening);
    });
}

#[test]
fn after_the_last_event_there_is_none_to_wait_for() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Pull);
    let (first, second) = (socket.monitor().unwrap(), socket.monitor().unwrap());
    assert_eq!(first.recv().unwrap().kind, Stopped, "a socket has one monitor");
    assert_kind(first.recv(), ErrorKind::Closed);
    assert_kind(second.try_recv(), ErrorKind::WouldBlock);
    let waiting = std::thread::spawn(move || {
        let last = second.recv().unwrap().kind;
        (last, second)
    });
    context.shutdown();
    let (last, second) = waiting.join().unwrap();
    assert_eq!(last, Stopped);
    assert_kind(second.recv(), ErrorKind::Closed);
    assert_kind(second.try_recv(), ErrorKind::Closed);
    assert_kind(second.recv_deadline(soon()), ErrorKind::Closed);
    assert_kind(block_on(second.recv_async()), ErrorKind::Closed);
}

#[test]
fn events_of_connections_and_listeners_bear_their_descriptors() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (server, client) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        let (at_server, at_client) = (server.monitor().unwrap(), client.monitor().unwrap());
        transport.join(&server, &client);
        // Joining has monitors of its own.
        let (at_server, at_client) = (
            server.monitor().map(|monitor| (at_server, monitor)).unwrap(),
            client.monitor().map(|monitor| (at_client, monitor)).unwrap(),
        );
        drop(server);
        assert_ne!(await_event(&at_server.1, Closed).value, 0);
        assert_ne!(await_event(&at_client.1, Disconnected).value, 0);
    }
    let (server, client) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    let (at_server, at_client) = (server.monitor().unwrap(), client.monitor().unwrap());
    client.connect(&server.bind("tcp://127.0.0.1:*").unwrap()).unwrap();
    let [listening, accepted] = [Listening, Accepted].map(|kind| await_event(&at_server, kind).value);
    let connected = await_event(&at_client, Connected).value;
    assert!(listening != 0 && accepted != 0 && connected != 0);
    assert!(listening != accepted && accepted != connected && connected != listening);
    drop(client);
    assert_eq!(await_event(&at_server, Disconnected).value, accepted);
}

#[test]
fn a_connection_attempt_that_takes_too_long_is_closed_and_tried_again() {
    use socket2::{Domain, Socket, Type};
    let context = TestContext::new();
    // A listener that accepts nothing: once its backlog is full, connecting takes until its time is over.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _fills_it = std::net::TcpStream::connect(address).unwrap();
    let client = context.socket(SocketType::Push);
    client.set_connect_timeout(Some(ms(20))).unwrap();
    let monitor = client.monitor().unwrap();
    client.connect(&format!("tcp://{address}")).unwrap();
    for _ in 0..2 {
        assert_eq!(kinds(&monitor, 3), [ConnectDelayed, Closed, ConnectRetried]);
    }
}

#[test]
fn until_its_handshake_is_over_a_peer_is_not_there() {
    let context = TestContext::new();
    let (push, endpoint) = context.bound(SocketType::Push);
    let monitor = push.monitor().unwrap();
    let _client = raw_client(&endpoint);
    await_event(&monitor, Accepted);
    assert_eq!(push.stats().peers, 0);
    assert_kind(push.try_send("x"), ErrorKind::WouldBlock);
    assert!(!push.readiness().unwrap().writable());
}

/// A waker that does its work at once, in the middle of what raised the event, as executors may.
struct AtOnce<F>(F);

impl<F: Fn() + Send + Sync> Wake for AtOnce<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

#[test]
fn whoever_an_event_wakes_may_use_the_socket_at_once_and_close_it() {
    let context = TestContext::new();
    let close: fn(&Socket) = |socket| socket.close();
    let replace: fn(&Socket) = |socket| drop(socket.monitor().unwrap());
    let bind: fn(&Socket) = |socket| drop(socket.bind("tcp://127.0.0.1:*").unwrap());
    for work in [close, replace, bind] {
        let (socket, endpoint) = context.bound(SocketType::Pull);
        let socket = Arc::new(socket);
        let monitor = socket.monitor().unwrap();
        let (done, is_done) = mpsc::channel();
        let waker = Waker::from(Arc::new(AtOnce(move || {
            work(&socket);
            done.send(()).unwrap();
        })));
        let mut waiting = pin!(monitor.recv_async());
        assert!(waiting.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        let _client = raw_client(&endpoint);
        is_done.recv_timeout(PATIENCE).expect("the I/O thread goes on");
    }
}

#[test]
fn all_who_wait_for_events_learn_of_the_end() {
    let context = TestContext::new();
    let (socket, endpoint) = context.bound(SocketType::Pull);
    let monitor = socket.monitor().unwrap();
    let tasks = [(); 2].map(|()| Arc::new(CountWakes::default()));
    let mut waiting = [(); 2].map(|()| Box::pin(monitor.recv_async()));
    for (task, waits) in tasks.iter().zip(&mut waiting) {
        assert!(poll_once(waits.as_mut(), task).is_pending());
    }
    thread::scope(|scope| {
        let (read, is_read) = mpsc::channel();
        for _ in 0..4 {
            let read = read.clone();
            let monitor = &monitor;
            scope.spawn(move || while monitor.recv().is_ok_and(|event| read.send(event.kind).is_ok()) {});
        }
        // All have begun to wait by then, or nearly so.
        let _client = raw_client(&endpoint);
        assert_eq!(is_read.recv_timeout(PATIENCE).unwrap(), Accepted);
        drop(socket);
    });
    for (task, waits) in tasks.iter().zip(&mut waiting) {
        until("the first event has woken it", || task.count() == 1);
        assert!(
            matches!(poll_once(waits.as_mut(), task), Poll::Ready(Err(error)) if error.kind() == ErrorKind::Closed)
        );
    }
}

#[test]
fn who_gives_up_waiting_for_an_event_leaves_nothing_behind() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Pull);
    let monitor = socket.monitor().unwrap();
    let (wakes, other) = (Arc::default(), Arc::default());
    for _ in 0..3 {
        let (mut given_up, mut moved) = (pin!(monitor.recv_async()), pin!(monitor.recv_async()));
        assert!(poll_once(given_up.as_mut(), &wakes).is_pending());
        assert!(poll_once(moved.as_mut(), &wakes).is_pending());
        assert!(poll_once(moved.as_mut(), &other).is_pending(), "another task goes on waiting");
    }
    assert_eq!((Arc::strong_count(&wakes), Arc::strong_count(&other)), (1, 1), "nobody keeps the wakers");
    socket.bind("tcp://127.0.0.1:*").unwrap();
    assert_eq!((wakes.count(), other.count()), (0, 0));
    assert_eq!(kinds(&monitor, 1), [Listening]);
}

#[test]
fn events_are_a_stream_that_ends_after_the_last_one() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Pull);
    let monitor = socket.monitor().unwrap();
    let mut events = monitor.stream();
    let mut next = || block_on(std::future::poll_fn(|cx| std::pin::Pin::new(&mut events).poll_next(cx)));
    thread::scope(|scope| {
        let reader = scope.spawn(move || std::iter::from_fn(|| next().map(|event| event.kind)).collect::<Vec<_>>());
        let endpoint = socket.bind("tcp://127.0.0.1:*").unwrap();
        socket.unbind(&endpoint).unwrap();
        drop(socket);
        assert_eq!(reader.join().unwrap(), [Listening, Closed, Stopped]);
    });
    let wakes = Arc::default();
    let mut late = pin!(monitor.recv_async());
    assert!(poll_once(late.as_mut(), &wakes).is_ready());
}
