//! A socket's connections driven by an event loop of its owner's, instead of by an I/O thread.
//!
//! For a task that is the only one to use a socket: nobody has to be woken to read, and nobody to be told that there is
//! something to receive. Underneath, the event loop is a thread that leads and never leaves; see `core`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use crate::core::{Core, Net, Want};
use crate::error::{Error, ErrorKind, Result};
use crate::socket::Socket;

/// Drives a socket's connections from an event loop.
///
/// The descriptor is readable when there is something to do. Call [`Driver::drive`] then, until it says that there was
/// nothing (an event loop that is told of changes alone, as Tokio's is, hears of no more before that), and receive.
/// As long as a driver lives nobody else reads what comes for the socket: other threads that wait for messages get them
/// only if this is called. What is sent is written as ever. Dropping it gives the connections back to the I/O thread.
///
/// ```
/// use oxzmq::{Context, Driver, SocketType};
///
/// # fn main() -> oxzmq::Result<()> {
/// let context = Context::new();
/// let (pull, push) = (context.socket(SocketType::Pull)?, context.socket(SocketType::Push)?);
/// push.connect(&pull.bind("tcp://127.0.0.1:*")?)?;
/// let driver = Driver::new(&pull)?;
/// push.send("job")?;
/// let job = loop {
///     // An event loop would wait for the descriptor here.
///     driver.drive();
///     if let Ok(job) = pull.try_recv() {
///         break job;
///     }
/// };
/// assert_eq!(job.to_text_lossy(), "job");
/// # Ok(())
/// # }
/// ```
pub struct Driver {
    core: Arc<Core>,
}

impl Driver {
    /// Takes the connections over, those that the socket has and those to come.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidState`] when the socket has no endpoint of a network yet, or a thread waits for it at this
    /// moment.
    pub fn new(socket: &Socket) -> Result<Self> {
        let core = Arc::clone(socket.core());
        core.check_alive()?;
        // It waits for nothing: nobody has to wake it.
        if core.lead_for_poller(Want::default()).is_none() {
            let what = "only a socket with a network endpoint, for which no thread waits, can be driven by its owner";
            return Err(Error::new(ErrorKind::InvalidState, what));
        }
        core.set_driven(true);
        Ok(Self { core })
    }

    /// Does what can be done without waiting: reads and decodes what has come, and writes what there was no room for
    /// before. False when there was nothing to do.
    pub fn drive(&self) -> bool {
        self.core.drive_now(self.net())
    }

    fn net(&self) -> &Net {
        self.core.existing_net().expect("`new` has seen it, and it is never taken away")
    }
}

impl AsFd for Driver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.net().set.as_fd()
    }
}

impl AsRawFd for Driver {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.core.set_driven(false);
        self.core.end_lead_for_poller(self.net(), false);
    }
}
