//! Attempts to connect: by name or address, one address after the other, again after a while.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use rustix::io::Errno;
use socket2::Socket;

use super::handshaking::From;
use super::{Command, Source, Worker};
use crate::connector::Connector;
use crate::endpoint::{Endpoint, Host, HostPort};
use crate::monitor::{Event, EventKind};
use crate::sys::Interest;
use crate::transport;

/// A connection attempt under way.
pub(super) struct Connecting {
    pub(super) connector: Arc<Connector>,
    fd: OwnedFd,
    /// Further addresses of the same host name.
    others: Vec<SocketAddr>,
}

impl Worker {
    pub(super) fn connect(&mut self, connector: Arc<Connector>) {
        if connector.is_stopped() {
            return;
        }
        match &connector.endpoint {
            Endpoint::Ipc(ipc) => {
                let made = transport::connect_ipc(ipc);
                match made {
                    Ok(fd) => self.connected(connector, fd),
                    Err(error) => attempt_failed(&connector, &error, None),
                }
            }
            Endpoint::Tcp(_) | Endpoint::Ws(_) => {
                let Some(hop) = connector.next_hop() else { return };
                match hop.host.literal(hop.port, connector.options.ipv6) {
                    Some(address) => self.connect_to(connector, vec![address]),
                    None => self.resolve(connector),
                }
            }
            Endpoint::Udp(_) | Endpoint::Inproc(_) => {}
        }
    }

    /// Looks the name up in a thread of its own: a slow resolver holds up this connection and no other.
    fn resolve(&self, connector: Arc<Connector>) {
        let reactor = Arc::clone(&self.reactor);
        let lookup = Arc::clone(&connector);
        let spawned = thread::Builder::new().name("oxzmq/resolve".to_owned()).spawn(move || {
            if let Some(HostPort { host: Host::Name(name), port }) = lookup.next_hop() {
                let found = transport::resolve(name, *port, lookup.options.ipv6);
                reactor.post(Command::Resolved(lookup, found));
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(endpoint = connector.name, %error, "cannot start a thread to look up a name; trying again");
            connector.retry(&format!("cannot start a thread to look up the name: {error}"));
        }
    }

    pub(super) fn resolved(&mut self, connector: Arc<Connector>, addresses: io::Result<Vec<SocketAddr>>) {
        match addresses {
            Ok(mut addresses) => {
                addresses.reverse(); // taken from the back
                self.connect_to(connector, addresses);
            }
            Err(error) => {
                tracing::debug!(endpoint = connector.name, %error, "cannot resolve the name; trying again");
                connector.retry(&format!("cannot look up the name: {error}"));
            }
        }
    }

    /// Tries the last of `addresses`, then the others.
    fn connect_to(&mut self, connector: Arc<Connector>, mut addresses: Vec<SocketAddr>) {
        let mut failure = io::Error::from(Errno::ADDRNOTAVAIL);
        while let Some(address) = addresses.pop() {
            if connector.is_stopped() {
                return;
            }
            let source = match &connector.endpoint {
                Endpoint::Tcp(tcp) => tcp.source.as_ref(),
                _ => None,
            };
            let started = transport::connect_tcp(address, source, &connector.options)
                .and_then(|fd| self.add_source(&fd, Interest::WRITE).map(|token| (fd, token)));
            match started {
                Ok((fd, token)) => {
                    connector.core.raise(
                        Event::new(EventKind::ConnectDelayed, &connector.name)
                            .value(Errno::INPROGRESS.raw_os_error().unsigned_abs()),
                    );
                    self.expire_after(token, connector.options.connect_timeout.filter(|t| !t.is_zero()));
                    self.sources.insert(token, Source::Connecting(Connecting { connector, fd, others: addresses }));
                    return;
                }
                Err(error) => failure = error,
            }
        }
        attempt_failed(&connector, &failure, None);
    }

    pub(super) fn connect_ended(&mut self, attempt: Connecting) {
        let _ = self.reactor.set.remove(&attempt.fd);
        match transport::connect_result(&attempt.fd) {
            Ok(()) if attempt.connector.proxy.is_some() => self.start_proxying(attempt.connector, attempt.fd),
            Ok(()) => self.connected(attempt.connector, attempt.fd),
            Err(error) => self.connect_failed(attempt, &error),
        }
    }

    pub(super) fn connect_failed(&mut self, attempt: Connecting, error: &io::Error) {
        if attempt.others.is_empty() {
            attempt_failed(&attempt.connector, error, Some(attempt.fd));
        } else {
            drop(attempt.fd);
            self.connect_to(attempt.connector, attempt.others);
        }
    }

    pub(super) fn connected(&mut self, connector: Arc<Connector>, fd: OwnedFd) {
        if connector.is_stopped() {
            return;
        }
        connector.core.raise(Event::new(EventKind::Connected, &connector.name).descriptor(&fd));
        self.start_handshake(From::Connector(connector), Socket::from(fd));
    }
}

pub(super) fn attempt_failed(connector: &Arc<Connector>, error: &io::Error, fd: Option<OwnedFd>) {
    let event = Event::new(EventKind::Closed, &connector.name).reason(error);
    let event = if let Some(fd) = &fd { event.descriptor(fd) } else { event };
    drop(fd);
    connector.core.raise(event);
    let refused = error.kind() == io::ErrorKind::ConnectionRefused;
    connector.retry_unless(|stop| stop.refused && refused);
}
