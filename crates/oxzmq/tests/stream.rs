//! STREAM: byte streams with peers that know nothing of ZeroMQ.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};

use common::*;
use oxzmq::{ErrorKind, Frame, Message, Socket, SocketType};

/// The next message as id and bytes.
#[track_caller]
fn next(stream: &Socket) -> (Frame, Frame) {
    let mut frames = recv(stream).into_frames();
    assert_eq!(frames.len(), 2);
    (frames.next().unwrap(), frames.next().unwrap())
}

/// Reads until this many bytes of one peer have come.
fn read_from(stream: &Socket, id: &Frame, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let (from, data) = next(stream);
        assert_eq!(from, *id);
        assert!(!data.is_empty(), "the connection was lost");
        bytes.extend_from_slice(&data);
    }
    bytes
}

#[test]
fn a_client_is_announced_heard_and_announced_again_when_it_leaves() {
    let context = TestContext::new();
    let (stream, endpoint) = context.bound(SocketType::Stream);
    let mut client = raw_client(&endpoint);
    client.write_all(b"data1").unwrap();
    drop(client);
    let (id, made) = next(&stream);
    assert_eq!((id.len(), id[0], made.len()), (5, 0, 0));
    assert_eq!(read_from(&stream, &id, 5), b"data1");
    assert_eq!(next(&stream), (id, Frame::new()));
}

#[test]
fn bytes_go_out_as_they_are() {
    let context = TestContext::new();
    let (stream, endpoint) = context.bound(SocketType::Stream);
    let mut client = raw_client(&endpoint);
    let (id, _) = next(&stream);
    stream.send([id.clone(), "hello ".into()]).unwrap();
    stream.send([id, "world".into()]).unwrap();
    let mut got = [0; 11];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello world");
}

#[test]
fn a_unix_socket_works_the_same() {
    let context = TestContext::new();
    let place = Place::new(Transport::Ipc);
    let stream = context.socket(SocketType::Stream);
    stream.bind(place.endpoint()).unwrap();
    let mut client = UnixStream::connect(place.endpoint().strip_prefix("ipc://").unwrap()).unwrap();
    client.write_all(b"ping").unwrap();
    let (id, _) = next(&stream);
    assert_eq!(read_from(&stream, &id, 4), b"ping");
    stream.send([id.clone(), "pong".into()]).unwrap();
    let mut got = [0; 4];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"pong");
}

#[test]
fn a_stream_connects_to_a_plain_unix_server() {
    let context = TestContext::new();
    let directory = TempDir::new();
    let path = directory.0.join("server");
    let listener = UnixListener::bind(&path).unwrap();
    let stream = context.connected(SocketType::Stream, &format!("ipc://{}", path.display()));
    let (mut server, _) = listener.accept().unwrap();
    let (id, _) = next(&stream);
    stream.send([id, "x".into()]).unwrap();
    server.read_exact(&mut [0]).unwrap();
}

#[test]
fn large_amounts_pass_in_both_directions() {
    let context = TestContext::new();
    let (stream, endpoint) = context.bound(SocketType::Stream);
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n ^ n >> 8) as u8).collect();
    let client = raw_client(&endpoint);
    let (id, _) = next(&stream);
    std::thread::scope(|scope| {
        scope.spawn(|| (&client).write_all(&data).unwrap());
        assert!(read_from(&stream, &id, data.len()) == data);
        scope.spawn(|| stream.send([id, data.clone().into()]).unwrap());
        let mut got = vec![0; data.len()];
        (&client).read_exact(&mut got).unwrap();
        assert!(got == data);
    });
}

#[test]
fn without_notify_only_data_is_delivered() {
    let context = TestContext::new();
    let stream = context.socket(SocketType::Stream);
    stream.set_stream_notify(false).unwrap();
    let endpoint = stream.bind("tcp://127.0.0.1:*").unwrap();
    let mut client = raw_client(&endpoint);
    client.write_all(b"x").unwrap();
    drop(client);
    assert_eq!(next(&stream).1, "x");
    until("the client is gone", || stream.stats().peers == 0);
    assert_kind(stream.try_recv(), ErrorKind::WouldBlock);
}

#[test]
fn a_message_of_more_than_two_frames_is_refused_and_comes_back() {
    let context = TestContext::new();
    let (stream, endpoint) = context.bound(SocketType::Stream);
    let mut client = raw_client(&endpoint);
    let id = recv(&stream)[0].clone();
    for message in [
        Message::new(),
        Message::from([id.clone(), "one".into(), "two".into()]),
        Message::from(["nobody", "one", "two"]),
    ] {
        let error = stream.send(message.clone()).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidArgument && error.to_string().contains("two frames"), "{error}");
        assert_eq!(error.into_message(), message);
    }
    // An id alone says nothing to anybody.
    send(&stream, [id.clone()]);
    send(&stream, [id, "one".into()]);
    let mut octets = [0; 3];
    client.read_exact(&mut octets).unwrap();
    assert_eq!(&octets, b"one");
}

