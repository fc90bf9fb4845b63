//! One network peer: a connection (or, between two of them, none), its protocol state and its two queues.
//!
//! Whoever is there does the I/O: the thread that sends, the thread that waits to receive, or the I/O
//! thread, each under the lock of the half it drives. Nobody waits for another thread's system call for
//! long, because a half is only locked by those that its queue's flags have told to come.
//!
//! The halves work in *steps*. What a step made possible for the socket (messages, room) is reported
//! after the half's lock is released, because the socket's pattern may turn round and ask this session for
//! more.

mod heartbeat;
mod receive;
mod send;

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use oxzmq_proto::{Control, Decoder, Encoder, Frame, Message, OutBuf, ProtocolError, SocketType};
use parking_lot::Mutex;

pub(crate) use self::send::Gathered;
use crate::connector::Connector;
use crate::context::Lingering;
use crate::core::Core;
use crate::core::spin::Spin;
use crate::monitor::{Event, EventKind};
use crate::options::Options;
use crate::peer_info::Description;
use crate::peers::{FarEnd, PeerId};
use crate::queue::Queue;
use crate::reactor::Parting;
use crate::security::Mechanism;
use crate::sys::Interest;

/// Steps that one visit may take before other connections get their turn.
const STEPS_PER_VISIT: usize = 8;

/// The protocol of a connection once messages flow.
pub(crate) enum Codec {
    Zmtp(Box<Encoder>, Box<Decoder>),
    /// STREAM: bytes as they are.
    Raw,
}

/// The transport connection itself, shared by the two halves.
pub(crate) struct Link {
    pub(crate) fd: OwnedFd,
    /// There is TLS behind it, which has still to write what the descriptor has taken.
    pub(crate) relayed: bool,
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The peer closed it.
    Closed,
    Os(io::Error),
    Protocol(ProtocolError),
    /// Nothing was heard for longer than the heartbeat allows.
    Silent,
    /// The application closed it through this end.
    Local,
}

/// Where the peer came from, which decides what its loss means.
pub(crate) enum Origin {
    /// Accepted by the listener with this number: gone when its connection is.
    Accepted { listener: u64, endpoint: String },
    /// Connected by an endpoint that makes a new connection when this one is lost. With `keep`, the peer and
    /// its queues outlive the connection.
    Connector { connector: Arc<Connector>, keep: bool },
}

pub(crate) struct Session {
    core: Arc<Core>,
    peer: OnceLock<PeerId>,
    pub(crate) origin: Origin,
    outbound: Arc<Queue>,
    inbound: Arc<Queue>,
    tx: Mutex<Tx>,
    rx: Mutex<Rx>,
    watched: Mutex<Watched>,
    /// The socket's idle clock and the messages pushed at the last look for a flood. Hints: any value is
    /// correct.
    last_idle: AtomicU64,
    last_pushed: AtomicU64,
    /// Flushes so far, for whoever wants to know whether there was one meanwhile.
    flushes: AtomicU64,
    /// Sends in quick succession so far. A hint, too.
    streak: AtomicU32,
    /// The I/O thread looks after what has gathered; see [`Session::deferred_tick`].
    watched_for_rest: AtomicBool,
    life: Mutex<Life>,
    heartbeat: Heartbeat,
    /// An empty frame is delivered for each connection made.
    announces: bool,
    /// Delivered when the connection is lost.
    parting: Vec<Message>,
    mechanism: Mechanism,
}

enum Life {
    Open,
    /// The application wants no more of this peer; what is queued may still be sent. With nothing left of the time
    /// for that, the end is abrupt.
    Lingering {
        context_waits: Lingering,
        abrupt: bool,
    },
    Finished,
}

#[derive(Default)]
struct Tx {
    link: Option<Arc<Link>>,
    /// `None` for raw connections.
    encoder: Option<Box<Encoder>>,
    /// Taken from the queue and not yet encoded.
    local: VecDeque<Message>,
    /// Encoded and not yet reported to the queue as read.
    encoded: usize,
    /// Encoded since `out` was empty last: perhaps not all of them are written.
    buffered: u64,
    out: OutBuf,
    /// The kernel takes no more; its readiness will bring somebody back.
    blocked: bool,
    /// The peer takes no more; the receiving half will find the end.
    broken: bool,
    /// A raw connection that is to be closed once `out` is written.
    hang_up: bool,
    /// Octets written so far, to all connections.
    octets: u64,
}

