//! PLAIN and CURVE between our own sockets, and who decides about peers: an authenticator in the process or a ZAP
//! handler.

mod common;

use std::sync::{Arc, Mutex};
use std::thread;

use common::*;
use oxzmq::curve::{AllowedKeys, Certificate, KeyPair};
use oxzmq::{
    AuthRequest, Credentials, ErrorKind, Event, EventKind, Frame, Mechanism, Message, Monitor, Properties, Security,
    Socket, SocketType,
};

/// A server's and a client's side of CURVE.
fn curve() -> (Security, Security) {
    let server = KeyPair::generate().unwrap();
    let keys = KeyPair::generate().unwrap();
    (Security::CurveServer(server.clone()), Security::CurveClient { server: server.public(), keys })
}

fn plain_client(username: &str, password: &str) -> Security {
    Security::PlainClient { username: username.into(), password: password.into() }
}

/// Lets everybody in who says "let me in".
fn judge(request: AuthRequest) {
    match request.credentials() {
        Credentials::Plain { username, password } if password == "let me in" => {
            let username = username.clone();
            request.accept(username);
        }
        _ => request.refuse(),
    }
}

/// Both ends' monitors, of sockets that have been told to meet.
struct Meeting {
    context: TestContext,
    server: Socket,
    client: Socket,
    at_server: Monitor,
    at_client: Monitor,
}

impl Meeting {
    /// PULL as the server and PUSH as the client of a mechanism, not connected yet.
    fn new(server: Security, client: Security) -> Self {
        let context = TestContext::new();
        let sockets = (context.socket(SocketType::Pull), context.socket(SocketType::Push));
        sockets.0.set_security(server).unwrap();
        sockets.1.set_security(client).unwrap();
        let monitors = (sockets.0.monitor().unwrap(), sockets.1.monitor().unwrap());
        Self { context, server: sockets.0, client: sockets.1, at_server: monitors.0, at_client: monitors.1 }
    }

    fn meet(&self) {
        self.meet_over(Transport::Tcp, true);
    }

    fn meet_over(&self, transport: Transport, server_binds: bool) {
        let (binder, other) = if server_binds { (&self.server, &self.client) } else { (&self.client, &self.server) };
        let endpoint = binder.bind(&transport.wildcard()).unwrap();
        other.connect(&endpoint).unwrap();
    }

    #[track_caller]
    fn works(&self) -> Message {
        await_event(&self.at_server, EventKind::HandshakeSucceeded);
        await_event(&self.at_client, EventKind::HandshakeSucceeded);
        send(&self.client, "through");
        let message = recv(&self.server);
        assert_eq!(text(&message), ["through"]);
        message
    }

    /// What the server and then the client tell about a handshake that fails.
    fn failures(&self) -> (Event, Event) {
        (failure(&self.at_server), failure(&self.at_client))
    }
}

fn failure(monitor: &Monitor) -> Event {
    use EventKind::*;
    loop {
        let event = monitor.recv_deadline(soon()).expect("an event");
        assert_ne!(event.kind, HandshakeSucceeded);
        if matches!(event.kind, HandshakeFailed | HandshakeFailedAuth | HandshakeFailedProtocol) {
            return event;
        }
    }
}

const EPIPE: u32 = 32;
const EFAULT: u32 = 14;

// ---- mechanisms ----------------------------------------------------------------------------------------

#[test]
fn curve_carries_messages_of_every_size_both_ways() {
    for transport in NETWORKS {
        for server_binds in [true, false] {
            let context = TestContext::new();
            let (ours, theirs) = (context.socket(SocketType::Dealer), context.socket(SocketType::Dealer));
            let (server, client) = curve();
            ours.set_security(server).unwrap();
            theirs.set_security(client).unwrap();
            assert_eq!(ours.mechanism(), Mechanism::Curve);
            let (binder, other) = if server_binds { (&ours, &theirs) } else { (&theirs, &ours) };
            transport.join(binder, other);
            for size in [0, 1, 38, 39, 255, 256, 16_383, 16_384, 300_000, 2_000_000] {
                let body: Vec<u8> = (0..=250).cycle().take(size).collect();
                let message = Message::from([Frame::from("first"), Frame::from(body), Frame::new()]);
                for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
                    send(from, message.clone());
                    assert_eq!(recv(to), message, "{size}");
                }
            }
            // A flood, which fills every buffer on the way.
            thread::scope(|scope| {
                scope.spawn(|| (0..20_000).for_each(|n: u32| send(&theirs, n.to_string())));
                (0..20_000).for_each(|n: u32| assert_eq!(recv_text(&ours), [n.to_string()]));
            });
        }
    }
}

