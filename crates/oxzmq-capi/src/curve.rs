//! `zmq_curve_keypair` and `zmq_curve_public`.

use std::ffi::CStr;

use libc::{c_char, c_int};
use oxzmq::curve::KeyPair;

use crate::guard::{self, Errno};

/// Characters of a key in Z85, without the terminating zero.
const KEY: usize = 40;

/// See `zmq_curve_keypair(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_curve_keypair(public: *mut c_char, secret: *mut c_char) -> c_int {
    guard::status(|| {
        if public.is_null() || secret.is_null() {
            return Err(Errno(libc::EINVAL));
        }
        let keys = KeyPair::generate()?;
        // SAFETY: the caller gives room for 41 characters each.
        unsafe {
            put(public, &keys.public().to_string());
            put(secret, &keys.secret_z85());
        }
        Ok(())
    })
}

/// See `zmq_curve_public(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zmq_curve_public(public: *mut c_char, secret: *const c_char) -> c_int {
    guard::status(|| {
        if public.is_null() || secret.is_null() {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the caller gives text with a terminating zero.
        let secret = unsafe { CStr::from_ptr(secret) }.to_str().map_err(|_| Errno(libc::EINVAL))?;
        let keys = KeyPair::from_secret_z85(secret)?;
        // SAFETY: the caller gives room for 41 characters.
        unsafe { put(public, &keys.public().to_string()) };
        Ok(())
    })
}

/// # Safety
/// There is room for a key's 40 characters and a zero.
unsafe fn put(place: *mut c_char, key: &str) {
    debug_assert_eq!(key.len(), KEY);
    // SAFETY: as the caller says.
    unsafe {
        place.cast::<u8>().copy_from_nonoverlapping(key.as_ptr(), key.len());
        *place.add(key.len()) = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_key_follows_from_the_secret_one() {
        let (mut public, mut secret, mut again) = ([0; KEY + 1], [0; KEY + 1], [0; KEY + 1]);
        // SAFETY: there is room for 41 characters in each.
        unsafe {
            assert_eq!(zmq_curve_keypair(public.as_mut_ptr(), secret.as_mut_ptr()), 0);
            assert_eq!(zmq_curve_public(again.as_mut_ptr(), secret.as_ptr()), 0);
            assert_eq!(zmq_curve_public(again.as_mut_ptr(), c"no key".as_ptr()), -1);
        }
        assert_eq!(public, again);
        assert_eq!((public[KEY], secret[KEY]), (0, 0));
        assert_ne!(public, secret);
    }
}
