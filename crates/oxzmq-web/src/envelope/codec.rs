//! Messages to frames and back. Everything from the other side is checked here, and nowhere else.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use oxzmq::{Frame, Message};

use super::{
    CHUNK_MAX, Coding, Codings, Head, Introduction, Malformed, Order, PATH_MAX, Status, ToMaster, ToWorker, Version,
};

/// First octets of every message: protocol and version.
const MARK: &[u8; 4] = b"OXW1";
/// Of the longest messages, with the worker's identity before them.
const FRAMES_MOST: usize = 6;
/// Longest name, host, root, type or reason; longer ones are cut.
const TEXT_MAX: usize = 256;
/// Added to a coding: others may be had.
const VARIES: u8 = 0x80;
/// Longest interval that a master may dictate.
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

impl Status {
    fn code(self) -> u16 {
        match self {
            Self::File => 200,
            Self::Directory => 301,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Changed => 412,
            Self::Failed => 500,
        }
    }

    fn from_code(code: u16) -> Result<Self, Malformed> {
        Ok(match code {
            200 => Self::File,
            301 => Self::Directory,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            412 => Self::Changed,
            500 => Self::Failed,
            _ => return Err(Malformed("unknown status")),
        })
    }
}

impl Coding {
    fn from_code(code: u8) -> Result<Option<Self>, Malformed> {
        if code == 0 {
            return Ok(None);
        }
        let coding = Self::ALL.into_iter().find(|coding| coding.code() == code);
        coding.map(Some).ok_or(Malformed("unknown coding"))
    }
}

impl ToMaster {
    /// The frames to send.
    pub fn encode(self) -> Message {
        match self {
            Self::Ready(me) => {
                let mut process = [0; 8];
                process[..4].copy_from_slice(&me.pid.to_be_bytes());
                process[4..].copy_from_slice(&me.slots.to_be_bytes());
                let mut message = begin(b'R');
                message.push_back(&process);
                message.extend([me.name, me.host, me.root]);
                message
            }
            Self::Head(id, head, content) => {
                let mut facts = BytesMut::with_capacity(39);
                facts.put_u16(head.status.code());
                put_version(&mut facts, Some(head.version));
                facts.put_u64(head.offset);
                facts.put_u64(head.length);
                facts.put_u8(head.coding.map_or(0, Coding::code) | if head.varies { VARIES } else { 0 });
                let mut message = begin_with_id(b'H', id);
                message.push_back(&facts[..]);
                message.push_back(head.kind);
                message.push_back(content);
                message
            }
            Self::Chunk(id, content) => {
                let mut message = begin_with_id(b'C', id);
                message.push_back(content);
                message
            }
            Self::End(id, reason) => {
                let mut message = begin_with_id(b'E', id);
                message.push_back(reason);
                message
            }
            Self::Pulse => begin(b'P'),
            Self::Draining => begin(b'D'),
            Self::Bye => begin(b'B'),
        }
    }

    /// Reads a worker's message.
    ///
    /// # Errors
    /// [`Malformed`] says what does not belong to the protocol.
    pub fn decode(message: Message) -> Result<Self, Malformed> {
        let mut frames = Frames::new(message);
        let decoded = match frames.letter()? {
            b'R' => {
                let process = frames.fixed::<8>()?;
                let (pid, slots) = process.split_at(4);
                let slots = be_u32(slots);
                if slots == 0 {
                    return Err(Malformed("a worker without slots"));
                }
                let (name, host, root) = (frames.text()?, frames.text()?, frames.text()?);
                Self::Ready(Introduction { pid: be_u32(pid), slots, name, host, root })
            }
            b'H' => {
                let id = frames.id()?;
                let facts = frames.fixed::<39>()?;
                let mut fields = Fields(&facts);
                let (status, version) = (Status::from_code(fields.u16())?, fields.version()?);
                let (offset, length, coding) = (fields.u64(), fields.u64(), fields.u8());
                let varies = coding & VARIES != 0;
                let coding = Coding::from_code(coding & !VARIES)?;
                let head = Head { status, version, offset, length, coding, varies, kind: frames.text()? };
                Self::Head(id, head, frames.content()?)
            }
            b'C' => Self::Chunk(frames.id()?, frames.content()?),
            b'E' => Self::End(frames.id()?, frames.text()?),
            b'P' => Self::Pulse,
            b'D' => Self::Draining,
            b'B' => Self::Bye,
            _ => return Err(Malformed("unknown message")),
        };
        frames.end()?;
        Ok(decoded)
    }
}

impl ToWorker {
    /// The frames to send, without the worker's routing id.
    pub fn encode(self) -> Message {
        match self {
            Self::Welcome(interval) => {
                let mut message = begin(b'W');
                let millis = u32::try_from(interval.min(INTERVAL_MAX).as_millis()).unwrap_or(u32::MAX);
                message.push_back(&millis.to_be_bytes());
                message
            }
            Self::Request(id, order, credit) => {
                let mut frame = BytesMut::with_capacity(41);
                let accepts = order.accepts.0 << 1; // the codes 1 to 3 become the bits 2 to 4
                frame.put_u8(u8::from(order.head_only) | u8::from(order.version.is_some()) << 1 | accepts);
                frame.put_u32(credit);
                put_version(&mut frame, order.version);
                frame.put_u64(order.offset);
                frame.put_u64(order.length.unwrap_or(u64::MAX));
                let mut message = begin_with_id(b'Q', id);
                message.push_back(frame.freeze());
                message.push_back(order.path);
                message
            }
            Self::Grant(id, octets) => {
                let mut message = begin_with_id(b'G', id);
                message.push_back(&octets.to_be_bytes());
                message
            }
            Self::Cancel(id) => begin_with_id(b'K', id),
            Self::Pulse => begin(b'P'),
            Self::Stop => begin(b'S'),
            Self::Bye => begin(b'B'),
        }
    }

