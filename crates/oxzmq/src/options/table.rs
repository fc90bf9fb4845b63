//! Every option that has a number in ZeroMQ's C API: one row each, which is all there is to know about it.
//!
//! The typed setters of [`Socket`] and these rows change the same fields. A number that has no row is an option
//! that this version lacks, and is refused.

use std::time::Duration;

use bytes::Bytes;
use oxzmq_proto::SocketType::{self, *};

use super::value::OptionKind::{Binary, Flag, Int, Key, Long, Switch, Text, Unsigned};
use super::{AcceptFilter, OptionKind, OptionValue, Options, ReconnectStop};
use crate::curve::key_of;
use crate::error::{Error, ErrorKind, Result};
use crate::security::{Mechanism, SecurityOptions};
use crate::socket::Socket;

/// When a change of an option shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// At once.
    Now,
    /// For endpoints bound and connected afterwards.
    Endpoints,
    /// For the next connect, and that only.
    NextConnect,
    /// For calls that begin afterwards.
    Calls,
    /// For peers that come afterwards.
    Peers,
    /// When the socket or an endpoint is closed.
    Close,
    /// It can only be read.
    Never,
}

/// What there is to know about one option.
pub struct OptionInfo {
    /// Its name in the C API, without `ZMQ_`.
    pub name: &'static str,
    /// Its number in the C API.
    pub number: i32,
    /// Which values it takes.
    pub kind: OptionKind,
    /// The value that new sockets have, in words.
    pub default: &'static str,
    /// When a change shows.
    pub effect: Effect,
    /// The socket types that have it; none named means all. What can be set can be read at the others, too.
    pub types: &'static [SocketType],
    /// What it is for.
    pub about: &'static str,
    pub(super) get: Get,
    pub(super) set: Set,
}

pub(super) enum Get {
    No,
    Field(fn(&Options) -> OptionValue),
    Socket(fn(&Socket) -> Result<OptionValue>),
}

pub(super) enum Set {
    No,
    Field(fn(&mut Options, OptionValue)),
    Socket(fn(&Socket, OptionValue) -> Result<()>),
}

impl OptionInfo {
    /// Whether it can be read.
    pub fn is_readable(&self) -> bool {
        !matches!(self.get, Get::No)
    }

    /// Whether it can be set.
    pub fn is_settable(&self) -> bool {
        !matches!(self.set, Set::No)
    }

    /// Whether sockets of this type have it.
    pub fn is_for(&self, socket_type: SocketType) -> bool {
        self.types.is_empty() || self.types.contains(&socket_type)
    }

    /// The option of this number.
    pub fn by_number(number: i32) -> Option<&'static OptionInfo> {
        let at = OPTIONS.binary_search_by_key(&number, |option| option.number).ok()?;
        Some(&OPTIONS[at])
    }

    /// The option of this name, in upper case and without `ZMQ_`.
    pub fn by_name(name: &str) -> Option<&'static OptionInfo> {
        OPTIONS.iter().find(|option| option.name == name)
    }
}

const MAX: i32 = i32::MAX;
const MS: OptionKind = Int(0, MAX);
/// With -1 for "for ever" or "as the system has it".
const MS_OR_NEVER: OptionKind = Int(-1, MAX);
const ANY: OptionKind = Int(i32::MIN, MAX);

fn int(value: impl TryInto<i32>) -> OptionValue {
    OptionValue::Int(value.try_into().unwrap_or(MAX))
}

fn millis(duration: Duration) -> OptionValue {
    int(duration.as_millis())
}

fn or_minus_one(value: Option<impl TryInto<i32>>) -> OptionValue {
    value.map_or(OptionValue::Int(-1), int)
}

impl OptionValue {
    fn int(&self) -> i32 {
        if let Self::Int(value) = self { *value } else { 0 }
    }

    /// An `int` that the row's range keeps from being negative.
    fn count(&self) -> u32 {
        self.int().try_into().unwrap_or(0)
    }

    fn on(&self) -> bool {
        self.int() != 0
    }

    fn millis(&self) -> Duration {
        Duration::from_millis(self.count().into())
    }

    /// -1 is none.
    fn maybe(&self) -> Option<u32> {
        self.int().try_into().ok()
    }

    fn maybe_millis(&self) -> Option<Duration> {
        self.maybe().map(|millis| Duration::from_millis(millis.into()))
    }

    /// 0 is none.
    fn nonzero_millis(&self) -> Option<Duration> {
        self.maybe_millis().filter(|duration| !duration.is_zero())
    }

