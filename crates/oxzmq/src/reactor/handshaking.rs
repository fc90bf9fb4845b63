//! Handshakes: from a transport connection to a peer of the socket.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use oxzmq_proto::{
    Established, Handshake, HandshakeConfig, Kind, Message, ProtocolError, Security, SocketType, WebSocket,
};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::Socket;

use super::relaying::Reason;
use super::{Parting, Reactor, Source, Timer, Worker};
use crate::connector::Connector;
use crate::core::Core;
use crate::endpoint::Endpoint;
use crate::listener::Listener;
use crate::monitor::{Event, EventKind};
use crate::options::Options;
use crate::peers::Peer;
use crate::queue::Queue;
use crate::security::{Asked, Decision, Question};
use crate::session::{Codec, Link, Origin, Session};
use crate::sys::Interest;
use crate::tls::Tls;
use crate::transport;
use crate::websocket::Layer;

/// A handshake takes a few hundred bytes; more is read only as it is used up.
const HANDSHAKE_READ: usize = 4096;

pub(super) enum From {
    Listener(Arc<Listener>),
    Connector(Arc<Connector>),
}

impl From {
    fn core(&self) -> &Arc<Core> {
        match self {
            Self::Listener(listener) => &listener.core,
            Self::Connector(connector) => &connector.core,
        }
    }

    fn options(&self) -> &Options {
        match self {
            Self::Listener(listener) => &listener.options,
            Self::Connector(connector) => &connector.options,
        }
    }

    fn security(&self) -> &Security {
        match self {
            Self::Listener(listener) => &listener.security,
            Self::Connector(connector) => &connector.security,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Listener(listener) => &listener.name,
            Self::Connector(connector) => &connector.name,
        }
    }

    /// How a WebSocket begins, where it is one.
    fn websocket(&self) -> Option<WebSocket> {
        match self {
            Self::Listener(listener) => (listener.layer == Layer::WebSocket).then(WebSocket::server),
            Self::Connector(connector) => match &connector.endpoint {
                Endpoint::Ws(ws) => Some(ws.client()),
                _ => None,
            },
        }
    }

    fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Listener(listener) => listener.tls.as_ref(),
            Self::Connector(connector) => connector.tls.as_ref(),
        }
    }

    /// The application has closed the endpoint meanwhile.
    fn is_closed(&self) -> bool {
        match self {
            Self::Listener(listener) => listener.with_fd(|_| ()).is_none(),
            Self::Connector(connector) => connector.is_stopped(),
        }
    }
}

pub(super) struct Handshaking {
    pub(super) from: From,
    fd: OwnedFd,
    /// Where TLS would say why it failed.
    relay: Option<Reason>,
    handshake: Handshake,
    interest: Interest,
    address: Bytes,
    peer: String,
    /// The authenticator has been asked about the peer. Its answer to an earlier question is not asked for again:
    /// there is one question in a handshake.
    asked: Option<Asked>,
}

enum HandshakeEnd {
    Wait,
    Done(Vec<u8>),
    Failed(io::Error),
    Refused(ProtocolError),
}

impl Worker {
    pub(super) fn start_handshake(&mut self, from: From, socket: Socket) {
        let (address, peer) = transport::describe_peer(&socket);
        let fd = OwnedFd::from(socket);
        let core = from.core();
        if from.options().is_raw(core.socket_type) {
            return self.establish_raw(&from, fd, address);
        }
        let options = from.options();
        let mut config = HandshakeConfig::new(core.socket_type);
        config.routing_id = options.routing_id.clone();
        config.metadata = options.metadata.clone();
        config.accept_legacy = options.accept_legacy;
        config.limits = options.limits();
        config.security = from.security().clone();
        config.authenticate = options.security.asks_about_null();
        config.websocket = from.websocket();
        let limit = options.handshake_interval.filter(|interval| !interval.is_zero());
        let relayed = match from.tls() {
            Some(tls) => self.relay(tls, fd).map(|(fd, reason)| (fd, Some(reason))),
            None => Ok((fd, None)),
        };
        let added = relayed.and_then(|(fd, relay)| Ok((self.add_source(&fd, Interest::READ)?, fd, relay)));
        match added {
            Ok((token, fd, relay)) => {
                self.expire_after(token, limit);
                if matches!(from, From::Listener(_)) {
                    self.admit(token);
                }
                let handshake = Handshake::new(config);
                let interest = Interest::READ;
                let attempt = Handshaking { from, fd, relay, handshake, interest, address, peer, asked: None };
                self.handshake_ready(token, Box::new(attempt));
            }
            Err(error) => {
                let from = &from;
                from.core().raise(Event::new(EventKind::HandshakeFailed, from.name()).error(&error).peer(&peer));
                retry(from);
            }
        }
    }

