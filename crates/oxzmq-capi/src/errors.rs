//! `zmq_errno`, `zmq_strerror`, `zmq_version`, `zmq_has`.

use std::ffi::CStr;

use libc::{c_char, c_int};

use crate::guard;

const VERSION: [c_int; 3] = [4, 3, 6];

/// See `zmq_errno(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_errno() -> c_int {
    guard::errno()
}

/// See `zmq_strerror(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn zmq_strerror(errno: c_int) -> *const c_char {
    let text = match errno {
        oxzmq::error::EFSM => c"Operation cannot be accomplished in current state",
        oxzmq::error::ENOCOMPATPROTO => c"The protocol is not compatible with the socket type",
        oxzmq::error::ETERM => c"Context was terminated",
        oxzmq::error::EMTHREAD => c"No thread available",
        libc::EHOSTUNREACH => c"Host unreachable",
        // SAFETY: any number is valid; the text lives at least until this thread calls it again.
        _ => return unsafe { libc::strerror(errno) },
    };
    text.as_ptr()
}

/// See `zmq_version(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_version(major: *mut c_int, minor: *mut c_int, patch: *mut c_int) {
    for (place, number) in [major, minor, patch].into_iter().zip(VERSION) {
        if !place.is_null() {
            // SAFETY: the caller gives places for ints.
            unsafe { *place = number };
        }
    }
}

/// See `zmq_has(3)`. `oxzmq` tells this library from others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_has(capability: *const c_char) -> c_int {
    if capability.is_null() {
        return 0;
    }
    // SAFETY: the caller gives a string with a terminating zero.
    let capability = unsafe { CStr::from_ptr(capability) };
    let optional = [(c"gssapi", cfg!(feature = "gssapi")), (c"WSS", cfg!(feature = "wss"))];
    (optional.contains(&(capability, true)) || [c"ipc", c"curve", c"draft", c"WS", c"oxzmq"].contains(&capability))
        .into()
}