#[test]
fn curve_encrypts_subscriptions_and_what_is_published() {
    let context = TestContext::new();
    let (publisher, subscriber) = (context.socket(SocketType::Pub), context.socket(SocketType::Sub));
    let (server, client) = curve();
    publisher.set_security(server).unwrap();
    subscriber.set_security(client).unwrap();
    Transport::Tcp.join(&publisher, &subscriber);
    await_subscription(&publisher, &subscriber);
    subscriber.subscribe("a").unwrap();
    await_subscription(&publisher, &subscriber);
    send(&publisher, "b");
    send(&publisher, "a");
    assert_eq!(recv_text(&subscriber), ["a"]);
}

#[test]
fn heartbeats_go_on_under_curve() {
    let (server, client) = curve();
    let meeting = Meeting::new(server, client);
    meeting.server.set_heartbeat_interval(Some(ms(20))).unwrap();
    meeting.server.set_heartbeat_timeout(Some(ms(5000))).unwrap();
    meeting.meet();
    meeting.works();
    assert_silent(&meeting.server);
    send(&meeting.client, "alive");
    assert_eq!(recv_text(&meeting.server), ["alive"]);
}

#[test]
fn a_client_that_expects_another_server_does_not_get_in() {
    let (server, _) = curve();
    let (_, client) = curve();
    let meeting = Meeting::new(server, client);
    meeting.meet();
    let (at_server, at_client) = meeting.failures();
    assert_eq!((at_server.kind, at_server.value), (EventKind::HandshakeFailedProtocol, 0x1100_0001));
    assert_eq!((at_client.kind, at_client.value), (EventKind::HandshakeFailed, EPIPE));
    await_event(&meeting.at_client, EventKind::ConnectRetried);
}

#[test]
fn ends_with_different_mechanisms_refuse_each_other() {
    let (curve_server, curve_client) = curve();
    let clients = [Security::Null, plain_client("a", "b"), curve_client];
    let servers = [Security::Null, Security::PlainServer, curve_server];
    for (n, server) in servers.iter().enumerate() {
        for (m, client) in clients.iter().enumerate().filter(|(m, _)| *m != n) {
            let meeting = Meeting::new(server.clone(), client.clone());
            meeting.meet();
            let event = failure(&meeting.at_server);
            let mismatch = (EventKind::HandshakeFailedProtocol, 0x1100_0002);
            assert_eq!((event.kind, event.value), mismatch, "{n} {m}");
            // The other end sees that, or only that this one has gone.
            let event = failure(&meeting.at_client);
            assert!((event.kind, event.value) == mismatch || event.kind == EventKind::HandshakeFailed, "{event:?}");
        }
    }
}

/// Two servers wait for each other's HELLO until the handshake's time is over; of two clients each gets what only a
/// server may get.
#[test]
fn two_servers_or_two_clients_end_with_an_event() {
    let (curve_server, curve_client) = curve();
    for server in [Security::PlainServer, curve_server] {
        let meeting = Meeting::new(server.clone(), server);
        meeting.server.set_handshake_interval(Some(ms(50))).unwrap();
        meeting.client.set_handshake_interval(Some(ms(50))).unwrap();
        meeting.meet();
        let (one, other) = meeting.failures();
        assert_eq!((one.kind, other.kind), (EventKind::HandshakeFailed, EventKind::HandshakeFailed));
    }
    for client in [plain_client("a", "b"), curve_client] {
        let meeting = Meeting::new(client.clone(), client);
        meeting.meet();
        let (one, other) = meeting.failures();
        let unexpected = (EventKind::HandshakeFailedProtocol, 0x1000_0001);
        assert!([&one, &other].iter().any(|event| (event.kind, event.value) == unexpected), "{one:?} {other:?}");
    }
}

#[test]
fn a_small_limit_for_messages_leaves_the_handshake_alone_and_holds_behind_it() {
    let (server, client) = curve();
    let meeting = Meeting::new(server, client);
    meeting.server.set_max_message_size(Some(100)).unwrap();
    meeting.meet();
    meeting.works();
    send(&meeting.client, vec![1; 100]);
    assert_eq!(recv(&meeting.server)[0].len(), 100);
    send(&meeting.client, vec![1; 101]);
    await_event(&meeting.at_server, EventKind::Disconnected);
}

