//! Waiting for several sockets and plain descriptors at once (`zmq_poll(3)`).

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::core::spin::{self, Spin};
use crate::core::{Core, Net, Want};
use crate::error::{Error, Result};
use crate::socket::Socket;
use crate::sys::{self, WakeFd};
use crate::wakers::Ticket;

/// What to wait for on a socket or descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Interest {
    /// There is something to receive.
    pub readable: bool,
    /// There is room to send.
    pub writable: bool,
    /// Descriptors only: there is urgent data to read.
    pub urgent: bool,
}

impl Interest {
    /// There is something to receive.
    pub const READABLE: Self = Self { readable: true, writable: false, urgent: false };
    /// There is room to send.
    pub const WRITABLE: Self = Self { readable: false, writable: true, urgent: false };
    /// Either.
    pub const BOTH: Self = Self { readable: true, writable: true, urgent: false };

    /// What either asks for.
    pub fn and(self, other: Self) -> Self {
        Self {
            readable: self.readable || other.readable,
            writable: self.writable || other.writable,
            urgent: self.urgent || other.urgent,
        }
    }

    fn want(self) -> Want {
        Want { recv: self.readable, send: self.writable }
    }

    fn flags(self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.readable);
        flags.set(PollFlags::OUT, self.writable);
        flags.set(PollFlags::PRI, self.urgent);
        flags
    }
}

/// One ready socket or descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollEvent {
    /// The key it was added with.
    pub key: usize,
    /// A receive (a read) will find something.
    pub readable: bool,
    /// A send (a write) will be taken.
    pub writable: bool,
    /// Descriptors only: an error or hang-up.
    pub error: bool,
    /// Descriptors only: urgent data.
    pub urgent: bool,
}

/// A set of sockets and descriptors to wait for. Readiness is level-triggered: what is ready and not dealt
/// with is reported again.
///
/// ```
/// use oxzmq::{Context, Interest, Poller, SocketType};
///
/// # fn main() -> oxzmq::Result<()> {
/// let context = Context::new();
/// let (pull, push) = (context.socket(SocketType::Pull)?, context.socket(SocketType::Push)?);
/// push.connect(&pull.bind("inproc://work")?)?;
/// push.send("job")?;
///
/// let mut poller = Poller::new();
/// poller.add(&pull, Interest::READABLE, 7);
/// let events = poller.wait(None)?;
/// assert_eq!(events[0].key, 7);
/// assert!(events[0].readable);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Poller<'a> {
    items: Vec<Item<'a>>,
    waker: Option<Arc<PollWaker>>,
    interruptible: bool,
}

