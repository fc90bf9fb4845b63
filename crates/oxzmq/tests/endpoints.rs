//! Endpoints: what can be bound and connected, under which name, and how it is taken back.

mod common;

use common::*;
use oxzmq::{ErrorKind, EventKind, Message, SocketType};

#[test]
fn malformed_endpoints_are_refused() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Pull);
    for endpoint in [
        "",
        "tcp",
        "tcp://",
        "://x",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:x",
        "tcp://127.0.0.1:70000",
    ] {
        assert_kind(socket.bind(endpoint), ErrorKind::InvalidEndpoint);
        assert_kind(socket.connect(endpoint), ErrorKind::InvalidEndpoint);
    }
    for endpoint in ["tcp://*:5555", "tcp://127.0.0.1:*", "tcp://a b:1", "tcp://-a:1"] {
        assert_kind(socket.connect(endpoint), ErrorKind::InvalidEndpoint);
    }
    for endpoint in ["foo://x", "vsock://127.0.0.1:1", "TCP://127.0.0.1:1"] {
        assert_kind(socket.bind(endpoint), ErrorKind::UnknownTransport);
        assert_kind(socket.connect(endpoint), ErrorKind::UnknownTransport);
    }
    assert_eq!(socket.last_endpoint(), "");
}

#[test]
fn the_last_endpoint_is_the_resolved_one_of_a_bind_and_the_given_one_of_a_connect() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Pull);
    let bound = socket.bind("tcp://127.0.0.1:*").unwrap();
    assert_ne!(address(&bound).port(), 0);
    assert_eq!(socket.last_endpoint(), bound);
    let any = socket.bind("tcp://*:*").unwrap();
    assert!(any.starts_with("tcp://0.0.0.0:"), "{any}");
    for name in ["tcp://lo:*", "tcp://localhost:*"] {
        let bound = socket.bind(name).unwrap();
        assert!(bound.starts_with("tcp://127.0.0.1:"), "{bound}");
    }
    for connected in ["tcp://localhost:1", "inproc://some where", "ipc:///nowhere/to/be/found"] {
        socket.connect(connected).unwrap();
        assert_eq!(socket.last_endpoint(), connected);
    }
    socket.bind("tcp://nothing").unwrap_err();
    assert_eq!(socket.last_endpoint(), "ipc:///nowhere/to/be/found", "failures do not count");
}

#[test]
fn a_taken_address_is_in_use() {
    let context = TestContext::new();
    let (one, other) = (context.socket(SocketType::Pull), context.socket(SocketType::Pull));
    for endpoint in ["tcp://127.0.0.1:*", "inproc://taken"] {
        let endpoint = one.bind(endpoint).unwrap();
        assert_kind(other.bind(&endpoint), ErrorKind::AddressInUse);
        assert_kind(one.bind(&endpoint), ErrorKind::AddressInUse);
    }
}

#[test]
fn addresses_that_are_not_here_cannot_be_bound() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Pull);
    assert_kind(socket.bind("tcp://192.0.2.1:*"), ErrorKind::AddressNotAvailable);
    assert_kind(socket.bind("tcp://nosuchinterface:5555"), ErrorKind::NoDevice);
    assert_kind(socket.bind("tcp://[::1]:*"), ErrorKind::NoDevice); // IPv6 is off
}

#[test]
fn ipc_errors_tell_what_is_wrong_with_the_path() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Pull);
    let directory = TempDir::new();
    let path = |name: &str| format!("ipc://{}", directory.0.join(name).display());
    assert_kind(socket.bind(&path("missing/socket")), ErrorKind::NotFound);
    assert_kind(socket.bind(&path(&"x".repeat(110))), ErrorKind::NameTooLong);
    assert_kind(socket.connect(&path(&"x".repeat(110))), ErrorKind::NameTooLong);
    std::fs::write(directory.0.join("precious"), "data").unwrap();
    assert_kind(socket.bind(&path("precious")), ErrorKind::AddressInUse);
    assert_eq!(std::fs::read(directory.0.join("precious")).unwrap(), b"data", "a file is never replaced");
}