    fn into_bytes(self) -> Bytes {
        if let Self::Bytes(value) = self { value } else { Bytes::new() }
    }
}

macro_rules! get {
    (none) => {
        Get::No
    };
    ($options:ident => $value:expr) => {
        Get::Field(|$options| $value)
    };
    (socket $socket:ident => $value:expr) => {
        Get::Socket(|$socket| $value)
    };
}

macro_rules! set {
    (none) => {
        Set::No
    };
    ($options:ident, $value:ident => $change:expr) => {
        Set::Field(|$options, $value| $change)
    };
    (socket $socket:ident, $value:ident => $change:expr) => {
        Set::Socket(|$socket, $value| $change)
    };
}

macro_rules! table {
    ($( $name:ident = $number:literal, $kind:expr, $default:literal, $effect:ident, [$($types:ident),*], $about:literal,
        get: { $($get:tt)* }, set: { $($set:tt)* }; )*) => {
        /// Every option, by rising number.
        pub static OPTIONS: &[OptionInfo] = &[ $( OptionInfo {
            name: stringify!($name),
            number: $number,
            kind: $kind,
            default: $default,
            effect: Effect::$effect,
            types: &[$($types),*],
            about: $about,
            get: get!($($get)*),
            set: set!($($set)*),
        } ),* ];
    };
}

