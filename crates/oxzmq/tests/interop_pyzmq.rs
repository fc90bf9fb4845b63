//! oxzmq against libzmq: every pattern, over TCP, IPC and WebSocket, each side binding.
//!
//! The other side is Debian's libzmq through Python; without it these tests fail and say what to
//! install. In the names of the tests the first word is our socket's type.

mod peers;

use std::time::{Duration, Instant};

use oxzmq::{Context, EventKind, Message, Socket, SocketType};
use tempfile::TempDir;

use peers::{Peer, decode, encode, pattern};

const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, PartialEq)]
enum Transport {
    Tcp,
    Ipc,
    Ws,
}

#[derive(Clone, Copy, PartialEq)]
enum Binds {
    We,
    They,
}

/// Our socket and theirs, connected or about to be.
struct Pair {
    ours: Socket,
    theirs: &'static str,
    peer: Peer,
    endpoint: String,
    context: Context,
    _directory: TempDir,
}

fn our_socket(context: &Context, kind: SocketType) -> Socket {
    let socket = context.socket(kind).unwrap();
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    socket.set_send_timeout(Some(PATIENCE)).unwrap();
    socket.set_recv_timeout(Some(PATIENCE)).unwrap();
    socket
}

impl Pair {
    fn new(transport: Transport, binds: Binds, ours: SocketType, theirs: &'static str) -> Self {
        let context = Context::new();
        let ours = our_socket(&context, ours);
        let mut peer = Peer::start();
        peer.socket(theirs);

        let directory = tempfile::tempdir().unwrap();
        let wanted = match transport {
            Transport::Tcp => "tcp://127.0.0.1:*".to_owned(),
            Transport::Ipc => format!("ipc://{}", directory.path().join("socket").display()),
            Transport::Ws => "ws://127.0.0.1:*/zeromq".to_owned(),
        };
        let endpoint = match binds {
            Binds::We => {
                let endpoint = ours.bind(&wanted).unwrap();
                peer.tell(&format!("connect {theirs} {endpoint}"));
                endpoint
            }
            Binds::They => {
                let endpoint = peer.tell(&format!("bind {theirs} {wanted}"));
                ours.connect(&endpoint).unwrap();
                endpoint
            }
        };
        Pair { ours, theirs, peer, endpoint, context, _directory: directory }
    }

    fn they_send(&mut self, message: &Message) {
        self.peer.send(self.theirs, message);
    }

    fn they_receive(&mut self) -> Message {
        self.peer.recv(self.theirs)
    }

    /// Every shape of message, from us to them.
    fn forth(&mut self) {
        for message in shapes() {
            self.ours.send(message.clone()).unwrap();
            assert_eq!(self.they_receive(), message);
        }
    }

    /// Every shape of message, from them to us.
    fn back(&mut self) {
        for message in shapes() {
            self.they_send(&message);
            assert_eq!(self.ours.recv().unwrap(), message);
        }
    }
}

/// Messages at the edges: empty frames, many frames, lengths around the change from a one-byte to an
/// eight-byte length, bodies that no buffer holds at once.
fn shapes() -> Vec<Message> {
    vec![
        Message::from("one frame"),
        Message::from(""),
        Message::from(["three", "", "frames"]),
        Message::from(["", ""]),
        [0, 1, 254, 255, 256, 257].map(pattern).into_iter().collect(),
        (0..100).map(|number: u32| number.to_string()).collect(),
        Message::from(pattern(1 << 20)),
        Message::from([pattern(1 << 20), pattern(0), pattern(70_000)]),
    ]
}

/// One test for each transport and each binding side.
macro_rules! everywhere {
    ($($name:ident)*) => {$(
        mod $name {
            use super::{Binds, Transport};

            #[test]
            fn tcp_we_bind() {
                super::bodies::$name(Transport::Tcp, Binds::We);
            }
            #[test]
            fn tcp_they_bind() {
                super::bodies::$name(Transport::Tcp, Binds::They);
            }
            #[test]
            fn ipc_we_bind() {
                super::bodies::$name(Transport::Ipc, Binds::We);
            }
            #[test]
            fn ipc_they_bind() {
                super::bodies::$name(Transport::Ipc, Binds::They);
            }
            #[test]
            fn ws_we_bind() {
                super::bodies::$name(Transport::Ws, Binds::We);
            }
            #[test]
            fn ws_they_bind() {
                super::bodies::$name(Transport::Ws, Binds::They);
            }
        }
    )*};
}