#[test]
fn a_stale_ipc_socket_is_replaced() {
    let context = TestContext::new();
    let directory = TempDir::new();
    let path = directory.0.join("stale");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let pull = context.socket(SocketType::Pull);
    let endpoint = pull.bind(&format!("ipc://{}", path.display())).unwrap();
    let push = context.connected(SocketType::Push, &endpoint);
    send(&push, "x");
    assert_eq!(recv(&pull), Message::from("x"));
}

#[test]
fn a_wildcard_ipc_endpoint_is_private_and_removed_in_the_end() {
    use std::os::unix::fs::PermissionsExt;
    let context = TestContext::new();
    let pull = context.socket(SocketType::Pull);
    let endpoint = pull.bind("ipc://*").unwrap();
    let path = std::path::PathBuf::from(endpoint.strip_prefix("ipc://").unwrap());
    let directory = path.parent().unwrap().to_owned();
    assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    let push = context.connected(SocketType::Push, &endpoint);
    send(&push, "x");
    recv(&pull);
    pull.unbind(&endpoint).unwrap();
    assert!(!directory.exists());
}

#[test]
fn the_abstract_namespace_works() {
    let context = TestContext::new();
    let name = format!("ipc://@oxzmq-test-{}-{}", std::process::id(), unique());
    let pull = context.socket(SocketType::Pull);
    assert_eq!(pull.bind(&name).unwrap(), name);
    assert_kind(context.socket(SocketType::Pull).bind(&name), ErrorKind::AddressInUse);
    let push = context.connected(SocketType::Push, &name);
    send(&push, "x");
    assert_eq!(recv(&pull), Message::from("x"));
}

#[test]
fn ipv6_works_when_it_is_on() {
    let context = TestContext::new();
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    pull.set_ipv6(true).unwrap();
    push.set_ipv6(true).unwrap();
    let Ok(endpoint) = pull.bind("tcp://[::1]:*") else {
        return eprintln!("this machine has no IPv6");
    };
    assert!(endpoint.starts_with("tcp://[::1]:"), "{endpoint}");
    push.connect(&endpoint).unwrap();
    send(&push, "x");
    assert_eq!(recv(&pull).properties().unwrap().get_str("Peer-Address"), Some("::1"));
    // Dual stack: an IPv4 client reaches the IPv6 wildcard.
    let any = pull.bind("tcp://*:*").unwrap();
    assert!(any.starts_with("tcp://[::]:"), "{any}");
    let v4 = context.connected(SocketType::Push, &any.replace("[::]", "127.0.0.1"));
    send(&v4, "y");
    assert_eq!(recv(&pull).properties().unwrap().get_str("Peer-Address"), Some("127.0.0.1"));
}

#[test]
fn host_names_are_resolved_in_the_background() {
    let context = TestContext::new();
    let (pull, endpoint) = context.bound(SocketType::Pull);
    let push = context.connected(SocketType::Push, &endpoint.replace("127.0.0.1", "localhost"));
    send(&push, "x");
    assert_eq!(recv(&pull), Message::from("x"));
    // One that does not exist is tried for ever; the call succeeds, and the monitor tells why nothing comes of it.
    let monitor = push.monitor().unwrap();
    push.connect("tcp://no-such-host.invalid:1").unwrap();
    let event = await_event(&monitor, EventKind::ConnectRetried);
    assert!(event.reason.starts_with("cannot look up the name: "), "{event:?}");
}

#[test]
fn a_source_address_can_be_given() {
    let context = TestContext::new();
    let (pull, endpoint) = context.bound(SocketType::Pull);
    let target = endpoint.strip_prefix("tcp://").unwrap();
    let push = context.connected(SocketType::Push, &format!("tcp://127.0.0.2:0;{target}"));
    send(&push, "x");
    assert_eq!(recv(&pull).properties().unwrap().get_str("Peer-Address"), Some("127.0.0.2"));
}

