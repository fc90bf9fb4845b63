//! CURVE's traffic: each frame in a MESSAGE of its own.
//!
//! ```text
//! 07 "MESSAGE"  counter (8)  authenticator (16)  sealed: flags (1), body
//! ```
//!
//! MESSAGEs travel in message frames: libzmq drops them in command frames. Flags inside are MORE (1)
//! and COMMAND (2, unlike the frame's 4).

use bytes::Bytes;

use super::cipher::Cipher;
use super::crypto::{MAC, SharedKey};
use crate::header::{COMMAND, Header, MAX_HEADER, MORE};
use crate::{Frame, OutBuf, ProtocolError, Version, command};

const NAME: &[u8; 8] = b"\x07MESSAGE";
/// Octets before what is sealed.
const CLEAR: usize = NAME.len() + 8 + MAC;
/// Octets that a MESSAGE has more than the frame in it.
pub(crate) const MESSAGE_OVERHEAD: usize = CLEAR + 1;

const INNER_MORE: u8 = 1;
const INNER_COMMAND: u8 = 2;

/// Messages from this many octets on get a buffer of their own; smaller ones share one.
const OWN_BUFFER: usize = 128 * 1024;

/// Which end a MESSAGE comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    /// The nonces of this side's MESSAGEs, but for their counter.
    fn prefix(self) -> &'static [u8; 16] {
        match self {
            Side::Client => b"CurveZMQMESSAGEC",
            Side::Server => b"CurveZMQMESSAGES",
        }
    }
}

/// Turns frames into MESSAGEs.
#[derive(Debug)]
pub(crate) struct Sealer {
    cipher: Cipher,
    next: u64,
}

impl Sealer {
    pub(super) fn new(key: &SharedKey, side: Side, first: u64) -> Self {
        Sealer { cipher: Cipher::new(key, side.prefix()), next: first }
    }

    /// Append the frame with these flags (those of a header) whose body is `parts`.
    pub(crate) fn put(&mut self, flags: u8, parts: &[&[u8]], out: &mut OutBuf) {
        let body: usize = parts.iter().map(|part| part.len()).sum();
        let mut header = [0; MAX_HEADER];
        let header_len = Header::write(Version::V3_1, 0, MESSAGE_OVERHEAD + body, &mut header);
        let count = self.next.to_be_bytes();
        // A connection that sends a thousand million messages a second has five hundred years.
        self.next += 1;

        let mut start = [0; MESSAGE_OVERHEAD];
        start[..8].copy_from_slice(NAME);
        start[8..16].copy_from_slice(&count);
        start[CLEAR] = inner_flags(flags);
        out.put(&header[..header_len]);
        if body >= OWN_BUFFER {
            let mut message = Vec::with_capacity(MESSAGE_OVERHEAD + body);
            message.extend_from_slice(&start);
            parts.iter().for_each(|part| message.extend_from_slice(part));
            self.seal(&count, &mut message);
            return out.put_bytes(Bytes::from(message));
        }
        out.put(&start);
        parts.iter().for_each(|part| out.put(part));
        self.seal(&count, out.tail_mut(MESSAGE_OVERHEAD + body));
    }

    /// Seal what follows the clear part of `message`, in place.
    #[inline]
    fn seal(&mut self, count: &[u8; 8], message: &mut [u8]) {
        let (clear, sealed) = message.split_at_mut(CLEAR);
        let mac = self.cipher.seal(count, sealed);
        clear[CLEAR - MAC..].copy_from_slice(&mac);
    }
}

fn inner_flags(flags: u8) -> u8 {
    let more = if flags & MORE != 0 { INNER_MORE } else { 0 };
    let command = if flags & COMMAND != 0 { INNER_COMMAND } else { 0 };
    more | command
}

fn outer_flags(flags: u8) -> u8 {
    let more = if flags & INNER_MORE != 0 { MORE } else { 0 };
    let command = if flags & INNER_COMMAND != 0 { COMMAND } else { 0 };
    more | command
}

/// Turns MESSAGEs into frames.
#[derive(Debug)]
pub(crate) struct Opener {
    cipher: Cipher,
    /// The peer's last counter; the next has to be greater.
    last: u64,
    order: Order,
}

/// How the peer writes its counter. All do as they should but libzmq 4.0, which uses its machine's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// No MESSAGE has come yet.
    Unknown,
    Big,
    Little,
}

