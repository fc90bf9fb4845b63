//! Sending and receiving, one part at a time.

use std::ffi::{CString, c_void};
use std::sync::atomic::Ordering::Relaxed;

use libc::{c_int, iovec, size_t};
use oxzmq::{ErrorKind, Frame, IntoFrames, Message, SocketType};

use crate::guard::{self, Errno, Result};
use crate::handle::Use;
use crate::message::{Msg, Origin, constant, octets, valid};
use crate::socket::{Socket, used};

const DONTWAIT: c_int = 1;
const SNDMORE: c_int = 2;

/// What is left of a message that was received, and where it came from.
#[derive(Default)]
pub(crate) struct Rest {
    frames: Option<IntoFrames>,
    origin: Origin,
}

/// What is to be sent, and comes back when it is not.
type Part = (Frame, u32, Option<CString>);

/// Lengths are returned as ints.
fn length(length: usize) -> c_int {
    c_int::try_from(length).unwrap_or(c_int::MAX)
}

impl Socket {
    fn send_part(&self, part: Part, flags: c_int) -> Result<(), (Errno, Part)> {
        let more = flags & SNDMORE != 0;
        let result = if more || self.begun.load(Relaxed) {
            self.send_one_of_several(part, flags, more)
        } else {
            let message = message(part);
            self.send_message(message, flags).map_err(|(errno, mut message)| (errno, part_of(&mut message)))
        };
        if result.is_err() {
            self.rearm();
        }
        result
    }

    fn send_message(&self, message: Message, flags: c_int) -> Result<(), (Errno, Message)> {
        let sent = if flags & DONTWAIT != 0 { self.inner.try_send(message) } else { self.inner.send(message) };
        sent.map_err(|error| {
            let (error, message) = error.into_parts();
            (error.into(), message)
        })
    }

    /// The whole message is sent with its last part. The first one is refused when it could not be sent now, so
    /// that a program learns of it when it would from libzmq.
    #[cold]
    fn send_one_of_several(&self, part: Part, flags: c_int, more: bool) -> Result<(), (Errno, Part)> {
        use SocketType::{Channel, Client, Gather, Peer, Pull, Radio, Scatter, Server, Sub};
        let mut parts = self.parts.lock();
        if parts.is_empty() {
            let refused = match self.inner.socket_type() {
                Client | Server | Radio | Scatter | Peer | Channel => Some(libc::EINVAL),
                Pull | Sub | Gather | SocketType::Dish => Some(libc::ENOTSUP),
                _ if flags & DONTWAIT == 0 => None,
                _ => match self.inner.readiness() {
                    Ok(now) if now.writable() => None,
                    Ok(_) => Some(libc::EAGAIN),
                    Err(error) => Some(error.errno()),
                },
            };
            if let Some(errno) = refused {
                return Err((Errno(errno), part));
            }
        }
        if more {
            parts.push_back(part.0);
            self.begun.store(true, Relaxed);
            return Ok(());
        }
        let mut message = std::mem::take(&mut *parts);
        message.push_back(part.0);
        match self.send_message(message, flags) {
            Ok(()) => {
                self.begun.store(false, Relaxed);
                Ok(())
            }
            Err((errno, mut message)) => {
                let last = message.pop_back().unwrap_or_default();
                // Where waiting helps, the last part can be sent again. Otherwise nothing is left of the message.
                if errno.0 == libc::EAGAIN {
                    *parts = message;
                } else {
                    self.begun.store(false, Relaxed);
                }
                Err((errno, (last, part.1, part.2)))
            }
        }
    }