    pub(super) fn handshake_ready(&mut self, token: u64, mut attempt: Box<Handshaking>) {
        if attempt.from.is_closed() {
            return;
        }
        match attempt.step() {
            HandshakeEnd::Wait => {
                if attempt.asked.is_none()
                    && let Some(decision) = attempt.ask(token, &self.reactor)
                {
                    return self.decide(token, attempt, decision);
                }
                let write = !attempt.handshake.output().is_empty();
                let interest = Interest { read: true, write };
                if interest != attempt.interest {
                    let _ = self.reactor.set.modify(&attempt.fd, token, interest);
                    attempt.interest = interest;
                }
                self.sources.insert(token, Source::Handshaking(attempt));
            }
            HandshakeEnd::Done(leftover) => {
                let _ = self.reactor.set.remove(&attempt.fd);
                self.establish(*attempt, leftover);
            }
            HandshakeEnd::Failed(error) => handshake_failed(&attempt, &error),
            HandshakeEnd::Refused(error) => self.refuse(*attempt, &error),
        }
    }

    /// The authenticator has answered; the handshake may be over by now.
    pub(super) fn peer_decided(&mut self, token: u64, decision: Decision) {
        match self.sources.remove(&token) {
            Some(Source::Handshaking(attempt)) => self.decide(token, attempt, decision),
            Some(other) => drop(self.sources.insert(token, other)),
            None => {}
        }
    }

    /// A ZAP handler may have answered.
    pub(super) fn zap_answered(&mut self, token: u64) {
        let Some(Source::Handshaking(attempt)) = self.sources.get_mut(&token) else { return };
        if let Some(Asked::Zap(request)) = &mut attempt.asked
            && let Some(decision) = request.poll()
        {
            self.peer_decided(token, decision);
        }
    }

    fn decide(&mut self, token: u64, mut attempt: Box<Handshaking>, decision: Decision) {
        let verdict = match decision {
            Decision::Accept(properties) => Ok(properties),
            Decision::Refuse(status) => Err(status),
            Decision::Unavailable => return handshake_failed(&attempt, &Errno::FAULT.into()),
            Decision::Malformed(code, reason) => {
                let name = attempt.from.name();
                tracing::error!(endpoint = name, reason, "a peer was refused because of the ZAP handler's reply");
                let event = Event::new(EventKind::HandshakeFailedProtocol, name).value(code).reason(reason);
                return end_handshake(&attempt, event);
            }
        };
        match attempt.handshake.authenticate(verdict) {
            Ok(()) => self.handshake_ready(token, attempt),
            Err(error) => {
                // The ERROR that tells the peer why, if there is one.
                let _ = attempt.write();
                self.refuse(*attempt, &error);
            }
        }
    }

    /// Closes a connection whose handshake broke the rules, or whose peer is not welcome. The ERROR that says so has
    /// to arrive: it keeps the peer from coming back.
    fn refuse(&mut self, attempt: Handshaking, error: &ProtocolError) {
        handshake_refused(&attempt, error);
        if !matches!(error, ProtocolError::AuthRefused { .. }) {
            return;
        }
        let _ = self.reactor.set.remove(&attempt.fd);
        let lingering = attempt.from.core().context.linger(attempt.from.name());
        let link = Link { fd: attempt.fd, relayed: attempt.relay.is_some() };
        if let Some(parting) = Parting::begin(Arc::new(link), lingering) {
            self.part(parting);
        }
    }