#[test]
fn names_and_passwords_have_255_octets_at_most() {
    let context = TestContext::new();
    let socket = context.socket(SocketType::Push);
    socket.set_security(plain_client(&"x".repeat(255), &"y".repeat(255))).unwrap();
    assert_eq!(socket.mechanism(), Mechanism::Plain);
    assert_kind(socket.set_security(plain_client(&"x".repeat(256), "")), ErrorKind::InvalidArgument);
    assert_kind(socket.set_security(plain_client("", &"x".repeat(256))), ErrorKind::InvalidArgument);
    assert_kind(socket.set_zap_domain(&"x".repeat(256)), ErrorKind::InvalidArgument);
    assert_eq!(socket.mechanism(), Mechanism::Plain);
}

#[test]
fn nothing_secret_is_shown() {
    let (server, client) = curve();
    for security in [server, client, plain_client("anna", "let me in")] {
        let shown = format!("{security:?}");
        assert!(!shown.contains("let me in") && shown.len() < 20, "{shown}");
    }
}

// ---- an authenticator in the process -------------------------------------------------------------------

#[test]
fn plain_asks_the_authenticator_and_names_the_user() {
    for transport in NETWORKS {
        for server_binds in [true, false] {
            let meeting = Meeting::new(Security::PlainServer, plain_client("anna", "let me in"));
            meeting.context.set_authenticator(judge);
            meeting.meet_over(transport, server_binds);
            let message = meeting.works();
            let properties = message.properties().expect("properties");
            assert_eq!(properties.get_str("User-Id"), Some("anna"));
            assert!(properties.get("Peer-Address").is_some());
        }
    }
}

#[test]
fn a_wrong_password_ends_both_ends_with_400_and_nobody_comes_back() {
    for transport in NETWORKS {
        let meeting = Meeting::new(Security::PlainServer, plain_client("anna", "let me out"));
        meeting.context.set_authenticator(judge);
        meeting.meet_over(transport, true);
        let (at_server, at_client) = meeting.failures();
        assert_eq!((at_server.kind, at_server.value), (EventKind::HandshakeFailedAuth, 400));
        assert_eq!((at_client.kind, at_client.value), (EventKind::HandshakeFailedAuth, 400));
        assert_eq!(await_event(&meeting.at_client, EventKind::Disconnected).kind, EventKind::Disconnected);
        assert!(meeting.at_client.recv_deadline(std::time::Instant::now() + A_WHILE).is_err());
    }
}

#[test]
fn a_peer_refused_for_now_comes_back_and_may_get_in() {
    let meeting = Meeting::new(Security::PlainServer, plain_client("anna", "let me in"));
    let tries = Mutex::new(0);
    meeting.context.set_authenticator(move |request| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        if *tries < 3 { request.refuse_for_now() } else { request.accept("anna") }
    });
    meeting.meet();
    for _ in 0..2 {
        let (at_server, at_client) = meeting.failures();
        assert_eq!((at_server.kind, at_server.value), (EventKind::HandshakeFailedAuth, 300));
        assert_eq!((at_client.kind, at_client.value), (EventKind::HandshakeFailed, EPIPE));
    }
    meeting.works();
}

#[test]
fn curve_tells_the_authenticator_the_key_and_where_from() {
    let (server, client) = curve();
    let Security::CurveClient { keys, .. } = &client else { unreachable!() };
    let key = keys.public();
    let meeting = Meeting::new(server, client);
    meeting.server.set_zap_domain("backstage").unwrap();
    meeting.server.set_routing_id("door").unwrap();
    meeting.context.set_authenticator(move |request| {
        let expected = *request.credentials() == Credentials::Curve(key)
            && request.mechanism() == Mechanism::Curve
            && request.domain() == "backstage"
            && request.address() == "127.0.0.1"
            && request.routing_id() == "door";
        let mut known = Properties::new();
        known.insert("Lvl", "7");
        known.insert("User-Id", "not this");
        if expected { request.accept_with("anna", &known) } else { request.refuse() }
    });
    meeting.meet();
    let message = meeting.works();
    let properties = message.properties().unwrap();
    assert_eq!((properties.get_str("User-Id"), properties.get_str("Lvl")), (Some("anna"), Some("7")));
}

