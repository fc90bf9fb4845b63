//! The socket that applications hold.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oxzmq_proto::{Frame, Message, SocketType};

use crate::asynch::{MessageSink, MessageStream, RecvFuture, SendFuture};
use crate::core::{Core, Until, Want};
use crate::endpoint::Role;
use crate::endpoints;
use crate::error::{Error, ErrorKind, Result, SendError};
use crate::monitor::{self, Monitor};
use crate::options::{AcceptFilter, Options, ReconnectStop};
use crate::pattern;
use crate::peers::{Drops, PeerId};

/// A ZeroMQ socket: sends and receives whole messages to and from any number of peers, connects in the
/// background, queues, and reconnects by itself.
///
/// All calls take `&self` and may come from any number of threads at once: wrap it in an
/// [`Arc`] to share it. Two threads that receive get different messages. Every blocking call has an
/// async twin over the same core; the futures depend on no runtime and lose nothing when dropped.
///
/// Dropping a socket closes it. Messages that are still queued are then delivered in the background for as
/// long as [`Socket::set_linger`] allows.
pub struct Socket {
    core: Arc<Core>,
}

/// What a socket could do at the moment of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    readable: bool,
    writable: bool,
}

impl Readiness {
    pub(crate) fn new(want: Want) -> Self {
        Self { readable: want.recv, writable: want.send }
    }

    /// A receive would find a message (REQ and REP may still skip a malformed one).
    pub fn readable(self) -> bool {
        self.readable
    }

    /// A send would be taken.
    pub fn writable(self) -> bool {
        self.writable
    }
}

/// Numbers about a socket; see [`Socket::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketStats {
    /// Peers now: connections, inproc partners, and endpoints that wait for a connection.
    pub peers: usize,
    /// Messages dropped so far, all together.
    pub dropped: u64,
    /// The same by what was the matter.
    pub drops: Drops,
}

impl Socket {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The socket's type. ZMQ_TYPE.
    pub fn socket_type(&self) -> SocketType {
        self.core.socket_type
    }

    // ---- endpoints -------------------------------------------------------------------------------------

    /// Accepts connections at `endpoint` from now on and returns its resolved form, with the real port or
    /// path: `bind("tcp://127.0.0.1:*")` gives `tcp://127.0.0.1:40123`, say.
    ///
    /// Forms: `tcp://host:port` (host `*`, an address, an interface or a name; port `*` for any),
    /// `ipc://path`, `ipc://@abstract`, `ipc://*` (a private path), `inproc://name`, `ws://host:port/path` and `wss://` (the
    /// same in TLS: [`Socket::set_wss_certificate`]); DISH and DGRAM:
    /// `udp://host:port`, or `udp://interface;group:port` for multicast. Options set before apply.
    /// A path behind a port means nothing and is left out, as libzmq does; that of `ws://` is part of the name (`/` if there
    /// is none), but requests for any other are taken, too, as libzmq does. STREAM has no use for `ws://`, and gets
    /// [`ErrorKind::IncompatibleTransport`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidEndpoint`], [`ErrorKind::UnknownTransport`], [`ErrorKind::AddressInUse`],
    /// [`ErrorKind::NoDevice`], [`ErrorKind::AddressNotAvailable`], [`ErrorKind::NotFound`] or
    /// [`ErrorKind::PermissionDenied`] for an IPC path, [`ErrorKind::NameTooLong`],
    /// [`ErrorKind::InvalidState`] for a second endpoint of DGRAM, which has one,
    /// [`ErrorKind::TooManySockets`], [`ErrorKind::Terminated`].
    pub fn bind(&self, endpoint: &str) -> Result<String> {
        endpoints::bind(&self.core, endpoint)
    }

    /// As [`Socket::bind`], with a descriptor that listens already: one that a service manager has handed over, say.
    /// The endpoint only names the transport, `tcp://*:*` or `ipc://*`; the address is the descriptor's own, and
    /// returned. Unbinding closes the descriptor.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a descriptor that does not listen, or on another transport; as
    /// [`Socket::bind`].
    pub fn bind_listening(&self, endpoint: &str, fd: OwnedFd) -> Result<String> {
        endpoints::adopt(&self.core, endpoint, fd)
    }

