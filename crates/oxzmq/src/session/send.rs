//! The sending half: when to write, and writing.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use oxzmq_proto::{Message, OutBuf};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::{Link, Lost, Next, STEPS_PER_VISIT, Session, Tx, nanos};
use crate::sys::Interest;

/// Encoded bytes gathered for one write. Larger gains nothing and costs cache.
pub(super) const WRITE_BATCH: usize = 128 * 1024;

/// Most pieces handed to the kernel in one vectored write.
const MAX_SLICES: usize = 64;

/// Sends that follow one another this closely, on average since the last look, belong to a flood. Others are
/// requests, replies, lone messages: they go out at once, in the sender's own thread.
const FLOOD_GAP: Duration = Duration::from_micros(20);

/// So many sends in quick succession make a flood that is expected to go on. Its messages are gathered, and
/// written by the sender itself when there are [`GATHER`] bytes, or when it waits for anything; the I/O
/// thread sees to it that what is left behind does not wait for long. Shorter bursts are handed to the I/O
/// thread at once.
const FLOOD_STREAK: u32 = 6;

/// More sends in quick succession say no more; four pauses in a row end the longest flood.
const LONGEST_STREAK: u32 = 16 * FLOOD_STREAK - 1;

/// Bytes that a flood gathers before they are written.
const GATHER: usize = 128 * 1024;

/// What one look at a connection whose messages gather has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gathered {
    flushes: u64,
    /// Bytes that waited.
    bytes: usize,
}

impl Session {
    /// The queue has messages: writes them, lets them gather, or has the I/O thread write them.
    pub(super) fn data_ready_now(self: &Arc<Self>) {
        let Some(net) = self.core.existing_net() else { return };
        if self.core.gathers() {
            return self.gather_for_owner();
        }
        let pressure = self.outbound.pressure(GATHER);
        let idle = self.core.idle_nanos();
        let since = idle.saturating_sub(self.last_idle.swap(idle, Ordering::Relaxed));
        let sent = pressure.pushed.saturating_sub(self.last_pushed.swap(pressure.pushed, Ordering::Relaxed));
        if pressure.now {
            return self.flush();
        }
        let streak = self.streak.load(Ordering::Relaxed);
        if since / sent.max(1) >= nanos(FLOOD_GAP) {
            // One pause does not end a flood: its sender may have lost the processor for a moment.
            self.streak.store(streak / 2, Ordering::Relaxed);
            return self.flush();
        }
        self.streak.store((streak + 1).min(LONGEST_STREAK), Ordering::Relaxed);
        if streak < FLOOD_STREAK {
            return net.reactor.flush(Arc::clone(self));
        }
        if !self.outbound.gather(GATHER) {
            return self.flush();
        }
        if let Some(peer) = self.peer() {
            self.core.deferred(peer, Arc::clone(self));
        }
        // The order matters: gathering began and credit was given above, and only then is the watch looked at. Should the
        // I/O thread be about to end its watch, it has not yet taken what gathered, and will.
        if !self.watched_for_rest.swap(true, Ordering::SeqCst) {
            net.reactor.watch_rest(self);
        }
    }

    /// The socket's owner will flush: lets messages gather until then, and nobody else looks after them. They are not
    /// staged, because it is the watch of the I/O thread that looks after what is.
    fn gather_for_owner(self: &Arc<Self>) {
        match self.peer() {
            Some(peer) if self.outbound.gather(GATHER) => self.core.defer(peer, Arc::clone(self)),
            _ => self.flush(),
        }
    }

    /// What the sender holds for this connection goes into its queue.
    pub(super) fn fetch(&self) {
        if let Some(peer) = self.peer() {
            self.core.fetch(peer);
        }
    }

    /// Encodes and writes what is queued, until the queue is empty or the kernel takes no more.
    pub(crate) fn flush(self: &Arc<Self>) {
        for _ in 0..STEPS_PER_VISIT {
            let mut room = false;
            let next = self.send_step(&mut self.tx.lock(), &mut room);
            if room && let Some(peer) = self.peer() {
                self.core.peer_writable(peer);
            }
            match next {
                Next::Again => {}
                Next::Wait => {
                    self.flushes.fetch_add(1, Ordering::Relaxed);
                    return self.finish_if_drained();
                }
                Next::Lost(link, why) => return self.lost(&link, why),
            }
        }
        // More than a fair share: go on after the others.
        if let Some(net) = self.core.existing_net() {
            net.reactor.flush(Arc::clone(self));
        }
    }

