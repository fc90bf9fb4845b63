//! `wss://`: TLS between a connection and the session that it belongs to. The session has one end of a pair of sockets and
//! speaks as if in the clear; the I/O thread carries what it says through TLS to the network, and back.
//!
//! That costs a copy and a system call more each way than TLS within sessions would, but neither they nor the threads that
//! drive them have to know of records, and of octets that a descriptor has no longer and nobody has yet.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};

use super::{Source, Worker};
use crate::sys::{Interest, PollSet};
use crate::tls::{Stream, Tls};

/// Octets carried at once.
const PIECE: usize = 64 * 1024;

/// What a session may say before TLS's handshake is over: an upgrade's request, and some more.
const EARLY: usize = 16 * 1024;

/// Pieces for one event: others have their turn, too.
const ROUNDS: usize = 8;

/// How long what the session has left behind may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// How long the peer may take to close its side when all is written; see `parting`.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why TLS failed, for the session's handshake to tell.
pub(super) type Reason = Arc<Mutex<Option<String>>>;

/// One connection between the network and a session.
pub(super) struct Relay {
    stream: Stream,
    outside: Watched,
    inside: Watched,
    /// In the clear, for the session; what is before `written` it has.
    inward: Vec<u8>,
    written: usize,
    /// Octets that the session has said before TLS's handshake was over.
    early: usize,
    /// The session says nothing more, and the peer has been told.
    inside_ended: bool,
    told_outside: bool,
    /// The session has closed its end, perhaps with some of it still to be read.
    hung_up: bool,
    /// The peer takes nothing more. What it has sent may still come.
    broken: bool,
    /// The peer says nothing more, and the session has been told.
    outside_ended: bool,
    told_inside: bool,
    reason: Reason,
}

/// A descriptor, and what the poll set reports of it.
struct Watched {
    fd: OwnedFd,
    token: u64,
    /// `None` while it is not in the set.
    interest: Option<Interest>,
}

impl Watched {
    fn new(fd: OwnedFd, token: u64) -> Self {
        Self { fd, token, interest: Some(Interest::READ) }
    }

    /// In the set even with nothing of interest a hang-up is reported, and reported for ever.
    fn watch(&mut self, set: &PollSet, interest: Option<Interest>) -> io::Result<()> {
        if interest == self.interest {
            return Ok(());
        }
        match (self.interest, interest) {
            (None, Some(interest)) => set.add(&self.fd, self.token, interest)?,
            (_, Some(interest)) => set.modify(&self.fd, self.token, interest)?,
            (_, None) => set.remove(&self.fd)?,
        }
        self.interest = interest;
        Ok(())
    }
}

impl Worker {
    /// Puts TLS before a connection: returns the descriptor for the session, and where it will be said why TLS failed.
    pub(super) fn relay(&mut self, tls: &Tls, outside: OwnedFd) -> io::Result<(OwnedFd, Reason)> {
        let stream = tls.begin()?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (session, inside) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let outside_token = self.add_source(&outside, Interest::READ)?;
        let inside_token = self.add_source(&inside, Interest::READ)?;
        let reason = Reason::default();
        let relay = Relay {
            stream,
            outside: Watched::new(outside, outside_token),
            inside: Watched::new(inside, inside_token),
            inward: Vec::new(),
            written: 0,
            early: 0,
            inside_ended: false,
            told_outside: false,
            hung_up: false,
            broken: false,
            outside_ended: false,
            told_inside: false,
            reason: Arc::clone(&reason),
        };
        self.sources.insert(inside_token, Source::RelayInside(outside_token));
        // A client has something to say at once.
        self.relay_ready(outside_token, Box::new(relay));
        Ok((session, reason))
    }

    /// One of its two descriptors is ready.
    pub(super) fn relay_ready(&mut self, token: u64, mut relay: Box<Relay>) {
        let before = (relay.inside_ended, relay.told_outside);
        let open = relay.carry().and_then(|open| if open { relay.watch(&self.reactor.set) } else { Ok(false) });
        if !matches!(open, Ok(true)) {
            self.sources.remove(&relay.inside.token);
            return; // closed, and so out of the set as well
        }
        if (relay.inside_ended, relay.told_outside) != before {
            self.expire_after(token, Some(if relay.told_outside { PATIENCE } else { LAST_WORDS }));
        }
        self.sources.insert(token, Source::Relay(relay));
    }

