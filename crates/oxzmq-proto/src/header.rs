//! Frame headers: the only place that reads or writes them.

use crate::ProtocolError;
use crate::limits::MAX_FRAME_LENGTH;
use crate::version::Version;

/// More frames of the same message follow.
pub(crate) const MORE: u8 = 0x01;
/// The length takes eight octets (ZMTP 2.0 and later).
pub(crate) const LONG: u8 = 0x02;
/// The frame is a command (ZMTP 3.0 and later).
pub(crate) const COMMAND: u8 = 0x04;

/// A ZMTP 1.0 length octet of this value announces a length of eight octets.
const V1_LONG: u8 = 0xff;

/// Longest header of any version, in octets.
pub(crate) const MAX_HEADER: usize = 10;

/// A frame's header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// Flags as received: reserved bits are neither checked nor cleared.
    pub(crate) flags: u8,
    /// Octets of the header.
    pub(crate) len: usize,
    /// Octets of the body, at most [`MAX_FRAME_LENGTH`].
    pub(crate) size: u64,
}

impl Header {
    /// Read the header at the front of `input`; `None` if there is not all of it yet.
    #[inline]
    pub(crate) fn parse(version: Version, input: &[u8]) -> Result<Option<Self>, ProtocolError> {
        if version.is_v1() {
            return Self::parse_v1(input);
        }
        let (flags, short) = match *input {
            [flags, short, ..] => (flags, short),
            _ => return Ok(None),
        };
        if flags & LONG == 0 {
            return Ok(Some(Header { flags, len: 2, size: u64::from(short) }));
        }
        let Some(size) = input[1..].first_chunk() else {
            return Ok(None);
        };
        let size = checked_size(u64::from_be_bytes(*size))?;
        Ok(Some(Header { flags, len: 9, size }))
    }

    /// RFC 13: the length comes first and counts the flags octet.
    fn parse_v1(input: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let (length, rest) = match *input {
            [] => return Ok(None),
            [V1_LONG, ref rest @ ..] => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            [length, ref rest @ ..] => (u64::from(length), rest),
        };
        // Checked before the flags have come: what is wrong is wrong at once.
        let size = length.checked_sub(1).ok_or(ProtocolError::ZeroLengthV1Frame)?;
        let size = checked_size(size)?;
        let Some(&flags) = rest.first() else {
            return Ok(None);
        };
        Ok(Some(Header { flags, len: input.len() - rest.len() + 1, size }))
    }

    /// Write the header for a body of `size` octets; returns the octets used.
    ///
    /// `flags` are MORE and COMMAND; the length's form follows from `size`. The form has to be chosen
    /// from the final size of what is sent: implementations that did not, desynchronised their streams.
    #[inline]
    pub(crate) fn write(version: Version, flags: u8, size: usize, out: &mut [u8; MAX_HEADER]) -> usize {
        if version.is_v1() {
            return Self::write_v1(flags, size, out);
        }
        if let Ok(short) = u8::try_from(size) {
            out[0] = flags;
            out[1] = short;
            2
        } else {
            out[0] = flags | LONG;
            out[1..9].copy_from_slice(&(size as u64).to_be_bytes());
            9
        }
    }

    fn write_v1(flags: u8, size: usize, out: &mut [u8; MAX_HEADER]) -> usize {
        let length = size as u64 + 1;
        match u8::try_from(length) {
            Ok(short) if short != V1_LONG => {
                out[0] = short;
                out[1] = flags;
                2
            }
            _ => {
                out[0] = V1_LONG;
                out[1..9].copy_from_slice(&length.to_be_bytes());
                out[9] = flags;
                10
            }
        }
    }
}

#[inline]
pub(crate) fn checked_size(size: u64) -> Result<u64, ProtocolError> {
    if size > MAX_FRAME_LENGTH || usize::try_from(size).is_err() {
        return Err(ProtocolError::LengthOverflow { size });
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_was_written() {
        for version in [Version::V1, Version::V2, Version::V3_1] {
            for size in [0, 1, 253, 254, 255, 256, 65_536] {
                let mut out = [0; MAX_HEADER];
                let len = Header::write(version, MORE, size, &mut out);
                for end in 0..len {
                    assert!(Header::parse(version, &out[..end]).unwrap().is_none());
                }
                let header = Header::parse(version, &out[..len]).unwrap().unwrap();
                assert_eq!((header.len, header.size), (len, size as u64));
                assert_eq!(header.flags & MORE, MORE);
            }
        }
    }

    #[test]
    fn lengths_from_two_to_the_63_on_are_refused() {
        for size in [1 << 63, u64::MAX, u64::MAX - 0x26] {
            let octets = [&[2][..], &size.to_be_bytes()].concat();
            assert!(Header::parse(Version::V3_1, &octets).is_err());
        }
        let octets = [&[2][..], &MAX_FRAME_LENGTH.to_be_bytes()].concat();
        assert!(Header::parse(Version::V3_1, &octets).unwrap().is_some());
        let octets = [&[0xff][..], &u64::MAX.to_be_bytes()].concat();
        assert!(Header::parse(Version::V1, &octets).is_err());
    }

    #[test]
    fn a_zmtp1_length_of_zero_is_refused() {
        assert!(Header::parse(Version::V1, &[0]).is_err());
        assert!(Header::parse(Version::V1, &[0xff, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