#[test]
fn null_asks_where_a_domain_is_set_and_nowhere_else() {
    for (domain, works) in [("", true), ("somewhere", false)] {
        let meeting = Meeting::new(Security::Null, Security::Null);
        meeting.context.set_authenticator(|request| {
            assert_eq!(*request.credentials(), Credentials::Null);
            request.refuse();
        });
        meeting.server.set_zap_domain(domain).unwrap();
        meeting.meet();
        if works {
            meeting.works();
        } else {
            let (at_server, at_client) = meeting.failures();
            assert_eq!((at_server.kind, at_server.value), (EventKind::HandshakeFailedAuth, 400));
            assert_eq!((at_client.kind, at_client.value), (EventKind::HandshakeFailedAuth, 400));
        }
    }
}

#[test]
fn an_answer_may_come_later_and_holds_up_nobody_else() {
    let meeting = Meeting::new(Security::PlainServer, plain_client("slow", "let me in"));
    let waiting: Arc<Mutex<Vec<AuthRequest>>> = Arc::default();
    let keep = Arc::clone(&waiting);
    meeting.context.set_authenticator(move |request| match request.credentials() {
        Credentials::Plain { username, .. } if username == "slow" => keep.lock().unwrap().push(request),
        _ => request.accept("fast"),
    });
    meeting.meet();
    until("the first has been asked about", || waiting.lock().unwrap().len() == 1);

    let other = meeting.context.socket(SocketType::Push);
    other.set_security(plain_client("fast", "")).unwrap();
    other.connect(&meeting.server.last_endpoint()).unwrap();
    send(&other, "first");
    assert_eq!(recv_text(&meeting.server), ["first"]);

    waiting.lock().unwrap().pop().unwrap().accept("slow");
    await_event(&meeting.at_client, EventKind::HandshakeSucceeded);
    send(&meeting.client, "second");
    assert_eq!(recv_text(&meeting.server), ["second"]);
}

#[test]
fn a_request_forgotten_or_a_panic_refuses_with_500() {
    let forget: fn(AuthRequest) = |_| ();
    let panic: fn(AuthRequest) = |_| panic!("a panic that this test is about");
    for authenticator in [forget, panic] {
        let meeting = Meeting::new(Security::PlainServer, plain_client("a", "b"));
        meeting.context.set_authenticator(authenticator);
        meeting.meet();
        let (at_server, at_client) = meeting.failures();
        assert_eq!((at_server.kind, at_server.value), (EventKind::HandshakeFailedAuth, 500));
        assert_eq!((at_client.kind, at_client.value), (EventKind::HandshakeFailedAuth, 500));
    }
}

#[test]
fn an_answer_after_everything_is_closed_is_nobodys() {
    let waiting: Arc<Mutex<Vec<AuthRequest>>> = Arc::default();
    let meeting = Meeting::new(Security::PlainServer, plain_client("a", "b"));
    let keep = Arc::clone(&waiting);
    meeting.context.set_authenticator(move |request| keep.lock().unwrap().push(request));
    meeting.meet();
    until("somebody has been asked about", || !waiting.lock().unwrap().is_empty());
    drop(meeting);
    for request in waiting.lock().unwrap().drain(..) {
        request.accept("too late");
    }
}

// ---- nobody to ask -------------------------------------------------------------------------------------

#[test]
fn with_nobody_to_ask_plain_is_refused_and_curve_and_null_are_let_in_unless_enforced() {
    let unavailable = |meeting: &Meeting| {
        meeting.meet();
        let (at_server, at_client) = meeting.failures();
        assert_eq!((at_server.kind, at_server.value), (EventKind::HandshakeFailed, EFAULT));
        assert_eq!((at_client.kind, at_client.value), (EventKind::HandshakeFailed, EPIPE));
    };
    unavailable(&Meeting::new(Security::PlainServer, plain_client("a", "b")));
    for domain in ["", "somewhere"] {
        for enforce in [false, true] {
            for curved in [false, true] {
                let (server, client) = if curved { curve() } else { Default::default() };
                let meeting = Meeting::new(server, client);
                meeting.server.set_zap_domain(domain).unwrap();
                meeting.server.set_zap_enforce_domain(enforce).unwrap();
                assert_eq!(
                    (meeting.server.zap_domain().as_str(), meeting.server.zap_enforce_domain()),
                    (domain, enforce)
                );
                if enforce && !domain.is_empty() {
                    unavailable(&meeting);
                } else {
                    meeting.meet();
                    meeting.works();
                }
            }
        }
    }
}

