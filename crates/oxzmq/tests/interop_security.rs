//! oxzmq against libzmq: PLAIN, CURVE and ZAP, over TCP, IPC and WebSocket, each side binding, each side the server.

mod peers;

use std::time::{Duration, Instant};

use oxzmq::curve::KeyPair;
use oxzmq::{
    AuthRequest, Context, Credentials, Event, EventKind, Frame, Message, Monitor, Security, Socket, SocketType,
};
use tempfile::TempDir;

use peers::{Peer, pattern};

const PATIENCE: Duration = Duration::from_secs(15);

struct Pair {
    ours: Socket,
    monitor: Monitor,
    peer: Peer,
    endpoint: String,
    context: Context,
    directory: TempDir,
}

/// Every transport, with us and with them binding.
fn everywhere(mut run: impl FnMut(&dyn Fn(Pair) -> Pair)) {
    for transport in ["tcp", "ipc", "ws"] {
        for we_bind in [true, false] {
            run(&|pair| pair.joined(transport, we_bind));
        }
    }
}

impl Pair {
    /// A DEALER here and one there with these options.
    fn new(security: Security, options: &str) -> Self {
        let context = Context::new();
        let ours = context.socket(SocketType::Dealer).unwrap();
        ours.set_linger(Some(Duration::ZERO)).unwrap();
        ours.set_send_timeout(Some(PATIENCE)).unwrap();
        ours.set_recv_timeout(Some(PATIENCE)).unwrap();
        ours.set_security(security).unwrap();
        let monitor = ours.monitor().unwrap();
        let mut peer = Peer::start();
        peer.tell(&format!("socket theirs DEALER {options}"));
        let directory = tempfile::tempdir().unwrap();
        Pair { ours, monitor, peer, endpoint: String::new(), context, directory }
    }

    fn joined(mut self, transport: &str, we_bind: bool) -> Self {
        let wanted = match transport {
            "tcp" | "ws" => format!("{transport}://127.0.0.1:*"),
            _ => format!("ipc://{}", self.directory.path().join("socket").display()),
        };
        if we_bind {
            self.endpoint = self.ours.bind(&wanted).unwrap();
            self.peer.tell(&format!("connect theirs {}", self.endpoint));
        } else {
            self.endpoint = self.peer.tell(&format!("bind theirs {wanted}"));
            self.ours.connect(&self.endpoint).unwrap();
        }
        self
    }

    fn talks(&mut self) {
        for message in shapes() {
            self.peer.send("theirs", &message);
            assert_eq!(self.ours.recv().unwrap(), message);
            self.ours.send(message.clone()).unwrap();
            assert_eq!(self.peer.recv("theirs"), message);
        }
        // Many small ones in a row, which share buffers on both ends.
        self.peer.begin("burst theirs 5000");
        for number in 0..5000 {
            assert_eq!(self.ours.recv().unwrap().to_text_lossy(), number.to_string());
        }
        self.peer.end();
    }

    /// Has them bind a ZAP handler.
    fn zap_there(&mut self) {
        self.peer.tell("socket zap REP");
        self.peer.tell("bind zap inproc://zeromq.zap.01");
    }

    /// Their handler answers one request, which is returned.
    fn zap_answers(&mut self, status: &str, user: &str) -> Message {
        let request = self.peer.recv("zap");
        let reply = ["1.0", "1", status, "text", user, ""].map(|part| Frame::from(part.as_bytes().to_vec()));
        self.peer.send("zap", &Message::from(reply));
        request
    }

    fn event(&self, wanted: &[EventKind]) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.monitor.recv_deadline(deadline).expect("an event");
            if wanted.contains(&event.kind) {
                return event;
            }
        }
    }

    fn failure(&self) -> (EventKind, u32) {
        use EventKind::*;
        let event = self.event(&[HandshakeFailed, HandshakeFailedAuth, HandshakeFailedProtocol, HandshakeSucceeded]);
        (event.kind, event.value)
    }
}

fn shapes() -> Vec<Message> {
    vec![
        Message::from("one frame"),
        Message::from(["three", "", "frames"]),
        [0, 1, 37, 38, 221, 222, 223, 254, 255, 256, 16_383, 16_384].map(pattern).into_iter().collect(),
        Message::from([pattern(1 << 20), pattern(0), pattern(70_000)]),
    ]
}

fn curve_server(keys: &KeyPair) -> String {
    format!("curve_server=1 curve_secretkey={}", keys.secret_z85())
}