    fn establish(&mut self, attempt: Handshaking, leftover: Vec<u8>) {
        let Handshaking { from, fd, relay, handshake, address, peer, .. } = attempt;
        let Established { encoder, mut decoder, peer_routing_id, properties, subscribes_to_all, .. } =
            handshake.finish();
        let core = Arc::clone(from.core());
        if core.socket_type == SocketType::Req {
            decoder.validate_replies();
        }
        if !matches!(core.socket_type, SocketType::Pub | SocketType::Xpub | SocketType::Radio) {
            decoder.ignore_changes();
        }
        let has_heartbeats = encoder.has_heartbeats();
        let event = Event::new(EventKind::HandshakeSucceeded, from.name()).peer(&peer);
        let Some(session) = session_for(&from) else { return };
        let Some(id) = session.peer() else { return };
        let properties = Arc::new(transport::with_peer_address(&properties, address));
        core.link(id, &peer_routing_id, Some(properties), None);
        if subscribes_to_all && session.queues().1.push_over(Message::subscription(Kind::Subscribe, &b""[..])) {
            core.peer_readable(id);
        }
        core.raise(event);
        let hello = from.options().hello(core.socket_type);
        let link = Link { fd, relayed: relay.is_some() };
        session.install(link, Codec::Zmtp(Box::new(encoder), Box::new(decoder)), hello, leftover);
        if has_heartbeats
            && let Some(at) = session.heartbeat_interval().and_then(|interval| Instant::now().checked_add(interval))
        {
            self.add_timer(at, Timer::Heartbeat(Arc::downgrade(&session), true));
        }
    }

    fn establish_raw(&mut self, from: &From, fd: OwnedFd, address: Bytes) {
        let Some(session) = session_for(from) else { return };
        let Some(id) = session.peer() else { return };
        let properties = transport::with_peer_address(&oxzmq_proto::Properties::new(), address);
        from.core().link(id, &Bytes::new(), Some(Arc::new(properties)), None);
        session.install(Link { fd, relayed: false }, Codec::Raw, None, Vec::new());
    }
}

impl Handshaking {
    /// Puts the question on which the handshake waits, if it does; returns what is decided at once.
    fn ask(&mut self, token: u64, reactor: &Arc<Reactor>) -> Option<Decision> {
        let request = self.handshake.auth_request()?;
        let options = self.from.options();
        let asked = Question {
            context: &self.from.core().context,
            options: &options.security,
            routing_id: &options.routing_id,
            address: &self.address,
            request: &request,
            reactor,
            token,
        }
        .ask();
        match self.asked.insert(asked) {
            Asked::Decided(decision) => Some(std::mem::replace(decision, Decision::Unavailable)),
            Asked::Authenticator => None,
            Asked::Zap(request) => request.poll(),
        }
    }

