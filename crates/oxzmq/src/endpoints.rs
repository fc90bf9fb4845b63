//! What a socket is bound and connected to.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oxzmq_proto::SocketType;

use crate::connector::Connector;
use crate::core::Core;
use crate::datagrams::Datagrams;
use crate::endpoint::{Endpoint, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::listener::Listener;
use crate::monitor::{Event, EventKind};
use crate::options::Options;
use crate::peers::PeerId;
use crate::reactor;
use crate::session::Origin;
use crate::tls::Tls;
use crate::transport::Listening;
use crate::{datagrams, inproc, transport};

#[derive(Default)]
pub(crate) struct Endpoints {
    entries: Vec<Entry>,
    /// The socket is closed: nothing may be added any more.
    closed: bool,
    /// The last endpoint bound or connected.
    pub(crate) last: String,
}

enum Entry {
    Listener(Arc<Listener>),
    Connector(Arc<Connector>),
    Datagrams(Arc<Datagrams>),
    InprocBind(String),
    InprocConnect(String, PeerId),
}

impl Endpoints {
    /// A connecting endpoint has ended by itself: there is nothing left to disconnect.
    pub(crate) fn forget(&mut self, connector: &Arc<Connector>) {
        self.entries.retain(|entry| !matches!(entry, Entry::Connector(own) if Arc::ptr_eq(own, connector)));
    }
}

impl Entry {
    /// The name under which the endpoint can be removed.
    fn is_named(&self, endpoint: &str) -> bool {
        match self {
            Self::Listener(listener) => listener.name == endpoint,
            Self::Connector(connector) => {
                connector.name == endpoint
                    || matches!(&connector.endpoint, Endpoint::Ws(ws) if ws.to_string() == endpoint)
            }
            Self::Datagrams(datagrams) => datagrams.name == endpoint,
            Self::InprocBind(name) | Self::InprocConnect(name, _) => endpoint.strip_prefix("inproc://") == Some(name),
        }
    }
}

/// What the kernel has for the socket already is seen before its endpoints change, as programs are used to: a
/// subscription that was there before a publisher binds once more counts for what it sends next.
fn catch_up(core: &Arc<Core>) {
    core.drive_ready();
}

pub(crate) fn bind(core: &Arc<Core>, text: &str) -> Result<String> {
    core.check_alive()?;
    catch_up(core);
    let endpoint = Endpoint::parse(text, Role::Bind)?;
    if let Endpoint::Inproc(name) = endpoint {
        check_type(core)?;
        inproc::bind(core, &name)?;
        remember(core, Entry::InprocBind(name), text, || {})?;
        return Ok(text.to_owned());
    }
    if let Endpoint::Udp(udp) = &endpoint {
        let datagrams = datagrams::open(core, udp, text, Role::Bind)?;
        let name = datagrams.name.clone();
        remember(core, Entry::Datagrams(datagrams), &name, || {})?;
        return Ok(name);
    }
    check_type(core)?;
    let options = core.options(Clone::clone);
    check_layer(core, &endpoint, &options)?;
    let tls = tls_of(&endpoint, &options)?;
    let listening = transport::listen(&endpoint, &options).inspect_err(|error| {
        let errno = error.errno().unsigned_abs();
        // What was made for it is closed first, as programs that watch libzmq's monitors expect.
        core.raise(Event::new(EventKind::Closed, ""));
        core.raise(Event::new(EventKind::BindFailed, text).value(errno).reason(error));
    })?;
    listen(core, listening, tls, options)
}

/// Binds with a descriptor that listens already.
pub(crate) fn adopt(core: &Arc<Core>, text: &str, fd: OwnedFd) -> Result<String> {
    core.check_alive()?;
    let endpoint = Endpoint::parse(text, Role::Bind)?;
    let options = core.options(Clone::clone);
    check_layer(core, &endpoint, &options)?;
    let tls = tls_of(&endpoint, &options)?;
    listen(core, transport::adopt(&endpoint, fd)?, tls, options)
}

/// What listeners of `wss://` begin with.
fn tls_of(endpoint: &Endpoint, options: &Options) -> Result<Option<Tls>> {
    match endpoint {
        Endpoint::Ws(ws) if ws.secure => Tls::server(&options.tls).map(Some),
        _ => Ok(None),
    }
}

fn listen(core: &Arc<Core>, listening: Listening, tls: Option<Tls>, options: Options) -> Result<String> {
    let net = core.net()?;
    let event = Event::new(EventKind::Listening, &listening.resolved).descriptor(&listening.fd);
    let listener = Listener::new(Arc::clone(core), listening, tls, options);
    let resolved = listener.name.clone();
    core.raise(event);
    remember(core, Entry::Listener(Arc::clone(&listener)), &resolved, || net.reactor.listen(listener))?;
    Ok(resolved)
}

/// Connects, and returns the peer if there is one already: not where each connection is a new one.
pub(crate) fn connect(core: &Arc<Core>, text: &str) -> Result<Option<PeerId>> {
    core.check_alive()?;
    catch_up(core);
    let endpoint = Endpoint::parse(text, Role::Connect)?;
    // For these types a second connection to the same place would only duplicate traffic.
    let once = matches!(core.socket_type, SocketType::Dealer | SocketType::Sub | SocketType::Pub | SocketType::Req);
    if once && !matches!(endpoint, Endpoint::Inproc(_)) {
        let endpoints = core.endpoints.lock();
        if endpoints
            .entries
            .iter()
            .any(|entry| matches!(entry, Entry::Connector(c) if c.name == text && !c.is_stopped()))
        {
            return Ok(None);
        }
    }
    let routing_id = take_connect_routing_id(core)?;
    if let Endpoint::Inproc(name) = endpoint {
        check_type(core)?;
        let id = inproc::connect(core, &name, routing_id)?;
        remember(core, Entry::InprocConnect(name, id), text, || {})?;
        return Ok(Some(id));
    }
    if let Endpoint::Udp(udp) = &endpoint {
        let datagrams = datagrams::open(core, udp, text, Role::Connect)?;
        remember(core, Entry::Datagrams(datagrams), text, || {})?;
        return Ok(None);
    }
    check_type(core)?;
    let net = core.net()?;
    let options = core.options(Clone::clone);
    check_layer(core, &endpoint, &options)?;
    // As programs know it from libzmq: with the path that was not written.
    let last = if let Endpoint::Ws(ws) = &endpoint { ws.to_string() } else { text.to_owned() };
    let reactor = Arc::clone(&net.reactor);
    let connector = Connector::new(Arc::clone(core), endpoint, text.to_owned(), options, Arc::clone(&reactor))?;
    let mut peer = None;
    if connector.keeps_peer() {
        let origin = Origin::Connector { connector: Arc::clone(&connector), keep: true };
        let named = !routing_id.is_empty();
        let session = reactor::attach_session(core, &connector.options, origin, routing_id).ok_or(ErrorKind::Closed)?;
        connector.set_session(&session);
        peer = session.peer();
        if let (SocketType::Stream, false, Some(id)) = (core.socket_type, named, peer) {
            tell_routing_id(core, id)?;
        }
    }
    remember(core, Entry::Connector(Arc::clone(&connector)), &last, || reactor.connect(connector))?;
    Ok(peer)
}

/// STREAM: the option ROUTING_ID, which has no other use there, is how a program learns what to send to the server by.
fn tell_routing_id(core: &Core, id: PeerId) -> Result<()> {
    let routing_id = core.with_peers(|peers| peers.get(id).map(|peer| peer.routing_id.clone()));
    core.set_options(|options| {
        options.routing_id = routing_id.unwrap_or_default();
        Ok(())
    })
}

/// DGRAM has no connections.
fn check_type(core: &Core) -> Result<()> {
    if core.socket_type == SocketType::Dgram {
        return Err(Error::new(ErrorKind::IncompatibleTransport, "DGRAM sockets bind udp endpoints and no others"));
    }
    Ok(())
}

/// What travels over a WebSocket is messages, never octets as they are.
fn check_layer(core: &Core, endpoint: &Endpoint, options: &Options) -> Result<()> {
    if matches!(endpoint, Endpoint::Ws(_)) && options.is_raw(core.socket_type) {
        let why = "sockets of octets (STREAM, and ROUTER with ROUTER_RAW) have no use for WebSocket";
        return Err(Error::new(ErrorKind::IncompatibleTransport, why));
    }
    Ok(())
}

/// The routing id for the next connection, which takes it with it.
fn take_connect_routing_id(core: &Core) -> Result<Bytes> {
    let mut taken = None;
    core.set_options(|options| {
        taken = options.connect_routing_id.take();
        Ok(())
    })?;
    let Some(routing_id) = taken else { return Ok(Bytes::new()) };
    let in_use = core.with_peers(|peers| {
        peers.ids().filter_map(|id| peers.get(id)).any(|peer| !peer.gone && peer.routing_id == routing_id)
    });
    if in_use {
        let why = "a peer with this routing id (CONNECT_ROUTING_ID) exists already";
        return Err(Error::new(ErrorKind::InvalidArgument, why));
    }
    Ok(routing_id)
}

/// Adds an endpoint and starts it, unless another thread has closed the socket meanwhile: then the endpoint is closed,
/// too, because nobody else would. Under one lock, so that an endpoint is started before it is closed.
fn remember(core: &Arc<Core>, entry: Entry, last: &str, start: impl FnOnce()) -> Result<()> {
    let mut endpoints = core.endpoints.lock();
    if endpoints.closed {
        drop(endpoints);
        close(core, entry, core.options(|options| options.linger), true);
        return Err(ErrorKind::Closed.into());
    }
    last.clone_into(&mut endpoints.last);
    endpoints.entries.push(entry);
    start();
    Ok(())
}

/// Unbinds or disconnects: removes every endpoint of that name.
pub(crate) fn remove(core: &Arc<Core>, text: &str, role: Role) -> Result<()> {
    core.check_alive()?;
    let endpoint = Endpoint::parse(text, role)?;
    if matches!(endpoint, Endpoint::Udp(_)) {
        datagrams::check_type(core.socket_type)?;
    }
    let removed = take(core, text).or_else(|| {
        // Another spelling of the same numeric address.
        let target = match &endpoint {
            Endpoint::Tcp(tcp) => &tcp.target,
            Endpoint::Ws(ws) => &ws.target,
            _ => return None,
        };
        let ipv6 = core.options(|options| options.ipv6);
        let address = target.host.literal(target.port, ipv6).or_else(|| match &target.host {
            crate::endpoint::Host::Name(name) => transport::resolve(name, target.port, ipv6).ok()?.first().copied(),
            _ => None,
        })?;
        match &endpoint {
            Endpoint::Ws(ws) => take(core, &ws.named(address)),
            _ => take(core, &format!("tcp://{address}")),
        }
    });
    let Some(removed) = removed else {
        return Err(Error::new(ErrorKind::NotFound, format!("`{text}` is neither bound nor connected by this socket")));
    };
    let linger = core.options(|options| options.linger);
    for entry in removed {
        close(core, entry, linger, false);
    }
    Ok(())
}

fn take(core: &Core, name: &str) -> Option<Vec<Entry>> {
    let mut endpoints = core.endpoints.lock();
    let (removed, kept): (Vec<_>, Vec<_>) =
        std::mem::take(&mut endpoints.entries).into_iter().partition(|entry| entry.is_named(name));
    endpoints.entries = kept;
    (!removed.is_empty()).then_some(removed)
}

/// Closes every endpoint of a socket that is being closed.
pub(crate) fn close_all(core: &Arc<Core>) {
    let entries = {
        let mut endpoints = core.endpoints.lock();
        endpoints.closed = true;
        std::mem::take(&mut endpoints.entries)
    };
    let linger = core.options(|options| options.linger);
    for entry in entries {
        close(core, entry, linger, true);
    }
}

fn close(core: &Arc<Core>, entry: Entry, linger: Option<Duration>, socket_closes: bool) {
    match entry {
        Entry::Listener(listener) => {
            listener.close();
            if let Some(net) = core.existing_net() {
                net.reactor.unlisten(Arc::clone(&listener));
            }
            for session in core.sessions_accepted_by(listener.id) {
                session.close_lingering(linger);
                if !socket_closes && let Some(peer) = session.peer() {
                    core.detach(peer);
                }
            }
        }
        Entry::Connector(connector) => {
            let stops = !socket_closes && connector.options.reconnect_stop.after_disconnect;
            if !connector.keeps_peer() || stops {
                // Before the session is looked for: from here on there is no new one.
                connector.give_up();
            }
            let session = connector.session();
            if session.is_none() {
                connector.give_up();
            }
            if let Some(session) = session {
                let linger = if stops && !session.is_connected() { Some(Duration::ZERO) } else { linger };
                session.close_lingering(linger);
                if !socket_closes && let Some(peer) = session.peer() {
                    core.discard(peer);
                }
            }
        }
        Entry::Datagrams(datagrams) => datagrams.end(),
        Entry::InprocBind(name) => inproc::unbind(core, &name),
        Entry::InprocConnect(name, id) => {
            if !socket_closes {
                inproc::cancel(core, &name, id);
                core.close_peer(id);
                core.discard(id);
            }
        }
    }
}