#[test]
fn an_unknown_id_is_unreachable_and_the_message_comes_back() {
    let context = TestContext::new();
    let (stream, _) = context.bound(SocketType::Stream);
    let refused = stream.send(["nobody", "x"]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::HostUnreachable);
    assert_eq!(refused.into_message(), Message::from(["nobody", "x"]));
    assert!(stream.readiness().unwrap().writable());
}

#[test]
fn an_empty_frame_closes_after_what_was_queued_and_says_nothing_more() {
    let context = TestContext::new();
    let (stream, endpoint) = context.bound(SocketType::Stream);
    let mut client = raw_client(&endpoint);
    let (id, _) = next(&stream);
    stream.send([id.clone(), "last words".into()]).unwrap();
    stream.send([id.clone(), Frame::new()]).unwrap();
    assert_kind(stream.send([id, "x".into()]), ErrorKind::HostUnreachable);
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"last words");
    until("the peer is gone", || stream.stats().peers == 0);
    assert_kind(stream.try_recv(), ErrorKind::WouldBlock);
}

#[test]
fn closing_a_peer_drops_what_it_sent() {
    let context = TestContext::new();
    let (stream, endpoint) = context.bound(SocketType::Stream);
    let mut client = raw_client(&endpoint);
    let (id, _) = next(&stream);
    client.write_all(b"unread").unwrap();
    until("it has come", || stream.readiness().unwrap().readable());
    stream.send([id, Frame::new()]).unwrap();
    assert_silent(&stream);
    until("it is gone", || stream.stats().peers == 0);
    assert_eq!((stream.stats().drops.unwanted, stream.stats().dropped), (1, 1));
}

#[test]
fn a_connecting_stream_reconnects_under_the_same_id() {
    let context = TestContext::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = context.connected(SocketType::Stream, &format!("tcp://{}", listener.local_addr().unwrap()));
    let (server, _) = listener.accept().unwrap();
    let (id, made) = next(&stream);
    assert!(made.is_empty());
    drop(server);
    assert_eq!(next(&stream), (id.clone(), Frame::new()), "lost");
    stream.send([id.clone(), "while down or after".into()]).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    assert_eq!(next(&stream), (id.clone(), Frame::new()), "made again");
    server.read_exact(&mut [0; 19]).unwrap();
}

#[test]
fn a_stream_that_does_not_reconnect_ends_with_its_connection() {
    let context = TestContext::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let stream = context.socket(SocketType::Stream);
    stream.set_reconnect_interval(None).unwrap();
    stream.connect(&endpoint).unwrap();
    let (server, _) = listener.accept().unwrap();
    let (id, _) = next(&stream);
    drop(server);
    assert_eq!(next(&stream), (id.clone(), Frame::new()));
    until("the peer is gone", || stream.stats().peers == 0);
    assert_kind(stream.try_send([id, "x".into()]), ErrorKind::HostUnreachable);
    assert_kind(stream.disconnect(&endpoint), ErrorKind::NotFound);
}

#[test]
fn closing_a_connecting_peer_ends_its_endpoint() {
    let context = TestContext::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = context.connected(SocketType::Stream, &format!("tcp://{}", listener.local_addr().unwrap()));
    let (mut server, _) = listener.accept().unwrap();
    let (id, _) = next(&stream);
    stream.send([id, Frame::new()]).unwrap();
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    until("the peer is gone", || stream.stats().peers == 0);
}

#[test]
fn connect_routing_id_names_the_server_and_what_is_sent_early_waits() {
    let context = TestContext::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = context.socket(SocketType::Stream);
    stream.set_connect_routing_id("server").unwrap();
    stream.connect(&format!("tcp://{}", listener.local_addr().unwrap())).unwrap();
    stream.send(["server", "early"]).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    server.write_all(b"x").unwrap();
    assert_eq!(next(&stream), ("server".into(), Frame::new()));
    assert_eq!(next(&stream), ("server".into(), "x".into()));
}