    fn send_step(&self, tx: &mut Tx, room: &mut bool) -> Next {
        let Some(link) = tx.link.clone() else { return Next::Wait };
        if tx.broken && !self.is_open() {
            return Next::Lost(link, Lost::Os(Errno::PIPE.into()));
        }
        if tx.blocked || tx.broken {
            return Next::Wait;
        }
        self.encode(tx, room);
        if tx.out.is_empty() {
            tx.out.shrink();
            tx.buffered = 0;
            if tx.hang_up {
                return Next::Lost(link, Lost::Local);
            }
            return Next::Wait;
        }
        match write(&link, &mut tx.out) {
            Ok(written) => {
                tx.octets += written as u64;
                Next::Again
            }
            Err(Errno::AGAIN) => {
                tx.blocked = true;
                self.watch(None, |interest| Interest { write: true, ..interest });
                self.core.watch_closely();
                Next::Wait
            }
            Err(Errno::INTR) => Next::Again,
            // The peer has gone, but what it sent before may still be unread. The receiving half comes to the end
            // of it in its own time, and that ends the connection.
            Err(Errno::PIPE | Errno::CONNRESET) if self.is_open() => {
                tx.broken = true;
                self.core.count_lost(std::mem::take(&mut tx.buffered));
                tx.out.clear();
                Next::Wait
            }
            Err(error) => Next::Lost(link, Lost::Os(error.into())),
        }
    }

    /// Moves messages from the queue into the write buffer. With nothing left to move, the queue counts its
    /// consumer as asleep: the next push brings somebody here.
    fn encode(&self, tx: &mut Tx, room: &mut bool) {
        while tx.out.len() < WRITE_BATCH && !tx.hang_up {
            if tx.local.is_empty() {
                *room |= self.outbound.take(&mut tx.local, std::mem::take(&mut tx.encoded));
                if tx.local.is_empty() {
                    break;
                }
            }
            if tx.out.is_empty() {
                tx.buffered = 0;
            }
            if let Some(encoder) = &tx.encoder {
                let small = encoder.encode_small(tx.local.as_slices().0, &mut tx.out, WRITE_BATCH);
                tx.local.drain(..small).for_each(Message::discard);
                tx.encoded += small;
                tx.buffered += small as u64;
                if tx.out.len() >= WRITE_BATCH {
                    break;
                }
            }
            while let Some(message) = tx.local.pop_front() {
                tx.encoded += 1;
                tx.buffered += 1;
                match &mut tx.encoder {
                    Some(encoder) => encoder.encode(message, &mut tx.out),
                    None => tx.hang_up = !encode_raw(message, &mut tx.out),
                }
                if tx.out.len() >= WRITE_BATCH || tx.hang_up {
                    break;
                }
            }
        }
        if tx.encoded > 0 {
            // The kernel may take no more for long: what is on its way counts no longer.
            *room |= self.outbound.report_progress(&mut tx.encoded);
        }
    }

    fn can_write(&self) -> bool {
        let tx = self.tx.lock();
        tx.link.is_some() && !tx.blocked && !tx.broken
    }

    /// The kernel takes bytes again.
    pub(super) fn writable(self: &Arc<Self>) {
        self.watch(None, |interest| Interest { write: false, ..interest });
        self.tx.lock().blocked = false;
        self.flush();
    }

    /// The I/O thread's look at a connection whose messages gather; `seen` is what the last look returned.
    /// What nobody has written since then is written here, unless it grows so fast that its sender will come to
    /// write it in a moment. `None` ends the watch: the flood is over.
    pub(crate) fn deferred_tick(self: &Arc<Self>, seen: Gathered) -> Option<Gathered> {
        let flushes = self.flushes.load(Ordering::Relaxed);
        let staged = self.peer().map_or(0, |peer| self.core.staged_bytes(peer));
        let bytes = self.outbound.gathered() + staged;
        if flushes != seen.flushes || bytes >= seen.bytes + GATHER / 8 {
            return Some(Gathered { flushes, bytes });
        }
        if bytes > 0 {
            self.fetch();
            self.flush();
            if self.can_write() {
                return Some(Gathered { flushes: self.flushes.load(Ordering::Relaxed), bytes: 0 });
            }
            // Writability, or the next connection, will bring somebody: no need to look.
        }
        self.streak.store(0, Ordering::Relaxed);
        // Before the credit is taken back, and that before the flush: see `data_ready_now`. The model in `stage` has it.
        self.watched_for_rest.swap(false, Ordering::SeqCst);
        self.fetch();
        self.flush();
        None
    }
}

/// A raw message's bytes; false when it asks for the connection to be closed.
fn encode_raw(message: Message, out: &mut OutBuf) -> bool {
    let data = message.into_bytes();
    if data.is_empty() {
        return false;
    }
    out.put_bytes(data);
    true
}

/// One write of as much as the kernel takes. Never raises SIGPIPE.
fn write(link: &Link, out: &mut OutBuf) -> Result<usize, Errno> {
    let written = if out.is_contiguous() {
        rustix::net::send(&link.fd, out.first_slice(), SendFlags::NOSIGNAL)?
    } else {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let count = out.io_slices(&mut slices);
        let mut control = SendAncillaryBuffer::default();
        rustix::net::sendmsg(&link.fd, &slices[..count], &mut control, SendFlags::NOSIGNAL)?
    };
    out.advance(written);
    Ok(written)
}