table! {
    AFFINITY = 4, Unsigned, "0", Endpoints, [], "Bit mask of the I/O threads for new connections; 0 is any.",
        get: { o => OptionValue::Unsigned(o.affinity) },
        set: { o, v => if let OptionValue::Unsigned(mask) = v { o.affinity = mask } };
    ROUTING_ID = 5, Binary(1, 255), "empty", Endpoints, [],
        "The name under which ROUTERs know this socket. STREAM: the id of the peer connected to last, if it was given none.",
        get: { o => o.routing_id.clone().into() }, set: { o, v => o.routing_id = v.into_bytes() };
    SUBSCRIBE = 6, Binary(0, usize::MAX), "none", Now, [Sub, Pub, Xpub],
        "SUB: adds a subscription. XPUB in manual mode: subscribes the peer whose subscription was received last.",
        get: { none }, set: { socket s, v => s.core().subscribe(v.into_bytes().into(), true) };
    UNSUBSCRIBE = 7, Binary(0, usize::MAX), "none", Now, [Sub, Pub, Xpub], "Takes one SUBSCRIBE back.",
        get: { none }, set: { socket s, v => s.core().subscribe(v.into_bytes().into(), false) };
    RATE = 8, Int(1, MAX), "100 kbit/s", Endpoints, [], "Multicast rate; kept, and without effect.",
        get: { o => int(o.rate) }, set: { o, v => o.rate = v.count() };
    RECOVERY_IVL = 9, MS, "10000 ms", Endpoints, [], "Multicast recovery window; kept, and without effect.",
        get: { o => int(o.recovery_interval) }, set: { o, v => o.recovery_interval = v.count() };
    SNDBUF = 11, MS_OR_NEVER, "-1 (as the system has it)", Endpoints, [], "The kernel's send buffer in octets.",
        get: { o => or_minus_one(o.send_buffer) }, set: { o, v => o.send_buffer = v.maybe() };
    RCVBUF = 12, MS_OR_NEVER, "-1 (as the system has it)", Endpoints, [], "The kernel's receive buffer in octets.",
        get: { o => or_minus_one(o.recv_buffer) }, set: { o, v => o.recv_buffer = v.maybe() };
    EVENTS = 15, ANY, "0", Never, [], "What a call would find now: 1 something to receive, 2 room to send.",
        get: { socket s => s.readiness().map(|now| int(i32::from(now.readable()) | i32::from(now.writable()) << 1)) },
        set: { none };
    TYPE = 16, ANY, "the type", Never, [], "The socket type's number.",
        get: { socket s => Ok(int(s.socket_type() as i32)) }, set: { none };
    LINGER = 17, MS_OR_NEVER, "-1 (for ever); 0 for SUB, XSUB and DISH", Close, [],
        "How long what is queued is tried to be delivered after closing, in ms.",
        get: { o => or_minus_one(o.linger.map(|linger| linger.as_millis())) },
        set: { o, v => o.linger = v.maybe_millis() };
    RECONNECT_IVL = 18, MS_OR_NEVER, "100 ms", Endpoints, [], "Wait before reconnecting; -1 and 0 never do.",
        get: { o => or_minus_one(o.reconnect_interval.map(|interval| interval.as_millis())) },
        set: { o, v => o.reconnect_interval = v.maybe_millis() };
    BACKLOG = 19, MS, "100", Endpoints, [], "Connections that may wait to be accepted.",
        get: { o => int(o.backlog) }, set: { o, v => o.backlog = v.count() };
    RECONNECT_IVL_MAX = 21, MS, "0 (constant)", Endpoints, [], "Up to which the wait before reconnecting doubles, in ms.",
        get: { o => millis(o.reconnect_interval_max) }, set: { o, v => o.reconnect_interval_max = v.millis() };
    MAXMSGSIZE = 22, Long, "-1 (any)", Endpoints, [], "Largest frame accepted, in octets.",
        get: { o => OptionValue::Long(o.max_message_size.map_or(-1, |size| size.try_into().unwrap_or(i64::MAX))) },
        set: { o, v => if let OptionValue::Long(size) = v { o.max_message_size = size.try_into().ok() } };
    SNDHWM = 23, MS, "1000 messages", Now, [], "Most messages queued for each peer; 0 without limit.",
        get: { o => int(o.send_hwm) }, set: { socket s, v => s.set_send_hwm(v.count()) };
    RCVHWM = 24, MS, "1000 messages", Now, [], "Most messages received from each peer and not yet read; 0 without limit.",
        get: { o => int(o.recv_hwm) }, set: { socket s, v => s.set_recv_hwm(v.count()) };
    MULTICAST_HOPS = 25, Int(1, MAX), "1", Endpoints, [], "How many routers multicast of udp passes, at most, and one; at most 255.",
        get: { o => int(o.multicast_hops) }, set: { o, v => o.multicast_hops = v.count() };
    RCVTIMEO = 27, MS_OR_NEVER, "-1 (for ever)", Calls, [], "How long a receive may wait, in ms.",
        get: { o => or_minus_one(o.recv_timeout.map(|timeout| timeout.as_millis())) },
        set: { o, v => o.recv_timeout = v.maybe_millis() };
    SNDTIMEO = 28, MS_OR_NEVER, "-1 (for ever)", Calls, [], "How long a send may wait, in ms.",
        get: { o => or_minus_one(o.send_timeout.map(|timeout| timeout.as_millis())) },
        set: { o, v => o.send_timeout = v.maybe_millis() };
    IPV4ONLY = 31, Switch, "1", Endpoints, [], "The opposite of IPV6.",
        get: { o => (!o.ipv6).into() }, set: { o, v => o.ipv6 = !v.on() };
    LAST_ENDPOINT = 32, Text(0, usize::MAX), "empty", Never, [], "The endpoint bound or connected last.",
        get: { socket s => Ok(s.last_endpoint().as_str().into()) }, set: { none };
    ROUTER_MANDATORY = 33, Flag, "0", Now, [Router, Rep], "Fail for unknown routing ids, and wait for full peers.",
        get: { none }, set: { o, v => o.router_mandatory = v.on() };
    TCP_KEEPALIVE = 34, Int(-1, 1), "-1 (as the system has it)", Endpoints, [], "SO_KEEPALIVE.",
        get: { o => or_minus_one(o.keepalive.map(i32::from)) }, set: { o, v => o.keepalive = v.maybe().map(|on| on != 0) };
    TCP_KEEPALIVE_CNT = 35, MS_OR_NEVER, "-1 (as the system has it)", Endpoints, [], "TCP_KEEPCNT, with TCP_KEEPALIVE 1.",
        get: { o => or_minus_one(o.keepalive_count) }, set: { o, v => o.keepalive_count = v.maybe() };
    TCP_KEEPALIVE_IDLE = 36, MS_OR_NEVER, "-1 (as the system has it)", Endpoints, [],
        "TCP_KEEPIDLE in seconds, with TCP_KEEPALIVE 1.",
        get: { o => or_minus_one(o.keepalive_idle) }, set: { o, v => o.keepalive_idle = v.maybe() };
    TCP_KEEPALIVE_INTVL = 37, MS_OR_NEVER, "-1 (as the system has it)", Endpoints, [],
        "TCP_KEEPINTVL in seconds, with TCP_KEEPALIVE 1.",
        get: { o => or_minus_one(o.keepalive_interval) }, set: { o, v => o.keepalive_interval = v.maybe() };
    TCP_ACCEPT_FILTER = 38, Text(0, 255), "none", Endpoints, [],
        "Adds an address or network to those that tcp peers may come from; none at all clears the list.",
        get: { none }, set: { socket s, v => s.core().set_options(|o| allow_network(o, &v.into_bytes())) };
    IMMEDIATE = 39, Switch, "0", Endpoints, [], "Queue messages only for connections that exist.",
        get: { o => o.immediate.into() }, set: { o, v => o.immediate = v.on() };
    XPUB_VERBOSE = 40, Flag, "0", Now, [Pub, Xpub], "Receive every subscription.",
        get: { none }, set: { socket s, v => s.set_xpub_verbose(v.on()) };
    ROUTER_RAW = 41, Flag, "0", Endpoints, [Router, Rep],
        "ROUTER: connections carry octets as they are, as with STREAM; an empty message tells of each made and lost.",
        get: { none }, set: { o, v => o.router_raw = v.on() };
    IPV6 = 42, Switch, "0", Endpoints, [], "Use IPv6 as well as IPv4.",
        get: { o => o.ipv6.into() }, set: { o, v => o.ipv6 = v.on() };
    MECHANISM = 43, Int(0, 3), "0 (NULL)", Never, [], "The security mechanism's number.",
        get: { o => int(o.security.mechanism() as i32) }, set: { none };
    PLAIN_SERVER = 44, Switch, "0", Endpoints, [], "1: ask peers for name and password (PLAIN); 0: no security (NULL).",
        get: { o => o.security.is_server_of(Mechanism::Plain).into() },
        set: { o, v => o.security.set_server(Mechanism::Plain, v.on()) };
    PLAIN_USERNAME = 45, Text(0, 255), "empty", Endpoints, [], "The name to give (PLAIN); empty: no security (NULL).",
        get: { o => o.security.username().into() }, set: { o, v => o.security.set_username(&v.into_bytes()) };
    PLAIN_PASSWORD = 46, Text(0, 255), "empty", Endpoints, [], "The password to give (PLAIN); empty: no security (NULL).",
        get: { o => o.security.password().into() }, set: { o, v => o.security.set_password(&v.into_bytes()) };
    CURVE_SERVER = 47, Switch, "0", Endpoints, [], "1: take clients of CURVE; 0: no security (NULL).",
        get: { o => o.security.is_server_of(Mechanism::Curve).into() },
        set: { o, v => o.security.set_server(Mechanism::Curve, v.on()) };
    CURVE_PUBLICKEY = 48, Key, "32 zero octets", Endpoints, [], "Our public key. The secret one says it all: this is only kept.",
        get: { o => o.security.public_key()[..].into() },
        set: { o, v => if let Some(key) = key_of(&v.into_bytes()) { o.security.set_public_key(key) } };
    CURVE_SECRETKEY = 49, Key, "32 zero octets", Endpoints, [], "Our secret key (CURVE).",
        get: { o => o.security.secret_key()[..].into() },
        set: { o, v => if let Some(key) = key_of(&v.into_bytes()) { o.security.set_secret_key(key) } };
    CURVE_SERVERKEY = 50, Key, "32 zero octets", Endpoints, [], "The public key of the one to talk to, as its client (CURVE).",
        get: { o => o.security.server_key()[..].into() },
        set: { o, v => if let Some(key) = key_of(&v.into_bytes()) { o.security.set_server_key(key) } };
    PROBE_ROUTER = 51, Flag, "0", Peers, [Dealer, Req, Router, Rep], "Send an empty message to each new peer.",
        get: { none }, set: { o, v => o.probe_router = v.on() };
    REQ_CORRELATE = 52, Flag, "0", Now, [Req], "Number requests, and take only the reply of that number.",
        get: { none }, set: { o, v => o.req_correlate = v.on() };
    REQ_RELAXED = 53, Flag, "0", Now, [Req], "Allow a new request before the reply to the last one.",
        get: { none }, set: { o, v => o.req_relaxed = v.on() };
    CONFLATE = 54, Switch, "0", Endpoints, [], "Keep only the newest message (PUSH, PULL, PUB, SUB, DEALER).",
        get: { o => o.conflate.into() }, set: { o, v => o.conflate = v.on() };
    ZAP_DOMAIN = 55, Text(1, 255), "empty", Endpoints, [],
        "What the authenticator is told that the socket belongs to, in UTF-8.",
        get: { o => o.security.zap_domain.as_str().into() }, set: { socket s, v => set_zap_domain(s, &v.into_bytes()) };
    ROUTER_HANDOVER = 56, Flag, "0", Now, [Router, Rep], "A newcomer takes over a routing id that is in use.",
        get: { none }, set: { o, v => o.router_handover = v.on() };
    TOS = 57, MS, "0", Endpoints, [], "IP type of service of connections; 0 leaves it alone.",
        get: { o => int(o.type_of_service) }, set: { o, v => o.type_of_service = v.count() };
    IPC_FILTER_PID = 58, Binary(0, 4), "none", Endpoints, [],
        "Adds a process to those that ipc peers may be, an int; none at all clears the list.",
        get: { none }, set: { socket s, v => filter_ipc(s, &v, |filter, process| filter.allow_process(process), AcceptFilter::allow_every_process) };
    IPC_FILTER_UID = 59, Binary(0, 4), "none", Endpoints, [],
        "Adds a user to those whose processes ipc peers may be, an int; none at all clears the list.",
        get: { none }, set: { socket s, v => filter_ipc(s, &v, |filter, user| filter.allow_user(user.cast_unsigned()), AcceptFilter::allow_every_user) };
    IPC_FILTER_GID = 60, Binary(0, 4), "none", Endpoints, [],
        "Adds a group to those whose processes ipc peers may be, an int; none at all clears the list.",
        get: { none }, set: { socket s, v => filter_ipc(s, &v, |filter, group| filter.allow_group(group.cast_unsigned()), AcceptFilter::allow_every_group) };
    CONNECT_ROUTING_ID = 61, Binary(1, 255), "none", NextConnect, [Router, Rep, Stream],
        "The routing id of the peer that the next connect reaches.",
        get: { none }, set: { socket s, v => s.set_connect_routing_id(v.into_bytes()) };
    GSSAPI_SERVER = 62, Switch, "0", Endpoints, [], "1: take clients of GSSAPI; 0: be one. Takes the crate feature `gssapi`.",
        get: { socket s => gssapi(s, |o| o.security.is_server_of(Mechanism::Gssapi).into()) },
        set: { socket s, v => s.core().set_options(|o| o.security.set_gssapi_server(v.on())) };
    GSSAPI_PRINCIPAL = 63, Text(1, 255), "empty (as the system has it)", Endpoints, [], "Who we are (GSSAPI).",
        get: { socket s => gssapi(s, |o| o.security.gssapi_principal().text().into()) },
        set: { socket s, v => s.core().set_options(|o| o.security.set_gssapi_principal(&v.into_bytes())) };
    GSSAPI_SERVICE_PRINCIPAL = 64, Text(1, 255), "empty", Endpoints, [], "Whom to talk to, as its client (GSSAPI).",
        get: { socket s => gssapi(s, |o| o.security.gssapi_service().text().into()) },
        set: { socket s, v => s.core().set_options(|o| o.security.set_gssapi_service(&v.into_bytes())) };
    GSSAPI_PLAINTEXT = 65, Switch, "0", Endpoints, [], "Encrypt nothing after the authentication (GSSAPI). Both sides have to say the same.",
        get: { socket s => gssapi(s, |o| o.security.gssapi_plaintext().into()) },
        set: { socket s, v => s.core().set_options(|o| o.security.set_gssapi_plaintext(v.on())) };
    HANDSHAKE_IVL = 66, MS, "30000 ms", Endpoints, [], "How long a handshake may take; 0 without limit.",
        get: { o => millis(o.handshake_interval.unwrap_or_default()) },
        set: { o, v => o.handshake_interval = v.nonzero_millis() };
    SOCKS_PROXY = 68, Text(0, usize::MAX), "empty", Endpoints, [],
        "`host:port` of a SOCKS5 proxy through which tcp connects, in UTF-8; names are its to look up.",
        get: { o => o.socks_proxy.as_str().into() }, set: { socket s, v => set_socks_proxy(s, &v.into_bytes()) };
    XPUB_NODROP = 69, Flag, "0", Now, [Pub, Xpub, Radio], "Wait for full subscribers instead of leaving them out.",
        get: { none }, set: { o, v => o.xpub_nodrop = v.on() };
    XPUB_MANUAL = 71, Flag, "0", Now, [Pub, Xpub], "Leave it to the application which subscriptions peers have.",
        get: { none }, set: { o, v => o.xpub_manual = v.on() };
    XPUB_WELCOME_MSG = 72, Binary(0, usize::MAX), "none", Peers, [Pub, Xpub], "A message to each new subscriber.",
        get: { none }, set: { o, v => o.xpub_welcome = Some(v.into_bytes()).filter(|message| !message.is_empty()) };
    STREAM_NOTIFY = 73, Switch, "1", Endpoints, [Stream], "Deliver an empty frame for each connection made and lost.",
        get: { none }, set: { o, v => o.stream_notify = v.on() };
    INVERT_MATCHING = 74, ANY, "0", Now, [], "Send or deliver what does not match (PUB, XPUB, SUB).",
        get: { o => o.invert_matching.into() }, set: { o, v => o.invert_matching = v.on() };
    HEARTBEAT_IVL = 75, MS, "0 (none)", Endpoints, [], "Time between PINGs, in ms.",
        get: { o => millis(o.heartbeat_interval.unwrap_or_default()) },
        set: { o, v => o.heartbeat_interval = v.nonzero_millis() };
    HEARTBEAT_TTL = 76, Int(-99, 6_553_599), "0 (for ever)", Endpoints, [],
        "How long the peer may hear nothing, told in each PING, in ms, in steps of 100.",
        get: { o => millis(o.heartbeat_ttl) },
        set: { o, v => o.heartbeat_ttl = Duration::from_millis((v.count() / 100 * 100).into()) };
    HEARTBEAT_TIMEOUT = 77, MS, "-1 (as HEARTBEAT_IVL)", Endpoints, [], "How long a peer may be silent after a PING, in ms.",
        get: { o => or_minus_one(o.heartbeat_timeout.map(|timeout| timeout.as_millis())) },
        set: { o, v => o.heartbeat_timeout = Some(v.millis()) };
    XPUB_VERBOSER = 78, Flag, "0", Now, [Pub, Xpub], "Receive every subscription and every cancellation.",
        get: { none }, set: { socket s, v => s.set_xpub_verboser(v.on()) };
    CONNECT_TIMEOUT = 79, MS, "0 (as the system has it)", Endpoints, [], "How long an attempt to connect may take, in ms.",
        get: { o => millis(o.connect_timeout.unwrap_or_default()) },
        set: { o, v => o.connect_timeout = v.nonzero_millis() };
    TCP_MAXRT = 80, MS, "0 (as the system has it)", Endpoints, [], "TCP_USER_TIMEOUT in ms.",
        get: { o => int(o.tcp_timeout) }, set: { o, v => o.tcp_timeout = v.count() };
    THREAD_SAFE = 81, Switch, "by type", Never, [], "Whether the type is one of those that libzmq calls thread-safe.",
        get: { socket s => Ok(is_thread_safe(s.socket_type()).into()) }, set: { none };
    MULTICAST_MAXTPDU = 84, Int(1, MAX), "1500", Endpoints, [], "Largest multicast datagram; kept, and without effect.",
        get: { o => int(o.multicast_max_datagram) }, set: { o, v => o.multicast_max_datagram = v.count() };
    GSSAPI_PRINCIPAL_NAMETYPE = 90, Int(0, 2), "0", Endpoints, [],
        "How GSSAPI_PRINCIPAL is meant: 0 service@host, 1 a user of this machine, 2 a principal of Kerberos.",
        get: { socket s => gssapi(s, |o| int(o.security.gssapi_principal().kind() as i32)) },
        set: { socket s, v => s.core().set_options(|o| o.security.set_gssapi_name_type(false, v.int())) };
    GSSAPI_SERVICE_PRINCIPAL_NAMETYPE = 91, Int(0, 2), "0", Endpoints, [],
        "How GSSAPI_SERVICE_PRINCIPAL is meant, likewise.",
        get: { socket s => gssapi(s, |o| int(o.security.gssapi_service().kind() as i32)) },
        set: { socket s, v => s.core().set_options(|o| o.security.set_gssapi_name_type(true, v.int())) };
    BINDTODEVICE = 92, Text(0, 16), "empty", Endpoints, [], "The network interface that tcp connections are bound to.",
        get: { o => o.device.clone().into() }, set: { o, v => o.device = v.into_bytes() };
    ZAP_ENFORCE_DOMAIN = 93, ANY, "0", Endpoints, [], "With a domain set, refuse peers where there is no authenticator.",
        get: { o => o.security.zap_enforce_domain.into() }, set: { o, v => o.security.zap_enforce_domain = v.on() };
    LOOPBACK_FASTPATH = 94, ANY, "0", Endpoints, [], "Of Windows; kept, and without effect.",
        get: { o => o.loopback_fastpath.into() }, set: { o, v => o.loopback_fastpath = v.on() };
    METADATA = 95, Binary(4, usize::MAX), "none", Endpoints, [], "`X-name:value`: a property that peers see.",
        get: { none }, set: { socket s, v => set_metadata(s, &v.into_bytes()) };
    MULTICAST_LOOP = 96, ANY, "1", Endpoints, [], "Whether multicast of udp reaches this machine, too.",
        get: { o => o.multicast_loop.into() }, set: { o, v => o.multicast_loop = v.on() };
    ROUTER_NOTIFY = 97, Int(0, 3), "0", Endpoints, [Router, Rep],
        "ROUTER: deliver an empty frame for connections made (1) and lost (2).",
        get: { o => int(i32::from(o.router_notify_connect) | i32::from(o.router_notify_disconnect) << 1) },
        set: { o, v => (o.router_notify_connect, o.router_notify_disconnect) = (v.int() & 1 != 0, v.int() & 2 != 0) };
    XPUB_MANUAL_LAST_VALUE = 98, Flag, "0", Now, [Pub, Xpub],
        "As XPUB_MANUAL, and the next message goes only to the peer whose request was received last.",
        get: { none }, set: { socket s, v => s.set_xpub_manual_last_value(v.on()) };
    SOCKS_USERNAME = 99, Text(0, 255), "empty", Endpoints, [],
        "The name to give to the SOCKS proxy; empty: none and no password.",
        get: { o => o.socks_username.clone().into() }, set: { o, v => o.socks_username = v.into_bytes() };
    SOCKS_PASSWORD = 100, Text(0, 255), "empty", Endpoints, [], "The password to give to the SOCKS proxy.",
        get: { o => o.socks_password.as_slice().into() },
        set: { o, v => o.socks_password = v.into_bytes().to_vec().into() };
    IN_BATCH_SIZE = 101, Int(1, MAX), "8192", Endpoints, [], "Octets read at once; kept: reads adapt themselves.",
        get: { o => int(o.in_batch_size) }, set: { o, v => o.in_batch_size = v.count() };
    OUT_BATCH_SIZE = 102, Int(1, MAX), "8192", Endpoints, [], "Octets written at once; kept: writes adapt themselves.",
        get: { o => int(o.out_batch_size) }, set: { o, v => o.out_batch_size = v.count() };
    WSS_KEY_PEM = 103, Binary(0, usize::MAX), "empty", Endpoints, [],
        "The private key of `wss://` listeners, in PEM (crate feature `wss`, as the next four).",
        get: { none }, set: { o, v => o.tls.key = v.into_bytes().to_vec().into() };
    WSS_CERT_PEM = 104, Binary(0, usize::MAX), "empty", Endpoints, [],
        "The certificate of `wss://` listeners, and those that lead to its issuer, in PEM.",
        get: { none }, set: { o, v => o.tls.certificate = v.into_bytes() };
    WSS_TRUST_PEM = 105, Binary(0, usize::MAX), "empty", Endpoints, [],
        "The issuers whom connecting `wss://` endpoints trust, in PEM.",
        get: { none }, set: { o, v => o.tls.trusted = v.into_bytes() };
    WSS_HOSTNAME = 106, Binary(0, usize::MAX), "empty", Endpoints, [],
        "Whom the server's certificate has to be for; empty: the endpoint's host (libzmq: anybody).",
        get: { none }, set: { o, v => o.tls.hostname = v.into_bytes() };
    WSS_TRUST_SYSTEM = 107, Switch, "0", Endpoints, [], "Trust the issuers whom the system trusts, too.",
        get: { none }, set: { o, v => o.tls.trusts_system = v.on() };
    ONLY_FIRST_SUBSCRIBE = 108, Flag, "0", Now, [Pub, Xpub, Xsub],
        "Take frames that look like subscriptions for such only in messages of which the first one does.",
        get: { none }, set: { o, v => o.only_first_subscribe = v.on() };
    RECONNECT_STOP = 109, ANY, "0", Endpoints, [],
        "What ends attempts to connect: 1 a refused connection, 2 a failed handshake, 4 a disconnect, though messages are queued.",
        get: { o => {
            let stop = o.reconnect_stop;
            let known = [(stop.refused, 1), (stop.handshake_failed, 2), (stop.after_disconnect, 4)];
            let bits = known.into_iter().filter_map(|(on, bit)| on.then_some(bit)).sum::<i32>();
            OptionValue::Int(bits | o.reconnect_stop_rest)
        } },
        set: { o, v => {
            let has = |bit| v.int() & bit != 0;
            o.reconnect_stop_rest = v.int() & !7;
            o.reconnect_stop = ReconnectStop {
                refused: has(1),
                handshake_failed: has(2),
                after_disconnect: has(4),
                lost: o.reconnect_stop.lost,
            };
        } };
    HELLO_MSG = 110, Binary(0, usize::MAX), "empty", Endpoints, [],
        "A message to each peer before all others (ROUTER, DEALER, CLIENT, SERVER, PEER).",
        get: { none }, set: { o, v => o.hello = v.into_bytes() };
    DISCONNECT_MSG = 111, Binary(0, usize::MAX), "empty", Endpoints, [],
        "Delivered here when an accepted connection is lost (ROUTER, SERVER, PEER).",
        get: { none }, set: { o, v => o.disconnect_message = v.into_bytes() };
    PRIORITY = 112, MS, "0", Endpoints, [], "SO_PRIORITY of connections; 0 leaves it alone.",
        get: { o => int(o.priority) }, set: { o, v => o.priority = v.count() };
    BUSY_POLL = 113, ANY, "0", Endpoints, [], "SO_BUSY_POLL of tcp connections in microseconds; 0 or less leaves it alone.",
        get: { o => int(o.busy_poll) }, set: { o, v => o.busy_poll = v.int() };
    HICCUP_MSG = 114, Binary(0, usize::MAX), "empty", Endpoints, [],
        "Delivered here when a connection that this end made is lost (DEALER, CLIENT, PEER).",
        get: { none }, set: { o, v => o.hiccup_message = v.into_bytes() };
    XSUB_VERBOSE_UNSUBSCRIBE = 115, Flag, "0", Now, [Xsub], "Tell publishers of every cancellation.",
        get: { none }, set: { o, v => o.xsub_verbose_cancel = v.on() };
    TOPICS_COUNT = 116, ANY, "0", Never, [Pub, Sub, Xpub, Xsub], "Number of different topics subscribed to.",
        get: { socket s => s.topics_count().map(int) }, set: { none };
}