// ---- a ZAP handler -------------------------------------------------------------------------------------

/// A ZAP handler that answers each request with what `answer` makes of it; none for no answer.
fn zap(context: &TestContext, count: usize, answer: impl Fn(&[String]) -> Option<Message> + Send + 'static) {
    let handler = context.socket(SocketType::Rep);
    handler.bind("inproc://zeromq.zap.01").unwrap();
    thread::spawn(move || {
        for _ in 0..count {
            let Ok(request) = handler.recv_deadline(soon()) else { return };
            let Some(reply) = answer(&text(&request)) else { continue };
            let _ = handler.send(reply);
        }
    });
}

fn answer(status: &str, user_id: &str, metadata: &'static [u8]) -> Message {
    let mut reply = Message::from(["1.0", "1", status, "text", user_id]);
    reply.push_back(metadata);
    reply
}

#[test]
fn a_zap_handler_is_asked_and_its_word_counts() {
    for transport in NETWORKS {
        let meeting = Meeting::new(Security::PlainServer, plain_client("anna", "let me in"));
        meeting.server.set_zap_domain("backstage").unwrap();
        let (requests, seen) = std::sync::mpsc::channel();
        zap(&meeting.context, 1, move |request| {
            requests.send(request.to_vec()).unwrap();
            Some(answer("200", "anna", b"\x03Lvl\0\0\0\x017"))
        });
        meeting.meet_over(transport, true);
        let message = meeting.works();
        let properties = message.properties().unwrap();
        assert_eq!((properties.get_str("User-Id"), properties.get_str("Lvl")), (Some("anna"), Some("7")));
        let request = seen.recv().unwrap();
        let address = request[3].clone();
        assert_eq!(request, ["1.0", "1", "backstage", &address, "", "PLAIN", "anna", "let me in"]);
        match transport {
            Transport::Tcp | Transport::Ws => assert_eq!(address, "127.0.0.1"),
            _ => assert!(address.starts_with("localhost:") && address.split(':').count() == 4, "{address}"),
        }
    }
}

#[test]
fn a_zap_handler_that_refuses_is_obeyed_under_every_mechanism() {
    for status in [300, 400, 500] {
        let (server, client) = curve();
        let pairs =
            [(Security::Null, Security::Null), (Security::PlainServer, plain_client("a", "b")), (server, client)];
        for (server, client) in pairs {
            let meeting = Meeting::new(server, client);
            meeting.server.set_zap_domain("somewhere").unwrap();
            zap(&meeting.context, 1, move |_| Some(answer(&status.to_string(), "", b"")));
            meeting.meet();
            let (at_server, at_client) = meeting.failures();
            assert_eq!((at_server.kind, at_server.value), (EventKind::HandshakeFailedAuth, status));
            if status == 300 {
                assert_eq!((at_client.kind, at_client.value), (EventKind::HandshakeFailed, EPIPE));
            } else {
                assert_eq!((at_client.kind, at_client.value), (EventKind::HandshakeFailedAuth, status));
            }
        }
    }
}

#[test]
fn a_connecting_socket_asks_about_the_peer_it_found() {
    let meeting = Meeting::new(Security::Null, Security::Null);
    meeting.client.set_zap_domain("somewhere").unwrap();
    zap(&meeting.context, 1, |_| Some(answer("400", "", b"")));
    meeting.meet();
    let (at_server, at_client) = meeting.failures();
    assert_eq!((at_client.kind, at_client.value), (EventKind::HandshakeFailedAuth, 400));
    assert_eq!((at_server.kind, at_server.value), (EventKind::HandshakeFailedAuth, 400));
}

