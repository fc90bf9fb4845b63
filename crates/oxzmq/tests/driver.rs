//! Connections that are driven by an event loop of their owner's, and messages that gather until they are flushed.

mod common;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use common::*;
use oxzmq::{Driver, ErrorKind, Socket, SocketType};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Waits as an event loop does.
fn await_ready(driver: &Driver) {
    let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&driver.as_fd(), PollFlags::IN)], Some(&minute)).unwrap(), 1);
}

/// Messages sent and not yet taken by the connection.
fn queued(socket: &Socket) -> usize {
    socket.queue_depths().iter().map(|&(to, _)| to).sum()
}

#[test]
fn a_driven_socket_receives_what_its_owner_reads() {
    let _watchdog = Watchdog::start();
    let context = TestContext::new();
    for transport in NETWORKS {
        let (near, far) = context.pair(transport, SocketType::Dealer, SocketType::Dealer);
        let driver = Driver::new(&near).unwrap();
        for n in 0..100 {
            send(&far, format!("{n}"));
            let message = loop {
                await_ready(&driver);
                while driver.drive() {}
                match near.try_recv() {
                    Ok(message) => break message,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            };
            assert_eq!(message.to_text_lossy(), n.to_string());
            near.try_send(message).unwrap();
            assert_eq!(recv_text(&far), [n.to_string()]);
        }
        assert_eq!(Driver::new(&near).err().unwrap().kind(), ErrorKind::InvalidState, "there is one already");
        drop(driver);
        send(&far, "later");
        assert_eq!(recv_text(&near), ["later"], "the I/O thread has them back");
    }
}

#[test]
fn what_is_driven_needs_connections_to_drive() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Pull);
    assert_eq!(Driver::new(&socket).err().unwrap().kind(), ErrorKind::InvalidState);
}

#[test]
fn messages_gather_until_they_are_flushed() {
    let _watchdog = Watchdog::start();
    let context = TestContext::new();
    for transport in NETWORKS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        push.set_gathering(true);
        let mut early = 0;
        for _ in 0..4 {
            (0..5).for_each(|n| send(&push, format!("{n}")));
            early += u32::from(queued(&push) < 5);
            push.flush();
            (0..5).for_each(|n| assert_eq!(recv_text(&pull), [n.to_string()]));
        }
        // A connection that is made writes once what there is, and may still be about to.
        assert!(early <= 1, "written {early} times of 4 before it was flushed");
        send(&push, "last");
        push.set_gathering(false);
        assert_eq!(recv_text(&pull), ["last"]);
        send(&push, "at once");
        assert_eq!(recv_text(&pull), ["at once"]);
    }
}

#[test]
fn what_has_gathered_is_written_before_its_sender_waits_and_when_it_is_much() {
    let _watchdog = Watchdog::start();
    let context = TestContext::new();
    let (near, far) = context.pair(Transport::Tcp, SocketType::Dealer, SocketType::Dealer);
    near.set_gathering(true);
    send(&near, "question");
    assert!(near.recv_deadline(Instant::now() + Duration::from_millis(1)).is_err());
    assert_eq!(recv_text(&far), ["question"]);
    send(&near, "small");
    send(&near, vec![0; 200 * 1024]);
    assert_eq!(recv_text(&far), ["small"]);
    assert_eq!(far.recv().unwrap().into_bytes().len(), 200 * 1024);
    // What is left when the socket is closed lingers as ever.
    send(&near, "good-bye");
    drop(near);
    assert_eq!(recv_text(&far), ["good-bye"]);
}
