//! Who is read next and who gets the next message: fair queueing and load balancing.

mod common;
mod raw;

use std::collections::HashMap;
use std::io::{Read, Write};

use common::*;
use oxzmq::{ErrorKind, Message, Socket, SocketType};

fn several(context: &TestContext, socket_type: SocketType, endpoint: &str) -> [Socket; 3] {
    [(), (), ()].map(|()| context.connected(socket_type, endpoint))
}

fn inproc_bound(context: &TestContext, socket_type: SocketType) -> (Socket, String) {
    let socket = context.socket(socket_type);
    let endpoint = socket.bind(&Transport::Inproc.wildcard()).unwrap();
    (socket, endpoint)
}

#[test]
fn senders_are_read_in_turn_one_message_each() {
    let context = TestContext::new();
    for (reader, writer) in [
        (SocketType::Pull, SocketType::Push),
        (SocketType::Dealer, SocketType::Dealer),
        (SocketType::Router, SocketType::Dealer),
        (SocketType::Sub, SocketType::Pub),
    ] {
        let (reader, endpoint) = inproc_bound(&context, reader);
        if reader.socket_type() == SocketType::Sub {
            reader.subscribe("").unwrap();
        }
        let writers = several(&context, writer, &endpoint);
        for (writer, name) in writers.iter().zip(["1", "2", "3"]) {
            ["a", "b", "c"].into_iter().for_each(|n| writer.send([name, n]).unwrap());
        }
        let read: Vec<_> = (0..9).map(|_| recv(&reader).into_frames().rev().take(2).collect::<Vec<_>>()).collect();
        let read: Vec<_> =
            read.iter().map(|frames| format!("{}{}", frames[1].escape_ascii(), frames[0].escape_ascii())).collect();
        assert_eq!(read, ["1a", "2a", "3a", "1b", "2b", "3b", "1c", "2c", "3c"]);
    }
}

#[test]
fn a_busy_sender_does_not_starve_a_quiet_one_over_tcp() {
    let context = TestContext::new();
    let (pull, endpoint) = context.bound(SocketType::Pull);
    let [busy, quiet, _silent] = several(&context, SocketType::Push, &endpoint);
    quiet.send("quiet").unwrap();
    (0..500).for_each(|_| send(&busy, "busy"));
    // Both connections exist once both have been heard.
    let (mut heard, mut read) = (HashMap::new(), 0);
    while heard.len() < 2 {
        *heard.entry(recv(&pull).to_text_lossy().into_owned()).or_insert(0) += 1;
        read += 1;
    }
    quiet.send("quiet").unwrap();
    (0..500).for_each(|_| send(&busy, "busy"));
    let before = (0..1000 - read).take_while(|_| recv(&pull).to_text_lossy() == "busy").count();
    assert!(before < 900, "{before} messages went before the quiet one's");
}

/// What is read for a small message and for a large one is read in different ways.
#[test]
fn small_and_large_messages_in_any_order_are_the_right_ones() {
    let context = TestContext::new();
    let sizes = [1_000_000, 5, 300, 0, 700_000, 700_000, 38, 39, 65_536, 65_536, 16_384, 16_383, 256, 1, 1_000_000];
    for transport in TRANSPORTS {
        let pull = context.socket(SocketType::Pull);
        let endpoint = pull.bind(&transport.wildcard()).unwrap();
        let push = context.connected(SocketType::Push, &endpoint);
        let make = |n: usize| {
            let body = vec![n as u8; sizes[n % sizes.len()]];
            if n % 7 == 3 { Message::from([body, vec![1; 3], vec![2; 40_000]]) } else { Message::from(body) }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| (0..120).for_each(|n| push.send(make(n)).unwrap()));
            (0..120).for_each(|n| assert!(recv(&pull) == make(n), "message {n} over {transport:?}"));
        });
    }
}

#[test]
fn messages_go_to_idle_peers_in_turn() {
    let context = TestContext::new();
    for (sender, receiver) in [
        (SocketType::Push, SocketType::Pull),
        (SocketType::Dealer, SocketType::Dealer),
        (SocketType::Scatter, SocketType::Gather),
        (SocketType::Client, SocketType::Server),
    ] {
        let (sender, endpoint) = inproc_bound(&context, sender);
        let receivers = several(&context, receiver, &endpoint);
        (0..7).for_each(|n| sender.send(n.to_string()).unwrap());
        let got = receivers
            .each_ref()
            .map(|receiver| drain(receiver).iter().map(|m| m.to_text_lossy().into_owned()).collect::<Vec<_>>());
        assert_eq!(got, [vec!["0", "3", "6"], vec!["1", "4"], vec!["2", "5"]]);
    }
}

