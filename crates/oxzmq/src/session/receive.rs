//! The receiving half: reading and decoding.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use oxzmq_proto::{Control, Message};
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::send::WRITE_BATCH;
use super::{Link, Lost, Next, Rx, STEPS_PER_VISIT, Session, Tx, clock, nanos};
use crate::core::spin::{self, Spin};

/// Size of the per-thread buffer that reads go into, at most. It begins small, and doubles whenever a read has filled it: a
/// thread whose peers only ever send little keeps little.
const READ_BUFFER: usize = 256 * 1024;
const FIRST_READ_BUFFER: usize = 32 * 1024;

/// After so many octets of a large body the next are worth a look before sleeping.
const LARGE_PIECE: usize = 16 * 1024;

/// Read after a large body: enough for the header of the next, and little to copy out of the way of its body.
const PEEK: usize = 256;

thread_local! {
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static IN_RECEIVE: Cell<bool> = const { Cell::new(false) };
    static RESUMED: RefCell<Vec<Arc<Session>>> = const { RefCell::new(Vec::new()) };
}

/// Marks that this thread receives, and what it did before: a task that is woken may receive from inside, and a panic may
/// end it.
struct Receiving(bool);

impl Receiving {
    fn begin() -> Self {
        Self(IN_RECEIVE.replace(true))
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        IN_RECEIVE.set(self.0);
    }
}

impl Session {
    /// Reads and decodes, until the kernel has no more or the inbound queue is full.
    pub(super) fn receive(self: &Arc<Self>) {
        let _receiving = Receiving::begin();
        self.receive_steps(STEPS_PER_VISIT);
        self.receive_resumed();
    }

    fn receive_resumed(self: &Arc<Self>) {
        while let Some(session) = RESUMED.with_borrow_mut(Vec::pop) {
            session.go_on(0);
        }
    }

    /// There is room again. A pattern that takes input at once (subscriptions, what a filter drops) makes room while
    /// this thread is in the middle of [`Session::receive`]: that goes on afterwards, because one level of stack for
    /// each time would let the peer decide how deep the stack gets.
    pub(super) fn resume(self: &Arc<Self>) {
        if IN_RECEIVE.get() {
            RESUMED.with_borrow_mut(|resumed| resumed.push(Arc::clone(self)));
        } else {
            let _receiving = Receiving::begin();
            self.go_on(STEPS_PER_VISIT);
            self.receive_resumed();
        }
    }

    /// What was read before is decoded first. Only when there is room for more is it of any interest that there is more.
    fn go_on(self: &Arc<Self>, reads: usize) {
        self.receive_steps(0);
        let paused = self.rx.lock().paused;
        if !paused {
            self.watch_for_input();
            self.receive_steps(reads);
        }
    }

    /// At most `reads` reads, and all of what was read decoded as far as there is room.
    fn receive_steps(self: &Arc<Self>, reads: usize) {
        for step in 0.. {
            // After a fair share the kernel keeps the rest: the descriptor stays ready, and the poll set is
            // level-triggered. What was read already is decoded all the same, because nothing reports it.
            let may_read = step < reads;
            let mut wake = false;
            let mut controls = Vec::new();
            let next = {
                let mut rx = self.rx.lock();
                let next = self.receive_step(&mut rx, &mut wake, may_read);
                if !rx.controls.is_empty() {
                    std::mem::swap(&mut rx.controls, &mut controls);
                }
                next
            };
            if wake && let Some(peer) = self.peer() {
                self.core.peer_readable(peer);
            }
            if !controls.is_empty() {
                self.answer(&controls);
            }
            match next {
                Next::Again => {}
                Next::Wait => return,
                Next::Lost(link, why) => return self.lost(&link, why),
            }
        }
    }

    fn receive_step(&self, rx: &mut Rx, wake: &mut bool, may_read: bool) -> Next {
        let Some(link) = rx.link.clone() else { return Next::Wait };
        match self.try_receive_step(rx, &link, wake, may_read) {
            Ok(next) => next,
            Err(why) => {
                // What was decoded before the error is good.
                let _ = self.deliver(rx, wake);
                Next::Lost(link, why)
            }
        }
    }

