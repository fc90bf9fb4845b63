//! WebSocket's frame headers (RFC 6455, 5.2), with the octet of ZWS's flags behind them.

use super::{Side, violation};
use crate::ProtocolError;
use crate::header::{COMMAND, MORE, checked_size};

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// A length octet of this value announces a length of two octets.
const LENGTH_16: u8 = 126;
/// And this one of eight.
const LENGTH_64: u8 = 127;

/// Most octets that a control frame may carry (RFC 6455, 5.5).
pub(crate) const MAX_CONTROL: usize = 125;

/// ZWS's flags.
const ZWS_MORE: u8 = 0x01;
const ZWS_COMMAND: u8 = 0x02;

/// Longest header, in octets: two, eight of length, four of mask, one of flags.
pub(crate) const MAX_HEADER: usize = 15;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// One of ZMTP's frames.
    Binary,
    Close,
    Ping,
    Pong,
}

/// A frame's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// The flags of a binary frame as a ZMTP header has them.
    pub(crate) flags: u8,
    /// Octets of the header, the flags included.
    pub(crate) len: usize,
    /// Octets of the body.
    pub(crate) size: u64,
    /// The mask's key for the first octet of the body.
    pub(crate) key: Option<[u8; 4]>,
}

impl Header {
    /// Read the header at the front of what the peer of this side sends; `None` if there is not all of it yet. What is
    /// wrong is an error as soon as it is there.
    pub(crate) fn parse(side: Side, input: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let [first, second, rest @ ..] = input else {
            return input.first().map_or(Ok(None), |first| kind(*first).map(|_| None));
        };
        let kind = kind(*first)?;
        match (side, second & MASKED != 0) {
            (Side::Server, false) => return Err(violation("a client's frame that is not masked")),
            (Side::Client, true) => return Err(violation("a server's frame that is masked")),
            _ => {}
        }
        let short = second & !MASKED;
        if kind != Kind::Binary && usize::from(short) > MAX_CONTROL {
            return Err(violation("a control frame of more than 125 octets"));
        }
        let (size, rest) = match short {
            LENGTH_16 => match rest.split_first_chunk() {
                Some((size, rest)) => (u64::from(u16::from_be_bytes(*size)), rest),
                None => return Ok(None),
            },
            LENGTH_64 => match rest.split_first_chunk() {
                Some((size, rest)) => (checked_size(u64::from_be_bytes(*size))?, rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        if kind == Kind::Binary && size == 0 {
            return Err(violation("a binary message without the octet of flags"));
        }
        let (key, rest) = match side {
            Side::Client => (None, rest),
            Side::Server => match rest.split_first_chunk::<4>() {
                Some((key, rest)) => (Some(*key), rest),
                None => return Ok(None),
            },
        };
        let len = input.len() - rest.len();
        if kind != Kind::Binary {
            return Ok(Some(Header { kind, flags: 0, len, size, key }));
        }
        let Some(&flags) = rest.first() else { return Ok(None) };
        let flags = flags_from_zws(flags ^ key.map_or(0, |key| key[0]));
        let key = key.map(|[a, b, c, d]| [b, c, d, a]);
        Ok(Some(Header { kind, flags, len: len + 1, size: size - 1, key }))
    }

    /// Write the header; returns the octets used.
    pub(crate) fn write(&self, out: &mut [u8; MAX_HEADER]) -> usize {
        let binary = self.kind == Kind::Binary;
        let size = self.size + u64::from(binary);
        let mask = if self.key.is_some() { MASKED } else { 0 };
        out[0] = FIN
            | match self.kind {
                Kind::Binary => BINARY,
                Kind::Close => CLOSE,
                Kind::Ping => PING,
                Kind::Pong => PONG,
            };
        let mut len = match size {
            0..=125 => {
                out[1] = mask | size as u8;
                2
            }
            126..=0xffff => {
                out[1] = mask | LENGTH_16;
                out[2..4].copy_from_slice(&(size as u16).to_be_bytes());
                4
            }
            _ => {
                out[1] = mask | LENGTH_64;
                out[2..10].copy_from_slice(&size.to_be_bytes());
                10
            }
        };
        // The key as it travels is that of the flags, one octet before the body.
        let flags_key = self.key.map(|[a, b, c, d]| if binary { [d, a, b, c] } else { [a, b, c, d] });
        if let Some(key) = flags_key {
            out[len..len + 4].copy_from_slice(&key);
            len += 4;
        }
        if binary {
            out[len] = flags_to_zws(self.flags) ^ flags_key.map_or(0, |key| key[0]);
            len += 1;
        }
        len
    }
}

fn kind(first: u8) -> Result<Kind, ProtocolError> {
    if first & RESERVED != 0 {
        return Err(violation("a frame with reserved bits"));
    }
    if first & FIN == 0 {
        return Err(violation("a fragment of a message"));
    }
    match first & OPCODE {
        BINARY => Ok(Kind::Binary),
        CLOSE => Ok(Kind::Close),
        PING => Ok(Kind::Ping),
        PONG => Ok(Kind::Pong),
        CONTINUATION => Err(violation("a fragment of a message")),
        TEXT => Err(violation("a text message")),
        _ => Err(violation("a frame of an unknown kind")),
    }
}

/// Other bits are reserved, and left alone as those of ZMTP are.
fn flags_from_zws(flags: u8) -> u8 {
    let more = if flags & ZWS_MORE != 0 { MORE } else { 0 };
    let command = if flags & ZWS_COMMAND != 0 { COMMAND } else { 0 };
    more | command
}

fn flags_to_zws(flags: u8) -> u8 {
    let more = if flags & MORE != 0 { ZWS_MORE } else { 0 };
    let command = if flags & COMMAND != 0 { ZWS_COMMAND } else { 0 };
    more | command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(side: Side, octets: &[u8]) -> String {
        Header::parse(side, octets).unwrap_err().to_string()
    }

    #[test]
    fn is_read_as_it_was_written() {
        for (kind, flags, sizes) in [
            (Kind::Binary, MORE, &[0, 1, 124, 125, 126, 65_534, 65_535, 65_536, 1 << 40][..]),
            (Kind::Binary, COMMAND, &[42]),
            (Kind::Ping, 0, &[0, 125]),
            (Kind::Pong, 0, &[4]),
            (Kind::Close, 0, &[2]),
        ] {
            for &size in sizes {
                for (side, key) in [(Side::Client, None), (Side::Server, Some([1, 2, 3, 4]))] {
                    let mut header = Header { kind, flags, len: 0, size, key };
                    let mut out = [0; MAX_HEADER];
                    header.len = header.write(&mut out);
                    for end in 0..header.len {
                        assert_eq!(Header::parse(side, &out[..end]), Ok(None));
                    }
                    assert_eq!(Header::parse(side, &out), Ok(Some(header)));
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_is_wrong_at_once() {
        for (octets, why) in [
            (&[0x02][..], "fragment"),
            (&[0x80], "fragment"),
            (&[0x81], "text"),
            (&[0xc2], "reserved"),
            (&[0x83], "unknown"),
            (&[0x8b], "unknown"),
            (&[0x09], "fragment"),
            (&[0x82, 0x05], "not masked"),
            (&[0x89, 0xfe], "125 octets"),
            (&[0x82, 0x80], "flags"),
            (&[0x82, 0xfe, 0, 0], "flags"),
            (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], "impossible"),
        ] {
            let error = refused(Side::Server, octets);
            assert!(error.contains(why), "{octets:x?}: {error}");
        }
        assert!(refused(Side::Client, &[0x82, 0x85]).contains("masked"));
    }

    #[test]
    fn a_length_longer_than_necessary_is_a_length() {
        let long = Header::parse(Side::Client, &[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 2, 0]).unwrap().unwrap();
        assert_eq!((long.len, long.size), (11, 1));
    }
}
