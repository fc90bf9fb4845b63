//! Sending and receiving, one part at a time.

use std::ffi::c_void;
use std::sync::atomic::Ordering::Relaxed;

use libc::{c_int, iovec, size_t};
use oxzmq::{ErrorKind, IntoFrames, Message, SocketType};

use crate::guard::{self, Errno, Result};
use crate::message::{Msg, Origin, constant, octets, valid};
use crate::socket::{Socket, used};

const DONTWAIT: c_int = 1;
const SNDMORE: c_int = 2;

/// What has been given of a message that is not sent before its last part is there.
#[derive(Default)]
pub(crate) enum Parts {
    #[default]
    None,
    Some(Message),
    /// It will not be sent: whatever its last part is, it goes where the others went.
    Dropped,
    /// The same, because there was no room for it any more. Whoever begins it anew, or another one, starts afresh.
    Failed,
}

impl Parts {
    fn is_none(&self) -> bool {
        matches!(self, Parts::None)
    }
}

/// What is left of a message that was received, and where it came from.
#[derive(Default)]
pub(crate) struct Rest {
    frames: Option<IntoFrames>,
    origin: Origin,
}

/// Lengths are returned as ints.
fn length(length: usize) -> c_int {
    c_int::try_from(length).unwrap_or(c_int::MAX)
}

impl Socket {
    /// Sends a message of one frame or makes it a part of what is sent later. After an error it is as it was.
    fn send_part(&self, part: &mut Message, flags: c_int) -> Result<()> {
        let more = flags & SNDMORE != 0;
        let result = if more || self.begun.load(Relaxed) || self.more.load(Relaxed) {
            self.send_one_of_several(part, flags, more)
        } else {
            self.send_message(part, flags)
        };
        if result.is_err() {
            self.rearm();
        }
        result
    }

    #[inline]
    fn send_message(&self, message: &mut Message, flags: c_int) -> Result<()> {
        Ok(self.inner.send_in_place(message, flags & DONTWAIT == 0)?)
    }

    /// The whole message is sent with its last part. What is against it is told with the first one, which also waits for
    /// room, so that a program learns of it when it would from libzmq, and sends all of it again if it does so.
    #[cold]
    fn send_one_of_several(&self, part: &mut Message, flags: c_int, more: bool) -> Result<()> {
        let mut parts = self.parts.lock();
        if more && matches!(*parts, Parts::Failed) {
            *parts = Parts::None;
            self.begun.store(self.takes_pairs(), Relaxed);
        }
        let more = match (self.inner.socket_type(), parts.is_none()) {
            // An id and what is for its peer, in turns, whatever the flags say; an id alone is nobody's.
            (SocketType::Stream, true) if !more => {
                self.inner.readiness()?;
                *parts = Parts::Dropped;
                return Ok(());
            }
            (SocketType::Stream, first) => first,
            (SocketType::Router, false) if self.inner.router_raw() => false,
            (SocketType::Dgram, false) if more => return Err(Errno(libc::EINVAL)),
            _ => more,
        };
        if parts.is_none() {
            self.finish_reading()?;
            if !more {
                return self.send_message(part, flags);
            }
            self.inner.begin_message(part.first().map_or(&[], |first| first), flags & DONTWAIT == 0)?;
        }
        match &mut *parts {
            Parts::None if more => *parts = Parts::Some(std::mem::take(part)),
            Parts::Some(message) if more => message.push_back(part.pop_back().unwrap_or_default()),
            Parts::Dropped | Parts::Failed if more => {}
            parts => return self.send_parts(parts, part, flags),
        }
        self.begun.store(true, Relaxed);
        Ok(())
    }

    /// Sends what has gathered, and its last part.
    fn send_parts(&self, parts: &mut Parts, last: &mut Message, flags: c_int) -> Result<()> {
        self.begun.store(self.takes_pairs(), Relaxed);
        let Parts::Some(mut message) = std::mem::take(parts) else { return Ok(()) };
        message.push_back(last.pop_back().unwrap_or_default());
        let sent = self.send_message(&mut message, flags);
        match sent {
            Ok(()) => return Ok(()),
            // Only the id fails: the peer has left meanwhile, and its message goes with it.
            Err(Errno(libc::EHOSTUNREACH)) => return Ok(()),
            Err(_) => last.push_back(message.pop_back().unwrap_or_default()),
        }
        match sent {
            // Nothing has happened yet: the last part can be sent again.
            Err(Errno(libc::EINTR)) => *parts = Parts::Some(message),
            // There was room for it and is none any more. Half of it must not be sent if the program tries its last part
            // again; and if it tries the whole, that is another message.
            Err(Errno(libc::EAGAIN)) => *parts = Parts::Failed,
            _ => return sent,
        }
        self.begun.store(true, Relaxed);
        sent
    }

