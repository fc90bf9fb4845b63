//! Every pattern over every transport, bound first and connected first, through the blocking calls, the
//! futures, and the futures under Tokio: one body, all combinations.

mod common;

use std::thread;

use common::{Order, Place, TestContext, Transport, await_subscription, block_on, recv, tokio};
use oxzmq::{Message, Socket, SocketType};

/// A way to send and receive.
trait Api: Send + Sync + 'static {
    fn new() -> Self;
    fn send(&self, socket: &Socket, message: Message);
    fn recv(&self, socket: &Socket) -> Message;
}

struct Blocking;

impl Api for Blocking {
    fn new() -> Self {
        Self
    }
    fn send(&self, socket: &Socket, message: Message) {
        socket.send(message).unwrap();
    }
    fn recv(&self, socket: &Socket) -> Message {
        socket.recv().unwrap()
    }
}

struct Futures;

impl Api for Futures {
    fn new() -> Self {
        Self
    }
    fn send(&self, socket: &Socket, message: Message) {
        block_on(socket.send_async(message)).unwrap();
    }
    fn recv(&self, socket: &Socket) -> Message {
        block_on(socket.recv_async()).unwrap()
    }
}

struct Tokio(tokio::runtime::Runtime);

impl Api for Tokio {
    fn new() -> Self {
        Self(tokio())
    }
    fn send(&self, socket: &Socket, message: Message) {
        self.0.block_on(socket.send_async(message)).unwrap();
    }
    fn recv(&self, socket: &Socket) -> Message {
        self.0.block_on(socket.recv_async()).unwrap()
    }
}

/// One cell of the matrix.
struct Cell<A> {
    context: TestContext,
    transport: Transport,
    order: Order,
    api: A,
}

impl<A: Api> Cell<A> {
    fn new(transport: Transport, order: Order) -> Self {
        Self { context: TestContext::new(), transport, order, api: A::new() }
    }

    /// Two sockets that are connected.
    fn pair(&self, bound: SocketType, connected: SocketType) -> (Socket, Socket, Place) {
        let (bound, connected) = (self.context.socket(bound), self.context.socket(connected));
        let place = self.transport.join_in(self.order, &bound, &connected);
        (bound, connected, place)
    }

    fn send(&self, socket: &Socket, message: impl Into<Message>) {
        self.api.send(socket, message.into());
    }

    #[track_caller]
    fn expect(&self, socket: &Socket, message: impl Into<Message>) {
        assert_eq!(self.api.recv(socket), message.into());
    }
}