fn curve_client(server: &KeyPair, keys: &KeyPair) -> String {
    let (secret, public) = (keys.secret_z85(), keys.public());
    format!("curve_serverkey={} curve_publickey={public} curve_secretkey={secret}", server.public())
}

fn plain(username: &str, password: &str) -> Security {
    Security::PlainClient { username: username.into(), password: password.into() }
}

#[test]
fn curve_as_the_server() {
    everywhere(|join| {
        let (server, client) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let options = curve_client(&server, &client);
        let mut pair = join(Pair::new(Security::CurveServer(server), &options));
        pair.talks();
    });
}

#[test]
fn curve_as_the_client() {
    everywhere(|join| {
        let (server, keys) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let ours = Security::CurveClient { server: server.public(), keys };
        let mut pair = join(Pair::new(ours, &curve_server(&server)));
        pair.talks();
    });
}

#[test]
fn curve_authenticated_here() {
    everywhere(|join| {
        let (server, client) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let options = curve_client(&server, &client);
        let pair = Pair::new(Security::CurveServer(server), &options);
        pair.context.set_authenticator(move |request: AuthRequest| {
            if *request.credentials() == Credentials::Curve(client.public()) {
                request.accept("anna");
            } else {
                request.refuse();
            }
        });
        let mut pair = join(pair);
        pair.peer.send("theirs", &Message::from("hello"));
        let message = pair.ours.recv().unwrap();
        assert_eq!(message.properties().unwrap().get_str("User-Id"), Some("anna"));
    });
}

#[test]
fn curve_authenticated_there() {
    everywhere(|join| {
        let (server, keys) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let public = keys.public();
        let ours = Security::CurveClient { server: server.public(), keys };
        let mut pair = Pair::new(ours, &format!("{} zap_domain=there", curve_server(&server)));
        pair.zap_there();
        let mut pair = join(pair);
        let request = pair.zap_answers("200", "anna");
        assert_eq!(request[2], "there");
        assert_eq!(request[5], "CURVE");
        assert_eq!(request[6][..], public.as_bytes()[..]);
        pair.ours.send("hello").unwrap();
        assert_eq!(pair.peer.tell("user theirs"), peers::encode(&Frame::from("anna")));
        pair.talks();
    });
}