    /// Connects to `endpoint`, in the background: success means that the endpoint is well-formed. Messages
    /// sent meanwhile wait (see [`Socket::set_immediate`]). A lost connection is made again. Host names are
    /// looked up at each attempt. A local address may stand before the remote one:
    /// `tcp://192.0.2.1:0;server:5555`. `wss://` needs somebody to trust: [`Socket::set_wss_trusted`]. On `udp://` (RADIO alone) there are no connections: what is sent leaves, and
    /// nobody learns whether it arrives. A message, its group and one octet have at most 8192 octets there; larger ones
    /// are dropped and counted.
    ///
    /// DEALER, SUB, PUB and REQ ignore a second connect to the same network endpoint.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidEndpoint`], [`ErrorKind::UnknownTransport`], [`ErrorKind::NameTooLong`],
    /// [`ErrorKind::TooManySockets`] when the system has no descriptor left for the socket's own use,
    /// [`ErrorKind::Terminated`].
    pub fn connect(&self, endpoint: &str) -> Result<()> {
        endpoints::connect(&self.core, endpoint).map(drop)
    }

    /// PEER: connects as [`Socket::connect`] does, and returns the routing id of the peer there, so that
    /// messages can be sent to it ([`Message::set_routing_id`]), at once.
    ///
    /// # Errors
    /// As [`Socket::connect`], and [`ErrorKind::NotSupported`] for other types,
    /// [`ErrorKind::InvalidArgument`] with [`Socket::set_immediate`], because there is no peer yet then.
    pub fn connect_peer(&self, endpoint: &str) -> Result<u32> {
        if self.core.socket_type != SocketType::Peer {
            return Err(ErrorKind::NotSupported.into());
        }
        if self.get(|options| options.immediate) {
            return Err(invalid(
                "connect_peer and immediate exclude one another: there is no peer before the connection".to_owned(),
            ));
        }
        let peer = endpoints::connect(&self.core, endpoint)?.ok_or(ErrorKind::Closed)?;
        Ok(self.core.with_peers(|peers| pattern::number_of(peers, peer)))
    }

    /// Stops accepting at an endpoint, named as [`Socket::bind`] returned it, and closes the connections it
    /// accepted. For `inproc://` only the name is given up; existing connections stay.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the socket has no such endpoint.
    pub fn unbind(&self, endpoint: &str) -> Result<()> {
        endpoints::remove(&self.core, endpoint, Role::Bind)
    }

    /// Ends what [`Socket::connect`] began, under the same string. Messages received from there and not yet
    /// read are dropped and counted; messages queued to there linger.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the socket has no such endpoint.
    pub fn disconnect(&self, endpoint: &str) -> Result<()> {
        endpoints::remove(&self.core, endpoint, Role::Connect)
    }

    /// The endpoint last bound (resolved) or connected (as given); empty before the first. ZMQ_LAST_ENDPOINT.
    pub fn last_endpoint(&self) -> String {
        self.core.endpoints.lock().last.clone()
    }

    // ---- messages --------------------------------------------------------------------------------------