#[test]
fn a_new_connection_is_a_new_peer() {
    let context = TestContext::new();
    let (stream, endpoint) = context.bound(SocketType::Stream);
    let ids = [(), ()].map(|()| {
        let client = raw_client(&endpoint);
        let (id, _) = next(&stream);
        drop(client);
        assert_eq!(next(&stream), (id.clone(), Frame::new()));
        id
    });
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_peer_that_reads_nothing_fills_its_own_queue_only() {
    let context = TestContext::new();
    let stream = context.socket(SocketType::Stream);
    stream.set_send_hwm(4).unwrap();
    let endpoint = stream.bind("tcp://127.0.0.1:*").unwrap();
    let _deaf = raw_client(&endpoint);
    let (deaf_id, _) = next(&stream);
    let block = vec![0; 1 << 20];
    let end = soon();
    while stream.send_deadline([deaf_id.clone(), block.clone().into()], std::time::Instant::now() + ms(100)).is_ok() {
        assert!(std::time::Instant::now() < end, "nothing holds the sender back");
    }
    let mut client = raw_client(&endpoint);
    let (id, _) = next(&stream);
    stream.try_send([id, "x".into()]).unwrap();
    client.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_client_that_half_closes_is_lost() {
    let context = TestContext::new();
    let (stream, endpoint) = context.bound(SocketType::Stream);
    let client = raw_client(&endpoint);
    let (id, _) = next(&stream);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(next(&stream), (id, Frame::new()));
}

// ---- raw ROUTERs --------------------------------------------------------------------------------------------

#[test]
fn a_raw_router_is_a_stream_with_the_manners_of_a_router() {
    let context = TestContext::new();
    let router = context.socket(SocketType::Router);
    router.set_router_raw(true).unwrap();
    let endpoint = router.bind("tcp://127.0.0.1:*").unwrap();
    let mut client = raw_client(&endpoint);
    let (id, notice) = next(&router);
    assert!(id.len() == 5 && notice.is_empty());
    client.write_all(b"GET /").unwrap();
    assert_eq!(read_from(&router, &id, 5), b"GET /");
    send(&router, [id.clone(), Frame::from("200 OK")]);
    let mut answer = [0; 6];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"200 OK");

    // As a ROUTER, it drops what it cannot deliver, unless told otherwise.
    send(&router, ["nobody", "x"]);
    assert_eq!(router.stats().drops.unroutable, 1);
    router.set_router_mandatory(true).unwrap();
    assert_kind(router.try_send(["nobody", "x"]), ErrorKind::HostUnreachable);

    send(&router, [id.clone(), Frame::new()]);
    assert_eq!(client.read(&mut answer).unwrap(), 0);
    let client = raw_client(&endpoint);
    let (other, _) = next(&router);
    assert_ne!(other, id);
    drop(client);
    assert_eq!(next(&router), (other, Frame::new()));
}

#[test]
fn a_raw_router_connects_to_a_plain_server() {
    let context = TestContext::new();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let router = context.socket(SocketType::Router);
    router.set_router_raw(true).unwrap();
    router.set_connect_routing_id("server").unwrap();
    router.connect(&format!("tcp://{}", server.local_addr().unwrap())).unwrap();
    let (mut peer, _) = server.accept().unwrap();
    assert_eq!(next(&router), (Frame::from("server"), Frame::new()));
    send(&router, ["server", "hello"]);
    let mut heard = [0; 5];
    peer.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}

// ---- ids, and what there is not ------------------------------------------------------------------------------

#[test]
fn the_id_of_a_server_is_known_from_the_connect_on() {
    let context = TestContext::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let stream = context.connected(SocketType::Stream, &endpoint);
    let id = stream.routing_id();
    assert_eq!((id.len(), id[0]), (5, 0));
    stream.try_send([id.to_vec(), b"early".to_vec()]).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(next(&stream).0, id[..]);
    stream.set_connect_routing_id("named").unwrap();
    stream.connect(&endpoint).unwrap();
    assert_eq!(stream.routing_id(), id, "who names the peer knows its name");
}

#[test]
fn a_raw_connection_has_no_handshake_and_no_time_for_one() {
    let context = TestContext::new();
    let stream = context.socket(SocketType::Stream);
    stream.set_handshake_interval(Some(ms(10))).unwrap();
    stream.set_heartbeat_interval(Some(ms(10))).unwrap();
    let monitor = stream.monitor().unwrap();
    let endpoint = stream.bind("tcp://127.0.0.1:*").unwrap();
    let mut client = raw_client(&endpoint);
    let (id, _) = next(&stream);
    assert_silent(&stream);
    client.write_all(b"late").unwrap();
    assert_eq!(read_from(&stream, &id, 4), b"late");
    let message = Message::from([id, "answer".into()]);
    stream.send(message).unwrap();
    let mut got = [0; 6];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"answer", "and nothing before it");
    drop(client);
    let kinds: Vec<_> = std::iter::from_fn(|| monitor.recv_deadline(soon()).ok())
        .map(|event| event.kind)
        .take_while(|kind| *kind != oxzmq::EventKind::Disconnected)
        .collect();
    assert_eq!(kinds, [oxzmq::EventKind::Listening, oxzmq::EventKind::Accepted]);
}

#[test]
fn octets_tell_where_they_are_from() {
    let context = TestContext::new();
    let (stream, endpoint) = context.bound(SocketType::Stream);
    let _client = raw_client(&endpoint);
    let message = recv(&stream);
    let properties = message.properties().unwrap();
    assert_eq!(properties.get_str("Peer-Address"), Some("127.0.0.1"));
    assert_eq!(properties.get_str("Socket-Type"), None);
}