#[derive(Default)]
struct Rx {
    link: Option<Arc<Link>>,
    /// `None` for raw connections.
    decoder: Option<Box<Decoder>>,
    /// Read and not yet decoded: a partial frame, or more than the inbound queue had room for.
    leftover: Vec<u8>,
    leftover_start: usize,
    /// The last decoding stopped because the inbound queue had no more room.
    cut: bool,
    batch: VecDeque<Message>,
    controls: Vec<Control>,
    /// The inbound queue is full: reading goes on when it has room.
    paused: bool,
    /// The last read was of a large body and to its end: the next is probably large, too.
    expects_large: bool,
    /// What was learned about looking for the next piece of a large body.
    spin: Spin,
    /// Octets read so far, from all connections.
    octets: u64,
}

#[derive(Default)]
struct Watched {
    link: Option<Arc<Link>>,
    interest: Interest,
}

struct Heartbeat {
    interval: Option<Duration>,
    timeout: Option<Duration>,
    ttl_deciseconds: u16,
    /// Nanoseconds of [`clock`] by which something must have been heard; 0 when nothing is due. Set by the
    /// I/O thread when it sends a PING, cleared by whoever reads. A lost update only moves a timeout by one
    /// interval, so no ordering is needed.
    deadline: AtomicU64,
    /// The same for the TTL that the peer announced.
    ttl_deadline: AtomicU64,
}

/// Nanoseconds since the first call; never 0.
pub(crate) fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What a step left to do.
enum Next {
    /// Nothing until the kernel or the queue reports.
    Wait,
    /// There is more at once.
    Again,
    Lost(Arc<Link>, Lost),
}

impl Session {
    pub(crate) fn new(
        core: Arc<Core>,
        origin: Origin,
        options: &Options,
        queues: (Arc<Queue>, Arc<Queue>),
    ) -> Arc<Self> {
        let ttl = (options.heartbeat_ttl.as_millis() / 100).min(6553);
        let announces = options.announces(core.socket_type);
        if options.heartbeat_interval.is_some_and(|interval| !interval.is_zero()) {
            core.watch_closely();
        }
        let parting = options.parting(core.socket_type, matches!(origin, Origin::Accepted { .. }));
        Arc::new(Self {
            core,
            peer: OnceLock::new(),
            origin,
            outbound: queues.0,
            inbound: queues.1,
            tx: Mutex::default(),
            rx: Mutex::default(),
            watched: Mutex::default(),
            last_idle: AtomicU64::new(0),
            last_pushed: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            streak: AtomicU32::new(0),
            watched_for_rest: AtomicBool::new(false),
            life: Mutex::new(Life::Open),
            heartbeat: Heartbeat {
                interval: options.heartbeat_interval.filter(|interval| !interval.is_zero()),
                timeout: options.heartbeat_timeout.or(options.heartbeat_interval).filter(|t| !t.is_zero()),
                ttl_deciseconds: ttl as u16, // at most 6553
                deadline: AtomicU64::new(0),
                ttl_deadline: AtomicU64::new(0),
            },
            announces,
            parting,
            mechanism: options.security.mechanism(),
        })
    }

    pub(crate) fn set_peer(&self, id: PeerId) {
        let _ = self.peer.set(id);
    }

    pub(crate) fn peer(&self) -> Option<PeerId> {
        self.peer.get().copied()
    }

    pub(crate) fn endpoint(&self) -> &str {
        match &self.origin {
            Origin::Accepted { endpoint, .. } => endpoint,
            Origin::Connector { connector, .. } => &connector.name,
        }
    }

    pub(crate) fn queues(&self) -> (&Arc<Queue>, &Arc<Queue>) {
        (&self.outbound, &self.inbound)
    }