#[test]
fn an_answer_that_is_none_denies_with_its_number() {
    let frames = |frames: &[&str]| -> Message { frames.iter().map(|frame| frame.to_string()).collect() };
    let cases = [
        (frames(&["1.0", "1", "200", "", ""]), 0x2000_0001),
        (frames(&["1.0", "1", "200", "", "", "", ""]), 0x2000_0001),
        (frames(&["1.0", "2", "200", "", "", ""]), 0x2000_0002),
        (frames(&["2.0", "1", "200", "", "", ""]), 0x2000_0003),
        (frames(&["1.0", "1", "201", "", "", ""]), 0x2000_0004),
        (frames(&["1.0", "1", "200", "", "", "\x05Name"]), 0x2000_0005),
    ];
    for (reply, code) in cases {
        let (server, client) = curve();
        let meeting = Meeting::new(server, client);
        zap(&meeting.context, 1, move |_| Some(reply.clone()));
        meeting.meet();
        let (at_server, at_client) = meeting.failures();
        assert_eq!((at_server.kind, at_server.value), (EventKind::HandshakeFailedProtocol, code));
        assert_eq!((at_client.kind, at_client.value), (EventKind::HandshakeFailed, EPIPE));
    }
}

#[test]
fn a_handler_that_never_answers_or_dies_denies_when_the_handshakes_time_is_over() {
    for dies in [false, true] {
        let meeting = Meeting::new(Security::PlainServer, plain_client("a", "b"));
        meeting.server.set_handshake_interval(Some(ms(100))).unwrap();
        let handler = meeting.context.socket(SocketType::Router);
        handler.bind("inproc://zeromq.zap.01").unwrap();
        meeting.meet();
        recv(&handler);
        let handler = (!dies).then_some(handler);
        let (at_server, at_client) = meeting.failures();
        assert_eq!((at_server.kind, at_client.kind), (EventKind::HandshakeFailed, EventKind::HandshakeFailed));
        drop(handler);
        // A new one is found by the next attempt, as long as its predecessor is gone.
        zap(&meeting.context, 1, |_| Some(answer("200", "a", b"")));
        meeting.works();
    }
}

#[test]
fn many_are_asked_about_at_once_by_one_handler() {
    const MANY: usize = 100;
    let context = TestContext::new();
    let server = context.socket(SocketType::Pull);
    server.set_security(Security::PlainServer).unwrap();
    let endpoint = server.bind("tcp://127.0.0.1:*").unwrap();
    let handler = context.socket(SocketType::Router);
    handler.bind("inproc://zeromq.zap.01").unwrap();
    let clients: Vec<Socket> = (0..MANY)
        .map(|n| {
            let client = context.socket(SocketType::Push);
            client.set_security(plain_client(&n.to_string(), "")).unwrap();
            client.connect(&endpoint).unwrap();
            send(&client, n.to_string());
            client
        })
        .collect();
    // All questions first, then all answers, in the opposite order.
    let requests: Vec<Message> = (0..MANY).map(|_| recv(&handler)).collect();
    for request in requests.iter().rev() {
        let user = request[8].clone();
        let mut reply = Message::from([request[0].clone(), Frame::new()]);
        for frame in ["1.0", "1", "200", ""] {
            reply.push_back(frame);
        }
        reply.push_back(user);
        reply.push_back("");
        send(&handler, reply);
    }
    for _ in 0..MANY {
        let message = recv(&server);
        let user = message.properties().unwrap().get_str("User-Id").map(str::to_owned);
        assert_eq!(user.as_deref(), Some(&*message.to_text_lossy()));
    }
    drop(clients);
}

#[test]
fn the_authenticator_comes_before_a_zap_handler() {
    let meeting = Meeting::new(Security::PlainServer, plain_client("anna", "let me in"));
    let handler = meeting.context.socket(SocketType::Rep);
    handler.bind("inproc://zeromq.zap.01").unwrap();
    meeting.context.set_authenticator(judge);
    meeting.meet();
    meeting.works();
    assert_kind(handler.try_recv(), ErrorKind::WouldBlock);
}

// ---- by number -----------------------------------------------------------------------------------------

