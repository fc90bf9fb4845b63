//! One network peer: a connection (or, between two of them, none), its protocol state and its two queues.
//!
//! Whoever is there does the I/O: the thread that sends, the thread that waits to receive, or the I/O
//! thread, each under the lock of the half it drives. Nobody waits for another thread's system call for
//! long, because a half is only locked by those that its queue's flags have told to come.
//!
//! The halves work in *steps*. What a step made possible for the socket (messages, room) is reported
//! after the half's lock is released, because the socket's pattern may turn round and ask this session for
//! more.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use oxzmq_proto::{Control, Decoder, Encoder, Frame, Message, OutBuf, ProtocolError};
use parking_lot::Mutex;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use crate::connector::Connector;
use crate::core::Core;
use crate::monitor::{Event, EventKind};
use crate::options::Options;
use crate::peers::{FarEnd, PeerId};
use crate::queue::Queue;
use crate::sys::Interest;

/// Encoded bytes gathered for one write. Larger gains nothing and costs cache.
const WRITE_BATCH: usize = 64 * 1024;

/// Most pieces handed to the kernel in one vectored write.
const MAX_SLICES: usize = 64;

/// Size of the per-thread buffer that reads go into.
const READ_BUFFER: usize = 128 * 1024;

/// Steps that one visit may take before other connections get their turn.
const STEPS_PER_VISIT: usize = 8;

/// A send this soon after the last flush belongs to a flood: the I/O thread gathers it with its successors.
/// A later one is a request, a reply, a lone message: it goes out at once, in the sender's own thread.
const FLOOD_GAP: Duration = Duration::from_micros(20);

/// So many sends in quick succession make a flood that is expected to go on. Its messages are gathered, and
/// written by the sender itself when there are [`GATHER`] bytes, or when it waits for anything; the I/O
/// thread sees to it that what is left behind does not wait for long. Shorter bursts are handed to the I/O
/// thread at once.
const FLOOD_STREAK: u32 = 6;

/// Bytes that a flood gathers before they are written.
const GATHER: usize = 32 * 1024;