#[test]
fn unbind_frees_the_address_and_closes_its_connections() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        let endpoint = pull.last_endpoint();
        let monitor = push.monitor().unwrap();
        pull.unbind(&endpoint).unwrap();
        await_event(&monitor, EventKind::Disconnected);
        assert_kind(pull.unbind(&endpoint), ErrorKind::NotFound);
        if transport == Transport::Tcp {
            let next = context.socket(SocketType::Pull);
            next.bind(&endpoint).unwrap();
            send(&push, "x");
            assert_eq!(recv(&next), Message::from("x"));
        }
    }
}

#[test]
fn unread_messages_survive_unbind() {
    let context = TestContext::new();
    let (pull, push) = context.pair(Transport::Tcp, SocketType::Pull, SocketType::Push);
    ["1", "2", "3"].into_iter().for_each(|n| push.send(n).unwrap());
    assert_eq!(recv(&pull), Message::from("1"));
    // The others were in the same or a later read; one more shows that they are there.
    until("all have come", || pull.readiness().unwrap().readable());
    let second = recv(&pull);
    until("the third has come", || pull.readiness().unwrap().readable());
    pull.unbind(&pull.last_endpoint()).unwrap();
    assert_eq!((second, recv(&pull)), (Message::from("2"), Message::from("3")));
}

#[test]
fn unread_messages_go_with_disconnect() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (push, pull) = context.pair(transport, SocketType::Push, SocketType::Pull);
        push.send("x").unwrap();
        until("it has come", || pull.readiness().unwrap().readable());
        pull.disconnect(&push.last_endpoint()).unwrap();
        assert_kind(pull.try_recv(), ErrorKind::WouldBlock);
        assert_kind(pull.disconnect(&push.last_endpoint()), ErrorKind::NotFound);
        until("the other end knows", || push.stats().peers == 0);
        assert_kind(push.try_send("y"), ErrorKind::WouldBlock);
    }
}

#[test]
fn after_the_last_disconnect_nothing_can_be_sent_until_the_next_connect() {
    let context = TestContext::new();
    for transport in TRANSPORTS {
        let (pull, push) = context.pair(transport, SocketType::Pull, SocketType::Push);
        let endpoint = pull.last_endpoint();
        push.disconnect(&endpoint).unwrap();
        assert_kind(push.try_send("x"), ErrorKind::WouldBlock);
        push.connect(&endpoint).unwrap();
        send(&push, "y");
        assert_eq!(recv(&pull), Message::from("y"));
    }
}

#[test]
fn endpoints_are_removed_by_the_name_they_have() {
    let context = TestContext::new();
    let (pull, endpoint) = context.bound(SocketType::Pull);
    assert_kind(pull.unbind("tcp://127.0.0.1:*"), ErrorKind::NotFound);
    assert_kind(pull.unbind("nonsense"), ErrorKind::InvalidEndpoint);
    assert_kind(pull.unbind("foo://x"), ErrorKind::UnknownTransport);
    assert_kind(pull.unbind("inproc://never"), ErrorKind::NotFound);
    pull.unbind(&endpoint.replace("127.0.0.1", "localhost")).unwrap();
}

#[test]
fn an_inproc_name_can_be_given_up_and_bound_by_another_while_connections_go_on() {
    let context = TestContext::new();
    let (first, old) = context.inproc_pair(SocketType::Pull, SocketType::Push);
    let name = first.last_endpoint();
    first.unbind(&name).unwrap();
    let second = context.socket(SocketType::Pull);
    second.bind(&name).unwrap();
    let new = context.connected(SocketType::Push, &name);
    old.send("old").unwrap();
    new.send("new").unwrap();
    assert_eq!((recv(&first), recv(&second)), (Message::from("old"), Message::from("new")));
}

#[test]
fn an_inproc_name_belongs_to_its_context() {
    let (here, there) = (TestContext::new(), TestContext::new());
    let (pull, _push) = here.inproc_pair(SocketType::Pull, SocketType::Push);
    let other = there.socket(SocketType::Pull);
    other.bind(&pull.last_endpoint()).unwrap();
    let push = there.connected(SocketType::Push, &pull.last_endpoint());
    push.send("there").unwrap();
    assert_eq!(recv(&other), Message::from("there"));
    assert_kind(pull.try_recv(), ErrorKind::WouldBlock);
}