#[test]
fn the_options_of_the_c_api_secure_a_socket_too() {
    use oxzmq::{OptionInfo, OptionValue};
    let set =
        |socket: &Socket, name: &str, value: OptionValue| socket.set_option(OptionInfo::by_name(name).unwrap(), value);
    let get = |socket: &Socket, name: &str| socket.option(OptionInfo::by_name(name).unwrap()).unwrap();
    let bytes = |value: &[u8]| OptionValue::from(value);

    let (server, client) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let meeting = Meeting::new(Security::Null, Security::Null);
    set(&meeting.server, "CURVE_SERVER", 1.into()).unwrap();
    set(&meeting.server, "CURVE_SECRETKEY", bytes(server.secret().as_bytes())).unwrap();
    assert_eq!(get(&meeting.server, "CURVE_SERVER"), 1.into());
    assert_eq!(get(&meeting.server, "MECHANISM"), 2.into());
    // In Z85, with and without the C string's end.
    set(&meeting.client, "CURVE_SERVERKEY", server.public().to_string().as_str().into()).unwrap();
    set(&meeting.client, "CURVE_PUBLICKEY", format!("{}\0", client.public()).as_str().into()).unwrap();
    set(&meeting.client, "CURVE_SECRETKEY", client.secret_z85().as_str().into()).unwrap();
    assert_eq!(get(&meeting.client, "CURVE_PUBLICKEY"), bytes(client.public().as_bytes()));
    meeting.meet();
    meeting.works();

    let socket = &meeting.client;
    for wrong in [&[1; 31][..], &[1; 33], &[b'a'; 39], &[b'~'; 40], &[b'a'; 41]] {
        assert_kind(set(socket, "CURVE_SERVERKEY", bytes(wrong)), ErrorKind::InvalidArgument);
    }
    set(socket, "PLAIN_USERNAME", "anna".into()).unwrap();
    set(socket, "PLAIN_PASSWORD", "secret".into()).unwrap();
    assert_eq!((get(socket, "PLAIN_USERNAME"), get(socket, "MECHANISM")), ("anna".into(), 1.into()));
    assert_kind(set(socket, "PLAIN_USERNAME", bytes(&[b'x'; 256])), ErrorKind::InvalidArgument);
    set(socket, "ZAP_DOMAIN", "somewhere".into()).unwrap();
    set(socket, "ZAP_ENFORCE_DOMAIN", 7.into()).unwrap();
    assert_eq!((get(socket, "ZAP_DOMAIN"), get(socket, "ZAP_ENFORCE_DOMAIN")), ("somewhere".into(), 1.into()));
    assert_kind(set(socket, "ZAP_DOMAIN", "".into()), ErrorKind::InvalidArgument);
    assert_kind(set(socket, "ZAP_DOMAIN", bytes(&[0xff])), ErrorKind::InvalidArgument);
}

#[test]
fn those_whose_keys_are_allowed_no_more_are_sent_away_and_the_others_stay() {
    for transport in [Transport::Tcp, Transport::Ipc] {
        let directory = tempfile::tempdir().unwrap();
        let certificate = |name: &str| {
            let keys = KeyPair::generate().unwrap();
            // Nobody is somebody else by what is written in a certificate.
            let other = KeyPair::generate().unwrap().public().to_string();
            Certificate::of(keys.public()).with("Public-Key", &other).save(directory.path().join(name)).unwrap();
            keys
        };
        let (anna, ben) = (certificate("anna"), certificate("ben"));
        let allowed = AllowedKeys::open(directory.path()).unwrap();
        let server = KeyPair::generate().unwrap();
        let client = |keys| Security::CurveClient { server: server.public(), keys };
        let meeting = Meeting::new(Security::CurveServer(server.clone()), client(anna.clone()));
        let judge = allowed.clone();
        meeting.context.set_authenticator(move |request| judge.judge(request));
        meeting.meet_over(transport, true);
        let message = meeting.works();
        let told = |name: &str| message.properties().unwrap().get_str(name).map(str::to_owned);
        assert_eq!(told("Public-Key"), Some(anna.public().to_string()));

        let second = meeting.context.socket(SocketType::Push);
        second.set_security(client(ben)).unwrap();
        second.connect(&meeting.server.last_endpoint()).unwrap();
        await_event(&meeting.at_server, EventKind::HandshakeSucceeded);
        assert_eq!(allowed.send_away(&meeting.server), 0, "all are allowed");

        std::fs::remove_file(directory.path().join("anna")).unwrap();
        assert_eq!(allowed.send_away(&meeting.server), 1);
        // It comes again, and is told that it need not.
        assert_eq!(failure(&meeting.at_client).value, 400);
        assert_eq!(allowed.send_away(&meeting.server), 0);
        send(&second, "still here");
        let message = recv(&meeting.server);
        assert_eq!(
            (text(&message), message.properties().unwrap().get_str("User-Id")),
            (vec!["still here".into()], Some("ben"))
        );
    }
}
