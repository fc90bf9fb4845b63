//! `zmq_z85_encode` and `zmq_z85_decode` (RFC 32).

use libc::{c_char, size_t};
use oxzmq::curve::z85;

use crate::guard::{self, Errno};
use crate::socket::text;

/// See `zmq_z85_encode(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_z85_encode(place: *mut c_char, octets: *const u8, count: size_t) -> *mut c_char {
    guard::call(std::ptr::null_mut(), || {
        if place.is_null() || (octets.is_null() && count > 0) || count > isize::MAX as usize {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the caller gives so many octets; none are looked at if there are none.
        let octets = if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(octets, count) } };
        let text = z85::encode(octets)?;
        // SAFETY: the caller gives room for five characters for each four octets, and a zero.
        unsafe {
            place.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len());
            *place.add(text.len()) = 0;
        }
        Ok(place)
    })
}

/// See `zmq_z85_decode(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_z85_decode(place: *mut u8, string: *const c_char) -> *mut u8 {
    guard::call(std::ptr::null_mut(), || {
        // SAFETY: the caller gives a string with a terminating zero.
        let octets = z85::decode(unsafe { text(string)? })?;
        if place.is_null() || octets.is_empty() {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the caller gives room for four octets for each five characters.
        unsafe { place.copy_from_nonoverlapping(octets.as_ptr(), octets.len()) };
        Ok(place)
    })
}