#[test]
fn a_pending_inproc_connect_can_be_taken_back() {
    let context = TestContext::new();
    let place = Place::new(Transport::Inproc);
    let push = context.connected(SocketType::Push, place.endpoint());
    push.send("taken back").unwrap();
    push.disconnect(place.endpoint()).unwrap();
    let pull = context.socket(SocketType::Pull);
    pull.bind(place.endpoint()).unwrap();
    assert_kind(pull.try_recv(), ErrorKind::WouldBlock);
    assert_eq!(pull.stats().peers, 0);
}

#[test]
fn a_pending_inproc_connecter_that_closes_leaves_its_messages() {
    let context = TestContext::new();
    let place = Place::new(Transport::Inproc);
    let push = context.connected(SocketType::Push, place.endpoint());
    push.send("left behind").unwrap();
    drop(push);
    let pull = context.socket(SocketType::Pull);
    pull.bind(place.endpoint()).unwrap();
    assert_eq!(pull.try_recv().unwrap(), Message::from("left behind"));
}

#[test]
fn an_inproc_connecter_is_not_attached_to_a_later_binder() {
    let context = TestContext::new();
    let (first, push) = context.inproc_pair(SocketType::Pull, SocketType::Push);
    let name = first.last_endpoint();
    drop(first);
    let second = context.socket(SocketType::Pull);
    second.bind(&name).unwrap();
    assert_kind(push.try_send("x"), ErrorKind::WouldBlock);
}

#[test]
fn some_types_ignore_a_second_connect_and_others_make_another_connection() {
    let context = TestContext::new();
    for (server, client, connections) in [
        (SocketType::Router, SocketType::Dealer, 1),
        (SocketType::Pub, SocketType::Sub, 1),
        (SocketType::Sub, SocketType::Pub, 1),
        (SocketType::Rep, SocketType::Req, 1),
        (SocketType::Pull, SocketType::Push, 2),
        (SocketType::Push, SocketType::Pull, 2),
    ] {
        let (server, endpoint) = context.bound(server);
        let monitor = server.monitor().unwrap();
        let client_socket = context.connected(client, &endpoint);
        client_socket.connect(&endpoint).unwrap();
        (0..connections).for_each(|_| drop(await_event(&monitor, EventKind::HandshakeSucceeded)));
        assert_eq!(client_socket.stats().peers, connections, "{client}");
        client_socket.disconnect(&endpoint).unwrap();
        assert_kind(client_socket.disconnect(&endpoint), ErrorKind::NotFound);
        until("all connections are gone", || server.stats().peers == 0);
    }
}

#[test]
fn without_io_threads_only_inproc_works() {
    let context = oxzmq::Context::builder().io_threads(0).build();
    let (pull, push) = (context.socket(SocketType::Pull).unwrap(), context.socket(SocketType::Push).unwrap());
    assert_kind(pull.bind("tcp://127.0.0.1:*"), ErrorKind::NoIoThread);
    assert_kind(push.connect("tcp://127.0.0.1:1"), ErrorKind::NoIoThread);
    push.connect(&pull.bind("inproc://x").unwrap()).unwrap();
    push.send("x").unwrap();
    assert_eq!(recv(&pull), Message::from("x"));
}

#[test]
fn several_io_threads_share_the_sockets() {
    let context = oxzmq::Context::builder().io_threads(3).build();
    let pairs: Vec<_> = (0..6)
        .map(|_| {
            let (pull, push) = (context.socket(SocketType::Pull).unwrap(), context.socket(SocketType::Push).unwrap());
            push.connect(&pull.bind("tcp://127.0.0.1:*").unwrap()).unwrap();
            (pull, push)
        })
        .collect();
    pairs.iter().for_each(|(_, push)| send(push, "x"));
    pairs.iter().for_each(|(pull, _)| assert_eq!(recv(pull), Message::from("x")));
}