/// The types of which libzmq lets several threads use one socket. Here that holds for every type.
pub(crate) fn is_thread_safe(socket_type: SocketType) -> bool {
    matches!(socket_type, Server | Client | Radio | Dish | Gather | Scatter | Peer | Channel)
}

/// Reads an option that exists in builds with GSSAPI alone.
fn gssapi(socket: &Socket, read: fn(&Options) -> OptionValue) -> Result<OptionValue> {
    SecurityOptions::gssapi_is_built()?;
    Ok(socket.core().options(read))
}

fn set_zap_domain(socket: &Socket, domain: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(domain);
    let why = "a ZAP domain is text in UTF-8";
    socket.set_zap_domain(text.map_err(|_| Error::new(ErrorKind::InvalidArgument, why))?)
}

fn set_socks_proxy(socket: &Socket, proxy: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(proxy);
    let why = "the address of a SOCKS proxy is text in UTF-8";
    socket.set_socks_proxy(text.map_err(|_| Error::new(ErrorKind::InvalidArgument, why))?.to_owned())
}

fn allow_network(options: &mut Options, network: &[u8]) -> Result<()> {
    if network.is_empty() {
        options.accept_filter.allow_every_network();
        return Ok(());
    }
    let network = String::from_utf8_lossy(network);
    // As long as sockets use IPv4 only, nobody comes from such an address.
    if network.contains(':') && !options.ipv6 {
        let why = "an IPv6 network in TCP_ACCEPT_FILTER takes the option IPV6";
        return Err(Error::new(ErrorKind::InvalidArgument, why));
    }
    options.accept_filter.allow_network(&network)
}

/// Adds the `int` that the value's octets are to a filter, or clears the list where there are none.
fn filter_ipc(
    socket: &Socket,
    value: &OptionValue,
    add: fn(&mut AcceptFilter, i32),
    clear: fn(&mut AcceptFilter),
) -> Result<()> {
    let OptionValue::Bytes(octets) = value else { return Ok(()) };
    socket.core().set_options(|options| {
        let filter = &mut options.accept_filter;
        if octets.is_empty() {
            clear(filter);
            return Ok(());
        }
        let what = |_| Error::new(ErrorKind::InvalidArgument, "IPC filters take an int of four octets");
        add(filter, octets[..].try_into().map(i32::from_ne_bytes).map_err(what)?);
        Ok(())
    })
}

fn set_metadata(socket: &Socket, property: &[u8]) -> Result<()> {
    let at = property.iter().position(|&octet| octet == b':').unwrap_or(property.len());
    let (name, value) = property.split_at(at);
    socket.set_metadata(&String::from_utf8_lossy(name), Bytes::copy_from_slice(value.get(1..).unwrap_or_default()))
}
