//! No descriptors are left: at accept, at connect, for a new socket's own. In a file, and so a process, of its own,
//! because the limit is the process's; one test, so that nobody else needs any meanwhile.

mod common;

use std::thread;

use common::*;
use oxzmq::{ErrorKind, EventFd, EventKind, Message, Poller, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{SockAddr, Socket, Type};

const EMFILE: u32 = 24;

/// As long as it lives no descriptor can be made: those below the limit are in use.
struct NoneLeft(Rlimit);

impl NoneLeft {
    fn from_here_on() -> Self {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
        assert_eq!(std::fs::File::open("/dev/null").unwrap_err().raw_os_error(), Some(EMFILE as i32));
        Self(before)
    }
}

impl Drop for NoneLeft {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

#[test]
fn without_descriptors_calls_fail_and_later_all_goes_on() {
    let _watchdog = Watchdog::start();
    accepting();
    connecting();
    making();
}

fn accepting() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (pull, good) = context.pair(transport, SocketType::Pull, SocketType::Push);
        let endpoint = pull.last_endpoint();
        let place: SockAddr = match endpoint.strip_prefix("ipc://") {
            Some(path) => SockAddr::unix(path).unwrap(),
            None => SockAddr::from(address(&endpoint)),
        };
        let newcomers: Vec<_> = (0..5).map(|_| Socket::new(place.domain(), Type::STREAM, None).unwrap()).collect();
        let monitor = pull.monitor().unwrap();
        let none_left = NoneLeft::from_here_on();
        // The kernel accepts them, whoever takes them then.
        newcomers.iter().for_each(|newcomer| newcomer.connect(&place).unwrap());
        for n in 0..3 {
            let event = await_event(&monitor, EventKind::AcceptFailed);
            assert_eq!((event.value, &event.endpoint), (EMFILE, &endpoint), "and it is tried again, {transport:?}");
            send(&good, format!("{n}"));
            assert_eq!(recv_text(&pull), [format!("{n}")], "those that are connected are served");
        }
        drop(none_left);
        (0..newcomers.len()).for_each(|_| drop(await_event(&monitor, EventKind::Accepted)));
        let newcomer = context.connected(SocketType::Push, &endpoint);
        send(&newcomer, "a newcomer's");
        assert_eq!(recv_text(&pull), ["a newcomer's"]);
    }
}

fn connecting() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        let endpoint = pull.bind(&transport.wildcard()).unwrap();
        // It has what it needs for itself, but for connections.
        push.bind(&transport.wildcard()).unwrap();
        let monitor = push.monitor().unwrap();
        let none_left = NoneLeft::from_here_on();
        push.connect(&endpoint).unwrap();
        (0..3).for_each(|_| drop(await_event(&monitor, EventKind::ConnectRetried)));
        drop(none_left);
        send(&push, "at last");
        assert_eq!(recv_text(&pull), ["at last"], "{transport:?}");
    }
}

fn making() {
    let context = TestContext::new();
    let (bound, _endpoint) = context.bound(SocketType::Pull);
    let none_left = NoneLeft::from_here_on();
    let socket = context.socket(SocketType::Pull);
    for transport in NETWORKS {
        let place = transport.wildcard();
        assert_kind(socket.bind(&place), ErrorKind::TooManySockets);
        assert_kind(bound.bind(&place), ErrorKind::TooManySockets);
    }
    assert_kind(socket.connect("tcp://127.0.0.1:9"), ErrorKind::TooManySockets);
    assert_kind(EventFd::new(&socket).map(drop), ErrorKind::TooManySockets);
    let (one, other) = context.inproc_pair(SocketType::Pull, SocketType::Push);
    let mut poller = Poller::new();
    poller.add(&one, oxzmq::Interest::READABLE, 0);
    assert_kind(poller.wait(Some(ms(1))), ErrorKind::TooManySockets);
    // Threads need none, and inproc neither.
    thread::scope(|scope| {
        scope.spawn(|| send(&other, "x"));
        assert_eq!(recv(&one), Message::from("x"));
    });
    let fresh = TestContext::new();
    assert_kind(fresh.socket(SocketType::Pull).bind("tcp://127.0.0.1:*"), ErrorKind::TooManySockets);
    drop(none_left);
    for socket in [socket, fresh.socket(SocketType::Pull)] {
        let endpoint = socket.bind("tcp://127.0.0.1:*").unwrap();
        EventFd::new(&socket).unwrap();
        let push = context.connected(SocketType::Push, &endpoint);
        send(&push, "again");
        assert_eq!(recv_text(&socket), ["again"]);
    }
    send(&other, "y");
    assert_eq!(poller.wait(Some(PATIENCE)).unwrap().len(), 1);
}