    fn try_receive_step(&self, rx: &mut Rx, link: &Arc<Link>, wake: &mut bool, may_read: bool) -> Result<Next, Lost> {
        if !self.deliver(rx, wake) {
            return Ok(Next::Wait);
        }
        if rx.leftover_start < rx.leftover.len() {
            let before = rx.leftover_start;
            let leftover = std::mem::take(&mut rx.leftover);
            let used = self.decode(rx, &leftover[before..]);
            rx.leftover = leftover;
            rx.leftover_start += used?;
            if !self.deliver(rx, wake) {
                return Ok(Next::Wait);
            }
            if rx.leftover_start > before {
                return Ok(Next::Again);
            }
        }
        if may_read { self.read(rx, link, wake) } else { Ok(Next::Wait) }
    }

    /// One read, into the final buffer of a large body when one is on its way.
    fn read(&self, rx: &mut Rx, link: &Arc<Link>, wake: &mut bool) -> Result<Next, Lost> {
        if let Some(mut body) = rx.decoder.as_mut().and_then(|decoder| decoder.body()) {
            body.reserve();
            let want = body.missing.min(body.buffer.capacity() - body.buffer.len());
            let mut recv = || recv_body(link, body.buffer, want);
            // An event loop has others to look after meanwhile.
            let got = if self.core.is_driven() { recv() } else { recv_looking(&mut rx.spin, recv) };
            let Some(got) = got? else { return Ok(Next::Wait) };
            rx.octets += got as u64;
            if let Some(decoder) = &mut rx.decoder {
                decoder.body_received(&mut rx.batch, &mut rx.controls).map_err(Lost::Protocol)?;
                // Large bodies come in rows.
                rx.expects_large = !decoder.is_mid_message();
            }
            self.heard();
            let more = self.deliver(rx, wake);
            // Who sends little at a time is not waited for: that would let slow peers, and malicious ones, hold up the others.
            let soon = got == want || got >= LARGE_PIECE;
            return Ok(if more && soon { Next::Again } else { Next::Wait });
        }
        let mut buffer = READ.take();
        let next = self.read_small(rx, link, wake, &mut buffer);
        READ.set(buffer);
        next
    }

    fn read_small(&self, rx: &mut Rx, link: &Arc<Link>, wake: &mut bool, buffer: &mut Vec<u8>) -> Result<Next, Lost> {
        let kept = rx.leftover.len() - rx.leftover_start;
        // A partial frame is mostly shorter than the decoder's large bodies, and there is always room to read: to read into
        // nothing would look like the peer's end.
        if buffer.len() < kept + FIRST_READ_BUFFER {
            buffer.resize(kept + FIRST_READ_BUFFER, 0);
        }
        buffer[..kept].copy_from_slice(&rx.leftover[rx.leftover_start..]);
        let most = if rx.expects_large { PEEK } else { usize::MAX };
        let space = most.min(buffer.len() - kept);
        let into = &mut buffer[kept..kept + space];
        let read = received(|| rustix::net::recv(&link.fd, &mut *into, RecvFlags::empty()).map(|(n, _)| n))?;
        let Some(got) = read else { return Ok(Next::Wait) };
        rx.expects_large = false;
        rx.octets += got as u64;
        let filled = kept + got == buffer.len();
        let input = &buffer[..kept + got];
        let used = self.decode(rx, input)?;
        // Memory that idle connections need not keep.
        if used == input.len() {
            rx.leftover = Vec::new();
        } else {
            rx.leftover.clear();
            rx.leftover.extend_from_slice(&input[used..]);
        }
        rx.leftover_start = 0;
        if filled && buffer.len() < READ_BUFFER {
            buffer.resize((2 * buffer.len()).min(READ_BUFFER), 0);
        }
        let more = self.deliver(rx, wake);
        // A reader may have made room since the decoder stopped for want of it. It saw no full queue, so it
        // will not come back for what is left over.
        Ok(if more && (got == space || rx.cut) { Next::Again } else { Next::Wait })
    }

    /// Decodes as many messages as the inbound queue has room for.
    fn decode(&self, rx: &mut Rx, input: &[u8]) -> Result<usize, Lost> {
        let Some(decoder) = &mut rx.decoder else {
            rx.batch.push_back(Message::single(input));
            return Ok(input.len());
        };
        let most = self.inbound.room();
        let room = most.saturating_sub(rx.batch.len());
        let used = decoder.decode(input, &mut rx.batch, room, &mut rx.controls).map_err(Lost::Protocol)?;
        rx.cut = used < input.len() && rx.batch.len() >= most;
        if used > 0 {
            self.heard();
        }
        Ok(used)
    }