    /// The session's side of the relay with this number is ready.
    pub(super) fn relay_inside_ready(&mut self, inside: u64, token: u64) {
        let Some(Source::Relay(mut relay)) = self.sources.remove(&token) else { return };
        self.sources.insert(inside, Source::RelayInside(token));
        // Nothing was to be reported while the peer takes nothing, and yet: the session has gone. Or the report is from before
        // that.
        if relay.inside.interest == Some(Interest::NONE) && has_hung_up(&relay.inside.fd) {
            relay.hung_up = true;
            self.expire_after(token, Some(LAST_WORDS));
        }
        self.relay_ready(token, relay);
    }
}

impl Relay {
    /// The number under which its session's side is known.
    pub(super) fn inside_token(&self) -> u64 {
        self.inside.token
    }

    /// Carries as much as goes; false when all is over.
    fn carry(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0; PIECE];
        for _ in 0..ROUNDS {
            let moved = self.listen_inside(&mut buffer)? | self.write_outside()? | self.read_outside()?;
            if !(moved | self.write_inside()) {
                break;
            }
        }
        Ok(!(self.told_outside && self.outside_ended))
    }

    fn watch(&mut self, set: &PollSet) -> io::Result<bool> {
        let full = self.written < self.inward.len();
        let outside = Interest { read: !self.outside_ended && !full, write: self.has_records() };
        let inside = Interest { read: self.may_listen(), write: full };
        self.outside.watch(set, Some(outside).filter(|&interest| interest != Interest::NONE))?;
        let leaves = self.inside_ended || self.hung_up;
        self.inside.watch(set, Some(inside).filter(|&interest| interest != Interest::NONE || !leaves))?;
        Ok(true)
    }

    fn has_records(&self) -> bool {
        self.stream.wants_write() && !self.broken
    }

    /// What it has said so far is on its way before it may say more.
    fn may_listen(&self) -> bool {
        let early = self.stream.is_handshaking();
        !self.inside_ended && if early { self.early < EARLY } else { !self.has_records() }
    }

    fn listen_inside(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.may_listen() {
            return Ok(false);
        }
        match rustix::net::recv(&self.inside.fd, &mut *buffer, RecvFlags::empty()).map(|(got, _)| got) {
            Ok(0) if self.stream.is_handshaking() => Err(Errno::CONNABORTED.into()),
            Ok(0) => {
                self.inside_ended = true;
                self.stream.end();
                Ok(true)
            }
            Ok(_) if self.broken => Ok(true),
            Ok(got) => {
                if self.stream.is_handshaking() {
                    self.early += got;
                }
                self.stream.put(&buffer[..got])?;
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn write_outside(&mut self) -> io::Result<bool> {
        let mut moved = false;
        while self.has_records() {
            match self.stream.write_to(&mut Fd(&self.outside.fd)) {
                Ok(_) => moved = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(moved),
                Err(_) => self.broken = true,
            }
        }
        if self.inside_ended && !self.told_outside {
            self.told_outside = true;
            // Fails where the peer has reset the connection, which reading will tell as well.
            let _ = rustix::net::shutdown(&self.outside.fd, Shutdown::Write);
        }
        Ok(moved)
    }

    fn read_outside(&mut self) -> io::Result<bool> {
        if self.outside_ended || self.written < self.inward.len() {
            return Ok(false);
        }
        match self.stream.read_from(&mut Fd(&self.outside.fd)) {
            Ok(0) => self.outside_ended = true,
            Ok(_) => match self.stream.take(&mut self.inward) {
                Ok(more) => self.outside_ended = !more,
                Err(why) => {
                    *self.reason.lock() = Some(format!("TLS: {why}"));
                    let _ = self.write_outside(); // the alert that tells the peer
                    return Err(Errno::PROTO.into());
                }
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn write_inside(&mut self) -> bool {
        let mut moved = false;
        while self.written < self.inward.len() {
            match rustix::net::send(&self.inside.fd, &self.inward[self.written..], SendFlags::NOSIGNAL) {
                Ok(written) => {
                    self.written += written;
                    moved = true;
                }
                Err(Errno::AGAIN | Errno::INTR) => return moved,
                // The session has gone: what comes for it is dropped until the peer has closed.
                Err(_) => self.written = self.inward.len(),
            }
        }
        // An idle connection keeps no buffer.
        self.inward = Vec::new();
        self.written = 0;
        if self.outside_ended && !self.told_inside {
            self.told_inside = true;
            let _ = rustix::net::shutdown(&self.inside.fd, Shutdown::Write);
        }
        moved
    }
}

fn has_hung_up(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    rustix::event::poll(&mut fds, Some(&Timespec::default())).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

/// A descriptor as something to read and write.
struct Fd<'a>(&'a OwnedFd);

impl Read for Fd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::net::recv(self.0, &mut *buffer, RecvFlags::empty()))?.0)
    }
}

impl Write for Fd<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::net::send(self.0, octets, SendFlags::NOSIGNAL))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