impl Opener {
    /// `last` is the counter of the peer's last command of the handshake.
    pub(super) fn new(key: &SharedKey, side: Side, last: [u8; 8]) -> Self {
        let order = if looks_little(last) { Order::Little } else { Order::Unknown };
        let last = if order == Order::Little { u64::from_le_bytes(last) } else { u64::from_be_bytes(last) };
        Opener { cipher: Cipher::new(key, side.prefix()), last, order }
    }

    /// The flags (those of a header) and body of the frame in `message`.
    pub(crate) fn open(&mut self, message: &[u8]) -> Result<(u8, Frame), ProtocolError> {
        let (octets, count, order) = self.check(message)?;
        let (mac, sealed) = mac_and_sealed(message)?;
        let (flags, frame) = if sealed.len() <= Frame::INLINE_MAX + 1 {
            let mut opened = [0; Frame::INLINE_MAX + 1];
            let good = self.cipher.open(&octets, mac, sealed, &mut opened[..sealed.len()]);
            let (flags, data) = opened.split_first_chunk::<1>().ok_or(FORGED)?;
            let mut frame = Frame::new();
            if let (true, Some(data)) = (good, data.first_chunk()) {
                frame.set_inline(data, sealed.len() - 1);
            } else {
                return Err(FORGED);
            }
            (flags[0], frame)
        } else {
            let mut opened = vec![0; sealed.len()];
            if !self.cipher.open(&octets, mac, sealed, &mut opened) {
                return Err(FORGED);
            }
            (opened[0], Frame::from(Bytes::from(opened).slice(1..)))
        };
        (self.last, self.order) = (count, order);
        Ok((outer_flags(flags), frame))
    }

    /// As [`Opener::open`], in place.
    pub(crate) fn open_owned(&mut self, mut message: Vec<u8>) -> Result<(u8, Frame), ProtocolError> {
        let (octets, count, order) = self.check(&message)?;
        let (clear, sealed) = message.split_at_mut(CLEAR); // `check` has seen more than that
        let Some(mac) = clear.last_chunk::<MAC>() else { return Err(FORGED) };
        if !self.cipher.open_in_place(&octets, mac, sealed) {
            return Err(FORGED);
        }
        (self.last, self.order) = (count, order);
        let flags = outer_flags(message[CLEAR]);
        Ok((flags, Frame::from(Bytes::from(message).slice(MESSAGE_OVERHEAD..))))
    }

    /// Check what is in the clear; returns the counter as it came, and what it says. It is believed once the box was
    /// opened.
    #[inline]
    fn check(&self, message: &[u8]) -> Result<([u8; 8], u64, Order), ProtocolError> {
        let Some((name, rest)) = message.split_first_chunk::<8>() else {
            let (name, _) = command::split(message)?;
            return Err(command::unexpected(name));
        };
        if name != NAME {
            let (name, _) = command::split(message)?;
            return Err(command::unexpected(name));
        }
        let octets = match rest.first_chunk::<8>() {
            Some(octets) if message.len() >= MESSAGE_OVERHEAD => *octets,
            _ => return Err(ProtocolError::MalformedCommand { name: "MESSAGE", length: message.len() }),
        };
        let order = match self.order {
            Order::Unknown if looks_little(octets) => Order::Little,
            Order::Unknown => Order::Big,
            known => known,
        };
        let count = if order == Order::Little { u64::from_le_bytes(octets) } else { u64::from_be_bytes(octets) };
        if count <= self.last {
            return Err(ProtocolError::NonceNotIncreasing { last: self.last, received: count });
        }
        Ok((octets, count, order))
    }
}

const FORGED: ProtocolError = ProtocolError::Cryptographic { what: "MESSAGE" };

fn mac_and_sealed(message: &[u8]) -> Result<(&[u8; MAC], &[u8]), ProtocolError> {
    let split = message.get(CLEAR - MAC..).and_then(|rest| rest.split_first_chunk());
    split.ok_or(ProtocolError::MalformedCommand { name: "MESSAGE", length: message.len() })
}