    /// REQ and REP in the middle of a message that they receive: first the rest of it is to be read, or given up.
    fn finish_reading(&self) -> Result<()> {
        if self.must_read_on() {
            return Err(oxzmq::Error::from(ErrorKind::InvalidState).into());
        }
        if self.inner.socket_type() == SocketType::Req && self.more.swap(false, Relaxed) {
            *self.rest.lock() = Rest::default();
        }
        Ok(())
    }

    /// Nothing can be sent before the rest of what is being received was read.
    pub(crate) fn must_read_on(&self) -> bool {
        self.more.load(Relaxed)
            && match self.inner.socket_type() {
                SocketType::Rep => true,
                SocketType::Req => !self.inner.req_relaxed(),
                _ => false,
            }
    }

    /// The next part. If it is to be `bare`, it need not tell where it is from.
    fn recv_part(&self, flags: c_int, bare: bool) -> Result<Msg> {
        if self.more.load(Relaxed)
            && let Some(part) = self.next_of_several()
        {
            return Ok(part);
        }
        let mut message = Message::new();
        self.recv_message(&mut message, flags, bare)?;
        Ok(self.first_part(message))
    }

    /// The same, in place of `part`, which after an error is as it was.
    #[inline]
    fn recv_in_place(&self, part: &mut Msg, flags: c_int) -> Result<()> {
        if self.more.load(Relaxed) {
            part.replace_by(self.recv_part(flags, false)?);
            return Ok(());
        }
        let mut message = Message::new();
        self.recv_message(&mut message, flags, false)?;
        if message.len() > 1 {
            part.replace_by(self.first_part(message));
        } else {
            part.receive_only(message);
        }
        Ok(())
    }

    /// The same, of which only the octets are wanted: calls `copy` with them.
    #[inline]
    fn recv_octets(&self, flags: c_int, copy: impl FnOnce(&[u8])) -> Result<usize> {
        let mut message = Message::new();
        if !self.more.load(Relaxed) {
            self.recv_message(&mut message, flags, true)?;
            if let [frame] = message.frames() {
                copy(frame);
                let length = frame.len();
                message.discard();
                return Ok(length);
            }
        }
        let part = if message.is_empty() { self.recv_part(flags, true)? } else { self.first_part(message) };
        copy(part.octets());
        Ok(part.len())
    }

    #[inline]
    fn recv_message(&self, message: &mut Message, flags: c_int, bare: bool) -> Result<()> {
        self.inner.recv_in_place(message, flags & DONTWAIT == 0, bare).map_err(|error| self.not_received(&error))
    }

    #[cold]
    fn not_received(&self, error: &oxzmq::Error) -> Errno {
        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            self.rearm();
        }
        Errno(error.errno())
    }

    /// A message's only part, or the first one: the others are kept for the next calls.
    #[cold]
    fn first_part(&self, mut message: Message) -> Msg {
        let origin = Origin { routing_id: message.routing_id(), properties: message.take_properties() };
        if message.len() <= 1 {
            self.more.store(false, Relaxed);
            return Msg::received(message.pop_back().unwrap_or_default(), origin, false);
        }
        let mut frames = message.into_frames();
        let first = Msg::received(frames.next().unwrap_or_default(), origin.clone(), true);
        *self.rest.lock() = Rest { frames: Some(frames), origin };
        self.more.store(true, Relaxed);
        first
    }

    #[cold]
    fn next_of_several(&self) -> Option<Msg> {
        let mut rest = self.rest.lock();
        let Rest { frames: Some(frames), origin } = &mut *rest else { return None };
        let frame = frames.next()?;
        let more = frames.len() > 0;
        self.more.store(more, Relaxed);
        Some(Msg::received(frame, origin.clone(), more))
    }

    /// A call found nothing to do: from now on `ZMQ_FD` tells of the next change.
    fn rearm(&self) {
        if let Some(event_fd) = self.event_fd.get() {
            let found = event_fd.events();
            // Something came in between, and nobody would be told of it.
            if found.is_ok_and(|now| now.readable()) {
                event_fd.notify();
            }
        }
    }
}

#[inline]
fn send_only(socket: &Socket, mut part: Message, flags: c_int) -> Result<c_int> {
    let sent = length(part.byte_len());
    socket.send_part(&mut part, flags)?;
    part.discard();
    Ok(sent)
}

/// See `zmq_send(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_send(socket: *mut c_void, data: *const c_void, size: size_t, flags: c_int) -> c_int {
    guard::call(-1, || {
        let socket = used(socket)?;
        // SAFETY: the caller gives so many octets.
        send_only(&socket, Message::from(unsafe { octets(data, size)? }), flags)
    })
}