#[test]
fn curve_with_the_wrong_server_key_fails_on_both_sides() {
    let (server, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let options = curve_client(&other, &KeyPair::generate().unwrap());
    let pair = Pair::new(Security::CurveServer(server.clone()), &options).joined("tcp", true);
    assert_eq!(pair.failure(), (EventKind::HandshakeFailedProtocol, 0x1100_0001));

    let ours = Security::CurveClient { server: other.public(), keys: KeyPair::generate().unwrap() };
    let pair = Pair::new(ours, &curve_server(&server)).joined("tcp", false);
    assert_eq!(pair.failure().0, EventKind::HandshakeFailed);
    pair.event(&[EventKind::ConnectRetried]);
}

#[test]
fn plain_as_the_server() {
    everywhere(|join| {
        let pair = Pair::new(Security::PlainServer, "plain_username=anna plain_password=secret");
        pair.context.set_authenticator(|request: AuthRequest| match request.credentials() {
            Credentials::Plain { username, password } if username == "anna" && password == "secret" => {
                request.accept("anna");
            }
            _ => request.refuse(),
        });
        join(pair).talks();
    });
}

#[test]
fn plain_as_the_client() {
    everywhere(|join| {
        let mut pair = Pair::new(plain("anna", "secret"), "plain_server=1");
        pair.zap_there();
        let mut pair = join(pair);
        let request = pair.zap_answers("200", "anna");
        assert_eq!((request[5].clone(), &request[6], &request[7]), ("PLAIN".into(), &"anna".into(), &"secret".into()));
        pair.talks();
    });
}

/// libzmq misspells the ERROR of PLAIN; we do not.
#[test]
fn a_refusal_is_understood_in_both_directions() {
    for status in ["400", "500"] {
        let code = status.parse().unwrap();
        let mut pair = Pair::new(plain("anna", "wrong"), "plain_server=1");
        pair.zap_there();
        let mut pair = pair.joined("tcp", false);
        pair.zap_answers(status, "");
        assert_eq!(pair.failure(), (EventKind::HandshakeFailedAuth, code));

        let server = KeyPair::generate().unwrap();
        let ours = Security::CurveClient { server: server.public(), keys: KeyPair::generate().unwrap() };
        let mut pair = Pair::new(ours, &curve_server(&server));
        pair.zap_there();
        let mut pair = pair.joined("tcp", false);
        pair.zap_answers(status, "");
        assert_eq!(pair.failure(), (EventKind::HandshakeFailedAuth, code));
    }
    let pair = Pair::new(Security::PlainServer, "plain_username=anna plain_password=wrong");
    pair.context.set_authenticator(AuthRequest::refuse);
    let pair = pair.joined("tcp", true);
    assert_eq!(pair.failure(), (EventKind::HandshakeFailedAuth, 400));
}

/// 300 from libzmq says nothing and leaves the connection open: our client's own time has to end it.
#[test]
fn a_refusal_for_now_ends_with_the_handshakes_time() {
    let mut pair = Pair::new(plain("anna", "secret"), "plain_server=1");
    pair.ours.set_handshake_interval(Some(Duration::from_millis(300))).unwrap();
    pair.zap_there();
    let mut pair = pair.joined("tcp", false);
    pair.zap_answers("300", "");
    assert_eq!(pair.failure().0, EventKind::HandshakeFailed);
    pair.zap_answers("200", "anna");
    pair.talks();
}

#[test]
fn null_with_a_domain_is_asked_about_on_either_side() {
    let mut pair = Pair::new(Security::Null, "zap_domain=there");
    pair.zap_there();
    let mut pair = pair.joined("tcp", false);
    let request = pair.zap_answers("200", "anna");
    assert_eq!(request[5], "NULL");
    pair.talks();

    let pair = Pair::new(Security::Null, "");
    pair.ours.set_zap_domain("here").unwrap();
    pair.context.set_authenticator(|request: AuthRequest| request.accept("anna"));
    pair.joined("tcp", true).talks();
}

#[test]
fn another_mechanism_is_refused_with_an_event() {
    let keys = KeyPair::generate().unwrap();
    for options in ["", "plain_username=a plain_password=b"] {
        let pair = Pair::new(Security::CurveServer(keys.clone()), options).joined("tcp", true);
        // Or it has looked at our greeting first, and closed.
        let failure = pair.failure();
        assert!(
            [(EventKind::HandshakeFailedProtocol, 0x1100_0002), (EventKind::HandshakeFailed, 32)].contains(&failure)
        );
    }
}

#[test]
fn curve_publishes_to_subscribers_there_and_back() {
    curve_publishes("tcp");
}

/// Over WebSocket subscriptions are messages, in boxes as elsewhere; libzmq's own are commands there, which its own
/// publishers take no notice of.
#[test]
fn curve_publishes_over_websocket_there_and_back() {
    curve_publishes("ws");
}

fn curve_publishes(transport: &str) {
    let (server, client) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let context = Context::new();
    let ours = context.socket(SocketType::Xpub).unwrap();
    ours.set_recv_timeout(Some(PATIENCE)).unwrap();
    ours.set_security(Security::CurveServer(server.clone())).unwrap();
    let endpoint = ours.bind(&format!("{transport}://127.0.0.1:*")).unwrap();
    let mut peer = Peer::start();
    peer.tell(&format!("socket sub SUB {}", curve_client(&server, &client)));
    peer.tell(&format!("connect sub {endpoint}"));
    peer.tell(&format!("subscribe sub {}", peers::encode(&Frame::from("topic"))));
    assert_eq!(ours.recv().unwrap()[0], "\x01topic");
    ours.send("other").unwrap();
    ours.send("topic and more").unwrap();
    assert_eq!(peer.recv("sub"), Message::from("topic and more"));

    let ours = context.socket(SocketType::Sub).unwrap();
    ours.set_recv_timeout(Some(PATIENCE)).unwrap();
    ours.set_security(Security::CurveClient { server: server.public(), keys: client }).unwrap();
    ours.subscribe("topic").unwrap();
    peer.tell(&format!("socket xpub XPUB {}", curve_server(&server)));
    let endpoint = peer.tell(&format!("bind xpub {transport}://127.0.0.1:*"));
    ours.connect(&endpoint).unwrap();
    assert_eq!(peer.recv("xpub"), Message::from("\x01topic"));
    peer.send("xpub", &Message::from("other"));
    peer.send("xpub", &Message::from("topic and more"));
    assert_eq!(ours.recv().unwrap(), Message::from("topic and more"));
}
