//! The operating system's readiness interface: poll sets that can be watched inside other poll sets.
//!
//! Linux's epoll. Everything platform-specific about readiness is in this file, so that another system
//! needs another version of it and nothing else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Once;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

/// So large a block, once freed, is what [`settle_allocator`] shows the allocator.
const LARGE_BLOCK: usize = 4 * 1024 * 1024;

/// Lets glibc's allocator keep what a queue needs between two fills.
///
/// As it starts, it gives memory back as soon as 128 KiB at the heap's end are free, so a queue of some hundred KiB that
/// fills and drains has the kernel take the same pages away and clear them anew a thousand times a second. The limit
/// follows what the program does: it becomes twice the largest block that was freed (mallopt(3), `M_MMAP_THRESHOLD`).
/// A block that nobody writes to costs no memory. Other allocators take no notice.
pub(crate) fn settle_allocator() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut block = Vec::<u8>::new();
        // Where memory is that short, all stays as it is. Without the box the compiler may see that nobody needs the block.
        let _ = std::hint::black_box(&mut block).try_reserve_exact(LARGE_BLOCK);
        drop(std::hint::black_box(block));
    });
}

/// What to watch a descriptor for. Level-triggered: a condition is reported as long as it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Interest {
    pub(crate) const NONE: Self = Self { read: false, write: false };
    pub(crate) const READ: Self = Self { read: true, write: false };
    pub(crate) const WRITE: Self = Self { read: false, write: true };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN | EventFlags::RDHUP, self.read);
        flags.set(EventFlags::OUT, self.write);
        flags
    }
}

/// One report of [`PollSet::wait`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) token: u64,
    /// Something to read, the peer's end, or an error: a read will tell.
    pub(crate) read: bool,
    pub(crate) write: bool,
}

pub(crate) type Events = Vec<epoll::Event>;

pub(crate) struct PollSet {
    epoll: OwnedFd,
}

impl PollSet {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    pub(crate) fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), interest.flags())?)
    }

    /// Adds a descriptor that reports once per write to it, to one waiting thread, without being read.
    pub(crate) fn add_edge(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), EventFlags::IN | EventFlags::ET)?)
    }

    pub(crate) fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token), interest.flags())?)
    }

    pub(crate) fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Waits until something is ready or the timeout passed (`None`: for ever), and appends at most the
    /// spare capacity of `events`. A signal ends the wait with no events and the error `Interrupted`.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let timeout = timeout.map(timespec);
        epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref())?;
        Ok(())
    }

    /// Whether anything is ready now. A set that cannot be looked at cannot be waited for either, which will say so.
    pub(crate) fn look(&self, events: &mut Events) -> bool {
        let _ = self.wait(events, Some(Duration::ZERO));
        !events.is_empty()
    }
}

impl AsFd for PollSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

pub(crate) fn ready(event: &epoll::Event) -> Ready {
    let flags = event.flags;
    let over = EventFlags::HUP | EventFlags::ERR;
    Ready {
        token: event.data.u64(),
        read: flags.intersects(EventFlags::IN | EventFlags::RDHUP | over),
        write: flags.intersects(EventFlags::OUT | over),
    }
}

pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

/// A descriptor that one thread writes so that another, waiting on a poll set, wakes up.
pub(crate) struct WakeFd(OwnedFd);

impl WakeFd {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(crate) fn wake(&self) {
        // The only failure is a counter at its maximum, which means that a wake-up is under way anyway.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Takes the wake-ups so far back, for use with level-triggered polling.
    pub(crate) fn reset(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for WakeFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