    /// Sends a message, waiting for a peer with room for up to the send timeout (default: for ever). What
    /// "sent" means is that the message is queued or on its way; delivery is not acknowledged.
    ///
    /// # Errors
    /// The error holds the message. [`ErrorKind::TimedOut`]; [`ErrorKind::InvalidState`] for REQ and REP out
    /// of turn; [`ErrorKind::NotSupported`] for types that only receive; [`ErrorKind::HostUnreachable`] for
    /// an unknown routing id (STREAM, SERVER, PEER, mandatory ROUTER); [`ErrorKind::InvalidArgument`] for more
    /// than one frame where messages have only one (CLIENT, SERVER, PEER, CHANNEL, SCATTER), more than two on STREAM (the
    /// routing id and octets), or other than two on DGRAM (the address, `a.b.c.d:port`, and the datagram);
    /// [`ErrorKind::TooLarge`] for what no datagram holds;
    /// [`ErrorKind::Terminated`]; [`ErrorKind::Closed`].
    pub fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.send_until(message.into(), Until::Option)
    }

    /// Sends a message if that is possible at once.
    ///
    /// # Errors
    /// As [`Socket::send`], with [`ErrorKind::WouldBlock`] when no peer has room.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.send_until(message.into(), Until::Now)
    }

    /// Sends a message, waiting until `deadline` at most.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub fn send_deadline(&self, message: impl Into<Message>, deadline: Instant) -> Result<(), SendError> {
        self.send_until(message.into(), Until::Deadline(deadline))
    }

    /// Receives a message, waiting for up to the receive timeout (default: for ever).
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`]; [`ErrorKind::InvalidState`] for REQ and REP out of turn;
    /// [`ErrorKind::NotSupported`] for types that only send; [`ErrorKind::Terminated`];
    /// [`ErrorKind::Closed`].
    pub fn recv(&self) -> Result<Message> {
        self.recv_until(Until::Option)
    }

    /// Receives a message if one is there.
    ///
    /// # Errors
    /// As [`Socket::recv`], with [`ErrorKind::WouldBlock`] when there is none.
    pub fn try_recv(&self) -> Result<Message> {
        self.recv_until(Until::Now)
    }

    /// Receives a message, waiting until `deadline` at most.
    ///
    /// # Errors
    /// As [`Socket::recv`].
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Message> {
        self.recv_until(Until::Deadline(deadline))
    }

    #[inline]
    fn send_until(&self, mut message: Message, until: Until) -> Result<(), SendError> {
        self.core.send(&mut message, until).map_err(|error| SendError::new(error, message))
    }

    #[inline]
    fn recv_until(&self, until: Until) -> Result<Message> {
        let mut message = Message::new();
        self.core.recv(&mut message, until, false).map(|()| message)
    }

    /// [`Socket::send`], or [`Socket::try_send`] unless it may `wait`, without moving the message, which after an error
    /// is as it was. After success what is left of it means nothing. What the C API is made of.
    #[doc(hidden)]
    #[inline]
    pub fn send_in_place(&self, message: &mut Message, wait: bool) -> Result<()> {
        self.core.send(message, if wait { Until::Option } else { Until::Now })
    }

    /// Waits as a send of a message of several frames would that begins with this one, and fails as that would: for the
    /// C API, to which they come one by one.
    #[doc(hidden)]
    pub fn begin_message(&self, first: &[u8], wait: bool) -> Result<()> {
        self.core.begin(&Frame::copy_from_slice(first), if wait { Until::Option } else { Until::Now })
    }

    /// [`Socket::recv`], or [`Socket::try_recv`] unless it may `wait`, in place of `message`. If it is to be
    /// `bare`, one frame alone may come without [properties](Message::properties).
    #[doc(hidden)]
    #[inline]
    pub fn recv_in_place(&self, message: &mut Message, wait: bool, bare: bool) -> Result<()> {
        self.core.recv(message, if wait { Until::Option } else { Until::Now }, bare)
    }

    /// Sends a message without blocking the thread. The timeouts do not apply; use the runtime's.
    ///
    /// Cancel-safe: a future dropped before it is ready has sent nothing (the message goes with it; keep a
    /// clone, which copies no large frame, to send it again).
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub fn send_async(&self, message: impl Into<Message>) -> SendFuture<'_> {
        SendFuture::new(&self.core, message.into())
    }

    /// Receives a message without blocking the thread. The timeouts do not apply; use the runtime's.
    ///
    /// Cancel-safe: a future dropped before it is ready has received nothing.
    ///
    /// # Errors
    /// As [`Socket::recv`].
    pub fn recv_async(&self) -> RecvFuture<'_> {
        RecvFuture::new(&self.core)
    }

    /// The socket's messages as a [`Stream`](futures_core::Stream) that never ends of itself: it yields an
    /// error once the context is shut down, and then `None`.
    pub fn stream(&self) -> MessageStream<'_> {
        MessageStream::new(&self.core)
    }

    /// The socket as a [`Sink`](futures_sink::Sink) of messages.
    pub fn sink(&self) -> MessageSink<'_> {
        MessageSink::new(&self.core)
    }

    /// SUB: receives messages whose first frame starts with `prefix` from now on; the empty prefix means
    /// all. Subscribing twice takes unsubscribing twice. XPUB: see [`Socket::set_xpub_manual`]. ZMQ_SUBSCRIBE.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] on other socket types.
    pub fn subscribe(&self, prefix: impl AsRef<[u8]>) -> Result<()> {
        self.core.subscribe(Frame::copy_from_slice(prefix.as_ref()), true)
    }

    /// SUB: takes one [`Socket::subscribe`] back. Succeeds without effect when there was none. ZMQ_UNSUBSCRIBE.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] on other socket types.
    pub fn unsubscribe(&self, prefix: impl AsRef<[u8]>) -> Result<()> {
        self.core.subscribe(Frame::copy_from_slice(prefix.as_ref()), false)
    }

    /// DISH: receives messages of this group from now on. The empty name is a group like any other.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a group that is joined already or a name of more than 255 bytes,
    /// [`ErrorKind::NotSupported`] on other socket types.
    pub fn join(&self, group: impl AsRef<[u8]>) -> Result<()> {
        self.core.join(Frame::copy_from_slice(group.as_ref()), true)
    }

    /// DISH: takes a [`Socket::join`] back.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a group that is not joined, [`ErrorKind::NotSupported`] on other
    /// socket types.
    pub fn leave(&self, group: impl AsRef<[u8]>) -> Result<()> {
        self.core.join(Frame::copy_from_slice(group.as_ref()), false)
    }

    /// Whether a receive or a send would succeed now. ZMQ_EVENTS.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`], [`ErrorKind::Closed`].
    pub fn readiness(&self) -> Result<Readiness> {
        self.core.readiness(Want { recv: true, send: true }, None).map(Readiness::new)
    }

    // ---- when messages are written ---------------------------------------------------------------------

    /// Lets messages gather: they are not written as they are sent, but together, at [`Socket::flush`], when this
    /// socket is asked for a message and there is none, or when they are 128 KiB. For loops that answer one message
    /// after the other and would pay for a system call, and for waking the other end, each time. Off by default: then the
    /// socket decides by itself, and looks after what it has left to write.
    ///
    /// Whoever turns this on has to come back: **what was sent stays where it is until one of these happens.** Turning
    /// it off writes what there is.
    pub fn set_gathering(&self, on: bool) {
        self.core.set_gathering(on);
        if !on {
            self.flush();
        }
    }

    /// Writes what has gathered, as far as the connections take it at once; the I/O thread writes the rest.
    pub fn flush(&self) {
        self.core.flush();
    }

    // ---- the rest --------------------------------------------------------------------------------------

    /// Reports what happens to the socket's connections. A second monitor replaces the first.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`], [`ErrorKind::Closed`].
    pub fn monitor(&self) -> Result<Monitor> {
        let (sender, monitor) = monitor::channel();
        self.core.set_monitor(Some(sender));
        // In this order: of an end that comes in between, nobody would tell the monitor.
        self.core.check_alive().inspect_err(|_| self.core.set_monitor(None))?;
        Ok(monitor)
    }

    /// ROUTER: whether the queue to the peer with this routing id has room.
    ///
    /// # Errors
    /// [`ErrorKind::HostUnreachable`] when there is none, [`ErrorKind::NotSupported`] for other types.
    pub fn has_room_for(&self, routing_id: &[u8]) -> Result<bool> {
        if self.core.socket_type != SocketType::Router {
            return Err(ErrorKind::NotSupported.into());
        }
        self.core.with_peers(|peers| {
            let known = |id: &PeerId| peers.get(*id).is_some_and(|peer| peer.is_named(routing_id));
            let id = peers.ids().find(known).ok_or(ErrorKind::HostUnreachable)?;
            Ok(peers.has_room(id))
        })
    }

    /// For each peer, the messages queued to it and those received from it and not read yet.
    pub fn queue_depths(&self) -> Vec<(usize, usize)> {
        self.core.with_peers(|peers| {
            let live = peers.ids().filter_map(|id| peers.get(id)).filter(|peer| !peer.gone);
            live.map(|peer| (peer.queued(), peer.unread())).collect()
        })
    }

    /// Numbers about the socket.
    pub fn stats(&self) -> SocketStats {
        self.core.with_peers(|peers| SocketStats {
            peers: peers.live(),
            dropped: peers.drops.total(),
            drops: peers.drops,
        })
    }

    /// Closes the socket, as dropping it does, while others may still hold it: their calls fail with
    /// [`ErrorKind::Closed`], also those that wait at this moment. Closing twice does nothing.
    pub fn close(&self) {
        // Peers first: closing them decides what lingers. Endpoints after: they stop what needs no more.
        if self.core.start_closing() {
            endpoints::close_all(&self.core);
            self.core.set_monitor(None);
            self.core.context.socket_closed(self.core.id);
        }
    }

    fn set(&self, write: impl FnOnce(&mut Options)) -> Result<()> {
        self.core.set_options(|options| {
            write(options);
            Ok(())
        })
    }

    fn get<T>(&self, read: impl FnOnce(&Options) -> T) -> T {
        self.core.options(read)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("type", &self.core.socket_type)
            .field("last_endpoint", &self.last_endpoint())
            .finish_non_exhaustive()
    }
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, what)
}