everywhere! {
    req_rep rep_req req_router router_req dealer_rep rep_dealer dealer_router router_dealer
    dealer_dealer router_router pub_sub sub_pub xpub_xsub xsub_xpub xpub_sub xsub_pub
    push_pull pull_push pair_pair
}

mod bodies {
    use super::*;

    /// The peer sends this many small messages in a row.
    const BURST: u32 = 20_000;

    pub(crate) fn req_rep(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Req, "REP");
        for message in shapes() {
            pair.ours.send(message.clone()).unwrap();
            assert_eq!(pair.they_receive(), message);
            pair.they_send(&message);
            assert_eq!(pair.ours.recv().unwrap(), message);
        }
    }

    pub(crate) fn rep_req(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Rep, "REQ");
        for message in shapes() {
            pair.they_send(&message);
            assert_eq!(pair.ours.recv().unwrap(), message);
            pair.ours.send(message.clone()).unwrap();
            assert_eq!(pair.they_receive(), message);
        }
    }

    /// A REQ puts an empty frame before the request, and a ROUTER puts the sender before that.
    pub(crate) fn req_router(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Req, "ROUTER");
        for message in shapes() {
            pair.ours.send(message.clone()).unwrap();
            let mut request = pair.they_receive();
            let sender = request.pop_front().unwrap();
            assert_eq!(request.pop_front().unwrap(), "");
            assert_eq!(request, message);
            let mut reply = message.clone();
            reply.push_front("");
            reply.push_front(sender);
            pair.they_send(&reply);
            assert_eq!(pair.ours.recv().unwrap(), message);
        }
    }

    pub(crate) fn router_req(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Router, "REQ");
        for message in shapes() {
            pair.they_send(&message);
            let request = pair.ours.recv().unwrap();
            assert_eq!(request[1], "");
            assert_eq!(request.frames()[2..], *message.frames());
            pair.ours.send(request).unwrap();
            assert_eq!(pair.they_receive(), message);
        }
    }

    /// What stands before the empty frame is the way back, and comes back.
    pub(crate) fn dealer_rep(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Dealer, "REP");
        for message in shapes() {
            let mut request = message.clone();
            request.push_front("");
            request.push_front("the way back");
            pair.ours.send(request.clone()).unwrap();
            assert_eq!(pair.they_receive(), message);
            pair.they_send(&message);
            assert_eq!(pair.ours.recv().unwrap(), request);
        }
    }

    pub(crate) fn rep_dealer(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Rep, "DEALER");
        for message in shapes() {
            let mut request = message.clone();
            request.push_front("");
            request.push_front("the way back");
            pair.they_send(&request);
            assert_eq!(pair.ours.recv().unwrap(), message);
            pair.ours.send(message).unwrap();
            assert_eq!(pair.they_receive(), request);
        }
    }

    pub(crate) fn dealer_router(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Dealer, "ROUTER");
        for message in shapes() {
            pair.ours.send(message.clone()).unwrap();
            let received = pair.they_receive();
            assert_eq!(received.frames()[1..], *message.frames());
            pair.they_send(&received);
            assert_eq!(pair.ours.recv().unwrap(), message);
        }
    }

    pub(crate) fn router_dealer(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Router, "DEALER");
        for message in shapes() {
            pair.they_send(&message);
            let received = pair.ours.recv().unwrap();
            assert_eq!(received.frames()[1..], *message.frames());
            pair.ours.send(received).unwrap();
            assert_eq!(pair.they_receive(), message);
        }
    }

    pub(crate) fn dealer_dealer(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Dealer, "DEALER");
        pair.forth();
        pair.back();
    }

    /// Two routers reach each other by names that they chose. Names have to be known before the
    /// connection is made, so this pair is made by hand.
    pub(crate) fn router_router(transport: Transport, binds: Binds) {
        let context = Context::new();
        let ours = our_socket(&context, SocketType::Router);
        ours.set_routing_id("we").unwrap();
        ours.set_router_mandatory(true).unwrap();
        let mut peer = Peer::start();
        peer.tell("socket ROUTER ROUTER routing_id=they");
        let directory = tempfile::tempdir().unwrap();
        let wanted = match transport {
            Transport::Tcp => "tcp://127.0.0.1:*".to_owned(),
            Transport::Ipc => format!("ipc://{}", directory.path().join("socket").display()),
            Transport::Ws => "ws://127.0.0.1:*/zeromq".to_owned(),
        };
        let monitor = ours.monitor().unwrap();
        if binds == Binds::We {
            let endpoint = ours.bind(&wanted).unwrap();
            peer.tell(&format!("connect ROUTER {endpoint}"));
        } else {
            let endpoint = peer.tell(&format!("bind ROUTER {wanted}"));
            ours.connect(&endpoint).unwrap();
        }
        wait_for(&monitor, EventKind::HandshakeSucceeded);

        for message in shapes() {
            let mut addressed = message.clone();
            addressed.push_front("they");
            ours.send(addressed).unwrap();
            let mut received = peer.recv("ROUTER");
            assert_eq!(received.pop_front().unwrap(), "we");
            assert_eq!(received, message);
            received.push_front("we");
            peer.send("ROUTER", &received);
            let mut received = ours.recv().unwrap();
            assert_eq!(received.pop_front().unwrap(), "they");
            assert_eq!(received, message);
        }
    }

    /// Publish to them until the subscription has arrived, then every shape and a topic that
    /// nobody wants.
    fn publish(pair: &mut Pair) {
        let deadline = Instant::now() + PATIENCE;
        while pair.peer.tell(&format!("poll {} 5", pair.theirs)) == "0" {
            assert!(Instant::now() < deadline, "the subscription never arrived");
            pair.ours.send(["topic", "are you there?"]).unwrap();
        }
        pair.ours.send(["topic", "now"]).unwrap();
        while pair.they_receive()[1] != "now" {}

        for message in shapes() {
            let (mut wanted, mut unwanted) = (message.clone(), message);
            wanted.push_front("topical");
            unwanted.push_front("to whom it may concern");
            pair.ours.send(unwanted).unwrap();
            pair.ours.send(wanted.clone()).unwrap();
            assert_eq!(pair.they_receive(), wanted);
        }
    }

    /// The other way round.
    fn be_published_to(pair: &mut Pair) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "the subscription never arrived");
            pair.they_send(&Message::from(["topic", "are you there?"]));
            let soon = Instant::now() + Duration::from_millis(5);
            if pair.ours.recv_deadline(soon).is_ok() {
                break;
            }
        }
        pair.they_send(&Message::from(["topic", "now"]));
        while pair.ours.recv().unwrap()[1] != "now" {}

        for message in shapes() {
            let (mut wanted, mut unwanted) = (message.clone(), message);
            wanted.push_front("topical");
            unwanted.push_front("to whom it may concern");
            pair.they_send(&unwanted);
            pair.they_send(&wanted);
            assert_eq!(pair.ours.recv().unwrap(), wanted);
        }
    }

    /// What a subscriber sends. A libzmq socket that has bound takes notice of a connection, and
    /// sends its subscriptions there, only inside a call that its application makes: make one now
    /// and then.
    fn receive_from_subscriber(pair: &mut Pair) -> Message {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let soon = Instant::now() + Duration::from_millis(20);
            if let Ok(message) = pair.ours.recv_deadline(soon) {
                return message;
            }
            assert!(Instant::now() < deadline, "nothing came from the subscriber");
            pair.peer.tell(&format!("poll {} 0", pair.theirs));
        }
    }

    fn they_subscribe(pair: &mut Pair, topic: &str) {
        let topic = encode(&topic.into());
        pair.peer.tell(&format!("subscribe {} {topic}", pair.theirs));
    }

    pub(crate) fn pub_sub(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Pub, "SUB");
        they_subscribe(&mut pair, "topic");
        publish(&mut pair);
    }

    pub(crate) fn sub_pub(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Sub, "PUB");
        pair.ours.subscribe("topic").unwrap();
        be_published_to(&mut pair);
    }

    pub(crate) fn xpub_sub(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Xpub, "SUB");
        they_subscribe(&mut pair, "topic");
        assert_eq!(receive_from_subscriber(&mut pair), Message::from("\u{1}topic"));
        publish(&mut pair);
    }

    pub(crate) fn xsub_pub(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Xsub, "PUB");
        pair.ours.send("\u{1}topic").unwrap();
        be_published_to(&mut pair);
    }

    /// Subscriptions, their end, and other messages all travel up; publications come down.
    pub(crate) fn xpub_xsub(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Xpub, "XSUB");
        for message in ["\u{1}topic", "\u{1}second", "\u{0}second", "something else"] {
            pair.they_send(&message.into());
            assert_eq!(receive_from_subscriber(&mut pair), Message::from(message));
        }
        publish(&mut pair);
    }

    pub(crate) fn xsub_xpub(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Xsub, "XPUB");
        for message in ["\u{1}topic", "\u{1}second", "\u{0}second", "something else"] {
            pair.ours.send(message).unwrap();
            assert_eq!(pair.they_receive(), Message::from(message));
        }
        be_published_to(&mut pair);
    }

    /// Many small messages are packed differently from a few; they stay in order, and a receiver
    /// that is slower than the sender loses none.
    pub(crate) fn push_pull(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Push, "PULL");
        pair.forth();
        let (ours, peer) = (&pair.ours, &mut pair.peer);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..BURST {
                    ours.send(number.to_string()).unwrap();
                }
            });
            for number in 0..BURST {
                assert_eq!(peer.recv("PULL"), Message::from(number.to_string()));
            }
        });
    }

    pub(crate) fn pull_push(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Pull, "PUSH");
        pair.back();
        pair.peer.begin(&format!("burst PUSH {BURST}"));
        for number in 0..BURST {
            assert_eq!(pair.ours.recv().unwrap(), Message::from(number.to_string()));
        }
        pair.peer.end();
    }

    pub(crate) fn pair_pair(transport: Transport, binds: Binds) {
        let mut pair = Pair::new(transport, binds, SocketType::Pair, "PAIR");
        pair.forth();
        pair.back();
    }
}