#[test]
fn all_parts_of_a_message_go_to_one_peer() {
    let context = TestContext::new();
    let (push, endpoint) = inproc_bound(&context, SocketType::Push);
    let pulls = several(&context, SocketType::Pull, &endpoint);
    (0..3).for_each(|_| push.send(["1", "2", "3", "4"]).unwrap());
    pulls.iter().for_each(|pull| assert_eq!(recv(pull), Message::from(["1", "2", "3", "4"])));
}

#[test]
fn requests_go_to_the_repliers_in_turn() {
    let context = TestContext::new();
    let (req, endpoint) = inproc_bound(&context, SocketType::Req);
    let reps = several(&context, SocketType::Rep, &endpoint);
    for n in 0..6 {
        req.send(n.to_string()).unwrap();
        assert_eq!(recv_text(&reps[n % 3]), [n.to_string()]);
        reps[n % 3].send("ok").unwrap();
        recv(&req);
    }
}

#[test]
fn without_a_peer_nothing_can_be_sent() {
    let context = TestContext::new();
    for socket_type in [SocketType::Push, SocketType::Dealer, SocketType::Req, SocketType::Pair] {
        let (socket, _) = context.bound(socket_type);
        assert_kind(socket.try_send("x"), ErrorKind::WouldBlock);
        assert!(!socket.readiness().unwrap().writable());
    }
    for socket_type in [SocketType::Pub, SocketType::Xpub, SocketType::Xsub, SocketType::Router] {
        let socket = context.socket(socket_type);
        socket.try_send(["x", "y"]).unwrap();
        assert!(socket.readiness().unwrap().writable());
    }
}

#[test]
fn what_was_queued_to_a_peer_stays_with_it() {
    let context = TestContext::new();
    let (push, endpoint) = inproc_bound(&context, SocketType::Push);
    let [stays, leaves, _other] = several(&context, SocketType::Pull, &endpoint);
    (0..6).for_each(|n| push.send(n.to_string()).unwrap());
    drop(leaves);
    assert_eq!(drain(&stays).len(), 2, "the share of the one that left is lost, not given to others");
}

#[test]
fn one_way_sockets_refuse_the_other_way() {
    let context = TestContext::new();
    for socket_type in [SocketType::Push, SocketType::Pub] {
        assert_kind(context.socket(socket_type).try_recv(), ErrorKind::NotSupported);
        assert_kind(context.socket(socket_type).recv(), ErrorKind::NotSupported);
        assert_kind(block_on(context.socket(socket_type).recv_async()), ErrorKind::NotSupported);
    }
    for socket_type in [SocketType::Pull, SocketType::Sub] {
        let error = context.socket(socket_type).send("mine").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotSupported);
        assert_eq!(error.into_message(), Message::from("mine"));
        assert_kind(block_on(context.socket(socket_type).send_async("x")), ErrorKind::NotSupported);
    }
}

#[test]
fn messages_of_a_sender_that_left_are_still_read() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        pull.set_recv_hwm(0).unwrap();
        push.set_linger(None).unwrap();
        (0..100).for_each(|n: u32| send(&push, ["n".to_owned(), n.to_string()]));
        drop(push);
        for n in 0..100 {
            assert_eq!(recv_text(&pull), ["n".to_owned(), n.to_string()], "{transport:?}");
        }
    }
}

#[test]
fn messages_of_a_sender_that_left_are_read_though_the_queue_is_short() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        pull.set_recv_hwm(2).unwrap();
        push.set_linger(None).unwrap();
        transport.join(&pull, &push);
        (0..300).for_each(|n: u32| send(&push, n.to_string()));
        drop(push);
        for n in 0..300 {
            assert_eq!(recv_text(&pull), [n.to_string()], "{transport:?}");
        }
    }
}