#[test]
fn a_descriptor_that_listens_already_is_bound_at_its_own_address() {
    let context = TestContext::new();
    let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
    let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let own = format!("tcp://{}", listening.local_addr().unwrap());
    assert_kind(pull.bind_listening("ipc://*", listening.try_clone().unwrap().into()), ErrorKind::InvalidArgument);
    let bound = pull.bind_listening("tcp://*:*", listening.into()).unwrap();
    assert_eq!(bound, own);
    push.connect(&bound).unwrap();
    push.send("through it").unwrap();
    assert_eq!(pull.recv().unwrap(), Message::from("through it"));
    pull.unbind(&bound).unwrap();

    let connected = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(pull.bind_listening("tcp://*:*", connected.into()).is_err());
}

#[test]
fn whom_a_filter_does_not_name_is_not_accepted() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let filter = |ours: bool| {
            let mut filter = oxzmq::AcceptFilter::new();
            filter.allow_network(if ours { "127.0.0.0/8" } else { "192.0.2.0/24" }).unwrap();
            filter.allow_process(if ours { std::process::id().cast_signed() } else { -1 });
            filter
        };
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        pull.set_accept_filter(filter(true)).unwrap();
        transport.join(&pull, &push);
        send(&push, "x");
        assert_eq!(recv(&pull), Message::from("x"));

        let stranger = context.socket(SocketType::Pull);
        stranger.set_accept_filter(filter(false)).unwrap();
        let monitor = stranger.monitor().unwrap();
        let endpoint = stranger.bind(&transport.wildcard()).unwrap();
        push.connect(&endpoint).unwrap();
        await_event(&monitor, EventKind::AcceptFailed);
    }
}

#[test]
fn connecting_twice_to_an_inproc_name_makes_two_connections_that_go_together() {
    let context = TestContext::new();
    for order in [Order::BindFirst, Order::ConnectFirst] {
        let (pull, push) = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        let place = Place::new(Transport::Inproc);
        if order == Order::BindFirst {
            pull.bind(place.endpoint()).unwrap();
        }
        push.connect(place.endpoint()).unwrap();
        push.connect(place.endpoint()).unwrap();
        if order == Order::ConnectFirst {
            pull.bind(place.endpoint()).unwrap();
        }
        assert_eq!((push.stats().peers, pull.stats().peers), (2, 2));
        push.disconnect(place.endpoint()).unwrap();
        assert_kind(push.disconnect(place.endpoint()), ErrorKind::NotFound);
        assert_eq!((push.stats().peers, pull.stats().peers), (0, 0));
    }
}

#[test]
fn an_inproc_name_is_given_up_by_its_binder_alone_by_either_call() {
    let context = TestContext::new();
    let (pull, push) = context.inproc_pair(SocketType::Pull, SocketType::Push);
    let name = pull.last_endpoint();
    let other = context.socket(SocketType::Pull);
    assert_kind(other.unbind(&name), ErrorKind::NotFound);
    pull.disconnect(&name).unwrap();
    assert_kind(pull.unbind(&name), ErrorKind::NotFound);
    other.bind(&name).unwrap();
    send(&push, "to the first, still");
    assert_eq!(recv(&pull), Message::from("to the first, still"));
}

#[test]
fn removing_a_udp_endpoint_is_for_types_that_have_one() {
    let context = TestContext::new();
    let pull = context.socket(SocketType::Pull);
    assert_kind(pull.disconnect("udp://127.0.0.1:5"), ErrorKind::IncompatibleTransport);
    assert_kind(context.socket(SocketType::Dish).unbind("udp://127.0.0.1:5"), ErrorKind::NotFound);
}

#[test]
fn messages_queued_for_an_accepted_peer_still_go_out_when_its_endpoint_is_unbound() {
    let context = TestContext::new();
    for transport in NETWORKS {
        let (push, pull) = context.pair(transport, SocketType::Push, SocketType::Pull);
        push.set_linger(None).unwrap();
        (0..200).for_each(|n: u32| send(&push, [n.to_string().into_bytes(), vec![0; 10_000]]));
        push.unbind(&push.last_endpoint()).unwrap();
        assert_kind(push.try_send("x"), ErrorKind::WouldBlock);
        (0..200).for_each(|n: u32| assert_eq!(recv(&pull)[0], n.to_string().into_bytes()[..], "{transport:?}"));
    }
}