struct Item<'a> {
    source: Source<'a>,
    interest: Interest,
    key: usize,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Socket(&'a Arc<Core>),
    Fd(BorrowedFd<'a>),
}

/// Wakes a poller from sockets that it cannot lead: inproc ones, and those that another thread leads.
struct PollWaker {
    fd: WakeFd,
    ticket: Ticket,
}

impl Wake for PollWaker {
    fn wake(self: Arc<Self>) {
        self.fd.wake();
    }
}

impl<'a> Poller<'a> {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a socket. `key` comes back in its events.
    pub fn add(&mut self, socket: &'a Socket, interest: Interest, key: usize) {
        self.items.push(Item { source: Source::Socket(socket.core()), interest, key });
    }

    /// Changes what to wait for on the source that was added as number `index`.
    pub(crate) fn set_interest(&mut self, index: usize, interest: Interest) {
        self.items[index].interest = interest;
    }

    /// Adds a plain descriptor.
    pub fn add_fd(&mut self, fd: BorrowedFd<'a>, interest: Interest, key: usize) {
        self.items.push(Item { source: Source::Fd(fd), interest, key });
    }

    /// Whether a signal ends a wait, with [`Interrupted`](crate::ErrorKind::Interrupted); default false.
    pub fn set_interruptible(&mut self, interruptible: bool) {
        self.interruptible = interruptible;
    }

    /// Waits until something is ready or the timeout has passed (`None`: for ever), and returns what is
    /// ready, in the order in which it was added; nothing after a timeout.
    ///
    /// # Errors
    /// [`Terminated`](crate::ErrorKind::Terminated) when a socket's context was shut down,
    /// [`Closed`](crate::ErrorKind::Closed), or the operating system's error.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Vec<PollEvent>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            // Look before sleeping: what is queued already needs no system call unless descriptors take part.
            let ready = self.ready(None)?;
            let left = match deadline {
                _ if !ready.is_empty() => Some(Duration::ZERO),
                None => None,
                Some(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
            };
            if !ready.is_empty() && self.items.iter().all(|item| matches!(item.source, Source::Socket(_))) {
                return Ok(ready);
            }
            let events = self.sleep(left)?;
            if !events.is_empty() || left.is_some_and(|left| left.is_zero()) {
                return Ok(events);
            }
        }
    }

    /// What the sockets have; registers the waker, if given, with those that have nothing.
    fn ready(&self, waker: Option<(&Waker, &Ticket)>) -> Result<Vec<PollEvent>> {
        let mut events = Vec::new();
        for item in &self.items {
            if let Source::Socket(core) = item.source {
                let ready = core.readiness(item.interest.want(), waker)?;
                if ready.recv || ready.send {
                    let (readable, writable) = (ready.recv, ready.send);
                    events.push(PollEvent { key: item.key, readable, writable, error: false, urgent: false });
                }
            }
        }
        Ok(events)
    }

    /// One wait of the kernel's, leading the sockets that can be led.
    fn sleep(&mut self, timeout: Option<Duration>) -> Result<Vec<PollEvent>> {
        let mut led: Vec<(&Arc<Core>, &Net)> = Vec::new();
        let mut alone = true;
        for item in &self.items {
            if let Source::Socket(core) = item.source {
                match core.lead_for_poller(item.interest.want()) {
                    Some(net) => led.push((core, net)),
                    None => alone = false,
                }
            }
        }
        let result = self.sleep_leading(&led, alone, timeout);
        let (ready_sets, fd_events) = result.unwrap_or_else(|error| (vec![true; led.len()], Err(error)));
        for ((core, net), ready) in led.iter().zip(ready_sets) {
            core.end_lead_for_poller(net, ready);
        }
        if let Some(waker) = self.waker.as_ref().filter(|_| !alone) {
            // A socket that never becomes ready would keep it, and its descriptor, for ever.
            for item in &self.items {
                if let Source::Socket(core) = item.source {
                    core.forget_waker(&waker.ticket);
                }
            }
        }
        let fd_events = fd_events?;
        let mut events = self.ready(None)?;
        events.extend(fd_events);
        let order = |event: &PollEvent| self.items.iter().position(|item| item.key == event.key);
        events.sort_by_key(order);
        Ok(events)
    }

    #[allow(clippy::type_complexity)]
    fn sleep_leading(
        &mut self,
        led: &[(&Arc<Core>, &Net)],
        alone: bool,
        timeout: Option<Duration>,
    ) -> Result<(Vec<bool>, Result<Vec<PollEvent>>)> {
        if self.waker.is_none() && !alone {
            let wake = WakeFd::new().map_err(|error| Error::from_os(&error, "cannot poll"))?;
            self.waker = Some(Arc::new(PollWaker { fd: wake, ticket: Ticket::new() }));
        }
        // Registered first, looked at after: whatever arrives from here on writes the descriptor or is seen now.
        let timeout = if alone {
            // Leading is in force, so what came before it is seen here and what comes later is in the sets.
            if self.ready(None)?.is_empty() { timeout } else { Some(Duration::ZERO) }
        } else {
            let poll_waker = self.waker.clone();
            let waker = poll_waker.clone().map(Waker::from);
            let registration = waker.as_ref().zip(poll_waker.as_ref().map(|waker| &waker.ticket));
            if self.ready(registration)?.is_empty() { timeout } else { Some(Duration::ZERO) }
        };
        let mut fds: Vec<PollFd<'_>> = led.iter().map(|(_, net)| PollFd::new(&net.set, PollFlags::IN)).collect();
        let first_plain = fds.len();
        let plain: Vec<(usize, Interest, BorrowedFd<'_>)> = self
            .items
            .iter()
            .filter_map(|item| match item.source {
                Source::Fd(fd) => Some((item.key, item.interest, fd)),
                Source::Socket(_) => None,
            })
            .collect();
        fds.extend(plain.iter().map(|(_, interest, fd)| PollFd::from_borrowed_fd(*fd, interest.flags())));
        let waker = self.waker.as_ref().filter(|_| !alone);
        if let Some(waker) = waker {
            fds.push(PollFd::from_borrowed_fd(waker.fd.as_fd(), PollFlags::IN));
        }
        match poll_looking_first(&mut fds, timeout) {
            Ok(_) => {}
            Err(Errno::INTR) if !self.interruptible => {}
            Err(error) => return Err(Error::from_os(&error.into(), "cannot poll")),
        }
        if let Some(waker) = waker
            && fds.last().is_some_and(|fd| fd.revents().contains(PollFlags::IN))
        {
            waker.fd.reset();
        }
        let sets = fds[..first_plain].iter().map(|fd| !fd.revents().is_empty()).collect();
        let events = plain
            .iter()
            .zip(&fds[first_plain..])
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|((key, interest, _), fd)| {
                let flags = fd.revents();
                let over = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
                PollEvent {
                    key: *key,
                    readable: interest.readable && flags.intersects(PollFlags::IN),
                    writable: interest.writable && flags.contains(PollFlags::OUT),
                    error: flags.intersects(over),
                    urgent: interest.urgent && flags.contains(PollFlags::PRI),
                }
            })
            .collect();
        Ok((sets, Ok(events)))
    }
}

thread_local! {
    /// A poller may be made anew for each wait, so it is the thread that learns.
    static SPIN: RefCell<Spin> = RefCell::new(Spin::default());
}

fn poll_looking_first(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> rustix::io::Result<usize> {
    if timeout != Some(Duration::ZERO) && SPIN.with_borrow_mut(Spin::is_worthwhile) {
        let found = spin::look(|| poll(fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0));
        SPIN.with_borrow_mut(|spin| spin.tell(found));
        if found {
            return Ok(1);
        }
    }
    poll(fds, timeout.map(sys::timespec).as_ref())
}