    /// Puts a connection behind the queues and starts the traffic. `leftover` was read with the handshake; `hello`
    /// goes out before all else, and again on the next connection. Called by the I/O thread, after the peer is known
    /// to the socket.
    pub(crate) fn install(self: &Arc<Self>, link: Link, codec: Codec, hello: Option<Message>, leftover: Vec<u8>) {
        let link = Arc::new(link);
        {
            let mut tx = self.tx.lock();
            let mut rx = self.rx.lock();
            match codec {
                Codec::Zmtp(mut encoder, decoder) => {
                    if let Some(hello) = hello {
                        encoder.encode(hello, &mut tx.out);
                    }
                    tx.encoder = Some(encoder);
                    rx.decoder = Some(decoder);
                }
                Codec::Raw => {}
            }
            tx.link = Some(Arc::clone(&link));
            tx.blocked = false;
            tx.broken = false;
            rx.link = Some(Arc::clone(&link));
            rx.leftover = leftover;
            rx.leftover_start = 0;
            rx.expects_large = false;
            rx.paused = false;
            if self.announces {
                rx.batch.push_back(Message::single(Frame::new()));
            }
            // Under the same locks, so that a loss takes both back.
            self.watch(Some(&link), |_| Interest::READ);
        }
        if self.is_finished() {
            // The peer was sent away as soon as it was known, when there was no connection yet that could be closed.
            return self.lost(&link, Lost::Local);
        }
        self.receive();
        self.flush();
    }

    /// The poll set reports the connection ready.
    pub(crate) fn ready(self: &Arc<Self>, read: bool, write: bool) {
        if write {
            self.writable();
        }
        if read {
            // Level-triggered: a descriptor that must not be read now is taken out of the set.
            let paused = self.rx.lock().paused;
            if paused {
                self.watch(None, |interest| Interest { read: false, ..interest });
                // Room may have come between the two looks.
                if self.inbound.has_room() {
                    self.resume();
                }
            } else {
                self.receive();
            }
        }
    }

    /// Reads without having been told that there is anything; true when there was.
    pub(crate) fn read_now(self: &Arc<Self>) -> bool {
        // Room to write is told by the poll set alone, which who reads here does not ask.
        if self.tx.lock().blocked {
            return false;
        }
        let before = {
            let rx = self.rx.lock();
            if rx.paused {
                return false;
            }
            rx.octets
        };
        self.receive();
        self.rx.lock().octets != before
    }

    /// Has the poll set report input (again).
    fn watch_for_input(&self) {
        self.watch(None, |interest| Interest { read: true, ..interest });
    }

    /// Changes what the poll set reports. With nothing of interest the descriptor leaves the set: an error
    /// or hang-up would otherwise be reported for ever.
    fn watch(&self, link: Option<&Arc<Link>>, change: impl FnOnce(Interest) -> Interest) {
        let (Some(net), Some(peer)) = (self.core.existing_net(), self.peer()) else { return };
        let mut watched = self.watched.lock();
        if let Some(link) = link {
            watched.link = Some(Arc::clone(link));
            watched.interest = Interest::NONE;
        }
        let Some(link) = watched.link.clone() else { return };
        let before = watched.interest;
        let after = change(before);
        if after == before {
            return;
        }
        // Failing means that memory or descriptors have run out in the kernel: the connection cannot be
        // served, and its loss is the one way to say so.
        let result = if before == Interest::NONE {
            net.set.add(&link.fd, peer.token(), after)
        } else if after == Interest::NONE {
            net.set.remove(&link.fd)
        } else {
            net.set.modify(&link.fd, peer.token(), after)
        };
        watched.interest = after;
        if let Err(error) = result {
            tracing::warn!(endpoint = self.endpoint(), %error, "cannot watch a connection; closing it");
            let _ = rustix::net::shutdown(&link.fd, rustix::net::Shutdown::Both);
        }
    }