fn wait_for(monitor: &oxzmq::Monitor, kind: EventKind) {
    let deadline = Instant::now() + PATIENCE;
    while monitor.recv_deadline(deadline).expect("the event in time").kind != kind {}
}

/// Their process crashes, and another one binds in its place: we come back by ourselves, and what
/// is sent in between waits.
fn they_bind_again(transport: Transport) {
    let mut pair = Pair::new(transport, Binds::They, SocketType::Push, "PULL");
    let monitor = pair.ours.monitor().unwrap();
    pair.ours.send("before").unwrap();
    assert_eq!(pair.they_receive(), Message::from("before"));

    pair.peer.kill();
    wait_for(&monitor, EventKind::Disconnected);
    let ours = pair.ours;
    std::thread::scope(|scope| {
        scope.spawn(|| ours.send("after").unwrap());
        let mut peer = Peer::start();
        peer.socket("PULL");
        peer.tell(&format!("bind PULL {}", pair.endpoint));
        assert_eq!(peer.recv("PULL"), Message::from("after"));
    });
}

#[test]
fn they_bind_again_tcp() {
    they_bind_again(Transport::Tcp);
}

#[test]
fn they_bind_again_ipc() {
    they_bind_again(Transport::Ipc);
}

#[test]
fn they_bind_again_ws() {
    they_bind_again(Transport::Ws);
}