/// See `zmq_send_const(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_send_const(socket: *mut c_void, data: *const c_void, size: size_t, flags: c_int) -> c_int {
    guard::call(-1, || {
        let socket = used(socket)?;
        // SAFETY: the caller gives octets that stay for ever.
        send_only(&socket, Message::single(unsafe { constant(data, size)? }), flags)
    })
}

/// See `zmq_msg_send(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_send(message: *mut Msg, socket: *mut c_void, flags: c_int) -> c_int {
    guard::call(-1, || {
        let socket = used(socket)?;
        // SAFETY: the caller gives a `zmq_msg_t`.
        let message = unsafe { valid(message)? };
        let sent = length(message.len());
        let mut part = message.take().into_message();
        let result = socket.send_part(&mut part, flags);
        if result.is_err() {
            message.replace_by(Msg::from_message(part));
        }
        result.map(|()| sent)
    })
}

/// See `zmq_sendmsg(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_sendmsg(socket: *mut c_void, message: *mut Msg, flags: c_int) -> c_int {
    // SAFETY: the caller gives a `zmq_msg_t`.
    unsafe { zmq_msg_send(message, socket, flags) }
}

/// See `zmq_recv(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_recv(socket: *mut c_void, data: *mut c_void, size: size_t, flags: c_int) -> c_int {
    guard::call(-1, || {
        let socket = used(socket)?;
        if data.is_null() && size > 0 {
            return Err(Errno(libc::EFAULT));
        }
        let received = socket.recv_octets(flags, |octets| {
            let kept = octets.len().min(size);
            if kept > 0 {
                // SAFETY: the caller gives room for `size` octets.
                unsafe { data.cast::<u8>().copy_from_nonoverlapping(octets.as_ptr(), kept) };
            }
        });
        received.map(length)
    })
}

/// See `zmq_msg_recv(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_recv(message: *mut Msg, socket: *mut c_void, flags: c_int) -> c_int {
    guard::call(-1, || {
        let socket = used(socket)?;
        // SAFETY: the caller gives a `zmq_msg_t`.
        let message = unsafe { valid(message)? };
        socket.recv_in_place(message, flags)?;
        Ok(length(message.len()))
    })
}

/// See `zmq_recvmsg(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_recvmsg(socket: *mut c_void, message: *mut Msg, flags: c_int) -> c_int {
    // SAFETY: the caller gives a `zmq_msg_t`.
    unsafe { zmq_msg_recv(message, socket, flags) }
}

/// Sends each element as a part; see c-api documentation of libzmq 3.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_sendiov(socket: *mut c_void, parts: *mut iovec, count: size_t, flags: c_int) -> c_int {
    guard::call(-1, || {
        let socket = used(socket)?;
        if parts.is_null() || count == 0 {
            return Err(Errno(libc::EINVAL));
        }
        let mut sent = 0;
        for index in 0..count {
            let flags = if index + 1 == count { flags & !SNDMORE } else { flags };
            // SAFETY: the caller gives so many elements, each of which describes octets.
            let part = unsafe { &*parts.add(index) };
            // SAFETY: as above.
            let body = unsafe { octets(part.iov_base, part.iov_len)? };
            sent = send_only(&socket, Message::from(body), flags)?;
        }
        Ok(sent)
    })
}

/// Receives the parts of a message into memory of `malloc`, which the caller frees.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_recviov(
    socket: *mut c_void,
    parts: *mut iovec,
    count: *mut size_t,
    flags: c_int,
) -> c_int {
    guard::call(-1, || {
        let socket = used(socket)?;
        // SAFETY: the caller gives a place for the count.
        if parts.is_null() || count.is_null() || unsafe { *count } == 0 {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: as above.
        let room = unsafe { std::mem::replace(&mut *count, 0) };
        for index in 0..room {
            let part = socket.recv_part(flags, true)?;
            let octets = part.octets();
            // SAFETY: at least one octet, so that NULL means that there is no memory.
            let body = unsafe { libc::malloc(octets.len().max(1)) };
            if body.is_null() {
                return Err(Errno(libc::ENOMEM));
            }
            // SAFETY: so much was allocated, and the caller gives so many elements.
            unsafe {
                body.cast::<u8>().copy_from_nonoverlapping(octets.as_ptr(), octets.len());
                parts.add(index).write(iovec { iov_base: body, iov_len: octets.len() });
                *count = index + 1;
            }
            if !socket.more.load(Relaxed) {
                break;
            }
        }
        // SAFETY: as above.
        Ok(length(unsafe { *count }))
    })
}
