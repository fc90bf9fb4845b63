//! Closing TCP connections without losing what the kernel has still to send.
//!
//! A TCP connection that is closed while octets of the peer are unread, or that receives some afterwards, is reset,
//! and the kernel forgets what it had not sent yet. So a connection that has handed over everything says that no
//! more will come, and what still arrives is read and dropped until the peer has closed its side as well.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, Shutdown};

use super::{Source, Worker};
use crate::context::Lingering;
use crate::session::Link;
use crate::sys::Interest;

/// How long the peer may take to close its side. Longer only matters to one that neither reads nor closes.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long TLS may take to write what it has, and its peer to close.
const RELAYED_PATIENCE: Duration = Duration::from_secs(32);

/// Reads for one event: others have their turn, too.
const READS: usize = 8;

/// A connection that has sent everything, and the wait of the context for it.
pub(crate) struct Parting {
    pub(super) link: Arc<Link>,
    _lingering: Lingering,
}

impl Parting {
    /// Says that no more will come. `None` where nothing can get lost.
    pub(crate) fn begin(link: Arc<Link>, lingering: Lingering) -> Option<Self> {
        let domain = rustix::net::sockopt::socket_domain(&*link).ok()?;
        if !link.relayed && !matches!(domain, AddressFamily::INET | AddressFamily::INET6) {
            return None;
        }
        rustix::net::shutdown(&*link, Shutdown::Write).ok()?;
        Some(Self { link, _lingering: lingering })
    }

    /// Drops what has arrived; false at its end.
    fn drain(&self) -> bool {
        let mut rubbish = [0; 16 * 1024];
        for _ in 0..READS {
            match rustix::net::recv(&*self.link, &mut rubbish[..], RecvFlags::empty()).map(|(read, _)| read) {
                Ok(0) => return false,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return error == Errno::AGAIN,
            }
        }
        true
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Worker {
    pub(super) fn part(&mut self, parting: Parting) {
        if let Ok(token) = self.add_source(&*parting.link, Interest::READ) {
            let patience = if parting.link.relayed { RELAYED_PATIENCE } else { PATIENCE };
            self.sources.insert(token, Source::Parting(parting));
            self.expire_after(token, Some(patience));
        }
    }

    pub(super) fn parting_ready(&mut self, token: u64, parting: Parting) {
        if parting.drain() {
            self.sources.insert(token, Source::Parting(parting));
        }
    }
}
