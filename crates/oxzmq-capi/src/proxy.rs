//! `zmq_proxy`, `zmq_proxy_steerable`, `zmq_device`.

use std::ffi::c_void;

use libc::c_int;

use crate::guard::{self, Errno, Result};
use crate::handle::Use;
use crate::socket::{Socket, used};

fn end(handle: *mut c_void) -> Result<Use<Socket>> {
    if handle.is_null() { Err(Errno(libc::EFAULT)) } else { used(handle) }
}

fn perhaps(handle: *mut c_void) -> Result<Option<Use<Socket>>> {
    if handle.is_null() { Ok(None) } else { used(handle).map(Some) }
}

/// See `zmq_proxy_steerable(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_proxy_steerable(
    front: *mut c_void,
    back: *mut c_void,
    capture: *mut c_void,
    control: *mut c_void,
) -> c_int {
    guard::status(|| {
        let (front_end, back_end, capture, control) = (end(front)?, end(back)?, perhaps(capture)?, perhaps(control)?);
        // The library tells one socket that is both by its address.
        let back_end = if front == back { &front_end } else { &back_end };
        let capture = capture.as_ref().map(|capture| &capture.inner);
        match control {
            None => oxzmq::proxy(&front_end.inner, &back_end.inner, capture)?,
            Some(control) => oxzmq::proxy_steerable(&front_end.inner, &back_end.inner, capture, &control.inner)?,
        }
        Ok(())
    })
}

/// See `zmq_proxy(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_proxy(front: *mut c_void, back: *mut c_void, capture: *mut c_void) -> c_int {
    zmq_proxy_steerable(front, back, capture, std::ptr::null_mut())
}

/// The proxy of libzmq 2; the type means nothing.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_device(_: c_int, front: *mut c_void, back: *mut c_void) -> c_int {
    zmq_proxy_steerable(front, back, std::ptr::null_mut(), std::ptr::null_mut())
}