    fn lost(self: &Arc<Self>, link: &Arc<Link>, why: Lost) {
        {
            let mut tx = self.tx.lock();
            if !tx.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
                return; // somebody else noticed first
            }
            let mut rx = self.rx.lock();
            let mut watched = self.watched.lock();
            if let (Some(net), true) = (self.core.existing_net(), watched.interest != Interest::NONE) {
                let _ = net.set.remove(&link.fd);
            }
            *watched = Watched::default();
            tx.link = None;
            tx.encoder = None;
            let buffered = std::mem::take(&mut tx.buffered);
            if !tx.out.is_empty() {
                self.core.count_lost(buffered);
            }
            tx.out.clear();
            tx.out.shrink();
            tx.blocked = false;
            tx.broken = false;
            if self.forgets_unsent() {
                // At once, so that what is sent next finds room. These types never wait for it.
                let forgotten = std::mem::take(&mut tx.encoded) + tx.local.len();
                tx.local.clear();
                self.outbound.report(forgotten);
            }
            rx.link = None;
            rx.decoder = None;
            rx.leftover = Vec::new();
            rx.leftover_start = 0;
        }
        self.heard();
        let asked_for = !self.is_open() || matches!(why, Lost::Local);
        if !asked_for {
            let event = Event::new(EventKind::Disconnected, self.endpoint()).descriptor(&link.fd);
            self.core.raise(event.reason(match &why {
                Lost::Closed => "closed by the peer".to_owned(),
                Lost::Os(error) => error.to_string(),
                Lost::Protocol(error) => error.to_string(),
                Lost::Silent => "no sign of life within the heartbeat timeout".to_owned(),
                Lost::Local => String::new(),
            }));
            if let Lost::Protocol(error) = &why {
                tracing::debug!(endpoint = self.endpoint(), %error, "closed a connection that broke the protocol");
            }
        }
        self.deliver_rest(if asked_for { &[] } else { &self.parting });
        self.after_loss(&why);
    }

    /// What subscribers tell a publisher they tell the next connection anew.
    fn forgets_unsent(&self) -> bool {
        matches!(self.core.socket_type, SocketType::Sub | SocketType::Xsub | SocketType::Dish)
    }

    /// Hands over what was received before the loss, whatever the high-water mark says.
    fn deliver_rest(&self, parting: &[Message]) {
        let mut wake = false;
        {
            let mut rx = self.rx.lock();
            for message in rx.batch.drain(..) {
                wake |= self.inbound.push_over(message);
            }
        }
        for message in parting {
            wake |= self.inbound.push_over(message.clone());
        }
        if wake && let Some(peer) = self.peer() {
            self.core.peer_readable(peer);
        }
    }

    fn after_loss(self: &Arc<Self>, why: &Lost) {
        let fatal = match why {
            Lost::Protocol(error) => error.is_fatal_for_connecter(),
            Lost::Local => true,
            _ => false,
        };
        match &self.origin {
            Origin::Accepted { .. } => self.finish(),
            Origin::Connector { connector, keep } => {
                if !fatal && connector.reconnects() && !connector.options.reconnect_stop.lost {
                    if !*keep {
                        self.finish();
                    } else if let Some(peer) = self.peer() {
                        self.core.unlink(peer);
                    }
                    connector.retry("");
                } else {
                    // The endpoint first: whoever sees that the peer is gone finds no endpoint either.
                    connector.give_up();
                    if !matches!(why, Lost::Protocol(_)) {
                        self.core.endpoints.lock().forget(connector);
                    }
                    self.finish();
                }
            }
        }
        self.finish_if_drained();
    }

    /// Everything queued has been written.
    fn is_drained(&self) -> bool {
        let tx = self.tx.lock();
        tx.out.is_empty() && tx.local.is_empty() && self.outbound.len() == 0
    }

    fn finish_if_drained(self: &Arc<Self>) {
        let lingers = matches!(*self.life.lock(), Life::Lingering { .. });
        if lingers && self.is_drained() {
            self.finish();
        }
    }

    /// Ends the session for good: closes the connection, if any, and tells the socket.
    pub(crate) fn finish(self: &Arc<Self>) {
        let before = std::mem::replace(&mut *self.life.lock(), Life::Finished);
        let lingering = match before {
            Life::Finished => return,
            Life::Open => None,
            Life::Lingering { context_waits, abrupt } => Some((context_waits, abrupt)),
        };
        self.fetch();
        let gently = matches!(lingering, Some((_, false))) && self.is_drained();
        let unsent = self.unsent();
        let lingered = lingering.is_some();
        let link = self.tx.lock().link.clone();
        if let Some(link) = link {
            self.lost(&link, Lost::Local);
            if let (true, Some((context_waits, _)), Some(net)) = (gently, lingering, self.core.existing_net())
                && let Some(parting) = Parting::begin(link, context_waits)
            {
                net.reactor.part(parting);
            }
        }
        if let Origin::Connector { connector, keep } = &self.origin {
            if *keep || lingered {
                connector.give_up();
            }
            if lingered {
                // It is not wanted any more, and whoever sees that it is gone finds no endpoint either.
                self.core.endpoints.lock().forget(connector);
            }
        }
        if let Some(peer) = self.peer() {
            if !self.forgets_unsent() {
                self.core.count_lost((self.tx.lock().local.len() + self.outbound.len()) as u64);
                if lingered && unsent > 0 {
                    self.core.report_unsent(peer, self.endpoint(), unsent);
                }
            }
            self.core.detach(peer);
            self.core.remove_session(peer);
        }
    }

    /// Messages that are not known to be with the system as a whole.
    fn unsent(&self) -> u64 {
        let tx = self.tx.lock();
        let buffered = if tx.out.is_empty() { 0 } else { tx.buffered };
        buffered + (tx.local.len() + self.outbound.len()) as u64
    }

    /// Ends the session once what is queued has been sent, or after `linger` (`None`: however long it takes).
    pub(crate) fn close_lingering(self: &Arc<Self>, linger: Option<Duration>) {
        // In this order: a closed queue gives no credit, and who lingers ends when its queue is empty.
        self.outbound.close();
        self.fetch();
        {
            let mut life = self.life.lock();
            if !matches!(*life, Life::Open) {
                return;
            }
            let abrupt = linger == Some(Duration::ZERO);
            *life = Life::Lingering { context_waits: self.core.context.linger(self.endpoint()), abrupt };
        }
        self.flush();
        if linger == Some(Duration::ZERO) {
            self.finish();
        } else if let (Some(linger), Some(net)) = (linger, self.core.existing_net()) {
            net.reactor.linger_until(self, linger);
        }
    }

    /// There is a connection, or the one that the socket has been told of is being put behind the queues.
    pub(crate) fn is_connected(&self) -> bool {
        let linked = |id| self.core.with_peers(|peers| peers.get(id).is_some_and(|peer| peer.linked));
        self.peer().is_some_and(linked)
    }

    fn is_open(&self) -> bool {
        matches!(*self.life.lock(), Life::Open)
    }

    pub(crate) fn is_finished(&self) -> bool {
        matches!(*self.life.lock(), Life::Finished)
    }

    pub(crate) fn is_accepted_by(&self, listener_id: u64) -> bool {
        matches!(self.origin, Origin::Accepted { listener, .. } if listener == listener_id)
    }
}

impl FarEnd for Session {
    fn data_ready(self: Arc<Self>) {
        self.data_ready_now();
    }

    fn data_ready_later(self: Arc<Self>) {
        match self.core.existing_net() {
            Some(net) => net.reactor.flush(Arc::clone(&self)),
            None => self.flush(),
        }
    }

    fn room_ready(self: Arc<Self>) {
        self.resume();
    }

    fn describe(&self) -> Description {
        let (in_hand, octets_out) = {
            let tx = self.tx.lock();
            (tx.local.len(), tx.octets)
        };
        Description {
            endpoint: self.endpoint().to_owned(),
            accepted: matches!(self.origin, Origin::Accepted { .. }),
            mechanism: self.mechanism,
            in_hand,
            octets_out,
            octets_in: self.rx.lock().octets,
        }
    }

    fn close(self: Arc<Self>) {
        let linger = self.core.options(|options| options.linger);
        self.close_lingering(linger);
    }
}
