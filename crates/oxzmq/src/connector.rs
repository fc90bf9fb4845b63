//! A connecting endpoint: tries until it has a connection, and again when that is lost.

use std::sync::{Arc, Weak};
use std::time::Duration;

use oxzmq_proto::Security;
use parking_lot::Mutex;

use crate::core::Core;
use crate::endpoint::{Endpoint, Host, HostPort};
use crate::error::{Error, ErrorKind, Result};
use crate::monitor::{Event, EventKind};
use crate::options::{Options, ReconnectStop};
use crate::random;
use crate::reactor::Reactor;
use crate::session::Session;
use crate::tls::Tls;

/// Longest host name that SOCKS5 has room for.
const MAX_PROXIED_NAME: usize = 255;

pub(crate) struct Connector {
    pub(crate) core: Arc<Core>,
    pub(crate) endpoint: Endpoint,
    /// The SOCKS proxy to go through.
    pub(crate) proxy: Option<HostPort>,
    /// The endpoint as the application wrote it.
    pub(crate) name: String,
    pub(crate) options: Options,
    pub(crate) security: Security,
    pub(crate) tls: Option<Tls>,
    reactor: Arc<Reactor>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stopped: bool,
    /// Wait before the next attempt when waits grow; `None` after a success.
    backoff: Option<Duration>,
    /// The peer of this endpoint: for its whole life, or (IMMEDIATE) while its connection lasts.
    session: Weak<Session>,
}

impl Connector {
    pub(crate) fn new(
        core: Arc<Core>,
        endpoint: Endpoint,
        name: String,
        options: Options,
        reactor: Arc<Reactor>,
    ) -> Result<Arc<Self>> {
        let security = options.security.prepare();
        let proxy = match &endpoint {
            Endpoint::Tcp(tcp) if !options.socks_proxy.is_empty() => {
                if matches!(&tcp.target.host, Host::Name(name) if name.len() > MAX_PROXIED_NAME) {
                    return Err(Error::new(ErrorKind::NameTooLong, "a SOCKS proxy takes names of up to 255 octets"));
                }
                Some(HostPort::parse_proxy(&options.socks_proxy)?)
            }
            _ => None,
        };
        let tls = match &endpoint {
            Endpoint::Ws(ws) if ws.secure => Some(Tls::client(&options.tls, &ws.target.host)?),
            _ => None,
        };
        Ok(Arc::new(Self { core, security, tls, endpoint, proxy, name, options, reactor, state: Mutex::default() }))
    }

    /// Where to connect to on tcp and what is above it: the proxy, if there is one.
    pub(crate) fn next_hop(&self) -> Option<&HostPort> {
        match &self.endpoint {
            Endpoint::Tcp(tcp) => Some(self.proxy.as_ref().unwrap_or(&tcp.target)),
            Endpoint::Ws(ws) => Some(&ws.target),
            _ => None,
        }
    }

    /// False when there are to be no more connections: whoever has stopped it does not know of this session.
    pub(crate) fn set_session(&self, session: &Arc<Session>) -> bool {
        let mut state = self.state.lock();
        state.session = Arc::downgrade(session);
        !state.stopped
    }

    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.state.lock().session.upgrade()
    }

    /// The peer and its queues outlive connections, so that messages can wait for one.
    pub(crate) fn keeps_peer(&self) -> bool {
        !self.options.immediate
    }

    pub(crate) fn reconnects(&self) -> bool {
        self.options.reconnects_after().is_some() && !self.is_stopped()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// No more attempts. A connection that exists is the session's to close.
    pub(crate) fn give_up(self: &Arc<Self>) {
        let before = std::mem::replace(&mut self.state.lock().stopped, true);
        if !before {
            self.reactor.cancel(self);
        }
    }

    pub(crate) fn succeeded(&self) {
        self.state.lock().backoff = None;
    }

    /// Schedules the next attempt, unless what has happened ends them (see [`crate::ReconnectStop`]).
    pub(crate) fn retry_unless(self: &Arc<Self>, stop: impl FnOnce(ReconnectStop) -> bool) {
        if stop(self.options.reconnect_stop) { self.give_up() } else { self.retry("") }
    }

    /// Schedules the next attempt. `why` is for failures that no other event tells of.
    pub(crate) fn retry(self: &Arc<Self>, why: &str) {
        let Some(interval) = self.options.reconnects_after() else { return };
        let wait = {
            let mut state = self.state.lock();
            if state.stopped {
                return;
            }
            let max = self.options.reconnect_interval_max;
            if max.is_zero() {
                // Jitter keeps a restarted server from being met by all its clients at once.
                let spread = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
                interval + Duration::from_nanos(random::u64() % spread)
            } else {
                let wait = state.backoff.map_or(interval, |before| before.saturating_mul(2)).min(max);
                state.backoff = Some(wait);
                wait
            }
        };
        let ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        self.core.raise(Event::new(EventKind::ConnectRetried, &self.name).value(ms).reason(why));
        self.reactor.retry_after(self, wait);
    }
}
