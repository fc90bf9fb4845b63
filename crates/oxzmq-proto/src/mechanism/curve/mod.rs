//! CURVE: encryption and authentication with Curve25519 (RFC 26, as libzmq deploys it).
//!
//! ```text
//! client                                            server
//! HELLO     C', box(zeros, C'→S)          ──────►   knows S, forgets the client again
//!           ◄──────  WELCOME   box(S', cookie(C', s'), S→C')
//! INITIATE  cookie, box(C, vouch, metadata, C'→S') ──►   asks the authenticator about C
//!           ◄──────  READY     box(metadata, S'→C')
//! MESSAGE   box(flags, body, C'→S')       ◄─────►   MESSAGE  box(flags, body, S'→C')
//! ```
//!
//! Capitals are public keys, small letters secret ones; S and C live long, S' and C' as long as the
//! connection. Every nonce is a prefix that says what the box is for, and a number or random octets.

mod cipher;
mod client;
mod crypto;
mod keys;
mod server;
mod stream;
mod traffic;

pub(super) use client::Client;
use crypto::{Dryoc, KEY, MAC, NONCE, Primitives, SharedKey};
pub use keys::{CurveClient, CurveServer, RandomSource, SecretKey};
pub(super) use server::Server;
pub(crate) use stream::Stream;
pub(crate) use traffic::{MESSAGE_OVERHEAD, Opener, Sealer};
use zeroize::Zeroizing;

use crate::ProtocolError;

pub(super) const NAME: &str = "CURVE";

/// Octets of HELLO's body.
const HELLO: usize = 200;
/// Octets of WELCOME's body.
const WELCOME: usize = 168;
/// Octets of the cookie: its nonce and a box of two keys.
const COOKIE: usize = 16 + MAC + 2 * KEY;
/// Octets of the vouch: its nonce and a box of two keys.
const VOUCH: usize = 16 + MAC + 2 * KEY;
/// Octets of an INITIATE without metadata.
const INITIATE: usize = 9 + COOKIE + 8 + MAC + KEY + VOUCH;
/// Octets of a READY without metadata.
const READY: usize = 6 + 8 + MAC;

const HELLO_NONCE: &[u8; 16] = b"CurveZMQHELLO---";
const INITIATE_NONCE: &[u8; 16] = b"CurveZMQINITIATE";
const READY_NONCE: &[u8; 16] = b"CurveZMQREADY---";
const WELCOME_NONCE: &[u8; 8] = b"WELCOME-";
const COOKIE_NONCE: &[u8; 8] = b"COOKIE--";
const VOUCH_NONCE: &[u8; 8] = b"VOUCH---";

/// A nonce that ends in a counter, in the octets that travel.
fn counted(prefix: &[u8; 16], count: &[u8; 8]) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    nonce[..16].copy_from_slice(prefix);
    nonce[16..].copy_from_slice(count);
    nonce
}

/// A nonce that ends in random octets.
fn drawn(prefix: &[u8; 8], random: &[u8; 16]) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    nonce[..8].copy_from_slice(prefix);
    nonce[8..].copy_from_slice(random);
    nonce
}

/// Append a box of `parts` to `out`.
fn put_box(out: &mut Vec<u8>, key: &SharedKey, nonce: &[u8; NONCE], parts: &[&[u8]]) {
    let start = out.len();
    // Nothing secret may be left behind in memory that a growing vector has given up.
    out.reserve_exact(MAC + parts.iter().map(|part| part.len()).sum::<usize>());
    out.extend_from_slice(&[0; MAC]);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    let mac = Dryoc::seal(key, nonce, &mut out[start + MAC..]);
    out[start..start + MAC].copy_from_slice(&mac);
}

/// What is in a box, if it is genuine.
fn open_box(
    boxed: &[u8],
    key: &SharedKey,
    nonce: &[u8; NONCE],
    what: &'static str,
) -> Result<Zeroizing<Vec<u8>>, ProtocolError> {
    let failed = ProtocolError::Cryptographic { what };
    let Some((mac, sealed)) = boxed.split_first_chunk::<MAC>() else {
        return Err(failed);
    };
    let mut opened = Zeroizing::new(vec![0; sealed.len()]);
    if Dryoc::open(key, nonce, mac, sealed, &mut opened) { Ok(opened) } else { Err(failed) }
}

/// Takes fields off the front of a body whose length was checked.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self, command: &'static str) -> Result<&'a [u8; N], ProtocolError> {
        let length = self.0.len();
        let (field, rest) =
            self.0.split_first_chunk().ok_or(ProtocolError::MalformedCommand { name: command, length })?;
        self.0 = rest;
        Ok(field)
    }
}