    fn recv_part(&self, flags: c_int) -> Result<Msg> {
        if self.more.load(Relaxed) {
            let mut rest = self.rest.lock();
            if let Some(frame) = rest.frames.as_mut().and_then(Iterator::next) {
                let more = rest.frames.as_ref().is_some_and(|frames| frames.len() > 0);
                self.more.store(more, Relaxed);
                return Ok(Msg::received(frame, &rest.origin, more));
            }
        }
        let received = if flags & DONTWAIT != 0 { self.inner.try_recv() } else { self.inner.recv() };
        let message = received.inspect_err(|error| {
            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
                self.rearm();
            }
        })?;
        let origin = Origin::of(&message);
        let mut frames = message.into_frames();
        let frame = frames.next().unwrap_or_default();
        let more = frames.len() > 0;
        let part = Msg::received(frame, &origin, more);
        if more {
            *self.rest.lock() = Rest { frames: Some(frames), origin };
        }
        if self.more.load(Relaxed) != more {
            self.more.store(more, Relaxed);
        }
        Ok(part)
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

fn message((frame, routing_id, group): Part) -> Message {
    let mut message = Message::single(frame);
    if routing_id != 0 {
        message.set_routing_id(routing_id);
    }
    if let Some(group) = group {
        message.set_group(group.into_bytes());
    }
    message
}

fn part_of(message: &mut Message) -> Part {
    let routing_id = message.routing_id();
    let group = message.group();
    let group = (!group.is_empty()).then(|| CString::new(group).ok()).flatten();
    (message.pop_front().unwrap_or_default(), routing_id, group)
}

fn send_frame(socket: &Use<Socket>, frame: Frame, flags: c_int) -> Result<c_int> {
    let sent = length(frame.len());
    socket.send_part((frame, 0, None), flags).map_err(|(errno, _)| errno)?;
    Ok(sent)
}

/// See `zmq_send(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_send(socket: *mut c_void, data: *const c_void, size: size_t, flags: c_int) -> c_int {
    guard::call(-1, || {
        let socket = used(socket)?;
        // SAFETY: the caller gives so many octets.
        send_frame(&socket, Frame::copy_from_slice(unsafe { octets(data, size)? }), flags)
    })
}

/// See `zmq_send_const(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_send_const(socket: *mut c_void, data: *const c_void, size: size_t, flags: c_int) -> c_int {
    guard::call(-1, || {
        let socket = used(socket)?;
        // SAFETY: the caller gives octets that stay for ever.
        send_frame(&socket, unsafe { constant(data, size)? }, flags)
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
        match socket.send_part(message.take().into_parts(), flags) {
            Ok(()) => Ok(sent),
            Err((errno, (frame, routing_id, group))) => {
                *message = Msg::from_parts(frame, routing_id, group);
                Err(errno)
            }
        }
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
        let part = socket.recv_part(flags)?;
        let (frame, ..) = part.into_parts();
        let kept = frame.len().min(size);
        if kept > 0 {
            // SAFETY: the caller gives room for `size` octets.
            unsafe { data.cast::<u8>().copy_from_nonoverlapping(frame.as_slice().as_ptr(), kept) };
        }
        Ok(length(frame.len()))
    })
}

/// See `zmq_msg_recv(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_msg_recv(message: *mut Msg, socket: *mut c_void, flags: c_int) -> c_int {
    guard::call(-1, || {
        let socket = used(socket)?;
        // SAFETY: the caller gives a `zmq_msg_t`.
        let message = unsafe { valid(message)? };
        *message = socket.recv_part(flags)?;
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
            sent = send_frame(&socket, Frame::copy_from_slice(body), flags)?;
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
            let (frame, ..) = socket.recv_part(flags)?.into_parts();
            // SAFETY: at least one octet, so that NULL means that there is no memory.
            let body = unsafe { libc::malloc(frame.len().max(1)) };
            if body.is_null() {
                return Err(Errno(libc::ENOMEM));
            }
            // SAFETY: so much was allocated, and the caller gives so many elements.
            unsafe {
                body.cast::<u8>().copy_from_nonoverlapping(frame.as_slice().as_ptr(), frame.len());
                parts.add(index).write(iovec { iov_base: body, iov_len: frame.len() });
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