    /// Queues what was decoded; false when the queue is full and reading has to pause.
    fn deliver(&self, rx: &mut Rx, wake: &mut bool) -> bool {
        if !rx.batch.is_empty() {
            let pushed = self.inbound.push_batch(&mut rx.batch);
            *wake |= pushed.wake;
        }
        // Asked even after a push that fit exactly: `has_room` makes sure that the consumer calls back.
        rx.paused = !rx.batch.is_empty() || !self.inbound.has_room();
        !rx.paused
    }

    /// A sign of life.
    pub(super) fn heard(&self) {
        if self.heartbeat.deadline.load(Ordering::Relaxed) != 0 {
            self.heartbeat.deadline.store(0, Ordering::Relaxed);
        }
        if self.heartbeat.ttl_deadline.load(Ordering::Relaxed) != 0 {
            self.heartbeat.ttl_deadline.store(0, Ordering::Relaxed);
        }
    }

    /// The peer has closed the WebSocket: says so, too, and hangs up.
    #[cold]
    fn close_websocket(self: &Arc<Self>, payload: &[u8]) {
        let link = {
            let mut tx = self.tx.lock();
            let Tx { encoder, out, .. } = &mut *tx;
            if let Some(encoder) = encoder {
                encoder.close(payload, out);
            }
            tx.link.clone()
        };
        self.flush();
        if let Some(link) = link {
            self.lost(&link, Lost::Closed);
        }
    }

    /// Answers PINGs: one PONG is enough for any number of them.
    fn answer(self: &Arc<Self>, controls: &[Control]) {
        let ping = controls.iter().rev().find_map(|control| match control {
            Control::Ping { ttl_deciseconds, context } => Some((*ttl_deciseconds, context)),
            Control::Pong | Control::Close { .. } => None,
        });
        if let Some(Control::Close { payload }) = controls.last() {
            return self.close_websocket(payload);
        }
        let Some((ttl_deciseconds, context)) = ping else { return };
        self.core.watch_closely();
        {
            let mut tx = self.tx.lock();
            let Tx { encoder, out, .. } = &mut *tx;
            // A peer that sends PINGs and reads nothing gets no more answers than the kernel takes.
            if let Some(encoder) = encoder
                && out.len() < WRITE_BATCH
            {
                encoder.pong(context, out);
            }
        }
        self.flush();
        if ttl_deciseconds > 0 {
            let ttl = Duration::from_millis(100 * u64::from(ttl_deciseconds));
            self.heartbeat.ttl_deadline.store(clock().saturating_add(nanos(ttl)), Ordering::Relaxed);
            if let Some(net) = self.core.existing_net() {
                net.reactor.heartbeat_at(self, ttl);
            }
        }
    }
}

/// Receives, if need be a moment later: the rest of a large body is mostly there in the next few microseconds, and to be put
/// to sleep and woken for each piece of it takes longer than that.
fn recv_looking(spin: &mut Spin, mut recv: impl FnMut() -> Result<Option<usize>, Lost>) -> Result<Option<usize>, Lost> {
    let mut received = recv();
    if matches!(received, Ok(None)) && spin.is_worthwhile() {
        let found = spin::look(|| {
            received = recv();
            !matches!(received, Ok(None))
        });
        spin.tell(found);
    }
    received
}

/// Appends at most `want` bytes to a large body; `None` when there is nothing yet.
fn recv_body(link: &Link, body: &mut Vec<u8>, want: usize) -> Result<Option<usize>, Lost> {
    if body.capacity() - body.len() == want {
        return received(|| {
            rustix::net::recv(&link.fd, spare_capacity(&mut *body), RecvFlags::empty()).map(|(n, _)| n)
        });
    }
    // The allocator gave more than was asked for: bytes of the next frame must not land in this one.
    let mut buffer = READ.take();
    buffer.resize(READ_BUFFER, 0);
    let want = want.min(READ_BUFFER);
    let got = received(|| rustix::net::recv(&link.fd, &mut buffer[..want], RecvFlags::empty()).map(|(n, _)| n));
    if let Ok(Some(got)) = got {
        body.extend_from_slice(&buffer[..got]);
    }
    READ.set(buffer);
    got
}

/// Sorts the outcomes of a read: `None` when there is nothing yet.
fn received(mut read: impl FnMut() -> Result<usize, Errno>) -> Result<Option<usize>, Lost> {
    loop {
        match read() {
            Ok(0) => return Err(Lost::Closed),
            Ok(got) => return Ok(Some(got)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Lost::Os(error.into())),
        }
    }
}