/// Declares a plain option: its setter, its getter and their documentation.
macro_rules! options {
    ($( $(#[$doc:meta])* $set:ident, $get:ident: $type:ty = $field:ident; )*) => {
        /// # Options
        ///
        /// Unless the description says otherwise an option concerns endpoints bound or connected after it was
        /// set. All setters fail with [`ErrorKind::Terminated`] once the context is shut down.
        impl Socket {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`ErrorKind::Terminated`] once the context is shut down.
                pub fn $set(&self, value: $type) -> Result<()> {
                    self.set(|options| options.$field = value)
                }

                #[doc = concat!("The value of [`Socket::", stringify!($set), "`].")]
                pub fn $get(&self) -> $type {
                    self.get(|options| options.$field.clone())
                }
            )*
        }
    };
}

options! {
    /// How long messages that are still queued are tried to be delivered after the socket or an endpoint is
    /// closed; `None` (the default) for ever, zero not at all (the default of SUB and XSUB). Takes effect at
    /// the close. ZMQ_LINGER.
    set_linger, linger: Option<Duration> = linger;
    /// How long a send may wait; `None` (the default) for ever, zero not at all. Takes effect at once.
    /// ZMQ_SNDTIMEO.
    set_send_timeout, send_timeout: Option<Duration> = send_timeout;
    /// How long a receive may wait; `None` (the default) for ever, zero not at all. Takes effect at once.
    /// ZMQ_RCVTIMEO.
    set_recv_timeout, recv_timeout: Option<Duration> = recv_timeout;
    /// Wait before a lost connection is made again; default 100 ms. `None` and zero never reconnect. The wait
    /// is lengthened by a random part of itself unless it grows (see
    /// [`Socket::set_reconnect_interval_max`]). ZMQ_RECONNECT_IVL.
    set_reconnect_interval, reconnect_interval: Option<Duration> = reconnect_interval;
    /// Longest wait between attempts: from [`Socket::set_reconnect_interval`] the wait doubles with each
    /// failure up to this. Zero (the default) keeps it constant. ZMQ_RECONNECT_IVL_MAX.
    set_reconnect_interval_max, reconnect_interval_max: Duration = reconnect_interval_max;
    /// How long an attempt to connect may take; `None` (the default) leaves it to the operating system.
    /// ZMQ_CONNECT_TIMEOUT.
    set_connect_timeout, connect_timeout: Option<Duration> = connect_timeout;
    /// How long a connection may take until it is ready for messages; default 30 s, `None` without limit.
    /// ZMQ_HANDSHAKE_IVL.
    set_handshake_interval, handshake_interval: Option<Duration> = handshake_interval;
    /// Queue messages only for connections that exist; default false: a connecting endpoint takes messages
    /// from the moment of [`Socket::connect`] and keeps them while its connection is down. ZMQ_IMMEDIATE.
    set_immediate, immediate: bool = immediate;
    /// Use IPv6 as well as IPv4; default false. ZMQ_IPV6.
    set_ipv6, ipv6: bool = ipv6;
    /// Connections that may wait to be accepted; default 100. ZMQ_BACKLOG.
    set_backlog, backlog: u32 = backlog;
    /// Largest frame accepted from a peer, in bytes; a larger one closes its connection. `None` (the
    /// default) without limit. ZMQ_MAXMSGSIZE.
    set_max_message_size, max_message_size: Option<u64> = max_message_size;
    /// Most frames of one message; default 1,000,000. Sending more fails with [`ErrorKind::TooManyFrames`], and a
    /// peer that sends more (and 255 more for envelopes) is disconnected: a frame takes two octets on the wire and
    /// forty in memory. For sending it takes effect at once.
    set_max_frames, max_frames: u32 = max_frames;
    /// Most bytes of a message from a peer, all frames and the envelope together; more closes its connection. `None` (the
    /// default) without limit: frames that are small enough one by one may then go on until memory ends. Where peers are
    /// not trusted, set it.
    set_max_total_size, max_total_size: Option<u64> = max_total_size;
    /// Time between PINGs to each peer; `None` (the default) sends none. ZMQ_HEARTBEAT_IVL.
    set_heartbeat_interval, heartbeat_interval: Option<Duration> = heartbeat_interval;
    /// How long after a PING a peer may be silent before its connection is closed; `None` (the default) as
    /// long as the interval, zero for ever. ZMQ_HEARTBEAT_TIMEOUT.
    set_heartbeat_timeout, heartbeat_timeout: Option<Duration> = heartbeat_timeout;
    /// How long the *peer* may hear nothing before it closes the connection; told in each PING, in steps of
    /// 100 ms up to 655.3 s. Zero (the default) for ever. ZMQ_HEARTBEAT_TTL.
    set_heartbeat_ttl, heartbeat_ttl: Duration = heartbeat_ttl;
    /// Accept peers that speak ZMTP 1.0 or 2.0 (libzmq before 4.0); default true. They cannot authenticate,
    /// and bytes that are not ZMTP at all can pass for them: switch it off on ports that strangers reach.
    set_accept_legacy, accept_legacy: bool = accept_legacy;
    /// Whether a signal that the waiting thread handles ends a blocking call, with [`ErrorKind::Interrupted`];
    /// default false: the call goes on. Takes effect at once. Where several threads wait at one socket, only one
    /// of them can be interrupted.
    set_interruptible, interruptible: bool = interruptible;
    /// Keep only the newest message in each queue (PUSH, PULL, PUB, SUB, DEALER; single-part messages).
    /// Default false. ZMQ_CONFLATE.
    set_conflate, conflate: bool = conflate;
    /// Size of the kernel's send buffer in bytes; `None` (the default) leaves it alone. ZMQ_SNDBUF.
    set_send_buffer, send_buffer: Option<u32> = send_buffer;
    /// Size of the kernel's receive buffer in bytes; `None` (the default) leaves it alone. ZMQ_RCVBUF.
    set_recv_buffer, recv_buffer: Option<u32> = recv_buffer;
    /// TCP keepalive: `None` (the default) as the system has it. ZMQ_TCP_KEEPALIVE.
    set_keepalive, keepalive: Option<bool> = keepalive;
    /// ROUTER: fail with [`ErrorKind::HostUnreachable`] for an unknown routing id and wait for a peer whose
    /// queue is full, instead of dropping the message. Default false; takes effect at once.
    /// ZMQ_ROUTER_MANDATORY.
    set_router_mandatory, router_mandatory: bool = router_mandatory;
    /// ROUTER: a new peer with a routing id that is in use takes it over, and the old one is disconnected;
    /// default false: the new one is ignored. Takes effect at once. ZMQ_ROUTER_HANDOVER.
    set_router_handover, router_handover: bool = router_handover;
    /// REQ, DEALER, ROUTER: send an empty message to each new peer, so that a ROUTER there learns of this
    /// one. Default false. ZMQ_PROBE_ROUTER.
    set_probe_router, probe_router: bool = probe_router;
    /// REQ: a new request may be sent before the reply to the last one came, which is then given up.
    /// Default false; takes effect at once. Use it with [`Socket::set_req_correlate`]. ZMQ_REQ_RELAXED.
    set_req_relaxed, req_relaxed: bool = req_relaxed;
    /// REQ: put a number in front of each request and take only the reply that carries it. Default false;
    /// takes effect at once. ZMQ_REQ_CORRELATE.
    set_req_correlate, req_correlate: bool = req_correlate;
    /// XPUB, PUB, RADIO: when one matching subscriber's queue is full, fail (or wait) and send to nobody, instead of
    /// leaving that subscriber out. Default false; takes effect at once. ZMQ_XPUB_NODROP.
    set_xpub_nodrop, xpub_nodrop: bool = xpub_nodrop;
    /// XPUB, PUB: a message to each new subscriber before all others; `None` (the default) for none.
    /// ZMQ_XPUB_WELCOME_MSG.
    set_xpub_welcome, xpub_welcome: Option<Bytes> = xpub_welcome;
    /// XPUB, PUB, SUB: turn matching round: send (or deliver) what does *not* match. Set it on both sides.
    /// Default false; takes effect at once. ZMQ_INVERT_MATCHING.
    set_invert_matching, invert_matching: bool = invert_matching;
    /// XSUB: tell publishers of every cancellation; default false: only of a topic's last one. Takes effect at
    /// once. ZMQ_XSUB_VERBOSE_UNSUBSCRIBE.
    set_xsub_verbose_unsubscribe, xsub_verbose_unsubscribe: bool = xsub_verbose_cancel;
    /// XSUB, XPUB, PUB: a message of several frames the first of which is no subscription is none throughout, whatever
    /// the others look like. Default false: those behind data count, too, and are part of the message all the same. Set it
    /// where messages are sent upstream whose frames may begin with a 0 or a 1, at both ends. Takes effect at once.
    /// ZMQ_ONLY_FIRST_SUBSCRIBE.
    set_only_first_subscribe, only_first_subscribe: bool = only_first_subscribe;
    /// ROUTER: deliver the routing id and an empty frame when a connection is made; default false.
    /// ZMQ_ROUTER_NOTIFY, bit 1.
    set_router_notify_connect, router_notify_connect: bool = router_notify_connect;
    /// ROUTER: deliver the routing id and an empty frame when a connection is lost; default false.
    /// ZMQ_ROUTER_NOTIFY, bit 2.
    set_router_notify_disconnect, router_notify_disconnect: bool = router_notify_disconnect;
    /// ROUTER, DEALER, CLIENT, SERVER, PEER: a message to each peer before all others, on every connection; empty
    /// (the default) for none. ZMQ_HELLO_MSG.
    set_hello_message, hello_message: Bytes = hello;
    /// ROUTER, SERVER, PEER: a message that is delivered here, as if the peer had sent it, when an accepted
    /// connection is lost; empty (the default) for none. ZMQ_DISCONNECT_MSG.
    set_disconnect_message, disconnect_message: Bytes = disconnect_message;
    /// DEALER, CLIENT, PEER: a message that is delivered here, as if the peer had sent it, when a connection that
    /// this end made is lost; empty (the default) for none. ZMQ_HICCUP_MSG.
    set_hiccup_message, hiccup_message: Bytes = hiccup_message;
    /// Which peers are accepted; default all. ZMQ_TCP_ACCEPT_FILTER, ZMQ_IPC_FILTER_PID,
    /// ZMQ_IPC_FILTER_UID, ZMQ_IPC_FILTER_GID.
    set_accept_filter, accept_filter: AcceptFilter = accept_filter;
    /// What ends the attempts to connect, besides [`Socket::disconnect`]; default nothing. ZMQ_RECONNECT_STOP.
    set_reconnect_stop, reconnect_stop: ReconnectStop = reconnect_stop;
    /// STREAM: deliver an empty frame when a connection is made and when it is lost; default true.
    /// ZMQ_STREAM_NOTIFY.
    set_stream_notify, stream_notify: bool = stream_notify;
    /// ROUTER: connections carry octets as they are, without ZMTP, as those of STREAM do: a message is the connection's
    /// routing id and octets, an empty frame tells that a connection was made or lost, and sending one closes it.
    /// Default false. ZMQ_ROUTER_RAW.
    set_router_raw, router_raw: bool = router_raw;
    /// The address of a SOCKS5 proxy (RFC 1928), `host:port`, through which tcp endpoints are connected; empty (the
    /// default) for none. The proxy looks up the names in endpoints. What is no address is told by
    /// [`Socket::connect`]. ZMQ_SOCKS_PROXY.
    set_socks_proxy, socks_proxy: String = socks_proxy;
    /// For how many microseconds the kernel polls the device of a tcp connection instead of waiting for it; 0 (the
    /// default) leaves it alone. ZMQ_BUSY_POLL.
    set_busy_poll, busy_poll: i32 = busy_poll;
}