    /// Reads the master's message.
    ///
    /// # Errors
    /// [`Malformed`] says what does not belong to the protocol.
    pub fn decode(message: Message) -> Result<Self, Malformed> {
        let mut frames = Frames::new(message);
        let decoded = match frames.letter()? {
            b'W' => {
                let interval = Duration::from_millis(be_u32(&frames.fixed::<4>()?).into());
                if interval.is_zero() || interval > INTERVAL_MAX {
                    return Err(Malformed("an interval out of range"));
                }
                Self::Welcome(interval)
            }
            b'Q' => {
                let id = frames.id()?;
                let order = frames.fixed::<41>()?;
                let mut fields = Fields(&order);
                let (flags, credit) = (fields.u8(), fields.u32());
                let (version, offset, length) = (fields.version()?, fields.u64(), fields.u64());
                let order = Order {
                    head_only: flags & 1 != 0,
                    version: (flags & 2 != 0).then_some(version),
                    offset,
                    length: (length != u64::MAX).then_some(length),
                    accepts: Codings((flags & 0b1_1100) >> 1),
                    path: frames.path()?,
                };
                Self::Request(id, order, credit)
            }
            b'G' => Self::Grant(frames.id()?, be_u32(&frames.fixed::<4>()?)),
            b'K' => Self::Cancel(frames.id()?),
            b'P' => Self::Pulse,
            b'S' => Self::Stop,
            b'B' => Self::Bye,
            _ => return Err(Malformed("unknown message")),
        };
        frames.end()?;
        Ok(decoded)
    }
}

fn begin(letter: u8) -> Message {
    let [a, b, c, d] = *MARK;
    let mut message = Message::with_capacity(FRAMES_MOST);
    message.push_back(&[a, b, c, d, letter]);
    message
}

fn begin_with_id(letter: u8, id: u64) -> Message {
    let mut message = begin(letter);
    message.push_back(&id.to_be_bytes());
    message
}

fn put_version(out: &mut BytesMut, version: Option<Version>) {
    let version = version.unwrap_or(Version { size: 0, mtime_s: 0, mtime_ns: 0 });
    out.put_u32(version.mtime_ns);
    out.put_i64(version.mtime_s);
    out.put_u64(version.size);
}

fn be_u32(octets: &[u8]) -> u32 {
    octets.iter().fold(0, |number, &octet| number << 8 | u32::from(octet))
}

/// The frames of a message, taken one by one, each checked before it is used.
struct Frames(<Message as IntoIterator>::IntoIter);

impl Frames {
    fn new(message: Message) -> Self {
        Self(message.into_iter())
    }

    fn next(&mut self) -> Result<Frame, Malformed> {
        self.0.next().ok_or(Malformed("a frame is missing"))
    }

    fn letter(&mut self) -> Result<u8, Malformed> {
        let frame = self.next()?;
        match frame.strip_prefix(MARK) {
            Some(&[letter]) => Ok(letter),
            _ => Err(Malformed("the first frame is not OXW1 and a letter")),
        }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        <[u8; N]>::try_from(self.next()?.as_slice()).map_err(|_| Malformed("a frame of the wrong length"))
    }

    fn id(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.fixed()?))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let frame = self.next()?;
        let cut = &frame[..frame.len().min(TEXT_MAX)];
        // Mostly a media type.
        if cut.iter().all(|octet| (b' '..=b'~').contains(octet)) {
            return Ok(String::from_utf8_lossy(cut).into_owned());
        }
        Ok(String::from_utf8_lossy(cut).chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
    }

    fn content(&mut self) -> Result<Bytes, Malformed> {
        let frame = self.next()?;
        if frame.len() > CHUNK_MAX {
            return Err(Malformed("more than 256 KiB of content in one message"));
        }
        Ok(frame.into_bytes())
    }

    fn path(&mut self) -> Result<Bytes, Malformed> {
        let frame = self.next()?;
        if frame.len() > PATH_MAX {
            return Err(Malformed("a path of more than 4096 octets"));
        }
        Ok(frame.into_bytes())
    }

    fn end(&mut self) -> Result<(), Malformed> {
        if self.0.next().is_some() { Err(Malformed("frames too many")) } else { Ok(()) }
    }
}

/// Fields of a frame whose length was checked: reading past its end gives zeros.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk::<N>() else { return [0; N] };
        self.0 = rest;
        *field
    }

    fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.take())
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }

    fn version(&mut self) -> Result<Version, Malformed> {
        let (mtime_ns, mtime_s, size) = (self.u32(), i64::from_be_bytes(self.take()), self.u64());
        if mtime_ns >= 1_000_000_000 {
            return Err(Malformed("nanoseconds beyond a second"));
        }
        Ok(Version { size, mtime_s, mtime_ns })
    }
}