thread_local! {
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The protocol of a connection once messages flow.
pub(crate) enum Codec {
    Zmtp(Box<Encoder>, Box<Decoder>),
    /// STREAM: bytes as they are.
    Raw,
}

/// The transport connection itself, shared by the two halves.
pub(crate) struct Link {
    fd: OwnedFd,
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
    /// When the last flush ended, in nanoseconds of [`clock`]. A hint: any value is correct.
    last_flush: AtomicU64,
    /// Sends in quick succession so far. A hint, too.
    streak: AtomicU32,
    /// The I/O thread looks after what has gathered; see [`Session::deferred_tick`].
    watched_for_rest: AtomicBool,
    life: Mutex<Life>,
    heartbeat: Heartbeat,
    notify: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    /// The application wants no more of this peer; what is queued may still be sent.
    Lingering,
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
    out: OutBuf,
    /// The kernel takes no more; its readiness will bring somebody back.
    blocked: bool,
    /// A raw connection that is to be closed once `out` is written.
    hang_up: bool,
}

#[derive(Default)]
struct Rx {
    link: Option<Arc<Link>>,
    /// `None` for raw connections.
    decoder: Option<Box<Decoder>>,
    /// Read and not yet decoded: a partial frame, or more than the inbound queue had room for.
    leftover: Vec<u8>,
    leftover_start: usize,
    batch: VecDeque<Message>,
    controls: Vec<Control>,
    /// The inbound queue is full: reading goes on when it has room.
    paused: bool,
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
        Arc::new(Self {
            core,
            peer: OnceLock::new(),
            origin,
            outbound: queues.0,
            inbound: queues.1,
            tx: Mutex::default(),
            rx: Mutex::default(),
            watched: Mutex::default(),
            last_flush: AtomicU64::new(0),
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
            notify: options.stream_notify,
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

    /// Puts a connection behind the queues and starts the traffic. `leftover` was read with the handshake.
    /// Called by the I/O thread, after the peer is known to the socket.
    pub(crate) fn install(self: &Arc<Self>, fd: OwnedFd, codec: Codec, leftover: Vec<u8>) {
        let link = Arc::new(Link { fd });
        {
            let mut tx = self.tx.lock();
            let mut rx = self.rx.lock();
            let raw = matches!(codec, Codec::Raw);
            match codec {
                Codec::Zmtp(encoder, decoder) => {
                    tx.encoder = Some(encoder);
                    rx.decoder = Some(decoder);
                }
                Codec::Raw => {}
            }
            tx.link = Some(Arc::clone(&link));
            tx.blocked = false;
            rx.link = Some(Arc::clone(&link));
            rx.leftover = leftover;
            rx.leftover_start = 0;
            rx.paused = false;
            if raw && self.notify {
                rx.batch.push_back(Message::single(Frame::new()));
            }
        }
        self.watch(Some(&link), |_| Interest::READ);
        self.receive();
        self.flush();
    }

    // ---- sending ---------------------------------------------------------------------------------------

    /// Encodes and writes what is queued, until the queue is empty or the kernel takes no more.
    pub(crate) fn flush(self: &Arc<Self>) {
        for _ in 0..STEPS_PER_VISIT {
            let mut room = false;
            let next = self.send_step(&mut self.tx.lock(), &mut room);
            if room && let Some(peer) = self.peer() {
                self.core.peer_writable(peer);
            }
            match next {
                Next::Again => {}
                Next::Wait => {
                    self.last_flush.store(clock(), Ordering::Relaxed);
                    return self.finish_if_drained();
                }
                Next::Lost(link, why) => return self.lost(&link, why),
            }
        }
        // More than a fair share: go on after the others.
        if let Some(net) = self.core.existing_net() {
            net.reactor.flush(Arc::clone(self));
        }
    }

    fn send_step(&self, tx: &mut Tx, room: &mut bool) -> Next {
        let Some(link) = tx.link.clone() else { return Next::Wait };
        if tx.blocked {
            return Next::Wait;
        }
        self.encode(tx, room);
        if tx.out.is_empty() {
            tx.out.shrink();
            if tx.hang_up {
                return Next::Lost(link, Lost::Local);
            }
            return Next::Wait;
        }
        match write(&link, &mut tx.out) {
            Ok(()) => Next::Again,
            Err(Errno::AGAIN) => {
                tx.blocked = true;
                self.watch(None, |interest| Interest { write: true, ..interest });
                Next::Wait
            }
            Err(Errno::INTR) => Next::Again,
            Err(error) => Next::Lost(link, Lost::Os(error.into())),
        }
    }

    /// Moves messages from the queue into the write buffer. With nothing left to move, the queue counts its
    /// consumer as asleep: the next push brings somebody here.
    fn encode(&self, tx: &mut Tx, room: &mut bool) {
        while tx.out.len() < WRITE_BATCH && !tx.hang_up {
            if tx.local.is_empty() {
                *room |= self.outbound.take(&mut tx.local, std::mem::take(&mut tx.encoded));
                if tx.local.is_empty() {
                    break;
                }
            }
            while let Some(message) = tx.local.pop_front() {
                tx.encoded += 1;
                match &mut tx.encoder {
                    Some(encoder) => encoder.encode(message, &mut tx.out),
                    None => tx.hang_up = !encode_raw(message, &mut tx.out),
                }
                if tx.out.len() >= WRITE_BATCH || tx.hang_up {
                    break;
                }
            }
        }
    }

    /// The kernel takes bytes again.
    fn writable(self: &Arc<Self>) {
        self.watch(None, |interest| Interest { write: false, ..interest });
        self.tx.lock().blocked = false;
        self.flush();
    }

    /// The I/O thread's look at a connection whose messages gather; `seen` is what the last look returned.
    /// `None` ends the watch: nobody has written for a tick, so what is left is written here.
    pub(crate) fn deferred_tick(self: &Arc<Self>, seen: u64) -> Option<u64> {
        let flushed = self.last_flush.load(Ordering::Relaxed);
        if flushed != seen {
            return Some(flushed);
        }
        self.streak.store(0, Ordering::Relaxed);
        // Before the flush, see `data_ready`.
        self.watched_for_rest.store(false, Ordering::SeqCst);
        self.flush();
        None
    }

    // ---- receiving -------------------------------------------------------------------------------------

    /// Reads and decodes, until the kernel has no more or the inbound queue is full.
    fn receive(self: &Arc<Self>) {
        for _ in 0..STEPS_PER_VISIT {
            let mut wake = false;
            let mut controls = Vec::new();
            let next = {
                let mut rx = self.rx.lock();
                let next = self.receive_step(&mut rx, &mut wake);
                if !rx.controls.is_empty() {
                    std::mem::swap(&mut rx.controls, &mut controls);
                }
                next
            };
            if wake && let Some(peer) = self.peer() {
                self.core.peer_readable(peer);
            }
            if !controls.is_empty() {
                self.answer(&controls);
            }
            match next {
                Next::Again => {}
                Next::Wait => return,
                Next::Lost(link, why) => return self.lost(&link, why),
            }
        }
        // More than a fair share. The descriptor is still ready, and the poll set is level-triggered.
    }

    fn receive_step(&self, rx: &mut Rx, wake: &mut bool) -> Next {
        let Some(link) = rx.link.clone() else { return Next::Wait };
        match self.try_receive_step(rx, &link, wake) {
            Ok(next) => next,
            Err(why) => {
                // What was decoded before the error is good.
                let _ = self.deliver(rx, wake);
                Next::Lost(link, why)
            }
        }
    }

    fn try_receive_step(&self, rx: &mut Rx, link: &Arc<Link>, wake: &mut bool) -> Result<Next, Lost> {
        if !self.deliver(rx, wake) {
            return Ok(Next::Wait);
        }
        if rx.leftover_start < rx.leftover.len() {
            let before = rx.leftover_start;
            let leftover = std::mem::take(&mut rx.leftover);
            let used = self.decode(rx, &leftover[before..]);
            rx.leftover = leftover;
            rx.leftover_start += used?;
            if !self.deliver(rx, wake) {
                return Ok(Next::Wait);
            }
            if rx.leftover_start > before {
                return Ok(Next::Again);
            }
        }
        self.read(rx, link, wake)
    }

    /// One read, into the final buffer of a large body when one is on its way.
    fn read(&self, rx: &mut Rx, link: &Arc<Link>, wake: &mut bool) -> Result<Next, Lost> {
        if let Some(mut body) = rx.decoder.as_mut().and_then(|decoder| decoder.body()) {
            body.reserve();
            let want = body.missing.min(body.buffer.capacity() - body.buffer.len());
            let Some(got) = recv_body(link, body.buffer, want)? else { return Ok(Next::Wait) };
            if let Some(decoder) = &mut rx.decoder {
                decoder.body_received(&mut rx.batch, &mut rx.controls).map_err(Lost::Protocol)?;
            }
            self.heard();
            let more = self.deliver(rx, wake);
            return Ok(if more && got == want { Next::Again } else { Next::Wait });
        }
        let mut buffer = READ.take();
        let next = self.read_small(rx, link, wake, &mut buffer);
        READ.set(buffer);
        next
    }

    fn read_small(&self, rx: &mut Rx, link: &Arc<Link>, wake: &mut bool, buffer: &mut Vec<u8>) -> Result<Next, Lost> {
        buffer.resize(READ_BUFFER, 0);
        let kept = rx.leftover.len() - rx.leftover_start;
        // A partial frame is shorter than the decoder's large bodies, which are far below the buffer's size.
        // Never read into nothing all the same: that would look like the peer's end.
        if kept >= READ_BUFFER {
            buffer.resize(kept + READ_BUFFER, 0);
        }
        buffer[..kept].copy_from_slice(&rx.leftover[rx.leftover_start..]);
        let space = buffer.len() - kept;
        let read = received(|| rustix::net::recv(&link.fd, &mut buffer[kept..], RecvFlags::empty()).map(|(n, _)| n))?;
        let Some(got) = read else { return Ok(Next::Wait) };
        let input = &buffer[..kept + got];
        let used = self.decode(rx, input)?;
        // Memory that idle connections need not keep.
        if used == input.len() {
            rx.leftover = Vec::new();
        } else {
            rx.leftover.clear();
            rx.leftover.extend_from_slice(&input[used..]);
        }
        rx.leftover_start = 0;
        let more = self.deliver(rx, wake);
        Ok(if more && got == space { Next::Again } else { Next::Wait })
    }

    /// Decodes as many messages as the inbound queue has room for.
    fn decode(&self, rx: &mut Rx, input: &[u8]) -> Result<usize, Lost> {
        let Some(decoder) = &mut rx.decoder else {
            rx.batch.push_back(Message::single(input));
            return Ok(input.len());
        };
        let room = self.inbound.room().saturating_sub(rx.batch.len());
        let used = decoder.decode(input, &mut rx.batch, room, &mut rx.controls).map_err(Lost::Protocol)?;
        if used > 0 {
            self.heard();
        }
        Ok(used)
    }

    /// Queues what was decoded; false when the queue is full and reading has to pause.
    fn deliver(&self, rx: &mut Rx, wake: &mut bool) -> bool {
        if !rx.batch.is_empty() {
            let pushed = self.inbound.push_batch(&mut rx.batch);
            *wake |= pushed.wake;
        }
        // Asked even after a push that fit exactly: `has_room` makes sure that the consumer calls back.
        rx.paused = !rx.batch.is_empty() || !self.inbound.has_room();
        !rx.paused
    }

    /// A sign of life.
    fn heard(&self) {
        if self.heartbeat.deadline.load(Ordering::Relaxed) != 0 {
            self.heartbeat.deadline.store(0, Ordering::Relaxed);
        }
        if self.heartbeat.ttl_deadline.load(Ordering::Relaxed) != 0 {
            self.heartbeat.ttl_deadline.store(0, Ordering::Relaxed);
        }
    }

    /// Answers PINGs: one PONG is enough for any number of them.
    fn answer(self: &Arc<Self>, controls: &[Control]) {
        let ping = controls.iter().rev().find_map(|control| match control {
            Control::Ping { ttl_deciseconds, context } => Some((*ttl_deciseconds, context)),
            Control::Pong => None,
        });
        let Some((ttl_deciseconds, context)) = ping else { return };
        {
            let mut tx = self.tx.lock();
            let Tx { encoder, out, .. } = &mut *tx;
            // A peer that sends PINGs and reads nothing gets no more answers than the kernel takes.
            if let Some(encoder) = encoder
                && out.len() < WRITE_BATCH
            {
                encoder.pong(context, out);
            }
        }
        self.flush();
        if ttl_deciseconds > 0 {
            let ttl = Duration::from_millis(100 * u64::from(ttl_deciseconds));
            self.heartbeat.ttl_deadline.store(clock().saturating_add(nanos(ttl)), Ordering::Relaxed);
            if let Some(net) = self.core.existing_net() {
                net.reactor.heartbeat_at(self, ttl);
            }
        }
    }

    // ---- heartbeats ------------------------------------------------------------------------------------

    /// When the next heartbeat is due, counted from now; `None` without heartbeats.
    pub(crate) fn heartbeat_interval(&self) -> Option<Duration> {
        self.heartbeat.interval
    }

    /// The I/O thread's timer: checks for silence and sends the next PING when `ping`. Returns whether the
    /// connection is still there.
    pub(crate) fn heartbeat(self: &Arc<Self>, ping: bool) -> bool {
        let now = clock();
        let due = |deadline: &AtomicU64| (1..=now).contains(&deadline.load(Ordering::Relaxed));
        let Some(link) = self.tx.lock().link.clone() else { return false };
        if due(&self.heartbeat.deadline) || due(&self.heartbeat.ttl_deadline) {
            self.lost(&link, Lost::Silent);
            return false;
        }
        if ping {
            let blocked = {
                let mut tx = self.tx.lock();
                let Tx { encoder, out, blocked, .. } = &mut *tx;
                if let Some(encoder) = encoder
                    && !*blocked
                {
                    encoder.ping(self.heartbeat.ttl_deciseconds, &[], out);
                }
                *blocked
            };
            if !blocked {
                self.flush();
            }
            if let Some(timeout) = self.heartbeat.timeout {
                let deadline = clock().saturating_add(nanos(timeout));
                // An older PING that is still unanswered keeps its deadline.
                let _ = self.heartbeat.deadline.compare_exchange(0, deadline, Ordering::Relaxed, Ordering::Relaxed);
                if let Some(net) = self.core.existing_net() {
                    net.reactor.heartbeat_at(self, timeout);
                }
            }
        }
        true
    }

    // ---- readiness -------------------------------------------------------------------------------------

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

    fn resume(self: &Arc<Self>) {
        self.watch(None, |interest| Interest { read: true, ..interest });
        self.receive();
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

    // ---- the end of a connection and of a session ------------------------------------------------------

    fn lost(self: &Arc<Self>, link: &Arc<Link>, why: Lost) {
        let raw = {
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
            let raw = tx.encoder.is_none();
            tx.link = None;
            tx.encoder = None;
            tx.out.clear();
            tx.out.shrink();
            tx.blocked = false;
            rx.link = None;
            rx.decoder = None;
            rx.leftover = Vec::new();
            rx.leftover_start = 0;
            raw
        };
        self.heard();
        let asked_for = *self.life.lock() != Life::Open || matches!(why, Lost::Local);
        if !asked_for {
            self.core.raise(Event::new(EventKind::Disconnected, self.endpoint()).reason(match &why {
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
        self.deliver_rest(raw && self.notify && !asked_for);
        self.after_loss(&why);
    }

    /// Hands over what was received before the loss, whatever the high-water mark says.
    fn deliver_rest(&self, notice: bool) {
        let mut wake = false;
        {
            let mut rx = self.rx.lock();
            for message in rx.batch.drain(..) {
                wake |= self.inbound.push_over(message);
            }
        }
        if notice {
            wake |= self.inbound.push_over(Message::single(Frame::new()));
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
                let retry = !fatal && connector.reconnects();
                if !*keep || !retry {
                    self.finish();
                } else if let Some(peer) = self.peer() {
                    self.core.unlink(peer);
                }
                if retry {
                    connector.retry();
                } else {
                    connector.give_up();
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
        if *self.life.lock() == Life::Lingering && self.is_drained() {
            self.finish();
        }
    }

    /// Ends the session for good: closes the connection, if any, and tells the socket.
    pub(crate) fn finish(self: &Arc<Self>) {
        let before = std::mem::replace(&mut *self.life.lock(), Life::Finished);
        if before == Life::Finished {
            return;
        }
        let link = self.tx.lock().link.clone();
        if let Some(link) = link {
            self.lost(&link, Lost::Local);
        }
        if let Origin::Connector { connector, keep: true } = &self.origin {
            connector.give_up();
        }
        if let Some(peer) = self.peer() {
            self.core.detach(peer);
            self.core.remove_session(peer);
        }
        if before == Life::Lingering {
            self.core.context.linger_ended();
        }
    }

    /// Ends the session once what is queued has been sent, or after `linger` (`None`: however long it takes).
    pub(crate) fn close_lingering(self: &Arc<Self>, linger: Option<Duration>) {
        {
            let mut life = self.life.lock();
            if *life != Life::Open {
                return;
            }
            *life = Life::Lingering;
            self.core.context.linger_started();
        }
        self.outbound.close();
        self.flush();
        if linger == Some(Duration::ZERO) {
            self.finish();
        } else if let (Some(linger), Some(net)) = (linger, self.core.existing_net()) {
            net.reactor.linger_until(self, linger);
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        *self.life.lock() == Life::Finished
    }

    pub(crate) fn is_accepted_by(&self, listener_id: u64) -> bool {
        matches!(self.origin, Origin::Accepted { listener, .. } if listener == listener_id)
    }
}

impl FarEnd for Session {
    fn data_ready(self: Arc<Self>) {
        let Some(net) = self.core.existing_net() else { return };
        if self.outbound.presses(GATHER) {
            return self.flush();
        }
        let since = clock().saturating_sub(self.last_flush.load(Ordering::Relaxed));
        if since >= nanos(FLOOD_GAP) {
            self.streak.store(0, Ordering::Relaxed);
            return self.flush();
        }
        if self.streak.fetch_add(1, Ordering::Relaxed) < FLOOD_STREAK {
            return net.reactor.flush(Arc::clone(&self));
        }
        if !self.outbound.gather(GATHER) {
            return self.flush();
        }
        // The order matters: gathering began above, and only then is the watch looked at. Should the I/O
        // thread be about to end its watch, it has not yet taken what gathered, and will.
        if !self.watched_for_rest.swap(true, Ordering::SeqCst) {
            net.reactor.watch_rest(&self);
        }
        self.core.deferred(Arc::clone(&self));
    }

    fn room_ready(self: Arc<Self>) {
        self.resume();
    }

    fn close(self: Arc<Self>) {
        let linger = self.core.options(|options| options.linger);
        self.close_lingering(linger);
    }
}

/// A raw message's bytes; false when it asks for the connection to be closed.
fn encode_raw(message: Message, out: &mut OutBuf) -> bool {
    let data = message.into_bytes();
    if data.is_empty() {
        return false;
    }
    out.put_bytes(data);
    true
}

/// Appends at most `want` bytes to a large body; `None` when there is nothing yet.
fn recv_body(link: &Link, body: &mut Vec<u8>, want: usize) -> Result<Option<usize>, Lost> {
    if body.capacity() - body.len() == want {
        return received(|| {
            rustix::net::recv(&link.fd, spare_capacity(&mut *body), RecvFlags::empty()).map(|(n, _)| n)
        });
    }
    // The allocator gave more than was asked for: bytes of the next frame must not land in this one.
    let mut buffer = READ.take();
    buffer.resize(READ_BUFFER, 0);
    let want = want.min(READ_BUFFER);
    let got = received(|| rustix::net::recv(&link.fd, &mut buffer[..want], RecvFlags::empty()).map(|(n, _)| n));
    if let Ok(Some(got)) = got {
        body.extend_from_slice(&buffer[..got]);
    }
    READ.set(buffer);
    got
}

/// Sorts the outcomes of a read: `None` when there is nothing yet.
fn received(mut read: impl FnMut() -> Result<usize, Errno>) -> Result<Option<usize>, Lost> {
    loop {
        match read() {
            Ok(0) => return Err(Lost::Closed),
            Ok(got) => return Ok(Some(got)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Lost::Os(error.into())),
        }
    }
}

/// One write of as much as the kernel takes. Never raises SIGPIPE.
fn write(link: &Link, out: &mut OutBuf) -> Result<(), Errno> {
    let written = if out.is_contiguous() {
        rustix::net::send(&link.fd, out.first_slice(), SendFlags::NOSIGNAL)?
    } else {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let count = out.io_slices(&mut slices);
        let mut control = SendAncillaryBuffer::default();
        rustix::net::sendmsg(&link.fd, &slices[..count], &mut control, SendFlags::NOSIGNAL)?
    };
    out.advance(written);
    Ok(())
}
