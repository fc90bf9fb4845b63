//! A descriptor that tells when to look at a socket again: for event loops that know nothing of sockets like these
//! (`ZMQ_FD` and `ZMQ_EVENTS` of `zmq_getsockopt(3)`).

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::core::{Core, Want};
use crate::error::{Error, Result};
use crate::socket::{Readiness, Socket};
use crate::sys::WakeFd;
use crate::wakers::Ticket;

/// A descriptor that becomes readable when what a socket could do may have changed. Nothing else is to be done
/// with it than to wait for that.
///
/// Ask [`EventFd::events`] each time it has become readable, and after each send and receive: that says what the
/// socket can do *and* makes the descriptor tell of the next change. As long as something can be done, do it
/// instead of waiting.
///
/// ```
/// use std::os::fd::AsFd;
/// use oxzmq::{Context, EventFd, SocketType};
///
/// # fn main() -> oxzmq::Result<()> {
/// let context = Context::new();
/// let (pull, push) = (context.socket(SocketType::Pull)?, context.socket(SocketType::Push)?);
/// push.connect(&pull.bind("inproc://work")?)?;
/// let events = EventFd::new(&pull)?;
/// assert!(!events.events()?.readable());
/// push.send("job")?;
/// // An event loop finds `events.as_fd()` readable now.
/// assert!(events.events()?.readable());
/// # Ok(())
/// # }
/// ```
pub struct EventFd {
    core: Arc<Core>,
    waker: Arc<FdWaker>,
    ticket: Ticket,
}

struct FdWaker(WakeFd);

impl Wake for FdWaker {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }
}

impl EventFd {
    /// A descriptor for a socket. It is readable at first if there is anything to do.
    ///
    /// # Errors
    /// [`ErrorKind::TooManySockets`](crate::ErrorKind::TooManySockets) when there are no descriptors left.
    pub fn new(socket: &Socket) -> Result<Self> {
        let fd = WakeFd::new().map_err(|error| Error::from_os(&error, "cannot make a descriptor for events"))?;
        // Whatever there is: the first look will tell.
        fd.wake();
        Ok(Self { core: Arc::clone(socket.core()), waker: Arc::new(FdWaker(fd)), ticket: Ticket::new() })
    }

    /// Makes the descriptor readable, as if something had changed.
    pub fn notify(&self) {
        self.waker.0.wake();
    }

    /// What the socket can do now. The descriptor is not readable from here on until something changes that is not
    /// so now.
    ///
    /// # Errors
    /// As [`Socket::readiness`].
    pub fn events(&self) -> Result<Readiness> {
        // In this order: what changes in between makes it readable again.
        self.waker.0.reset();
        let waker = Waker::from(Arc::clone(&self.waker));
        let both = Want { recv: true, send: true };
        self.core.readiness(both, Some((&waker, &self.ticket))).map(Readiness::new)
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waker.0.as_fd()
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        self.core.forget_waker(&self.ticket);
    }
}
