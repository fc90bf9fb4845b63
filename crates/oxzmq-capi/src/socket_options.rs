//! `zmq_setsockopt` and `zmq_getsockopt`: values between C's octets and the library's table of options.

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use libc::{c_int, size_t};
use oxzmq::curve::z85;
use oxzmq::{EventFd, OptionInfo, OptionKind, OptionValue};

use crate::guard::{self, Errno, Result};
use crate::poll::{POLLIN, POLLOUT};
use crate::socket::{Socket, used};

const RCVMORE: c_int = 13;
const FD: c_int = 14;
const EVENTS: c_int = 15;
/// `ZMQ_THREAD_SAFE` and `ZMQ_TOPICS_COUNT`, which take any room from four octets on, as the three above.
const IN_ANY_ROOM: [c_int; 2] = [81, 116];

/// A key in Z85 with its terminating zero.
const KEY_TEXT: usize = 41;

const USE_FD: c_int = 89;

/// `ZMQ_SOCKS_USERNAME` and `ZMQ_SOCKS_PASSWORD`.
const CLEARED_BY_EMPTY: [c_int; 2] = [99, 100];

const INVALID: Errno = Errno(libc::EINVAL);

/// See `zmq_setsockopt(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_setsockopt(
    socket: *mut c_void,
    option: c_int,
    value: *const c_void,
    size: size_t,
) -> c_int {
    guard::status(|| {
        let socket = used(socket)?;
        if (value.is_null() && size > 0) || size > isize::MAX as usize {
            return Err(INVALID);
        }
        // SAFETY: the caller gives so many octets.
        let octets = unsafe { crate::message::octets(value, size)? };
        let Some(option) = OptionInfo::by_number(option) else {
            socket.inner.readiness()?; // ETERM comes before EINVAL
            if option == USE_FD {
                let fd = c_int::from_ne_bytes(octets.try_into().map_err(|_| INVALID)?);
                if fd < -1 {
                    return Err(INVALID);
                }
                socket.use_fd.store(fd, Relaxed);
                return Ok(());
            }
            return Err(INVALID);
        };
        let value = parse(option, octets, value.is_null()).ok_or(INVALID)?;
        Ok(socket.inner.set_option(option, value)?)
    })
}

fn parse(option: &OptionInfo, octets: &[u8], is_null: bool) -> Option<OptionValue> {
    Some(match option.kind {
        OptionKind::Long => OptionValue::Long(i64::from_ne_bytes(octets.try_into().ok()?)),
        OptionKind::Unsigned => OptionValue::Unsigned(u64::from_ne_bytes(octets.try_into().ok()?)),
        // Only NULL clears a text or an IPC filter, but for these.
        OptionKind::Text(..) | OptionKind::Binary(0, 4)
            if octets.is_empty() && !is_null && !CLEARED_BY_EMPTY.contains(&option.number) =>
        {
            return None;
        }
        OptionKind::Text(..) | OptionKind::Binary(..) | OptionKind::Key => {
            OptionValue::Bytes(Bytes::copy_from_slice(octets))
        }
        _ => OptionValue::Int(c_int::from_ne_bytes(octets.try_into().ok()?)),
    })
}

/// See `zmq_getsockopt(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_getsockopt(
    socket: *mut c_void,
    option: c_int,
    value: *mut c_void,
    size: *mut size_t,
) -> c_int {
    guard::status(|| {
        let socket = used(socket)?;
        if value.is_null() || size.is_null() {
            return Err(INVALID);
        }
        // SAFETY: the caller gives a place for the size, and that much room.
        let room = unsafe { std::slice::from_raw_parts_mut(value.cast::<u8>(), (*size).min(isize::MAX as usize)) };
        let written = match option {
            RCVMORE => put_int(room, socket.more.load(Relaxed).into())?,
            FD => put_int(room, socket.fd()?)?,
            EVENTS => put_int(room, socket.events()?)?,
            USE_FD => {
                socket.inner.readiness()?;
                let fd = socket.use_fd.load(Relaxed).to_ne_bytes();
                *<&mut [u8; 4]>::try_from(room).map_err(|_| INVALID)? = fd;
                fd.len()
            }
            _ => {
                let Some(option) = OptionInfo::by_number(option) else {
                    socket.inner.readiness()?; // ETERM comes before EINVAL
                    return Err(INVALID);
                };
                put(room, option, socket.inner.option(option)?)?
            }
        };
        // SAFETY: as above.
        unsafe { *size = written };
        Ok(())
    })
}

/// For options that take any room from four octets on.
fn put_int(room: &mut [u8], value: c_int) -> Result<usize> {
    let octets = value.to_ne_bytes();
    let (first, rest) = room.split_at_mut_checked(octets.len()).ok_or(INVALID)?;
    first.copy_from_slice(&octets);
    rest.fill(0);
    Ok(octets.len())
}

fn put(room: &mut [u8], option: &OptionInfo, value: OptionValue) -> Result<usize> {
    let size = room.len();
    let mut exactly = |octets: &[u8]| {
        if room.len() != octets.len() {
            return Err(INVALID);
        }
        room.copy_from_slice(octets);
        Ok(octets.len())
    };
    match value {
        OptionValue::Int(value) if IN_ANY_ROOM.contains(&option.number) => put_int(room, value),
        OptionValue::Int(value) => exactly(&value.to_ne_bytes()),
        OptionValue::Long(value) => exactly(&value.to_ne_bytes()),
        OptionValue::Unsigned(value) => exactly(&value.to_ne_bytes()),
        // Room for the characters and a zero asks for Z85.
        OptionValue::Bytes(octets) if option.kind == OptionKind::Key && size == KEY_TEXT => {
            let text = z85::encode(&octets).map_err(|_| INVALID)?;
            exactly(&[text.as_bytes(), b"\0"].concat())
        }
        OptionValue::Bytes(octets) if option.kind == OptionKind::Key => exactly(&octets),
        OptionValue::Bytes(octets) => {
            let zero = usize::from(matches!(option.kind, OptionKind::Text(..)));
            let length = octets.len() + zero;
            if room.len() < length {
                return Err(INVALID);
            }
            room[..octets.len()].copy_from_slice(&octets);
            room[octets.len()..].fill(0);
            Ok(length)
        }
        _ => Err(INVALID),
    }
}

impl Socket {
    fn event_fd(&self) -> Result<&EventFd> {
        if self.event_fd.get().is_none() {
            let event_fd = EventFd::new(&self.inner)?;
            let _ = self.event_fd.set(event_fd);
        }
        self.event_fd.get().ok_or(Errno(libc::EMFILE))
    }

    fn fd(&self) -> Result<c_int> {
        self.inner.readiness()?;
        if self.is_thread_safe() {
            return Err(INVALID);
        }
        Ok(self.event_fd()?.as_fd().as_raw_fd())
    }

    /// `ZMQ_EVENTS`. In the middle of a message there is more to receive, or to send.
    pub(crate) fn events(&self) -> Result<c_int> {
        let now = match self.event_fd.get() {
            Some(event_fd) => event_fd.events()?,
            None => self.inner.readiness()?,
        };
        let readable = now.readable() || self.more.load(Relaxed);
        let writable = (now.writable() || self.begun.load(Relaxed)) && !self.must_read_on();
        Ok(c_int::from(if readable { POLLIN } else { 0 } | if writable { POLLOUT } else { 0 }))
    }
}