/// Our socket is closed and another binds in its place: libzmq comes back by itself.
fn we_bind_again(transport: Transport) {
    let mut pair = Pair::new(transport, Binds::We, SocketType::Rep, "DEALER");
    let request = Message::from(["", "question"]);
    pair.they_send(&request);
    assert_eq!(pair.ours.recv().unwrap(), Message::from("question"));
    pair.ours.send("answer").unwrap();
    assert_eq!(pair.they_receive(), Message::from(["", "answer"]));

    drop(pair.ours);
    let ours = our_socket(&pair.context, SocketType::Rep);
    // Closing happens in the background, so the address may be taken for another moment.
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = ours.bind(&pair.endpoint) {
        assert_eq!(error.kind(), oxzmq::ErrorKind::AddressInUse);
        assert!(Instant::now() < deadline, "the address never became free");
        std::thread::yield_now();
    }
    // libzmq may not have noticed yet; what it sent to the old connection is lost.
    let answered = (0..).find(|_| {
        assert!(Instant::now() < deadline, "libzmq never came back");
        pair.peer.tell("send DEALER - 61");
        ours.recv_deadline(Instant::now() + Duration::from_millis(100)).is_ok()
    });
    assert!(answered.is_some());
    ours.send("answer").unwrap();
    assert_eq!(pair.peer.recv("DEALER"), Message::from(["", "answer"]));
}

#[test]
fn we_bind_again_tcp() {
    we_bind_again(Transport::Tcp);
}

#[test]
fn we_bind_again_ipc() {
    we_bind_again(Transport::Ipc);
}

#[test]
fn we_bind_again_ws() {
    we_bind_again(Transport::Ws);
}