macro_rules! matrix {
    ($($body:ident),* $(,)?) => {$(
        mod $body {
            use super::*;
            matrix!(@cell $body, tcp_bind_first_blocking, Tcp, BindFirst, Blocking);
            matrix!(@cell $body, tcp_bind_first_futures, Tcp, BindFirst, Futures);
            matrix!(@cell $body, tcp_bind_first_tokio, Tcp, BindFirst, Tokio);
            matrix!(@cell $body, tcp_connect_first_blocking, Tcp, ConnectFirst, Blocking);
            matrix!(@cell $body, tcp_connect_first_futures, Tcp, ConnectFirst, Futures);
            matrix!(@cell $body, tcp_connect_first_tokio, Tcp, ConnectFirst, Tokio);
            matrix!(@cell $body, ipc_bind_first_blocking, Ipc, BindFirst, Blocking);
            matrix!(@cell $body, ipc_bind_first_futures, Ipc, BindFirst, Futures);
            matrix!(@cell $body, ipc_bind_first_tokio, Ipc, BindFirst, Tokio);
            matrix!(@cell $body, ipc_connect_first_blocking, Ipc, ConnectFirst, Blocking);
            matrix!(@cell $body, ipc_connect_first_futures, Ipc, ConnectFirst, Futures);
            matrix!(@cell $body, ipc_connect_first_tokio, Ipc, ConnectFirst, Tokio);
            matrix!(@cell $body, ws_bind_first_blocking, Ws, BindFirst, Blocking);
            matrix!(@cell $body, ws_bind_first_futures, Ws, BindFirst, Futures);
            matrix!(@cell $body, ws_bind_first_tokio, Ws, BindFirst, Tokio);
            matrix!(@cell $body, ws_connect_first_blocking, Ws, ConnectFirst, Blocking);
            matrix!(@cell $body, ws_connect_first_futures, Ws, ConnectFirst, Futures);
            matrix!(@cell $body, ws_connect_first_tokio, Ws, ConnectFirst, Tokio);
            matrix!(@cell $body, inproc_bind_first_blocking, Inproc, BindFirst, Blocking);
            matrix!(@cell $body, inproc_bind_first_futures, Inproc, BindFirst, Futures);
            matrix!(@cell $body, inproc_bind_first_tokio, Inproc, BindFirst, Tokio);
            matrix!(@cell $body, inproc_connect_first_blocking, Inproc, ConnectFirst, Blocking);
            matrix!(@cell $body, inproc_connect_first_futures, Inproc, ConnectFirst, Futures);
            matrix!(@cell $body, inproc_connect_first_tokio, Inproc, ConnectFirst, Tokio);
        }
    )*};
    (@cell $body:ident, $name:ident, $transport:ident, $order:ident, $api:ident) => {
        #[test]
        fn $name() {
            super::$body(&Cell::<$api>::new(Transport::$transport, Order::$order));
        }
    };
}

matrix! {
    req_and_rep_take_turns,
    dealer_and_router_route_both_ways,
    dealer_speaks_to_rep_with_a_delimiter,
    router_answers_req,
    pub_reaches_sub,
    xpub_sees_the_subscriptions_of_xsub,
    push_feeds_pull,
    pair_speaks_both_ways,
    scatter_feeds_gather,
    channel_speaks_both_ways,
    server_answers_client,
    peers_answer_one_another,
    radio_reaches_dish,
    odd_frames_arrive_as_they_were,
    large_frames_arrive_whole,
    many_messages_arrive_in_order,
}

fn req_and_rep_take_turns<A: Api>(cell: &Cell<A>) {
    let (rep, req, _place) = cell.pair(SocketType::Rep, SocketType::Req);
    for n in 0..20 {
        cell.send(&req, format!("question {n}"));
        cell.expect(&rep, format!("question {n}"));
        cell.send(&rep, ["answer", &n.to_string()]);
        cell.expect(&req, ["answer", &n.to_string()]);
    }
}

fn dealer_and_router_route_both_ways<A: Api>(cell: &Cell<A>) {
    let (router, dealer) = (cell.context.socket(SocketType::Router), cell.context.socket(SocketType::Dealer));
    dealer.set_routing_id("dealer").unwrap();
    let _place = cell.transport.join_in(cell.order, &router, &dealer);
    for n in 0..20 {
        cell.send(&dealer, ["to", "router", &n.to_string()]);
        cell.expect(&router, ["dealer", "to", "router", &n.to_string()]);
        cell.send(&router, ["dealer", "back", &n.to_string()]);
        cell.expect(&dealer, ["back", &n.to_string()]);
    }
}

fn dealer_speaks_to_rep_with_a_delimiter<A: Api>(cell: &Cell<A>) {
    let (rep, dealer, _place) = cell.pair(SocketType::Rep, SocketType::Dealer);
    // Without waiting in between: REP answers one after the other.
    for n in 0..5 {
        cell.send(&dealer, ["envelope", "", &n.to_string()]);
    }
    for n in 0..5 {
        cell.expect(&rep, n.to_string());
        cell.send(&rep, format!("re {n}"));
    }
    for n in 0..5 {
        cell.expect(&dealer, ["envelope", "", &format!("re {n}")]);
    }
}