/// # Options with rules of their own
impl Socket {
    /// The name and password to give to the SOCKS proxy (RFC 1929); an empty name (the default) for none. They travel
    /// in the clear. ZMQ_SOCKS_USERNAME, ZMQ_SOCKS_PASSWORD.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for more than 255 octets, [`ErrorKind::Terminated`].
    pub fn set_socks_credentials(&self, username: &str, password: &str) -> Result<()> {
        if username.len().max(password.len()) > 255 {
            return Err(invalid("a SOCKS proxy takes a name and a password of up to 255 octets each".to_owned()));
        }
        self.set(|options| {
            options.socks_username = Bytes::copy_from_slice(username.as_bytes());
            options.socks_password = password.as_bytes().to_vec().into();
        })
    }

    /// Most messages queued for each peer; 0 without limit, default 1000. When it is reached, a send waits
    /// or the message is dropped, as the socket type has it. Takes effect at once. For `inproc://` the
    /// sender's and the receiver's mark add up. ZMQ_SNDHWM.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`] once the context is shut down.
    pub fn set_send_hwm(&self, messages: u32) -> Result<()> {
        self.set(|options| options.send_hwm = messages)?;
        self.core.apply_high_water_marks();
        Ok(())
    }

    /// The value of [`Socket::set_send_hwm`].
    pub fn send_hwm(&self) -> u32 {
        self.get(|options| options.send_hwm)
    }