/// WebSocket's pings both ways, and nothing else for a while: each end takes the other's answers for a sign of life.
#[test]
fn heartbeats_are_answered_ws() {
    for binds in [Binds::We, Binds::They] {
        let context = Context::new();
        let ours = our_socket(&context, SocketType::Dealer);
        ours.set_heartbeat_interval(Some(Duration::from_millis(20))).unwrap();
        ours.set_heartbeat_timeout(Some(Duration::from_secs(2))).unwrap();
        let monitor = ours.monitor().unwrap();
        let mut peer = Peer::start();
        peer.tell("socket DEALER DEALER heartbeat_ivl=20 heartbeat_timeout=2000");
        if binds == Binds::We {
            let endpoint = ours.bind("ws://127.0.0.1:*").unwrap();
            peer.tell(&format!("connect DEALER {endpoint}"));
        } else {
            let endpoint = peer.tell("bind DEALER ws://127.0.0.1:*");
            ours.connect(&endpoint).unwrap();
        }
        wait_for(&monitor, EventKind::HandshakeSucceeded);
        let come = || ours.peers()[0].octets_in;
        let before = come();
        let deadline = Instant::now() + PATIENCE;
        // Longer than either timeout.
        assert!(ours.recv_deadline(Instant::now() + Duration::from_millis(2500)).is_err());
        assert!(come() >= before + 20 && Instant::now() < deadline);
        ours.send("still here").unwrap();
        assert_eq!(peer.recv("DEALER"), Message::from("still here"));
        peer.send("DEALER", &Message::from("here, too"));
        assert_eq!(ours.recv().unwrap(), Message::from("here, too"));
        assert!(monitor.try_recv().is_err(), "the connection was lost");
    }
}

/// Clients that crash and come again are served like the first.
#[test]
fn they_connect_again() {
    let mut pair = Pair::new(Transport::Tcp, Binds::We, SocketType::Rep, "REQ");
    for _ in 0..3 {
        pair.they_send(&"question".into());
        assert_eq!(pair.ours.recv().unwrap(), Message::from("question"));
        pair.ours.send("answer").unwrap();
        assert_eq!(pair.they_receive(), Message::from("answer"));

        let mut next = Peer::start();
        next.socket("REQ");
        next.tell(&format!("connect REQ {}", pair.endpoint));
        std::mem::replace(&mut pair.peer, next).kill();
    }
}

/// STREAM: two messages announce and end a connection, and in between there are bytes.
fn talk_bytes(ours: &Socket, peer: &mut Peer) {
    let opened = ours.recv().unwrap();
    assert_eq!(opened.len(), 2);
    assert_eq!(opened[1], "");
    let id = opened[0].clone();

    ours.send([id.clone(), "question".into()]).unwrap();
    assert_eq!(decode(&peer.tell("read raw 8")), "question");
    peer.tell(&format!("write raw {}", encode(&"answer".into())));
    let mut answer = Vec::new();
    while answer.len() < 6 {
        let part = ours.recv().unwrap();
        assert_eq!(part[0], id);
        answer.extend_from_slice(&part[1]);
    }
    assert_eq!(answer, b"answer");

    peer.tell("hangup raw");
    assert_eq!(ours.recv().unwrap(), Message::from([id, "".into()]));
}

#[test]
fn stream_listens_for_bare_tcp() {
    let context = Context::new();
    let ours = our_socket(&context, SocketType::Stream);
    let endpoint = ours.bind("tcp://127.0.0.1:*").unwrap();
    let port = endpoint.rsplit(':').next().unwrap();
    let mut peer = Peer::start();
    peer.tell(&format!("dial raw {port}"));
    talk_bytes(&ours, &mut peer);
}

#[test]
fn stream_connects_to_bare_tcp() {
    let context = Context::new();
    let ours = our_socket(&context, SocketType::Stream);
    let mut peer = Peer::start();
    let port = peer.tell("listen listener");
    ours.connect(&format!("tcp://127.0.0.1:{port}")).unwrap();
    peer.tell("accept raw listener");
    talk_bytes(&ours, &mut peer);
}

/// STREAM to STREAM: each sees a bare TCP connection, and neither speaks ZeroMQ's protocol.
fn stream_stream(binds: Binds) {
    let mut pair = Pair::new(Transport::Tcp, binds, SocketType::Stream, "STREAM");
    let we_know_them_as = pair.ours.recv().unwrap().pop_front().unwrap();
    let they_know_us_as = pair.they_receive().pop_front().unwrap();

    pair.ours.send([we_know_them_as.clone(), "forth".into()]).unwrap();
    assert_eq!(pair.they_receive(), Message::from([they_know_us_as.clone(), "forth".into()]));
    pair.they_send(&Message::from([they_know_us_as, "back".into()]));
    assert_eq!(pair.ours.recv().unwrap(), Message::from([we_know_them_as, "back".into()]));
}

#[test]
fn stream_stream_we_bind() {
    stream_stream(Binds::We);
}

#[test]
fn stream_stream_they_bind() {
    stream_stream(Binds::They);
}