fn router_answers_req<A: Api>(cell: &Cell<A>) {
    let (router, req, _place) = cell.pair(SocketType::Router, SocketType::Req);
    for n in 0..20 {
        cell.send(&req, n.to_string());
        let mut request = cell.api.recv(&router);
        assert_eq!(request.frames()[1..], Message::from(["", &n.to_string()]).frames()[..]);
        request.push_back("seen");
        cell.send(&router, request);
        cell.expect(&req, [n.to_string(), "seen".to_owned()]);
    }
}

fn pub_reaches_sub<A: Api>(cell: &Cell<A>) {
    let (publisher, subscriber, _place) = cell.pair(SocketType::Pub, SocketType::Sub);
    subscriber.subscribe("news").unwrap();
    await_subscription(&publisher, &subscriber);
    for n in 0..20 {
        cell.send(&publisher, ["weather", "ignored"]);
        cell.send(&publisher, ["news.today".to_owned(), n.to_string()]);
    }
    for n in 0..20 {
        cell.expect(&subscriber, ["news.today".to_owned(), n.to_string()]);
    }
}

fn xpub_sees_the_subscriptions_of_xsub<A: Api>(cell: &Cell<A>) {
    let (xpub, xsub, _place) = cell.pair(SocketType::Xpub, SocketType::Xsub);
    cell.send(&xsub, "\u{1}topic");
    cell.expect(&xpub, "\u{1}topic");
    cell.send(&xpub, ["topic", "body"]);
    cell.expect(&xsub, ["topic", "body"]);
    cell.send(&xsub, ["upstream", "message"]);
    cell.expect(&xpub, ["upstream", "message"]);
    cell.send(&xsub, "\0topic");
    cell.expect(&xpub, "\0topic");
}

fn push_feeds_pull<A: Api>(cell: &Cell<A>) {
    let (pull, push, _place) = cell.pair(SocketType::Pull, SocketType::Push);
    for n in 0..100 {
        cell.send(&push, n.to_string());
    }
    for n in 0..100 {
        cell.expect(&pull, n.to_string());
    }
}

fn pair_speaks_both_ways<A: Api>(cell: &Cell<A>) {
    let (one, other, _place) = cell.pair(SocketType::Pair, SocketType::Pair);
    for n in 0..20 {
        cell.send(&one, ["there", &n.to_string()]);
        cell.send(&other, ["and back", &n.to_string()]);
        cell.expect(&other, ["there", &n.to_string()]);
        cell.expect(&one, ["and back", &n.to_string()]);
    }
}

fn scatter_feeds_gather<A: Api>(cell: &Cell<A>) {
    let (gather, scatter, _place) = cell.pair(SocketType::Gather, SocketType::Scatter);
    for n in 0..100 {
        cell.send(&scatter, n.to_string());
    }
    for n in 0..100 {
        cell.expect(&gather, n.to_string());
    }
}

fn channel_speaks_both_ways<A: Api>(cell: &Cell<A>) {
    let (one, other, _place) = cell.pair(SocketType::Channel, SocketType::Channel);
    for n in 0..20 {
        cell.send(&one, format!("there {n}"));
        cell.send(&other, format!("and back {n}"));
        cell.expect(&other, format!("there {n}"));
        cell.expect(&one, format!("and back {n}"));
    }
}

fn server_answers_client<A: Api>(cell: &Cell<A>) {
    let (server, client, _place) = cell.pair(SocketType::Server, SocketType::Client);
    for n in 0..20 {
        cell.send(&client, n.to_string());
        let request = cell.api.recv(&server);
        assert_eq!(request, Message::from(n.to_string()));
        cell.send(&server, request);
        let reply = cell.api.recv(&client);
        assert_eq!((reply.routing_id(), reply), (0, Message::from(n.to_string())));
    }
}