    /// Most messages received from each peer and not yet read; 0 without limit, default 1000. When it is
    /// reached, no more is read from that peer's connection. Takes effect at once. ZMQ_RCVHWM.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`] once the context is shut down.
    pub fn set_recv_hwm(&self, messages: u32) -> Result<()> {
        self.set(|options| options.recv_hwm = messages)?;
        self.core.apply_high_water_marks();
        Ok(())
    }

    /// The value of [`Socket::set_recv_hwm`].
    pub fn recv_hwm(&self) -> u32 {
        self.get(|options| options.recv_hwm)
    }

    /// The name under which ROUTERs know this socket, 1 to 255 bytes; by default they make one up. Every
    /// socket that connects to the same ROUTER needs another. ZMQ_ROUTING_ID.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a wrong length, [`ErrorKind::Terminated`].
    pub fn set_routing_id(&self, routing_id: impl Into<Bytes>) -> Result<()> {
        let routing_id = routing_id.into();
        check_routing_id(&routing_id)?;
        self.set(|options| options.routing_id = routing_id)
    }

    /// The value of [`Socket::set_routing_id`]; empty when none was set. STREAM: after [`Socket::connect`] what the peer
    /// there is sent to by, unless [`Socket::set_connect_routing_id`] had named it.
    pub fn routing_id(&self) -> Bytes {
        self.get(|options| options.routing_id.clone())
    }