/// Whether a counter makes sense only with its lowest octet first.
fn looks_little(octets: [u8; 8]) -> bool {
    u64::from_be_bytes(octets) >> 32 != 0 && u64::from_le_bytes(octets) >> 32 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Sealer, Opener) {
        let key = SharedKey([9; 32]);
        (Sealer::new(&key, Side::Client, 3), Opener::new(&key, Side::Client, 2u64.to_be_bytes()))
    }

    /// The body of the MESSAGE that carries this.
    fn message(sealer: &mut Sealer, flags: u8, body: &[u8]) -> Vec<u8> {
        let mut out = OutBuf::new();
        sealer.put(flags, &[body], &mut out);
        let mut slices = [std::io::IoSlice::new(&[]); 4];
        let count = out.io_slices(&mut slices);
        let wire: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
        let header = Header::parse(Version::V3_1, &wire).unwrap().unwrap();
        assert_eq!(header.flags & (MORE | COMMAND), 0);
        assert_eq!(header.len + header.size as usize, wire.len());
        wire[header.len..].to_vec()
    }

    #[test]
    fn what_was_sealed_is_opened_at_every_size_both_ways() {
        let (mut sealer, mut opener) = pair();
        for size in [0, 1, 37, 38, 39, 222, 223, 4096, 131_071, 131_072, 200_000] {
            let body: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let sealed = message(&mut sealer, MORE, &body);
            let (flags, frame) = opener.open(&sealed).unwrap();
            assert_eq!((flags, &frame), (MORE, &Frame::from(&body[..])), "{size}");
            let sealed = message(&mut sealer, COMMAND, &body);
            let (flags, frame) = opener.open_owned(sealed).unwrap();
            assert_eq!((flags, &frame), (COMMAND, &Frame::from(&body[..])), "{size}");
        }
    }

    #[test]
    fn a_counter_must_grow_and_may_jump() {
        let (mut sealer, mut opener) = pair();
        let first = message(&mut sealer, 0, b"one");
        let second = message(&mut sealer, 0, b"two");
        sealer.next = 100;
        let later = message(&mut sealer, 0, b"three");
        opener.open(&second).unwrap();
        for old in [&first, &second] {
            let error = opener.open(old).unwrap_err();
            assert!(matches!(error, ProtocolError::NonceNotIncreasing { last: 4, .. }), "{error}");
            assert_eq!(opener.open_owned(old.clone()).unwrap_err(), error);
        }
        opener.open(&later).unwrap();
    }

    #[test]
    fn every_flipped_bit_is_an_error() {
        let (mut sealer, _) = pair();
        for size in [5, 60] {
            let sealed = message(&mut sealer, 0, &vec![7; size]);
            for bit in 0..8 * sealed.len() {
                let mut sealed = sealed.clone();
                sealed[bit / 8] ^= 1 << (bit % 8);
                let (_, mut opener) = pair();
                assert!(opener.open(&sealed).is_err(), "{bit}");
                assert!(opener.open_owned(sealed).is_err(), "{bit}");
            }
        }
    }

    #[test]
    fn what_is_too_short_is_an_error() {
        let (mut sealer, _) = pair();
        let sealed = message(&mut sealer, 0, b"");
        for end in 0..sealed.len() {
            let (_, mut opener) = pair();
            assert!(opener.open(&sealed[..end]).is_err(), "{end}");
            assert!(opener.open_owned(sealed[..end].to_vec()).is_err(), "{end}");
        }
        // Genuine, but without flags.
        let key = SharedKey([9; 32]);
        let count = 9u64.to_be_bytes();
        let mac = Cipher::new(&key, Side::Client.prefix()).seal(&count, &mut []);
        let empty = [&NAME[..], &count, &mac].concat();
        let error = pair().1.open(&empty).unwrap_err();
        assert_eq!(error, ProtocolError::MalformedCommand { name: "MESSAGE", length: 32 });
    }

    #[test]
    fn the_counters_of_libzmq_4_0_are_understood() {
        let key = SharedKey([9; 32]);
        let mut opener = Opener::new(&key, Side::Server, 0u64.to_le_bytes());
        for count in [1u64, 2, 255, 256, 257] {
            let count = count.to_le_bytes();
            let mut data = *b"\0x";
            let mac = Cipher::new(&key, Side::Server.prefix()).seal(&count, &mut data);
            let message = [&NAME[..], &count, &mac, &data].concat();
            assert_eq!(opener.open(&message).unwrap().1, "x");
            assert!(opener.open(&message).is_err());
        }
    }
}
