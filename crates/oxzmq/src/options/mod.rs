//! A socket's options: typed, checked when set, and copied by each bind and connect.

mod accept;
mod access;
mod context;
mod table;
mod value;

use std::time::Duration;

use bytes::Bytes;
use oxzmq_proto::{Frame, Limits, Message, SocketType};
use zeroize::Zeroizing;

pub use self::accept::AcceptFilter;
pub use self::context::{CONTEXT_OPTIONS, ContextOptionInfo};
pub use self::table::{Effect, OPTIONS, OptionInfo};
pub use self::value::{OptionKind, OptionValue};
use crate::security::SecurityOptions;
use crate::socks;
use crate::tls::TlsOptions;

/// Frames that a message may gain on its way, beyond what its sender may put in: the routing ids of REQ, ROUTER and
/// DEALER.
const MAX_ENVELOPE: usize = 255;

/// Everything that can be set on a socket. Endpoints copy it when they are bound or connected, so most
/// changes concern later endpoints only; [`crate::Socket`]'s setters say where that is different.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) send_hwm: u32,
    pub(crate) recv_hwm: u32,
    /// `None` waits for ever.
    pub(crate) linger: Option<Duration>,
    pub(crate) send_timeout: Option<Duration>,
    pub(crate) recv_timeout: Option<Duration>,
    pub(crate) routing_id: Bytes,
    pub(crate) connect_routing_id: Option<Bytes>,
    /// `None` never reconnects, nor does zero.
    pub(crate) reconnect_interval: Option<Duration>,
    /// Zero keeps the interval constant (with jitter).
    pub(crate) reconnect_interval_max: Duration,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) handshake_interval: Option<Duration>,
    pub(crate) immediate: bool,
    pub(crate) ipv6: bool,
    pub(crate) backlog: u32,
    pub(crate) max_message_size: Option<u64>,
    pub(crate) max_frames: u32,
    pub(crate) max_total_size: Option<u64>,
    pub(crate) heartbeat_interval: Option<Duration>,
    /// `None` means the same as the interval; zero means no timeout.
    pub(crate) heartbeat_timeout: Option<Duration>,
    pub(crate) heartbeat_ttl: Duration,
    pub(crate) accept_legacy: bool,
    pub(crate) interruptible: bool,
    pub(crate) conflate: bool,
    pub(crate) metadata: Vec<(String, Bytes)>,
    pub(crate) send_buffer: Option<u32>,
    pub(crate) recv_buffer: Option<u32>,
    pub(crate) keepalive: Option<bool>,
    pub(crate) security: SecurityOptions,
    pub(crate) keepalive_count: Option<u32>,
    /// In seconds, as the next.
    pub(crate) keepalive_idle: Option<u32>,
    pub(crate) keepalive_interval: Option<u32>,
    /// In milliseconds; 0 leaves it alone, as the next two.
    pub(crate) tcp_timeout: u32,
    pub(crate) type_of_service: u32,
    pub(crate) priority: u32,
    pub(crate) device: Bytes,
    /// In microseconds; 0 leaves it alone.
    pub(crate) busy_poll: i32,
    /// `host:port`; empty is none.
    pub(crate) socks_proxy: String,
    pub(crate) socks_username: Bytes,
    pub(crate) socks_password: Zeroizing<Vec<u8>>,
    pub(crate) tls: TlsOptions,
    /// Bit mask; 0 is any.
    pub(crate) affinity: u64,

    // Kept because programs read back what they set.
    pub(crate) rate: u32,
    pub(crate) recovery_interval: u32,
    pub(crate) multicast_hops: u32,
    pub(crate) multicast_max_datagram: u32,
    pub(crate) multicast_loop: bool,
    pub(crate) loopback_fastpath: bool,
    pub(crate) in_batch_size: u32,
    pub(crate) out_batch_size: u32,
    /// The bits of RECONNECT_STOP that mean nothing.
    pub(crate) reconnect_stop_rest: i32,

    pub(crate) router_mandatory: bool,
    pub(crate) router_handover: bool,
    pub(crate) router_raw: bool,
    pub(crate) probe_router: bool,
    pub(crate) req_relaxed: bool,
    pub(crate) req_correlate: bool,
    pub(crate) xpub_verbose_subscribe: bool,
    pub(crate) xpub_verbose_cancel: bool,
    pub(crate) xpub_nodrop: bool,
    pub(crate) xpub_manual: bool,
    pub(crate) xpub_manual_last_value: bool,
    pub(crate) xsub_verbose_cancel: bool,
    pub(crate) only_first_subscribe: bool,
    pub(crate) xpub_welcome: Option<Bytes>,
    pub(crate) invert_matching: bool,
    pub(crate) stream_notify: bool,
    pub(crate) router_notify_connect: bool,
    pub(crate) router_notify_disconnect: bool,
    /// Empty is none, as for the next two.
    pub(crate) hello: Bytes,
    pub(crate) disconnect_message: Bytes,
    pub(crate) hiccup_message: Bytes,
    pub(crate) reconnect_stop: ReconnectStop,
    pub(crate) accept_filter: AcceptFilter,
}

/// What ends the attempts to connect; see [`crate::Socket::set_reconnect_stop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReconnectStop {
    /// The peer's system refused the connection: nobody listens there.
    pub refused: bool,
    /// The handshake failed.
    pub handshake_failed: bool,
    /// [`Socket::disconnect`](crate::Socket::disconnect) was called: what is still queued then goes out on the connection
    /// that there is, and is lost where there is none.
    pub after_disconnect: bool,
    /// A connection that worked was lost. The C API has no number for this.
    pub lost: bool,
}