    /// ROUTER, STREAM: the routing id of the peer that the *next* [`Socket::connect`] reaches, 1 to 255
    /// bytes. Messages can be sent to it at once. ZMQ_CONNECT_ROUTING_ID.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a wrong length or another socket type, [`ErrorKind::Terminated`].
    pub fn set_connect_routing_id(&self, routing_id: impl Into<Bytes>) -> Result<()> {
        let routing_id = routing_id.into();
        check_routing_id(&routing_id)?;
        if !matches!(self.core.socket_type, SocketType::Router | SocketType::Rep | SocketType::Stream) {
            return Err(invalid(format!("{} sockets have no CONNECT_ROUTING_ID", self.core.socket_type)));
        }
        self.set(|options| options.connect_routing_id = Some(routing_id))
    }

    /// XPUB: receive every subscription, also of topics that others have subscribed already; default only
    /// the first of each topic. Takes effect at once. ZMQ_XPUB_VERBOSE.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`] once the context is shut down.
    pub fn set_xpub_verbose(&self, verbose: bool) -> Result<()> {
        self.set(|options| {
            options.xpub_verbose_subscribe = verbose;
            options.xpub_verbose_cancel = false;
        })
    }

    /// XPUB: receive every subscription *and* every cancellation; default only the first subscription and
    /// the last cancellation of each topic. Takes effect at once. ZMQ_XPUB_VERBOSER.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`] once the context is shut down.
    pub fn set_xpub_verboser(&self, verbose: bool) -> Result<()> {
        self.set(|options| {
            options.xpub_verbose_subscribe = verbose;
            options.xpub_verbose_cancel = verbose;
        })
    }

