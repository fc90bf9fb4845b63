//! What closed sockets, lost connections and finished waits leave behind: nothing. In a file, and so a
//! process, of its own, because it counts the process's descriptors and threads; one test, so that nobody
//! else makes any meanwhile.

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use common::*;
use oxzmq::{Interest, Message, Poller, SocketType, proxy};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Runs `body` until its second run in a row leaves the numbers where the first left them.
fn leaves_nothing(what: &str, mut body: impl FnMut()) {
    body(); // whatever is made once and kept
    let before = (descriptors(), threads());
    for _ in 0..3 {
        body();
    }
    let mut now = before;
    let deadline = soon();
    while std::time::Instant::now() < deadline {
        now = (descriptors(), threads());
        if now.0 <= before.0 && now.1 <= before.1 {
            return;
        }
        thread::yield_now();
    }
    panic!("{what}: (descriptors, threads) grew from {before:?} to {now:?}");
}

#[test]
fn nothing_is_left_behind() {
    let _watchdog = Watchdog::start();
    closed_sockets();
    contexts();
    lost_connections();
    pollers();
    proxies();
}

fn closed_sockets() {
    let context = TestContext::new();
    use SocketType::{Dealer, Pair, Pub, Pull, Push, Rep, Req, Router, Stream, Sub, Xpub, Xsub};
    for (bound, connected) in [
        (Pull, Push),
        (Push, Pull),
        (Router, Dealer),
        (Dealer, Router),
        (Rep, Req),
        (Pair, Pair),
        (Pub, Sub),
        (Sub, Pub),
        (Xpub, Xsub),
    ] {
        for transport in TRANSPORTS {
            leaves_nothing(&format!("{bound} and {connected} over {transport:?}"), || {
                for _ in 0..5 {
                    let (one, other) = context.pair(transport, bound, connected);
                    // Left unread, some of it.
                    let _ = one.try_send("unread");
                    let _ = other.try_send("unread");
                }
            });
        }
    }
    leaves_nothing("STREAM", || {
        let (_stream, endpoint) = context.bound(Stream);
        let mut client = raw_client(&endpoint);
        client.write_all(b"unread").unwrap();
        recv(&_stream);
    });
    leaves_nothing("sockets that never found a peer", || {
        let place = Place::new(Transport::Tcp);
        let push = context.connected(Push, place.endpoint());
        push.send("undeliverable").unwrap();
    });
}

fn contexts() {
    leaves_nothing("contexts", || {
        let context = TestContext::new();
        let (pull, push) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
        push.send("x").unwrap();
        recv(&pull);
        drop((pull, push));
        context.term();
    });
    leaves_nothing("contexts dropped before their sockets", || {
        let context = TestContext::new();
        let (_pull, push) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
        push.send("x").unwrap();
        drop(context);
    });
}

fn lost_connections() {
    let context = TestContext::new();
    for socket_type in [SocketType::Router, SocketType::Pull, SocketType::Pub, SocketType::Pair, SocketType::Stream] {
        let (socket, endpoint) = context.bound(socket_type);
        leaves_nothing(&format!("connections to {socket_type} that come and go"), || {
            for n in 0..50 {
                let mut client = TcpStream::connect(address(&endpoint)).unwrap();
                client.write_all(&b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL and no more"[..n % 20]).unwrap();
            }
            until("connections are gone", || {
                drain(&socket);
                socket.stats().peers == 0
            });
        });
    }
}

fn pollers() {
    let context = TestContext::new();
    let (pull, push) = context.inproc_pair(SocketType::Pull, SocketType::Push);
    leaves_nothing("pollers that waited in vain", || {
        for _ in 0..20 {
            let mut poller = Poller::new();
            poller.add(&pull, Interest::READABLE, 0);
            assert!(poller.wait(Some(ms(1))).unwrap().is_empty());
        }
    });
    drop(push);
}

fn proxies() {
    let context = TestContext::new();
    let (pull, push) = context.inproc_pair(SocketType::Pull, SocketType::Push);
    let (sink, source) = context.inproc_pair(SocketType::Pull, SocketType::Push);
    thread::scope(|scope| {
        let without = descriptors();
        scope.spawn(|| proxy(&pull, &source, None).unwrap_err());
        // It makes its one descriptor when it first waits.
        until("the proxy waits", || descriptors() > without);
        leaves_nothing("a proxy's waits", || {
            for n in 0..50 {
                push.send(n.to_string()).unwrap();
                assert_eq!(recv(&sink), Message::from(n.to_string()));
            }
        });
        context.shutdown();
    });
}
