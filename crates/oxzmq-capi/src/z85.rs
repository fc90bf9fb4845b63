//! `zmq_z85_encode` and `zmq_z85_decode` (RFC 32).

use std::ffi::CStr;

use libc::{c_char, size_t};

use crate::guard::{self, Errno};

/// Five characters for each four octets.
pub(crate) fn encode(octets: &[u8]) -> Option<Vec<u8>> {
    oxzmq::curve::z85::encode(octets).ok().map(String::into_bytes)
}

/// `None` for text of another length, with other characters, or of numbers that four octets cannot hold.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.is_empty())?;
    oxzmq::curve::z85::decode(text).ok()
}

/// See `zmq_z85_encode(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_z85_encode(text: *mut c_char, octets: *const u8, count: size_t) -> *mut c_char {
    guard::call(std::ptr::null_mut(), || {
        if text.is_null() || (octets.is_null() && count > 0) || count > isize::MAX as usize {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the caller gives so many octets; none are looked at if there are none.
        let octets = if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(octets, count) } };
        let encoded = encode(octets).ok_or(Errno(libc::EINVAL))?;
        // SAFETY: the caller gives room for the text and its terminating zero.
        unsafe {
            text.cast::<u8>().copy_from_nonoverlapping(encoded.as_ptr(), encoded.len());
            *text.add(encoded.len()) = 0;
        }
        Ok(text)
    })
}

/// See `zmq_z85_decode(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_z85_decode(octets: *mut u8, text: *const c_char) -> *mut u8 {
    guard::call(std::ptr::null_mut(), || {
        if octets.is_null() || text.is_null() {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the caller gives text with a terminating zero.
        let decoded = decode(unsafe { CStr::from_ptr(text) }.to_bytes()).ok_or(Errno(libc::EINVAL))?;
        // SAFETY: the caller gives room for four octets for each five characters.
        unsafe { octets.copy_from_nonoverlapping(decoded.as_ptr(), decoded.len()) };
        Ok(octets)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let octets = [0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b];
        assert_eq!(encode(&octets).unwrap(), b"HelloWorld");
        assert_eq!(decode(b"HelloWorld").unwrap(), octets);
        assert_eq!(encode(&[0xff; 4]).unwrap(), b"%nSc0");
        assert_eq!(encode(&[]).unwrap(), b"");
    }

    #[test]
    fn what_is_no_z85_is_refused() {
        assert!(encode(&[1, 2, 3]).is_none());
        for text in ["%nSc1", "abcd", "abcdef", "ab cd", ""] {
            assert!(decode(text.as_bytes()).is_none(), "{text}");
        }
    }
}