impl Options {
    /// The message that each connection begins with.
    pub(crate) fn hello(&self, socket_type: SocketType) -> Option<Message> {
        use SocketType::{Client, Dealer, Peer, Router, Server};
        let greets = matches!(socket_type, Router | Dealer | Client | Server | Peer) && !self.hello.is_empty();
        greets.then(|| Message::single(self.hello.clone()))
    }

    /// The wait before a lost connection is made again, if it is.
    pub(crate) fn reconnects_after(&self) -> Option<Duration> {
        self.reconnect_interval.filter(|interval| !interval.is_zero())
    }

    /// Connections carry octets as they are, without ZMTP.
    pub(crate) fn is_raw(&self, socket_type: SocketType) -> bool {
        socket_type == SocketType::Stream || (socket_type == SocketType::Router && self.router_raw)
    }

    /// Who to be for the SOCKS proxy.
    pub(crate) fn socks_credentials(&self) -> socks::Credentials {
        socks::Credentials { username: self.socks_username.to_vec(), password: self.socks_password.clone() }
    }

    /// An empty frame is delivered for each connection made.
    pub(crate) fn announces(&self, socket_type: SocketType) -> bool {
        match socket_type {
            SocketType::Stream => self.stream_notify,
            SocketType::Router => self.router_notify_connect || self.router_raw,
            _ => false,
        }
    }

    /// What is delivered, as if the peer had sent it, when its connection is lost.
    pub(crate) fn parting(&self, socket_type: SocketType, accepted: bool) -> Vec<Message> {
        use SocketType::{Client, Dealer, Peer, Router, Server, Stream};
        let notifies = match socket_type {
            Stream => self.stream_notify,
            Router => self.router_notify_disconnect || self.router_raw,
            _ => false,
        };
        let message = match socket_type {
            Router | Server | Peer if accepted => &self.disconnect_message,
            Dealer | Client | Peer if !accepted => &self.hiccup_message,
            _ => &Bytes::new(),
        };
        let notice = notifies.then(|| Message::single(Frame::new()));
        notice.into_iter().chain((!message.is_empty()).then(|| Message::single(message.clone()))).collect()
    }

    pub(crate) fn new(socket_type: SocketType) -> Self {
        let drops_on_close = matches!(socket_type, SocketType::Sub | SocketType::Xsub | SocketType::Dish);
        Self {
            send_hwm: 1000,
            recv_hwm: 1000,
            linger: drops_on_close.then_some(Duration::ZERO),
            send_timeout: None,
            recv_timeout: None,
            routing_id: Bytes::new(),
            connect_routing_id: None,
            reconnect_interval: Some(Duration::from_millis(100)),
            reconnect_interval_max: Duration::ZERO,
            connect_timeout: None,
            handshake_interval: Some(Duration::from_secs(30)),
            immediate: false,
            ipv6: false,
            backlog: 100,
            max_message_size: None,
            max_frames: 1_000_000,
            max_total_size: None,
            heartbeat_interval: None,
            heartbeat_timeout: None,
            heartbeat_ttl: Duration::ZERO,
            accept_legacy: true,
            interruptible: false,
            conflate: false,
            metadata: Vec::new(),
            send_buffer: None,
            recv_buffer: None,
            keepalive: None,
            security: SecurityOptions::default(),
            keepalive_count: None,
            keepalive_idle: None,
            keepalive_interval: None,
            tcp_timeout: 0,
            type_of_service: 0,
            priority: 0,
            device: Bytes::new(),
            busy_poll: 0,
            socks_proxy: String::new(),
            socks_username: Bytes::new(),
            socks_password: Zeroizing::default(),
            tls: TlsOptions::default(),
            affinity: 0,
            rate: 100,
            recovery_interval: 10_000,
            multicast_hops: 1,
            multicast_max_datagram: 1500,
            multicast_loop: true,
            loopback_fastpath: false,
            in_batch_size: 8192,
            out_batch_size: 8192,
            reconnect_stop_rest: 0,
            router_mandatory: false,
            router_handover: false,
            router_raw: false,
            probe_router: false,
            req_relaxed: false,
            req_correlate: false,
            xpub_verbose_subscribe: false,
            xpub_verbose_cancel: false,
            xpub_nodrop: false,
            xpub_manual: false,
            xpub_manual_last_value: false,
            xsub_verbose_cancel: false,
            only_first_subscribe: false,
            xpub_welcome: None,
            invert_matching: false,
            stream_notify: true,
            router_notify_connect: false,
            router_notify_disconnect: false,
            hello: Bytes::new(),
            disconnect_message: Bytes::new(),
            hiccup_message: Bytes::new(),
            reconnect_stop: ReconnectStop::default(),
            accept_filter: AcceptFilter::new(),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_frame_size: self.max_message_size,
            max_frames: (self.max_frames as usize).saturating_add(MAX_ENVELOPE),
            max_message_size: self.max_total_size,
        }
    }

    /// Conflation exists for these types only; others accept the option and ignore it.
    pub(crate) fn conflates(&self, socket_type: SocketType) -> bool {
        use SocketType::{Dealer, Pub, Pull, Push, Sub};
        self.conflate && matches!(socket_type, Push | Pull | Pub | Sub | Dealer)
    }
}