    /// Writes and reads as much as goes.
    fn step(&mut self) -> HandshakeEnd {
        let mut buffer = [0; HANDSHAKE_READ];
        loop {
            if let Err(error) = self.write() {
                return HandshakeEnd::Failed(error);
            }
            if self.handshake.is_complete() {
                return if self.handshake.output().is_empty() {
                    HandshakeEnd::Done(Vec::new())
                } else {
                    HandshakeEnd::Wait
                };
            }
            let got = match rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => return HandshakeEnd::Failed(Errno::PIPE.into()),
                Ok((got, _)) => got,
                Err(Errno::AGAIN) => return HandshakeEnd::Wait,
                Err(Errno::INTR) => continue,
                Err(error) => return HandshakeEnd::Failed(error.into()),
            };
            match self.handshake.handle_input(&buffer[..got]) {
                Ok(used) if self.handshake.is_complete() => {
                    if let Err(error) = self.write() {
                        return HandshakeEnd::Failed(error);
                    }
                    // Our last command always fits an empty kernel buffer; a peer that made it not so by reading
                    // nothing is not worth waiting for.
                    if !self.handshake.output().is_empty() {
                        return HandshakeEnd::Failed(Errno::AGAIN.into());
                    }
                    return HandshakeEnd::Done(buffer[used..got].to_vec());
                }
                Ok(_) => {}
                Err(error) => {
                    // What the handshake still wanted to say (our READY, say) tells the peer why.
                    let _ = self.write();
                    return HandshakeEnd::Refused(error);
                }
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.handshake.output().is_empty() {
            match rustix::net::send(&self.fd, self.handshake.output(), SendFlags::NOSIGNAL) {
                Ok(written) => self.handshake.advance_output(written),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The session that a new connection belongs to; a new one unless its endpoint keeps one.
fn session_for(from: &From) -> Option<Arc<Session>> {
    match from {
        From::Connector(connector) => {
            connector.succeeded();
            if connector.keeps_peer() {
                return connector.session().filter(|session| !session.is_finished());
            }
            let session = new_session(from, Origin::Connector { connector: Arc::clone(connector), keep: false })?;
            if !connector.set_session(&session) {
                // Not by lingering: whoever has made the connector stop may have begun that already.
                session.finish();
                return None;
            }
            Some(session)
        }
        From::Listener(listener) => {
            let origin = Origin::Accepted { listener: listener.id, endpoint: listener.name.clone() };
            new_session(from, origin)
        }
    }
}

fn new_session(from: &From, origin: Origin) -> Option<Arc<Session>> {
    attach_session(from.core(), from.options(), origin, Bytes::new())
}

/// Makes a session with its queues and peer and adds it to its socket; `None` when the socket is closed.
pub(crate) fn attach_session(
    core: &Arc<Core>,
    options: &Options,
    origin: Origin,
    routing_id: Bytes,
) -> Option<Arc<Session>> {
    // The high-water marks in force now: unlike the other options they are not copied by the endpoint.
    let (send_hwm, recv_hwm) = core.options(|now| (now.send_hwm as usize, now.recv_hwm as usize));
    let conflate = options.conflates(core.socket_type);
    let outbound = Arc::new(Queue::new(send_hwm, conflate));
    let inbound = Arc::new(Queue::new(recv_hwm, conflate));
    let queues = (Arc::clone(&outbound), Arc::clone(&inbound));
    let session = Session::new(Arc::clone(core), origin, options, queues);
    let far: Arc<dyn crate::peers::FarEnd> = Arc::clone(&session) as _;
    let mut peer = Peer::new(outbound, inbound, far, recv_hwm);
    peer.routing_id = routing_id;
    core.attach(peer, Some(Arc::clone(&session)))?;
    Some(session)
}

fn retry(from: &From) {
    if let From::Connector(connector) = from {
        connector.retry_unless(|stop| stop.handshake_failed);
    }
}

pub(super) fn handshake_failed(attempt: &Handshaking, error: &io::Error) {
    let event = Event::new(EventKind::HandshakeFailed, attempt.from.name()).error(error);
    let why = attempt.relay.as_ref().and_then(|reason| reason.lock().take());
    end_handshake(attempt, if let Some(why) = why { event.reason(why) } else { event });
}

/// Tells of an end that leaves a connecter to try again.
fn end_handshake(attempt: &Handshaking, event: Event) {
    let core = attempt.from.core();
    core.raise(event.peer(&attempt.peer));
    core.raise(Event::new(EventKind::Disconnected, attempt.from.name()).descriptor(&attempt.fd).peer(&attempt.peer));
    retry(&attempt.from);
}

fn handshake_refused(attempt: &Handshaking, error: &ProtocolError) {
    let name = attempt.from.name();
    let core = attempt.from.core();
    tracing::debug!(endpoint = name, peer = attempt.peer, %error, "handshake refused");
    let event = match error.auth_status() {
        Some(status) => Event::new(EventKind::HandshakeFailedAuth, name).value(status.into()),
        None => Event::new(EventKind::HandshakeFailedProtocol, name).value(error.event_code().unwrap_or(0)),
    };
    core.raise(event.reason(error).peer(&attempt.peer));
    core.raise(Event::new(EventKind::Disconnected, name).descriptor(&attempt.fd).peer(&attempt.peer));
    if let From::Connector(connector) = &attempt.from {
        if !error.is_fatal_for_connecter() {
            return connector.retry_unless(|stop| stop.handshake_failed);
        }
        connector.give_up();
        // Nothing will ever be delivered there: the peer's place goes to others.
        if let Some(session) = connector.session() {
            session.finish();
        }
    }
}
