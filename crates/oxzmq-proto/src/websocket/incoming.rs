//! Frames of the handshake, one at a time.

use super::header::{Header, Kind};
use super::{Side, mask};
use crate::ProtocolError;

/// A whole frame.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The body of one of ZMTP's. Its flags are not looked at, as elsewhere in the handshake.
    Frame(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close,
}

/// Collect one frame in `frame` from `input` at `at`, taking nothing beyond it.
pub(crate) fn read_frame(
    frame: &mut Vec<u8>,
    side: Side,
    limit: usize,
    input: &[u8],
    at: &mut usize,
) -> Result<Option<Incoming>, ProtocolError> {
    loop {
        let end = match Header::parse(side, frame)? {
            None => frame.len() + 1,
            Some(header) if header.size > limit as u64 => {
                return Err(ProtocolError::FrameTooLarge { size: header.size, limit: limit as u64 });
            }
            Some(header) => {
                let end = header.len + header.size as usize; // at most the limit
                if frame.len() == end {
                    let mut body = frame.split_off(header.len);
                    frame.clear();
                    if let Some(key) = header.key {
                        mask::apply(key, &mut body);
                    }
                    return Ok(Some(match header.kind {
                        Kind::Binary => Incoming::Frame(body),
                        Kind::Ping => Incoming::Ping(body),
                        Kind::Pong => Incoming::Pong,
                        Kind::Close => Incoming::Close,
                    }));
                }
                end
            }
        };
        let taken = (end - frame.len()).min(input.len() - *at);
        if taken == 0 {
            return Ok(None);
        }
        frame.extend_from_slice(&input[*at..*at + taken]);
        *at += taken;
    }
}
