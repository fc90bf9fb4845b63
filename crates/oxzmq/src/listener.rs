//! A bound endpoint: accepts connections until it is unbound.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oxzmq_proto::Security;
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::Socket;

use crate::core::Core;
use crate::monitor::{Event, EventKind};
use crate::options::Options;
use crate::tls::Tls;
use crate::transport::{self, Cleanup, Listening};
use crate::websocket::Layer;

/// Connections accepted before others get their turn.
const ACCEPTS_PER_VISIT: usize = 64;

pub(crate) struct Listener {
    pub(crate) id: u64,
    pub(crate) core: Arc<Core>,
    /// The resolved endpoint: what `last_endpoint` reports and `unbind` takes.
    pub(crate) name: String,
    pub(crate) layer: Layer,
    pub(crate) tls: Option<Tls>,
    pub(crate) options: Options,
    pub(crate) security: Security,
    open: Mutex<Option<(OwnedFd, Option<Cleanup>)>>,
}

/// What one visit to a listener brought.
pub(crate) enum Accepted {
    /// There may be more at once.
    All(Vec<Socket>),
    /// Descriptors or memory have run out: try again a little later.
    Exhausted(Vec<Socket>),
}

impl Listener {
    pub(crate) fn new(core: Arc<Core>, listening: Listening, tls: Option<Tls>, options: Options) -> Arc<Self> {
        // Unique in the process; no order with anything else is needed.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            core,
            name: listening.resolved,
            layer: listening.layer,
            tls,
            security: options.security.prepare(),
            options,
            open: Mutex::new(Some((listening.fd, listening.cleanup))),
        })
    }

    /// Stops listening at once: the address is free when this returns.
    pub(crate) fn close(&self) {
        let open = self.open.lock().take();
        if let Some((fd, cleanup)) = open {
            let event = Event::new(EventKind::Closed, &self.name).descriptor(&fd);
            drop((fd, cleanup));
            self.core.raise(event);
        }
    }

    /// Runs `f` with the descriptor, unless it is closed.
    pub(crate) fn with_fd<T>(&self, f: impl FnOnce(&OwnedFd) -> T) -> Option<T> {
        self.open.lock().as_ref().map(|(fd, _)| f(fd))
    }

    pub(crate) fn accept(&self) -> Accepted {
        let mut accepted = Vec::new();
        let open = self.open.lock();
        let Some((fd, _)) = &*open else { return Accepted::All(accepted) };
        while accepted.len() < ACCEPTS_PER_VISIT {
            match rustix::net::accept_with(fd.as_fd(), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(connection) => {
                    let socket = Socket::from(connection);
                    match transport::tune_accepted(&socket, &self.options) {
                        Ok(()) => accepted.push(socket),
                        // The peer left already: nothing was lost.
                        Err(error) => {
                            tracing::debug!(endpoint = self.name, %error, "dropped a connection just accepted")
                        }
                    }
                }
                Err(Errno::AGAIN) => break,
                // The peer left before it was accepted.
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => {
                    drop(open);
                    let error = std::io::Error::from(error);
                    tracing::warn!(endpoint = self.name, %error, "cannot accept a connection; trying again");
                    self.core.raise(Event::new(EventKind::AcceptFailed, &self.name).error(&error));
                    return Accepted::Exhausted(accepted);
                }
            }
        }
        Accepted::All(accepted)
    }
}