    /// XPUB: leave it to the application which subscriptions its peers have. What they ask for is received, every
    /// time, and changes nothing by itself; [`Socket::subscribe`] and [`Socket::unsubscribe`] then concern the peer
    /// whose request was received last. Default false; takes effect at once. ZMQ_XPUB_MANUAL.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`] once the context is shut down.
    pub fn set_xpub_manual(&self, manual: bool) -> Result<()> {
        self.set(|options| options.xpub_manual = manual)
    }

    /// XPUB: as [`Socket::set_xpub_manual`]; and the first message sent after a request was received goes to that
    /// peer only, if it matches: the last value of the topic, say. Default false; takes effect at once.
    /// ZMQ_XPUB_MANUAL_LAST_VALUE.
    ///
    /// # Errors
    /// [`ErrorKind::Terminated`] once the context is shut down.
    pub fn set_xpub_manual_last_value(&self, manual: bool) -> Result<()> {
        self.set(|options| {
            options.xpub_manual = manual;
            options.xpub_manual_last_value = manual;
        })
    }

    /// PUB, XPUB: number of different topics that peers have subscribed to; SUB, XSUB: its own. ZMQ_TOPICS_COUNT.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] on other socket types.
    pub fn topics_count(&self) -> Result<usize> {
        self.core.topics_count().ok_or_else(|| invalid(format!("{} has no subscriptions", self.core.socket_type)))
    }

    /// Adds a property that peers see on this socket's messages (`Properties::get`): the name must begin
    /// with `X-`, go on with letters, digits, `-`, `_`, `.` and `+`, and have at most 255 bytes. All names and values
    /// together have at most 32,768 bytes, because they travel in one command of the handshake. The first value of a
    /// name stays. ZMQ_METADATA.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a name of another form, an empty value or too much of it,
    /// [`ErrorKind::Terminated`].
    pub fn set_metadata(&self, name: &str, value: impl Into<Bytes>) -> Result<()> {
        let value = value.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
        if !name.starts_with("X-") || !(3..=255).contains(&name.len()) || !name.bytes().all(allowed) {
            return Err(invalid(format!(
                "metadata `{}`: a name is X- and 1 to 253 letters, digits, -, _, . and +",
                name.escape_debug()
            )));
        }
        if value.is_empty() {
            return Err(invalid(format!("metadata `{name}`: the value is empty")));
        }
        self.core.set_options(|options| {
            let known = options.metadata.iter();
            if known.clone().any(|(known, _)| known == name) {
                return Ok(());
            }
            let size: usize = known.map(|(name, value)| name.len() + value.len()).sum();
            if size + name.len() + value.len() > MAX_METADATA {
                let why = format!("metadata `{name}`: names and values together would exceed {MAX_METADATA} bytes");
                return Err(invalid(why));
            }
            options.metadata.push((name.to_owned(), value));
            Ok(())
        })
    }
}

/// Half of what peers take as one handshake command: the rest is for what every socket says of itself.
const MAX_METADATA: usize = 32_768;

fn check_routing_id(routing_id: &[u8]) -> Result<()> {
    if (1..=255).contains(&routing_id.len()) {
        return Ok(());
    }
    Err(invalid(format!("a routing id has 1 to 255 bytes, not {}", routing_id.len())))
}