#[test]
fn senders_of_single_frames_are_read_in_turn() {
    let context = TestContext::new();
    for (reader, writer) in [
        (SocketType::Gather, SocketType::Scatter),
        (SocketType::Server, SocketType::Client),
        (SocketType::Client, SocketType::Client),
        (SocketType::Xsub, SocketType::Push),
    ] {
        let (reader, endpoint) = inproc_bound(&context, reader);
        let writers = several(&context, writer, &endpoint);
        for (writer, name) in writers.iter().zip(["1", "2", "3"]) {
            ["a", "b", "c"].into_iter().for_each(|n| writer.send(format!("{name}{n}")).unwrap());
        }
        let read: Vec<_> = (0..9).map(|_| recv_text(&reader).remove(0)).collect();
        assert_eq!(read, ["1a", "2a", "3a", "1b", "2b", "3b", "1c", "2c", "3c"], "{}", reader.socket_type());
    }
}

/// For each type: ready to send, what a send says, what a receive says, and its linger.
#[test]
fn what_a_socket_without_endpoints_can_do() {
    use ErrorKind::{HostUnreachable, InvalidState, NotSupported, WouldBlock};
    let context = TestContext::new();
    let drops = Some(std::time::Duration::ZERO);
    for (socket_type, ready, sent, received, linger) in [
        (SocketType::Pair, false, Some(WouldBlock), WouldBlock, None),
        (SocketType::Pub, true, None, NotSupported, None),
        (SocketType::Sub, false, Some(NotSupported), WouldBlock, drops),
        (SocketType::Req, false, Some(WouldBlock), InvalidState, None),
        (SocketType::Rep, false, Some(InvalidState), WouldBlock, None),
        (SocketType::Dealer, false, Some(WouldBlock), WouldBlock, None),
        (SocketType::Router, true, None, WouldBlock, None),
        (SocketType::Pull, false, Some(NotSupported), WouldBlock, None),
        (SocketType::Push, false, Some(WouldBlock), NotSupported, None),
        (SocketType::Xpub, true, None, WouldBlock, None),
        (SocketType::Xsub, true, None, WouldBlock, drops),
        (SocketType::Stream, true, Some(HostUnreachable), WouldBlock, None),
        (SocketType::Server, true, Some(HostUnreachable), WouldBlock, None),
        (SocketType::Client, false, Some(WouldBlock), WouldBlock, None),
        (SocketType::Radio, true, None, NotSupported, None),
        (SocketType::Dish, false, Some(NotSupported), WouldBlock, drops),
        (SocketType::Gather, false, Some(NotSupported), WouldBlock, None),
        (SocketType::Scatter, false, Some(WouldBlock), NotSupported, None),
        (SocketType::Dgram, false, Some(WouldBlock), WouldBlock, None),
        (SocketType::Peer, true, Some(HostUnreachable), WouldBlock, None),
        (SocketType::Channel, false, Some(WouldBlock), WouldBlock, None),
    ] {
        let socket = (*context).socket(socket_type).unwrap();
        assert_eq!(socket.linger(), linger, "{socket_type}");
        let now = socket.readiness().unwrap();
        assert_eq!((now.readable(), now.writable()), (false, ready), "{socket_type}");
        let message = if matches!(socket_type, SocketType::Router | SocketType::Stream | SocketType::Dgram) {
            Message::from(["127.0.0.1:5", "x"])
        } else {
            Message::from("x")
        };
        let result = socket.try_send(message.clone());
        assert_eq!(result.as_ref().err().map(|error| error.kind()), sent, "{socket_type}");
        if let Err(error) = result {
            assert_eq!(error.into_message(), message, "it comes back as it was");
        }
        assert_kind(socket.try_recv(), received);
    }
}

/// Half a message must not follow where the other half went with its connection.
#[test]
fn a_message_cut_by_the_loss_of_its_connection_is_not_continued_on_the_next() {
    let context = TestContext::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let push = context.connected(SocketType::Push, &format!("tcp://{}", listener.local_addr().unwrap()));
    for body in [8 << 20, 0] {
        send(&push, [b"first".to_vec(), vec![1; body], b"last".to_vec()]);
    }
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(&raw::hello("PULL")).unwrap();
    let mut some = vec![0; 1 << 20];
    server.read_exact(&mut some).unwrap();
    drop(server);
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(&raw::hello("PULL")).unwrap();
    let mut greeting = [0; 64];
    server.read_exact(&mut greeting).unwrap();
    let mut header = [0; 2];
    server.read_exact(&mut header).unwrap();
    server.read_exact(&mut vec![0; header[1].into()]).unwrap();
    server.read_exact(&mut header).unwrap();
    let mut body = vec![0; header[1].into()];
    server.read_exact(&mut body).unwrap();
    assert_eq!((header[0] & raw::MORE, &body[..]), (raw::MORE, &b"first"[..]), "a message from its beginning");
}