fn peers_answer_one_another<A: Api>(cell: &Cell<A>) {
    let (one, other) = (cell.context.socket(SocketType::Peer), cell.context.socket(SocketType::Peer));
    let place = Place::new(cell.transport);
    one.bind(place.endpoint()).unwrap();
    let mut message = Message::from("hello");
    message.set_routing_id(other.connect_peer(place.endpoint()).unwrap());
    cell.send(&other, message);
    for turn in 0..20 {
        let holder = if turn % 2 == 0 { &one } else { &other };
        let message = cell.api.recv(holder);
        assert_eq!(message, Message::from("hello"));
        cell.send(holder, message);
    }
}

fn radio_reaches_dish<A: Api>(cell: &Cell<A>) {
    let (radio, dish, _place) = cell.pair(SocketType::Radio, SocketType::Dish);
    dish.join("news").unwrap();
    let in_group = |group: &'static str, body: &str| {
        let mut message = Message::from(body);
        message.set_group(group);
        message
    };
    // A RADIO drops what nobody has joined yet.
    common::until("the group is joined", || {
        cell.send(&radio, in_group("news", "are you there?"));
        dish.try_recv().is_ok()
    });
    cell.send(&radio, in_group("news", "begin"));
    while cell.api.recv(&dish) != Message::from("begin") {}
    for n in 0..20 {
        cell.send(&radio, in_group("weather", "ignored"));
        cell.send(&radio, in_group("news", &n.to_string()));
    }
    for n in 0..20 {
        let message = cell.api.recv(&dish);
        assert_eq!((message.group(), &message), (&b"news"[..], &Message::from(n.to_string())));
    }
}

fn odd_frames_arrive_as_they_were<A: Api>(cell: &Cell<A>) {
    let (one, other, _place) = cell.pair(SocketType::Pair, SocketType::Pair);
    let odd: [Message; 7] = [
        "".into(),
        ["", ""].into(),
        ["", "middle", ""].into(),
        vec![0u8; 255].into(), // the longest short frame
        vec![1u8; 256].into(), // the shortest long one
        [vec![2u8; 38], vec![3u8; 39], vec![4u8; 8192]].into(),
        (0..1000u32).map(|n| n.to_be_bytes().to_vec()).collect::<Message>(),
    ];
    for message in &odd {
        cell.send(&one, message.clone());
    }
    for message in &odd {
        assert_eq!(cell.api.recv(&other), *message);
    }
}

fn large_frames_arrive_whole<A: Api>(cell: &Cell<A>) {
    let (one, other, _place) = cell.pair(SocketType::Pair, SocketType::Pair);
    let body = |seed: usize| (0..1 << 20).map(|n| (n * 31 + n / 251 + seed) as u8).collect::<Vec<_>>();
    let message = |n| Message::from([vec![n as u8], body(n), vec![], body(n + 1)]);
    thread::scope(|scope| {
        scope.spawn(|| (0..4).for_each(|n| cell.send(&one, message(n))));
        for n in 0..4 {
            assert!(cell.api.recv(&other) == message(n), "message {n} was damaged");
        }
    });
}

fn many_messages_arrive_in_order<A: Api>(cell: &Cell<A>) {
    let (pull, push, _place) = cell.pair(SocketType::Pull, SocketType::Push);
    const COUNT: u32 = 10_000;
    thread::scope(|scope| {
        scope.spawn(|| (0..COUNT).for_each(|n| cell.send(&push, &n.to_be_bytes())));
        for n in 0..COUNT {
            cell.expect(&pull, &n.to_be_bytes());
        }
    });
    assert!(pull.try_recv().is_err());
}

#[test]
fn one_socket_speaks_over_all_transports_at_once() {
    let context = TestContext::new();
    let pull = context.socket(SocketType::Pull);
    let pushes: Vec<_> = common::TRANSPORTS
        .iter()
        .map(|transport| {
            let push = context.socket(SocketType::Push);
            transport.join(&pull, &push);
            push
        })
        .collect();
    for push in &pushes {
        push.send("hello").unwrap();
    }
    for _ in &pushes {
        assert_eq!(recv(&pull), Message::from("hello"));
    }
}
