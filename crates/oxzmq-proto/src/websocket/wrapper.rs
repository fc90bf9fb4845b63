//! Frames on their way out: into binary messages, masked where we are the client.

use std::mem;

use super::header::{Header, Kind, MAX_CONTROL, MAX_HEADER};
use super::mask::{self, Keys};
use crate::curve::RandomSource;
use crate::mechanism::Sealer;
use crate::{Frame, OutBuf, ProtocolError, Version, header};

/// Puts frames into WebSocket's.
#[derive(Debug)]
pub(crate) struct Wrapper {
    /// A client's.
    keys: Option<Keys>,
    /// Encrypts first, where the mechanism does.
    sealer: Option<Box<Sealer>>,
    /// Where it does so.
    sealed: OutBuf,
}

impl Wrapper {
    pub(crate) fn client(random: RandomSource) -> Result<Self, ProtocolError> {
        Ok(Wrapper { keys: Some(Keys::new(random)?), ..Self::server() })
    }

    pub(crate) fn server() -> Self {
        Wrapper { keys: None, sealer: None, sealed: OutBuf::new() }
    }

    /// The mechanism is done, and encrypts with this from now on.
    pub(crate) fn seal_with(&mut self, sealer: Option<Box<Sealer>>) {
        self.sealer = sealer;
    }

    /// Append the frame with these flags (those of a ZMTP header) whose body is `parts`.
    pub(crate) fn put(&mut self, flags: u8, parts: &[&[u8]], out: &mut OutBuf) {
        let Some(sealer) = &mut self.sealer else {
            return self.put_clear(Kind::Binary, flags, parts, out);
        };
        // As a ZMTP frame, whose header is then exchanged for another.
        let mut sealed = mem::take(&mut self.sealed);
        sealer.put(flags, parts, &mut sealed);
        if let Ok(Some(header)) = header::Header::parse(Version::V3_1, sealed.first_slice()) {
            sealed.advance(header.len);
            // What follows is one piece, whether it lies behind the header or has a buffer of its own.
            self.put_clear(Kind::Binary, header.flags, &[sealed.first_slice()], out);
        }
        sealed.clear();
        self.sealed = sealed;
    }

    /// Append a frame, by reference where it is large and travels as it is.
    pub(crate) fn put_frame(&mut self, flags: u8, frame: &Frame, out: &mut OutBuf) {
        match frame.as_shared() {
            Some(body) if self.keys.is_none() && self.sealer.is_none() => {
                let mut head = [0; MAX_HEADER];
                let len = self.head(Kind::Binary, flags, body.len()).write(&mut head);
                out.put(&head[..len]);
                out.put_bytes(body.clone());
            }
            _ => self.put(flags, &[frame], out),
        }
    }

    /// Append a control frame with as much of `payload` as it may carry.
    pub(crate) fn put_control(&mut self, kind: Kind, payload: &[u8], out: &mut OutBuf) {
        self.put_clear(kind, 0, &[&payload[..payload.len().min(MAX_CONTROL)]], out);
    }

    fn put_clear(&mut self, kind: Kind, flags: u8, parts: &[&[u8]], out: &mut OutBuf) {
        let size = parts.iter().map(|part| part.len()).sum();
        let header = self.head(kind, flags, size);
        let mut head = [0; MAX_HEADER];
        let len = header.write(&mut head);
        out.put(&head[..len]);
        parts.iter().for_each(|part| out.put(part));
        if let Some(key) = header.key {
            mask::apply(key, out.tail_mut(size));
        }
    }

    fn head(&mut self, kind: Kind, flags: u8, size: usize) -> Header {
        let key = self.keys.as_mut().map(Keys::next);
        Header { kind, flags, len: 0, size: size as u64, key }
    }
}
